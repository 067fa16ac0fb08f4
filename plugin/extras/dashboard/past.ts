// Requests, hits and misses of the routes lately, in steps of ten seconds: the data of the curve. Steps begin at the same
// times in all processes, so that they can be added.
import type { CacheStats, RouteStats } from '../../index.js'
import type { Milliseconds } from '../../duration.js'
import { VALUES } from '../metrics/instruments.js'

export const STEP: Milliseconds = 10_000
/** A quarter of an hour. */
export const STEPS = 90

/** Requests of one route in one step. */
export type Counted = readonly [hits: number, misses: number, bypasses: number]

/** As it travels between processes: routes are numbers in `steps`, in fours with their three counts. */
export interface PastReport {
  routes: readonly string[]
  /** The step's number since 1970, and its counts. */
  steps: ReadonlyArray<readonly [step: number, fours: readonly number[]]>
}

export class Past {
  /** By step, by route. */
  readonly #steps = new Map<number, Map<string, [number, number, number]>>()
  #last = new Map<string, Counted>()

  /** Counts since the last call belong to the step of this instant. */
  look (stats: CacheStats, now: Milliseconds): void {
    const number = Math.floor(now / STEP)
    const step = this.#steps.get(number) ?? new Map<string, [number, number, number]>()
    const last = this.#last
    this.#last = new Map()
    for (const [route, counters] of [...Object.entries(stats.routes), [VALUES, stats.values] as const]) {
      const counted = count(counters)
      const before = last.get(route) ?? [0, 0, 0]
      this.#last.set(route, counted)
      if (counted.every((n, i) => n === before[i])) continue
      const sums = step.get(route) ?? [0, 0, 0]
      step.set(route, sums)
      counted.forEach((n, i) => { sums[i]! += n - before[i]! })
    }
    if (step.size > 0) this.#steps.set(number, step)
    for (const old of this.#steps.keys()) if (old <= number - STEPS) this.#steps.delete(old)
  }

  get report (): PastReport {
    const routes = [...new Set([...this.#steps.values()].flatMap((step) => [...step.keys()]))]
    const numbers = new Map(routes.map((route, i) => [route, i]))
    const steps = [...this.#steps].map(([number, step]) => {
      return [number, [...step].flatMap(([route, counts]) => [numbers.get(route)!, ...counts])] as const
    })
    return { routes, steps }
  }
}

function count ({ hits, misses, bypasses }: RouteStats): Counted {
  return [hits, misses, Object.values(bypasses).reduce((sum, n) => sum + n, 0)]
}

/** A curve: one point for each step, the oldest first. */
export interface Curve {
  /** The length of a step, in seconds. */
  step: number
  /** When each step began, in seconds since 1970. */
  at: number[]
  hits: number[]
  misses: number[]
  bypasses: number[]
}

/** The curve of these processes together; `route`: null: of all routes. */
export function curveOf (pasts: readonly PastReport[], route: string | null, now: Milliseconds): Curve {
  const last = Math.floor(now / STEP)
  const numbers = Array.from({ length: STEPS }, (_, i) => last - STEPS + 1 + i)
  const sums = new Map(numbers.map((number) => [number, [0, 0, 0] as [number, number, number]]))
  for (const { routes, steps } of pasts) {
    for (const [number, fours] of steps) {
      const sum = sums.get(number)
      if (sum === undefined) continue
      for (let i = 0; i + 3 < fours.length; i += 4) {
        if (route !== null && routes[fours[i]!] !== route) continue
        for (const k of [0, 1, 2] as const) sum[k] += fours[i + 1 + k]!
      }
    }
  }
  const all = [...sums.values()]
  return {
    step: STEP / 1000,
    at: numbers.map((number) => number * STEP / 1000),
    hits: all.map(([hits]) => hits),
    misses: all.map(([, misses]) => misses),
    bypasses: all.map(([,, bypasses]) => bypasses)
  }
}
