// Bodies that are stored in a coding only, for clients that take none: decoded in Node's pool of threads, so that the event
// loop goes on, and no further than they are said to be long. The length was checked against `maxBodyBytes` by then.
import { promisify } from 'node:util'
import { brotliDecompress, gunzip } from 'node:zlib'
import type { Entry } from '../entry/entry.js'
import { ACCEPT_ENCODING, type Coding } from '../http/encoding.js'
import type { RequestFields } from '../http/vary.js'
import { representationOf } from './representation.js'

interface Bounds { maxOutputLength: number, chunkSize: number }

const DECODERS: Record<Coding, (body: Buffer, bounds: Bounds) => Promise<Buffer>> = {
  br: promisify(brotliDecompress),
  gzip: promisify(gunzip)
}
const CHUNK = 64 * 1024

/** Many that waited for one run are given the same entry, at once: it is decoded once. */
const running = new WeakMap<Entry['encoded'], Promise<Buffer>>()

/** Whether a request with these header fields gets the body as it is, and that has yet to be decoded. */
export function isPacked (entry: Entry, headers: RequestFields): boolean {
  return typeof entry.body === 'number' && typeof representationOf(entry, headers[ACCEPT_ENCODING]).body === 'number'
}

/** The entry with its body as it is. Rejects where what lies there is not so encoded: somebody else wrote it. */
export async function unpacked (entry: Entry): Promise<Entry> {
  const { body: size, encoded } = entry
  if (typeof size !== 'number') return entry
  let decoding = running.get(encoded)
  if (decoding === undefined) {
    decoding = decoded(encoded, size)
    running.set(encoded, decoding)
    const end = (): void => { running.delete(encoded) }
    decoding.then(end, end)
  }
  return { ...entry, body: await decoding }
}

async function decoded (encoded: Entry['encoded'], size: number): Promise<Buffer> {
  // gzip is the faster one to decode.
  const { coding, body } = encoded.find(({ coding }) => coding === 'gzip') ?? encoded[0]!
  const whole = await DECODERS[coding](body, { maxOutputLength: Math.max(1, size), chunkSize: CHUNK })
  if (whole.length !== size) throw new Error(`a body of ${size} bytes has ${whole.length} when it is decoded`)
  return whole
}
