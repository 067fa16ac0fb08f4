// A miss, from top to bottom: the lookup in full, the handler, its answer on the way out, the end of the response. Fastify
// calls the steps (fastify/hooks.ts), `serveMiss` the last one. The work of each is in the file that it names:
//
//   serveMiss      the lookup in full: an entry (hit.ts sends it), or the right to fill the key; then the request goes on
//   runHandler     the handler is asked for all of the response, or whether a stale entry is still right
//   takeAnswer     the answer enters the onSend chain: it is captured, unless a stale entry stands in for it
//   releaseAnswer  the answer leaves the chain: `Cache-Status` is set, and the response is stored
//   watchEnd       the response is over: a stream is stored, and a lease that is left goes back
import type { FastifyReply } from 'fastify'
import type { ResponseCache } from '../cache/cache.js'
import type { Found, Missed, Question, Refreshable, Spare } from '../cache/claim.js'
import { bodyOf, type Entry } from '../entry/entry.js'
import type { Milliseconds } from '../duration.js'
import { asksForPart, isConditional } from '../http/request.js'
import { discard, trailersOf, unwrapped } from '../response/payload.js'
import {
  isOwnOfNode, announce, bodyAs, putFields, restoreType, standIn, statusOf, wrappedBeside, isPacked, unpacked,
  type Signals
} from '../send/reply.js'
import { tellHit, channels, stamp } from '../telling/events.js'
import { capture, commit, conclude, type Sent } from './capture.js'
import {
  ARRIVAL, INVALID, LISTENERS, TICKET, openOn, abandonFill, bypass, isAnswered, keyToFill, refuseAnswer, secondsLeft,
  tellAnswer, tellOutcome, Departure, type Carrier, type Exchange, type Served, type Site
} from './exchange.js'
import { narrowed, asNotModified, showHandler } from './handler-view.js'
import { failedToSend, sendServed, type Engine, type Missing, type Pair } from './hit.js'
import { mayBeRescued, rescue } from './rescue.js'
import { asConfirmed, askedBy, confirmedBy, isConfirmed, toValidate } from './revalidation.js'
import { select, type Wanted } from './selecting.js'
import { nameAnswer, nameAs } from './naming.js'

// 1. The lookup in full

/** Serves a request that is no fresh hit: by an entry, or by its handler. */
export function serveMiss (engine: Engine, site: Site, missing: Missing): void {
  const { request, reply, proceed, began, selector } = missing
  const { cache, own } = engine
  const { [ARRIVAL]: arrival } = request as Carrier
  const exchange = openOn(site, missing)
  exchange.lookupBegan = began
  // The copy lasts: a validation may take headers away.
  if (selector !== undefined) selector.headers = exchange.headers
  const serveFound = (found: FoundEntry | null): void => {
    // No lookup came of it: something else answered, or invalidations are not told yet.
    if (missing.first !== undefined) cache.giveBack(missing.first, exchange.caller)
    if (isAnswered(exchange) || reply.sent) return
    if (found === null) {
      if (exchange.claim !== null) watchEnd(cache, exchange, reply)
      exchange.handlerBegan = stamp(channels.handler) || (exchange.lookupBegan > 0 ? performance.now() : 0)
      return proceed()
    }
    sendServed(reply, servedOf(exchange, found), cache.now())
    if (found.refreshable !== null && arrival != null) own.refresh(found.refreshable, arrival, exchange.caller)
  }
  if (cache.shelf.store.takeAtOnce === undefined || !isMissAtOnce(cache, exchange, missing)) {
    search(cache, exchange, missing).then(serveFound).catch((error: unknown) => { failedToSend(missing, error) })
    return
  }
  try {
    serveFound(null)
  } catch (error) {
    failedToSend(missing, error)
  }
}

function servedOf ({ site, headers, before, named }: Exchange, { entry, outcome }: FoundEntry): Served {
  return { stage: 'served', site, outcome, entry, tags: named?.tags ?? [], headers, before, failed: false }
}

/** The part of the lookup that is done already. */
type Searching = Pick<Missing, 'selecting' | 'first'> & {
  /** A stale entry does not do, unless the handler fails. */
  onlyFresh?: boolean
}

/** An entry that is served, and how it is filled again behind its response; null: it is not. */
interface FoundEntry {
  entry: Entry
  outcome: Served['outcome']
  refreshable: Refreshable | null
}

/** The entry to serve, or null for the handler to run. Says in the exchange what became of the lookup. Never rejects. */
export async function search (cache: ResponseCache, exchange: Exchange, searching: Searching): Promise<FoundEntry | null> {
  const { selecting, first, onlyFresh = false } = searching
  const { caller } = exchange
  const made = selecting ?? select(cache, exchange)
  const selected = made instanceof Promise ? await made : made
  if (isAnswered(exchange)) return null
  if ('bypass' in selected) return bypass(exchange, selected.bypass, selected.mark)
  const question = questionOf(exchange, selected, onlyFresh)
  let found = await cache.lookup(question, caller, first)
  if ('entry' in found && isPacked(found.entry, exchange.headers)) found = await unpackFound(cache, exchange, { question, found })
  if (isAnswered(exchange)) {
    // Something else answered meanwhile, a time-out for example: nobody will fill.
    if (found.type === 'miss' && found.claim !== null) cache.abandon(found.claim, caller)
    return null
  }
  if (found.type === 'unknown') return bypass(exchange, found.reason)
  if (found.type !== 'miss') return serve(exchange, found, { key: question.key, now: cache.now() })
  noteMiss(cache, exchange, { question, found })
  return null
}

/** Whether it is a miss with the lease, without waiting: most are, where the store is in this process. */
function isMissAtOnce (cache: ResponseCache, exchange: Exchange, { selecting, first }: Missing): boolean {
  if (first === undefined || selecting === undefined || !('key' in selecting)) return false
  const question = questionOf(exchange, selecting)
  const found = cache.missAtOnce(question, first)
  if (found !== null) noteMiss(cache, exchange, { question, found })
  return found !== null
}

function questionOf (exchange: Exchange, wanted: Wanted, onlyFresh = false): Question {
  const { request, headers, site: { policy: { stale, rescue, earlyRefresh, waitTimeout } } } = exchange
  const { key, selection, toRefresh, identity } = wanted
  exchange.identity = identity
  exchange.named = { key, tags: selection.tags }
  // Only GET fills, so a HEAD would hold the lease for nothing.
  const isGet = request.method === 'GET'
  return {
    key,
    selection,
    toFill: isGet,
    toFollow: isGet && asksForPart(headers),
    toRefresh,
    mayBeStale: stale !== null && !onlyFresh,
    mayRescue: rescue !== null,
    mayBeEarly: earlyRefresh,
    waitTimeout
  }
}

interface Answered { question: Question, found: Missed }

function noteMiss (cache: ResponseCache, exchange: Exchange, { question, found }: Answered): void {
  const { caller } = exchange
  const { key, toRefresh, toFollow } = question
  exchange.stage = 'missed'
  exchange.outcome = { type: 'miss', key, forced: toRefresh }
  exchange.claim = found.claim
  exchange.unclaimed = toFollow === true ? 'range' : found.why ?? 'lease'
  exchange.spare = found.spare
  // A client that forces a new response wants no word of the old one.
  exchange.toValidate = toRefresh || found.present == null ? null : toValidate(exchange, found.present)
  exchange.began = cache.now()
  const { lookupBegan: began, site } = exchange
  if (began > 0 && site.worth.isOn) site.worth.lookedUp(performance.now() - began, false)
  site.missesInARow++
  caller.counters.misses++
  tellOutcome(exchange)
  caller.log.debug({ key }, 'cache miss')
}

/** The finding, with a body that can be sent: an entry whose body can't be decoded counts as none. */
async function unpackFound (
  cache: ResponseCache, { caller }: Exchange, { question, found }: { question: Question, found: Present }
): Promise<Found> {
  try {
    return { ...found, entry: await unpacked(found.entry) }
  } catch (error) {
    caller.counters.unreadable++
    caller.log.warn({ err: error, key: question.key }, 'cache entry could not be decoded')
    // To be overwritten.
    return await cache.lookup({ ...question, toRefresh: true }, caller)
  }
}

type Present = Extract<Found, { entry: Entry }>

function serve (exchange: Exchange, found: Present, { key, now }: { key: string, now: Milliseconds }): FoundEntry {
  const { caller, request, lookupBegan: began, site } = exchange
  const { policy: { waitTimeout }, worth } = site
  const { entry } = found
  site.missesInARow = 0
  const outcome: Served['outcome'] = found.type === 'stale'
    ? { type: 'stale', key, ttl: secondsLeft(entry, now), ifError: found.ifError, status: null }
    : { type: 'hit', key, ttl: Math.ceil((entry.staleAt - now) / 1000), collapsed: found.collapsed }
  exchange.outcome = outcome
  // A wait for another's handler is no cost of the cache.
  if (began > 0 && worth.isOn && !(found.type === 'hit' && found.collapsed)) worth.lookedUp(performance.now() - began, true)
  tellHit(caller, request, { outcome, began })
  const selected = found.type === 'stale' ? found.selected : found.early
  return { entry, outcome, refreshable: selected === null ? null : { key, selected, waitTimeout } }
}

// 2. The handler

/** The handler is about to be called. For an answer that is to be stored it is asked for all of it, if the policy allows. */
export function runHandler (cache: ResponseCache, exchange: Exchange, { request, reply }: Pair): void {
  if (!isAnswered(exchange)) exchange.stage = 'running'
  const { claim, toValidate, headers, site: { policy } } = exchange
  if (claim === null) return
  const isFree = policy.handlerValidates || !isConditional(headers)
  const asked = toValidate !== null ? askedBy(toValidate.entry) : isFree ? null : {}
  if (asked === null) return
  exchange.restoreConditions = showHandler(request, reply, { asked, isUntilSent: !exchange.site.isNarrowedAhead })
  // The handler sees this client's conditions, so its answer is this client's own.
  if (exchange.restoreConditions === null) abandonFill(cache, exchange)
}

// 3. The answer enters the onSend chain

type Answer = Sent & { reply: FastifyReply }

/**
 * Keeps what the handler sent, or has a stale entry stand in for its error. Gives what is sent on; a promise of that where a
 * body has to be decoded.
 */
export function takeAnswer (cache: ResponseCache, exchange: Exchange, answer: Answer): unknown {
  exchange.departure?.end()
  exchange.restoreConditions?.()
  const { spare, toValidate, headers } = exchange
  const status = statusOf(answer.reply, answer.payload)
  if (exchange.handlerBegan > 0) tellAnswer(exchange, status)
  const isPackedSpare = spare !== null && mayBeRescued(exchange, status) && isPacked(spare.entry, headers)
  const isPackedPresent = toValidate !== null && isConfirmed(exchange, status) && typeof toValidate.entry.body === 'number'
  if (!isPackedSpare && !isPackedPresent) return sentFor(cache, exchange, answer)
  const decoding = isPackedPresent ? unpackPresent(exchange, toValidate) : unpackSpare(exchange, spare!)
  return decoding.then(() => sentFor(cache, exchange, answer))
}

/** An entry that can't be decoded is not the one that the handler was asked about. */
async function unpackPresent (exchange: Exchange, present: Spare): Promise<void> {
  exchange.toValidate = { ...present, entry: await unpacked(present.entry) }
}

/** An entry that can't be decoded stands in for nothing. */
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

/** A stale entry instead of the answer, the entry that the answer confirms, or the answer. */
function sentFor (cache: ResponseCache, exchange: Exchange, answer: Answer): unknown {
  const { reply, payload } = answer
  const { closed, headersSent } = reply.raw
  const status = statusOf(reply, payload)
  const isGone = closed || headersSent
  const entry = exchange.site.policy.rescue === null ? null : rescue(cache, exchange, { status, isGone })
  if (entry !== null) {
    const { headers, before, site: { hasOthersOnSend: asSent, policy: { cacheControl: declared } } } = exchange
    return standIn(reply, { entry, headers, now: cache.now(), asSent, declared }, { payload, before })
  }
  // The chain runs again where the response is replaced by an error's.
  if (isAnswered(exchange)) return payload
  if (exchange.toValidate !== null && isConfirmed(exchange, status)) {
    const confirmed = confirm(cache, exchange, answer)
    if (confirmed !== undefined) return confirmed
  }
  const isForWhole = exchange.restoreConditions !== null
  if (isForWhole && statusOf(reply, payload) === 304) exchange.site.isNarrowedAhead = true
  const passed = capture(cache, exchange, answer)
  return isForWhole ? narrowed(exchange, { reply, payload: passed, now: cache.now() }) : passed
}

/**
 * The handler found nothing changed: its 304 becomes the response that the entry is, and is captured as that. Gives what is
 * sent: no body, where nobody gets it; undefined: the 304 speaks of something else.
 */
function confirm (cache: ResponseCache, exchange: Exchange, answer: Answer): unknown {
  const { toValidate, before, site: { hasOthersOnSend }, outcome } = exchange
  const { reply } = answer
  const { entry } = toValidate!
  unwrapped(reply, answer.payload)
  const confirmed = confirmedBy(exchange, entry, { fields: reply.getHeaders(), now: cache.now() })
  if (confirmed === null) return undefined
  discard(answer.payload)
  nameAs(exchange, entry)
  const whole = bodyOf(entry)
  const asSent = outcome.type !== 'own' && (hasOthersOnSend || !isOwnOfNode(reply.raw))
  // A Response has its head by itself.
  const isWrapped = asSent && entry.kind === 'response'
  putFields(reply, isWrapped ? [] : confirmed.headers, before)
  reply.code(200)
  if (asSent && entry.kind.startsWith('sized')) reply.header('content-length', String(whole.length))
  const sendable = asSent ? bodyAs(entry, asSent) : whole
  const payload = isWrapped ? wrappedBeside(reply, confirmed.headers, { body: whole }) : sendable
  const passed = capture(cache, exchange, { ...answer, payload })
  if (exchange.answer !== null) asConfirmed(exchange.answer, toValidate!, confirmed)
  if (!confirmed.isOfEntry) refuseAnswer(cache, exchange, 'status')
  if (outcome.type === 'own') return asNotModified(exchange, reply, passed)
  if (outcome.type === 'miss') exchange.outcome = { ...outcome, revalidated: true }
  if (!isWrapped) restoreType(reply, entry, before['content-type'])
  // Fastify takes undefined for "as it was".
  return narrowed(exchange, { reply, payload: passed, now: cache.now() }) ?? null
}

// 4. The answer leaves the onSend chain

interface Leaving { reply: FastifyReply, payload: unknown, signals: Signals }

/** All onSend hooks have run: says what the cache did, and stores what was captured. */
export function releaseAnswer (
  cache: ResponseCache, exchange: Exchange, { reply, payload, signals }: Leaving
): void {
  const { site: { surrogates } } = exchange
  if (exchange.stage !== 'committed' && exchange.stage !== 'concluded') {
    exchange.stage = 'committed'
    if (exchange.outcome.type === 'bypass' && exchange.outcome.reason === 'answered') answeredEarly(exchange, reply.request as Carrier)
    // It may be refused for what hooks have written since.
    commit(cache, exchange, reply)
    const { outcome, refused } = exchange
    if (outcome.type === 'miss' && refused !== null) exchange.outcome = { ...outcome, refused }
    announce(reply, exchange.outcome, signals)
  } else {
    commit(cache, exchange, reply)
  }
  // No client gets the response of a request of our own.
  if (surrogates !== null && exchange.outcome.type !== 'own') nameAnswer(surrogates, exchange, { reply, payload })
  // A client that left before there was a stream to send: nothing will pass, and `close` has been.
  if (reply.raw.closed) conclude(cache, exchange, { reply, isSent: false })
}

/** A hook, the validation or a time-out answered before the lookup was done. */
function answeredEarly (exchange: Exchange, { [TICKET]: ticket, [INVALID]: isInvalid }: Carrier): void {
  const reason = isInvalid === true && exchange.site.isPostponed ? 'invalid' : 'answered'
  if (ticket == null) bypass(exchange, reason)
  else if (reason === 'invalid') ticket.outcome ??= () => ({ type: 'bypass', reason })
}

// 5. The response is over

/** Concludes with the response: it may end without onSend, hijacked, or written past Fastify. */
export function watchEnd (cache: ResponseCache, exchange: Exchange, reply: FastifyReply): void {
  // The client has left during the lookup: `close` has been.
  if (reply.raw.closed) return abandonFill(cache, exchange)
  watchRawAnswer(cache, exchange, reply)
  exchange.trailers = trailersOf(reply)
  let isSent = false
  // Not `writableFinished`, which stays false under `inject`.
  reply.raw.on('finish', () => { isSent = true })
  reply.raw.on('close', () => {
    // If the client has left, the handler is still running, and its onSend is still to come.
    if (isAnswered(exchange) || reply.sent) conclude(cache, exchange, { reply, isSent })
    // Nobody waits for an internal request.
    else if (exchange.outcome.type === 'own') abandonFill(cache, exchange, true)
    else exchange.claim?.flight.limit(exchange.site.policy.waitTimeout, () => { abandonFill(cache, exchange, true) })
  })
  const { request, request: { server, raw } } = reply
  // The listener above; those from before; and those that other listeners to the server may have added since.
  const others = 1 + ((request as Carrier)[LISTENERS] ?? 0) + server.server.listenerCount('request') - 1
  exchange.departure = new Departure({ request: raw, reply: reply.raw }, others)
}

const FIRST_LOOK: Milliseconds = 10
const LONGEST_PAUSE: Milliseconds = 200

/**
 * A handler may answer past Fastify: it hijacks its reply, or sends a head of its own on the raw response. No onSend hook
 * tells of that, and the response may be open for hours, as server-sent events are. The response's methods are not replaced
 * to learn of it: others would find ours in their place. So the reply of a handler that holds a lease is looked at now and
 * then, the less often the longer it takes. Followers are let go as soon as it is seen that nothing will be stored.
 */
function watchRawAnswer (cache: ResponseCache, exchange: Exchange, reply: FastifyReply): void {
  let pause = FIRST_LOOK
  const look = (): void => {
    if (isAnswered(exchange) || exchange.claim === null) return
    if (reply.sent || reply.raw.headersSent) {
      // A payload that is sent through Fastify behind that is a part.
      exchange.stage = 'captured'
      refuseAnswer(cache, exchange, 'raw')
      return
    }
    pause = Math.min(2 * pause, LONGEST_PAUSE)
    exchange.nextLook = setTimeout(look, pause).unref()
  }
  exchange.nextLook = setTimeout(look, pause).unref()
}
