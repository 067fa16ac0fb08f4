// Where we stand in Fastify's lifecycle; what a lookup does there is in serving.ts, and for requests of our own in
// own-serving.ts. For each request of a cached route, in this order:
//
//   arrival   the first onRequest hook of the instance, where we are registered first: tells the requests of our own, and
//             keeps how the others came where that may be needed for one of our own
//   lookup    the last of the route's onRequest hooks; or, where something that comes later may refuse the request, in front
//             of the handler (placement.ts)
//   capture   onSend of the instance, before other plugins' where we are registered first: what enters that chain is what
//             is stored, and a hit walks through the chain again, unless nobody else is in it
//   announce  the last of the route's onSend hooks: the chain has run, so cookies that other hooks write are there, and a
//             hook that failed has made it an error; only now the response is stored
//   close     (serving.ts) of the raw response: the one event that always comes; a lease that is still held then goes back
//
// `lookup` is a callback hook that on a hit sends and never calls `done`. An async hook that returns the reply lets the
// handler run as well when the client aborts, which throws ERR_HTTP_HEADERS_SENT outside of any request.
import type { FastifyReply, FastifyRequest, RouteHandlerMethod, onRequestHookHandler, onSendHookHandler } from 'fastify'
import { announce, type Signals } from '../request/announcement.js'
import { arrivalOf } from '../request/arrival.js'
import { bodyOf } from '../entry/codec.js'
import type { ResponseCache } from '../cache/cache.js'
import { capture, commit, conclude, type Sent } from '../request/capture.js'
import { ARRIVAL, EXCHANGE, HEADERS, INVALID, LISTENERS, SOURCE, TICKET, marksOf, type Carrier } from '../request/carrier.js'
import type { Spare } from '../cache/claim.js'
import {
  abandon, bypass, keyToFill, openExchange, refuseAnswer, tellAnswer, type Exchange, type RequestView, type Site
} from '../request/exchange.js'
import type { AnswerLimits } from '../options/limits.js'
import { showHandler } from '../request/handler-view.js'
import { copySource } from '../request/key-source.js'
import { serveOwn } from '../request/own-serving.js'
import { asNotModified, narrowed } from '../request/narrowing.js'
import { discard, isResponse, unwrapped } from '../response/payload.js'
import { OUR_HOOKS } from './placement.js'
import { isOwnOfNode } from '../response/raw-response.js'
import { bodyAs, putFields, restored, restoreType, standIn, statusOf, wrappedBeside } from '../send/reply.js'
import { mayBeRescued, rescue } from '../request/rescue.js'
import { asConfirmed, askedOf, confirmedBy, isConfirmed } from '../request/revalidation.js'
import { isValidated } from '../request/selecting.js'
import { lookup, type Engine, type Waiting } from '../request/serving.js'
import { isPacked, unpacked } from '../send/unpacking.js'
import { REPLY } from '../users/user-marks.js'

/** Where a route's config has it that the route is cached. */
export const SITE = Symbol('fastify-route-cache.site')

/**
 * The instance's first onRequest hook: takes the ticket off a request of our own, and answers it where a value is given, or
 * its route is not cached.
 * `mayRefresh`: whether any route's entries are filled again by requests of our own.
 */
export function arrivalHook (engine: Engine, mayRefresh: () => boolean): onRequestHookHandler {
  const hook: onRequestHookHandler = (request, reply, done) => {
    const carrier = request as Carrier
    carrier[LISTENERS] = reply.raw.listenerCount('close')
    const ticket = engine.own.recognise(request.raw)
    if (ticket === null) {
      if (mayRefresh() && siteOf(request)?.policy.isRefreshed === true) carrier[ARRIVAL] = arrivalOf(request.raw)
      return done()
    }
    carrier[TICKET] = ticket
    if (ticket.why === 'refresh') return done()
    const site = siteOf(request)
    ticket.isRouted = site !== undefined
    ticket.path = request.is404 ? null : request.routeOptions.url ?? null
    if (site === undefined) return reply.code(404).send()
    if (ticket.why !== 'set') return done()
    // Ahead of the validation, wherever the route's lookup stands.
    serveOwn(engine, { ...site, place: 'onRequest' }, { request, reply, ticket, proceed: () => { reply.send(ticket.value) } })
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.arrival })
}

function siteOf (request: FastifyRequest): Site | undefined {
  return (request.routeOptions.config as { [SITE]?: Site } | undefined)?.[SITE]
}

interface Replied { [REPLY]?: FastifyReply | null }

/** A route's onRequest hook. Its name is how the route is found in Fastify's list of hooks. */
export function lookupHook (engine: Engine, site: Site, name: string): onRequestHookHandler {
  const hook: onRequestHookHandler = (request, reply, done) => {
    ;(request as unknown as Replied)[REPLY] = reply
    if (site.validated === null) postpone(site, request as RequestView)
    if (site.place === 'onRequest') return look(engine, site, { request, reply, proceed: done })
    const { [TICKET]: ticket } = request as Carrier
    // An explanation says what a validation would refuse.
    if (site.isPostponed && ticket?.why === 'explain') {
      return serveOwn(engine, { ...site, place: 'onRequest' }, { request, reply, ticket, proceed: done })
    }
    // Hooks and the validation may take headers away before a lookup in front of the handler.
    if (!site.isPostponed || site.validated!.includes('headers')) (request as Carrier)[HEADERS] = { ...request.headers }
    done()
  }
  return Object.defineProperty(hook, 'name', { value: name })
}

/** A validator may do something, and change what hooks see: it is to run once, so the lookup comes behind it. */
function postpone (site: Site, request: RequestView): void {
  if (!isValidated(site, request) || site.place !== 'onRequest' || site.policy.hook !== null) return
  site.isPostponed = true
  site.place = 'handler'
}

/** A client's request is looked up; those of our own go their ways. */
function look (engine: Engine, site: Site, waiting: Waiting): void {
  const { [TICKET]: ticket } = waiting.request as Carrier
  if (ticket == null) return lookup(engine, site, waiting)
  serveOwn(engine, site, { ...waiting, ticket })
}

/** The route's handler with the lookup in front of it, for routes whose lookup can't stand in onRequest. */
export function guardedHandler (engine: Engine, site: Site, own: RouteHandlerMethod): RouteHandlerMethod {
  const handler = notedHandler(own)
  return function (request, reply) {
    // A plugin may call it with what is no request: @fastify/websocket has a route that only talks handle its sockets.
    if (!(EXCHANGE in request)) return handler.call(this, request, reply)
    const { cache } = engine
    if (site.place === 'onRequest') {
      askHandler(cache, request, reply)
      return handler.call(this, request, reply)
    }
    // Fastify waits for what this resolves with, as it would for the handler's own promise. After a hit, or where the
    // handler gives nothing because it calls `reply.send` itself, it never resolves: Fastify then waits for that call.
    return new Promise((resolve, reject) => {
      const proceed = (): void => {
        try {
          askHandler(cache, request, reply)
          const result: unknown = handler.call(this, request, reply)
          if (result !== undefined) resolve(result)
        } catch (error) {
          reject(error)
        }
      }
      look(engine, site, { request, reply, proceed })
    })
  }
}

/** Where its answer is to be stored the handler is asked for all of it, as far as the policy lets us. */
function askHandler (cache: ResponseCache, request: FastifyRequest, reply: FastifyReply): void {
  const { [EXCHANGE]: exchange } = request as Carrier
  if (exchange == null || exchange.claim === null) return
  const asked = askedOf(exchange)
  if (asked === null) return
  exchange.showAll = showHandler(request, reply, { asked, isUntilSent: !exchange.site.isNarrowedAhead })
  exchange.isForWhole = exchange.showAll !== null
  // What it sees makes its answer this client's own.
  if (!exchange.isForWhole) abandon(cache, exchange)
}

/** The handler, which is noted where it is called: what a hook in front of it answers says nothing of what is stored. */
function notedHandler (handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (request, reply) {
    const { [EXCHANGE]: exchange } = request as Carrier
    if (exchange != null) exchange.handled = true
    return handler.call(this, request, reply)
  }
}

/** The instance's onSend hook: keeps what the handler sent; or has a stale entry stand in for its error. */
export function captureHook (cache: ResponseCache, limits: AnswerLimits): onSendHookHandler {
  const hook: onSendHookHandler = (request, reply, payload, done) => {
    const exchange = (request as Carrier)[EXCHANGE]
    if (exchange == null) return done(null, payload)
    exchange.departure?.end()
    exchange.showAll?.()
    if (exchange.handlerBegan > 0) tellAnswer(exchange, statusOf(reply, payload))
    const status = statusOf(reply, payload)
    const { spare, headers } = exchange
    const sent = { request: request as RequestView, reply, payload, limits }
    const sendAnswer = (): void => { done(null, answerOf(cache, exchange, sent)) }
    const { toValidate } = exchange
    if (toValidate !== null && isConfirmed(exchange, status) && typeof toValidate.entry.body === 'number') {
      unpackPresent(exchange, toValidate).then(sendAnswer).catch((error: Error) => { done(error) })
      return
    }
    if (spare === null || !mayBeRescued(exchange, status) || !isPacked(spare.entry, headers)) return sendAnswer()
    unpackSpare(exchange, spare).then(sendAnswer).catch((error: Error) => { done(error) })
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.capture })
}

/** What is sent instead of what is on its way out, or that. */
function answerOf (cache: ResponseCache, exchange: Exchange, sent: Sent & { reply: FastifyReply }): unknown {
  const { reply, payload } = sent
  const { closed, headersSent } = reply.raw
  const entry = rescue(cache, exchange, { status: statusOf(reply, payload), isGone: closed || headersSent })
  if (entry !== null) {
    const { headers, before, site: { hasOthersOnSend: asSent, policy: { cacheControl: declared } } } = exchange
    return standIn(reply, { entry, headers, now: cache.now(), asSent, declared }, { payload, before })
  }
  // It runs again when the response is replaced by an error's.
  if (exchange.captured) return payload
  if (isConfirmed(exchange, statusOf(reply, payload))) {
    const confirmed = confirm(cache, exchange, sent)
    if (confirmed !== undefined) return confirmed
  }
  if (exchange.isForWhole && statusOf(reply, payload) === 304) exchange.site.isNarrowedAhead = true
  const passed = capture(cache, exchange, { ...sent, payload: ofEntry(cache, exchange, sent) })
  return exchange.isForWhole ? narrowed(exchange, { reply, payload: passed, now: cache.now() }) : passed
}

/** What is on its way out, as it was stored where it is an entry. */
function ofEntry (cache: ResponseCache, exchange: Exchange, { reply, payload }: Sent & { reply: FastifyReply }): unknown {
  const { entry, headers, before, site } = exchange
  const { hasOthersOnSend: asSent, isFirstOnSend, policy: { cacheControl: declared } } = site
  if (entry === null || exchange.failed) return payload
  if (!isFirstOnSend) return restored(reply, { entry, headers, now: cache.now(), asSent, declared }, { payload, before })
  if (!isResponse(payload)) restoreType(reply, entry, before['content-type'])
  return payload
}

/**
 * The handler found nothing changed: its 304 becomes the response that the entry is, and is captured as that. Gives what is
 * sent: no body, where nobody gets it; undefined: the 304 speaks of something else.
 */
function confirm (cache: ResponseCache, exchange: Exchange, sent: Sent & { reply: FastifyReply }): unknown {
  const { toValidate, before, site: { hasOthersOnSend }, outcome } = exchange
  const { reply } = sent
  const { entry } = toValidate!
  unwrapped(reply, sent.payload)
  const confirmed = confirmedBy(exchange, entry, { fields: reply.getHeaders(), now: cache.now() })
  if (confirmed === null) return undefined
  discard(sent.payload)
  const whole = bodyOf(entry)
  const asSent = outcome.type !== 'own' && (hasOthersOnSend || !isOwnOfNode(reply.raw))
  // A Response has its head by itself.
  const isWrapped = asSent && entry.kind === 'response'
  putFields(reply, isWrapped ? [] : confirmed.headers, before)
  reply.code(200)
  if (asSent && entry.kind.startsWith('sized')) reply.header('content-length', String(whole.length))
  const sendable = asSent ? bodyAs(entry, asSent) : whole
  const payload = isWrapped ? wrappedBeside(reply, confirmed.headers, { body: whole }) : sendable
  const passed = capture(cache, exchange, { ...sent, payload })
  if (exchange.answer !== null) asConfirmed(exchange.answer, toValidate!, confirmed)
  if (!confirmed.isOfEntry) refuseAnswer(cache, exchange, 'status')
  if (outcome.type === 'own') return asNotModified(exchange, reply, passed)
  if (outcome.type === 'miss') exchange.outcome = { ...outcome, revalidated: true }
  if (!isWrapped) restoreType(reply, entry, before['content-type'])
  // Fastify takes undefined for "as it was".
  return narrowed(exchange, { reply, payload: passed, now: cache.now() }) ?? null
}

/** What can't be decoded is not what the handler was asked about. */
async function unpackPresent (exchange: Exchange, present: Spare): Promise<void> {
  exchange.toValidate = { ...present, entry: await unpacked(present.entry) }
}

/** What can't be decoded stands in for nothing. */
async function unpackSpare (exchange: Exchange, spare: Spare): Promise<void> {
  const { caller: { counters, log } } = exchange
  try {
    exchange.spare = { ...spare, entry: await unpacked(spare.entry) }
  } catch (error) {
    counters.unreadable++
    log.warn({ err: error, key: keyToFill(exchange) }, 'cache entry could not be decoded')
    exchange.spare = null
  }
}

/** A route's last onSend hook: stores what was captured, and says what the cache did. */
export function announceHook (cache: ResponseCache, site: Site, signals: Signals): onSendHookHandler {
  const hook: onSendHookHandler = (request, reply, payload, done) => {
    const carrier = request as Carrier
    const exchange = carrier[EXCHANGE] ??=
      openExchange(site, request as RequestView, { before: {}, headers: {}, marks: marksOf(request), ticket: null })
    if (!exchange.announced) {
      exchange.announced = true
      if (exchange.outcome.type === 'bypass' && exchange.outcome.reason === 'answered') answeredEarly(exchange, carrier)
      announce(reply, exchange, signals)
    }
    commit(cache, exchange, reply)
    // A client that left before there was a stream to send: nothing will pass, and `close` has been.
    if (reply.raw.closed) conclude(cache, exchange, { reply, isSent: false })
    done(null, payload)
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.announce })
}

/** A hook, the validation or a time-out answered before the lookup was done. */
function answeredEarly (exchange: Exchange, { [TICKET]: ticket, [INVALID]: isInvalid }: Carrier): void {
  const reason = isInvalid === true && exchange.site.isPostponed ? 'invalid' : 'answered'
  if (ticket == null) bypass(exchange, reason)
  else if (reason === 'invalid') ticket.outcome ??= () => ({ type: 'bypass', reason })
}

/** The onRequest hook of a route with an unsafe method: what its own validation makes of params and query is not GET's. */
export const sourceHook: onRequestHookHandler = (request, _reply, done) => {
  try {
    (request as Carrier)[SOURCE] = copySource(request)
  } catch {
    // A query parser of the app's gave what can't be copied: then what is there at the end has to do.
  }
  done()
}
