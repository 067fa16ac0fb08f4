// A request's target, content and protocol; its conditions (RFC 9110 §13) and ranges (§14).
import { hash } from 'node:crypto'
import { varyMembers, type RequestFields } from './headers.js'
import { httpDate } from './http-date.js'

// How a request names its resource: RFC 9112 §3.2. Routers take more than that: the absolute form that is meant for
// proxies, and a fragment, which browsers never send, and which is no part of the path. A handler that echoes the target
// would then have one client's text stored for all: `GET http://evil.test/x`, `GET /x#"><script>`.
// https://www.rfc-editor.org/rfc/rfc9112#section-3.2

/**
 * Whether it is a path with a query. `//evil.test/x` is one, too, but put into a page it is a link to another host, as is
 * `/\\evil.test/x` for browsers.
 */
export function isOriginForm (target: string): boolean {
  return target.startsWith('/') && target[1] !== '/' && target[1] !== '\\' && !target.includes('#')
}

// Whether a request has content: RFC 9112 §6, RFC 9113 §8.1. Of a GET it has no meaning that is generally defined (RFC 9110
// §9.3.1), so a handler that reads it answers by something that no key has.
// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1

/** For HTTP/2: whether the request ended with its header. */
interface RawRequest { stream?: { endAfterHeaders?: unknown } | null }

/** Whether the message says that there is any. */
export function hasContent (request: Readonly<Record<string, unknown>>, raw: RawRequest): boolean {
  const length = request['content-length']
  if (length !== undefined) return String(length) !== '0'
  return request['transfer-encoding'] !== undefined || raw.stream?.endAfterHeaders === false
}

// Requests that ask to go on in another protocol: RFC 9110 §7.8, and over HTTP/2 RFC 8441. Such a client
// wants no response to a GET.
// https://www.rfc-editor.org/rfc/rfc9110#section-7.8

/** The answer to an offer of these is the same response, be the offer taken or not: a version of HTTP, or TLS under it. */
const CARRIES_HTTP = /^(?:h2|h2c|h3|http\/\d(?:\.\d)?|tls\/\d(?:\.\d)?)$/

/** Whether the request asks to leave HTTP. The field says nothing unless Connection names it: it was for another hop. */
export function asksForUpgrade (request: RequestFields): boolean {
  const { upgrade } = request
  if (upgrade === undefined) return request[':protocol'] !== undefined
  if (!varyMembers(request['connection']).includes('upgrade')) return false
  return varyMembers(upgrade).some((protocol) => !CARRIES_HTTP.test(protocol))
}

// RFC 9110 §9.2.1. https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1

/** The methods that are defined as safe: the client asks for no change. */
export const SAFE_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE']

// Conditional requests, RFC 9110 §13, as far as a cache answers them itself; and ranges, below. If-Match and
// If-Unmodified-Since are not applicable to a cache (RFC 9111 §4.3.2), which may ignore them (RFC 9110 §13.1.1).
// https://www.rfc-editor.org/rfc/rfc9110#section-13

/** Fields that make an answer depend on the copy that the client has, or on the state that it knows; and Range. */
export const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range'] as const

/** Whether the request has any of them. */
export function isConditional (request: RequestFields): boolean {
  return request['if-none-match'] !== undefined || request['if-modified-since'] !== undefined ||
    request['if-match'] !== undefined || request['if-unmodified-since'] !== undefined ||
    request['if-range'] !== undefined || request.range !== undefined
}

/** The validators of a representation, as its fields have them. */
interface FieldValidators { etag: string | undefined, lastModified: string | undefined }

/**
 * Whether the client has this representation already, so that 304 is the answer: RFC 9110 §13.2.2, steps 3 and 4. Without
 * a validator nothing matches but `*`. `now`: the present, in milliseconds since 1970.
 */
export function isNotModified (request: RequestFields, { etag, lastModified }: FieldValidators, now: number): boolean {
  const noneMatch = request['if-none-match']
  // §13.1.3: If-Modified-Since is ignored where If-None-Match is there, whatever came of that.
  if (noneMatch !== undefined) return matches(String(noneMatch), etag)
  if (request['if-modified-since'] === undefined) return false
  const since = httpDate(request['if-modified-since'], now)
  const modified = httpDate(lastModified, now)
  return since !== null && modified !== null && modified <= since
}

/** Whether a list of entity tags, or `*`, has this one, by weak comparison: RFC 9110 §13.1.2, §8.8.3.2. */
function matches (list: string, etag: string | undefined): boolean {
  if (list.trim() === '*') return true
  if (etag === undefined) return false
  const opaque = etag.replace(/^W\//, '')
  // Tag by tag: commas may stand inside the quotes.
  for (const [, tag] of list.matchAll(/(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g)) {
    if (tag === opaque) return true
  }
  return false
}

/** A weak entity tag of these bytes: weak, as they may be compressed on their way out. RFC 9110 §8.8.1. */
export function weakEtag (body: Buffer): string {
  return `W/"${hash('sha1', body, 'base64url')}"`
}

/** Whether a tag is such a one, which means nothing to the handler. */
export function isWeakEtag (etag: string): boolean {
  return /^W\/"[\w-]{27}"$/.test(etag)
}

/** Whether two entity tags are of the same representation, by weak comparison: RFC 9110 §8.8.3.2. */
export function areSameTag (a: string, b: string): boolean {
  return a.replace(/^W\//, '') === b.replace(/^W\//, '')
}

// Ranges: RFC 9110 §14. Which part of a stored 200 a request gets, and which requests ask for no more than a part.
// https://www.rfc-editor.org/rfc/rfc9110#section-14

/** As much of a stored response as decides. */
interface Whole {
  /** In bytes. */
  size: number
  /** The Accept-Ranges field. */
  acceptRanges: string | undefined
  etag: string | undefined
  lastModified: string | undefined
  /** When it was made, by its Date or else by when it came: in milliseconds since 1970. */
  madeAt: number
}

/** The first byte and the last one. */
export interface Part { from: number, to: number }

/** One range: `first-last`, `first-` or `-length`; what is not there is null. */
interface Spec { first: number | null, last: number | null }

/**
 * The part that a GET with these fields gets of this response; null: all of it. Ranges are served where the handler says so
 * (§14.3), one at a time: a server may ignore Range (§14.2). Of an empty body there is no part. `now`: as `httpDate` has it.
 */
export function partOf (request: RequestFields, whole: Whole, now: number): Part | 'unsatisfiable' | null {
  if (request.range === undefined || whole.size === 0 || !acceptsBytes(whole.acceptRanges)) return null
  const specs = byteRanges(String(request.range))
  if (specs?.length !== 1 || !isSameAs(request['if-range'], whole, now)) return null
  const { first, last } = specs[0]!
  const end = whole.size - 1
  if (first === null) return last === 0 ? 'unsatisfiable' : { from: Math.max(0, whole.size - last!), to: end }
  return first > end ? 'unsatisfiable' : { from: first, to: Math.min(last ?? end, end) }
}

/**
 * Whether no more than a part is asked for, so that the answer is of no use to others: not by `bytes=0-`, nor by what is no
 * valid list of byte ranges, which is ignored (§14.2). Another unit may mean something to the handler.
 */
export function asksForPart (request: RequestFields): boolean {
  if (request.range === undefined) return false
  const field = String(request.range)
  const specs = byteRanges(field)
  if (specs === null) return /^[\w!#$%&'*+.^`|~-]+=/.test(field) && !/^bytes=/i.test(field)
  return !(specs.length === 1 && specs[0]!.first === 0 && specs[0]!.last === null)
}

/** The value of Content-Range, §14.4. */
export function contentRange (part: Part | 'unsatisfiable', size: number): string {
  return part === 'unsatisfiable' ? `bytes */${size}` : `bytes ${part.from}-${part.to}/${size}`
}

function acceptsBytes (field: string | undefined): boolean {
  return field !== undefined && field.toLowerCase().split(',').some((unit) => unit.trim() === 'bytes')
}

/** The ranges of a field in bytes; null where it is none that is valid: §14.1.1, §14.1.2. */
function byteRanges (field: string): Spec[] | null {
  if (!/^bytes=/i.test(field)) return null
  // Empty members of a list are ignored: §5.6.1.2.
  const members = field.slice('bytes='.length).split(',').map((member) => member.trim()).filter((member) => member !== '')
  const specs: Spec[] = []
  for (const member of members) {
    const [, first, last] = /^(\d*)-(\d*)$/.exec(member) ?? []
    if (first === undefined || (first === '' && last === '')) return null
    const spec = { first: first === '' ? null : Number(first), last: last === '' ? null : Number(last) }
    if (spec.first !== null && spec.last !== null && spec.last < spec.first) return null
    specs.push(spec)
  }
  return specs.length === 0 ? null : specs
}

/**
 * If-Range, §13.1.5: a strong tag, compared as such, or the very date; without it nothing is asked. A date does not tell a
 * response from another one of the same second: so it has to be a second older than the response (§8.8.2.2).
 */
function isSameAs (condition: string | readonly string[] | undefined, whole: Whole, now: number): boolean {
  const { etag, lastModified, madeAt } = whole
  if (condition === undefined) return true
  const text = String(condition)
  if (text.startsWith('"')) return text === etag
  // A weak tag is never the same. Any other text has to be a date.
  const date = httpDate(text, now)
  return date !== null && date === httpDate(lastModified, now) && date + 1000 <= madeAt
}
