// Conditional requests: RFC 9110 §13. What a cache answers itself; If-Match and If-Unmodified-Since are not applicable to a
// cache (RFC 9111 §4.3.2), which may ignore them (RFC 9110 §13.1.1).
// https://www.rfc-editor.org/rfc/rfc9110#section-13
import { createHash } from 'node:crypto'
import { httpDate } from './http-date.js'

/** A request's fields by lower-case name. */
type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>

/** Fields that make an answer depend on the copy that the client has, or on the state that it knows; and Range. */
export const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range'] as const

/** Whether the request has any of them. */
export function isConditional (request: RequestFields): boolean {
  return request['if-none-match'] !== undefined || request['if-modified-since'] !== undefined ||
    request['if-match'] !== undefined || request['if-unmodified-since'] !== undefined ||
    request['if-range'] !== undefined || request.range !== undefined
}

/** The validators of a representation, as its fields have them. */
export interface FieldValidators { etag: string | undefined, lastModified: string | undefined }

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
  return `W/"${createHash('sha1').update(body).digest('base64url')}"`
}

/** Whether a tag is such a one, which means nothing to the handler. */
export function isWeakEtag (etag: string): boolean {
  return /^W\/"[\w-]{27}"$/.test(etag)
}

/** Whether two entity tags are of the same representation, by weak comparison: RFC 9110 §8.8.3.2. */
export function areSameTag (a: string, b: string): boolean {
  return a.replace(/^W\//, '') === b.replace(/^W\//, '')
}
