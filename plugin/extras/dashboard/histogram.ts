// Durations in buckets that are each a fifth wider than the one before: those of several processes can be put together,
// and a quantile is right to within a tenth.
import type { Milliseconds } from '../../duration.js'

const SMALLEST: Milliseconds = 0.01
const PER_DOUBLING = 4
/** Up to more than two minutes. */
const BUCKETS = 96

/** Pairs of a bucket and how many are in it, one behind the other: as it travels between processes. */
export type Counts = readonly number[]

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)

  add (duration: Milliseconds): void {
    const bucket = Math.ceil(Math.log2(duration / SMALLEST) * PER_DOUBLING)
    this.#counts[Math.min(Math.max(bucket, 0), BUCKETS - 1)]!++
  }

  /** Adds the counts of another process; a value that is no such list adds nothing. */
  addAll (counts: Counts): void {
    for (let i = 0; i + 1 < counts.length; i += 2) {
      const bucket = counts[i]!
      if (Number.isInteger(bucket) && bucket >= 0 && bucket < BUCKETS) this.#counts[bucket]! += Number(counts[i + 1])
    }
  }

  get counts (): number[] {
    const counts: number[] = []
    this.#counts.forEach((count, bucket) => { if (count > 0) counts.push(bucket, count) })
    return counts
  }

  /** The duration that this part of all, 0 to 1, is within; null: there is none. */
  quantile (part: number): Milliseconds | null {
    const all = this.#counts.reduce((sum, count) => sum + count, 0)
    if (all === 0) return null
    let left = Math.max(1, Math.ceil(all * part))
    const bucket = this.#counts.findIndex((count) => (left -= count) <= 0)
    // The middle of the bucket.
    return SMALLEST * 2 ** ((bucket - 0.5) / PER_DOUBLING)
  }
}

/** Figures of the present and the previous period, so that they are neither old nor of one moment. */
export class RecentHistogram {
  #now = new Histogram()
  #before = new Histogram()

  add (duration: Milliseconds): void {
    this.#now.add(duration)
  }

  /** The time is over. */
  turn (): void {
    this.#before = this.#now
    this.#now = new Histogram()
  }

  get counts (): number[] {
    const both = new Histogram()
    both.addAll(this.#before.counts)
    both.addAll(this.#now.counts)
    return both.counts
  }
}
