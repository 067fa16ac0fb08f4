// A response's header fields: which belong to the entry; whether it may be stored; how long it is fresh.
//
// Which belong to the entry. RFC 9111 §3.1: all but those of the connection; and, ours: all
// but those that were on the reply before the lookup, which this request's own hooks put there.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.1
import { createHash } from 'node:crypto'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { parseDictionary, type Member } from './structured-field.js'
import { httpDate } from './http-date.js'

/** Header fields by lower-case name, as a reply holds them. */
export type HeaderFields = Readonly<Record<string, number | string | readonly string[] | undefined>>

/** RFC 9110 §7.6.1, and Content-Length, which is made anew from the body. */
const OF_THE_CONNECTION = new Set([
  'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization',
  'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'content-length'
])

/** The fields that were added or changed since `before`, in their order; of `Vary`, the members that were. */
export function addedFields (before: HeaderFields, after: HeaderFields): [string, string | string[]][] {
  const added: [string, string | string[]][] = []
  // RFC 9110 §7.6.1: fields that Connection names belong to the connection, too.
  const named = after.connection === undefined ? null : new Set(varyMembers(after.connection))
  for (const name in after) {
    const value = after[name]
    if (value === undefined || OF_THE_CONNECTION.has(name) || named?.has(name) === true) continue
    if (isSame(before[name], value)) continue
    if (name === 'vary' && before.vary !== undefined) {
      const members = addedMembers(before.vary, value)
      if (members.length > 0) added.push([name, members.join(', ')])
    } else if (!Array.isArray(value)) added.push([name, String(value)])
    else if (value.length === 1) added.push([name, String(value[0])])
    else if (value.length > 1) added.push([name, value.map(String)])
  }
  return added
}

/** The members of a Vary that were not there before, as they are written: CORS and the handler share one field. */
export function addedMembers (before: HeaderFields[string], after: HeaderFields[string]): string[] {
  if (after === undefined) return []
  const had = new Set(varyMembers(before))
  return String(after).split(',').map((member) => member.trim())
    .filter((member) => member !== '' && !had.has(member.toLowerCase()))
}

/** A Vary with the members of another behind its own; the other as it is where there is none. */
export function mergedVary (field: HeaderFields[string], other: string | readonly string[]): string | string[] {
  if (field === undefined) return typeof other === 'string' ? other : [...other]
  return [String(field), ...addedMembers(field, other)].join(', ')
}

/** Whether Node would send these fields: one that it refuses would make every hit fail. */
export function areSendable (fields: readonly (readonly [string, string | readonly string[]])[]): boolean {
  try {
    for (const [name, value] of fields) {
      validateHeaderName(name)
      if (typeof value === 'string') validateHeaderValue(name, value)
      else for (const one of value) validateHeaderValue(name, one)
    }
    return true
  } catch {
    return false
  }
}

/**
 * Whether these fields may stand in an answer that is given to many: Node would send them, none is of the connection, frames
 * the message, or is a client's own, and each is there once, in lower case.
 */
export function isReplayable (fields: readonly (readonly [string, string | readonly string[]])[]): boolean {
  const names = new Set(fields.map(([name]) => name))
  if (names.size !== fields.length || !areSendable(fields)) return false
  for (const [name, value] of fields) {
    if (name !== name.toLowerCase() || OF_THE_CONNECTION.has(name) || name.startsWith('proxy-') || name === 'set-cookie') return false
    if (name === 'vary' && varyMembers(value).includes('*')) return false
  }
  return true
}

/** Whether a field was not changed. */
export function isSame (a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b
  return a.length === b.length && a.every((one, i) => one === b[i])
}

/**
 * The members that select the response. `Origin` of a hook does not: it is of CORS, whose headers are this request's own and
 * not stored. What else hooks put there selects as if the handler had.
 */
export function selectingMembers (before: HeaderFields, after: HeaderFields): string[] {
  if (before.vary === undefined && after.vary === undefined) return []
  const own = varyMembers(addedMembers(before.vary, after.vary))
  return [...own, ...varyMembers(before.vary).filter((member) => member !== 'origin')]
}

// Which stored response a request selects where the response varies: RFC 9111 §4.1.
// https://www.rfc-editor.org/rfc/rfc9111#section-4.1

/** A request's fields by lower-case name. */
export type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>

type Field = string | number | readonly string[] | undefined

/** The members of these Vary fields, in lower case, sorted, each once; `*` among them where a field says so. */
export function varyMembers (...fields: readonly Field[]): string[] {
  const members = new Set<string>()
  for (const field of fields) {
    if (field === undefined) continue
    for (const member of String(field).split(',')) {
      const name = member.trim().toLowerCase()
      if (name !== '') members.add(name)
    }
  }
  return members.size === 0 ? [] : [...members].sort()
}

/** A short text that is the same for requests that select the same response, by their values of these members. */
export function fingerprint (members: readonly string[], request: RequestFields): string {
  const hash = createHash('sha256')
  for (const name of members) hash.update(JSON.stringify([name, normalized(name, request[name])]))
  return hash.digest('base64url').slice(0, 22)
}

/** A value without what makes no difference (RFC 9111 §4.1: white space, order); null where the field is absent. */
function normalized (name: string, value: string | readonly string[] | undefined): string | null {
  if (value === undefined) return null
  const text = String(value)
  if (name === 'accept-encoding') return codings(text)
  // White space around a list's commas and semicolons means nothing; in quotes, and in other fields, it might.
  if (!name.startsWith('accept') || text.includes('"')) return text
  const members = text.split(',').map((member) => member.split(';').map(withoutSpace).join(';'))
  // Nor do empty members: §5.6.1.2.
  const list = members.filter((member) => member !== '').join(',')
  return CASELESS.includes(name) ? list.toLowerCase() : list
}

/** Language tags and charsets are the same in any case: RFC 9110 §8.5.1, §8.3.2. Parameters of media types need not be. */
const CASELESS = ['accept-language', 'accept-charset']

/** A member without the optional white space around it: RFC 9110 §5.6.3. */
function withoutSpace (member: string): string {
  let [from, to] = [0, member.length]
  while (from < to && isSpace(member.charCodeAt(from))) from++
  while (to > from && isSpace(member.charCodeAt(to - 1))) to--
  return member.slice(from, to)
}

function isSpace (code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** No browser names a tenth of these. A longer list is taken as it is: to read it costs more than a hit. */
const MOST_CODINGS = 100

/**
 * The content codings that the client takes, sorted. Order and weights differ from browser to browser, but a response in
 * any coding of the set is right for all that name the set: RFC 9110 §12.5.3.
 */
function codings (field: string): string {
  const members = field.toLowerCase().split(',')
  if (members.length > MOST_CODINGS) return field
  const accepted = new Set<string>()
  const refused = new Set<string>()
  for (const member of members) {
    const [coding = '', ...parameters] = member.split(';').map((part) => part.trim())
    if (coding === '') continue
    const isRefused = parameters.some((parameter) => /^q\s*=\s*0(\.0*)?$/.test(parameter))
    if (isRefused) refused.add(coding)
    else accepted.add(coding)
  }
  // `q=0` matters only for a coding that would be accepted if the field did not name it.
  const telling = [...refused].filter((coding) => accepted.has('*') || coding === 'identity' || coding === '*')
  return [...accepted, ...telling.map((coding) => `!${coding}`)].sort().join(',')
}

// A response's header, as a shared cache reads it: whether the response may be stored (RFC 9111 §3), its Cache-Control
// (§5.2), and how long it is fresh (§4.2). The policy decides which statuses besides 200 are stored.
// https://www.rfc-editor.org/rfc/rfc9111#section-3

export type HeadRefusal = 'status' | 'set-cookie' | 'no-store' | 'private' | 'vary' | 'payload'

/** The errors that a stored response may stand in for: RFC 5861 §4. */
const ERRORS = [500, 502, 503, 504]

export function isError (status: number): boolean {
  return ERRORS.includes(status)
}

/** The statuses that the policy stores. */
interface Statuses { has: (status: number, fields: HeaderFields) => boolean }

interface ResponseHead {
  status: number
  /** The handler sets a cookie. */
  setsCookie: boolean
  /** The fields of the whole response: what the app's hooks say of it counts too. */
  all: HeaderFields
  /** The directives that are meant for this cache. */
  directives: readonly Directives[]
}

/** Why a response may not be stored; null where it may. */
export function refusalOf ({ status, setsCookie, all, directives }: ResponseHead, statuses: Statuses): HeadRefusal | null {
  if (!STORABLE_STATUSES.has(status) || !statuses.has(status, all)) return 'status'
  // RFC 9111 §5.2.2.3: it is for caches that know what this status asks of them, and `no-store` is for the others.
  const mustUnderstand = says(directives, 'must-understand')
  if (mustUnderstand && !isUnderstood(status)) return 'status'
  // RFC 9111 §7.3: a cookie is somebody's own.
  if (setsCookie) return 'set-cookie'
  // RFC 9111 §4.1: nothing selects it.
  if (all.vary !== undefined && varyMembers(all.vary).includes('*')) return 'vary'
  if (says(directives, 'no-store') && !mustUnderstand) return 'no-store' // RFC 9111 §5.2.2.5
  if (says(directives, 'private')) return 'private' // RFC 9111 §5.2.2.7
  // It has no end.
  return /^text\/event-stream/i.test(String(all['content-type'] ?? '')) ? 'payload' : null
}

// Which statuses may be stored: RFC 9110 §15, RFC 9111 §3.
// https://www.rfc-editor.org/rfc/rfc9110#section-15.1

/** RFC 9111 §3: final; §3.3: whole, and 304 has no body of its own. */
export const STORABLE_STATUSES: ReadonlySet<unknown> =
  new Set(Array.from({ length: 400 }, (_, i) => 200 + i).filter((status) => status !== 206 && status !== 304))

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
  return STORABLE_STATUSES.has(status) && !OF_ONE_REQUEST.has(status)
}

/** Statuses that speak of the request, of its client, or of this moment, and so say nothing of the stored response. */
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

/** The statuses of RFC 9110 §15, whose requirements on caches are met here. */
const UNDERSTOOD = [[200, 205], [300, 303], [305, 305], [307, 308], [400, 417], [421, 422], [426, 426], [500, 505]] as const

/** RFC 9111 §5.2.2.3, `must-understand`. */
export function isUnderstood (status: number): boolean {
  return UNDERSTOOD.some(([first, last]) => status >= first && status <= last)
}

// How a 304 updates the header of the response that it speaks of: RFC 9111 §4.3.4, §3.2.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.2

type FieldLine = readonly [name: string, value: string | readonly string[]]

/**
 * The body that is stored depends on them, or they speak of the content of the 304 itself, of which there is none (RFC 9530
 * §2); fields of the connection never come here. §3.2.
 */
const OF_THE_STORED_BODY = ['content-encoding', 'content-range', 'content-length', 'content-digest', 'content-md5']
/** Fields about the message that they came in: when it was made, and how old it was. §4.2.3. */
const OF_THE_MESSAGE = ['age', 'date']

/** The stored fields, each replaced by all of its name in the 304, in their order; then those that are new. */
export function freshened (stored: readonly FieldLine[], update: readonly FieldLine[]): FieldLine[] {
  const fresh = new Map(update.filter(([name]) => !OF_THE_STORED_BODY.includes(name)))
  const kept = stored.filter(([name]) => fresh.has(name) || !OF_THE_MESSAGE.includes(name))
    .map(([name, value]): FieldLine => [name, fresh.get(name) ?? value])
  const had = new Set(stored.map(([name]) => name))
  return [...kept, ...Array.from(fresh).filter(([name]) => !had.has(name))]
}

// Cache-Control, RFC 9111 §5.2: a list of directives, some with an argument.
// https://www.rfc-editor.org/rfc/rfc9111#section-5.2

const NO_DIRECTIVES: ReadonlyMap<string, string> = new Map()

/** The directives by lower-case name, each with its argument ('' where it has none); the first of a name counts. */
export function parseCacheControl (field: string): ReadonlyMap<string, string> {
  if (field === '') return NO_DIRECTIVES
  const directives = new Map<string, string>()
  // A quoted argument may contain commas: no-cache="set-cookie, x-user". A semicolon does not belong to a name:
  // `no-store; max-age=0` forbids as much as it would with a comma.
  for (const [, name, quoted, token] of field.matchAll(/([^\s,;="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g)) {
    const key = name!.toLowerCase()
    if (!directives.has(key)) directives.set(key, quoted?.replaceAll(/\\(.)/g, '$1') ?? token ?? '')
  }
  return directives
}

// Which directives of a response are meant for this cache: those of Cache-Control, or where it listens to it, of
// CDN-Cache-Control. RFC 9213 §2.
// https://www.rfc-editor.org/rfc/rfc9213#section-2

/** The directives of one field, and whether Expires counts beside them. */
interface Directives {
  /** By name, each with its argument: '' where it has none. */
  said: ReadonlyMap<string, string>
  /** RFC 9213 §2.2: beside a targeted field, Expires is ignored like Cache-Control. */
  withExpires: boolean
}

/**
 * The fields that count for this response, and all that one of them forbids is forbidden. One field; two where a targeted
 * field can't be read: RFC 9213 §2.2 has it ignored, but what it may have forbidden would then be stored.
 */
export function directivesOf (fields: HeaderFields, isTargeted: boolean): readonly Directives[] {
  const general = { said: parseCacheControl(text(fields['cache-control'])), withExpires: true }
  if (!isTargeted || fields['cdn-cache-control'] === undefined) return [general]
  const field = text(fields['cdn-cache-control'])
  const members = parseDictionary(field)
  if (members === null) return [general, { said: parseCacheControl(field), withExpires: false }]
  // §2.2: an empty one is as good as none.
  return members.size === 0 ? [general] : [{ said: mapped(members), withExpires: false }]
}

/** Whether any of the fields has this directive. */
export function says (directives: readonly Directives[], name: string): boolean {
  return directives.some(({ said }) => said.has(name))
}

/**
 * §2.1: seconds are an integer, a list of fields is a string, a directive without an argument is true. A value of another
 * type is not to be read as if it were of the right one, so `max-age="60"` and `max-age=60.0` have no number.
 */
function mapped (members: ReadonlyMap<string, Member>): Map<string, string> {
  return new Map(Array.from(members, ([name, { text }]) => [name, text === '?1' ? '' : text]))
}

function text (field: HeaderFields[string]): string {
  return field === undefined ? '' : Array.isArray(field) ? field.join(', ') : String(field)
}

// How long a response may be served by what its own headers say: RFC 9111 §4.2.1, and never by heuristics (§4.2.2).
// https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
// And how long beyond that, while it is refreshed or where that fails: RFC 5861.
// https://www.rfc-editor.org/rfc/rfc5861#section-3
// https://www.rfc-editor.org/rfc/rfc5861#section-4

/** A response that has just come. */
interface Arrived {
  fields: HeaderFields
  /** The present, in milliseconds since 1970. */
  now: number
  /** How many milliseconds ago it was asked for: §4.2.3, response_delay. */
  delay: number
}

/** The same, and whether its CDN-Cache-Control counts instead of Cache-Control and Expires (RFC 9213 §2.2). */
interface Targetable extends Arrived { isTargeted: boolean }

/**
 * Seconds of freshness that are left: s-maxage, max-age, or Expires less Date, less its age. 0 where that is over, where
 * what it says is invalid (§4.2.1: then it is stale), and where each use must be validated (`no-cache`, §5.2.2.4).
 * Undefined where it says nothing of it.
 */
export function originFreshness (arrived: Targetable): number | undefined {
  const directives = directivesOf(arrived.fields, arrived.isTargeted)
  if (['no-cache', 'private'].some((directive) => says(directives, directive))) return 0
  if (says(directives, 'no-store') && !says(directives, 'must-understand')) return 0
  const lifetime = leastOf(directives.map((each) => lifetimeOf(each, arrived)))
  return lifetime === undefined ? undefined : Math.max(0, lifetime - correctedAge(arrived))
}

/** Whether its fields say how long it is fresh, be that for no time at all. */
export function saysHowLong (fields: HeaderFields, isTargeted: boolean): boolean {
  const at = { fields, now: 0, delay: 0 }
  return directivesOf(fields, isTargeted).some((each) => lifetimeOf(each, at) !== undefined)
}

/** Seconds, by one field. */
function lifetimeOf ({ said, withExpires }: Directives, { fields, now }: Arrived): number | undefined {
  const lifetime = said.get('s-maxage') ?? said.get('max-age')
  if (lifetime !== undefined) return deltaSeconds(lifetime) ?? 0
  if (!withExpires || fields.expires === undefined) return undefined
  const expires = httpDate(single(fields.expires), now)
  if (expires === null) return 0 // §5.3: an invalid date, "0" above all, is in the past
  return Math.max(0, Math.floor((expires - (httpDate(single(fields.date), now) ?? now)) / 1000))
}

/** Of two fields, one of which gives no lifetime, the one that can't be read does not decide. */
function leastOf (lifetimes: ReadonlyArray<number | undefined>): number | undefined {
  const [general, unread] = lifetimes
  if (general === undefined || unread === undefined) return unread === undefined ? general : 0
  return Math.min(general, unread)
}

/**
 * §4.2.3, in seconds: how old a response is that comes from somewhere else, by its Date and by the Age that it came with.
 * A response without either was made just now.
 */
export function correctedAge ({ fields, now, delay }: Arrived): number {
  const date = httpDate(single(fields.date), now)
  const apparent = date === null ? 0 : Math.max(0, Math.floor((now - date) / 1000))
  const age = deltaSeconds(single(fields.age))
  return age === undefined ? apparent : Math.max(apparent, age + Math.max(0, Math.floor(delay / 1000)))
}

/** RFC 9111 §4.2.4; s-maxage has the meaning of proxy-revalidate (§5.2.2.10). */
const NEVER_STALE = ['no-cache', 'must-revalidate', 'proxy-revalidate', 's-maxage']

/** While it is refreshed (RFC 5861 §3); where the origin fails (§4). */
export type StaleDirective = 'stale-while-revalidate' | 'stale-if-error'

/**
 * Seconds beyond its freshness for which a response may be served: what its directive says, 0 where it forbids to be served
 * stale; undefined where it says nothing of it.
 */
export function staleAllowance (fields: HeaderFields, directive: StaleDirective, isTargeted: boolean): number | undefined {
  const directives = directivesOf(fields, isTargeted)
  if (forbidStale(directives)) return 0
  return leastOf(directives.map(({ said }) => {
    const allowance = said.get(directive)
    return allowance === undefined ? undefined : deltaSeconds(allowance) ?? 0
  }))
}

/** Whether it must not be served stale, whoever says how long it is fresh. */
export function forbidsStale (fields: HeaderFields): boolean {
  return forbidStale(directivesOf(fields, false))
}

function forbidStale (directives: readonly Directives[]): boolean {
  return NEVER_STALE.some((directive) => says(directives, directive))
}

/** delta-seconds, RFC 9111 §1.2.2: digits, at most 2^31. Of a list, as caches on the way may make one, the first (§5.1). */
export function deltaSeconds (value: string | undefined): number | undefined {
  const [first = ''] = value?.split(',') ?? []
  return /^\d+$/.test(first.trim()) ? Math.min(Number(first), 2 ** 31) : undefined
}

function single (field: HeaderFields[string]): string | undefined {
  return field === undefined ? undefined : String(field)
}

/** Whether the body is in a content coding: RFC 9110 §8.4; `identity` is none (§12.5.3). */
export function isEncodedBody (fields: HeaderFields): boolean {
  const field = String(fields['content-encoding'] ?? '').trim().toLowerCase()
  return field !== '' && field !== 'identity'
}
