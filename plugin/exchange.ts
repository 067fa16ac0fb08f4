// One request of a cached route and its response, on their way through the cache: which entry serves it, whether its
// response may be stored. Decides; hooks.ts says when, cache.ts does it.
import type { ResponseCache } from './cache.js'
import { refuse, type Caller } from './caller.js'
import type { Claim } from './claim.js'
import { credentials, explain, identify, unpromised } from './credentials.js'
import type { Milliseconds } from './duration.js'
import type { Entry, HeaderField, PayloadKind } from './entry.js'
import { parseCacheControl } from './http/cache-control.js'
import { isForTheHandler } from './http/conditional.js'
import type { HeaderFields } from './http/headers.js'
import { fingerprint } from './http/vary.js'
import type { KeySource } from './key.js'
import { validatedSource, type Validated } from './key-source.js'
import { checkKey, policyFailed, type Policy } from './policy.js'
import { count, type BypassReason, type CacheOutcome, type Counters, type RefusalReason } from './stats.js'
import type { Recording } from './tee.js'
import { IDENTITY, VERSION, type Selection } from './variant.js'

/** A cached route. */
export interface Site {
  policy: Policy
  counters: Counters
  /** Where its lookup stands: the handler, until it is known that nothing behind onRequest could refuse the request. */
  place: 'onRequest' | 'handler'
  /** Whether somebody's onSend hook looks at the payload, and so must get the like of what the handler sent. */
  hasOthersOnSend: boolean
  /** Whether no onSend hook comes behind ours. */
  isLastOnSend: boolean
  /** What its responses last varied by. */
  hint: Selection['hint']
  /** The log has said why requests go past the cache. */
  isExplained: boolean
}

/** What `reply.noCache` and `reply.cacheTags` have said so far. */
export interface Marks {
  noCache: boolean
  tags: readonly string[]
}

export interface Exchange {
  site: Site
  caller: Caller
  outcome: CacheOutcome
  /** The request's headers as they came: validation and handlers may take some away. */
  headers: RequestView['headers']
  /** Who asked, when the lookup was done. */
  identity: string | undefined
  /** The entry that is served. */
  entry: Entry | null
  /** The reply's fields at lookup: they are this request's, not the entry's. */
  before: HeaderFields
  /** Held from a miss until the fill, or until it is clear that there will be none. */
  claim: Claim | null
  /** What the request's hooks and its handler say of the response, until it is stored. */
  marks: Marks
  /** What the handler sent; null until then, and where it is not stored. */
  answer: Captured | null
  /** An error was raised, and since then nothing was captured: what is sent is the error's answer. */
  failed: boolean
  /** The response has been seen on its way out. */
  captured: boolean
  /** The header that says what the cache did is set. */
  announced: boolean
}

/** A response between its capture and its fill. */
export interface Captured {
  status: number
  headers: HeaderField[]
  members: readonly string[]
  kind: PayloadKind
  life: Milliseconds
  /** What the response says of its length; null where it doesn't. */
  length: number | null
  /** The whole body, or what is being recorded of it. */
  body: Buffer | Recording
}

/** As much of a request as is looked at here. */
export interface RequestView extends Validated {
  method: string
  headers: Record<string, string | string[] | undefined>
  log: Caller['log']
}

export function openExchange (
  site: Site, request: RequestView, { before, headers, marks }: { before: HeaderFields, headers: RequestView['headers'], marks: Marks }
): Exchange {
  return {
    site,
    caller: { counters: site.counters, log: request.log },
    outcome: { type: 'bypass', reason: 'answered' },
    headers,
    identity: undefined,
    entry: null,
    before: snapshot(before),
    claim: null,
    marks,
    answer: null,
    failed: false,
    captured: false,
    announced: false
  }
}

/** A copy, arrays too: Fastify adds cookies to the array that it has. */
function snapshot (fields: HeaderFields): HeaderFields {
  const copy: Record<string, HeaderFields[string]> = {}
  for (const [name, value] of Object.entries(fields)) copy[name] = Array.isArray(value) ? [...value] : value
  return copy
}

/** The entry to serve, or null for the handler to run; says in the exchange what became of the lookup. Never rejects. */
export async function search (cache: ResponseCache, exchange: Exchange, request: RequestView): Promise<Entry | null> {
  const { caller } = exchange
  const selected = await selectKey(cache, exchange, request)
  if (exchange.captured) return null
  if ('bypass' in selected) return bypass(exchange, selected.bypass)
  const { key, toRefresh } = selected
  // Only GET fills, so a HEAD would hold the lease for nothing.
  const found = await cache.lookup({ ...selected, toFill: request.method === 'GET', waitTimeout: exchange.site.policy.waitTimeout }, caller)
  if (exchange.captured) {
    // Something else answered meanwhile, a time-out for example: nobody will fill.
    if (found.type === 'miss' && found.claim !== null) cache.abandon(found.claim, caller)
    return null
  }
  if (found.type === 'unknown') return bypass(exchange, 'store')
  if (found.type === 'behind') return bypass(exchange, 'journal')
  if (found.type === 'hit') {
    const { entry, collapsed } = found
    exchange.outcome = { type: 'hit', key, ttl: Math.ceil((entry.staleAt - cache.now()) / 1000), collapsed }
    exchange.entry = entry
    caller.counters.hits++
    if (collapsed) caller.counters.collapsed++
    caller.log.debug({ key }, 'cache hit')
    return entry
  }
  exchange.outcome = { type: 'miss', key, forced: toRefresh }
  exchange.claim = found.claim
  caller.counters.misses++
  caller.log.debug({ key }, 'cache miss')
  return null
}

interface Selected { key: string, selection: Selection, toRefresh: boolean }

/** The request's key and variant, or why it goes past the cache. */
async function selectKey (
  cache: ResponseCache, exchange: Exchange, request: RequestView
): Promise<Selected | { bypass: BypassReason }> {
  const { site, caller, headers } = exchange
  const { policy } = site
  if (!cache.enabled) return { bypass: 'disabled' }
  if (isForTheHandler(headers)) return { bypass: 'conditional' }
  try {
    const identity = exchange.identity = identify(policy, request)
    const reason = policy.shared || identity !== undefined ? null : credentials(request, headers)
    if (reason !== null) {
      explain(site, caller, reason)
      return { bypass: reason }
    }
    if (policy.when !== null && !await policy.when(request)) return { bypass: 'when' }
    // In front of the handler the request is validated already, and was refused unless the handler wants to see to that.
    const isInvalid = (request as { validationError?: unknown }).validationError != null
    const source = site.place === 'onRequest' ? await validatedSource(request) : isInvalid ? null : request
    if (source === null) return { bypass: 'invalid' }
    // Set in any case: a header field may have any name.
    const pseudo = { [IDENTITY]: identity, [VERSION]: policy.version ?? undefined }
    const seen = seenWith(request, source)
    return {
      key: checkKey(await policy.key(source, seen)),
      selection: {
        needs: policy.needs,
        hint: site.hint,
        fingerprint: (members) => fingerprint(members, { ...headers, ...pseudo }),
        tags: policy.tags(source, seen)
      },
      toRefresh: asksForRefresh(headers) && unpromised(policy.honourNoCache(request)) === true
    }
  } catch (error) {
    policyFailed(policy, caller, error)
    return { bypass: 'policy' }
  }
}

/** The request with params and query as the handler will see them, for a key function. */
function seenWith (request: RequestView, { params, query }: KeySource): RequestView {
  if (params === request.params && query === request.query) return request
  return Object.create(request, { params: { value: params }, query: { value: query } }) as RequestView
}

/** RFC 9111 §5.2.1.4, §5.4: `no-cache`, or where there is no Cache-Control, the old Pragma. */
function asksForRefresh (headers: RequestView['headers']): boolean {
  return parseCacheControl(String(headers['cache-control'] ?? headers.pragma ?? '')).has('no-cache')
}

/** Counts and says that the request goes past the cache. */
export function bypass (exchange: Exchange, reason: BypassReason): null {
  const { caller, site: { policy } } = exchange
  exchange.outcome = { type: 'bypass', reason }
  count(caller.counters.bypasses, reason)
  caller.log.debug({ route: policy.route, reason }, 'cache bypass')
  return null
}

/** The next answer may well be stored: others need not run their handlers because of this one. */
const WORTH_WAITING: readonly RefusalReason[] = ['incomplete', 'disabled', 'lease']

/** Says why the answer is not stored, and gives the lease back. */
export function refuseAnswer (cache: ResponseCache, exchange: Exchange, reason: RefusalReason): void {
  if (exchange.outcome.type === 'miss') refuse(exchange.outcome.key, reason, exchange.caller)
  exchange.answer = null
  abandon(cache, exchange, !WORTH_WAITING.includes(reason))
}

/** Gives back the lease, if it is still held; `pass`: nobody is to wait for the next answer under this key. */
export function abandon (cache: ResponseCache, exchange: Exchange, pass = false): void {
  const { claim, caller } = exchange
  if (claim === null) return
  exchange.claim = null
  cache.abandon(claim, caller, pass)
}
