// A handler's payload, as Fastify hands it to onSend hooks: what is known of it before it is read.
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import type { Bytes } from '../duration.js'
import type { PayloadKind, HeaderField } from '../entry/entry.js'
import { isSame, type HeaderFields } from '../http/headers.js'

/** As much of a reply as a Response is put on. */
interface ReplyView {
  getHeaders: () => HeaderFields
  code: (status: number) => unknown
  header: (name: string, value: string | string[]) => unknown
  removeHeader: (name: string) => unknown
}

/** A Response's status and headers are the reply's before its body is: as Fastify does it, only earlier. */
export function unwrapped (reply: ReplyView, payload: unknown): unknown {
  if (!isResponse(payload) || payload.bodyUsed) return payload
  reply.code(payload.status)
  for (const [name, value] of payload.headers) reply.header(name, value)
  return payload.body
}

/** As Fastify tells it: not every one is of Node's own class. */
export function isResponse (payload: unknown): payload is Response {
  return typeof payload === 'object' && payload !== null && Object.prototype.toString.call(payload) === '[object Response]'
}

/** The size as far as it is known by now; else `unknown`. */
export function payloadSize (payload: unknown, all: HeaderFields, unknown: Bytes): Bytes {
  if (payload == null) return 0
  return typeof payload === 'string' || Buffer.isBuffer(payload) ? Buffer.byteLength(payload) : Number(all['content-length'] ?? unknown)
}

/** Whether it is longer than this, as far as that is known by now. A character of a text takes three bytes at most. */
export function isLonger (payload: unknown, all: HeaderFields, most: Bytes): boolean {
  return !(typeof payload === 'string' && payload.length * 3 <= most) && payloadSize(payload, all, 0) > most
}

/** `isSeen`: others' hooks look at it. `isSized`: the reply says how long it is. Of a Response this is its body. */
export function payloadKind (payload: unknown, { isSeen, isSized }: { isSeen: boolean, isSized: boolean }): PayloadKind {
  if (payload == null) return 'none'
  const kind = typeof payload === 'string' ? 'text' : !isSeen || Buffer.isBuffer(payload) ? 'bytes' : streamKind(payload)
  return isSeen && isSized ? `sized ${kind}` : kind
}

function streamKind (payload: unknown): 'stream' | 'web' {
  return 'pipe' in (payload as object) ? 'stream' : 'web'
}

/** Whether the handler's payload was a string. */
export function isText (kind: PayloadKind): boolean {
  return kind === 'text' || kind === 'sized text'
}

/** Streams that are made here, and not what a hook has made of one. */
const made = new WeakSet<object>()

export function isMade (payload: unknown): boolean {
  return typeof payload === 'object' && payload !== null && made.has(payload)
}

/** These bytes as a payload of this kind. */
export function payloadOf (kind: PayloadKind, bytes: Buffer): Buffer | string | Readable | ReadableStream {
  if (isText(kind)) return bytes.toString()
  // Others who are given these bytes must not see what a hook writes into them.
  const own = Buffer.from(bytes)
  const stream = kind.endsWith('stream') ? nodeStream(own) : kind.endsWith('web') || kind === 'response' ? webStream(own) : null
  if (stream !== null) made.add(stream)
  return stream ?? own
}

function nodeStream (bytes: Buffer): Readable {
  return new Readable({
    read () {
      this.push(bytes)
      this.push(null)
    }
  })
}

function webStream (bytes: Buffer): ReadableStream {
  return new ReadableStream({
    start (controller) {
      if (bytes.length > 0) controller.enqueue(bytes)
      controller.close()
    }
  })
}

/** A stream that nobody will read is let go, and not heard of any more. */
export function discard (payload: unknown): void {
  const stream = (isResponse(payload) ? payload.body : payload) as Discardable
  if (typeof stream !== 'object' || stream === null) return
  stream.on?.('error', () => {})
  stream.destroy?.()
  stream.cancel?.().catch(() => {})
}

/** A stream of Node, or of the web. */
type Discardable = {
  on?: (event: 'error', listener: () => void) => void
  destroy?: () => void
  cancel?: () => Promise<void>
} | null

/** How long the body is, as far as that is known; null: it is not. */
export function lengthOf (payload: unknown, fields: HeaderFields): Bytes | null {
  const size = payloadSize(payload, fields, NaN)
  return Number.isSafeInteger(size) && size >= 0 ? size : null
}

/**
 * Reads a stream to its end, for those who look on while it is read, as long as it is worth that; null: it is none. Never
 * rejects.
 */
export function drained (payload: unknown, isWorth: () => boolean): Promise<void> | null {
  const stream = isResponse(payload) ? payload.body : payload
  if (stream instanceof ReadableStream) return readWeb(stream, isWorth).catch(() => {})
  if (!(stream instanceof Readable)) return null
  return new Promise((resolve) => {
    stream.on('error', () => {}).on('close', resolve).on('end', resolve)
    stream.on('data', () => { if (!isWorth()) stream.destroy() })
  })
}

async function readWeb (stream: ReadableStream, isWorth: () => boolean): Promise<void> {
  const reader = stream.getReader()
  while (!(await reader.read()).done) if (!isWorth()) return await reader.cancel()
}

// A Response of the web, as other plugins' onSend hooks see it: Fastify puts its status and its fields on the reply only
// when all of them have run. What we store is read off the reply, so it is put there for a moment, and taken away again.

/** The reply's head before the Response's was put there, and the body as it is sent on. */
interface Apart { status: number, fields: HeaderFields, body: unknown }

/** Takes a Response's head off the reply again; gives the Response with this body. */
export function rewrapped (reply: ReplyView, response: Response, { status, fields, body }: Apart): Response {
  const present = reply.getHeaders()
  reply.code(status)
  for (const name of new Set(response.headers.keys())) {
    const [value, before] = [present[name], fields[name]]
    if (isSame(before, value)) continue
    reply.removeHeader(name)
    if (before !== undefined) reply.header(name, before as string | string[])
  }
  // We may have added to it, and the Response's is the one that counts in the end.
  const vary = response.headers.has('vary') ? String(present.vary) : null
  if (body === response.body && vary === response.headers.get('vary')) return response
  const headers = Array.from(response.headers, ([name, value]): HeaderField => [name, name === 'vary' ? vary! : value])
  return responseWith(body, response, headers)
}

interface Line { status: number, statusText: string }

/** The Response that an entry was. */
export function responseOf (status: number, headers: readonly HeaderField[], bytes: Buffer): Response {
  // Others who are given these bytes must not see what a hook writes into them.
  return responseWith(bytes.length === 0 ? null : new Uint8Array(bytes), { status, statusText: '' }, headers)
}

type Body = ConstructorParameters<typeof Response>[0]

function responseWith (body: unknown, { status, statusText }: Line, headers: readonly HeaderField[]): Response {
  const response = new Response(body as Body, { status, statusText })
  for (const [name, value] of headers) for (const one of [value].flat().flatMap(valuesOf)) response.headers.append(name, one)
  return response
}

/** A field that came more than once is one text in a Response; spaces at its ends are of empty values, and would be lost. */
function valuesOf (text: string): string[] {
  return text === text.trim() ? [text] : text.split(', ')
}

// Trailers of a reply. Fastify tells of one by its name only; all lie under a symbol that is called so.

export type Trailers = Readonly<Record<string, unknown>>

const NONE: Trailers = {}
let place: symbol | undefined

/** Which there are by now, by name; none where Fastify keeps them elsewhere. */
export function trailersOf (reply: object): Trailers {
  place ??= Object.getOwnPropertySymbols(reply).find(({ description }) => description === 'fastify.reply.trailers')
  const trailers = place === undefined ? null : (reply as Record<symbol, Trailers | null | undefined>)[place]
  return trailers == null ? NONE : { ...trailers }
}

/** Whether one was added, or replaced. Who removes one leaves its name. */
export function hasMore (trailers: Trailers, before: Trailers): boolean {
  return trailers !== NONE && Object.entries(trailers).some(([name, give]) => give !== undefined && give !== before[name])
}
