// What the requests of a load took, and what may be read from that: percentiles of a span, and when hits were back.
export type Kind = 'cached' | 'uncached'

export interface Sample {
  kind: Kind
  /** The instant at which it was to be sent. */
  due: number
  /** From then to its answer or its failure, in milliseconds; null: there is none yet. */
  took: number | null
  /** What the cache did, or 'failed'; '': there is no answer yet. */
  outcome: string
}

export interface Percentiles {
  p50: number
  p99: number
  count: number
}

/** So many requests, one after the other, tell whether hits are back. */
const WINDOW = 50
/** They are when there are so many of them, against how many there were before. */
const ENOUGH = 0.8

export class Samples {
  writes = 0
  readonly #all: Sample[] = []

  get reads (): number {
    return this.#all.length
  }

  begin (kind: Kind, due: number): Sample {
    const sample: Sample = { kind, due, took: null, outcome: '' }
    this.#all.push(sample)
    return sample
  }

  end (sample: Sample, now: number, outcome: string): void {
    sample.took = now - sample.due
    sample.outcome = outcome
  }

  /** Of those that were due from one instant to before another. */
  percentiles (kind: Kind, from: number, to: number): Percentiles {
    const times = this.#between(kind, from, to).flatMap(({ took }) => took ?? []).sort((a, b) => a - b)
    const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? NaN
    return { p50: at(0.5), p99: at(0.99), count: times.length }
  }

  /** The share of hits, 0 to 1. */
  hitRate (from: number, to: number): number {
    return rateOf(this.#between('cached', from, to))
  }

  /** What the cache did for the requests of a span, counted. */
  outcomes (from: number, to: number): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { outcome } of this.#between('cached', from, to)) counts[outcome] = (counts[outcome] ?? 0) + 1
    return counts
  }

  /** How long after this instant hits were back, in milliseconds; null: they are not yet. */
  recovery (since: number, rateBefore: number): number | null {
    const cached = this.#between('cached', since, Infinity)
    for (let i = 0; i + WINDOW <= cached.length; i++) {
      const first = cached[i]!
      if (isHit(first) && rateOf(cached.slice(i, i + WINDOW)) >= ENOUGH * rateBefore) return first.due - since
    }
    return null
  }

  #between (kind: Kind, from: number, to: number): Sample[] {
    // In order of their sending, so those at the end are found from there.
    let first = this.#all.length
    while (first > 0 && this.#all[first - 1]!.due >= from) first--
    return this.#all.slice(first).filter((sample) => sample.kind === kind && sample.due < to)
  }
}

function rateOf (samples: readonly Sample[]): number {
  return samples.length === 0 ? 0 : samples.filter(isHit).length / samples.length
}

function isHit ({ outcome }: Sample): boolean {
  return outcome === 'hit'
}
