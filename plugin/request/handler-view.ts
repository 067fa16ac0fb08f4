// The request's conditional fields as the handler sees them, from when it begins until it answers. A handler that finds
// `If-None-Match` there may answer 304, and a 304 has no body to store: if every browser has a copy of its own, none of
// their requests would fill the cache. So a handler that runs for the cache sees none of them, or the cache's own
// (revalidation.ts); the answer is made such as the client asked for when it is stored (`narrowed`).
//
// Others see the request as it came: hooks in front of the handler ran before, and those behind it run in `reply.send`,
// whoever calls that. Fields are changed where they are, as who has the request's headers in hand has the same object; what
// can't be changed, since somebody has frozen it, stays, and the handler runs without the cache.
//
// One kind of hook must not see them either: onSend hooks that run ahead of our capture, as they were registered before us,
// and make a 304 of the whole answer, as @fastify/etag does. They are known by what they did once: a 304 that the handler
// can't have meant.
import type { Milliseconds } from '../duration.js'
import { CONDITIONS, isNotModified, contentRange, partOf } from '../http/request.js'
import { isSame, type HeaderFields } from '../http/headers.js'
import { httpDate } from '../http/http-date.js'
import type { CapturedReply, Exchange } from './exchange.js'
import { discard, drained, isResponse, lengthOf } from '../response/payload.js'
import { isOf304 } from '../send/reply.js'

type Fields = Record<string, unknown>

/** As much of a request as holds its fields. */
interface HandlerRequest {
  /** Fields in place of the raw request's: a validation's results, for example. */
  additionalHeaders?: Fields | null
  headers: Fields
  raw: object
}

/** As much of a reply as tells that the handler has answered. */
interface HandlerReply {
  raw: { prependOnceListener: (event: 'finish', listener: () => void) => unknown }
}

/** As Node has it: one object for names and values, one for lists of them, and one list for all. */
interface RawFields { headers?: Fields, headersDistinct?: Fields, rawHeaders?: string[] }

/** The conditional fields that the handler is to see. */
export type ShownConditions = Partial<Record<typeof CONDITIONS[number], string>>

/**
 * From here on the handler sees these conditional fields and no others. Gives how to undo that, which may be called more
 * than once; null: it can't be done. `isUntilSent`: undone when the reply is sent; else only when it has ended.
 */
export function showHandler (
  request: HandlerRequest, reply: HandlerReply, { asked, isUntilSent }: Showing
): (() => void) | null {
  const restore = replaced(request, asked)
  if (restore === null) return null
  const undo = [restore]
  const end = (): void => { for (const one of undo.splice(0)) one() }
  if (isUntilSent) undo.push(...beforeSending(reply, end))
  reply.raw.prependOnceListener('finish', end)
  return end
}

interface Showing { asked: ShownConditions, isUntilSent: boolean }

/** Puts other conditional fields on the request; gives how to undo that, or null where it could not be done. */
function replaced (request: HandlerRequest, asked: ShownConditions): (() => void) | null {
  const raw = request.raw as RawFields
  const undo: Array<() => void> = []
  const restore = (): void => { for (const one of undo) one() }
  try {
    // Node derives `headers` and `headersDistinct` from `rawHeaders` on first access, so they are read before it changes.
    const { headers, headersDistinct, rawHeaders } = raw
    for (const fields of new Set([headers, request.additionalHeaders])) {
      if (fields != null) undo.push(replaceIn(fields, asked))
    }
    if (headersDistinct != null) undo.push(replaceIn(headersDistinct, listed(asked)))
    if (rawHeaders !== undefined) undo.push(replaceInList(rawHeaders, asked))
    // Whatever else stands in front of them.
    if (CONDITIONS.every((name) => request.headers[name] === asked[name] && headers?.[name] === asked[name])) return restore
  } catch {
    // Something there is frozen.
  }
  restore()
  return null
}

function listed (asked: ShownConditions): Fields {
  return Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, [value]]))
}

/** Throws where it can't. */
function replaceIn (fields: Fields, asked: Fields): () => void {
  const before = new Map(CONDITIONS.filter((name) => name in fields).map((name) => [name, fields[name]]))
  const put = (values: Map<string, unknown>): void => {
    for (const name of CONDITIONS) {
      if (values.has(name)) fields[name] = values.get(name)
      else delete fields[name]
    }
  }
  put(new Map(Object.entries(asked)))
  return () => { put(before) }
}

/** Names and values in turns. */
function replaceInList (list: string[], asked: ShownConditions): () => void {
  const before = [...list]
  const others = before.filter((_, i) => !isCondition(before[i - i % 2]!.toLowerCase()))
  list.splice(0, list.length, ...others, ...Object.entries(asked).flat() as string[])
  return () => { list.splice(0, list.length, ...before) }
}

function isCondition (name: string): boolean {
  return (CONDITIONS as readonly string[]).includes(name)
}

/** The ways out of a handler; a hijacked reply has none, but ends. */
const WAYS_OUT = ['send', 'callNotFound'] as const

type WaysOut = Partial<Record<typeof WAYS_OUT[number], (...args: unknown[]) => unknown>>

/** Has the reply's ways out begin with this; gives how to undo that. */
function beforeSending (reply: HandlerReply, end: () => void): Array<() => void> {
  const ways = reply as WaysOut
  const undo: Array<() => void> = []
  for (const way of WAYS_OUT) {
    const theirs = ways[way]
    if (theirs === undefined) continue
    const isOwn = Object.hasOwn(ways, way)
    const ours = function (...args: unknown[]): unknown {
      end()
      return theirs.apply(reply, args)
    }
    ways[way] = ours
    undo.push(() => {
      // A method that somebody has put in its place calls ours, which only calls theirs.
      if (ways[way] !== ours) return
      if (isOwn) ways[way] = theirs
      else Reflect.deleteProperty(ways, way)
    })
  }
  return undo
}

// The answer of a handler that was asked for the whole (handler-view.ts), made such as its client asked for: 304 where the
// client has it already, 206 where it asked for a range that is all of it. What is stored is the whole, and was captured
// before; a hit would be answered alike (reply.ts).
//
// RFC 9111 §4.3.2: what is evaluated are the validators of the answer that has just come. They are the handler's, so the
// same holds where the answer is not stored: then it keeps all that does not describe its body.

/** Fields about the body, which an answer without one does not have: RFC 9110 §8, §6.4, RFC 9530. */
const OF_THE_BODY = [
  'content-type', 'content-length', 'content-encoding', 'content-language', 'content-range', 'content-md5', 'content-digest',
  'repr-digest', 'digest', 'transfer-encoding'
]

interface Narrowing { reply: CapturedReply, payload: unknown, now: Milliseconds }

/** Makes a 304 or 206 of the answer where its client asked for that; gives the payload that is sent on. */
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
  // The range is the whole, or it would have been the handler's.
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
