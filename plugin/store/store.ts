// The port: where entries live, and the contract that every store keeps (test/store/contract.ts runs it against each).
//
// What a lease is for, with two actors, F filling `user:1` and W writing to the database:
//
//   1. F  take('user:1')              -> lease
//   2. F  reads the old row
//   3. W  writes the new row
//   4. W  invalidate('user:1')        removes the entry and the lease, in one step
//   5. F  fill('user:1', lease, old)  -> 'lost': the lease is gone, the old row is not stored
//
// If F comes before W instead (5 before 4), step 4 removes what F stored. A reader R that misses between 4 and 5 takes a
// lease of its own, with another token, so F is refused just the same.
//
// Where a response varies, its key holds a marker with a random epoch, and the variants lie beside it, each with the epoch
// of the marker that it was stored under. So removing the key is enough to invalidate them all:
//
//   1. F  reads the marker of `page`, epoch e1; take('page', 'de') -> lease
//   2. W  invalidate('page')              removes the marker; the lease of the variant stays
//   3. G  fills another variant           a new marker, epoch e2
//   4. F  fill under e1                   -> 'lost': the marker's epoch is another
//
// and a reader takes a variant only under a marker that it read together with it, or before it, with the same epoch.
//
// So the contract is: `fill` stores only where the key's lease still holds the very token that `take` gave, and removes the
// lease with it, in one step; `invalidate` removes entry and lease in one step. Every call may reject; none throws.
import type { Milliseconds } from '../duration.js'

/** The right to fill a key. */
export interface Lease {
  token: string
  /** The clock's value when the lease was taken, before the handler runs. 0: the clock has not started. */
  asOf: number
  /** Of which variant; null: of the key itself. */
  variant: string | null
}

/** What is stored: an entry, or a variant together with the marker that it lies under. */
export interface Fill {
  bytes: Buffer
  life: Milliseconds
  /** Where the response varies; else null. */
  varied: Varied | null
}

export interface Varied {
  /** The variant's fingerprint. */
  variant: string
  marker: Buffer
  /** The epoch that the key's marker must still have; '' where there was no marker. */
  under: string
}

/** What became of a fill: stored; refused, as the lease is lost; refused, as the store can't hold so much. */
export type FillResult = 'stored' | 'lost' | 'too-large'

export type Reading = readonly [main: Buffer | null, varied: Buffer | null]

export interface Store {
  readonly kind: 'redis' | 'memory'
  /** Resolves when the first read need not wait for a connection. Rejects where that takes too long. */
  connect (): Promise<void>
  /** The bytes under a key and, in the same trip, of a variant of it; null where there are none. Not to be changed. */
  read (key: string, variant: string | null): Promise<Reading>
  /** Takes the lease of a key or a variant; null where somebody else holds it. It ends by itself after `LEASE_TIME`. */
  take (key: string, variant: string | null): Promise<Lease | null>
  /** Stores for so long, if the lease is still held, and the marker is still the one that was there. */
  fill (key: string, lease: Lease, fill: Fill): Promise<FillResult>
  /** Gives a lease back unused. Of a lease that is lost: does nothing. */
  release (key: string, lease: Lease): Promise<void>
  /** Removes entry (or marker) and lease of each key. Resolves, once that is done, with the number of entries there were. */
  invalidate (keys: readonly string[]): Promise<number>
  /** The same for all keys that begin with this. */
  invalidatePrefix (prefix: string): Promise<number>
  /** Lets go of what the store itself holds; a client that was given to it stays open. */
  close (): void
}

/** How long a lease lasts: a handler that takes longer can't fill, and a process that died blocks fills for so long. */
export const LEASE_TIME: Milliseconds = 30_000
