// The bytes of an entry, and of a marker, as store/layout.ts has their parts.
//
// Bytes that are not a whole, undamaged entry of this version decode to null, which is a miss: a value of an older or newer
// build, of somebody else, or a damaged one is overwritten by the next fill and never served.
import { isUtf8 } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { bodiesSize, readEncoded, writeBodies } from './bodies.js'
import { NOT_ENCODED, NOT_SOFTENED, type Entry, type HeaderField, type Marker, type PayloadKind } from './entry.js'
import { ENTRY as AT, EPOCH_LENGTH, MARKER, MARKER_VERSION, LAYOUT_VERSION } from '../store/layout.js'

const KINDS: readonly PayloadKind[] = [
  'bytes', 'text', 'none', 'stream', 'web', 'response', 'sized stream', 'sized web', 'sized bytes', 'sized text'
]
const RECORD_HEAD = 6
const LONGEST_COST = 2 ** 32 - 1
/** Milliseconds that tell this build's entries from a former one's, which reads over them. */
const SIGN = 0.5
const NO_TAGS: readonly string[] = []

/**
 * The entry's bytes, for this name only: see `ownName`. Header names and values must be such that Node would send them:
 * latin1, a name below 64 KiB.
 */
export function encode (entry: Entry, name: string): Buffer {
  const block = encodeHeaders(entry.headers)
  const tags = Buffer.from(entry.tags.map((tag) => `${tag}\0`).join(''))
  const tagsFrom = AT.headers + block.length
  // With memory of its own: a part of Node's pool, kept in this process, would keep all of it.
  const bytes = Buffer.allocUnsafeSlow(tagsFrom + tags.length + bodiesSize(entry))
  bytes[0] = LAYOUT_VERSION
  bytes.writeUInt16BE(entry.status, AT.status)
  bytes.writeDoubleBE(Math.floor(entry.storedAt) + SIGN, AT.storedAt)
  bytes.writeDoubleBE(entry.softenings[0] ?? 0, AT.softenedAt)
  bytes.writeDoubleBE(entry.staleAt, AT.staleAt)
  bytes.writeDoubleBE(entry.deadAt, AT.deadAt)
  bytes.writeDoubleBE(entry.rescueUntil, AT.rescueUntil)
  bytes.writeDoubleBE(entry.asOf, AT.asOf)
  bytes[AT.kind] = KINDS.indexOf(entry.kind)
  bytes.writeUInt32BE(Math.min(entry.cost, LONGEST_COST), AT.cost)
  bytes.fill(0, AT.epoch, AT.headersSize)
  bytes.write(entry.epoch, AT.epoch, EPOCH_LENGTH, 'latin1')
  bytes.write(entry.history, AT.history, EPOCH_LENGTH, 'latin1')
  bytes.writeUInt32BE(block.length, AT.headersSize)
  bytes.writeUInt32BE(tags.length, AT.tagsSize)
  bytes[AT.encodings] = entry.encoded.length
  block.copy(bytes, AT.headers)
  tags.copy(bytes, tagsFrom)
  writeBodies(bytes, tagsFrom + tags.length, entry)
  return seal(bytes, name)
}

/** Puts the checksum into the bytes that is right for them under this name. */
export function seal (bytes: Buffer, name: string): Buffer {
  bytes.writeUInt32BE(checksum(bytes, name), AT.checksum)
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
  if (bytes.length < AT.headers || bytes[0] !== LAYOUT_VERSION) return null
  if (bytes.readUInt32BE(AT.checksum) !== checksum(bytes, name)) return null
  const tagsFrom = AT.headers + bytes.readUInt32BE(AT.headersSize)
  const bodyFrom = tagsFrom + bytes.readUInt32BE(AT.tagsSize)
  if (bodyFrom > bytes.length) return null
  const tags = tagsOf(bytes, tagsFrom, bodyFrom)
  if (tags === null) return null
  const count = bytes[AT.encodings]!
  const bodies = count === 0 ? null : readEncoded(bytes, bodyFrom, count)
  if (bodies === null && count !== 0) return null
  const headers = headersOf(bytes, tagsFrom)
  const status = bytes.readUInt16BE(AT.status)
  const kind = KINDS[bytes[AT.kind]!]
  const storedAt = bytes.readDoubleBE(AT.storedAt)
  const softenedAt = bytes.readDoubleBE(AT.softenedAt)
  // Written so that what is not a number is refused, too.
  if (!(softenedAt >= 0 && softenedAt < Infinity)) return null
  if (headers === null || kind === undefined || status < 100 || status > 599) return null
  return {
    status,
    headers,
    body: bodies === null ? bytes.subarray(bodyFrom) : bodies.body,
    encoded: bodies === null ? NOT_ENCODED : bodies.encoded,
    kind,
    epoch: bytes[AT.epoch] === 0 ? '' : bytes.toString('latin1', AT.epoch, AT.history),
    history: bytes.toString('latin1', AT.history, AT.headersSize),
    tags,
    storedAt: Math.floor(storedAt),
    softenings: softenedAt === 0 ? NOT_SOFTENED : [softenedAt],
    staleAt: bytes.readDoubleBE(AT.staleAt),
    deadAt: bytes.readDoubleBE(AT.deadAt),
    rescueUntil: bytes.readDoubleBE(AT.rescueUntil),
    cost: bytes.readUInt32BE(AT.cost),
    asOf: bytes.readDoubleBE(AT.asOf),
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
  return crc32(bytes.subarray(AT.staleAt), crc32(bytes.subarray(AT.status, AT.softenedAt), crc32(name)))
}

/** What an entry is checked to be: that of this key, or of a variant under it. */
export function ownName (key: string, varied: { variant: string } | null): string {
  return varied === null ? key : `${key}\0${varied.variant}`
}

/** The marker's bytes. */
export function encodeMarker ({ members, epoch }: Marker): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(MARKER.epoch), Buffer.from(`${epoch}${members.join(',')}`, 'latin1')])
  bytes[0] = MARKER_VERSION
  bytes.writeUInt32BE(crc32(bytes.subarray(MARKER.epoch)), MARKER.checksum)
  return bytes
}

/** Whether these bytes, if they are any of ours, are a marker's. */
export const isMarker = (bytes: Buffer): boolean => bytes[0] === MARKER_VERSION

/** The marker of these bytes; null where they are none. Never throws. */
export function decodeMarker (bytes: Buffer): Marker | null {
  if (bytes.length <= MARKER.members || bytes[0] !== MARKER_VERSION) return null
  if (bytes.readUInt32BE(MARKER.checksum) !== crc32(bytes.subarray(MARKER.epoch))) return null
  return {
    epoch: bytes.toString('latin1', MARKER.epoch, MARKER.members),
    members: bytes.toString('latin1', MARKER.members).split(',')
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
  if (end - AT.headers > LONGEST_BLOCK) return decodeHeaders(bytes, end)
  const block = bytes.toString('latin1', AT.headers, end)
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
  let at: number = AT.headers
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
