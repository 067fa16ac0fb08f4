// The values that go into the cache and come out of it: a request's question, the finding, the right to fill, and an answer.
import type { Milliseconds } from '../duration.js'
import type { EncodedBody, Entry, ValidityBasis, HeaderField, Marker, PayloadKind } from '../entry/entry.js'
import type { Flight } from './flight.js'
import type { BypassReason, RefusalReason } from '../telling/outcome.js'
import type { Lease } from '../store/store.js'

export { NO_TARGETS, type Targets } from '../store/store.js'

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
  validity: ValidityBasis
  /** The clock when all of the validity was read; null: it is not known. */
  clock: number | null
}

/**
 * `hit`: a fresh entry; `early`: it is to be filled again already.
 * `stale`: an entry that is served while it is refreshed, or, with `ifError`, because the handler failed just now.
 * `miss`: the claim to fill; null: another process has it, or nobody may have it, for the reason `why`. `present`: a valid
 * entry that lies there and is not to be served.
 * `unknown`: the store was of no use.
 */
export type Found =
  | { type: 'hit', entry: Entry, collapsed: boolean, early: Selected | null }
  | Spare & { type: 'stale', ifError: boolean }
  | Missed
  | { type: 'unknown', reason: Extract<BypassReason, 'store' | 'breaker' | 'journal'> }

export interface Missed { type: 'miss', claim: Claim | null, spare: Spare | null, present?: Spare | null, why?: RefusalReason }

/** A stale entry, with what was seen of it. On a miss: what stands in where the handler fails. */
export interface Spare { entry: Entry, selected: Selected }

/** A request that looks its response up. */
export interface Question {
  key: string
  selection: Selection
  /** A miss will be filled: the lease is taken. */
  toFill: boolean
  /** Its own handler's answer is of no use to others: the lease is not taken, but another's handler is waited for. */
  toFollow?: boolean
  /** A stored entry is not good enough for this client: only the lease is wanted. */
  toRefresh: boolean
  /** A stale entry will do that may be served so. */
  mayBeStale: boolean
  /** One will do that may be served where the handler fails, if it does. */
  mayRescue: boolean
  /** It may be filled again before it is stale. */
  mayBeEarly: boolean
  /** How long it waits for another request's handler. 0: not at all. */
  waitTimeout: Milliseconds
}

/** An entry that was served and is to be filled again: what was seen of it, and how long requests wait for its next one. */
export interface Refreshable {
  key: string
  selected: Selected
  waitTimeout: Milliseconds
}

/** The right to fill. */
export interface Right {
  key: string
  lease: Lease
  marker: Marker | null
  validity: ValidityBasis
  flight: Flight
  /** Something lies where the fill goes. */
  isOccupied: boolean
}

/** The right to fill, and the request that it is used for. */
export interface Claim extends Right {
  selection: Selection
}

/** A handler's answer, ready to be stored. */
export interface Answer {
  status: number
  headers: readonly HeaderField[]
  body: Buffer
  kind: PayloadKind
  /** The members of its `Vary`. */
  members: readonly string[]
  /** The tags that the handler named. */
  tags: readonly string[]
  /** How long it is fresh. */
  life: Milliseconds
  /** How long beyond that it may be served while it is refreshed. */
  stale: Milliseconds
  /** How long beyond that it may stand in where the handler fails. */
  rescue: Milliseconds
  /** How long the handler took. */
  cost: Milliseconds
  /** Whether its body is stored in codings, too. Then it must not change any more. */
  isEncoded: boolean
  /** The body in codings, where it is there already. */
  encoded?: readonly EncodedBody[] | null
  /** How long beyond its freshness it is kept, only so that the handler may be asked about it. Default 0. */
  keep?: Milliseconds
  /** Stored only where these bytes lie there yet, and are valid: it is the same response. Absent, null: it is a new one. */
  basis?: Buffer | null
}
