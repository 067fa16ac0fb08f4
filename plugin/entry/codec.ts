// The bytes of an entry, and of a marker, as store/layout.ts has their parts.
//
// Bytes that are not a whole, undamaged entry of this layout decode to null, which is a miss: bytes of an older or newer
// build, of another program, or damaged ones are never served, and the next fill overwrites them.
import { isUtf8 } from 'node:buffer'
import { crc32, brotliDecompressSync, gunzipSync } from 'node:zlib'
import {
  NOT_ENCODED, NOT_SOFTENED, headerBytes, type Entry, type HeaderField, type Marker, type PayloadKind, type EncodedBody
} from './entry.js'
import { ENTRY as AT, EPOCH_LENGTH, MARKER, MARKER_VERSION, LAYOUT_VERSION } from '../store/layout.js'
import type { Bytes } from '../duration.js'
import { CODINGS, type Coding } from '../http/encoding.js'
import { isReplayable } from '../http/headers.js'
import { isStorableStatus } from '../http/response.js'
import type { AnswerLimits } from '../options/limits.js'

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
 * latin1, a name below 64 KiB. `isKept`: the bytes stay in this process, as those of the in-process store do.
 */
export function encode (entry: Entry, name: string, isKept = true): Buffer {
  const headersSize = sizeOfHeaders(entry.headers)
  const tags = entry.tags.length === 0 ? '' : `${entry.tags.join('\0')}\0`
  const tagsSize = Buffer.byteLength(tags)
  const tagsFrom = AT.headers + headersSize
  const size = tagsFrom + tagsSize + bodiesSize(entry)
  // A part of Node's pool that this process kept would keep all of the pool.
  const bytes = isKept ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size)
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
  bytes.writeUInt32BE(headersSize, AT.headersSize)
  bytes.writeUInt32BE(tagsSize, AT.tagsSize)
  bytes[AT.encodings] = entry.encoded.length
  writeHeaders(bytes, entry.headers)
  bytes.write(tags, tagsFrom)
  writeBodies(bytes, tagsFrom + tagsSize, entry)
  return seal(bytes, name)
}

/** Puts the checksum into the bytes that is right for them under this name. */
export function seal (bytes: Buffer, name: string): Buffer {
  bytes.writeUInt32BE(checksum(bytes, name), AT.checksum)
  return bytes
}

/** Decoded entries by their bytes, of bytes that never change. */
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

/** The name that an entry's checksum covers: its key, or the key and the variant. */
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

/** Whether these bytes are a marker's, by their first one. */
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

function sizeOfHeaders (headers: readonly HeaderField[]): number {
  let size = 0
  for (const [name, value] of headers) {
    if (typeof value === 'string') size += RECORD_HEAD + name.length + value.length
    else for (const one of value) size += RECORD_HEAD + name.length + one.length
  }
  return size
}

function writeHeaders (bytes: Buffer, headers: readonly HeaderField[]): void {
  let at: number = AT.headers
  for (const [name, value] of headers) {
    if (typeof value === 'string') at = writeField(bytes, at, [name, value])
    else for (const one of value) at = writeField(bytes, at, [name, one])
  }
}

/** Gives where the next one goes. */
function writeField (bytes: Buffer, at: number, [name, value]: readonly [string, string]): number {
  bytes.writeUInt16BE(name.length, at)
  bytes.writeUInt32BE(value.length, at + 2)
  const valueAt = at + RECORD_HEAD + bytes.write(name, at + RECORD_HEAD, 'latin1')
  return valueAt + bytes.write(value, valueAt, 'latin1')
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

// The bodies of an entry. The head says how many of them are encoded. Where none is, the body stands as it is, and nothing
// else. Where some are, the body itself is left out, as it can be decoded from them; a table stands in front of them:
//
//   offset  size
//        0     4   length of the body as it is, in bytes
//        4     1   coding of the first: 0 br, 1 gzip
//        5     4   its length in bytes
//        9     …   the same of each of the others
//        …     …   the encoded bodies, in the table's order, to the end

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

// Which entries may be served. The checksum is against damage: another program, or a broken build of this one, can write
// bytes with a right one. An entry that would break the connection, the process or a rule of the cache counts as unreadable:
// a miss, which the next fill overwrites. The content of a body is not judged.

/** The last instant that a date can be. */
const LAST_INSTANT = 8.64e15
/** Fields that are added behind the bound: the validator and the Cache-Control that we make ourselves. */
const OWN_FIELDS = 4_096

/** Bytes under a name, and whether they stay as they are. */
export interface StoredBytes { bytes: Buffer, name: string, isKept?: boolean }

/** The entry of these bytes; null where they are none that may be served. Never throws. */
export function soundEntry ({ bytes, name, isKept = false }: StoredBytes, limits: AnswerLimits): Entry | null {
  // Of bytes that are kept, the decoded entry is kept, too.
  const entry = isKept ? decodeKept(bytes, name) : decode(bytes, name)
  return entry !== null && isSound(entry, limits) ? entry : null
}

/** The marker of these bytes; null where they are none: its members are names of fields, sorted, each once. */
export function soundMarker (bytes: Buffer): Marker | null {
  const marker = decodeMarker(bytes)
  if (marker === null) return null
  const { members } = marker
  return members.every((name, i) => MEMBER.test(name) && (i === 0 || members[i - 1]! < name)) ? marker : null
}

/** A field's name in lower case (RFC 9110 §5.1), or a pseudo field with a colon in front. Not `*`. */
const MEMBER = /^(?!\*$):?[a-z0-9!#$%&'*+.^_`|~-]+$/

function isSound (entry: Entry, limits: AnswerLimits): boolean {
  const { status, kind, headers, encoded, asOf, storedAt, staleAt, deadAt, rescueUntil } = entry
  const size = decodedSize(entry)
  return isStorableStatus(status) && size <= limits.maxBodyBytes && (kind !== 'none' || size === 0) &&
    storedAt >= 0 && storedAt <= LAST_INSTANT && isInstant(staleAt) && isInstant(deadAt) && isInstant(rescueUntil) &&
    Number.isSafeInteger(asOf) && asOf >= 0 &&
    areSound(headers, limits) && (encoded.length === 0 || isEncodable(entry))
}

/** Further on than a date can be is no date's end, either. */
function isInstant (time: number): boolean {
  return time >= -LAST_INSTANT && time <= 2 * LAST_INSTANT
}

/** Each coding once, of a body that has none of its own. */
function isEncodable ({ encoded, headers, kind }: Entry): boolean {
  if (kind === 'none' || headers.some(([name]) => name === 'content-encoding')) return false
  return new Set(encoded.map(({ coding }) => coding)).size === encoded.length
}

/** Of header blocks that were seen before: those of a hot entry are the same with each hit. Their size; null: not sound. */
const seen = new WeakMap<readonly HeaderField[], number | null>()

function areSound (headers: readonly HeaderField[], { maxHeaderBytes }: AnswerLimits): boolean {
  let size = seen.get(headers)
  if (size === undefined) seen.set(headers, size = isReplayable(headers) ? headerBytes(headers) : null)
  return size !== null && size <= maxHeaderBytes + OWN_FIELDS
}
