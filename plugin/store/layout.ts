// The places of the parts of an entry's and of a marker's bytes. entry/entry.ts writes and reads all of them; the
// stores read and change some of them in place, the Redis store by Lua. All take them from here, so a new layout is a new
// LAYOUT_VERSION, and what moves moves here. Integers and doubles are big-endian.
//
//   an entry   size
//   version       1   LAYOUT_VERSION
//   checksum      4   CRC-32 of the name under which the entry lies, and of everything behind the checksum but softenedAt
//   status        2
//   storedAt      8   a double: half a millisecond more than a whole one. Former builds stored whole ones
//   softenedAt    8   a double: when the entry was made stale; 0: it was not
//   staleAt       8   a double
//   deadAt        8   a double
//   rescueUntil   8   a double
//   asOf          8   a double: exact, as the clock counts in microseconds, below 2^53
//   kind          1   what the handler sent: KINDS of the codec
//   cost          4   in milliseconds
//   epoch        12   latin1, all 0 where there is none
//   history      12   latin1
//   headersSize   4   of the header block, in bytes
//   tagsSize      4   of the tag block, in bytes
//   encodings     1   number of encoded bodies
//   headers       …   per value 2 bytes length of the name, 4 bytes length of the value, name, value (latin1, as Node writes
//                     headers); a field with several values is one record a value
//   tags          …   UTF-8, each with a byte 0 behind it
//   bodies        …   to the end: see entry/entry.ts
//
// The name is in the checksum so that bytes stored under one name are no entry under another: where replies are taken for
// those of other commands, as behind a proxy that adds or drops one, nobody is served another key's response.
//
// softenedAt is not in the checksum, so that an entry can be made stale in place, by eight bytes: a script has no CRC, and
// the checksum goes on telling two entries apart. Damage there can't have an entry served longer than it was to be, as the
// other instants are checked.
//
//   a marker
//   version       1   MARKER_VERSION
//   checksum      4   CRC-32 of everything behind it
//   epoch        12   latin1; scripts compare it in place
//   members       …   latin1, with commas between them

import type { Milliseconds } from '../duration.js'

/** The layout of this build. A build with another one takes these bytes for no entry, and overwrites them. */
export const LAYOUT_VERSION: number = 5
/** The first byte of markers, of whatever layout, is at least this; of entries it is less. */
const LEAST_MARKER = 128
export const MARKER_VERSION = LEAST_MARKER + LAYOUT_VERSION
/** The length of an epoch or a history, in characters. */
export const EPOCH_LENGTH = 12

/** The places of an entry's parts, in bytes from its beginning. `headers`: the beginning of the header block. */
export const ENTRY = {
  checksum: 1,
  status: 5,
  storedAt: 7,
  softenedAt: 15,
  staleAt: 23,
  deadAt: 31,
  rescueUntil: 39,
  asOf: 47,
  kind: 55,
  cost: 56,
  epoch: 60,
  history: 72,
  headersSize: 84,
  tagsSize: 88,
  encodings: 92,
  headers: 93
} as const

/** The places of a marker's parts. */
export const MARKER = { checksum: 1, epoch: 5, members: 17 } as const

/** The bytes that differ between two entries, or two markers. */
export function checksumOf (bytes: Buffer): Buffer {
  return bytes.subarray(ENTRY.checksum, ENTRY.status)
}

/** The epoch in a marker's bytes; '' if there are none. */
export function epochOf (marker: Buffer | undefined): string {
  return marker?.toString('latin1', MARKER.epoch, MARKER.members) ?? ''
}

/** Whether bytes under a key, of this layout or of another one, are a marker's. */
export function holdsMarker (bytes: Buffer | undefined): boolean {
  return (bytes?.[0] ?? 0) >= LEAST_MARKER
}

/** For how long an entry may be served stale, by its bytes; 0: it was made so. Null: not at all, or it is no entry. */
export function staleTime (bytes: Buffer): Milliseconds | null {
  if (bytes.length < ENTRY.asOf || bytes[0] !== LAYOUT_VERSION) return null
  if (bytes.readDoubleBE(ENTRY.softenedAt) !== 0) return 0
  const end = Math.max(bytes.readDoubleBE(ENTRY.deadAt), bytes.readDoubleBE(ENTRY.rescueUntil))
  const time = end - bytes.readDoubleBE(ENTRY.staleAt)
  return time > 0 ? time : null
}

/** A copy of an entry's bytes, made stale at this instant. */
export function madeStale (bytes: Buffer, instant: Milliseconds): Buffer {
  const copy = Buffer.from(bytes)
  copy.writeDoubleBE(instant, ENTRY.softenedAt)
  return copy
}

/**
 * The same for Lua, of what lies under a name: `checksumAt` and `epochAt`, where another type than a string gives a table,
 * which equals no string; `holdsEntry`; `staleTimes`: softenedAt, staleAt, deadAt, rescueUntil, zeros of what is no entry of
 * this layout; `writeSoftening`. Of bytes: `checksumIn`, `epochIn`.
 */
export const READING_LAYOUT = `
local function checksumAt(name)
  return redis.pcall('GETRANGE', name, ${ENTRY.checksum}, ${ENTRY.status - 1})
end
local function checksumIn(bytes)
  return string.sub(bytes, ${ENTRY.checksum + 1}, ${ENTRY.status})
end
local function epochAt(name)
  return redis.pcall('GETRANGE', name, ${MARKER.epoch}, ${MARKER.members - 1})
end
local function epochIn(marker)
  return string.sub(marker, ${MARKER.epoch + 1}, ${MARKER.members})
end
local function holdsEntry(name)
  local head = redis.pcall('GETRANGE', name, 0, 0)
  return type(head) == 'string' and head ~= '' and string.byte(head) < ${LEAST_MARKER}
end
local function staleTimes(name)
  local head = redis.pcall('GETRANGE', name, 0, ${ENTRY.asOf - 1})
  if type(head) ~= 'string' or #head < ${ENTRY.asOf} or string.byte(head) ~= ${LAYOUT_VERSION} then return 0, 0, 0, 0 end
  return struct.unpack('>dddd', head, ${ENTRY.softenedAt + 1})
end
local function writeSoftening(name, instant)
  redis.call('SETRANGE', name, ${ENTRY.softenedAt}, struct.pack('>d', instant))
end`
