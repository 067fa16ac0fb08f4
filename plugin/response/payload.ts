// What a handler sends, as Fastify hands it to onSend hooks: what can be told of it before it is read.
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import type { Bytes } from '../duration.js'
import type { PayloadKind } from '../entry/entry.js'
import type { HeaderFields } from '../http/headers.js'

/** As much of a reply as a Response is put on. */
interface ReplyView {
  code: (status: number) => unknown
  header: (name: string, value: string) => unknown
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
  return Object.prototype.toString.call(payload) === '[object Response]'
}

/** What is known of the size by now; `unknown` where nothing is. */
export function payloadSize (payload: unknown, all: HeaderFields, unknown: Bytes): Bytes {
  if (payload == null) return 0
  return typeof payload === 'string' || Buffer.isBuffer(payload) ? Buffer.byteLength(payload) : Number(all['content-length'] ?? unknown)
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

/** Of Node, or of the web. */
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
