// The bytes of a stream, kept while they pass to the client: the first byte does not wait, the reader's back-pressure
// reaches the source, an error goes on as it is, and no more is kept than the limit.
//
// Others' onSend hooks are to see the very stream that the handler sent, and it must fail, end and be let go as without us.
// So a stream of Node's own classes is sent on as it is, and listened to where whoever reads it can't pass by: Node emits
// `data` for each chunk that is read, in every way of reading. A listener would set it flowing, so `emit` itself is
// replaced, on this one stream. Of a web stream it is the reader's `read`. Streams of other classes are not recorded.
import { EventEmitter } from 'node:events'
import Stream, { type Readable } from 'node:stream'
import { ReadableStream, type ReadableStreamDefaultReader as Reader, type TransformStreamDefaultController } from 'node:stream/web'
import type { Bytes } from '../duration.js'

/** The bytes that have passed so far. */
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

  /** `encoding`: a text was made of the bytes for a reader that asked for one; else it is sent as it is. */
  add (chunk: unknown, encoding?: BufferEncoding): void {
    if (this.#state !== 'open') return
    // Objects, on their way to a hook that makes bytes of them.
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) return this.spoil()
    // Bytes that are no text are lost to that reader.
    if (typeof chunk === 'string' && encoding !== undefined && chunk.includes('\ufffd')) return this.spoil()
    // A copy: the source may use its memory again once the chunk is written.
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk)
    this.#size += bytes.length
    if (this.#size <= this.#limit) {
      this.#chunks.push(bytes)
      return
    }
    this.spoil()
    this.#onOverflow()
  }

  end (): void {
    if (this.#state === 'open') this.#state = 'whole'
  }

  /** The kept bytes are not the whole, or not those that were sent. */
  spoil (): void {
    if (this.#state !== 'open') return
    this.#state = 'over'
    this.#chunks = []
  }

  /** The whole; null where the source did not end, or passed the limit, or it is not known. */
  bytes (): Buffer | null {
    return this.#state === 'whole' ? Buffer.concat(this.#chunks) : null
  }
}

/** Has the payload's bytes recorded as they are read. False: it is no stream that can be recorded. */
export function record (payload: unknown, recording: Recording): boolean {
  if (isNodeStream(payload) && isOfNode(payload)) listen(payload, recording)
  else if (isWebStream(payload) && isOfTheWeb(payload)) watch(payload, recording)
  else return false
  return true
}

/**
 * Whether it emits all that it sends: a class with a `pipe` of its own (as clients have that copy the upstream's head to a
 * response) may send something else. Packages that copy Node's Readable have all of these in one class, as Node has.
 */
function isOfNode (source: Readable): boolean {
  if (source.emit !== EventEmitter.prototype.emit || !Object.isExtensible(source)) return false
  // The streams of Node's first years.
  if (source.pipe === Stream.prototype.pipe) return true
  let owner: object | null = source
  while (owner !== null && !Object.hasOwn(owner, 'pipe')) owner = Object.getPrototypeOf(owner)
  return owner !== null && ['read', 'push', 'unshift', 'setEncoding'].every((name) => Object.hasOwn(owner, name))
}

function listen (source: Readable, recording: Recording): void {
  const { emit, unshift, setEncoding }: Partial<Readable> & Pick<Readable, 'emit'> = source
  let encoding: BufferEncoding | undefined
  replace(source, 'emit', function (this: Readable, name: string | symbol, ...args: unknown[]) {
    if (name === 'data') recording.add(args[0], encoding)
    else if (name === 'end') recording.end()
    return emit.call(this, name, ...args)
  })
  if (unshift === undefined || setEncoding === undefined) return
  // A chunk that was read already, and comes again.
  replace(source, 'unshift', function (this: Readable, ...args: Parameters<Readable['unshift']>) {
    recording.spoil()
    return unshift.apply(this, args)
  })
  // A hook reads it as text.
  replace(source, 'setEncoding', function (this: Readable, name: BufferEncoding = 'utf8') {
    encoding = name
    return setEncoding.call(this, name)
  })
}

function isOfTheWeb (source: ReadableStream): boolean {
  if (source.locked || !(source instanceof ReadableStream)) return false
  return source.getReader === ReadableStream.prototype.getReader && Object.isExtensible(source)
}

/** Ways of reading that ask for no reader. */
const WITHOUT_READER = ['pipeTo', 'pipeThrough', 'tee', 'values', Symbol.asyncIterator] as const

function watch (source: ReadableStream, recording: Recording): void {
  const { getReader, cancel, pipeThrough } = source
  replace(source, 'getReader', function (this: ReadableStream, ...args: []) {
    return watchReader(getReader.apply(this, args) as Reader, recording)
  })
  replace(source, 'cancel', function (this: ReadableStream, reason?: unknown) {
    recording.spoil()
    return cancel.call(this, reason)
  })
  for (const name of WITHOUT_READER) {
    replace(source, name, function (this: ReadableStream, ...args: unknown[]) {
      const through = teeWeb({ pipeThrough: pipeThrough.bind(this) }, recording)
      return (through[name] as (...args: unknown[]) => unknown)(...args)
    })
  }
}

function watchReader (reader: Reader, recording: Recording): Reader {
  const { read, cancel } = reader
  replace(reader, 'read', function (this: Reader, ...args: []) {
    const reading = read.apply(this, args)
    // Ahead of whoever waits for it.
    reading.then(({ done, value }) => { done ? recording.end() : recording.add(value) }, () => {})
    return reading
  })
  // A read behind the end gives the end again.
  replace(reader, 'cancel', function (this: Reader, reason?: unknown) {
    recording.spoil()
    return cancel.call(this, reason)
  })
  return reader
}

/** On this one object, and not seen where its properties are listed. */
function replace (object: object, name: string | symbol, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false })
}

function teeWeb (source: Pick<ReadableStream, 'pipeThrough'>, recording: Recording): ReadableStream {
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

function isWebStream (payload: unknown): payload is ReadableStream {
  return typeof payload === 'object' && payload !== null && 'getReader' in payload && typeof payload.getReader === 'function' &&
    'pipeThrough' in payload
}
