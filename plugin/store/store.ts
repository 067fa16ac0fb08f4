// The port: where entries live, and the contract that every store keeps (test/store/contract.ts runs it against each).
//
// The purpose of a lease, with two actors, F filling `user:1` and W writing to the database:
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
// The purpose of generations, if the two meet under a tag `users` that many keys carry:
//
//   1. F  read                            generation(users) = 5, or it is created now, with a new clock value
//   2. F  take                            asOf = 7, the clock before the handler runs; reads the old row
//   3. W  writes the new row
//   4. W  invalidate tags ['users']       clock = 8, then generation(users) = 8
//   5. F  fill                            stored, with asOf 7
//   6. R  read                            the entry with asOf 7, generation 8 > 7: not valid, so a miss
//
// `asOf` may also be the clock that one server gave in one answer with the generations. It is the older one of the two. All
// that looks at an entry, or at a fill, asks whether `asOf` is high enough, so an older one is never valid where a later one
// is not. It costs a fill at most, where the tag is invalidated between the two:
//
//   1. F  read                            generation(users) = 5, clock 7
//   2. W  invalidate tags ['users']       clock = 8, then generation(users) = 8
//   3. F  take                            asOf = 7; reads the new row
//   4. F  fill                            stored, and 8 > 7: nobody is served it, the next one fills again
//
// That holds within one history. If the floor was not there, a history begins behind the read, and the clock may begin anew
// with it, lower than it was, as the server's time stood or stepped back:
//
//   1. F  read                            no floor, clock 9
//   2.    the clock is evicted, too
//   3. F  begins history h2               clock = 5
//   4. W  invalidate tags ['users']       clock = 6, then generation(users) = 6
//   5. F  take, fill                      with h2 and asOf 9: no invalidation before 10 would count
//
// The clock is read with the lease instead if it was no part of such an answer, or the floor was missing there; on a
// Cluster, whose servers answer at different times; from the tier; if generations were read or created behind it, which may
// be above it; and if a failover is trusted, as another server may have given it, which is ahead of the one that
// invalidates.
//
// Where a miss is likely, the lease is asked for in front of the read, on the same connection, instead of behind it
// (`toTake`). The server does both in that order, so no fill by another process lies unseen between the two. Whatever ends
// the lease ends it also where the read has not come yet; the handler runs behind both:
//
//   1. F  SET NX lease, MGET              sent together
//   2. S  sets F's lease
//   3. W  writes the new row; invalidate('user:1')   removes the lease
//   4. S  reads nothing for F: a miss, with the clock behind W
//   5. F  reads the new row; fill         -> 'lost': costs this fill, and serves nothing old
//
// If 3 comes before 2 instead, the lease stays, and is of a fill that begins behind W. A reader for whom the entry is there
// gives the lease back. Until then another process that finds nothing waits for it as for any fill, and looks again.
//
// A generation that is not there (evicted) makes every entry with its tag invalid. Created anew it gets a new clock value,
// above every `asOf` handed out so far, so what the lost one had dropped stays dropped.
//
// Entries also carry the history that was read before their handler ran. Where the memory that answers may be an older one
// (floor.ts) or everything is invalidated, there is another history, and with it no entry.
//
// The purpose of a quarantine, with a writer W that may die at any point, and a slow reader F:
//
//   1. W  quarantine('user:1')            the entry goes; the lease's name is occupied
//   2. F  take('user:1')                  -> 'pass': its own handler, which reads the old row; it will store nothing
//   3. W  commits the new row, and dies
//   4.    the quarantine runs out         nothing is stored under `user:1`
//
// Without it F would have a lease at 2, and what it stores at 4 be served for a whole ttl. Of a tag it takes the place of
// the generation, so that nothing is valid under it; when it runs out the generation is missing, and created with a value
// above every `asOf` before. Several writers may have one name in quarantine: it ends with the last of them.
//
// The purpose of `seize`, with two writers A and B of one row, that write to the database and the cache:
//
//   1. A  seize('user:1')
//   2. B  seize('user:1')                 A's lease is lost
//   3. B  commits its row
//   4. A  commits its row: the database has A's
//   5. B  fill                            B's row is stored, older than the database
//   6. A  fill -> 'lost'; so A invalidates, which removes B's row, or had 5 not come yet, B's lease
//
// The purpose of `end`: a handler H answers that there is no such page any more, while a stale response of it is served.
// With a writer W who brings the page back, and a reader R:
//
//   1. H  take('user:1')                  where the stale one lies; reads that there is no row
//   2. W  writes the row; invalidate      removes the entry and the lease
//   3. R  take, fill                      the new row
//   4. H  end                             the lease is gone: what R stored stays
//
// If H comes before W instead (4 before 2), it removes the stale one, and W nothing. Of a variant, whose lease an
// invalidation leaves alone, R may fill by the key's lease, under a new marker:
//
//   3. R  fill                            the same variant, epoch e2
//   4. H  end, under e1                   the marker is another: only the lease goes
//
// So the contract is: `fill` stores only where the key's lease still holds the very token that `take` gave, and removes the
// lease with it, in one step; `invalidate` removes entry and lease of a key in one step, and advances a tag's generation
// beyond every `asOf` before it. Every call may reject; none throws.
import type { Bytes, Milliseconds } from '../duration.js'
import type { DelayStats } from './wait/delays.js'
import type { Witness } from './witness.js'

/** The names to read in one trip. */
export interface Ask {
  key: string
  /** A variant of it; null: the key alone. */
  variant: string | null
  /** The tags whose generations decide about the entry. */
  tags: readonly string[]
  /** A miss is likely: the lease of the key is taken in the same trip, where nobody has it. Absent: it is not. */
  toTake?: boolean
}

/** The result of a read. Its bytes are not to be changed. */
export interface Reading extends ValidityReading {
  /** The clock of the same instant; null: it is not known. */
  clock: number | null
  main: Buffer | null
  varied: Buffer | null
  /** Other readers get the same bytes, too, so their decoded entry is worth keeping. */
  isKept: boolean
  /** The reading comes from this process' memory: no server was asked. */
  isNear: boolean
  /** The token of the key's lease that was taken with it, to be used in `take` or given back; null: none was. */
  token: string | null
}

/** One of the two is called, once: with the reading, or with the reason why there is none. Neither throws. */
export interface Reader {
  /** `left`: the rest of the deadline; 0: there is no deadline. */
  read: (reading: Reading, left: Milliseconds) => void
  failed: (error: unknown) => void
}

/** The values that decide about entries. */
export interface ValidityReading {
  history: string
  /** Below which `asOf` the key's entry is invalid by its prefix; 0: it is not. */
  least: number
  /** In the order of the tags; null: there is none. In quarantine it is Infinity, above every `asOf`. */
  generations: readonly (number | null)[]
  /** Below which value of `asOf` an entry is stale by its tag: in the same order; 0: none. */
  softened: readonly number[]
}

/** The targets that a writer is about to change. */
export interface Writing { keys: readonly string[], tags: readonly string[] }

/** The right to fill a key. */
export interface Lease {
  token: string
  /** The clock's value before the handler runs: of the lookup's read, or when the lease was taken. */
  asOf: number
  /** The variant; null: the key itself. */
  variant: string | null
  /** The key's last response could not be shared: nobody is to wait for this one. */
  isPass: boolean
  /** The lease was taken whatever lies under the key; absent: the taker has seen no marker there, or fills a variant. */
  isSeized?: true
  /** The tags whose generations the fill needs, and when it was last seen to that they live; where somebody has to. */
  needs?: { tags: readonly string[], at: Milliseconds }
  /** Done when the last command that names the token is. */
  turn?: Promise<void>
}

/**
 * The lease; or somebody has it and will fill; or nobody should wait for this key, and somebody else has the lease; or there
 * is something else now than what was seen, so look again.
 */
export type Taken = Lease | 'held' | 'pass' | 'changed'

/** A lease that was taken from whoever had it, and the history that was read before. */
export interface Seized { lease: Lease, history: string }

/** The findings of a lookup that now wants the lease. */
export interface Seen {
  /** Tags that decide about the fill. */
  tags: readonly string[]
  /** The tags without a generation. */
  missing: readonly string[]
  /** The bytes under the key, or the variant, that the lease is for; undefined: they don't matter. */
  bytes: Buffer | null | undefined
  /**
   * The key has no marker, and the policy alone tells variants apart: this one is put there instead of `bytes`, which are
   * then the key's, so that each variant has its lease from the beginning. Null: nothing is put there.
   */
  marker: Buffer | null
  /** The clock when the generations were read; null, absent: it is read with the lease. */
  clock?: number | null
  /** Of the lease that was taken with the read, of the key itself; null, absent: none was. */
  token?: string | null
}

/** The bytes to store: an entry, or a variant together with the marker that it lies under. */
export interface Fill {
  bytes: Buffer
  life: Milliseconds
  /** The variant's place if the response varies; else null. */
  varied: Varied | null
  /** All tags of the entry. */
  tags: readonly string[]
  /** The tags that were not read before the handler ran: only the response names them. */
  unreadTags: readonly string[]
}

export interface Varied {
  /** The variant's fingerprint. */
  variant: string
  marker: Buffer
  /** The epoch that the key's marker must still have; '' where there was no marker. */
  under: string
  /** How many variants of the key there may be: of more, those that were stored longest ago go. */
  most: number
}

/**
 * The result of a fill: stored; stored, but an older variant went for it; refused, as lease or generations say that it is
 * old, or as it is more than fits.
 */
export type FillResult = 'stored' | 'crowded' | 'lost' | 'outdated' | 'too-large'

/** The result of `cache.stats().tier`. Counters start at 0 with the process. */
export interface TierStats {
  /** Names whose values are kept now: entries, markers, variants, generations, the floor. */
  entries: number
  /** The size of these names and values, roughly. */
  bytes: Bytes
  /** Requests that were served from it, without Redis. */
  hits: number
  /** Redis tells of every change now; while it does not, nothing is served from the tier. */
  isLive: boolean
  /**
   * How long a tracking message takes: from the sending of a heartbeat, a write, to its message, so with the way to Redis.
   * Of the last 1,024; null: none has come yet.
   */
  delay: DelayStats | null
  /** How often the tier was dropped whole, as a connection broke, a heartbeat was missed, or the servers are others. */
  drops: number
}

export interface Store {
  readonly kind: 'redis' | 'memory'
  /** Resolves when the first read need not wait for a connection. Rejects where that takes too long. */
  connect (): Promise<void>
  /** Resolves when the store has answered as little as tells that it works. */
  probe (): Promise<void>
  read (ask: Ask): Promise<Reading>
  /** The reading that is at hand in this process; null: the server has to be asked. */
  glance (ask: Ask): Reading | null
  /** The figures of the tier in front of the store; null: there is none. */
  readonly tier: TierStats | null
  /** Tells when other servers answer; null: there are no others. */
  readonly witness: Witness | null
  /** Reads, together with what else is read in this turn of the event loop; within the lookup's deadline. */
  ask (ask: Ask, reader: Reader): void
  /** The generations of tags that only the entry named, in their order, and the history that they belong to. */
  generations (tags: readonly string[]): Promise<ValidityReading>
  /**
   * Takes the lease of a key or a variant, for `LEASE_TIME`, after it has created the generations that are missing. A key
   * that is marked `pass` can be taken, too, by one at a time. A fill that landed since the lookup is not run again.
   */
  take (key: string, variant: string | null, seen: Seen): Promise<Taken>
  /**
   * Has the lease last for another `LEASE_TIME`; false where it is lost. `pass`: and nobody is to wait for it any more; the
   * lease that was given is changed.
   */
  renew (key: string, lease: Lease, pass?: boolean): Promise<boolean>
  /** Stores for so long, if the lease is still held, and the marker is still the one that was there. */
  fill (key: string, lease: Lease, fill: Fill): Promise<FillResult>
  /** Gives a lease back unused; `pass`: and has nobody wait for this key for `PASS_TIME`. Of a lost lease: does nothing. */
  release (key: string, lease: Lease, pass?: boolean): Promise<void>
  /**
   * Gives a lease back, as `release` does with `pass`, and ends the entry that it was to fill anew: in one step, and only
   * where a fill would land. `epoch`: of the marker that the variant was missed under; '': it is none. Of a lost lease:
   * does nothing.
   */
  end (key: string, lease: Lease, epoch: string): Promise<void>
  /** The state of the lease: 'held' while a fill is under way that is worth waiting for. */
  holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'>
  /**
   * Takes the lease of a key, whoever had it: a fill under the former lease is refused. Null: the key is in quarantine.
   * `tags`: those of the fill that are known already. Where one has no generation, one is created, so that the fill need not
   * ask whether any tag was invalidated since. Absent: none.
   */
  seize (key: string, tags?: readonly string[]): Promise<Seized | null>
  /**
   * Puts them in quarantine for so long from now, or until they are invalidated with the same token: what is there goes,
   * nobody gets a lease, nothing that carries one of these tags is valid. Where the time runs out it ends as an
   * invalidation. True: they had been in quarantine until now, under this token.
   */
  quarantine (targets: Writing, token: string, time: Milliseconds): Promise<boolean>
  /**
   * Invalidates all of these together: what began before it resolves is served by none of them, nor what was made of such
   * an entry of theirs (joint-invalidation.ts). Entry (or marker) and lease go of each key and of each that begins with a
   * prefix, of its response and of its value; what carries a tag is invalid, also if it is on its way; `all`: another
   * history begins, and nothing is valid. Resolves with the number of entries that went by their keys. `token`: of the
   * quarantine that ends with it; absent: of none. Those of others stay.
   */
  invalidate (targets: Partial<Targets>, token?: string): Promise<number>
  /**
   * The same, but makes stale instead: entries that may be served so, until their stale time is over from now; others go, as
   * do leases. Resolves with the number of entries under these keys.
   */
  soften (targets: Writing): Promise<number>
  /** Lets go of what the store itself holds; a client that was given to it stays open. */
  close (): void
}

/** Wraps the store, for tests. `deadline`: of a lookup, `writeDeadline`: of a command; 0: there is none. */
export type StoreWrapper = (store: Store, limits: { deadline: Milliseconds, writeDeadline: Milliseconds }) => Store

/** How long a lease lasts unless it is renewed: what a process that died keeps others waiting at most. */
export const LEASE_TIME: Milliseconds = 3_000
/** How long a marker lasts under which nothing was stored yet: what takes longer can't fill. */
export const FIRST_MARKER_TIME: Milliseconds = 60_000
/**
 * How long a generation lives under which nothing was stored yet: a request alone can make as many as it likes. Renewed with
 * the lease, and a fill has it live as long as what it stores.
 */
export const FIRST_LIFE: Milliseconds = 60_000
/** How long nobody waits for a key whose last response could not be shared. */
export const PASS_TIME: Milliseconds = 10_000

/** The targets of one call, which go together, so that nothing is made of one target's old entry while another's is gone. */
export interface Targets {
  keys: readonly string[]
  tags: readonly string[]
  /** All keys that begin with one of these. */
  prefixes: readonly string[]
  all: boolean
}

export const NO_TARGETS: Targets = { keys: [], tags: [], prefixes: [], all: false }

/**
 * By how much an instant of another clock, Redis' or another host's, may be ahead of this process' time and still count.
 * Hosts that keep their time (NTP) are apart by milliseconds. An instant that is ahead by more comes of a clock that is, or
 * was, wrong, and says nothing of when something happened. A softened entry may be served for this much longer than it
 * should be, at most.
 */
export const MOST_SKEW: Milliseconds = 1_000

/** Whether the instant lies so far ahead that nobody knows when it was. */
export function isAhead (instant: Milliseconds, now: Milliseconds): boolean {
  return instant > now + MOST_SKEW
}
