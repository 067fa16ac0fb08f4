// What may be served of what lies in the store. The checksum is against damage: another program or a broken build of this
// one that can write there can do so with a right one. What would break the connection, the process or a rule of ours is no
// entry then, but a miss that is counted, and the next fill overwrites it. What stands in a body is not judged.
import { decodedSize } from './bodies.js'
import { decode, decodeKept, decodeMarker } from './codec.js'
import { headerBytes, type Entry, type HeaderField, type Marker } from './entry.js'
import { isReplayable } from '../http/headers.js'
import { isStorableStatus } from '../http/storable.js'
import type { AnswerLimits } from '../options/limits.js'

/** The last instant that a date can be. */
const LAST_INSTANT = 8.64e15
/** Fields that are added behind the bound: the validator and the Cache-Control that we make ourselves. */
const OWN_FIELDS = 4_096

/** Bytes under a name, and whether they stay as they are. */
export interface StoredBytes { bytes: Buffer, name: string, isKept?: boolean }

/** The entry of these bytes; null where they are none that may be served. Never throws. */
export function soundEntry ({ bytes, name, isKept = false }: StoredBytes, limits: AnswerLimits): Entry | null {
  // Of bytes that are kept what they say is, too.
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

/** A field's name in lower case (RFC 9110 §5.1), or one of ours, with a colon in front. Not `*`, which selects nothing. */
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
