// What failed just now, as this process saw it. Where a stale entry may stand in, nobody waits for such a handler: requests
// are answered at once, and it is tried behind them (refresh.ts).
//
// A run that failed leaves its lease as `pass`, for PASS_TIME: over all processes the handler is tried so often. What is
// remembered here lasts longer than that, or each time the first request after it would wait for the handler again:
//
//   1. A  misses; the handler fails; the entry stands in; remembered; the lease's name says `pass`
//   2. B  is answered at once; its refresh finds `pass`, and rests
//   3.    PASS_TIME is over
//   4. C  is answered at once; its refresh takes the lease; the handler fails again: from here on it is remembered anew
import type { Milliseconds } from '../duration.js'
import type { Entry } from '../entry/entry.js'
import { Recent } from '../store/recent.js'
import { PASS_TIME } from '../store/store.js'

export const FAILURE_TIME: Milliseconds = 2 * PASS_TIME
/** The oldest go first. */
const MOST_FAILURES = 10_000

export class Failures {
  readonly #now: () => Milliseconds
  /** When each failed. */
  readonly #failed = new Recent<Milliseconds>()

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  get size (): number {
    return this.#failed.size
  }

  /** The handler that would have filled this has failed. */
  note (name: string): void {
    const now = this.#now()
    this.#failed.set(name, now)
    for (;;) {
      const [oldest, at] = this.#failed.first()!
      if (this.#failed.size <= MOST_FAILURES && now < at + FAILURE_TIME) break
      this.#failed.delete(oldest)
    }
  }

  /** It works again, though what it answers is not stored. */
  forget (name: string): void {
    this.#failed.delete(name)
  }

  /** Whether it failed just now, and nobody has filled it since. */
  has (name: string, { storedAt }: Entry): boolean {
    const at = this.#failed.get(name)
    return at !== undefined && storedAt < at && this.#now() < at + FAILURE_TIME
  }
}
