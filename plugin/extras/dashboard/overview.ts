// The data of the page: the reports of all processes put together, or one of them, with reasons in words.
import type { CacheStats, RouteStats, Warning } from '../../index.js'
import type { Milliseconds, Seconds } from '../../duration.js'
import { BYPASS_WORDS, REFUSAL_WORDS } from '../../telling/reasons.js'
import { SUMS } from '../../telling/stats.js'
import type { FeedStats } from '../metrics/feed.js'
import { VALUES } from '../metrics/instruments.js'
import type { RedisHealth } from './health.js'
import { Histogram } from './histogram.js'
import { notesOn, type Note } from './notes.js'
import { curveOf, type Curve } from './past.js'
import type { Heard } from './reports.js'

/** Half of them, and 99 of 100, are within it; null: there was none lately. */
export interface Times { p50: Milliseconds | null, p99: Milliseconds | null }

type Sums = Omit<RouteStats, 'bypasses' | 'refusals' | 'hitRate'>

/** A route, or all. */
interface RouteOverview extends Sums {
  /** As declared: `GET /users/:id`; `getOrSet`: its values; null: all. */
  route: string | null
  /** Hits, misses and bypasses. */
  requests: number
  bypassed: number
  refused: number
  hitRate: number
  hit: Times
  miss: Times
  /** Notes on the route itself: likely mistakes in its declaration. */
  notes: string[]
}

/** One reason why requests of a route were not served from the cache, or responses not stored. */
interface ReasonOverview {
  route: string
  kind: 'bypass' | 'refusal'
  reason: string
  words: string
  count: number
}

interface ProcessOverview extends Pick<CacheStats, 'breaker' | 'journal' | 'tier' | 'flights' | 'waiting' | 'since'> {
  /** The Postgres feed of this process; null: there is none. */
  feed: FeedStats | null
  id: string
  process: string
  /** The one that answers. */
  isThis: boolean
  /** How old its numbers are. */
  age: Seconds
  requests: number
  hitRate: number
}

export interface Overview {
  name: string
  prefix: string
  store: CacheStats['store']
  /** Why nothing is known of other processes; null: nothing is in the way, or there can't be others. */
  alone: string | null
  processes: ProcessOverview[]
  total: RouteOverview
  routes: RouteOverview[]
  reasons: ReasonOverview[]
  curve: Curve
  invalidations: { told: number, failed: number, entries: number }
  redis: RedisHealth | null
  notes: Note[]
}

export interface OverviewParts {
  name: string
  prefix: string
  heard: readonly Heard[]
  /** The report that is this process'. */
  own: string
  alone: string | null
  redis: RedisHealth | null
  /** Likely mistakes in how this app uses the cache. */
  warnings: readonly Warning[]
  now: Milliseconds
  /** Only this process; null: all. */
  only: string | null
  /** Only this route's curve; null: all. */
  route: string | null
}

export function overviewOf ({ heard, only, ...parts }: OverviewParts): Overview {
  const chosen = heard.filter(({ report }) => only === null || report.id === only)
  const routes = routesOf(chosen)
  const { name, prefix, alone, redis, warnings } = parts
  const stats = chosen.map(({ report }) => report.stats)
  const processes = heard.map(({ report: { id, process, stats, feed = null }, age }) => {
    const { breaker, journal, tier, flights, waiting, since, total } = stats
    const { hitRate } = total
    const state = { breaker, journal, tier, flights, waiting, since }
    return { id, process, isThis: id === parts.own, age: age / 1000, requests: requestsOf(total), hitRate, feed, ...state }
  })
  return {
    name,
    prefix,
    store: heard[0]?.report.stats.store ?? 'memory',
    alone,
    processes,
    total: together(null, [...routes.values()].flat(), []),
    // Not each app has values.
    routes: [...routes].map(([route, parts]) => together(route, parts, notesOnRoute(warnings, route)))
      .filter(({ route, requests }) => route !== VALUES || requests > 0),
    reasons: reasonsOf(routes),
    curve: curveOf(chosen.map(({ report }) => report.past), parts.route, parts.now),
    invalidations: {
      told: sum(stats, ({ invalidations }) => invalidations),
      failed: sum(stats, ({ invalidationsFailed }) => invalidationsFailed),
      entries: sum(stats, ({ invalidated }) => invalidated)
    },
    redis,
    notes: notesOn(processes, { redis, warnings })
  }
}

/** A route in one process. */
interface Part { stats: RouteStats, hit: readonly number[], miss: readonly number[] }

function routesOf (heard: readonly Heard[]): Map<string, Part[]> {
  const routes = new Map<string, Part[]>()
  for (const { report: { stats, times } } of heard) {
    for (const [route, counters] of [...Object.entries(stats.routes), [VALUES, stats.values] as const]) {
      const { hit = [], miss = [] } = times[route] ?? {}
      const parts = routes.get(route) ?? []
      routes.set(route, parts)
      parts.push({ stats: counters, hit, miss })
    }
  }
  return routes
}

type Sum = typeof SUMS[number]

function notesOnRoute (warnings: readonly Warning[], name: string): string[] {
  return warnings.filter(({ route, concerned = [] }) => route === name || concerned.includes(name)).map(({ message }) => `${message}.`)
}

function together (route: string | null, parts: readonly Part[], notes: string[]): RouteOverview {
  const sums = Object.fromEntries(SUMS.map((name) => [name, sum(parts, ({ stats }) => stats[name])])) as Record<Sum, number>
  const { hits, misses } = sums
  return {
    route,
    ...sums,
    requests: sum(parts, ({ stats }) => requestsOf(stats)),
    bypassed: sum(parts, ({ stats }) => sum(Object.values(stats.bypasses), (n) => n)),
    refused: sum(parts, ({ stats }) => sum(Object.values(stats.refusals), (n) => n)),
    hitRate: hits + misses === 0 ? 0 : hits / (hits + misses),
    hit: timesOf(parts.map(({ hit }) => hit)),
    miss: timesOf(parts.map(({ miss }) => miss)),
    notes
  }
}

function timesOf (all: ReadonlyArray<readonly number[]>): Times {
  const histogram = new Histogram()
  for (const counts of all) histogram.addAll(counts)
  return { p50: histogram.quantile(0.5), p99: histogram.quantile(0.99) }
}

/** The most frequent first. */
function reasonsOf (routes: ReadonlyMap<string, readonly Part[]>): ReasonOverview[] {
  const found = new Map<string, ReasonOverview>()
  const add = (one: ReasonOverview): void => {
    const name = `${one.kind} ${one.reason} ${one.route}`
    const present = found.get(name)
    if (present === undefined) found.set(name, one)
    else present.count += one.count
  }
  for (const [route, parts] of routes) {
    for (const { stats: { bypasses, refusals } } of parts) {
      for (const [reason, count] of Object.entries(bypasses)) {
        add({ route, kind: 'bypass', reason, words: wordsOf(BYPASS_WORDS, reason), count })
      }
      for (const [reason, count] of Object.entries(refusals)) {
        add({ route, kind: 'refusal', reason, words: wordsOf(REFUSAL_WORDS, reason), count })
      }
    }
  }
  return [...found.values()].sort((one, other) => other.count - one.count)
}

/** Itself, where it is of a process with another build that knows more reasons. */
function wordsOf (words: Readonly<Record<string, string>>, reason: string): string {
  return Object.hasOwn(words, reason) ? words[reason]! : reason
}

function requestsOf ({ hits, misses, bypasses }: RouteStats): number {
  return hits + misses + sum(Object.values(bypasses), (n) => n)
}

function sum<T> (all: readonly T[], value: (one: T) => number): number {
  return all.reduce((sum, one) => sum + value(one), 0)
}
