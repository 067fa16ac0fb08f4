// Chance from a seed (mulberry32): the same seed gives each worker the same choices. What the machine makes of them, and
// in which order workers come to theirs, is not repeated.
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below 1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 to below `end`. */
  below (end: number): number {
    return Math.floor(this.next() * end)
  }

  chance (probability: number): boolean {
    return this.next() < probability
  }

  pick<T> (list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  /** A few of them are much hotter than the others. */
  pickHot<T> (list: readonly T[]): T {
    return list[Math.floor(this.next() ** 2 * list.length)] as T
  }

  shuffled<T> (list: readonly T[]): T[] {
    return list.map((one) => ({ one, at: this.next() })).sort((a, b) => a.at - b.at).map(({ one }) => one)
  }
}
