// Looks at the servers that nobody causes by reading: a process that only writes must notice, too, that its server was
// replaced. One at a time, once a second; sooner where a server was lost, and until the new one answers.
import type { Milliseconds } from '../../duration.js'

/** What a round found: nothing is to be looked at any more; all servers are known, or not; the client is not connected. */
export type Round = 'over' | 'known' | 'unknown' | 'away'

const PAUSE: Milliseconds = 1_000
const SHORTEST_PAUSE: Milliseconds = 100

export class Rounds {
  readonly #look: () => Promise<Round>
  #timer: NodeJS.Timeout | undefined
  #pause = PAUSE
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
    }, this.#pause)
    this.#timer.unref()
  }

  /** A server was lost: the next round comes soon, if one was to come. */
  hurry (): void {
    this.#pause = SHORTEST_PAUSE
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
    const asked = this.#pause
    const round = await this.#look()
    this.#isLooking = false
    // Lost while it was asked: soon again.
    if (this.#pause === asked) this.#pause = round === 'unknown' ? Math.min(asked * 2, PAUSE) : PAUSE
    if (round === 'away') this.#pause = SHORTEST_PAUSE
    if (round !== 'over') this.begin()
  }
}
