// One request of a cached route and its response, on their way through the cache: which entry serves it, whether its
// response may be stored. Decides; hooks.ts says when, cache.ts does it.
import { refuse, type Caller, type ResponseCache } from './cache.js'
import { DURATION_FORMS, type Bytes, type Milliseconds } from './duration.js'
import type { Entry, HeaderField } from './entry.js'
import { RouteCacheError, show } from './errors.js'
import { addedFields, areSendable, type HeaderFields } from './http/headers.js'
import { refusalOf } from './http/storable.js'
import type { KeySource } from './key.js'
import { checkKey, type Policy } from './policy.js'
import { count, type BypassReason, type CacheOutcome, type Counters, type RefusalReason } from './stats.js'
import type { Lease } from './store/store.js'

/** A cached route. */
export interface Site {
  policy: Policy
  counters: Counters
  /** Where its lookup stands: the handler, until it is known that nothing behind onRequest could refuse the request. */
  place: 'onRequest' | 'handler'
  /** Whether somebody's onSend hook looks at the payload, and so must get a string where the handler sent one. */
  hasOthersOnSend: boolean
}

export interface Exchange {
  site: Site
  caller: Caller
  outcome: CacheOutcome
  /** The reply's fields at lookup: they are this request's, not the entry's. */
  before: HeaderFields
  /** Held from a miss until the fill, or until it is clear that there will be none. */
  lease: Lease | null
  /** What the handler sent; null until then, and where it is not stored. */
  answer: { status: number, headers: HeaderField[], body: Buffer, text: boolean, life: Milliseconds } | null
  /** An error was raised: what is sent stands in for a response. */
  failed: boolean
  /** The response has been seen on its way out. */
  captured: boolean
  /** The header that says what the cache did is set. */
  announced: boolean
}

/** As much of a request as is looked at here. */
export interface RequestView extends KeySource {
  method: string
  headers: Record<string, string | string[] | undefined>
  log: Caller['log']
}

/** What is on its way out. */
export interface Sent {
  request: RequestView
  reply: { statusCode: number, getHeaders: () => HeaderFields }
  payload: unknown
  noCache: boolean
  maxBodyBytes: Bytes
}

export function openExchange (site: Site, request: RequestView, before: HeaderFields): Exchange {
  return {
    site,
    caller: { counters: site.counters, log: request.log },
    outcome: { type: 'bypass', reason: 'answered' },
    before: snapshot(before),
    lease: null,
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
  const key = await selectKey(cache, exchange, request)
  if (exchange.captured) return null
  if (typeof key !== 'string') return bypass(exchange, key.bypass)
  // Only GET fills, so a HEAD would hold the lease for nothing.
  const found = await cache.lookup(key, caller, request.method === 'GET')
  if (exchange.captured) {
    // Something else answered meanwhile, a time-out for example: nobody will fill.
    if (found.type === 'miss' && found.lease !== null) cache.abandon(key, found.lease, caller)
    return null
  }
  if (found.type === 'unknown') return bypass(exchange, 'store')
  if (found.type === 'hit') {
    exchange.outcome = { type: 'hit', key, ttl: Math.ceil((found.entry.staleAt - cache.now()) / 1000) }
    caller.counters.hits++
    caller.log.debug({ key }, 'cache hit')
    return found.entry
  }
  exchange.outcome = { type: 'miss', key }
  exchange.lease = found.lease
  caller.counters.misses++
  caller.log.debug({ key }, 'cache miss')
  return null
}

/** The request's key, or why it goes past the cache. */
async function selectKey (
  cache: ResponseCache, { site: { policy }, caller }: Exchange, request: RequestView
): Promise<string | { bypass: BypassReason }> {
  if (!cache.enabled) return { bypass: 'disabled' }
  const reason = credentials(request)
  if (reason !== null) return { bypass: reason }
  try {
    if (policy.when !== null && !await policy.when(request)) return { bypass: 'when' }
    return checkKey(await policy.key(request))
  } catch (error) {
    policyFailed(policy, caller, error)
    return { bypass: 'policy' }
  }
}

/** What tells that the request is somebody's own, so that its response must not be another's: RFC 9111 §3.5, §7.3. */
function credentials (request: RequestView): 'authorization' | 'user' | 'cookie' | null {
  if (request.headers.authorization !== undefined) return 'authorization'
  // What @fastify/jwt and passport set, from cookies too.
  if ((request as { user?: unknown }).user != null) return 'user'
  // Cookies that the app has no way to read don't select anything.
  if (request.headers.cookie !== undefined && ('cookies' in request || 'session' in request)) return 'cookie'
  return null
}

/** Counts and says that the request goes past the cache. */
export function bypass (exchange: Exchange, reason: BypassReason): null {
  const { caller, site: { policy } } = exchange
  exchange.outcome = { type: 'bypass', reason }
  count(caller.counters.bypasses, reason)
  caller.log.debug({ route: policy.route, reason }, 'cache bypass')
  return null
}

/** Keeps what the handler sent, to be stored when it has got through; or says why not and gives the lease back. */
export function capture (cache: ResponseCache, exchange: Exchange, sent: Sent): void {
  exchange.captured = true
  if (exchange.outcome.type !== 'miss') return
  const after = sent.reply.getHeaders()
  const headers = addedFields(exchange.before, after)
  const life = admit(cache, exchange, sent, { headers, after })
  if (typeof life === 'string') return refuseAnswer(cache, exchange, life)
  const text = typeof sent.payload === 'string'
  const body = text ? Buffer.from(sent.payload as string) : sent.payload as Buffer
  exchange.answer = { status: sent.reply.statusCode, headers, body, text, life }
}

/** How long the response may be served; or why it may not be stored at all. */
function admit (
  cache: ResponseCache, exchange: Exchange, sent: Sent, { headers, after }: { headers: HeaderField[], after: HeaderFields }
): Milliseconds | RefusalReason {
  const { request, reply, payload } = sent
  if (request.method === 'HEAD') return 'head'
  if (exchange.lease === null) return 'lease'
  if (!cache.enabled) return 'disabled'
  if (sent.noCache) return 'no-cache-called'
  if (exchange.failed) return 'error'
  // The handler may have found out only now: a session that it opened, a user that it looked up.
  if (credentials(request) !== null) return 'credentials'
  const refusal = refusalOf(reply.statusCode, headers, after)
  if (refusal !== null) return refusal
  if (typeof payload !== 'string' && !Buffer.isBuffer(payload)) return 'payload'
  if (Buffer.byteLength(payload) > sent.maxBodyBytes) return 'size'
  if (!areSendable(headers)) return 'header'
  return askPolicy(exchange, request, reply)
}

function askPolicy ({ site: { policy }, caller }: Exchange, request: unknown, reply: unknown): Milliseconds | RefusalReason {
  try {
    if (policy.storeIf !== null && !decided('storeIf', policy.storeIf(reply))) return 'store-if'
    const life = policy.ttl(request, reply)
    if (life === undefined) throw new RouteCacheError('FRC_OPTION', `cache.ttl gave no duration; ${DURATION_FORMS}`)
    return life === 0 ? 'ttl' : life
  } catch (error) {
    policyFailed(policy, caller, error)
    return 'policy'
  }
}

/** A promise is neither yes nor no: the response is on its way and can't wait for it. */
function decided (name: string, answer: unknown): boolean {
  if (typeof answer === 'boolean') return answer
  if (answer instanceof Promise) answer.catch(() => {})
  throw new RouteCacheError('FRC_OPTION', `cache.${name} gave ${show(answer)}; it must give true or false, at once`)
}

function policyFailed (policy: Policy, { counters, log }: Caller, error: unknown): void {
  counters.errors++
  log.warn({ err: error, route: policy.route }, 'cache policy failed')
}

/** Stores what was captured, now that all onSend hooks have run: `reply` is as the client gets it. */
export function commit (cache: ResponseCache, exchange: Exchange, reply: Sent['reply']): void {
  const { answer, lease, outcome, caller } = exchange
  if (answer === null || lease === null || outcome.type !== 'miss') return
  exchange.answer = null
  // An onSend hook failed, and this is its error; or it wrote the cookies that the handler had set.
  if (reply.statusCode !== answer.status) return refuseAnswer(cache, exchange, 'status')
  const { 'set-cookie': cookies } = reply.getHeaders()
  if (addedFields(exchange.before, { 'set-cookie': cookies }).length > 0) return refuseAnswer(cache, exchange, 'set-cookie')
  exchange.lease = null
  cache.fill(outcome.key, lease, answer, caller)
}

function refuseAnswer (cache: ResponseCache, exchange: Exchange, reason: RefusalReason): void {
  if (exchange.outcome.type === 'miss') refuse(exchange.outcome.key, reason, exchange.caller)
  abandon(cache, exchange)
}

/** The response is over. Where it ended without our last hook, the lease is still held. */
export function conclude (cache: ResponseCache, exchange: Exchange): void {
  if (exchange.answer === null) return abandon(cache, exchange)
  // Captured, and then not sent: onSend hooks failed, with the error's answer too.
  exchange.answer = null
  refuseAnswer(cache, exchange, 'error')
}

/** Gives back the lease, if it is still held. */
function abandon (cache: ResponseCache, exchange: Exchange): void {
  const { lease, outcome, caller } = exchange
  if (lease === null || outcome.type !== 'miss') return
  exchange.lease = null
  cache.abandon(outcome.key, lease, caller)
}
