// The bytes of an entry. Integers and doubles are big-endian.
//
//   offset  size
//        0     1   version of this layout
//        1     4   CRC-32 of the name under which it lies, and of everything behind it but the eight bytes at 15
//        5     2   status
//        7     8   storedAt, a double: half a millisecond more than a whole one. Former builds stored whole ones
//       15     8   the instant at which it was made stale, a double; 0: it was not
//       23     8   staleAt, a double
//       31     8   deadAt, a double
//       39     8   rescueUntil, a double
//       47     8   asOf, a double: exact, as the clock counts in microseconds, below 2^53
//       55     1   what the handler sent: 0 bytes, 1 a string, 2 nothing, …: KINDS, below
//       56     4   cost in milliseconds
//       60    12   epoch (latin1), all 0 where there is none
//       72    12   history (latin1)
//       84     4   size of the header block in bytes
//       88     4   size of the tag block in bytes
//       92     1   number of encoded bodies
//       93     …   header block: per value 2 bytes length of the name, 4 bytes length of the value, name, value (latin1,
//                  as Node writes headers); a field with several values is one record a value
//        …     …   tag block: the tags, UTF-8, each with a byte 0 behind it
//        …     …   the bodies, to the end: see bodies.ts
//
// The name is in the CRC so that what was stored under one is no entry under another: where replies are taken for those of
// other commands, as behind a proxy that adds or drops one, nobody is served what is another key's.
//
// The instant at 15 is not checked by the CRC, so that an entry can be made stale where it lies, by eight bytes at that
// place: a script has no CRC, and the one at 1 stays what tells two entries apart. Damage there can't have an entry served
// longer than it was to be, as the others are checked; what is no instant is no entry.
//
// A marker:
//
//        0     1   version of this layout, 128 more than an entry's
//        1     4   CRC-32 of everything behind it
//        5    12   epoch (latin1); the scripts compare it in place
//       17     …   the members, latin1, with commas between them
//
// Bytes that are not a whole, undamaged entry of this version decode to null, which is a miss: a value of an older or newer
// build, of somebody else, or a damaged one is overwritten by the next fill and never served.
import { isUtf8 } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { bodiesSize, readEncoded, writeBodies } from './bodies.js'
import { NOT_ENCODED, NOT_SOFTENED, type Entry, type HeaderField, type Marker, type PayloadKind } from './entry.js'

const VERSION = 5
const MARKER_VERSION = 128 + VERSION
const KINDS: readonly PayloadKind[] = [
  'bytes', 'text', 'none', 'stream', 'web', 'response', 'sized stream', 'sized web', 'sized bytes', 'sized text'
]
const CHECKED_FROM = 5
const MEMBERS_FROM = 17
const SOFTENED_AT = 15
const SOFTENED_AT_END = 23
const HEADERS_FROM = 93
const RECORD_HEAD = 6
const LONGEST_COST = 2 ** 32 - 1
/** Milliseconds that tell this build's entries from a former one's, which reads over them. */
const SIGN = 0.5
const NO_TAGS: readonly string[] = []
/** Of an epoch or a history, in characters. */
export const EPOCH_LENGTH = 12

/**
 * The entry's bytes, for this name only: see `ownName`. Header names and values must be such that Node would send them:
 * latin1, a name below 64 KiB.
 */
export function encode (entry: Entry, name: string): Buffer {
  const block = encodeHeaders(entry.headers)
  const tags = Buffer.from(entry.tags.map((tag) => `${tag}\0`).join(''))
  const tagsFrom = HEADERS_FROM + block.length
  // With memory of its own: a part of Node's pool, kept in this process, would keep all of it.
  const bytes = Buffer.allocUnsafeSlow(tagsFrom + tags.length + bodiesSize(entry))
  bytes[0] = VERSION
  bytes.writeUInt16BE(entry.status, 5)
  bytes.writeDoubleBE(Math.floor(entry.storedAt) + SIGN, 7)
  bytes.writeDoubleBE(entry.softenings[0] ?? 0, SOFTENED_AT)
  bytes.writeDoubleBE(entry.staleAt, 23)
  bytes.writeDoubleBE(entry.deadAt, 31)
  bytes.writeDoubleBE(entry.rescueUntil, 39)
  bytes.writeDoubleBE(entry.asOf, 47)
  bytes[55] = KINDS.indexOf(entry.kind)
  bytes.writeUInt32BE(Math.min(entry.cost, LONGEST_COST), 56)
  bytes.fill(0, 60, 84)
  bytes.write(entry.epoch, 60, EPOCH_LENGTH, 'latin1')
  bytes.write(entry.history, 72, EPOCH_LENGTH, 'latin1')
  bytes.writeUInt32BE(block.length, 84)
  bytes.writeUInt32BE(tags.length, 88)
  bytes[92] = entry.encoded.length
  block.copy(bytes, HEADERS_FROM)
  tags.copy(bytes, tagsFrom)
  writeBodies(bytes, tagsFrom + tags.length, entry)
  bytes.writeUInt32BE(checksum(bytes, name), 1)
  return bytes
}

/** What bytes that stay where they are were found to be. */
const kept = new WeakMap<Buffer, { name: string, entry: Entry | null }>()

/** The same as `decode`, of bytes that are never changed: they are looked at once. */
export function decodeKept (bytes: Buffer, name: string): Entry | null {
  let known = kept.get(bytes)
  if (known?.name !== name) kept.set(bytes, known = { name, entry: decode(bytes, name) })
  return known.entry
}

/** The entry of these bytes, its bodies views on them; null where they are not an entry of this name. Never throws. */
export function decode (bytes: Buffer, name: string): Entry | null {
  if (bytes.length < HEADERS_FROM || bytes[0] !== VERSION) return null
  if (bytes.readUInt32BE(1) !== checksum(bytes, name)) return null
  const tagsFrom = HEADERS_FROM + bytes.readUInt32BE(84)
  const bodyFrom = tagsFrom + bytes.readUInt32BE(88)
  if (bodyFrom > bytes.length) return null
  const tags = tagsOf(bytes, tagsFrom, bodyFrom)
  if (tags === null) return null
  const bodies = bytes[92] === 0 ? null : readEncoded(bytes, bodyFrom, bytes[92]!)
  if (bodies === null && bytes[92] !== 0) return null
  const headers = headersOf(bytes, tagsFrom)
  const status = bytes.readUInt16BE(5)
  const kind = KINDS[bytes[55]!]
  const storedAt = bytes.readDoubleBE(7)
  const softenedAt = bytes.readDoubleBE(SOFTENED_AT)
  // Written so that what is not a number is refused, too.
  if (!(softenedAt >= 0 && softenedAt < Infinity)) return null
  if (headers === null || kind === undefined || status < 100 || status > 599) return null
  return {
    status,
    headers,
    body: bodies === null ? bytes.subarray(bodyFrom) : bodies.body,
    encoded: bodies === null ? NOT_ENCODED : bodies.encoded,
    kind,
    epoch: bytes[60] === 0 ? '' : bytes.toString('latin1', 60, 72),
    history: bytes.toString('latin1', 72, 84),
    tags,
    storedAt: Math.floor(storedAt),
    softenings: softenedAt === 0 ? NOT_SOFTENED : [softenedAt],
    staleAt: bytes.readDoubleBE(23),
    deadAt: bytes.readDoubleBE(31),
    rescueUntil: bytes.readDoubleBE(39),
    cost: bytes.readUInt32BE(56),
    asOf: bytes.readDoubleBE(47),
    isOfFormerBuild: Number.isInteger(storedAt)
  }
}

/** Null where the block is none: a tag that is read as another one would not be ended by its own. */
function tagsOf (bytes: Buffer, from: number, end: number): readonly string[] | null {
  if (from === end) return NO_TAGS
  const block = bytes.subarray(from, end)
  if (block.at(-1) !== 0 || !isUtf8(block)) return null
  const tags = block.toString('utf8', 0, block.length - 1).split('\0')
  return tags.includes('') ? null : tags
}

function checksum (bytes: Buffer, name: string): number {
  return crc32(bytes.subarray(SOFTENED_AT_END), crc32(bytes.subarray(CHECKED_FROM, SOFTENED_AT), crc32(name)))
}

/** What an entry is checked to be: that of this key, or of a variant under it. */
export function ownName (key: string, varied: { variant: string } | null): string {
  return varied === null ? key : `${key}\0${varied.variant}`
}

/** The marker's bytes. */
export function encodeMarker ({ members, epoch }: Marker): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(5), Buffer.from(`${epoch}${members.join(',')}`, 'latin1')])
  bytes[0] = MARKER_VERSION
  bytes.writeUInt32BE(crc32(bytes.subarray(CHECKED_FROM)), 1)
  return bytes
}

/** Whether these bytes, if they are any of ours, are a marker's. */
export const isMarker = (bytes: Buffer): boolean => bytes[0] === MARKER_VERSION

/** The marker of these bytes; null where they are none. Never throws. */
export function decodeMarker (bytes: Buffer): Marker | null {
  if (bytes.length <= MEMBERS_FROM || bytes[0] !== MARKER_VERSION) return null
  if (bytes.readUInt32BE(1) !== crc32(bytes.subarray(CHECKED_FROM))) return null
  return {
    epoch: bytes.toString('latin1', CHECKED_FROM, MEMBERS_FROM),
    members: bytes.toString('latin1', MEMBERS_FROM).split(',')
  }
}

function encodeHeaders (headers: readonly HeaderField[]): Buffer {
  let size = 0
  for (const [name, value] of headers) {
    for (const one of values(value)) size += RECORD_HEAD + name.length + one.length
  }
  const block = Buffer.allocUnsafe(size)
  let at = 0
  for (const [name, value] of headers) {
    for (const one of values(value)) {
      block.writeUInt16BE(name.length, at)
      block.writeUInt32BE(one.length, at + 2)
      at += RECORD_HEAD
      at += block.write(name, at, 'latin1')
      at += block.write(one, at, 'latin1')
    }
  }
  return block
}

/** Header blocks that were decoded lately, by their bytes: those of a hot entry are the same with each hit. */
const blocks = new Map<string, readonly HeaderField[]>()
const MOST_BLOCKS = 1_000
const LONGEST_BLOCK = 2_048

function headersOf (bytes: Buffer, end: number): readonly HeaderField[] | null {
  if (end - HEADERS_FROM > LONGEST_BLOCK) return decodeHeaders(bytes, end)
  const block = bytes.toString('latin1', HEADERS_FROM, end)
  const known = blocks.get(block)
  if (known !== undefined) return known
  const headers = decodeHeaders(bytes, end)
  if (headers === null) return null
  // All of them: to find the oldest in a map is to walk past those that were removed.
  if (blocks.size >= MOST_BLOCKS) blocks.clear()
  blocks.set(block, headers)
  return headers
}

function decodeHeaders (bytes: Buffer, end: number): HeaderField[] | null {
  const headers: [string, string | string[]][] = []
  let at = HEADERS_FROM
  while (at < end) {
    if (at + RECORD_HEAD > end) return null
    const valueFrom = at + RECORD_HEAD + bytes.readUInt16BE(at)
    const next = valueFrom + bytes.readUInt32BE(at + 2)
    if (next > end) return null
    append(headers, bytes.toString('latin1', at + RECORD_HEAD, valueFrom), bytes.toString('latin1', valueFrom, next))
    at = next
  }
  return headers
}

/** Records of one name that follow each other are one field with several values. */
function append (headers: [string, string | string[]][], name: string, value: string): void {
  const last = headers.at(-1)
  if (last === undefined || last[0] !== name) headers.push([name, value])
  else if (typeof last[1] === 'string') last[1] = [last[1], value]
  else last[1].push(value)
}

function values (value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value
}
