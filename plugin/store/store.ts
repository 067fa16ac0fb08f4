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
// So the contract is: `fill` stores only where the key's lease still holds the very token that `take` gave, and removes the
// lease with it, in one step; `invalidate` removes entry and lease in one step. Every call may reject; none throws.
import type { Milliseconds } from '../duration.js'

/** The right to fill a key. */
export interface Lease {
  token: string
  /** The clock's value when the lease was taken, before the handler runs. 0: the clock has not started. */
  asOf: number
}

/** What became of a fill: stored; refused, as the lease is lost; refused, as the store can't hold so much. */
export type FillResult = 'stored' | 'lost' | 'too-large'

export interface Store {
  readonly kind: 'redis' | 'memory'
  /** Resolves when the first read need not wait for a connection. Rejects where that takes too long. */
  connect (): Promise<void>
  /** The bytes under a key; null where there are none. They must not be changed. */
  read (key: string): Promise<Buffer | null>
  /** Takes the key's lease; null where somebody else holds it. It ends by itself after `LEASE_TIME`. */
  take (key: string): Promise<Lease | null>
  /** Stores the bytes for so long, if the lease is still held. */
  fill (key: string, lease: Lease, entry: { bytes: Buffer, life: Milliseconds }): Promise<FillResult>
  /** Gives a lease back unused. Of a lease that is lost: does nothing. */
  release (key: string, lease: Lease): Promise<void>
  /** Removes entry and lease of each key. Resolves, once that is done, with the number of entries there were. */
  invalidate (keys: readonly string[]): Promise<number>
  /** The same for all keys that begin with this. */
  invalidatePrefix (prefix: string): Promise<number>
  /** Lets go of what the store itself holds; a client that was given to it stays open. */
  close (): void
}

/** How long a lease lasts: a handler that takes longer can't fill, and a process that died blocks fills for so long. */
export const LEASE_TIME: Milliseconds = 30_000
