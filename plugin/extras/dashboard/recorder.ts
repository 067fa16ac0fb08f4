// The figures of this process: counters, durations of recent hits and handlers, and the last quarter of an hour.
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { CacheStats, RouteCache } from '../../index.js'
import type { Milliseconds } from '../../duration.js'
import { listen } from '../metrics/durations.js'
import { feedOf, type FeedStats } from '../metrics/feed.js'
import { VALUES } from '../metrics/instruments.js'
import { RecentHistogram, type Counts } from './histogram.js'
import { Past, type PastReport } from './past.js'

/** Durations are of the last five to ten minutes. */
const TURN: Milliseconds = 300_000

/** The report of one process. */
export interface Report {
  /** The version of this form: a report of another version comes from another build, and is left out. */
  form: typeof FORM
  id: string
  /** For people: host and process. */
  process: string
  stats: CacheStats
  /** By route: of hits their lookup, of misses the run of the handler. */
  times: Record<string, { hit: Counts, miss: Counts }>
  past: PastReport
  /** The Postgres feed; null: there is none. Absent: a report of a build that did not have the field. */
  feed?: FeedStats | null
}

export const FORM = 1

export class Recorder {
  readonly id: string
  readonly #cache: RouteCache
  readonly #now: () => Milliseconds
  readonly #past = new Past()
  readonly #times = new Map<string, { hit: RecentHistogram, miss: RecentHistogram }>()
  readonly #ends: Array<() => void>
  #turned: Milliseconds

  constructor (cache: RouteCache, now: () => Milliseconds) {
    this.#cache = cache
    this.id = idOf(cache)
    this.#now = now
    this.#turned = now()
    this.#ends = [
      listen('lookup', ({ cache, route, outcome, duration }) => {
        if (cache !== this.#cache || duration === null) return
        if (outcome.type === 'hit' || outcome.type === 'stale') this.#timesOf(route).hit.add(duration)
      }),
      listen('handler', ({ cache, route, why, duration }) => {
        if (why === 'miss' && cache === this.#cache) this.#timesOf(route).miss.add(duration)
      })
    ]
    this.look()
  }

  /** To be called several times in a step of the past. */
  look (): CacheStats {
    const now = this.#now()
    if (Math.abs(now - this.#turned) >= TURN) {
      this.#turned = now
      for (const { hit, miss } of this.#times.values()) [hit, miss].forEach((histogram) => { histogram.turn() })
    }
    const stats = this.#cache.stats()
    this.#past.look(stats, now)
    return stats
  }

  get report (): Report {
    const stats = this.look()
    const times: Report['times'] = {}
    for (const [route, { hit, miss }] of this.#times) times[route] = { hit: hit.counts, miss: miss.counts }
    return { form: FORM, id: this.id, process: `${hostname()}, process ${process.pid}`, stats, times, past: this.#past.report, feed: feedOf(this.#cache) }
  }

  end (): void {
    for (const end of this.#ends) end()
  }

  #timesOf (route: string | null): { hit: RecentHistogram, miss: RecentHistogram } {
    const name = route ?? VALUES
    const present = this.#times.get(name)
    if (present !== undefined) return present
    const times = { hit: new RecentHistogram(), miss: new RecentHistogram() }
    this.#times.set(name, times)
    return times
  }
}

/** One for each cache: two dashboards of one cache tell the same numbers, which are not to be counted twice. */
const ids = new WeakMap<RouteCache, string>()

function idOf (cache: RouteCache): string {
  const id = ids.get(cache) ?? randomUUID().slice(0, 8)
  ids.set(cache, id)
  return id
}
