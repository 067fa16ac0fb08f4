// Which of a key's responses a request gets where they vary, and where a new one is put: design.md's marker and variants.
// The fields that select are those of `Vary` and of the policy; `:identity` stands for who asks, where the policy says so.
import { randomBytes } from 'node:crypto'
import { EPOCH_LENGTH, decode, decodeMarker, encodeMarker } from './codec.js'
import type { Entry, Marker } from './entry.js'
import type { Lease, Store, Varied } from './store/store.js'

/** The member of a marker that stands for the policy's `identity`: no header field has such a name. */
export const IDENTITY = ':identity'

/** How a request selects. */
export interface Selection {
  /** The members that this route's policy asks for, sorted: a response stored without them is not for this route. */
  needs: readonly string[]
  /** The members that the route's last marker had: with them, the right variant is read in the same trip as the marker. */
  hint: { members: readonly string[] }
  /** The variant of this request, for these members. */
  fingerprint: (members: readonly string[]) => string
}

/** What there is for a request: the entry, and where a fill of its own would go. */
export interface Selected {
  entry: Entry | null
  marker: Marker | null
  variant: string | null
}

/** Reads the entry that the selection leads to; in a second trip only where the marker has other members than the hint. */
export async function selectEntry (store: Store, key: string, { needs, hint, fingerprint }: Selection): Promise<Selected> {
  const members = contains(hint.members, needs) ? hint.members : needs
  const guess = members.length === 0 ? null : fingerprint(members)
  const [main, guessed] = await store.read(key, guess)
  const marker = main === null ? null : decodeMarker(main)
  if (marker === null) {
    const entry = main === null || needs.length > 0 ? null : decode(main)
    return { entry: entry?.epoch === '' ? entry : null, marker: null, variant: null }
  }
  hint.members = marker.members
  const variant = String(marker.members) === String(members) && guess !== null ? guess : fingerprint(marker.members)
  if (!contains(marker.members, needs)) return { entry: null, marker, variant }
  const varied = variant === guess ? guessed : (await store.read(key, variant))[1]
  const entry = varied === null ? null : decode(varied)
  return { entry: entry?.epoch === marker.epoch ? entry : null, marker, variant }
}

/**
 * Where a response with these members goes that was missed under this marker: null, under the key itself; 'unfit', nowhere:
 * a response that does not vary would stand for all the variants that are there.
 */
export function placeFill (
  { needs, fingerprint }: Selection,
  { members, marker, lease }: { members: readonly string[], marker: Marker | null, lease: Lease }
): { epoch: string, varied: Varied | null } | 'unfit' {
  const wanted = [...new Set([...needs, ...members])].sort()
  if (marker === null && wanted.length === 0) return { epoch: '', varied: null }
  if (marker !== null && members.length === 0 && needs.length === 0) return 'unfit'
  if (marker !== null && contains(marker.members, wanted)) {
    const varied = { variant: lease.variant!, marker: encodeMarker(marker), under: marker.epoch }
    return { epoch: marker.epoch, varied }
  }
  // Other fields select now: a new marker, under which what was stored before is not found any more.
  const next = { members: [...new Set([...marker?.members ?? [], ...wanted])].sort(), epoch: newEpoch() }
  return {
    epoch: next.epoch,
    varied: { variant: fingerprint(next.members), marker: encodeMarker(next), under: marker?.epoch ?? '' }
  }
}

function contains (members: readonly string[], needs: readonly string[]): boolean {
  return needs.every((need) => members.includes(need))
}

function newEpoch (): string {
  return randomBytes(EPOCH_LENGTH * 3 / 4).toString('base64url')
}
