// One request of a cached route and its response, on their way through the cache: what is known of them, and how they leave
// it without a fill. search.ts says which entry serves it, capture.ts what of it is stored; hooks.ts says when.
import type { ResponseCache } from '../cache/cache.js'
import { refuse, type Caller } from '../telling/caller.js'
import type { Claim, Refreshable, Spare } from '../cache/claim.js'
import type { Departure } from './departure.js'
import type { Milliseconds } from '../duration.js'
import { staleSince, type EncodedBody, type Entry, type HeaderField, type PayloadKind } from '../entry/entry.js'
import { channels, since, tell, tellLookup, type Source } from '../telling/events.js'
import { HarmlessLog } from '../telling/log.js'
import type { HeaderFields } from '../http/headers.js'
import type { Validated, ValidatedPart } from './key-source.js'
import type { Kept } from '../cache/kept.js'
import type { Policy } from '../route/policy.js'
import type { BypassReason, CacheOutcome, RefusalReason } from '../telling/outcome.js'
import { count, type Counters } from '../telling/stats.js'
import type { Recording } from '../response/recording.js'
import type { Trailers } from '../response/trailers.js'
import type { UserMark } from '../users/user-marks.js'
import type { Selection } from '../cache/variant.js'

/** A cached route. */
export interface Site {
  policy: Policy
  counters: Counters
  /** Whom events are about. */
  source: Source
  /** Where its lookup stands: the handler, until it is known that nothing behind onRequest could refuse the request. */
  place: 'onRequest' | 'handler'
  /** Whether somebody's onSend hook looks at the payload, and so must get the like of what the handler sent. */
  hasOthersOnSend: boolean
  /** Whether no onSend hook comes ahead of ours. */
  isFirstOnSend: boolean
  /** Whether no onSend hook comes behind ours. */
  isLastOnSend: boolean
  /** Nobody but us sees what is sent, or that it was. */
  isUnseen: boolean
  /** Which of params, query and headers are validated; null: nobody has asked yet. */
  validated: readonly ValidatedPart[] | null
  /** The lookup would stand in onRequest, but for the validation: that is done once, so the lookup comes behind it. */
  isPostponed: boolean
  /** A function of the policy makes its key or its tags of the request. */
  looksAtRequest: boolean
  /** A hook ahead of our capture makes a 304 of what the handler sent: it must not see the conditions before us. */
  isNarrowedAhead: boolean
  /** What its responses last varied by. */
  hint: Selection['hint']
  /** The log has said why requests go past the cache. */
  isExplained: boolean
  /** And that something is said of its responses too late. */
  isTooLate: boolean
}

/** What `reply.noCache` and `reply.cacheTags` have said so far. */
export interface Marks {
  noCache: boolean
  /** Its own: more may be added. */
  tags: string[]
}

export interface Exchange {
  site: Site
  request: RequestView
  caller: Caller
  outcome: CacheOutcome
  /** The request's headers as they came: validation and handlers may take some away. */
  headers: RequestView['headers']
  /** Who asked, when the lookup was done. */
  identity: string | undefined
  /** The entry that is served. */
  entry: Entry | null
  /** What was seen of it where it is to be filled again. */
  refreshable: Refreshable | null
  /** What may stand in where the handler fails. */
  spare: Spare | null
  /** The stale entry that the handler is asked about; null: it is asked for a response. */
  toValidate: Spare | null
  /** When the handler could begin. */
  began: Milliseconds
  /** When the lookup began, for who listens to what it comes to; 0: nobody did. */
  lookupBegan: Milliseconds
  /** When the handler could, for who listens to that; 0: nobody did, or it has been told. */
  handlerBegan: Milliseconds
  /** The reply's fields at lookup: they are this request's, not the entry's. */
  before: HeaderFields
  /** The reply's trailers when the handler could begin. */
  trailers: Trailers
  /** Held from a miss until the fill, or until it is clear that there will be none. */
  claim: Claim | null
  /** Whether the client leaves before the handler has answered; null: nobody has looked. */
  departure: Departure | null
  /** Why there is none after a miss. */
  unclaimed: RefusalReason
  /** How long the response is served; null: as the policy says. */
  life: Milliseconds | null
  /** What the request's hooks and its handler say of the response, until it is stored. */
  marks: Marks
  /** What the handler sent; null until then, and where it is not stored. */
  answer: Captured | null
  /** The same from when it is being stored on; null until then, and where it is not stored. */
  kept: Kept | null
  /** The route's own handler was called. */
  handled: boolean
  /** What the handler answered takes the place of what is stored, be it stored itself or not. */
  replaces: boolean
  /** An error was raised, and since then nothing was captured: what is sent is the error's answer. */
  failed: boolean
  /** The handler was asked for the whole response, whatever the client asked for. */
  isForWhole: boolean
  /** Puts the conditional fields back that the handler was not to see; null: it saw them all. */
  showAll: (() => void) | null
  /** So that what it sent was made 304 or 206 for this client. */
  isNarrowed: boolean
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
  /** How long it is fresh; and how long beyond that it may be served while it is refreshed, or where that fails. */
  life: Milliseconds
  stale: Milliseconds
  rescue: Milliseconds
  /** When it came; how many seconds old it was then, null where its own fields don't say for how long it is served. */
  at: Milliseconds
  age: number | null
  /** What the handler took. */
  cost: Milliseconds
  /** It is compressed before it is stored, if it is long enough. */
  isEncoded: boolean
  /** The bytes of the entry that it is made of, and its coded bodies and tags, where the handler found nothing changed. */
  basis: Buffer | null
  encoded: readonly EncodedBody[] | null
  tags: readonly string[]
  /** What the response says of its length; null where it doesn't. */
  length: number | null
  /** The whole body, or what is being recorded of it. */
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

/** What a request comes with. */
export interface Opening {
  before: HeaderFields
  headers: RequestView['headers']
  marks: Marks
  /** Of a request of our own. */
  ticket: Required<Pick<Caller, 'onEnd'>> | null
}

export function openExchange (site: Site, request: RequestView, { before, headers, marks, ticket }: Opening): Exchange {
  const caller: Caller = { counters: site.counters, log: new HarmlessLog(request.log), source: site.source }
  if (ticket !== null) caller.onEnd = ticket.onEnd
  return {
    site,
    request,
    caller,
    outcome: { type: 'bypass', reason: 'answered' },
    headers,
    identity: undefined,
    entry: null,
    refreshable: null,
    trailers: {},
    spare: null,
    toValidate: null,
    began: 0,
    lookupBegan: 0,
    handlerBegan: 0,
    before: snapshot(before),
    claim: null,
    departure: null,
    unclaimed: 'lease',
    life: null,
    marks,
    answer: null,
    kept: null,
    handled: false,
    replaces: false,
    failed: false,
    isForWhole: false,
    showAll: null,
    isNarrowed: false,
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

/** Tells who listens what the lookup came to. */
export function tellOutcome ({ caller, request, outcome, lookupBegan: began }: Exchange): void {
  if (channels.lookup.hasSubscribers && outcome.type !== 'own') tellLookup(caller.source, request, { outcome, began })
}

/** Tells who listens that the handler has answered; once. */
export function tellAnswer (exchange: Exchange, status: number): void {
  const { caller: { source: { instance, route } }, outcome } = exchange
  const duration = since(exchange.handlerBegan)
  exchange.handlerBegan = 0
  if (duration === null) return
  const why = outcome.type === 'own' ? 'refresh' : outcome.type === 'miss' ? 'miss' : 'bypass'
  tell('handler', instance, { route, key: keyToFill(exchange), why, status, duration })
}

/**
 * The next answer may well be stored: others need not run their handlers because of this one. A source that failed us is
 * left alone for a while, as long as there is something to serve.
 */
const WORTH_WAITING: readonly RefusalReason[] = ['incomplete', 'disabled', 'lease']

/** The key under which the answer is to be stored; null where it isn't. */
export function keyToFill ({ outcome }: Exchange): string | null {
  return outcome.type === 'miss' || outcome.type === 'own' ? outcome.key : null
}

/** Until the entry is stale; 0 or less where it is. */
export function secondsLeft (entry: Entry, now: Milliseconds): number {
  return Math.floor((staleSince(entry) - now) / 1000)
}

/** By what a handler's answer says it can't be stored: it is another one than the entry that is there. */
const OF_THE_ANSWER: readonly RefusalReason[] = [
  'status', 'set-cookie', 'no-store', 'private', 'vary', 'payload', 'trailer', 'response', 'size', 'header', 'no-cache-called', 'store-if', 'ttl'
]

/** By what turns out behind its capture. Cookies and heads that others write then are not the handler's. */
const OF_THE_CAPTURED: readonly RefusalReason[] = ['size', 'no-cache-called', 'ttl']

/** Whether the entry that is there ends with this answer. */
function endsEntry ({ claim, replaces, answer }: Exchange, reason: RefusalReason): boolean {
  return replaces && claim?.isOver === true && (answer === null ? OF_THE_ANSWER : OF_THE_CAPTURED).includes(reason)
}

/** Says why the answer is not stored, and gives the lease back. */
export function refuseAnswer (cache: ResponseCache, exchange: Exchange, reason: RefusalReason): void {
  const key = keyToFill(exchange)
  const { claim, caller, outcome } = exchange
  const isEnd = endsEntry(exchange, reason)
  if (isEnd && outcome.type === 'own' && outcome.why === 'refresh') caller.onEnd?.('replaced')
  if (key !== null) refuse(key, reason, caller)
  exchange.answer = null
  if (isEnd) {
    exchange.claim = null
    return cache.end(claim!, caller)
  }
  const isWorthWaiting = (WORTH_WAITING.includes(reason) && !(reason === 'incomplete' && exchange.outcome.type === 'own')) ||
    (reason === 'status' && exchange.site.isNarrowedAhead)
  abandon(cache, exchange, !isWorthWaiting)
}

/** Gives back the lease, if it is still held; `pass`: nobody is to wait for the next answer under this key. */
export function abandon (cache: ResponseCache, exchange: Exchange, pass = false): void {
  const { claim, caller } = exchange
  if (claim === null) return
  exchange.claim = null
  cache.abandon(claim, caller, pass)
}
