// A stale entry that the handler is asked about, instead of for a new one: it sees the entry's validators as conditions
// (handler-view.ts), and where it answers 304 the entry is stored again, with its header updated (RFC 9111 §4.3.4). The
// 304 is made the full answer that it stands for, and that is captured and filled as any other: under the lease, with the
// lease's `asOf`.
//
// With a reader R, whose handler finds nothing changed, and a writer W who ends the entry by a tag, which leaves leases
// alone:
//
//   1. R  reads the entry, stale, but valid
//   2. W  writes the new row; invalidates the tag; returns: the entry is not valid any more
//   3. R  takes the lease: `asOf` is above the tag's generation
//   4. R  its handler answers 304: its validator is a date, perhaps, and counts whole seconds
//   5. R  fills: by its `asOf` the old response would be valid again
//
// So before 5 the entry is read once more, and has to lie there as it did, and to be valid (fill.ts). W behind that read
// meets the rules of each fill: a tag's generation is above `asOf`, a key's lease is gone.
//
// A validator that was made by us says nothing to the handler: where an entry has no other, a new response is asked for.
import type { Spare } from '../cache/claim.js'
import type { Milliseconds } from '../duration.js'
import type { Entry, HeaderField } from '../entry/entry.js'
import { RouteCacheError, show } from '../errors.js'
import { areSameTag, isConditional, isNotModified, isWeakEtag } from '../http/request.js'
import { addedFields, freshened, type RequestFields } from '../http/headers.js'
import { httpDate } from '../http/http-date.js'
import { isAnswered, type Captured, type Exchange } from './exchange.js'
import type { ShownConditions } from './handler-view.js'

/** No longer is an entry kept, beyond its time, only to be asked about. */
const LONGEST_KEPT: Milliseconds = 24 * 60 * 60_000

/** Validators by which a handler can tell an entry. */
export interface Validators {
  /** As it was in the header: `"a"`, `W/"a"`. */
  etag: string | null
  /** As it was in the header. */
  lastModified: string | null
}

/** The validators that the handler gave this response; null: none. */
function validatorsOf ({ status, headers }: Pick<Entry, 'status' | 'headers'>): Validators | null {
  if (status !== 200) return null
  const fieldOf = (name: string): string | null => {
    const value = headers.find(([field]) => field === name)?.[1]
    return typeof value === 'string' ? value : null
  }
  const [etag, lastModified] = [fieldOf('etag'), fieldOf('last-modified')]
  const own = etag === null || isWeakEtag(etag) ? null : etag
  return own === null && lastModified === null ? null : { etag: own, lastModified }
}

/** The entry that the handler of this request may be asked about; null: it is asked for a new response. */
export function toValidate ({ site: { policy }, headers }: Exchange, present: Spare): Spare | null {
  if (!policy.revalidates || validatorsOf(present.entry) === null) return null
  return policy.handlerValidates && isConditional(headers) ? null : present
}

/** The conditional fields by which the handler is asked whether this entry is still right. */
export function askedBy (entry: Entry): ShownConditions {
  const { etag = null, lastModified = null } = validatorsOf(entry) ?? {}
  const conditions: ShownConditions = {}
  if (etag !== null) conditions['if-none-match'] = etag
  if (lastModified !== null) conditions['if-modified-since'] = lastModified
  return conditions
}

/** The validators that the handler is asked about; null: it is asked for a response. */
export function askedAbout (exchange: Exchange | null): Validators | null {
  return exchange?.toValidate == null || exchange.claim === null ? null : validatorsOf(exchange.toValidate.entry)
}

/** Whether an answer with this status is that of a handler that finds nothing changed. */
export function isConfirmed (exchange: Exchange, status: number): boolean {
  const { toValidate, claim, failed } = exchange
  return status === 304 && toValidate !== null && claim !== null && !isAnswered(exchange) && !failed
}

/** An entry's header, updated by a 304; whether the 304 has a Vary; and whether it is about this entry at all. */
interface FreshenedHeader { headers: HeaderField[], hasVary: boolean, isOfEntry: boolean }

/** Null where it answers the client's question, not ours: a hook ahead of us has made it of a new response. */
export function confirmedBy (exchange: Exchange, entry: Entry, { fields, now }: Answered): FreshenedHeader | null {
  const update = addedFields(exchange.before, fields)
  const fieldOf = (field: string): unknown => update.find(([name]) => name === field)?.[1]
  const tag = fieldOf('etag')
  const own = validatorsOf(entry)?.etag ?? null
  // RFC 9111 §4.3.4: it is the same response by its tag, where both have one; else by its date, where both have that.
  const isOfEntry = tag !== undefined && own !== null
    ? areSameTag(String(tag), own)
    : areSameDate(fieldOf('last-modified'), validatorsOf(entry)?.lastModified, now)
  const isProven = tag === undefined || (own !== null && isOfEntry)
  if (!isProven && isNotModified(exchange.headers, { etag: String(tag), lastModified: undefined }, now)) return null
  // A handler that names another tag or date: the client gets what it was asked about, and that stays as it is.
  const headers = isOfEntry ? freshened(entry.headers, update) : [...entry.headers]
  return { headers, hasVary: isOfEntry && fieldOf('vary') !== undefined, isOfEntry }
}

/** Whether both dates are of the same second. True also if one of them is missing. */
function areSameDate (one: unknown, other: string | null | undefined, now: Milliseconds): boolean {
  if (one === undefined || other == null) return true
  const [date, present] = [httpDate(String(one), now), httpDate(other, now)]
  return date === null || present === null ? one === other : date === present
}

interface Answered { fields: Parameters<typeof addedFields>[1], now: Milliseconds }

/** Has the captured answer be stored in the entry's place, with its bodies, its tags and its cost. */
export function asConfirmed (answer: Captured, { entry, selected }: Spare, { hasVary }: FreshenedHeader): void {
  answer.kind = entry.kind
  // The entry's Vary may be ours in part, if its body is stored in codings.
  if (!hasVary) answer.members = selected.marker?.members ?? []
  answer.cost = Math.max(answer.cost, entry.cost)
  answer.basis = selected.bytes ?? null
  answer.tags = entry.tags
  if (answer.isEncoded && entry.encoded.length > 0) answer.encoded = entry.encoded
}

/** How long beyond its ttl a response is kept to be asked about. */
export function keptFor ({ site: { policy } }: Exchange, { status, headers, life }: Captured): Milliseconds {
  return policy.revalidates && validatorsOf({ status, headers }) !== null ? Math.min(life, LONGEST_KEPT) : 0
}

// `reply.notModified`, for a handler that knows when its response has changed. It compares with the conditions
// that the request has while the handler runs: the cache's question about a stale entry (handler-view.ts), or the client's
// own.

/** The validators of a response. At least one. */
export interface ResponseValidators {
  /**
   * Another text or number for each version of the response, such as a row's `updated_at` or `version`; or an entity tag as
   * it is sent: `"a"`, `W/"a"`.
   */
  etag?: string | number | bigint
  /** When it was changed last. HTTP counts whole seconds: what may change twice in one needs an `etag`. */
  lastModified?: Date | number
}

/** As much of a reply as is used here. */
interface ConditionalReply {
  request: { method: string, headers: RequestFields }
  header: (name: string, value: string) => unknown
  code: (status: number) => { send: () => unknown }
}

/**
 * Puts the validators on the reply; where the one who asks has this response already it is answered with 304, and that is
 * true.
 */
export function notModified (
  reply: ConditionalReply, { etag, lastModified }: ResponseValidators = {}, now: Milliseconds
): boolean {
  const tag = etag === undefined ? undefined : tagOf(etag)
  const date = lastModified === undefined ? undefined : dateOf(lastModified)
  if (tag === undefined && date === undefined) {
    throw new RouteCacheError('FRC_OPTION', 'reply.notModified() was given no validator; write { etag } or { lastModified }, or both')
  }
  if (tag !== undefined) reply.header('etag', tag)
  if (date !== undefined) reply.header('last-modified', date)
  const { method, headers } = reply.request
  // RFC 9110 §13.1.2, §13.1.3: of other methods it would mean something else.
  if ((method !== 'GET' && method !== 'HEAD') || !isNotModified(headers, { etag: tag, lastModified: date }, now)) return false
  reply.code(304).send()
  return true
}

/** An entity tag, RFC 9110 §8.8.3; what is none yet is made one, with other characters percent-encoded. */
function tagOf (etag: unknown): string {
  if (typeof etag !== 'string' && typeof etag !== 'number' && typeof etag !== 'bigint') {
    throw new RouteCacheError('FRC_OPTION', `reply.notModified() was given the etag ${show(etag)}; it is a text or a number`)
  }
  const text = String(etag)
  if (/^(?:W\/)?"[\x21\x23-\x7e]*"$/.test(text)) return text
  // By its bytes, as half of a character has no code.
  return `"${Buffer.from(text).toString().replace(/[^\x21\x23\x24\x26-\x7e]+/g, (part) => encodeURIComponent(part))}"`
}

function dateOf (lastModified: unknown): string {
  const date = new Date(lastModified as number)
  if (Number.isNaN(date.getTime())) {
    throw new RouteCacheError('FRC_OPTION', `reply.notModified() was given the lastModified ${show(lastModified)}; it is a date`)
  }
  return date.toUTCString()
}
