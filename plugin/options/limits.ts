// The bounds that the plugin's options set, in the units that we work with.
import type { Bytes, Milliseconds } from '../duration.js'

/** Limits of the work with the store. */
export interface CacheLimits {
  /** How long a lookup may take. */
  deadline: Milliseconds
  /** Failed lookups that open the breaker; 0: it never opens. */
  breakerThreshold: number
  /** How long the targets of a mutation stay in quarantine unless that is renewed. */
  quarantineTime: Milliseconds
  /** Requests that wait for another one's handler. */
  maxWaiters: number
  /** Invalidations that are kept while the store can't be told of them; of more, everything is invalidated instead. */
  maxJournal: number
}

/** Limits of a stored response. */
export interface AnswerLimits {
  maxBodyBytes: Bytes
  maxHeaderBytes: Bytes
}
