// Which of a key's responses a request gets where they vary, and where a new one is put: design.md's marker and variants.
// The fields that select are those of `Vary` and of the policy; `:identity` stands for who asks, where the policy says so.
import { randomBytes } from 'node:crypto'
import { EPOCH_LENGTH, decode, decodeMarker, encodeMarker, ownName } from './codec.js'
import { asSoftened, isValid, type Entry, type Ground, type Marker } from './entry.js'
import type { Lease, Store, Varied } from './store/store.js'
import type { TagMemory } from './tag-memory.js'

/** The member of a marker that stands for the policy's `identity`: no header field has such a name. */
export const IDENTITY = ':identity'
/** And the one for its `version`. */
export const VERSION = ':version'

/** How a request selects. */
export interface Selection {
  /** The members that this route's policy asks for, sorted: a response stored without them is not for this route. */
  needs: readonly string[]
  /** The members that the route's last marker had: with them, the right variant is read in the same trip as the marker. */
  hint: { members: readonly string[] }
  /** The variant of this request, for these members. */
  fingerprint: (members: readonly string[]) => string
  /** The policy's, for this request: they decide about an entry, whatever it lists itself. */
  tags: readonly string[]
}

/** What there is for a request: the entry, and where a fill of its own would go. */
export interface Selected {
  /** Null also where it is not valid any more. */
  entry: Entry | null
  isOutdated: boolean
  /** Something lies there that is neither entry nor marker: another build's, somebody else's, or damaged. */
  isUnreadable: boolean
  marker: Marker | null
  variant: string | null
  /** What lies where the fill would go; undefined: that was not read. */
  bytes: Buffer | null | undefined
  ground: Ground
}

/** Where entries lie, and what is remembered of their tags. */
export interface Shelf { store: Store, memory: TagMemory }

/**
 * Reads the entry that the selection leads to, with what decides about it; in a second trip only where the marker has other
 * members than the hint, or the entry has tags that nobody remembers.
 */
export async function selectEntry (shelf: Shelf, key: string, selection: Selection): Promise<Selected> {
  const { needs, hint, fingerprint } = selection
  const tags = union(selection.tags, shelf.memory.of(key))
  const members = contains(hint.members, needs) ? hint.members : needs
  const guess = members.length === 0 ? null : fingerprint(members)
  const { main, varied: guessed, ...first } = await shelf.store.read({ key, variant: guess, tags })
  const ground = { ...first, tags }
  const marker = main === null ? null : decodeMarker(main)
  if (marker === null) {
    const entry = main === null || needs.length > 0 ? null : decode(main, key)
    const variant = needs.length === 0 ? null : members === needs ? guess : fingerprint(needs)
    const isUnreadable = main !== null && entry === null && decode(main, key) === null
    const found = await judged(shelf, { key, entry, epoch: '', selection }, ground)
    return { ...found, isUnreadable, marker: null, variant, bytes: main }
  }
  hint.members = marker.members
  const variant = String(marker.members) === String(members) && guess !== null ? guess : fingerprint(marker.members)
  if (!contains(marker.members, needs)) {
    return { entry: null, isOutdated: false, isUnreadable: false, marker, variant, bytes: undefined, ground }
  }
  const varied = variant === guess ? guessed : (await shelf.store.read({ key, variant, tags: [] })).varied
  const entry = varied === null ? null : decode(varied, ownName(key, { variant }))
  const isUnreadable = varied !== null && entry === null
  const found = await judged(shelf, { key, entry, epoch: marker.epoch, selection }, ground)
  return { ...found, isUnreadable, marker, variant, bytes: varied }
}

type Judged = Pick<Selected, 'entry' | 'isOutdated' | 'ground'>

interface Candidate { key: string, entry: Entry | null, epoch: string, selection: Selection }

/** The entry if it is of this epoch and valid, and what that was judged by. */
async function judged (shelf: Shelf, { key, entry, epoch, selection }: Candidate, ground: Ground): Promise<Judged> {
  if (entry?.epoch !== epoch) return { entry: null, isOutdated: false, ground }
  const { history: first } = ground
  const unread = without(entry.tags, ground.tags)
  if (unread.length > 0) {
    shelf.memory.remember(key, without(entry.tags, selection.tags))
    const { history, generations, softened } = await shelf.store.generations(unread)
    ground = {
      history,
      tags: [...ground.tags, ...unread],
      generations: [...ground.generations, ...generations],
      softened: [...ground.softened, ...softened]
    }
  }
  // What is remembered of an earlier response says nothing about this one.
  const telling = ground.tags === selection.tags ? ground : only(union(selection.tags, entry.tags), ground)
  // What was read in two trips must be of one history: see the head of floor.ts.
  const isSound = ground.history === first && isValid(entry, telling)
  return { entry: isSound ? asSoftened(entry, telling) : null, isOutdated: !isSound, ground }
}

/** The part of it that is about these tags. */
function only (tags: readonly string[], ground: Ground): Ground {
  const at = new Map(ground.tags.map((tag, i) => [tag, i]))
  return {
    history: ground.history,
    tags,
    generations: tags.map((tag) => ground.generations[at.get(tag)!] ?? null),
    softened: tags.map((tag) => ground.softened[at.get(tag)!] ?? 0)
  }
}

/** Those that are not among the others: a list of articles may have a thousand. */
export function without (tags: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others)
  return tags.filter((tag) => !known.has(tag))
}

function union (tags: readonly string[], others: readonly string[]): readonly string[] {
  return others.length === 0 ? tags : [...new Set([...tags, ...others])]
}

/** What selects an entry: members of the request, and their fingerprint; null where it doesn't vary. */
export interface Place { members: readonly string[], variant: string | null }

/** Whether a request that selects so gets what lies there. */
export function isSelected ({ needs, fingerprint }: Selection, { members, variant }: Place): boolean {
  return contains(members, needs) && (variant === null || fingerprint(members) === variant)
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

/**
 * The marker for a key that has none, where the policy alone tells variants apart: put there before the first handler runs,
 * it gives each variant a lease of its own. Null: only the response can tell.
 */
export function firstMarker ({ needs }: Selection): Marker | null {
  return needs.length === 0 ? null : { members: needs, epoch: newEpoch() }
}

function newEpoch (): string {
  return randomBytes(EPOCH_LENGTH * 3 / 4).toString('base64url')
}
