// In a file of their own: an app's types must not need those of pg.
import type { Seconds } from '../../duration.js'

/** The lines in the outbox. */
export interface Backlog {
  /** How many lines there are, 100,000 at most. */
  lines: number
  /** How old the oldest one is; null: there is none, or it is one of an older version. */
  age: Seconds | null
  /** The reason why they stay, in words: a transaction, a prepared one, or a place without a reader. Null: none. */
  holder: string | null
}
