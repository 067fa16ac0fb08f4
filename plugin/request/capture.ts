// From the handler's answer to the fill. `capture`: the answer enters the onSend chain. `commit`: it has left the chain.
// `conclude`: the response is over. A whole body is stored at the commit, a stream at the end.
import type { ResponseCache } from '../cache/cache.js'
import { union } from '../cache/lookup.js'
import { DURATION_FORMS, type Bytes, type Milliseconds } from '../duration.js'
import { headerBytes, type HeaderField } from '../entry/entry.js'
import { RouteCacheError, show } from '../errors.js'
import {
  isEncodedBody,
  directivesOf, correctedAge, isReplacement, isError, refusalOf, addedFields, areSendable, mergedVary,
  selectingMembers, isSame, type HeaderFields, type HeadRefusal
} from '../http/headers.js'
import { weakEtag } from '../http/request.js'
import { ACCEPT_ENCODING, forbidsEncoding, mayBeEncoded } from '../http/encoding.js'
import type { AnswerLimits } from '../options/limits.js'
import { keyToFill, refuseAnswer, type Captured, type CapturedReply, type Exchange, type RequestView } from './exchange.js'
import { mayBeRescued, recover } from './rescue.js'
import { keptFor } from './revalidation.js'
import { refusedAsOwn } from './selecting.js'
import { isLonger, isResponse, payloadKind, payloadSize, unwrapped, rewrapped, hasMore, trailersOf } from '../response/payload.js'
import { isReplaced, sentHead, type RawResponseView } from '../send/reply.js'
import { Recording, record } from '../response/recording.js'
import { policyFailed, type PolicyResponse, type Policy } from '../route/policy.js'
import type { RefusalReason } from '../telling/outcome.js'

/** An answer on its way out. */
export interface Sent {
  request: RequestView
  reply: CapturedReply
  payload: unknown
  limits: AnswerLimits
}

/** Keeps the handler's answer, or says why it is not stored and gives the lease back. Gives the payload that is sent on. */
export function capture (cache: ResponseCache, exchange: Exchange, sent: Sent): unknown {
  exchange.replaces = exchange.stage === 'running'
  exchange.stage = 'captured'
  // It would keep the request for so long that the garbage collector took it for an old one.
  clearTimeout(exchange.nextLook)
  if (keyToFill(exchange) === null) return sent.payload
  const { request, reply, payload } = sent
  // Fastify's own HEAD route can't do with a Response.
  const isSeenWhole = exchange.site.hasOthersOnSend && request.method !== 'HEAD' && isResponse(payload) && !payload.bodyUsed
  if (!isSeenWhole) return captureBody(cache, exchange, sent, null)
  const [status, fields] = [reply.statusCode, reply.getHeaders()]
  // An entry has one head, so a hit can't tell the Response's fields from the reply's. Refusing these few is cheaper than a
  // second form of entry.
  const isMixed = status !== 200 || addedFields(exchange.before, fields).length > 0
  const body = captureBody(cache, exchange, sent, { isMixed })
  return rewrapped(reply, payload, { status, fields, body })
}

function captureBody (cache: ResponseCache, exchange: Exchange, sent: Sent, wrapped: { isMixed: boolean } | null): unknown {
  const { reply } = sent
  if (reply.raw.headersSent) {
    refuseAnswer(cache, exchange, 'raw')
    return sent.payload
  }
  const { before, site } = exchange
  const payload = unwrapped(reply, sent.payload)
  exchange.replaces &&= isReplacement(reply.statusCode)
  const { members, isEncoded } = putVary(exchange, reply, payload)
  // Of the whole head, as it is by now: a function of the policy may put more there.
  let all = reply.getHeaders()
  let headers = addedFields(before, all)
  const { request, limits } = sent
  const times = wrapped?.isMixed === true ? 'response' : admit(cache, exchange, { request, reply, payload, limits, all, headers })
  if (typeof times === 'string') {
    recover(cache, exchange, reply.statusCode)
    refuseAnswer(cache, exchange, times)
    return payload
  }
  exchange.failed = false
  const body = bodyOf(cache, exchange, {
    payload, limit: site.policy.maxBodyBytes, isSeen: site.hasOthersOnSend || isReplaced(reply.raw)
  })
  if (body === null) {
    refuseAnswer(cache, exchange, 'payload')
    return payload
  }
  if (site.looksAtReply) {
    all = reply.getHeaders()
    headers = addedFields(before, all)
  }
  if (Buffer.isBuffer(body) && reply.statusCode === 200 && body.length > 0 && all.etag === undefined) {
    const etag = weakEtag(body)
    reply.header('etag', etag)
    headers.push(['etag', etag])
  }
  const now = cache.now()
  const length = all['content-length'] === undefined ? null : Number(all['content-length'])
  const isByOrigin = site.policy.isByOrigin(reply.statusCode)
  exchange.answer = {
    status: reply.statusCode,
    headers,
    members,
    kind: wrapped === null ? payloadKind(payload, { isSeen: site.hasOthersOnSend, isSized: length !== null }) : 'response',
    isEncoded,
    life: times.life,
    stale: times.stale,
    rescue: times.rescue,
    at: now,
    age: isByOrigin ? correctedAge({ fields: all, now, delay: now - exchange.began }) : null,
    cost: costOf(exchange, now),
    length,
    body,
    basis: null,
    encoded: null,
    tags: [],
    drained: null,
    leaving: null
  }
  return payload
}

/** Puts the members on the answer's Vary that it is to have; gives those that make variants of it. */
function putVary (exchange: Exchange, reply: CapturedReply, payload: unknown): { members: string[], isEncoded: boolean } {
  const add = (members: string | readonly string[]): void => { reply.header('vary', mergedVary(reply.getHeader('vary'), members)) }
  const { before, site: { policy: { needs } } } = exchange
  const named = needs.length === 0 ? needs : needs.filter((member) => !member.startsWith(':'))
  // Caches on the way to the client have to tell the variants apart, too.
  if (named.length > 0) add(named)
  // A client that takes no gzip must not be sent it. It gets a variant of its own: refused, it would run the handler each
  // time.
  if (isEncodedBody({ 'content-encoding': reply.getHeader('content-encoding') })) add(ACCEPT_ENCODING)
  const members = selectingMembers(before, { vary: reply.getHeader('vary') })
  const isEncoded = isCompressed(exchange, reply, payload)
  // Accept-Encoding selects among the bodies of one entry, so it makes no variants. Vary names it from the first answer on.
  if (isEncoded) add(ACCEPT_ENCODING)
  return { members, isEncoded }
}

/** A value that was given says nothing of the handler. The clock may have stepped back. */
function costOf ({ outcome, began }: Exchange, now: Milliseconds): Milliseconds {
  return outcome.type === 'own' && outcome.why === 'set' ? 0 : Math.max(0, Math.round(now - began))
}

/** Whether hits are sent compressed to clients that take it. Of a stream the length is not known. */
function isCompressed ({ site: { policy } }: Exchange, reply: CapturedReply, payload: unknown): boolean {
  const { compressFrom, cacheControl, statuses } = policy
  if (compressFrom === null) return false
  const fields = reply.getHeaders()
  if (!statuses.has(reply.statusCode, fields)) return false
  if (fields['cache-control'] === undefined && forbidsEncoding(cacheControl ?? undefined)) return false
  // Node writes a head before bytes in other bytes than before a text, where it is not ASCII.
  if (typeof payload === 'string' && Object.values(fields).some((value) => /[\x80-\xff]/.test(String(value)))) return false
  return mayBeEncoded(reply.statusCode, fields) && payloadSize(payload, fields, Infinity) >= compressFrom
}

/** The handler may have stopped half-way, as its client has left. An error that has another cause counts as an error. */
function mayBePart ({ departure, site: { policy } }: Exchange, reply: CapturedReply): boolean {
  if (departure?.wasNoticed !== true) return false
  return departure.stopped || !isError(reply.statusCode) || policy.statuses.has(reply.statusCode, reply.getHeaders())
}

type Times = Pick<Captured, 'life' | 'stale' | 'rescue'>

/** An answer with its fields: all, and those that belong to the entry. */
interface Headed extends Sent { all: HeaderFields, headers: readonly HeaderField[] }

/** How long the response may be served; or why it may not be stored at all. */
function admit (cache: ResponseCache, exchange: Exchange, sent: Headed): Times | RefusalReason {
  const { site: { policy } } = exchange
  const { request, reply, payload, limits, all, headers } = sent
  if (request.method === 'HEAD') return 'head'
  if (exchange.claim === null) return exchange.unclaimed
  if (!cache.enabled) return 'disabled'
  if (exchange.marks.noCache) return 'no-cache-called'
  if (hasMore(trailersOf(reply), exchange.trailers)) return 'trailer'
  if (mayBePart(exchange, reply)) return 'incomplete'
  // An error may be answered with a status that the policy stores, such as 404; but not pass for a success.
  if (exchange.failed && reply.statusCode < 400) return 'error'
  // An error must not take the place of the entry that stands in for it.
  if (policy.rescue !== null && mayBeRescued(exchange, reply.statusCode)) return 'status'
  const setsCookie = headers.some(([name]) => name === 'set-cookie')
  const directives = directivesOf(all, policy.isTargeted)
  const refusal = refusalOf({ status: reply.statusCode, setsCookie, all, directives }, policy.statuses)
  if (refusal !== null) return refusal
  if (isLonger(payload, all, policy.maxBodyBytes)) return 'size'
  if (!areSendable(headers)) return 'header'
  if (headerBytes(headers) > limits.maxHeaderBytes) return 'size'
  const now = cache.now()
  return askPolicy(exchange, { request, reply, headers: all, now, delay: now - exchange.began })
}

function askPolicy (
  exchange: Exchange,
  response: PolicyResponse & { reply: CapturedReply }
): Times | RefusalReason {
  const { site: { policy }, caller } = exchange
  const { statusCode: status } = response.reply
  const refusal = refusedAsOwn(exchange)
  if (refusal !== null) return refusal
  try {
    if (policy.storeIf !== null && !decided(policy.storeIf(response.reply))) return 'store-if'
    const life = exchange.life ?? policy.life(status, response)
    if (life === undefined) throw new RouteCacheError('FRC_OPTION', `cache.ttl gave no duration; ${DURATION_FORMS}`)
    // An error is no better than the one that it would stand in for.
    const rescue = isError(status) ? 0 : policy.rescue?.(response) ?? 0
    return life === 0 ? 'ttl' : { life, stale: policy.stale?.(response) ?? 0, rescue }
  } catch (error) {
    policyFailed(policy, caller, error)
    return 'policy'
  }
}

/** A promise is neither yes nor no: the response is on its way and can't wait for it. */
function decided (answer: unknown): boolean {
  if (typeof answer === 'boolean') return answer
  if (answer instanceof Promise) answer.catch(() => {})
  throw new RouteCacheError('FRC_OPTION', `cache.storeIf gave ${show(answer)}; it must give true or false, at once`)
}

/** The body, or its recording; null where it can't be had. */
function bodyOf (
  cache: ResponseCache, exchange: Exchange, { payload, limit, isSeen }: { payload: unknown, limit: Bytes, isSeen: boolean }
): Buffer | Recording | null {
  if (payload == null) return Buffer.alloc(0)
  if (typeof payload === 'string') return Buffer.from(payload)
  // Hooks behind us, and middleware, may write into it; and where they are there, it is stored at the end only.
  if (Buffer.isBuffer(payload)) return isSeen ? Buffer.from(payload) : payload
  const recording = new Recording(limit, () => {
    // The source may go on when the response is over, and was refused: a 204 does not wait for its body.
    if (exchange.answer !== null) refuseAnswer(cache, exchange, 'size')
  })
  return record(payload, recording) ? recording : null
}

/** Stores the captured answer, now that all onSend hooks have run: `reply` is as the client gets it. */
export function commit (cache: ResponseCache, exchange: Exchange, reply: CapturedReply): void {
  const { answer } = exchange
  if (answer === null) return
  // An onSend hook failed, and this is its error. Another status is not a failure: @fastify/etag makes a 304 of a hit, too.
  if (exchange.failed) return refuseAnswer(cache, exchange, 'error')
  if (reply.raw.headersSent) return refuseAnswer(cache, exchange, 'raw')
  // Cookies of the handler are refused by `admit` (http/headers.ts). Here are those that hooks wrote since; `conclude` sees
  // those of hooks behind ours, and of middleware (`refusedByHead`).
  if (setsCookie(exchange, reply)) return refuseAnswer(cache, exchange, 'set-cookie')
  const { policy: { cacheControl }, isLastOnSend } = exchange.site
  const isSaid = (): boolean =>
    reply.getHeader('cache-control') !== undefined || answer.headers.some(([name]) => name === 'cache-control')
  if (cacheControl !== null && isLastOnSend && !isSaid()) {
    reply.header('cache-control', cacheControl)
    // The declared time begins with this answer, not with one that the handler was given: see `isDeclaredBy`.
    for (const name of ['age', 'date']) reply.removeHeader(name)
    answer.headers.push(['cache-control', cacheControl])
  }
  // Hooks behind ours may still write cookies, and so may middleware: then it waits for the end, as a stream does.
  if (Buffer.isBuffer(answer.body) && isLastOnSend && !isReplaced(reply.raw)) return fill(cache, exchange, answer.body)
  answer.leaving = reply.getHeaders()
}

function setsCookie ({ before }: Exchange, reply: CapturedReply): boolean {
  const cookies = reply.getHeader('set-cookie')
  return cookies !== undefined && addedFields(before, { 'set-cookie': cookies }).length > 0
}

/** The response is over, `isSent` to its end or not: stores a recorded stream; gives the lease back of all others. */
export function conclude (
  cache: ResponseCache, exchange: Exchange, { reply, isSent }: { reply: CapturedReply, isSent: boolean }
): void {
  const { answer } = exchange
  if (exchange.stage === 'committed') exchange.stage = 'concluded'
  if (answer === null) {
    // Nothing was captured: the response was written past Fastify, as the next one will be. Or it is refused already.
    if (exchange.claim !== null) refuseAnswer(cache, exchange, 'raw')
    return
  }
  // onSend hooks failed, with the error's answer too.
  if (exchange.failed) return refuseAnswer(cache, exchange, 'error')
  if (setsCookie(exchange, reply)) return refuseAnswer(cache, exchange, 'set-cookie')
  const refusal = refusedByHead(exchange.site.policy, answer, reply.raw)
  if (refusal !== null) return refuseAnswer(cache, exchange, refusal)
  if (answer.drained !== null) {
    answer.drained.then(() => {
      answer.drained = null
      if (exchange.answer === answer) conclude(cache, exchange, { reply, isSent: true })
    }).catch(() => {})
    return
  }
  const whole = Buffer.isBuffer(answer.body) ? answer.body : answer.body.bytes()
  const body = isSent ? whole : null
  if (body === null) return refuseAnswer(cache, exchange, 'incomplete')
  // RFC 9111 §3.3: shorter than it said.
  if (answer.length !== null && answer.length !== body.length) return refuseAnswer(cache, exchange, 'incomplete')
  fill(cache, exchange, body)
}

function fill (cache: ResponseCache, exchange: Exchange, body: Buffer): void {
  const { answer, claim, caller } = exchange
  if (answer === null || claim === null) return
  // Said by an onSend hook, or while a stream was on its way.
  if (exchange.marks.noCache) return refuseAnswer(cache, exchange, 'no-cache-called')
  // A hook behind ours may have found out whose request it is; or the handler, while its stream was on its way.
  const refusal = refusedAsOwn(exchange)
  if (refusal !== null) return refuseAnswer(cache, exchange, refusal)
  const { life, headers } = aged(answer, cache.now())
  if (life <= 0) return refuseAnswer(cache, exchange, 'ttl')
  exchange.answer = null
  exchange.claim = null
  const isTagged = headers.some(([name]) => name === 'etag')
  if (answer.status === 200 && body.length > 0 && !isTagged) headers.push(['etag', weakEtag(body)])
  const { compressFrom } = exchange.site.policy
  const isEncoded = answer.isEncoded && compressFrom !== null && body.length >= compressFrom
  // The handler may use its bytes for something else when they are sent, and they are compressed behind that.
  const bytes = isEncoded && answer.kind.endsWith('bytes') && body === answer.body ? Buffer.from(body) : body
  const tags = union(exchange.marks.tags, answer.tags)
  const keep = exchange.site.policy.revalidates ? keptFor(exchange, answer) : 0
  const began = exchange.lookupBegan > 0 ? performance.now() : 0
  const { status, kind, members, stale, rescue, cost, encoded, basis } = answer
  exchange.kept = cache.fill(claim, {
    status,
    headers,
    body: bytes,
    kind,
    members,
    tags,
    life,
    stale,
    rescue,
    keep,
    cost,
    isEncoded,
    encoded,
    basis
  }, caller)
  if (began > 0) exchange.site.worth.filled(performance.now() - began)
}

// How old an answer is when it is stored. One that its own header fields keep fresh may come from elsewhere, and be older
// than its arrival; and a stream arrives when it begins, and is stored when it ends: RFC 9111 §4.2.3.

interface Aged { life: Milliseconds, headers: HeaderField[] }

/** How long it is fresh yet, and its fields with its age at this instant. */
function aged ({ age, at, life, headers }: Captured, now: Milliseconds): Aged {
  if (age === null) return { life, headers: [...headers] }
  const held = Math.max(0, now - at)
  const seconds = age + Math.floor(held / 1000)
  const others = headers.filter(([name]) => name !== 'age')
  return { life: life - held, headers: seconds === 0 ? others : [...others, ['age', String(seconds)]] }
}

// Middleware may add fields when a head is written, behind all onSend hooks and our capture. For that it has replaced
// methods of the raw response. The answer waits for its end then, and the head that was sent is judged as well.

/** Why it may not be stored, by fields that were added to its head, such as a cookie; null: it may. */
function refusedByHead (policy: Policy, { status, leaving }: Captured, raw: RawResponseView): HeadRefusal | null {
  if (leaving === null || !isReplaced(raw)) return null
  const isAdded = ([name, value]: [string, unknown]): boolean => !isSame([value].flat(), [leaving[name]].flat())
  const added = Object.fromEntries(Object.entries(sentHead(raw)).filter(isAdded))
  const all = Object.assign({}, leaving, added)
  const setsCookie = added['set-cookie'] !== undefined
  return refusalOf({ status, setsCookie, all, directives: directivesOf(added, policy.isTargeted) }, policy.statuses)
}
