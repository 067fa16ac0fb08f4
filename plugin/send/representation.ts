// Which of an entry's bodies a request gets, and with which head: the one as it is, or an encoded one, which is a
// representation of its own with a tag of its own (RFC 9110 §8.8.3.3).
import { promisify } from 'node:util'
import { brotliDecompress, gunzip } from 'node:zlib'
import type { Bytes } from '../duration.js'
import type { Entry, HeaderField } from '../entry/entry.js'
import { acceptedCodings, encodedEtag, ACCEPT_ENCODING, type Coding } from '../http/encoding.js'
import type { RequestFields } from '../http/headers.js'

export interface Representation {
  /** Or its size, where it has yet to be decoded. */
  body: Buffer | Bytes
  /** Null: as the handler sent it. */
  coding: Coding | null
  /** With those of the coding. */
  headers: Fields
  head: Head
}

/** What the entry is for a request with this Accept-Encoding. */
export function representationOf (entry: Entry, acceptEncoding: string | readonly string[] | undefined): Representation {
  const { encoded, headers } = entry
  if (encoded.length > 0) {
    for (const coding of acceptedCodings(acceptEncoding)) {
      const found = encoded.find((one) => one.coding === coding)
      if (found === undefined) continue
      const own = headersIn(coding, headers)
      return { body: found.body, coding, headers: own, head: headOf(own) }
    }
  }
  return { body: entry.body, coding: null, headers, head: headOf(headers) }
}

/** Made once for each header block, as heads are. */
const made = { br: new WeakMap<Fields, Fields>(), gzip: new WeakMap<Fields, Fields>() }

type Fields = readonly HeaderField[]

function headersIn (coding: Coding, headers: Fields): Fields {
  let own = made[coding].get(headers)
  if (own === undefined) made[coding].set(headers, own = makeHeaders(coding, headers))
  return own
}

/** Ranges are of the body as it is. */
function makeHeaders (coding: Coding, headers: Fields): Fields {
  const own: HeaderField[] = [['content-encoding', coding]]
  for (const field of headers) {
    if (field[0] === 'etag') own.push(['etag', encodedEtag(String(field[1]), coding)])
    else if (field[0] !== 'accept-ranges') own.push(field)
  }
  return own
}

// The head of a stored response, made ready for sending: once for each header block, as the codec gives those of a hot entry
// the same fields again.

export interface Head {
  /** All but Age, which is made anew with each response. */
  fields: Fields
  /** Those that a 304 has. */
  fieldsOf304: Fields
  /** Node encodes the head as it does the body, so a string's with other bytes than a Buffer's where they are not ASCII. */
  hasNonAscii: boolean
  etag: string | undefined
  lastModified: string | undefined
  acceptRanges: string | undefined
  age: string | undefined
  date: string | undefined
  cacheControl: string | undefined
}

/** What a 304 has of a 200's fields: RFC 9110 §15.4.5. Age is the cache's own, RFC 9111 §5.1. */
const OF_A_304 = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary', 'age', 'cdn-cache-control'])

const heads = new WeakMap<readonly HeaderField[], Head>()

export function headOf (headers: readonly HeaderField[]): Head {
  let head = heads.get(headers)
  if (head === undefined) heads.set(headers, head = makeHead(headers))
  return head
}

/** Whether a 304 has this field. */
export function isOf304 (name: string): boolean {
  return OF_A_304.has(name)
}

function makeHead (headers: readonly HeaderField[]): Head {
  const fieldOf = (name: string): string | undefined => {
    const value = headers.find(([field]) => field === name)?.[1]
    return value === undefined ? undefined : String(value)
  }
  return {
    fields: headers.filter(([name]) => name !== 'age'),
    fieldsOf304: headers.filter(([name]) => name !== 'age' && OF_A_304.has(name)),
    hasNonAscii: headers.some(([, value]) => /[\x80-\xff]/.test(String(value))),
    etag: fieldOf('etag'),
    lastModified: fieldOf('last-modified'),
    acceptRanges: fieldOf('accept-ranges'),
    age: fieldOf('age'),
    date: fieldOf('date'),
    cacheControl: fieldOf('cache-control')
  }
}

// Bodies that are stored in a coding only, for clients that take none: decoded in Node's pool of threads, so that the event
// loop goes on, and no further than they are said to be long. The length was checked against `maxBodyBytes` by then.

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
