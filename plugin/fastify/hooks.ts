// The functions that Fastify calls. For each request of a cached route, in this order:
//
//   arrival   the first onRequest hook of the instance, where we are registered first: recognises internal requests, and
//             remembers the others for a later refresh
//   lookup    the last of the route's onRequest hooks; or, where something that comes later may refuse the request, in front
//             of the handler (placement.ts)
//   handler   the route's own, if the lookup has sent nothing
//   capture   onSend of the instance, before other plugins' where we are registered first: the answer is stored as it enters
//             that chain, and a hit goes through the chain again
//   announce  the last of the route's onSend hooks: the chain has run, so cookies that other hooks write are there, and a
//             hook that failed has made it an error; only now the response is stored
//
// hit.ts and miss.ts have the steps. `lookup` is a callback hook that on a hit sends and never calls `done`. An async hook
// that returns the reply lets the handler run as well when the client aborts, which throws ERR_HTTP_HEADERS_SENT outside of
// any request.
import type { FastifyReply, FastifyRequest, RouteHandlerMethod, onRequestHookHandler, onResponseHookHandler, onSendHookHandler } from 'fastify'
import type { ResponseCache } from '../cache/cache.js'
import type { UnnoticedWrites } from '../checks/unnoticed-writes.js'
import type { AnswerLimits } from '../options/limits.js'
import {
  ARRIVAL, HEADERS, LISTENERS, SOURCE, STATE, TICKET, TURN, exchangeOf, marksOf, openExchange, type Carrier,
  type RequestView, type Site, type Turn
} from '../request/exchange.js'
import { passOn, serveHit, type Engine, type Pair, type Waiting } from '../request/hit.js'
import { releaseAnswer, runHandler, serveMiss, takeAnswer } from '../request/miss.js'
import { arrivalOf } from '../request/own-request.js'
import { serveOwn } from '../request/own-serving.js'
import { isValidated } from '../request/selecting.js'
import { nameEntry } from '../request/naming.js'
import { copySource } from '../request/validation.js'
import { announce, type Signals } from '../send/reply.js'
import { REPLY } from '../users/identity.js'
import { OUR_HOOKS } from './placement.js'

/** The property of a cached route's config that holds the route's site. */
export const SITE = Symbol('fastify-route-cache.site')

/**
 * The instance's first onRequest hook: takes the ticket off a request of our own, and answers it where a value is given, or
 * its route is not cached. And watches writes, where a check has a question.
 */
export function arrivalHook (engine: Engine, writes: UnnoticedWrites): onRequestHookHandler {
  const hook: onRequestHookHandler = (request, reply, done) => {
    if (writes.isOn) writes.begin(request, reply)
    const carrier = request as Carrier
    carrier[LISTENERS] = reply.raw.listenerCount('close')
    const { own } = engine
    const ticket = own.open.size === 0 ? null : own.recognise(request.raw)
    if (ticket === null) {
      if (engine.mayRefresh && siteOf(request)?.policy.isRefreshed === true) carrier[ARRIVAL] = arrivalOf(request.raw)
      return done()
    }
    carrier[TICKET] = ticket
    if (ticket.why === 'refresh') return done()
    const site = siteOf(request)
    ticket.isRouted = site !== undefined
    ticket.path = request.is404 ? null : request.routeOptions.url ?? null
    if (site === undefined) return reply.code(404).send()
    // A framework makes a response of the value, behind its guards.
    if (ticket.why !== 'set' || site.isAwaited) return done()
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
  if (ticket == null) return serveHit(engine, site, waiting, serveMiss)
  serveOwn(engine, site, { ...waiting, ticket })
}

/** The route's handler with the lookup in front of it, for routes whose lookup can't stand in onRequest. */
export function guardedHandler (engine: Engine, site: Site, handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (request, reply) {
    // A plugin may call it with what is no request: @fastify/websocket has a route that only talks handle its sockets.
    if (!(STATE in request)) return handler.call(this, request, reply)
    if (site.place === 'onRequest') {
      beginHandler(engine.cache, request, reply)
      return handler.call(this, request, reply)
    }
    // Fastify waits for what this resolves with, as it would for the handler's own promise. After a hit, or where the
    // handler gives nothing because it calls `reply.send` itself, it never resolves: Fastify then waits for that call.
    return new Promise((resolve, reject) => {
      const proceed = (): void => {
        try {
          beginHandler(engine.cache, request, reply)
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

/**
 * The handler of a framework that has guards of its own in it: they may refuse the request, so its lookup waits its turn.
 * What the framework sets before, such as the header of a rate limit, is this request's, but for the fields that it sets for
 * the app's own code.
 */
export function awaitingHandler (engine: Engine, site: Site, handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (request, reply) {
    if (!(STATE in request)) return handler.call(this, request, reply)
    const before = reply.getHeaders()
    const turn: Turn = {
      stage: 'waiting',
      fields: [],
      take: async (run) => {
        turn.stage = 'taken'
        const putBack = takeOff(reply, turn.fields, before)
        return await lookedUp(engine, site, { request, reply, turn }, () => {
          turn.stage = 'passed'
          putBack()
          const { [TICKET]: ticket } = request as Carrier
          if (ticket?.why === 'set') return ticket.value
          beginHandler(engine.cache, request, reply)
          return run()
        })
      },
      isWrapped: false,
      onAnswered: () => {}
    }
    ;(request as Carrier)[TURN] = turn
    return handler.call(this, request, reply)
  }
}

/** Resolves with what `run` gives; where something else answers, with undefined, or never. */
async function lookedUp (
  engine: Engine, site: Site, { request, reply, turn }: Pair & { turn: Turn }, run: () => unknown
): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    turn.onAnswered = () => { if (turn.isWrapped) resolve(undefined) }
    const proceed = (): void => {
      try {
        resolve(run())
      } catch (error) {
        reject(error)
      }
    }
    look(engine, site, { request, reply, proceed })
  })
}

/** Makes these fields what they were before; gives how to undo that. */
function takeOff (reply: FastifyReply, names: readonly string[], before: Record<string, unknown>): () => void {
  const taken = names.map((name) => [name, reply.getHeader(name)] as const)
  for (const name of names) putField(reply, name, before[name])
  return () => { for (const [name, value] of taken) putField(reply, name, value) }
}

function putField (reply: FastifyReply, name: string, value: unknown): void {
  reply.removeHeader(name)
  if (value !== undefined) reply.header(name, value)
}

function beginHandler (cache: ResponseCache, request: FastifyRequest, reply: FastifyReply): void {
  const exchange = exchangeOf(request)
  if (exchange !== null) runHandler(cache, exchange, { request, reply })
}

/** The instance's onSend hook: keeps the handler's answer, or has a stale entry stand in for its error. */
export function captureHook (cache: ResponseCache, limits: AnswerLimits): onSendHookHandler {
  const hook: onSendHookHandler = (request, reply, payload, done) => {
    const { [STATE]: state } = request as Carrier
    if (state == null) return done(null, payload)
    if ('entry' in state) return done(null, passOn(cache, state, { reply, payload }))
    const sent = takeAnswer(cache, state, { request: request as RequestView, reply, payload, limits })
    if (!(sent instanceof Promise)) return done(null, sent)
    sent.then((payload) => { done(null, payload) }).catch((error: Error) => { done(error) })
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.capture })
}

/** A route's last onSend hook: stores the captured answer, and says what the cache did. */
export function announceHook (cache: ResponseCache, site: Site, signals: Signals): onSendHookHandler {
  const hook: onSendHookHandler = (request, reply, payload, done) => {
    const carrier = request as Carrier
    const state = carrier[STATE] ??=
      openExchange(site, request as RequestView, { before: {}, headers: {}, marks: marksOf(request), ticket: null })
    if (!('entry' in state)) releaseAnswer(cache, state, { reply, payload, signals })
    else if (state.stage !== 'announced') {
      state.stage = 'announced'
      announce(reply, state.outcome, signals)
      if (site.surrogates !== null) nameEntry(site.surrogates, state, { reply, payload })
    }
    endTurn(carrier)
    done(null, payload)
  }
  return Object.defineProperty(hook, 'name', { value: OUR_HOOKS.announce })
}

/** The onResponse hook of a route whose lookup is awaited: what did not get through the onSend chain is an answer, too. */
export const turnHook: onResponseHookHandler = (request, _reply, done) => {
  endTurn(request as Carrier)
  done()
}

function endTurn ({ [TURN]: turn }: Carrier): void {
  if (turn?.stage !== 'taken') return
  turn.stage = 'answered'
  turn.onAnswered()
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
