// Which of a key's responses a request gets where they vary, and where a new one is put: the marker, and its variants. The
// fields that select are those of `Vary` and of the policy; `:identity` stands for the user, where the policy has an
// identity.
import { randomBytes } from 'node:crypto'
import type { Milliseconds } from '../duration.js'
import { encodeMarker, isMarker, ownName, soundEntry, soundMarker } from '../entry/codec.js'
import { asSoftened, isValid, type Entry, type ValidityBasis, type Marker } from '../entry/entry.js'
import { fingerprint, type RequestFields } from '../http/headers.js'
import type { AnswerLimits } from '../options/limits.js'
import { EPOCH_LENGTH } from '../store/layout.js'
import type { Ask, Lease, Reading, Store, Varied } from '../store/store.js'

/** The member of a marker that stands for the policy's `identity`: no header field has such a name. */
export const IDENTITY = ':identity'
/** And the one for its `version`. */
export const VERSION = ':version'
/** The host that the router has matched, where a route takes those of a pattern. */
export const MATCHED_HOST = ':host'

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
  /** How many variants its key may have. */
  maxVariants: number
}

/** By these headers alone, whatever a route would say. */
export function selectBy (headers: RequestFields): Selection {
  const by = (members: readonly string[]): string => fingerprint(members, headers)
  return { needs: [], hint: { members: [] }, fingerprint: by, tags: [], maxVariants: 1 }
}

/** The entry for a request, and the place where a fill of its own would go. */
export interface Selected {
  /** Null also where it is not valid any more. */
  entry: Entry | null
  isOutdated: boolean
  /** Something lies there that is neither entry nor marker: another build's, somebody else's, or damaged. */
  isUnreadable: boolean
  marker: Marker | null
  variant: string | null
  /** The bytes that lie where the fill would go; undefined: they were not read. */
  bytes: Buffer | null | undefined
  ground: ValidityBasis
}

/** The store, the tags that are remembered by key, and how large an entry may be that is served. */
export interface Shelf { store: Store, memory: TagMemory, limits: AnswerLimits }

/** The first read of a request: its key, its most likely variant, the generations that likely decide. */
export interface FirstAsk extends Ask {
  /** By which the variant was guessed. */
  members: readonly string[]
}

/** The result of the first read, or why it failed; and the rest of the deadline, 0: there is none. */
export interface First { asked: FirstAsk, reading: Reading | null, error: unknown, left: Milliseconds }

export function askFor ({ memory }: Shelf, key: string, { needs, hint, fingerprint, tags }: Selection): FirstAsk {
  const members = contains(hint.members, needs) ? hint.members : needs
  return { key, variant: members.length === 0 ? null : fingerprint(members), tags: union(tags, memory.of(key)), members }
}

/** A reading, and the limits of an entry that is served. */
export interface Ready { reading: Reading, limits: AnswerLimits }

/** The entry that the selection leads to, where this reading shows that it is valid; null: a full lookup has to tell. */
export function readyEntry (
  { key, variant, tags, members }: FirstAsk, selection: Selection, { reading, limits }: Ready
): Entry | null {
  const { main, varied, isKept } = reading
  if (main === null) return null
  let entry: Entry | null
  if (isMarker(main)) {
    const marker = variant === null || varied === null ? null : soundMarker(main)
    if (marker === null || !isSame(marker.members, members) || !contains(members, selection.needs)) return null
    entry = soundEntry({ bytes: varied!, name: ownName(key, { variant: variant! }), isKept }, limits)
    if (entry?.epoch !== marker.epoch) return null
  } else {
    entry = selection.needs.length > 0 ? null : soundEntry({ bytes: main, name: key, isKept }, limits)
    if (entry?.epoch !== '') return null
  }
  if (tags === selection.tags) {
    if (!isSame(entry.tags, tags) && without(entry.tags, tags).length > 0) return null
    const { history, least, generations, softened } = reading
    const ground = { history, least, tags, generations, softened }
    return isValid(entry, ground) ? asSoftened(entry, ground) : null
  }
  if (without(entry.tags, tags).length > 0) return null
  const telling = only(union(selection.tags, entry.tags), { ...reading, tags })
  return isValid(entry, telling) ? asSoftened(entry, telling) : null
}

function isSame (list: readonly string[], other: readonly string[]): boolean {
  return list.length === other.length && list.every((text, i) => text === other[i])
}

/**
 * Reads the entry that the selection leads to, with what decides about it; in a second trip only where the marker has other
 * members than the hint, or the entry has tags that nobody remembers. `first`: was read before.
 */
export async function selectEntry (shelf: Shelf, key: string, selection: Selection, first?: First): Promise<Selected> {
  const { needs, hint, fingerprint } = selection
  const asked = first?.asked ?? askFor(shelf, key, selection)
  const { variant: guess, tags, members } = asked
  const { main, varied: guessed, history, least, generations, softened } = first?.reading ?? await shelf.store.read(asked)
  const ground = { history, least, generations, softened, tags }
  const marker = main === null ? null : soundMarker(main)
  if (marker === null) {
    const present = main === null ? null : soundEntry({ bytes: main, name: key }, shelf.limits)
    const entry = needs.length > 0 ? null : present
    const variant = needs.length === 0 ? null : members === needs ? guess : fingerprint(needs)
    const isUnreadable = main !== null && present === null
    const found = await judged(shelf, { key, entry, epoch: '', selection }, ground)
    return { ...found, isUnreadable, marker: null, variant, bytes: main }
  }
  hint.members = marker.members
  const variant = guess !== null && isSame(marker.members, members) ? guess : fingerprint(marker.members)
  if (!contains(marker.members, needs)) {
    return { entry: null, isOutdated: false, isUnreadable: false, marker, variant, bytes: undefined, ground }
  }
  const varied = variant === guess ? guessed : (await shelf.store.read({ key, variant, tags: [] })).varied
  const entry = varied === null ? null : soundEntry({ bytes: varied, name: ownName(key, { variant }) }, shelf.limits)
  const isUnreadable = varied !== null && entry === null
  const found = await judged(shelf, { key, entry, epoch: marker.epoch, selection }, ground)
  return { ...found, isUnreadable, marker, variant, bytes: varied }
}

type Judged = Pick<Selected, 'entry' | 'isOutdated' | 'ground'>

interface Candidate { key: string, entry: Entry | null, epoch: string, selection: Selection }

/** The entry if it is of this epoch and valid, and the basis of that judgment. */
async function judged (shelf: Shelf, { key, entry, epoch, selection }: Candidate, ground: ValidityBasis): Promise<Judged> {
  if (entry?.epoch !== epoch) return { entry: null, isOutdated: false, ground }
  const { history: first } = ground
  const unread = without(entry.tags, ground.tags)
  if (unread.length > 0) {
    shelf.memory.remember(key, without(entry.tags, selection.tags))
    const { history, generations, softened } = await shelf.store.generations(unread)
    ground = {
      history,
      least: ground.least,
      tags: [...ground.tags, ...unread],
      generations: [...ground.generations, ...generations],
      softened: [...ground.softened, ...softened]
    }
  }
  // Tags that an earlier response had say nothing about this one.
  const telling = ground.tags === selection.tags ? ground : only(union(selection.tags, entry.tags), ground)
  // Two reads must be of one history: see the head of floor.ts.
  const isSound = ground.history === first && isValid(entry, telling)
  return { entry: isSound ? asSoftened(entry, telling) : null, isOutdated: !isSound, ground }
}

/** The part of it that is about these tags. */
function only (tags: readonly string[], ground: ValidityBasis): ValidityBasis {
  const at = new Map(ground.tags.map((tag, i) => [tag, i]))
  return {
    history: ground.history,
    least: ground.least,
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

/** The place of an entry: the members that select it, and their fingerprint; null where it doesn't vary. */
export interface Place { members: readonly string[], variant: string | null }

/** Whether a request with this selection gets the entry in this place. */
export function isSelected ({ needs, fingerprint }: Selection, { members, variant }: Place): boolean {
  return contains(members, needs) && (variant === null || fingerprint(members) === variant)
}

/**
 * Where a response with these members goes that was missed under this marker: null, under the key itself; 'unfit', nowhere:
 * a response that does not vary would stand for all the variants that are there.
 */
export function placeFill (
  { needs, fingerprint, maxVariants: most }: Selection,
  { members, marker, lease }: { members: readonly string[], marker: Marker | null, lease: Lease }
): { epoch: string, varied: Varied | null } | 'unfit' {
  const wanted = [...new Set([...needs, ...members])].sort()
  if (marker === null && wanted.length === 0) return { epoch: '', varied: null }
  if (marker !== null && members.length === 0 && needs.length === 0) return 'unfit'
  if (marker !== null && contains(marker.members, wanted)) {
    const varied = { variant: lease.variant!, marker: encodeMarker(marker), under: marker.epoch, most }
    return { epoch: marker.epoch, varied }
  }
  // Other fields select now: a new marker, under which former variants are not found any more.
  const next = { members: [...new Set([...marker?.members ?? [], ...wanted])].sort(), epoch: newEpoch() }
  return {
    epoch: next.epoch,
    varied: { variant: fingerprint(next.members), marker: encodeMarker(next), under: marker?.epoch ?? '', most }
  }
}

function contains (members: readonly string[], needs: readonly string[]): boolean {
  if (needs.length < 5) return needs.every((need) => members.includes(need))
  const known = new Set(members)
  return needs.every((need) => known.has(need))
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

// Which tags a key's last response had that only the handler knew: read together with the entry, their generations cost
// no second trip. A hint and no more: what it does not know is read then.

const MOST_KEYS = 10_000
const NONE: readonly string[] = []

export class TagMemory {
  /** Two halves: to find the oldest in one map is to walk past all that were removed from it. */
  #late = new Map<string, readonly string[]>()
  #early = new Map<string, readonly string[]>()

  of (key: string): readonly string[] {
    return this.#late.get(key) ?? this.#early.get(key) ?? NONE
  }

  /** Those that were remembered long ago go first, many at a time. */
  remember (key: string, tags: readonly string[]): void {
    this.#late.delete(key)
    this.#early.delete(key)
    if (tags.length === 0) return
    this.#late.set(key, tags)
    if (this.#late.size < MOST_KEYS / 2) return
    this.#early = this.#late
    this.#late = new Map()
  }
}
