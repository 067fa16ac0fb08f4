// What a handler says with that knows when its response has changed: `reply.notModified`. It compares with what the request
// asks while the handler runs, be that the cache's question about a stale entry (handler-view.ts) or a client's own.
import type { Milliseconds } from '../duration.js'
import { isNotModified } from '../http/conditional.js'
import { RouteCacheError, show } from '../errors.js'
import type { RequestFields } from '../http/headers.js'

/** What a response will be told by. At least one. */
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
export interface ConditionalReply {
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
