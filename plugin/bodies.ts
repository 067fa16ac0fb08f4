// The bodies of an entry in its bytes: how many of them are encoded is in the head, a table of those in front of the bodies.
//
//   offset  size
//        0     1   coding of the first: 0 br, 1 gzip
//        1     4   its length in bytes
//        5     …   the same of each of the others
//        …     …   the body as it is
//        …     …   the encoded bodies, in the table's order, to the end
//
// Without any the table is empty, and nothing is made for it.
import type { EncodedBody, Entry } from './entry.js'
import { CODINGS } from './http/encoding.js'

type Bodies = Pick<Entry, 'body' | 'encoded'>

/** Of the table, in bytes. */
const RECORD = 5

/** With their table, in bytes. */
export function bodiesSize ({ body, encoded }: Bodies): number {
  return encoded.reduce((size, { body }) => size + RECORD + body.length, body.length)
}

export function writeBodies (bytes: Buffer, from: number, { body, encoded }: Bodies): void {
  let at = from
  for (const { coding, body } of encoded) {
    bytes[at] = CODINGS.indexOf(coding)
    bytes.writeUInt32BE(body.length, at + 1)
    at += RECORD
  }
  at += body.copy(bytes, at)
  for (const { body } of encoded) at += body.copy(bytes, at)
}

/** Views on the bytes, to their end; null where the table is not one of so many. */
export function readEncoded (bytes: Buffer, from: number, count: number): Bodies | null {
  const bodyFrom = from + count * RECORD
  if (bodyFrom > bytes.length) return null
  const encoded: EncodedBody[] = []
  let end = bytes.length
  for (let i = count - 1; i >= 0; i--) {
    const at = from + i * RECORD
    const coding = CODINGS[bytes[at]!]
    const start = end - bytes.readUInt32BE(at + 1)
    if (coding === undefined || start < bodyFrom) return null
    encoded.unshift({ coding, body: bytes.subarray(start, end) })
    end = start
  }
  return { body: bytes.subarray(bodyFrom, end), encoded }
}
