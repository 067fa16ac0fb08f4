// Looks at the servers that nobody causes by reading: a process that only writes must notice, too, that its server was
// replaced. One at a time, once a second; sooner where a server was lost, and until the new one answers.
import type { Milliseconds } from '../../duration.js'
import { Backoff } from '../wait/backoff.js'

/** What a round found: nothing is to be looked at any more; all servers are known, or not; the client is not connected. */
export type Round = 'over' | 'known' | 'unknown' | 'away'

const PAUSE: Milliseconds = 1_000

export class Rounds {
  readonly #look: () => Promise<Round>
  /** While a server is lost. */
  readonly #pauses = new Backoff({ first: 100, longest: PAUSE })
  #timer: NodeJS.Timeout | undefined
  #isLost = false
  #losses = 0
  #isLooking = false
  #isClosed = false

  /** `look` never rejects. */
  constructor (look: () => Promise<Round>) {
    this.#look = look
  }

  begin (): void {
    if (this.#timer !== undefined || this.#isLooking || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#go().catch(() => {})
    }, this.#isLost ? this.#pauses.next() : PAUSE)
    this.#timer.unref()
  }

  /** A server was lost: the next round comes soon, if one was to come. */
  hurry (): void {
    this.#losses++
    this.#isLost = true
    this.#pauses.reset()
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.begin()
  }

  close (): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  async #go (): Promise<void> {
    this.#isLooking = true
    const losses = this.#losses
    const round = await this.#look()
    this.#isLooking = false
    // Where one was lost while it was asked, the next round comes soon as well.
    if (losses === this.#losses && round !== 'unknown') this.#isLost = false
    if (round === 'away') {
      this.#isLost = true
      this.#pauses.reset()
    }
    if (round !== 'over') this.begin()
  }
}
