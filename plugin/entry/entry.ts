// A stored response and its instants. Instants are wall-clock milliseconds of the process that stored the entry: between
// hosts they may be skewed, which shifts a ttl and nothing else. What decides about invalidation is `asOf`, not time.
import type { Bytes, Milliseconds } from '../duration.js'
import type { Coding } from '../http/encoding.js'
import { isAhead } from '../store/store.js'

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

/** What a key holds when its response varies: the fields that select a variant, and an id that all its variants carry. */
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
  /** As it is; or its size, where only `encoded` has it: see `bodyOf` in codec.ts. */
  body: Buffer | Bytes
  /** The same body, for clients that take it so; where there is one, no header says that it is encoded. */
  encoded: readonly EncodedBody[]
  /** The kind of payload that the handler sent: on a hit, onSend hooks get the same kind. */
  kind: PayloadKind
  /** The epoch of the marker that it lies under; '' where its key has no variants. */
  epoch: string
  /** The floor's when the handler was about to run. */
  history: string
  /** Those of the policy and those that the handler named. */
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

/** Whether nothing was invalidated since its handler began: `ground` has all its tags, and those of the policy. */
export function isValid ({ history, asOf }: Entry, ground: ValidityBasis): boolean {
  return history === ground.history && asOf >= ground.least &&
    ground.generations.every((generation) => generation !== null && generation <= asOf)
}

/** What a request takes besides a fresh entry. Absent: not that. */
export interface Taking {
  /** A stale entry, while it is refreshed. */
  mayBeStale?: boolean
  /** One that stands in where the handler fails. */
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
 * would have it served for longer. An instant that lies ahead says only that this was after its handler had begun: counted
 * as it is, it would have the entry served until then, and for its stale time beyond.
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

/** Since when the entry is stale, or is to be. When one was made stale is another clock's: it is so since it was stored. */
export function staleSince ({ softenings, staleAt, storedAt }: Entry): Milliseconds {
  return softenings.length === 0 ? Math.max(staleAt, storedAt) : storedAt
}
