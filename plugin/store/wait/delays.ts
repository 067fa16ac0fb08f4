// The last delays that were measured, and their percentiles.
import type { Milliseconds } from '../../duration.js'

/** Half of them are at most `p50`, and 99 of 100 at most `p99`. Milliseconds. */
export interface DelayStats {
  p50: Milliseconds
  p99: Milliseconds
  max: Milliseconds
}

const MOST = 1_024

export class Delays {
  readonly #delays: Milliseconds[] = []
  #next = 0

  add (delay: Milliseconds): void {
    this.#delays[this.#next] = delay
    this.#next = (this.#next + 1) % MOST
  }

  /** Null: none was measured. */
  read (): DelayStats | null {
    if (this.#delays.length === 0) return null
    const sorted = this.#delays.toSorted((a, b) => a - b)
    const part = (share: number): Milliseconds => rounded(sorted[Math.ceil(share * sorted.length) - 1]!)
    return { p50: part(0.5), p99: part(0.99), max: part(1) }
  }
}

function rounded (time: Milliseconds): Milliseconds {
  return Math.round(time * 1000) / 1000
}
