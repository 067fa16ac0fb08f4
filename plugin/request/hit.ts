// A hit, from top to bottom: what the request selects, the read, whether the entry is fresh, the response. Anything but a
// fresh hit continues in miss.ts, with the result of the read.
//
// The read is what this process has at hand (`glance`), or one that travels with those of other requests. Such a read is
// answered in the asynchronous context of the request that asked first. So each request goes on in a context of its own: an
// AsyncLocalStorage has its user, its id, its span there.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AsyncResource } from 'node:async_hooks'
import { IncomingMessage } from 'node:http'
import { Http2ServerRequest } from 'node:http2'
import type { ResponseCache } from '../cache/cache.js'
import { askFor, readyEntry, type First, type FirstAsk } from '../cache/lookup.js'
import type { Milliseconds } from '../duration.js'
import { LEAST_CHANCE, useOf, type Entry } from '../entry/entry.js'
import type { HeaderFields } from '../http/headers.js'
import { asksForPart } from '../http/request.js'
import { isResponse } from '../response/payload.js'
import { isPacked, unpacked, restored, restoreType, sendEntry, type Hit, type Signals } from '../send/reply.js'
import type { Reader, Reading } from '../store/store.js'
import { tellHit, channels, stamp, HarmlessLog } from '../telling/events.js'
import { HEADERS, STATE, openOn, type Carrier, type RequestView, type Served, type Site } from './exchange.js'
import type { OwnRequests } from './own-request.js'
import { select, type Selecting, type Selector, type Wanted } from './selecting.js'

/** The parts that a request goes through. */
export interface Engine {
  cache: ResponseCache
  own: OwnRequests
  signals: Signals
  /** Whether requests of our own may fill any route's entries again. */
  mayRefresh: boolean
}

export interface Pair { request: FastifyRequest, reply: FastifyReply }

/** A request whose lookup has come. `proceed` has it go on: to its handler, in the end. */
export interface Waiting extends Pair { proceed: () => void }

/** A request that is no fresh hit, and all that is known of its lookup. */
export interface Missing extends Waiting {
  /** When the lookup began; 0: nobody listens to lookups. */
  began: Milliseconds
  selector?: Selector
  selecting?: Selecting | Promise<Selecting>
  first?: First
}

/**
 * After so many misses in a row of a route the next one is likely: its lookup asks for the lease, too, which saves a trip to
 * Redis. Where the entry is there all the same, that costs Redis a command and a script.
 */
const LIKELY = 8

/** Serves a request that is no fresh hit. */
export type Otherwise = (engine: Engine, site: Site, missing: Missing) => void

/** Sends a fresh entry; `otherwise` serves all other requests. */
export function serveHit (engine: Engine, site: Site, waiting: Waiting, otherwise: Otherwise): void {
  const { cache } = engine
  const { request, reply, proceed } = waiting
  // A hook has begun a response past Fastify: that is not ours to end.
  if (reply.raw.headersSent) {
    openOn(site, waiting)
    return proceed()
  }
  const began = stamp(channels.lookup) || site.worth.begin()
  if (!cache.isReady) return otherwise(engine, site, { request, reply, proceed, began })
  const { [HEADERS]: headers } = request as Carrier
  const caller = { counters: site.counters, log: new HarmlessLog(site.log ?? request.log), source: site.source }
  const selector = { site, caller, request: request as RequestView, headers: headers ?? request.headers }
  const selecting = select(cache, selector)
  if (selecting instanceof Promise || 'bypass' in selecting || selecting.toRefresh) {
    return otherwise(engine, site, { request, reply, proceed, began, selector, selecting })
  }
  new FastLookup(engine, { request, reply, proceed, began, selector, wanted: selecting }, otherwise).run()
}

interface Attempt extends Waiting {
  began: Milliseconds
  selector: Selector
  wanted: Wanted
}

/** The lookup of one request, as long as it may be a fresh hit. */
class FastLookup implements Reader {
  readonly #engine: Engine
  readonly #of: Attempt
  readonly #otherwise: Otherwise
  readonly #asked: FirstAsk
  /** The request's; null: nothing was asked of the store. */
  #context: AsyncResource | null = null

  constructor (engine: Engine, of: Attempt, otherwise: Otherwise) {
    this.#engine = engine
    this.#of = of
    this.#otherwise = otherwise
    this.#asked = askFor(engine.cache.shelf, of.wanted.key, of.wanted.selection)
    if (of.selector.site.missesInARow >= LIKELY) this.#asked.toTake = this.#mayFill()
  }

  run (): void {
    const { store } = this.#engine.cache.shelf
    const near = store.kind === 'redis' && this.#mayBePart() ? null : store.glance(this.#asked)
    if (near !== null && this.#serve(near)) return
    if (near !== null && store.kind === 'memory') return this.#miss(near, null, 0)
    this.#context = new AsyncResource('RouteCacheLookup')
    store.ask(this.#asked, this)
  }

  /** A miss would be filled by this request, under the key's own lease. */
  #mayFill (): boolean {
    const { request: { method }, selector: { headers }, wanted: { key, selection } } = this.#of
    return method === 'GET' && selection.needs.length === 0 && this.#asked.variant === null && !asksForPart(headers) &&
      !this.#engine.cache.isFillingKey(key)
  }

  /**
   * A handler may ask its own app for a part of the response that it makes. An entry at hand may be behind by a message, and
   * the response made of it would stay so.
   */
  #mayBePart (): boolean {
    const raw: object = this.#of.request.raw
    return !(raw instanceof IncomingMessage) && !(raw instanceof Http2ServerRequest) && this.#engine.cache.isFilling
  }

  read (reading: Reading, left: Milliseconds): void {
    this.#context!.runInAsyncScope(this.#answered, this, reading, left)
  }

  failed (error: unknown): void {
    this.#context!.runInAsyncScope(this.#failed, this, error)
  }

  #answered (reading: Reading, left: Milliseconds): void {
    const isMiss = !isOver(this.#of) && !this.#serve(reading)
    if (isMiss) this.#miss(reading, null, left)
    else if (reading.token !== null) this.#engine.cache.untake(this.#of.wanted.key, reading.token, this.#of.selector.caller)
  }

  #failed (error: unknown): void {
    if (!isOver(this.#of)) this.#miss(null, error, 0)
  }

  #miss (reading: Reading | null, error: unknown, left: Milliseconds | null): void {
    const { request, reply, proceed, began, selector, wanted } = this.#of
    const first = { asked: this.#asked, reading, error, left, token: left === null ? null : reading?.token ?? null }
    this.#otherwise(this.#engine, selector.site, { request, reply, proceed, began, selector, selecting: wanted, first })
  }

  /** False where it is no fresh hit. */
  #serve (reading: Reading): boolean {
    const { cache } = this.#engine
    const { selector: { site: { policy }, headers }, wanted } = this.#of
    const entry = readyEntry(this.#asked, wanted.selection, { reading, decoded: cache.shelf.decoded })
    if (entry === null) return false
    if (entry.isOfFormerBuild === true) cache.formerBuild.notice(entry)
    // An entry that may be due for an early refresh goes the long way, where chance decides.
    const now = cache.now()
    const use = useOf(entry, now, { mayBeEarly: policy.earlyRefresh, chance: LEAST_CHANCE })
    if (use !== 'fresh') return false
    // An entry at hand says nothing of how soon Redis answers.
    if (!reading.isNear && cache.breaker.isDoubtful) cache.breaker.succeeded()
    if (isPacked(entry, headers)) this.#unpack(entry, reading)
    else this.#send(entry, now)
    return true
  }

  /** Few clients accept no coding: the body is decoded for them. A body that can't be decoded is a miss, and is replaced. */
  #unpack (entry: Entry, reading: Reading): void {
    unpacked(entry).then((whole) => {
      if (!isOver(this.#of)) this.#send(whole, this.#engine.cache.now())
    }, () => {
      if (!isOver(this.#of)) this.#miss(reading, null, null)
    })
  }

  #send (entry: Entry, now: Milliseconds): void {
    const { selector: { site, caller, headers }, request, reply, began, wanted: { key, selection: { tags } } } = this.#of
    site.missesInARow = 0
    const outcome = { type: 'hit' as const, key, ttl: Math.ceil((entry.staleAt - now) / 1000), collapsed: false }
    if (began > 0 && site.worth.isOn) site.worth.lookedUp(performance.now() - began, true)
    tellHit(caller, request, { outcome, began })
    // A hook behind ours may need all fields that were there before; else the content type is enough.
    const before = site.isFirstOnSend ? typeOn(reply) : reply.getHeaders()
    try {
      // Hooks ahead of ours may change the request's header fields before the entry comes to ours.
      const asAsked = site.isFirstOnSend ? headers : { ...headers }
      sendServed(reply, { stage: 'served', site, outcome, entry, tags, headers: asAsked, before, failed: false }, now)
    } catch (error) {
      failedToSend(this.#of, error)
    }
  }
}

/** Whether a time-out, for example, has answered meanwhile. */
function isOver ({ request, reply }: Pair): boolean {
  return reply.sent || (request as Carrier)[STATE] != null
}

const NO_FIELDS: HeaderFields = {}

function typeOn (reply: FastifyReply): HeaderFields {
  const type = reply.getHeader('content-type')
  return type === undefined ? NO_FIELDS : { 'content-type': type }
}

/** Sends an entry through Fastify's reply, and notes that it is on its way. */
export function sendServed (reply: FastifyReply, served: Served, now: Milliseconds): void {
  ;(reply.request as Carrier)[STATE] = served
  sendEntry(reply, hitOf(served, now))
}

/** The entry enters the onSend chain. Hooks ahead of ours may have changed it twice, on the miss and now: that is undone. */
export function passOn (
  cache: ResponseCache, served: Served, { reply, payload }: { reply: FastifyReply, payload: unknown }
): unknown {
  // The chain runs once more for an error.
  if (served.stage !== 'served') return payload
  served.stage = 'passed'
  const { entry, before, site, failed } = served
  if (failed) return payload
  if (!site.isFirstOnSend) return restored(reply, hitOf(served, cache.now()), { payload, before })
  if (entry.kind !== 'response' || !isResponse(payload)) restoreType(reply, entry, before['content-type'])
  return payload
}

function hitOf ({ entry, headers, site }: Served, now: Milliseconds): Hit {
  return { entry, headers, now, asSent: site.hasOthersOnSend, declared: site.policy.cacheControl }
}

/** An entry can't be sent: the client gets the error, or where a part of the response is sent already, no more. */
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
