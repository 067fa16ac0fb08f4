// The bodies of an entry in its bytes: how many of them are encoded is in the head. Without any there is the body as it is,
// and nothing else. Where there are some they stand for it, as it can be made of them; a table is in front of them:
//
//   offset  size
//        0     4   length of the body as it is, in bytes
//        4     1   coding of the first: 0 br, 1 gzip
//        5     4   its length in bytes
//        9     …   the same of each of the others
//        …     …   the encoded bodies, in the table's order, to the end
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { Bytes } from '../duration.js'
import type { EncodedBody, Entry } from './entry.js'
import { CODINGS, type Coding } from '../http/encoding.js'

type Bodies = Pick<Entry, 'body' | 'encoded'>

/** Of the table, in bytes. */
const LENGTH = 4
const RECORD = 5

const DECODERS: Record<Coding, typeof gunzipSync> = { br: brotliDecompressSync, gzip: gunzipSync }

/** With their table, in bytes. */
export function bodiesSize ({ body, encoded }: Bodies): Bytes {
  if (encoded.length === 0) return decodedSize({ body })
  return encoded.reduce((size, { body }) => size + RECORD + body.length, LENGTH)
}

/** Of the body as it is. */
export function decodedSize ({ body }: Pick<Entry, 'body'>): Bytes {
  return typeof body === 'number' ? body : body.length
}

/** Many that waited for one run are given the same entry, at once. */
let last: { encoded: Entry['encoded'], body: Buffer } | null = null

/**
 * The body as it is, made of an encoded one where it is not there: at once, as few clients take no coding. Throws where what
 * lies there is not so encoded: somebody else wrote it, with our checksum.
 */
export function bodyOf ({ body: size, encoded }: Bodies): Buffer {
  if (typeof size !== 'number') return size
  if (last?.encoded === encoded) return last.body
  // gzip is the faster one to decode.
  const { coding, body } = encoded.find(({ coding }) => coding === 'gzip') ?? encoded[0]!
  const whole = DECODERS[coding](body, { maxOutputLength: Math.max(1, size) })
  if (whole.length !== size) throw new Error(`a body of ${size} bytes has ${whole.length} when it is decoded`)
  last = { encoded, body: whole }
  return whole
}

export function writeBodies (bytes: Buffer, from: number, { body, encoded }: Bodies): void {
  if (encoded.length === 0) {
    if (typeof body !== 'number') body.copy(bytes, from)
    return
  }
  bytes.writeUInt32BE(decodedSize({ body }), from)
  let at = from + LENGTH
  for (const { coding, body } of encoded) {
    bytes[at] = CODINGS.indexOf(coding)
    bytes.writeUInt32BE(body.length, at + 1)
    at += RECORD
  }
  for (const { body } of encoded) at += body.copy(bytes, at)
}

/** Views on the bytes, to their end; null where the table is not one of so many. */
export function readEncoded (bytes: Buffer, from: number, count: number): Bodies | null {
  const table = from + LENGTH
  let start = table + count * RECORD
  if (start > bytes.length) return null
  const encoded: EncodedBody[] = []
  for (let at = table; at < table + count * RECORD; at += RECORD) {
    const coding = CODINGS[bytes[at]!]
    const end = start + bytes.readUInt32BE(at + 1)
    if (coding === undefined || end > bytes.length) return null
    encoded.push({ coding, body: bytes.subarray(start, end) })
    start = end
  }
  return start === bytes.length ? { body: bytes.readUInt32BE(from), encoded } : null
}
