// The only file that knows Fastify's lifecycle. For each request of a cached route, in this order:
//
//   lookup    the last of the route's onRequest hooks; or, where something that comes later may refuse the request, in front
//             of the handler (placement.ts)
//   capture   onSend of the instance, before other plugins' where we are registered first: what enters that chain is what
//             is stored, and a hit walks through the chain again
//   announce  the last of the route's onSend hooks: the chain has run, so cookies that other hooks write are there, and a
//             hook that failed has made it an error; only now the response is stored
//   close     of the raw response: the one event that always comes; a lease that is still held then goes back
//
// `lookup` is a callback hook that on a hit sends and never calls `done`. An async hook that returns the reply lets the
// handler run as well when the client aborts, which throws ERR_HTTP_HEADERS_SENT outside of any request.
import type { FastifyReply, FastifyRequest, RouteHandlerMethod, onRequestHookHandler, onSendHookHandler } from 'fastify'
import type { ResponseCache } from './cache.js'
import type { Bytes } from './duration.js'
import type { Entry } from './entry.js'
import { bypass, capture, commit, conclude, openExchange, search, type Exchange, type RequestView, type Site } from './exchange.js'
import { cacheStatus, withMember } from './http/cache-status.js'
import { OUR_HOOKS } from './placement.js'
import { sendEntry } from './reply.js'
import type { CacheOutcome } from './stats.js'

/** Where a request keeps what the cache knows about it. */
export const EXCHANGE = Symbol('fastify-route-cache.exchange')
/** Where a request keeps that its response must not be stored. */
export const NO_CACHE = Symbol('fastify-route-cache.no-cache')

/** Our name in Cache-Status. */
const CACHE_NAME = 'fastify-route-cache'

interface Carrier {
  [EXCHANGE]?: Exchange | null
  [NO_CACHE]?: boolean
}

/** What the cache did for this request, as far as it is known by now; null where the route is not cached. */
export function outcomeOf (request: FastifyRequest): CacheOutcome | null {
  return (request as Carrier)[EXCHANGE]?.outcome ?? null
}

/** Keeps this request's response out of the store. */
export function markNoCache (request: FastifyRequest): void {
  (request as Carrier)[NO_CACHE] = true
}

/** Notes that what will be sent stands in for a response that failed. */
export function markFailed (request: FastifyRequest): void {
  const exchange = (request as Carrier)[EXCHANGE]
  if (exchange != null) exchange.failed = true
}

/** A route's onRequest hook. Its name is how the route is found in Fastify's list of hooks. */
export function lookupHook (cache: ResponseCache, site: Site, name: string): onRequestHookHandler {
  const hook: onRequestHookHandler = (request, reply, done) => {
    if (site.place !== 'onRequest') return done()
    lookup(cache, site, { request, reply }, done)
  }
  return Object.defineProperty(hook, 'name', { value: name })
}

/** The route's handler with the lookup in front of it, for routes whose lookup can't stand in onRequest. */
export function guardedHandler (cache: ResponseCache, site: Site, handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (request, reply) {
    if (site.place === 'onRequest') return handler.call(this, request, reply)
    // Fastify waits for what this resolves with, as it would for the handler's own promise. After a hit, or where the
    // handler gives nothing because it calls `reply.send` itself, it never resolves: Fastify then waits for that call.
    return new Promise((resolve, reject) => {
      lookup(cache, site, { request, reply }, () => {
        try {
          const result: unknown = handler.call(this, request, reply)
          if (result !== undefined) resolve(result)
        } catch (error) {
          reject(error)
        }
      })
    })
  }
}

interface Pair { request: FastifyRequest, reply: FastifyReply }

/** Sends the entry; or calls `miss`, once, for the request to go on; or neither, where it is answered already. */
function lookup (cache: ResponseCache, site: Site, { request, reply }: Pair, miss: () => void): void {
  const exchange = openExchange(site, request as RequestView, reply.getHeaders())
  ;(request as Carrier)[EXCHANGE] = exchange
  // The response may end without onSend: hijacked, or written past Fastify. After a client's abort onSend still comes.
  reply.raw.once('close', () => {
    if (reply.raw.writableFinished || reply.sent) conclude(cache, exchange)
  })
  const answer = (entry: Entry | null): void => {
    if (exchange.captured || reply.sent) return
    if (entry === null) return miss()
    sendEntry(reply, entry, site.hasOthersOnSend)
  }
  // What throws here is an entry that can't be sent: somebody else wrote it.
  search(cache, exchange, request as RequestView).then(answer).catch((error: unknown) => {
    request.log.warn({ err: error }, 'cache entry could not be sent')
    reply.send(error)
  })
}

/** The instance's onSend hook: keeps what the handler sent. */
export function captureHook (cache: ResponseCache, maxBodyBytes: Bytes): onSendHookHandler {
  const hook: onSendHookHandler = (request, reply, payload, done) => {
    const exchange = (request as Carrier)[EXCHANGE]
    // It runs again when the response is replaced by an error's.
    if (exchange != null && !exchange.captured) {
      const noCache = (request as Carrier)[NO_CACHE] === true
      capture(cache, exchange, { request: request as RequestView, reply, payload, noCache, maxBodyBytes })
    }
    done(null, payload)
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.capture })
}

/** A route's last onSend hook: stores what was captured, and says what the cache did. */
export function announceHook (cache: ResponseCache, site: Site): onSendHookHandler {
  const hook: onSendHookHandler = (request, reply, payload, done) => {
    const carrier = request as Carrier
    const exchange = carrier[EXCHANGE] ??= openExchange(site, request as RequestView, reply.getHeaders())
    if (!exchange.announced) {
      exchange.announced = true
      // A hook, the validation or a time-out answered before the lookup was done.
      if (exchange.outcome.type === 'bypass' && exchange.outcome.reason === 'answered') bypass(exchange, 'answered')
      announce(reply, exchange.outcome)
    }
    commit(cache, exchange, reply)
    done(null, payload)
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.announce })
}

/** Puts our member behind those of caches that the handler itself went through. */
function announce (reply: FastifyReply, outcome: CacheOutcome): void {
  const member = cacheStatus(CACHE_NAME, outcome.type === 'hit'
    ? { hit: true, ttl: outcome.ttl }
    : outcome.type === 'miss' ? { hit: false, fwd: 'miss' } : { hit: false, fwd: 'bypass', detail: outcome.reason })
  reply.header('cache-status', withMember(String(reply.getHeader('cache-status') ?? ''), member))
}
