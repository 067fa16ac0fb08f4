// The only file that knows Fastify's lifecycle. For each request of a cached route, in this order:
//
//   lookup   the last of the route's onRequest hooks, so behind all authentication that is done in onRequest
//   capture  onSend, before other plugins' where we are registered first: what enters that chain is what is stored, and a
//            hit walks through the chain again
//   close    of the raw response: the one event that always comes; a lease that is still held then goes back
//
// `lookup` is a callback hook that on a hit sends and never calls `done`. An async hook that returns the reply lets the
// handler run as well when the client aborts, which throws ERR_HTTP_HEADERS_SENT outside of any request.
import type { FastifyReply, FastifyRequest, onRequestHookHandler, onSendHookHandler } from 'fastify'
import { refuse, type Caller, type ResponseCache } from './cache.js'
import { DURATION_FORMS, type Bytes, type Milliseconds } from './duration.js'
import type { Entry, HeaderField } from './entry.js'
import { RouteCacheError } from './errors.js'
import { cacheStatus, withMember } from './http/cache-status.js'
import { addedFields, areSendable, type HeaderFields } from './http/headers.js'
import { refusalOf } from './http/storable.js'
import type { KeySource } from './key.js'
import { checkKey, type Policy } from './policy.js'
import { sendEntry } from './reply.js'
import { count, type BypassReason, type CacheOutcome, type Counters, type RefusalReason } from './stats.js'
import type { Lease } from './store/store.js'

/** Where a request keeps what the cache knows about it. */
export const EXCHANGE = Symbol('fastify-route-cache.exchange')

/** Our name in Cache-Status. */
const CACHE_NAME = 'fastify-route-cache'

/** One request of a cached route and its response, on their way through the cache. */
interface Exchange {
  policy: Policy
  caller: Caller
  outcome: CacheOutcome
  /** The reply's fields at lookup: they are this request's, not the entry's. */
  before: HeaderFields
  /** Held from a miss until the fill, or until it is clear that there will be none. */
  lease: Lease | null
  noCache: boolean
  captured: boolean
}

interface Carrier { [EXCHANGE]?: Exchange | null }

/** What the cache did for this request, as far as it is known by now; null where the route is not cached. */
export function outcomeOf (request: FastifyRequest): CacheOutcome | null {
  return (request as Carrier)[EXCHANGE]?.outcome ?? null
}

/** Keeps this request's response out of the store. */
export function markNoCache (request: FastifyRequest): void {
  const exchange = (request as Carrier)[EXCHANGE]
  if (exchange != null) exchange.noCache = true
}

/** A route's onRequest hook: sends the entry, or lets the request go on to the handler. */
export function lookupHook (cache: ResponseCache, policy: Policy, counters: Counters): onRequestHookHandler {
  return (request, reply, done) => {
    const exchange: Exchange = {
      policy,
      caller: { counters, log: request.log },
      outcome: { type: 'bypass', reason: 'store' },
      before: reply.getHeaders(),
      lease: null,
      noCache: false,
      captured: false
    }
    ;(request as Carrier)[EXCHANGE] = exchange
    search(cache, exchange, request).then((entry) => {
      if (entry === null || reply.sent) return done()
      sendEntry(reply, entry)
    })
    // The response may end without onSend: hijacked, or written past Fastify. After a client's abort onSend still comes.
    reply.raw.once('close', () => {
      if (!exchange.captured && reply.raw.writableFinished) abandon(cache, exchange)
    })
  }
}

/** The entry to serve, or null for the handler to run; says in the exchange what became of the lookup. Never rejects. */
async function search (cache: ResponseCache, exchange: Exchange, request: FastifyRequest): Promise<Entry | null> {
  const { caller } = exchange
  const key = await selectKey(cache, exchange, request)
  if (typeof key !== 'string') return bypass(exchange, key.bypass)
  // Only GET fills, so a HEAD would hold the lease for nothing.
  const found = await cache.lookup(key, caller, request.method === 'GET')
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
  cache: ResponseCache, { policy, caller }: Exchange, request: FastifyRequest
): Promise<string | { bypass: BypassReason }> {
  if (!cache.enabled) return { bypass: 'disabled' }
  // RFC 9111 §3.5: such a response is for whoever sent the credentials.
  if (request.headers.authorization !== undefined) return { bypass: 'authorization' }
  try {
    if (policy.when !== null && !await policy.when(request)) return { bypass: 'when' }
    return checkKey(await policy.key(request as KeySource))
  } catch (error) {
    caller.counters.errors++
    caller.log.warn({ err: error, route: policy.route }, 'cache policy failed')
    return { bypass: 'policy' }
  }
}

function bypass (exchange: Exchange, reason: BypassReason): null {
  const { caller, policy } = exchange
  exchange.outcome = { type: 'bypass', reason }
  count(caller.counters.bypasses, reason)
  caller.log.debug({ route: policy.route, reason }, 'cache bypass')
  return null
}

/** The onSend hook of the instance: says what the cache did and, after a miss, hands what the handler sent to the fill. */
export function captureHook (cache: ResponseCache, maxBodyBytes: Bytes): onSendHookHandler {
  return (request, reply, payload, done) => {
    const exchange = (request as Carrier)[EXCHANGE]
    // It runs again when the response is replaced by an error's.
    if (exchange != null && !exchange.captured) {
      exchange.captured = true
      if (exchange.outcome.type === 'miss') capture(cache, exchange, { request, reply, payload, maxBodyBytes })
      announce(reply, exchange.outcome)
    }
    done(null, payload)
  }
}

interface Sent {
  request: FastifyRequest
  reply: FastifyReply
  payload: unknown
  maxBodyBytes: Bytes
}

/** Fills with what the handler sent, or says why not and gives the lease back. */
function capture (cache: ResponseCache, exchange: Exchange, sent: Sent): void {
  const { caller, lease, outcome } = exchange
  const key = (outcome as { key: string }).key
  const headers = addedFields(exchange.before, sent.reply.getHeaders())
  const life = admit(cache, exchange, sent, headers)
  if (typeof life === 'string') {
    refuse(key, life, caller)
    return abandon(cache, exchange)
  }
  exchange.lease = null
  cache.fill(key, lease!, { status: sent.reply.statusCode, headers, body: bytesOf(sent.payload), life }, caller)
}

/** How long the response may be served; or why it may not be stored at all. */
function admit (cache: ResponseCache, exchange: Exchange, sent: Sent, headers: HeaderField[]): Milliseconds | RefusalReason {
  const { request, reply, payload } = sent
  if (request.method === 'HEAD') return 'head'
  if (exchange.lease === null) return 'lease'
  if (!cache.enabled) return 'disabled'
  if (exchange.noCache) return 'no-cache-called'
  const refusal = refusalOf(reply.statusCode, headers)
  if (refusal !== null) return refusal
  if (typeof payload !== 'string' && !Buffer.isBuffer(payload)) return 'payload'
  if (Buffer.byteLength(payload) > sent.maxBodyBytes) return 'size'
  if (!areSendable(headers)) return 'header'
  return askPolicy(exchange, request, reply)
}

function askPolicy (
  { policy, caller }: Exchange, request: FastifyRequest, reply: FastifyReply
): Milliseconds | RefusalReason {
  try {
    if (policy.storeIf !== null && !policy.storeIf(reply)) return 'store-if'
    const life = policy.ttl(request, reply)
    if (life === undefined) throw new RouteCacheError('FRC_OPTION', `cache.ttl gave no duration; ${DURATION_FORMS}`)
    return life === 0 ? 'ttl' : life
  } catch (error) {
    caller.counters.errors++
    caller.log.warn({ err: error, route: policy.route }, 'cache policy failed')
    return 'policy'
  }
}

function bytesOf (payload: unknown): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : payload as Buffer
}

function abandon (cache: ResponseCache, exchange: Exchange): void {
  const { lease, outcome, caller } = exchange
  if (lease === null || outcome.type !== 'miss') return
  exchange.lease = null
  cache.abandon(outcome.key, lease, caller)
}

/** Puts our member behind those of caches that the handler itself went through. */
function announce (reply: FastifyReply, outcome: CacheOutcome): void {
  const member = cacheStatus(CACHE_NAME, outcome.type === 'hit'
    ? { hit: true, ttl: outcome.ttl }
    : outcome.type === 'miss' ? { hit: false, fwd: 'miss' } : { hit: false, fwd: 'bypass', detail: outcome.reason })
  reply.header('cache-status', withMember(String(reply.getHeader('cache-status') ?? ''), member))
}
