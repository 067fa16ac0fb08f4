// Whether a response may be stored by a shared cache, as far as its head tells: RFC 9111 §3. What is stored besides 200
// is the policy's to say.
// https://www.rfc-editor.org/rfc/rfc9111#section-3
import { says, type Directives } from './cache-control.js'
import { varyMembers, type HeaderFields } from './headers.js'

export type HeadRefusal = 'status' | 'set-cookie' | 'no-store' | 'private' | 'vary' | 'payload'

/** What counts as an error that a stored response may stand in for: RFC 5861 §4. */
const ERRORS = [500, 502, 503, 504]

export function isError (status: number): boolean {
  return ERRORS.includes(status)
}

/** The statuses that the policy stores. */
interface Statuses { has: (status: number, fields: HeaderFields) => boolean }

export interface ResponseHead {
  status: number
  /** The fields that belong to the entry. */
  added: HeaderFields
  /** The fields of the whole response: what the app's hooks say of it counts too. */
  all: HeaderFields
  /** Those of its fields that are meant for this cache. */
  directives: readonly Directives[]
}

/** Why a response may not be stored; null where it may. */
export function refusalOf ({ status, added, all, directives }: ResponseHead, statuses: Statuses): HeadRefusal | null {
  if (!isStorableStatus(status) || !statuses.has(status, all)) return 'status'
  // RFC 9111 §5.2.2.3: it is for caches that know what this status asks of them, and `no-store` is for the others.
  const mustUnderstand = says(directives, 'must-understand')
  if (mustUnderstand && !isUnderstood(status)) return 'status'
  // RFC 9111 §7.3: a cookie is somebody's own.
  if (added['set-cookie'] !== undefined) return 'set-cookie'
  // RFC 9111 §4.1: nothing selects it.
  if (varyMembers(all.vary).includes('*')) return 'vary'
  if (says(directives, 'no-store') && !mustUnderstand) return 'no-store' // RFC 9111 §5.2.2.5
  if (says(directives, 'private')) return 'private' // RFC 9111 §5.2.2.7
  // It has no end.
  return /^text\/event-stream/i.test(String(all['content-type'] ?? '')) ? 'payload' : null
}

// What a status says of whether its response may be stored: RFC 9110 §15, RFC 9111 §3.
// https://www.rfc-editor.org/rfc/rfc9110#section-15.1

/** RFC 9111 §3: final; §3.3: whole, and 304 has no body of its own. */
export function isStorableStatus (status: number): boolean {
  return status >= 200 && status <= 599 && status !== 206 && status !== 304
}

/** RFC 9110 §15.1: those that may be stored by their status alone; 206 is a part. */
const HEURISTICALLY_CACHEABLE = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])

export function isHeuristicallyCacheable (status: number): boolean {
  return HEURISTICALLY_CACHEABLE.has(status)
}

/**
 * Those that no header makes storable. RFC 6585 §3 to §6 forbids it for 428, 429, 431 and 511; 412 and 416 answer a
 * condition or a range that only one request has.
 */
const OF_ONE_REQUEST = new Set([412, 416, 428, 429, 431, 511])

/** Whether a response of this status may be stored because its own header fields say for how long. */
export function isStorableByFields (status: number): boolean {
  return isStorableStatus(status) && !OF_ONE_REQUEST.has(status)
}

/** Those that speak of the request, of its client, or of this moment, and so say nothing of what is stored. */
const BESIDE_THE_POINT = new Set([
  206, 304, 401, 406, 407, 408, 411, 412, 413, 414, 415, 416, 417, 421, 423, 425, 426, 428, 429, 431
])

/**
 * Whether an answer of this status takes the place of what is stored, also where it can't be stored itself: RFC 9111 §4.3.3.
 * The page is gone, has moved, or is another now. A 5xx says only that the handler failed.
 */
export function isReplacement (status: number): boolean {
  return status >= 200 && status < 500 && !BESIDE_THE_POINT.has(status)
}

/** Those of RFC 9110 §15: what they ask of a cache is done. */
const UNDERSTOOD = [[200, 205], [300, 303], [305, 305], [307, 308], [400, 417], [421, 422], [426, 426], [500, 505]] as const

/** RFC 9111 §5.2.2.3, `must-understand`. */
export function isUnderstood (status: number): boolean {
  return UNDERSTOOD.some(([first, last]) => status >= first && status <= last)
}

// How a 304 updates the header of the response that it speaks of: RFC 9111 §4.3.4, §3.2.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.2

type Field = readonly [name: string, value: string | readonly string[]]

/**
 * The body that is stored depends on them, or they speak of the content of the 304 itself, of which there is none (RFC 9530
 * §2); fields of the connection never come here. §3.2.
 */
const OF_THE_STORED_BODY = ['content-encoding', 'content-range', 'content-length', 'content-digest', 'content-md5']
/** They speak of the message that they came in: of when it was made, and how old it was. §4.2.3. */
const OF_THE_MESSAGE = ['age', 'date']

/** The stored fields, each replaced by all of its name in the 304, in their order; then those that are new. */
export function freshened (stored: readonly Field[], update: readonly Field[]): Field[] {
  const fresh = new Map(update.filter(([name]) => !OF_THE_STORED_BODY.includes(name)))
  const kept = stored.filter(([name]) => fresh.has(name) || !OF_THE_MESSAGE.includes(name))
    .map(([name, value]): Field => [name, fresh.get(name) ?? value])
  const had = new Set(stored.map(([name]) => name))
  return [...kept, ...Array.from(fresh).filter(([name]) => !had.has(name))]
}
