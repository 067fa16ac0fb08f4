// The state of one request of a cached route: an entry is on its way to the client (`Served`), or it goes to its handler
// (`Exchange`). And how a request leaves the cache without a fill.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ResponseCache } from '../cache/cache.js'
import { refuse, channels, since, tell, tellLookup, HarmlessLog, type Caller, type Log, type Source, type Worth } from '../telling/events.js'
import type { Claim, Spare, Selection, Targets } from '../cache/claim.js'
import type { Milliseconds } from '../duration.js'
import { staleSince, type EncodedBody, type Entry, type HeaderField, type PayloadKind } from '../entry/entry.js'
import type { HeaderFields } from '../http/headers.js'
import type { Validated, ValidatedPart } from './validation.js'
import type { Kept } from '../cache/fill.js'
import type { Policy } from '../route/policy.js'
import type { BypassReason, CacheOutcome, RefusalReason } from '../telling/outcome.js'
import { count, type Counters } from '../telling/stats.js'
import type { RawResponseView } from '../send/reply.js'
import type { NamedResponse, SurrogateKeys } from '../send/surrogate-keys.js'
import type { Recording } from '../response/recording.js'
import type { Trailers } from '../response/payload.js'
import type { UserMark } from '../users/identity.js'
import { without } from '../cache/lookup.js'
import { checkTags, type KeySource } from '../key/key.js'
import type { Arrival, Ticket } from './own-request.js'

/** A cached route. */
export interface Site {
  policy: Policy
  counters: Counters
  /** The subject of its events. */
  source: Source
  /** Where its requests write; null: each to its own log. */
  log: Log | null
  /** Measures whether its cache is worth its cost. */
  worth: Worth
  /** How many of its lookups, one after the other, have found nothing to serve. */
  missesInARow: number
  /** The place of its lookup: the handler, until it is known that nothing behind onRequest could refuse the request. */
  place: 'onRequest' | 'handler'
  /** A framework has guards of its own in the handler; the lookup waits until it says that a request has passed them. */
  isAwaited: boolean
  /** Names its responses for caches in front; null: nobody is told their names. */
  surrogates: SurrogateKeys | null
  /** Something in front of its handler may tell users apart, and the policy says nothing of them: all go past the cache. */
  isUnsaid: boolean
  /** Whether others' onSend hooks look at the payload: they get a payload of the kind that the handler sent. */
  hasOthersOnSend: boolean
  /** Whether no onSend hook comes ahead of ours. */
  isFirstOnSend: boolean
  /** Whether no onSend hook comes behind ours. */
  isLastOnSend: boolean
  /** Which of params, query and headers are validated; null: nobody has asked yet. */
  validated: readonly ValidatedPart[] | null
  /** The lookup stands behind the validation, not in onRequest: only so a request is validated once. */
  isPostponed: boolean
  /** A function of the policy makes its key or its tags of the request. */
  looksAtRequest: boolean
  /** A function of the policy is given the reply of an answer that is captured. */
  looksAtReply: boolean
  /** A hook ahead of our capture makes 304s of the handler's answers: it must not see the conditions before us. */
  isNarrowedAhead: boolean
  /** The fields by which its responses varied last. */
  hint: Selection['hint']
  /** Hears of each answer that is refused, once it is counted. */
  onRefused: (reason: RefusalReason) => void
  /** The log has said why requests go past the cache. */
  isExplained: boolean
  /** And that something is said of its responses too late. */
  isTooLate: boolean
}

/** The calls of `reply.noCache` and `reply.cacheTags` so far. */
export interface Marks {
  noCache: boolean
  /** An array of its own: tags may be added. */
  tags: string[]
}

/**
 * How far a request has come that goes to its handler:
 *
 *   looking    its lookup is under way; or it goes past the cache
 *   missed     its handler may begin
 *   running    the route's own handler was called
 *   captured   its answer has entered the onSend chain, or was sent past Fastify
 *   committed  the answer has left the chain: `Cache-Status` is set, and the response is stored as soon as it is whole
 *   concluded  the response is over
 */
export type Stage = 'looking' | 'missed' | 'running' | 'captured' | 'committed' | 'concluded'

/** A request whose entry is on its way to the client. */
export interface Served {
  /** Given to the reply; past our capture; past all onSend hooks. */
  stage: 'served' | 'passed' | 'announced'
  site: Site
  outcome: Extract<CacheOutcome, { type: 'hit' | 'stale' }>
  entry: Entry
  /** The policy's tags for this request: the entry may be of a build that had others. */
  tags: readonly string[]
  /** The request's headers as they came. */
  headers: RequestView['headers']
  /** The reply's fields at the lookup, as far as they are needed: they are this request's, not the entry's. */
  before: HeaderFields
  /** An error was raised: the response is the error's. */
  failed: boolean
}

/** A request that goes to its handler, or that may yet. */
export interface Exchange {
  stage: Stage
  site: Site
  request: RequestView
  caller: Caller
  outcome: CacheOutcome
  /** The request's headers as they came: validation and handlers may take some away. */
  headers: RequestView['headers']
  /** The reply's fields at the lookup: they are this request's, not the entry's. */
  before: HeaderFields
  /** `reply.noCache` and `reply.cacheTags`, until the response is stored. */
  marks: Marks
  /** The identity of the request when the lookup was done. */
  identity: string | undefined
  /** The key that the request selects, and the policy's tags for it; null: they are not known. */
  named: NamedResponse | null
  /** When the lookup began; 0: nobody listened to lookups. */
  lookupBegan: Milliseconds
  /** When the handler could begin. */
  began: Milliseconds
  /** The same instant for events; 0: nobody listened to handlers, or the event was published. */
  handlerBegan: Milliseconds
  /** Held from a miss until the fill, or until it is clear that there will be none. */
  claim: Claim | null
  /** Why there is no claim after a miss. */
  unclaimed: RefusalReason
  /** The stale entry that may stand in where the handler fails. */
  spare: Spare | null
  /** The stale entry that the handler is asked about; null: it is asked for a response. */
  toValidate: Spare | null
  /** How long the response is served; null: as the policy says. */
  life: Milliseconds | null
  /** The reply's trailers when the handler could begin. */
  trailers: Trailers
  /** Whether the client leaves before the handler has answered; null: nobody has looked. */
  departure: Departure | null
  /** The next look for an answer past Fastify. */
  nextLook: NodeJS.Timeout | undefined
  /** Puts the conditional fields back that the handler was not to see; null: it saw the request as it came. */
  restoreConditions: (() => void) | null
  /** An error was raised, and since then nothing was captured: what is sent is the error's answer. */
  failed: boolean
  /** The handler's answer takes the place of the entry that is stored, be the answer stored itself or not. */
  replaces: boolean
  /** Why the answer is not stored, where it is known that it isn't, for what it, the request or the policy is. */
  refused: RefusalReason | null
  /** The answer was made 304 or 206 for this client. */
  isNarrowed: boolean
  /** The captured answer; null until then, and where it is not stored. */
  answer: Captured | null
  /** The answer from when it is being stored; null until then, and if it is not stored. */
  kept: Kept | null
}

/** Whether an answer has been seen on its way out. */
export function isAnswered ({ stage }: Exchange): boolean {
  return stage === 'captured' || stage === 'committed' || stage === 'concluded'
}

/** A response between its capture and its fill. */
export interface Captured {
  status: number
  headers: HeaderField[]
  members: readonly string[]
  kind: PayloadKind
  /** How long it is fresh; and how long beyond that it may be served while it is refreshed, or where that fails. */
  life: Milliseconds
  stale: Milliseconds
  rescue: Milliseconds
  /** When it came; how many seconds old it was then, null where its own fields don't say for how long it is served. */
  at: Milliseconds
  age: number | null
  /** How long the handler took. */
  cost: Milliseconds
  /** The body is compressed before it is stored, if it is long enough. */
  isEncoded: boolean
  /** The bytes of the entry that it is made of, and its coded bodies and tags, where the handler found nothing changed. */
  basis: Buffer | null
  encoded: readonly EncodedBody[] | null
  tags: readonly string[]
  /** The Content-Length; null: there is none. */
  length: number | null
  /** The whole body, or its recording. */
  body: Buffer | Recording
  /** Ends with the body, where that is not sent to the client, but read to be stored; null: it is sent. Never rejects. */
  drained: Promise<void> | null
  /** All fields of the response when it left the onSend chain; null until then. */
  leaving: HeaderFields | null
}

/** As much of a request as is looked at here. */
export interface RequestView extends Validated {
  method: string
  raw: object
  url: string
  /** The target, as the client sent it. */
  originalUrl: string
  host: string
  headers: Record<string, string | string[] | undefined>
  log: Caller['log']
}

/** As much of a reply as is captured, and set. */
export interface CapturedReply {
  statusCode: number
  raw: RawResponseView
  getHeader: (name: string) => HeaderFields[string]
  getHeaders: () => HeaderFields
  code: (status: number) => unknown
  header: (name: string, value: string | string[]) => unknown
  removeHeader: (name: string) => unknown
}

/** The parts that a request comes with. */
export interface Opening extends Pick<Exchange, 'before' | 'headers' | 'marks'> {
  /** The ticket of an internal request; null: a client's request. */
  ticket: Required<Pick<Caller, 'onEnd'>> | null
}

export function openExchange (site: Site, request: RequestView, { before, headers, marks, ticket }: Opening): Exchange {
  const caller: Caller = { counters: site.counters, log: new HarmlessLog(site.log ?? request.log), source: site.source }
  if (ticket !== null) caller.onEnd = ticket.onEnd
  return {
    stage: 'looking',
    site,
    request,
    caller,
    outcome: { type: 'bypass', reason: 'answered' },
    headers,
    before: withOwnArrays(before),
    marks,
    identity: undefined,
    named: null,
    lookupBegan: 0,
    began: 0,
    handlerBegan: 0,
    claim: null,
    unclaimed: 'lease',
    spare: null,
    toValidate: null,
    life: null,
    trailers: {},
    departure: null,
    nextLook: undefined,
    restoreConditions: null,
    failed: false,
    replaces: false,
    refused: null,
    isNarrowed: false,
    answer: null,
    kept: null
  }
}

/** Fastify gives a new object, with the arrays that it has itself: it adds cookies to them. */
function withOwnArrays (fields: Record<string, HeaderFields[string]>): HeaderFields {
  for (const name in fields) {
    const value = fields[name]
    if (Array.isArray(value)) fields[name] = [...value]
  }
  return fields
}

/** Counts and says that the request goes past the cache. */
export function bypass (exchange: Exchange, reason: BypassReason, mark?: UserMark): null {
  const { caller, site: { policy } } = exchange
  const detail = mark === undefined || mark.detail === reason ? undefined : mark.detail
  exchange.outcome = detail === undefined ? { type: 'bypass', reason } : { type: 'bypass', reason, detail }
  count(caller.counters.bypasses, reason)
  tellOutcome(exchange)
  caller.log.debug({ route: policy.route, reason, detail, mark: mark?.words }, 'cache bypass')
  return null
}

/** Publishes the lookup's outcome, where anybody listens. */
export function tellOutcome ({ caller, request, outcome, lookupBegan: began }: Exchange): void {
  if (channels.lookup.hasSubscribers && outcome.type !== 'own') tellLookup(caller.source, request, { outcome, began })
}

/** Publishes that the handler has answered, where anybody listens; once. */
export function tellAnswer (exchange: Exchange, status: number): void {
  const { caller: { source: { instance, route } }, outcome, site: { worth } } = exchange
  const duration = since(exchange.handlerBegan)
  exchange.handlerBegan = 0
  if (duration === null) return
  if (outcome.type === 'miss') worth.answered(duration)
  if (!channels.handler.hasSubscribers) return
  const why = outcome.type === 'own' ? 'refresh' : outcome.type === 'miss' ? 'miss' : 'bypass'
  tell('handler', instance, { route, key: keyToFill(exchange), why, status, duration })
}

/** After these refusals the next answer may well be stored, so requests may wait for it. */
const WORTH_WAITING: readonly RefusalReason[] = ['incomplete', 'disabled', 'lease']

/** The key under which the answer is to be stored; null where it isn't. */
export function keyToFill ({ outcome }: Exchange): string | null {
  return outcome.type === 'miss' || outcome.type === 'own' ? outcome.key : null
}

/** Until the entry is stale; 0 or less where it is. */
export function secondsLeft (entry: Entry, now: Milliseconds): number {
  return Math.floor((staleSince(entry) - now) / 1000)
}

/** Refusals by the handler's answer itself: it is another response than the entry that is there. */
const OF_THE_ANSWER: readonly RefusalReason[] = [
  'status', 'set-cookie', 'no-store', 'private', 'vary', 'payload', 'trailer', 'response', 'size', 'header', 'no-cache-called', 'store-if', 'ttl'
]

/** Refusals by what happens beside the request: they say nothing of its response, and a next one may be stored. */
const OF_THE_MOMENT: readonly RefusalReason[] = ['error', 'lease', 'waiters', 'disabled', 'store', 'outdated', 'incomplete', 'diverted']

/** Refusals by the answer, found after its capture. Not `set-cookie` or `head`: there, others than the handler wrote. */
const OF_THE_CAPTURED: readonly RefusalReason[] = ['size', 'no-cache-called', 'ttl']

/** Whether the entry that is there ends with this answer. */
function endsEntry ({ claim, replaces, answer }: Exchange, reason: RefusalReason): boolean {
  return replaces && claim?.isOccupied === true && (answer === null ? OF_THE_ANSWER : OF_THE_CAPTURED).includes(reason)
}

/** Says why the answer is not stored, and gives the lease back. */
export function refuseAnswer (cache: ResponseCache, exchange: Exchange, reason: RefusalReason): void {
  const key = keyToFill(exchange)
  const { claim, caller, outcome } = exchange
  const isEnd = endsEntry(exchange, reason)
  if (isEnd && outcome.type === 'own' && outcome.why === 'refresh') caller.onEnd?.('replaced')
  if (key !== null) {
    refuse(key, reason, caller)
    if (!OF_THE_MOMENT.includes(reason)) exchange.refused ??= reason
    exchange.site.onRefused(reason)
  }
  exchange.answer = null
  if (isEnd) {
    exchange.claim = null
    return cache.end(claim!, caller)
  }
  const isWorthWaiting = (WORTH_WAITING.includes(reason) && !(reason === 'incomplete' && exchange.outcome.type === 'own')) ||
    (reason === 'status' && exchange.site.isNarrowedAhead)
  abandonFill(cache, exchange, !isWorthWaiting)
}

/** Gives back the lease, if it is still held; `pass`: nobody is to wait for the next answer under this key. */
export function abandonFill (cache: ResponseCache, exchange: Exchange, pass = false): void {
  const { claim, caller } = exchange
  if (claim === null) return
  exchange.claim = null
  cache.abandon(claim, caller, pass)
}

// The cache's own properties of a request, under symbols: they can't collide with other plugins', and are not printed with
// it.

/** How far the request has come. */
export const STATE = Symbol('fastify-route-cache.state')
/** `reply.noCache` and `reply.cacheTags`, called by its hooks and its handler. */
export const MARKS = Symbol('fastify-route-cache.marks')
/** How it came, where a later refresh may come the same way. */
export const ARRIVAL = Symbol('fastify-route-cache.arrival')
/** The headers as the lookup found them. */
export const HEADERS = Symbol('fastify-route-cache.headers')
/** The ticket of an internal request: its purpose. */
export const TICKET = Symbol('fastify-route-cache.ticket')
/** Params and query of an unsafe request, as they came. */
export const SOURCE = Symbol('fastify-route-cache.source')

/** The validation has refused it. */
export const INVALID = Symbol('fastify-route-cache.invalid')
/** How many listened to the reply's end when the request arrived: no handlers. */
export const LISTENERS = Symbol('fastify-route-cache.listeners')

/** The changes that a request declares, and how they are concluded. */
export const CHANGE = Symbol('fastify-route-cache.change')

/** The turn of a request whose framework has guards of its own in the handler. */
export const TURN = Symbol('fastify-route-cache.turn')

/** Waits in a request until its framework lets it pass to the app's own code. */
export interface Turn {
  /**
   * Called in place of that code, behind all that may refuse the request. Resolves with what `run` gives, or with a value
   * that was given in its place. Where the request is answered without it, resolves with undefined, when the answer is on
   * its way, if `isWrapped`; if not, never: the framework would send what it resolves with.
   */
  take: (run: () => unknown) => Promise<unknown>
  /** The header fields that the framework has set for that code, in lower case: they are its answer's. */
  fields: readonly string[]
  /** Before that code; the lookup has begun; that code is running; the request was answered without it. */
  stage: 'waiting' | 'taken' | 'passed' | 'answered'
  /** Ours stands around that code: what comes of it once the request is answered reaches no framework. */
  isWrapped: boolean
  /** Called if the request is answered without that code, once its lookup has begun. */
  onAnswered: () => void
}

/** The request's turn, at any stage; null: it has none. */
export function turnOf (request: unknown): Turn | null {
  if (typeof request !== 'object' || request === null || !(TURN in request)) return null
  const { [TURN]: turn } = request as Carrier
  return turn ?? null
}

/** A request that declares changes, from when its handler begins. */
export interface Change {
  /** An error was raised: what is sent is the error's answer. */
  failed: boolean
  /**
   * To be called when the answer is about to leave, which waits for this. Never rejects. Resolves with what was invalidated;
   * null: nothing was.
   */
  conclude: () => Promise<Concluded | null>
}

/** What a write has invalidated. */
export interface Concluded {
  targets: Targets
  /** The store could not be told yet. */
  isLate: boolean
}

export interface Carrier {
  [ARRIVAL]?: Arrival | null
  [HEADERS]?: RequestView['headers'] | null
  [SOURCE]?: KeySource | null
  [STATE]?: Exchange | Served | null
  [MARKS]?: Marks | null
  [TICKET]?: Ticket | null
  [CHANGE]?: Change | null
  [TURN]?: Turn | null
  [LISTENERS]?: number | null
  [INVALID]?: boolean
}

/** The cache's outcome for this request, as far as it is known by now; null: the route is not cached. */
export function outcomeOf (request: object): CacheOutcome | null {
  const { [STATE]: state, [TICKET]: ticket } = request as Carrier
  // Also while the hooks run that come before the lookup: one that counts requests, or refuses too many, may let it pass.
  if (ticket != null) return { type: 'own', key: ticket.filling, why: ticket.why }
  return state?.outcome ?? null
}

/** The request's way to its handler; null: an entry is sent, or its lookup has not come. */
export function exchangeOf (request: object): Exchange | null {
  const { [STATE]: state } = request as Carrier
  return state == null || 'entry' in state ? null : state
}

/** A request and its reply where the lookup begins. */
interface Found { request: object, reply: { getHeaders: () => Record<string, HeaderFields[string]> } }

/** Opens the request's way to its handler. */
export function openOn (site: Site, { request, reply }: Found): Exchange {
  const carrier = request as Carrier
  const { [HEADERS]: kept, [TICKET]: ticket = null } = carrier
  // Validation may take headers away.
  const headers = kept ?? { ...(request as RequestView).headers }
  const opening = { before: reply.getHeaders(), headers, marks: marksOf(request), ticket }
  const exchange = openExchange(site, request as RequestView, opening)
  carrier[STATE] = exchange
  return exchange
}

/** Keeps this request's response out of the store. */
export function markNoCache (request: object): void {
  marksOf(request).noCache = true
  noteLateCall(exchangeOf(request), { call: 'reply.noCache' })
}

export function marksOf (request: object): Marks {
  const carrier = request as Carrier
  carrier[MARKS] ??= { noCache: false, tags: [] }
  return carrier[MARKS]
}

/** Keeps the tags for this request's response; bad ones keep it out of the store instead: no request fails by them. */
export function markTags (request: Pick<RequestView, 'log'>, tags: readonly unknown[]): void {
  const marks = marksOf(request)
  try {
    const named = checkTags(tags)
    // One after another, as handlers name them in loops.
    for (const tag of named) marks.tags.push(tag)
    noteLateCall(exchangeOf(request), { call: 'reply.cacheTags', tags: named })
  } catch (error) {
    request.log.error({ err: error }, 'reply.cacheTags was called with what is no tag: the response is not stored')
    marks.noCache = true
    noteLateCall(exchangeOf(request), { call: 'reply.cacheTags' })
  }
}

/** Notes that an error was raised: the response that is sent is the error's. */
export function markFailed (request: object, error: unknown): void {
  const { [STATE]: state, [CHANGE]: change } = request as Carrier
  if (state != null) state.failed = true
  else if (isOfValidation(error)) (request as Carrier)[INVALID] = true
  const exchange = exchangeOf(request)
  exchange?.restoreConditions?.()
  exchange?.departure?.raised(error)
  if (change != null) change.failed = true
}

/** Fastify says so of each error that refuses a request. */
function isOfValidation (error: unknown): boolean {
  return (error as { validationContext?: unknown } | null | undefined)?.validationContext !== undefined
}

// `reply.cacheTags()` and `reply.noCache()` count until the response is given to the store: while its handler runs, in
// onSend hooks, while its stream is read. A response of which they say something later is not kept, and the log says so,
// once for each route. Of a response that is not stored (a hit, a HEAD, past the cache, refused) there is nothing to say.

/** Absent tags: it is not to be stored at all. */
interface LateCall { call: 'reply.noCache' | 'reply.cacheTags', tags?: readonly string[] }

/** Takes back a response that is being stored, or is stored already, unless the late call changes nothing. */
function noteLateCall (exchange: Exchange | null, { call, tags }: LateCall): void {
  if (exchange === null || exchange.kept === null) return
  const { kept, site, caller: { log } } = exchange
  if (tags !== undefined && without(tags, kept.tags).length === 0) return
  kept.giveUp(() => {
    if (site.isTooLate) return
    site.isTooLate = true
    log.warn(Object.assign({ route: site.policy.route, call }, tags !== undefined && { tags }), `${call}() was called when the response had ` +
      `been sent, and was on its way to the store, or there: it is not kept. ${INSTEAD[call]}`)
  })
}

const EARLIER = 'in a hook before the handler, in the handler before reply.send() or return, in an onSend hook, or while a stream is read'

const INSTEAD: Readonly<Record<LateCall['call'], string>> = {
  'reply.cacheTags': `Call it earlier: ${EARLIER}; or name tags that the request tells in the route's option: ` +
    'cache: { tags: [\'author:{id}\'] }',
  'reply.noCache': `Call it earlier: ${EARLIER}; or have the route's option tell: cache: { storeIf: (reply) => ... }`
}

// A client that leaves before its handler has answered. The handler goes on, and its answer is welcome: others may wait for
// it. But a handler that notices may stop half-way, and then answers with a part of the whole (three rows of five), which
// must not be stored. Whether it stopped can't be known, so an answer counts as whole only where nobody could notice:
//
//   - Nobody listens to the end of the request, of the reply or of the socket. `request.signal` does, as do `handlerTimeout`
//     and onRequestAbort hooks. A listener from before our first hook, a tracer's for example, is not the handler's.
//   - Nobody asks one of the three whether it is destroyed, between its end and the answer. For so long their properties
//     tell us that they are read; the values are the same.
//
// If somebody noticed and did not stop, the handler runs once more than necessary.

/** Node's objects of a request and its reply. */
interface RawPair { request: IncomingMessage, reply: ServerResponse }

/** Properties that tell that the client has left. */
const SIGNS = ['aborted', 'destroyed', 'closed', 'readableAborted', 'errored'] as const

/** Names and codes of the errors of an aborted signal, and of undici, axios and others that follow one. */
const ABORTS: readonly unknown[] = ['AbortError', 'ABORT_ERR', 'UND_ERR_ABORTED', 'ERR_CANCELED', 'ERR_ABORTED', 'CanceledError']
const MOST_CAUSES = 5

function isAbort (error: unknown): boolean {
  let cause = error as { name?: unknown, code?: unknown, cause?: unknown } | null | undefined
  for (let depth = 0; depth < MOST_CAUSES && typeof cause === 'object' && cause !== null; depth++) {
    if (ABORTS.includes(cause.name) || ABORTS.includes(cause.code)) return true
    cause = cause.cause as typeof cause
  }
  return false
}

export class Departure {
  readonly #pair: RawPair
  /** Null over HTTP/2, where many streams share one. */
  readonly #socket: IncomingMessage['socket'] | null
  readonly #ours: readonly unknown[]
  /** How many listeners are not the handler's. */
  readonly #others: { reply: number, socket: number }
  #restore: Array<() => void> = []
  #isOver = false
  /** The client left before the answer came, and somebody could notice that. */
  wasNoticed = false
  #isAbort = false

  /** `others`: how many listeners to the reply's end are not the handler's. */
  constructor (pair: RawPair, others: number) {
    const { request, reply } = this.#pair = pair
    this.#socket = request.httpVersionMajor === 2 ? null : request.socket
    this.#others = { reply: others, socket: this.#socket?.listenerCount('close') ?? 0 }
    const leave = (): void => { this.#leave() }
    const watchReads = (): void => { this.#watchReads() }
    this.#ours = [leave, watchReads]
    // Ahead of others: a listener may answer at once. Not `once`, as each event comes once: taking a listener off costs more
    // than leaving it.
    request.prependListener('aborted', leave)
    request.prependListener('close', leave)
    reply.prependListener('close', leave)
    // By then Node has read them itself.
    reply.on('close', watchReads)
  }

  /** The handler noticed, and says so: it threw what an aborted signal has others throw. */
  get stopped (): boolean {
    return this.wasNoticed && this.#isAbort
  }

  /** This was thrown. */
  raised (error: unknown): void {
    this.#isAbort = isAbort(error)
  }

  /** The answer has come. */
  end (): void {
    this.#isOver = true
    for (const restore of this.#restore) restore()
    this.#restore = []
  }

  #leave (): void {
    if (this.#isOver) return
    const { request, reply } = this.#pair
    const heard = this.#listening(request, 'aborted') + this.#listening(request, 'close') + this.#listening(request, 'error') +
      Math.max(0, this.#listening(reply, 'close') - this.#others.reply) +
      Math.max(0, (this.#socket?.listenerCount('close') ?? 0) - this.#others.socket)
    this.wasNoticed ||= heard > 0
  }

  #listening (emitter: NodeJS.EventEmitter, event: string): number {
    return emitter.listeners(event).filter((listener) => !this.#ours.includes(listener)).length
  }

  #watchReads (): void {
    if (this.#isOver || this.wasNoticed) return
    const { request, reply } = this.#pair
    for (const object of [request, reply, this.#socket]) {
      for (const name of SIGNS) if (object !== null && name in object) this.#restore.push(this.#watchRead(object, name))
    }
  }

  /** Has the property say that it is read; gives how to undo that. */
  #watchRead (object: object, name: string): () => void {
    const own = Object.getOwnPropertyDescriptor(object, name)
    if (own?.configurable === false) return () => {}
    let value: unknown = own?.value
    const isOwn = own !== undefined && 'value' in own
    Object.defineProperty(object, name, {
      configurable: true,
      enumerable: own?.enumerable ?? false,
      get: () => {
        this.wasNoticed = true
        return isOwn ? value : Reflect.get(Object.getPrototypeOf(object) as object, name, object)
      },
      set: (next) => {
        if (isOwn) value = next
        else Reflect.set(Object.getPrototypeOf(object) as object, name, next, object)
      }
    })
    return () => {
      if (isOwn) Object.defineProperty(object, name, { ...own, value })
      else Reflect.deleteProperty(object, name)
    }
  }
}
