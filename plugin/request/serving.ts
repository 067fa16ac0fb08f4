// A request of a cached route, where its lookup stands: the hit path, and the way of all others.
//
// A fresh hit is what this package is for, so it takes a way of its own: what is at hand in this process (`glance`), or one
// read together with all others of this turn; then the entry is sent, past the reply where nobody looks at what is sent.
// Anything but a fresh hit continues in search.ts, with the result of that read.
//
// Such a read is answered in the asynchronous context of whichever request asked first, so each goes on in its own: that is
// where an AsyncLocalStorage has its user, its id, its span.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AsyncResource } from 'node:async_hooks'
import { IncomingMessage } from 'node:http'
import { Http2ServerRequest } from 'node:http2'
import { statusFieldOf, type Signals } from './announcement.js'
import type { ResponseCache } from '../cache/cache.js'
import { conclude } from './capture.js'
import { ARRIVAL, EXCHANGE, HEADERS, LISTENERS, OUTCOME, TICKET, marksOf, type Carrier } from './carrier.js'
import { Departure } from './departure.js'
import type { Milliseconds } from '../duration.js'
import { isFresh, mayBeDue, type Entry } from '../entry/entry.js'
import { channels, stamp, tellLookup } from '../telling/events.js'
import { abandon, openExchange, type Exchange, type RequestView, type Site } from './exchange.js'
import { HarmlessLog } from '../telling/log.js'
import type { OwnRequests } from './own-request.js'
import type { CacheOutcome } from '../telling/outcome.js'
import { writeEntry } from '../send/past-reply.js'
import { watchRawAnswer } from './raw-answer.js'
import { sendEntry } from '../send/reply.js'
import { search, type Searching } from './search.js'
import { isPacked, unpacked } from '../send/unpacking.js'
import { select, type Selector, type Wanted } from './selecting.js'
import type { Reader, Reading } from '../store/store.js'
import { trailersOf } from '../response/trailers.js'
import { askFor, readyEntry, type FirstAsk, type First } from '../cache/variant.js'

/** What the hooks set in motion. */
export interface Engine { cache: ResponseCache, own: OwnRequests, signals: Signals }

export interface Pair { request: FastifyRequest, reply: FastifyReply }

/** A request whose lookup has come; `proceed` has it go on. */
export interface Waiting extends Pair { proceed: () => void }

/** Sends the entry; or calls `proceed`, once, for the request to go on; or neither, where it is answered already. */
export function lookup (engine: Engine, site: Site, { request, reply, proceed }: Waiting): void {
  const { cache } = engine
  // A hook has begun an answer past Fastify: that is not ours to end.
  if (reply.raw.headersSent) {
    begin(site, { request, reply })
    return proceed()
  }
  const { [HEADERS]: kept } = request as Carrier
  const began = stamp(channels.lookup)
  if (!cache.isReady) return searchAndServe(engine, site, { request, reply, proceed, began })
  const caller = { counters: site.counters, log: new HarmlessLog(request.log), source: site.source }
  const selector = { site, caller, request: request as RequestView, headers: kept ?? request.headers }
  const selecting = select(cache, selector)
  if (selecting instanceof Promise || 'bypass' in selecting || selecting.toRefresh) {
    return searchAndServe(engine, site, { request, reply, proceed, began, selector, selecting })
  }
  const attempt = new Attempt(engine, { request, reply, proceed, began, selector, wanted: selecting })
  attempt.run()
}

interface Going extends Pair, Pick<Searching, 'selecting' | 'first'> {
  proceed: () => void
  /** 0: nobody listens. */
  began: Milliseconds
  selector?: Selector
}

/** Serves what is no fresh hit, or can't be written past the reply. */
function searchAndServe (engine: Engine, site: Site, going: Going): void {
  const { request, reply, proceed, began, selector, selecting, first } = going
  const { cache, own } = engine
  const { [ARRIVAL]: arrival } = request as Carrier
  const exchange = begin(site, { request, reply })
  const { headers, caller } = exchange
  exchange.lookupBegan = began
  if (selector !== undefined) selector.headers = headers
  const answer = (entry: Entry | null): void => {
    if (exchange.captured || reply.sent) return
    if (entry === null) {
      if (exchange.claim !== null) watchEnd(cache, exchange, reply)
      exchange.handlerBegan = stamp(channels.handler)
      return proceed()
    }
    sendEntry(reply, { entry, headers, now: cache.now(), asSent: site.hasOthersOnSend, declared: site.policy.cacheControl })
    if (exchange.refreshable !== null && arrival != null) own.refresh(exchange.refreshable, arrival, caller)
  }
  search(cache, exchange, { request: request as RequestView, selecting, first }).then(answer)
    .catch((error: unknown) => { failedToSend({ request, reply }, error) })
}

/** What throws is an entry that can't be sent: the client gets the error, or where part of an answer is sent, no more. */
export function failedToSend ({ request, reply }: Pair, error: unknown): void {
  const log = new HarmlessLog(request.log)
  log.warn({ err: error }, 'cache entry could not be sent')
  try {
    if (!reply.sent && !reply.raw.headersSent) reply.send(error)
  } catch (again) {
    log.warn({ err: again }, 'nor could the error')
  }
  // A client waits for the end of what has begun.
  if ((reply.sent || reply.raw.headersSent) && !reply.raw.writableEnded) reply.raw.destroy()
}

interface Attempting extends Pair {
  proceed: () => void
  /** 0: nobody listens. */
  began: Milliseconds
  selector: Selector
  wanted: Wanted
}

/** One request on the hit path. */
class Attempt implements Reader {
  readonly #engine: Engine
  readonly #of: Attempting
  readonly #asked: FirstAsk
  /** The request's; null: nothing was asked of the store. */
  #context: AsyncResource | null = null

  constructor (engine: Engine, of: Attempting) {
    this.#engine = engine
    this.#of = of
    this.#asked = askFor(engine.cache.shelf, of.wanted.key, of.wanted.selection)
  }

  run (): void {
    const { store } = this.#engine.cache.shelf
    const near = store.kind === 'redis' && this.#isPart() ? null : store.glance(this.#asked)
    if (near !== null && this.#serve(near)) return
    if (near !== null && store.kind === 'memory') return this.#searchAndServe({ reading: near, error: null, left: 0 })
    this.#context = new AsyncResource('RouteCacheLookup')
    store.ask(this.#asked, this)
  }

  /**
   * A handler asks its own app, perhaps, for a part of what is to be stored. What is near may be behind by a message, and
   * what is made of it would stay so.
   */
  #isPart (): boolean {
    const raw: object = this.#of.request.raw
    return this.#engine.cache.isFilling && !(raw instanceof IncomingMessage) && !(raw instanceof Http2ServerRequest)
  }

  read (reading: Reading, left: Milliseconds): void {
    this.#context!.runInAsyncScope(this.#answered, this, reading, left)
  }

  failed (error: unknown): void {
    this.#context!.runInAsyncScope(this.#failed, this, error)
  }

  #answered (reading: Reading, left: Milliseconds): void {
    if (!this.#isOver && !this.#serve(reading)) this.#searchAndServe({ reading, error: null, left })
  }

  #failed (error: unknown): void {
    if (!this.#isOver) this.#searchAndServe({ reading: null, error, left: 0 })
  }

  /** A time-out, for example, has answered. */
  get #isOver (): boolean {
    const { request, reply } = this.#of
    return reply.sent || (request as Carrier)[EXCHANGE] != null
  }

  #searchAndServe (first: Omit<First, 'asked'>): void {
    const { selector, request, reply, proceed, began, wanted } = this.#of
    const { reading, error, left } = first
    const known = { asked: this.#asked, reading, error, left }
    const going = { request, reply, proceed, began, selector, selecting: wanted, first: known }
    searchAndServe(this.#engine, selector.site, going)
  }

  /** False where it is no fresh hit. */
  #serve (reading: Reading): boolean {
    const { cache } = this.#engine
    const { selector: { site, headers }, wanted } = this.#of
    const now = cache.now()
    const entry = readyEntry(this.#asked, wanted.selection, { reading, limits: cache.shelf.limits })
    if (entry?.isOfFormerBuild === true) cache.formerBuild.notice(entry)
    if (entry === null || !isFresh(entry, now) || (site.policy.earlyRefresh && mayBeDue(entry, now))) return false
    // What was at hand says nothing of how soon Redis answers.
    if (!reading.isNear) cache.breaker.succeeded()
    if (isPacked(entry, headers)) this.#unpack(entry, reading)
    else this.#hit(entry, reading.isKept)
    return true
  }

  /** Few clients accept no coding: the body is decoded for them. A body that can't be is a miss: search.ts replaces it. */
  #unpack (entry: Entry, reading: Reading): void {
    unpacked(entry).then((whole) => {
      if (!this.#isOver) this.#hit(whole, false)
    }, () => {
      if (!this.#isOver) this.#searchAndServe({ reading, error: null, left: 0 })
    })
  }

  #hit (entry: Entry, isKept: boolean): void {
    const { selector: { caller }, wanted: { key } } = this.#of
    caller.counters.hits++
    caller.log.debug({ key }, 'cache hit')
    try {
      this.#send(entry, this.#engine.cache.now(), isKept)
    } catch (error) {
      failedToSend(this.#of, error)
    }
  }

  #send (entry: Entry, now: Milliseconds, isKept: boolean): void {
    const { selector: { site, headers }, request, reply, began, wanted: { key } } = this.#of
    const outcome: CacheOutcome = { type: 'hit', key, ttl: Math.ceil((entry.staleAt - now) / 1000), collapsed: false }
    if (channels.lookup.hasSubscribers) tellLookup(site.source, request, { outcome, began })
    const say = (): string[] => statusFieldOf(outcome, this.#engine.signals)
    const declared = site.policy.cacheControl
    const hit = { entry, headers, now, asSent: site.hasOthersOnSend, declared, ttl: outcome.ttl, isKept, say }
    if (site.isUnseen) {
      ;(request as Carrier)[OUTCOME] = outcome
      if (writeEntry(reply, hit)) return
    }
    const exchange = begin(site, this.#of)
    exchange.outcome = outcome
    exchange.entry = entry
    sendEntry(reply, hit)
  }
}

export function begin (site: Site, { request, reply }: Pair): Exchange {
  const carrier = request as Carrier
  const { [HEADERS]: kept, [TICKET]: ticket = null } = carrier
  // Validation may take headers away.
  const headers = kept ?? { ...request.headers }
  const opening = { before: reply.getHeaders(), headers, marks: marksOf(request), ticket }
  carrier[EXCHANGE] = openExchange(site, request as RequestView, opening)
  return carrier[EXCHANGE]
}

/** Concludes with the response: it may end without onSend, hijacked, or written past Fastify. */
export function watchEnd (cache: ResponseCache, exchange: Exchange, reply: FastifyReply): void {
  // The client has left during the lookup: `close` has been.
  if (reply.raw.closed) return abandon(cache, exchange)
  watchRawAnswer(cache, exchange, reply)
  exchange.trailers = trailersOf(reply)
  let isSent = false
  // Not `writableFinished`, which stays false under `inject`.
  reply.raw.once('finish', () => { isSent = true })
  reply.raw.once('close', () => {
    // Where a client has left, the handler is still running, and its onSend is still to come.
    if (exchange.captured || reply.sent) conclude(cache, exchange, { reply, isSent })
    // Of a request of our own: nobody waits for that.
    else if (exchange.outcome.type === 'own') abandon(cache, exchange, true)
    else exchange.claim?.flight.limit(exchange.site.policy.waitTimeout, () => { abandon(cache, exchange, true) })
  })
  const { request, request: { server, raw } } = reply
  // The line above; who listened before; and who listens to the server beside Fastify may have come to do so since.
  const others = 1 + ((request as Carrier)[LISTENERS] ?? 0) + server.server.listenerCount('request') - 1
  exchange.departure = new Departure({ request: raw, reply: reply.raw }, others)
}
