// The answer of a handler that was asked for the whole (handler-view.ts), made such as its client asked for: 304 where the
// client has it already, 206 where it asked for a range that is all of it. What is stored is the whole, and was captured
// before; a hit would be answered alike (reply.ts).
//
// RFC 9111 §4.3.2: what is evaluated are the validators of the answer that has just come. They are the handler's, so the
// same holds where the answer is not stored: then it keeps all that does not describe its body.
import type { CapturedReply } from './capture.js'
import type { Milliseconds } from '../duration.js'
import type { Exchange } from './exchange.js'
import { isOf304 } from '../send/representation.js'
import { isNotModified, contentRange, partOf } from '../http/conditional.js'
import { isSame, type HeaderFields } from '../http/headers.js'
import { httpDate } from '../http/http-date.js'
import { discard, drained, isResponse, lengthOf } from '../response/payload.js'

/** Of the body, and so of no answer without one: RFC 9110 §8, §6.4, RFC 9530. */
const OF_THE_BODY = [
  'content-type', 'content-length', 'content-encoding', 'content-language', 'content-range', 'content-md5', 'content-digest',
  'repr-digest', 'digest', 'transfer-encoding'
]

interface Narrowing { reply: CapturedReply, payload: unknown, now: Milliseconds }

/** Makes it so; gives what is to be sent on instead of this payload. */
export function narrowed (exchange: Exchange, { reply, payload, now }: Narrowing): unknown {
  const isApart = isResponse(payload)
  const status = isApart ? payload.status : reply.statusCode
  if (status !== 200 || exchange.failed || reply.raw.headersSent) return payload
  const fields = isApart ? Object.fromEntries(payload.headers) : reply.getHeaders()
  const { headers } = exchange
  const [etag, lastModified, acceptRanges] = ['etag', 'last-modified', 'accept-ranges'].map((name) => textOf(fields[name]))
  if (isNotModified(headers, { etag, lastModified }, now)) return asNotModified(exchange, reply, payload)
  const size = isApart ? null : lengthOf(payload, fields)
  if (size === null) return payload
  const madeAt = httpDate(textOf(fields['date']), now) ?? now
  const part = partOf(headers, { size, etag, lastModified, acceptRanges, madeAt }, now)
  // It is none but all of it, or it would have been the handler's.
  if (part === null || part === 'unsatisfiable' || part.from > 0 || part.to < size - 1) return payload
  exchange.isNarrowed = true
  reply.code(206)
  reply.header('content-range', contentRange(part, size))
  return payload
}

/** Makes it a 304, with a 200's fields as far as it has them; gives the payload of that. */
export function asNotModified (exchange: Exchange, reply: CapturedReply, payload: unknown): null {
  const { before, answer } = exchange
  const isKept = (name: string): boolean => answer === null ? !OF_THE_BODY.includes(name) : isOf304(name) || name === 'set-cookie'
  exchange.isNarrowed = true
  reply.code(304)
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (!isSame(before[name], value) && !isKept(name)) putBack(reply, name, before[name])
  }
  if (isResponse(payload)) for (const [name, value] of payload.headers) if (isKept(name)) reply.header(name, value)
  if (answer === null) discard(payload)
  // The body is still to be stored, though nobody waits for it.
  else answer.drained = drained(payload, () => exchange.answer === answer)
  // Fastify takes undefined for "as it was".
  return null
}

function putBack (reply: CapturedReply, name: string, value: HeaderFields[string]): void {
  reply.removeHeader(name)
  if (value !== undefined) reply.header(name, value as string | string[])
}

function textOf (value: HeaderFields[string]): string | undefined {
  return value === undefined ? undefined : String(value)
}
