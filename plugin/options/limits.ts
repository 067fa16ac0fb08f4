// The bounds that the plugin's options set, in the units that we work with.
import type { Bytes, Milliseconds } from '../duration.js'
import { optionError } from '../errors.js'

/** Of the work with the store. */
export interface CacheLimits {
  /** What a lookup may take. */
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

/** Of what is stored. */
export interface AnswerLimits {
  maxBodyBytes: Bytes
  maxHeaderBytes: Bytes
}

/** As many as a script may remove in one step. */
const MOST_VARIANTS = 100_000

/** The option `maxVariants`; undefined where it is absent. Throws FRC_OPTION. */
export function readMaxVariants (where: string, option: string, value: unknown): number | undefined {
  if (value === undefined) return undefined
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MOST_VARIANTS) return value as number
  throw optionError(where, option, value, `it is a number of responses of one key, from 1 to ${MOST_VARIANTS}`)
}
