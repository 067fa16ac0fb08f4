// Pauses between attempts: each longer than the one before, up to a longest one, and by chance a little shorter, so that
// processes which wait for the same server don't ask it in step.
import type { Milliseconds } from '../../duration.js'

interface BackoffShape {
  first: Milliseconds
  longest: Milliseconds
  /** How much longer each pause is than the one before. Default 2. */
  factor?: number
}

/** By how much a pause is shortened at most. */
const MOST_SHORTENED = 1 / 4

export class Backoff {
  readonly #shape: BackoffShape
  #pause: Milliseconds

  constructor (shape: BackoffShape) {
    this.#shape = shape
    this.#pause = shape.first
  }

  /** The next pause is the first one. */
  get isReset (): boolean {
    return this.#pause === this.#shape.first
  }

  /** How long to pause now. */
  next (): Milliseconds {
    const { longest, factor = 2 } = this.#shape
    const pause = this.#pause
    this.#pause = Math.min(pause * factor, longest)
    return pause * (1 - MOST_SHORTENED * Math.random())
  }

  /** The last attempt succeeded, or there is reason to hope that the next one does. */
  reset (): void {
    this.#pause = this.#shape.first
  }
}
