// What became of each request of a cached route, as one closed union, and the counters that it feeds.
import type { Bytes } from './duration.js'

/** Why a request went past the cache. */
export type BypassReason =
  /** `cache.enabled` is false. */
  | 'disabled'
  /** A hook, the validation or a time-out answered before the lookup was done. */
  | 'answered'
  /** The request carries `Authorization` (RFC 9111 §3.5). */
  | 'authorization'
  /** There is a `request.user`: the request is somebody's own. */
  | 'user'
  /** The request has cookies, and the app can read them. */
  | 'cookie'
  /** A `Range` or a precondition that only the handler can answer (RFC 9110 §13.1, §14.2). */
  | 'conditional'
  /** Params, query or headers are not valid: Fastify answers 400. */
  | 'invalid'
  /** The policy's `when` said no. */
  | 'when'
  /** The policy's `key` or `when` threw, or gave something that is no key. */
  | 'policy'
  /** The store failed or did not answer within the deadline. */
  | 'store'
  /** Invalidations could not be told to the store yet. */
  | 'journal'

/** Why a response was not stored. */
export type RefusalReason =
  /** Its status is not one that is stored. */
  | 'status'
  /** An error was raised, whatever status it was answered with. */
  | 'error'
  /** By the time of the answer the request had become somebody's own. */
  | 'credentials'
  /** It sets a cookie. */
  | 'set-cookie'
  /** Its Cache-Control says `no-store` (RFC 9111 §5.2.2.5). */
  | 'no-store'
  /** Its Cache-Control says `private` (RFC 9111 §5.2.2.7). */
  | 'private'
  /**
   * Its `Vary` is `*` (RFC 9111 §4.1); or it has none, where the responses under its key vary; or it is a value given to
   * the cache, and the policy has an `identity` or a `vary`.
   */
  | 'vary'
  /** Its bytes can't be known: an event stream, or a stream of an unknown kind. */
  | 'payload'
  /** It did not get through whole: the source failed, or the client left (RFC 9111 §3.3). */
  | 'incomplete'
  /** Its body is larger than `maxBodyBytes`, or than the store takes. */
  | 'size'
  /** A header that Node would not send. */
  | 'header'
  /** The handler called `reply.noCache()`. */
  | 'no-cache-called'
  /** The policy's `storeIf` said no. */
  | 'store-if'
  /** The ttl is 0. */
  | 'ttl'
  /** The policy's `ttl` or `storeIf` threw, or gave something that is no duration. */
  | 'policy'
  /** The request was a HEAD: only GET fills. */
  | 'head'
  /** Somebody else was filling the key, or it was invalidated while the handler ran. */
  | 'lease'
  /** One of the tags that the handler named was invalidated while it ran. */
  | 'outdated'
  /** `cache.enabled` is false by now. */
  | 'disabled'
  /** A request of the cache's own did not come to it as its handler would have: the policy, or the key, is against it. */
  | 'diverted'
  /** The store failed. */
  | 'store'

/** What the cache did for a request: P7's one union, which feeds header, log and statistics. */
export type CacheOutcome =
  /** Served from the store, with this many seconds to live; `collapsed`: after waiting for another request's handler. */
  | { type: 'hit', key: string, ttl: number, collapsed: boolean }
  /** Served from the store though its time was over, this many seconds ago (0 or less), and refreshed behind it. */
  | { type: 'stale', key: string, ttl: number }
  /** Not in the store, or (`forced`) not good enough for this client: the handler ran. */
  | { type: 'miss', key: string, forced: boolean }
  /** The store was not asked, or could not answer: the handler ran. */
  | { type: 'bypass', reason: BypassReason }
  /**
   * No client's request, but one of the cache's own, whose response is stored. `set`: a value stands for what the handler
   * answers. `refresh`: the key's entry was served stale, and this is as the request that it was served to.
   */
  | { type: 'own', key: string, why: 'set' | 'refresh' }

/** Counters of one route, or of all, since start. */
export interface RouteStats {
  /** Served from the store, `collapsed` and `stale` among them. */
  hits: number
  /** Hits that waited for a handler which another request had run. */
  collapsed: number
  /** Hits whose time was over. */
  stale: number
  misses: number
  /** Entries that were found, but had been made invalid by tag, or with everything, or by a server that lost its memory. */
  outdated: number
  bypasses: Partial<Record<BypassReason, number>>
  /** Runs of the handler for entries that were served stale. */
  refreshes: number
  /** Values given to the cache that went through the route. */
  sets: number
  /** Responses, of misses, `refreshes` and `sets`, that were stored; the others are refused. */
  stores: number
  refusals: Partial<Record<RefusalReason, number>>
  /** Failures of the store and of the policy's functions. */
  errors: number
  /** Bytes given to the store, all in all. */
  bytes: Bytes
  /** Hits in hits and misses, 0 to 1; 0 where there was neither. Bypasses don't count. */
  hitRate: number
}

/** What `cache.stats()` gives. Counters start at 0 with the process. */
export interface CacheStats {
  store: 'redis' | 'memory'
  /** The instant the counters started, in milliseconds since 1970. */
  since: number
  /** Those that succeeded: calls of `invalidate`, ends of `mutate` and `set`, and those that routes declare. */
  invalidations: number
  /** Entries that they removed. */
  invalidated: number
  /** Calls of `invalidate` that rejected because the store could not be told. */
  invalidationsFailed: number
  /**
   * Keys, tags and prefixes, or everything as one, that are kept now because the store could not be told to drop them; more
   * than 0: nothing is served from the cache.
   */
  journal: number
  total: RouteStats
  /** By method and path as declared: `GET /users/:id`. */
  routes: Record<string, RouteStats>
  /** Those of `getOrSet`; in `total`, too. */
  values: RouteStats
}

type Counters = Omit<RouteStats, 'hitRate'>

/** Counts; reading makes copies. */
export class Stats {
  readonly #store: CacheStats['store']
  readonly #since: number
  readonly #routes = new Map<string, Counters>()
  /** Those of `getOrSet`. */
  readonly values: Counters = zeros()
  #invalidations = 0
  #invalidated = 0
  #invalidationsFailed = 0

  constructor (store: CacheStats['store'], since: number) {
    this.#store = store
    this.#since = since
  }

  /** The route's counters; it is listed from here on, with zeros. */
  route (name: string): Counters {
    let counters = this.#routes.get(name)
    if (counters === undefined) this.#routes.set(name, counters = zeros())
    return counters
  }

  invalidated (entries: number): void {
    this.#invalidations++
    this.#invalidated += entries
  }

  invalidationFailed (): void {
    this.#invalidationsFailed++
  }

  read (): Omit<CacheStats, 'journal'> {
    const total = zeros()
    const routes: Record<string, RouteStats> = {}
    for (const [name, counters] of this.#routes) {
      add(total, counters)
      routes[name] = withRate(counters)
    }
    add(total, this.values)
    return {
      store: this.#store,
      since: this.#since,
      invalidations: this.#invalidations,
      invalidated: this.#invalidated,
      invalidationsFailed: this.#invalidationsFailed,
      total: withRate(total),
      routes,
      values: withRate(this.values)
    }
  }
}

export type { Counters }

/** Adds one to a reason. */
export function count<Reason extends string> (reasons: Partial<Record<Reason, number>>, reason: Reason, by = 1): void {
  reasons[reason] = (reasons[reason] ?? 0) + by
}

function zeros (): Counters {
  return {
    hits: 0,
    collapsed: 0,
    stale: 0,
    misses: 0,
    outdated: 0,
    bypasses: {},
    refreshes: 0,
    sets: 0,
    stores: 0,
    refusals: {},
    errors: 0,
    bytes: 0
  }
}

const SUMS = ['hits', 'collapsed', 'stale', 'misses', 'outdated', 'refreshes', 'sets', 'stores', 'errors', 'bytes'] as const

function add (sum: Counters, counters: Counters): void {
  for (const name of SUMS) sum[name] += counters[name]
  for (const [reason, n] of Object.entries(counters.bypasses)) count(sum.bypasses, reason as BypassReason, n)
  for (const [reason, n] of Object.entries(counters.refusals)) count(sum.refusals, reason as RefusalReason, n)
}

function withRate (counters: Counters): RouteStats {
  const { hits, misses } = counters
  return {
    ...counters,
    bypasses: { ...counters.bypasses },
    refusals: { ...counters.refusals },
    hitRate: hits + misses === 0 ? 0 : hits / (hits + misses)
  }
}
