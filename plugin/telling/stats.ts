// The counters of each cached route, which every outcome feeds.
import type { Bytes } from '../duration.js'
import type { BypassReason, RefusalReason } from './outcome.js'
import type { TierStats } from '../store/store.js'

/** Counters of one route, or of all, since start. */
export interface RouteStats {
  /** Served from the store, `collapsed` and `stale` among them. */
  hits: number
  /** Hits that waited for a handler which another request had run. */
  collapsed: number
  /** Hits whose time was over. */
  stale: number
  misses: number
  /** Misses whose handler failed, and that were answered with a stale entry. */
  rescued: number
  /** Entries that were found, but had been made invalid by tag, or with everything, or by a server that lost its memory. */
  outdated: number
  bypasses: Partial<Record<BypassReason, number>>
  /** Runs of the handler for entries that were served stale, or were near their end. */
  refreshes: number
  /** Values given to the cache that went through the route. */
  sets: number
  /** Responses, of misses, `refreshes` and `sets`, that were stored; the others are refused. */
  stores: number
  refusals: Partial<Record<RefusalReason, number>>
  /** Misses that found what is no entry: of another build, somebody else's, or damaged. The next fill overwrites it. */
  unreadable: number
  /** Failures of the store and of the policy's functions. */
  errors: number
  /** Bytes given to the store, all in all. */
  bytes: Bytes
  /** Hits in hits and misses, 0 to 1; 0 where there was neither. Bypasses don't count. */
  hitRate: number
}

/** The result of `cache.stats()`. Counters start at 0 with the process. */
export interface CacheStats {
  store: 'redis' | 'memory'
  /** The instant the counters started, in milliseconds since 1970. */
  since: number
  /** Invalidations that succeeded: calls of `invalidate`, ends of `mutate` and `set`, and those that routes declare. */
  invalidations: number
  /** Entries that they removed. */
  invalidated: number
  /** Calls of `invalidate` that rejected because the store could not be told. */
  invalidationsFailed: number
  /** Open while the store is not asked, as it has failed too often. */
  breaker: 'closed' | 'open'
  /**
   * Keys, tags and prefixes, or everything as one, that are kept now because the store could not be told to drop them; more
   * than 0: nothing is served from the cache.
   */
  journal: number
  /** The in-process tier; null: there is none. */
  tier: TierStats | null
  /** Keys that are being filled now as far as this process knows: by its own handlers, or by others' that it waits for. */
  flights: number
  /** Requests that wait now for another one's handler. */
  waiting: number
  total: RouteStats
  /** By method and path as declared: `GET /users/:id`. */
  routes: Record<string, RouteStats>
  /** The counters of `getOrSet`; they are in `total`, too. */
  values: RouteStats
}

type Counters = Omit<RouteStats, 'hitRate'>

/** Counts; reading makes copies. */
export class Stats {
  readonly #store: CacheStats['store']
  readonly #since: number
  readonly #routes = new Map<string, Counters>()
  /** The counters of `getOrSet`. */
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

  read (): Omit<CacheStats, 'journal' | 'breaker' | 'tier' | 'flights' | 'waiting'> {
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
    rescued: 0,
    outdated: 0,
    unreadable: 0,
    bypasses: {},
    refreshes: 0,
    sets: 0,
    stores: 0,
    refusals: {},
    errors: 0,
    bytes: 0
  }
}

/** The counters that are numbers, and are added up over routes or processes. */
export const SUMS = [
  'hits', 'collapsed', 'stale', 'misses', 'rescued', 'outdated', 'unreadable', 'refreshes', 'sets', 'stores', 'errors', 'bytes'
] as const

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
