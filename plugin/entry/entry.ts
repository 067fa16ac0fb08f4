// A stored response and its instants. Instants are wall-clock milliseconds of the process that stored the entry: between
// hosts they may be skewed, which shifts a ttl and nothing else. What decides about invalidation is `asOf`, not time.
import { isUtf8 } from 'node:buffer'
import { crc32, brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { Bytes, Milliseconds } from '../duration.js'
import { CODINGS, type Coding } from '../http/encoding.js'
import { isAhead } from '../store/store.js'
import { ENTRY as AT, EPOCH_LENGTH, MARKER, MARKER_VERSION, LAYOUT_VERSION } from '../store/layout.js'
import { isReplayable, STORABLE_STATUSES } from '../http/headers.js'
import type { AnswerLimits } from '../options/limits.js'

/** One header field, as it was set: an array is a field that is sent more than once. */
export type HeaderField = readonly [name: string, value: string | readonly string[]]

/** As in a message: `name: value`, and the end of the line. */
export function headerBytes (fields: readonly HeaderField[]): Bytes {
  let bytes = 0
  for (const [name, value] of fields) {
    if (typeof value === 'string') bytes += name.length + value.length + 4
    else for (const one of value) bytes += name.length + one.length + 4
  }
  return bytes
}

/**
 * Bytes, a string, or nothing; or a stream of Node's or of the web, told from bytes only where others' hooks see it, as is
 * whether the handler said how long it is: `sized`.
 */
export type PayloadKind = 'none' | 'response' | Unsized | `sized ${Unsized}`

type Unsized = 'bytes' | 'text' | 'stream' | 'web'

/** A body as it is sent with this Content-Encoding. */
export interface EncodedBody { coding: Coding, body: Buffer }

export const NOT_ENCODED: readonly EncodedBody[] = []

export const NOT_SOFTENED: readonly Milliseconds[] = []

/** The value of a key whose response varies: the fields that select a variant, and an id that all its variants carry. */
export interface Marker {
  /** In lower case, sorted. */
  members: readonly string[]
  epoch: string
}

/** A stored response. */
export interface Entry {
  status: number
  /** In the order in which they were set, names in lower case. */
  headers: readonly HeaderField[]
  /** As it is; or its size, where only `encoded` has it: see `bodyOf`. */
  body: Buffer | Bytes
  /** The body in content codings, for clients that accept them; the stored header has no Content-Encoding then. */
  encoded: readonly EncodedBody[]
  /** The kind of payload that the handler sent: on a hit, onSend hooks get the same kind. */
  kind: PayloadKind
  /** The epoch of the marker that it lies under; '' where its key has no variants. */
  epoch: string
  /** The floor's when the handler was about to run. */
  history: string
  /** The tags of the policy and those that the handler named. */
  tags: readonly string[]
  storedAt: Milliseconds
  /** The instants at which it was made stale, by its key and by its tags: they bring those below forward. */
  softenings: readonly Milliseconds[]
  /** From here on it is served only while it is refreshed, or where that fails. */
  staleAt: Milliseconds
  /** From here on it is not served while it is refreshed. */
  deadAt: Milliseconds
  /** From here on it is not served where the handler fails. */
  rescueUntil: Milliseconds
  /** How long its handler took. */
  cost: Milliseconds
  /** The clock's value before the handler ran. */
  asOf: number
  /** A build stored it that has no sign of its own: see former-build.ts. Absent: no. */
  isOfFormerBuild?: boolean
}

/** -ln of the smallest number above 0 that Math.random gives, rounded up. */
const FARTHEST = 37

/**
 * Whether a fresh entry is to be filled again already, by chance: the likelier the nearer its end is and the longer its
 * handler takes, so that of many readers one begins in time. Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache
 * Stampede Prevention, VLDB 2015, with β = 1.
 */
function isDue ({ staleAt, cost }: Entry, now: Milliseconds, random: () => number): boolean {
  return staleAt - now < cost * FARTHEST && now - cost * Math.log(random()) >= staleAt
}

/** Decides whether an entry is valid: the floor's history, and the generation of each tag that was asked for. */
export interface ValidityBasis {
  history: string
  /** Below which `asOf` the entry is invalid by its key's prefix; 0: it is not. */
  least: number
  tags: readonly string[]
  /** In the order of the tags; null: there is none. */
  generations: readonly (number | null)[]
  /** Below which `asOf` an entry is stale by its tag, in the order of the tags; 0: none. */
  softened: readonly number[]
}

/** Whether nothing was invalidated since its handler began: `validity` has all its tags, and those of the policy. */
export function isValid ({ history, asOf }: Entry, validity: ValidityBasis): boolean {
  return history === validity.history && asOf >= validity.least &&
    validity.generations.every((generation) => generation !== null && generation <= asOf)
}

/** The kinds of entry that a request takes besides a fresh one. Absent: false. */
interface Taking {
  /** A stale entry, while it is refreshed. */
  mayBeStale?: boolean
  /** An entry that stands in if the handler fails. */
  mayRescue?: boolean
  /** The handler failed lately. */
  hasFailed?: boolean | (() => boolean)
  /** A fresh entry is to be told apart that is filled again already, by `chance`, 0 to 1. */
  mayBeEarly?: boolean
  chance?: () => number
}

/**
 * What an entry is good for at this instant, given that it is valid; the one place where this is decided.
 *
 *   fresh     it is served
 *   early     it is served, and filled again already
 *   stale     it is served while it is refreshed (RFC 5861 §3)
 *   stand-in  it is served, as the handler failed lately (RFC 5861 §4)
 *   spare     it is kept for this request's own handler: it stands in if that fails
 *   null      it is not served
 */
export type Use = 'fresh' | 'early' | 'stale' | 'stand-in' | 'spare' | null

export function useOf (entry: Entry, now: Milliseconds, taking: Taking): Use {
  const { mayBeStale = false, mayRescue = false, hasFailed = false, mayBeEarly = false, chance = Math.random } = taking
  if (isFresh(entry, now)) return mayBeEarly && isDue(entry, now, chance) ? 'early' : 'fresh'
  if (mayBeStale && isAlive(entry, now)) return 'stale'
  if (!mayRescue || !isRescuable(entry, now)) return null
  return (typeof hasFailed === 'function' ? hasFailed() : hasFailed) ? 'stand-in' : 'spare'
}

/** With this chance each entry that could be due is due. */
export const LEAST_CHANCE = (): number => 2 ** -53

/** Whether the entry may be served at this instant without further ado. */
function isFresh ({ softenings, staleAt }: Entry, now: Milliseconds): boolean {
  return softenings.length === 0 && now < staleAt
}

/** Whether it may be served at this instant, be it stale. */
function isAlive (entry: Entry, now: Milliseconds): boolean {
  return now < broughtForward(entry, entry.deadAt, now)
}

/** Whether it may stand in at this instant for the answer of a handler that fails. */
function isRescuable (entry: Entry, now: Milliseconds): boolean {
  return now < broughtForward(entry, entry.rescueUntil, now)
}

/**
 * An entry's time beyond its freshness begins when it was first made stale, if it was not so by itself: a later instant
 * would have the entry served for longer. An instant in the future says only that the entry was made stale after its handler
 * had begun. Taken as it is, the entry would be served until then, and for its stale time beyond.
 */
function broughtForward (
  { softenings, staleAt, storedAt, cost }: Entry, end: Milliseconds, now: Milliseconds
): Milliseconds {
  if (softenings.length === 0) return end
  const isUnknown = softenings.some((instant) => isAhead(instant, now))
  const since = isUnknown ? storedAt - cost : Math.min(...softenings)
  return end - Math.max(0, staleAt - since)
}

/** The entry as its tags' generations have it. The clock tells the time in µs. */
export function asSoftened (entry: Entry, { softened }: Pick<ValidityBasis, 'softened'>): Entry {
  const { asOf, softenings } = entry
  if (!softened.some((clock) => clock > asOf)) return entry
  const applying = softened.filter((clock) => clock > asOf)
  return { ...entry, softenings: [...softenings, ...applying.map((clock) => clock / 1000)] }
}

/**
 * Since when the entry is stale, or will be. A softened entry counts as stale since it was stored: the instant of its
 * softening is of Redis' clock, not of ours.
 */
export function staleSince ({ softenings, staleAt, storedAt }: Entry): Milliseconds {
  return softenings.length === 0 ? Math.max(staleAt, storedAt) : storedAt
}

// The bytes of an entry, and of a marker, as store/layout.ts has their parts.
//
// Bytes that are not a whole, undamaged entry of this layout decode to null, which is a miss: bytes of an older or newer
// build, of another program, or damaged ones are never served, and the next fill overwrites them.

const KINDS: readonly PayloadKind[] = [
  'bytes', 'text', 'none', 'stream', 'web', 'response', 'sized stream', 'sized web', 'sized bytes', 'sized text'
]
const RECORD_HEAD = 6
const LONGEST_COST = 2 ** 32 - 1
/** Half a millisecond on a time is the sign of this build's entries. The former build ignores it. */
const SIGN = 0.5
const NO_TAGS: readonly string[] = []

/**
 * The entry's bytes, for this name only: see `ownName`. Header names and values must be such that Node would send them:
 * latin1, a name below 64 KiB. `isKept`: the bytes stay in this process, as those of the in-process store do.
 */
export function encode (entry: Entry, name: string, isKept = true): Buffer {
  const headersSize = sizeOfHeaders(entry.headers)
  let tags = ''
  for (const tag of entry.tags) tags += `${tag}\0`
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

/** As `decode`, for bytes that never change: they are decoded once. */
function decodeKept (bytes: Buffer, name: string): Entry | null {
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
  if (bytes[end - 1] !== 0 || !isUtf8(block)) return null
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

/** The size of the table, in bytes. */
const LENGTH = 4
const RECORD = 5

const DECODERS: Record<Coding, typeof gunzipSync> = { br: brotliDecompressSync, gzip: gunzipSync }

/** With their table, in bytes. */
function bodiesSize ({ body, encoded }: Bodies): Bytes {
  if (encoded.length === 0) return decodedSize({ body })
  return encoded.reduce((size, { body }) => size + RECORD + body.length, LENGTH)
}

/** The size of the body without a coding. */
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

function writeBodies (bytes: Buffer, from: number, { body, encoded }: Bodies): void {
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
function readEncoded (bytes: Buffer, from: number, count: number): Bodies | null {
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
  // The decoded entry of bytes that are kept is kept, too.
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
  return STORABLE_STATUSES.has(status) && size <= limits.maxBodyBytes && (kind !== 'none' || size === 0) &&
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

/** Sizes of header blocks that were checked before, null: not sound. A hot entry has the same block with each hit. */
const seen = new WeakMap<readonly HeaderField[], number | null>()

function areSound (headers: readonly HeaderField[], { maxHeaderBytes }: AnswerLimits): boolean {
  let size = seen.get(headers)
  if (size === undefined) seen.set(headers, size = isReplayable(headers) ? headerBytes(headers) : null)
  return size !== null && size <= maxHeaderBytes + OWN_FIELDS
}

// Entries that were decoded lately. A hot entry is read from Redis with each hit, and mostly its bytes are those of the last
// time: to compare them costs less than to check and to decode them once more. They do not say whether the entry is valid:
// that is judged with each reading.

/** Each has one entry at most. */
const PLACES = 512
/** Of an entry's bytes, so that all places together keep 4 MiB at most. The larger it is, the less decoding counts. */
const LARGEST: Bytes = 8_192

interface Decoded { name: string, bytes: Buffer, entry: Entry }

export class DecodedEntries {
  readonly #limits: AnswerLimits
  /** By the checksum: what has the same place takes it from the other. */
  readonly #places: (Decoded | undefined)[] = []
  /** The checksum that was last decoded in each place: bytes that come once are not worth a copy. */
  #seen: Uint32Array | null = null

  constructor (limits: AnswerLimits) {
    this.#limits = limits
  }

  /**
   * The entry of these bytes, which others are given, too; null where they are none that may be served. `isNear`: they are
   * in this process' memory, beside their decoded entry. Never throws.
   */
  of (stored: StoredBytes, isNear: boolean): Entry | null {
    const limits = this.#limits
    const { bytes, name } = stored
    if (isNear || bytes.length > LARGEST || bytes.length < AT.headers) return soundEntry(stored, limits)
    const checksum = bytes.readUInt32BE(AT.checksum)
    const place = checksum % PLACES
    const known = this.#places[place]
    // All bytes are compared: some are not in the checksum.
    if (known?.name === name && known.bytes.equals(bytes)) return known.entry
    // A cache that reads none from Redis has none of this.
    const checksums = this.#seen ??= new Uint32Array(PLACES)
    if (checksums[place] !== checksum) {
      checksums[place] = checksum
      return soundEntry(stored, limits)
    }
    // The bytes are a part of what the client has read, which is kept as a whole or not at all.
    const own = Buffer.allocUnsafeSlow(bytes.length)
    bytes.copy(own)
    const entry = soundEntry({ bytes: own, name }, limits)
    if (entry !== null) this.#places[place] = { name, bytes: own, entry }
    return entry
  }
}
