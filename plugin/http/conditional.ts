// Conditional requests: RFC 9110 §13. What a cache may answer itself, and which requests it leaves to the handler.
// https://www.rfc-editor.org/rfc/rfc9110#section-13
import { createHash } from 'node:crypto'
import { httpDate } from './http-date.js'

/** A request's fields by lower-case name. */
type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>

/** The validators of a representation, as its fields have them. */
export interface Validators { etag: string | undefined, lastModified: string | undefined }

/**
 * Whether the client has this representation already, so that 304 is the answer: RFC 9110 §13.2.2, steps 3 and 4. Without
 * a validator nothing matches but `*`. `now`: the present, in milliseconds since 1970.
 */
export function isNotModified (request: RequestFields, { etag, lastModified }: Validators, now: number): boolean {
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

/**
 * Whether only the handler can answer this request: what depends on the origin's present state, or asks for a part. RFC 9110
 * §13.1.1, §13.1.4, §13.1.5, §14.2.
 */
export function isForTheHandler (request: RequestFields): boolean {
  return request.range !== undefined || request['if-range'] !== undefined ||
    request['if-match'] !== undefined || request['if-unmodified-since'] !== undefined
}

/** A weak entity tag of these bytes: weak, as they may be compressed on their way out. RFC 9110 §8.8.1. */
export function weakEtag (body: Buffer): string {
  return `W/"${createHash('sha1').update(body).digest('base64url')}"`
}
