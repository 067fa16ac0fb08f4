// The bytes of a stream, kept while they pass to the client: the first byte does not wait, the reader's back-pressure
// reaches the source, an error goes on as it is, and no more is kept than the limit.
import { type Readable, Transform, pipeline } from 'node:stream'
import type { ReadableStream as WebStream, TransformStreamDefaultController } from 'node:stream/web'
import type { Bytes } from './duration.js'

/** What has passed so far. */
export class Recording {
  readonly #limit: Bytes
  readonly #onOverflow: () => void
  #chunks: Buffer[] = []
  #size: Bytes = 0
  #state: 'open' | 'whole' | 'over' = 'open'

  constructor (limit: Bytes, onOverflow: () => void) {
    this.#limit = limit
    this.#onOverflow = onOverflow
  }

  add (chunk: unknown): void {
    if (this.#state !== 'open') return
    // A copy: the source may use its memory again once the chunk is written.
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk as Uint8Array)
    this.#size += bytes.length
    if (this.#size <= this.#limit) {
      this.#chunks.push(bytes)
      return
    }
    this.#state = 'over'
    this.#chunks = []
    this.#onOverflow()
  }

  end (): void {
    if (this.#state === 'open') this.#state = 'whole'
  }

  /** The whole; null where the source did not end, or passed the limit. */
  bytes (): Buffer | null {
    return this.#state === 'whole' ? Buffer.concat(this.#chunks) : null
  }
}

/** The payload with its bytes recorded as they are read; null where it is no stream that can be put through another. */
export function tee (payload: unknown, recording: Recording): unknown {
  if (isNodeStream(payload)) return teeNode(payload, recording)
  if (isWebStream(payload) && !payload.locked) return teeWeb(payload, recording)
  return null
}

function teeNode (source: Readable, recording: Recording): Transform {
  const through = new Transform({
    transform (chunk, _encoding, callback) {
      recording.add(chunk)
      callback(null, chunk)
    },
    flush (callback) {
      recording.end()
      callback()
    }
  })
  // It destroys one when the other fails or is destroyed; who sends the stream is told by the stream itself.
  pipeline(source, through, (error) => { if (error != null) abortLegacy(source) })
  return through
}

/** Old streams are let go by `abort()`, which Fastify calls, and Node calls on a client's request only. */
function abortLegacy (source: Partial<Readable> & { close?: unknown, setHeader?: unknown, abort?: unknown }): void {
  const { destroy, close, setHeader, abort } = source
  if (typeof destroy === 'function' || typeof close === 'function' || setHeader !== undefined) return
  if (typeof abort === 'function') abort.call(source)
}

function teeWeb (source: WebStream, recording: Recording): WebStream {
  const transformer = {
    transform (chunk: unknown, controller: TransformStreamDefaultController) {
      recording.add(chunk)
      controller.enqueue(chunk)
    },
    flush: () => recording.end()
  }
  // One chunk on the way at most: more would be read from the source before the client has taken any.
  return source.pipeThrough(new TransformStream(transformer, { highWaterMark: 1 }, { highWaterMark: 0 }))
}

/** As Fastify tells them: not every one is of Node's own class. */
function isNodeStream (payload: unknown): payload is Readable {
  return typeof payload === 'object' && payload !== null && 'pipe' in payload && typeof payload.pipe === 'function'
}

function isWebStream (payload: unknown): payload is WebStream {
  return typeof payload === 'object' && payload !== null && 'getReader' in payload && typeof payload.getReader === 'function' &&
    'pipeThrough' in payload
}
