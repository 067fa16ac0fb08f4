// Apart from what makes them: an app's types must not need those of pg.
import type { Seconds } from '../../duration.js'

/** What lies in the outbox. */
export interface Backlog {
  /** How many lines there are, 100,000 at most. */
  lines: number
  /** How old the oldest one is; null: there is none, or it is one of an older version. */
  age: Seconds | null
  /** Who keeps it there, in words: a transaction, a prepared one, or a place that nobody reads from. Null: nobody. */
  holder: string | null
}
