// A stored response and its instants. Instants are wall-clock milliseconds of the process that stored the entry: between
// hosts they may be skewed, which shifts a ttl and nothing else. What decides about invalidation is `asOf`, not time.
import type { Milliseconds } from './duration.js'

/** One header field, as it was set: an array is a field that is sent more than once. */
export type HeaderField = readonly [name: string, value: string | readonly string[]]

/** Bytes, a string, or nothing at all. */
export type PayloadKind = 'bytes' | 'text' | 'none'

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
  body: Buffer
  /** What the handler sent: onSend hooks get the like again. */
  kind: PayloadKind
  /** The epoch of the marker that it lies under; '' where its key has no variants. */
  epoch: string
  storedAt: Milliseconds
  /** From here on it is not served. */
  staleAt: Milliseconds
  /** The clock's value before the handler ran. */
  asOf: number
}

/** Whether the entry may be served at this instant. */
export function isFresh (entry: Entry, now: Milliseconds): boolean {
  return now < entry.staleAt
}
