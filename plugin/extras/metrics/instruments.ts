// All metrics, defined once for all exporters: with OpenTelemetry's names, from which Prometheus' names follow. Counters
// and gauges are read from `cache.stats()` at each collection, so nothing is counted twice. Durations, which `stats()`
// lacks, come from the events.
//
// Labels are bounded: routes as they are declared, and words of closed unions; never a URL, a key or a tag. Series are few:
// a route has none before its first request, and those of rare outcomes come when they do (budget.ts plans the rest).
import type { CacheEvents, CacheStats, RouteStats } from '../../index.js'
import { SUMS } from '../../telling/stats.js'
import type { FeedStats, Measured } from './feed.js'

export type Labels = Record<string, string>

/** A number that is there whenever it is asked for. */
export interface Observable {
  kind: 'counter' | 'gauge'
  /** Behind `route_cache.`, as OpenTelemetry's conventions have it: parts with dots between them, no unit in it. */
  name: string
  /** UCUM: `s`, `By`, or the name of the counted things in braces. */
  unit: string
  help: string
  labels: readonly string[]
  read: (stats: Measured) => Iterable<readonly [Labels, number]>
}

/** Durations, in seconds, as they come. */
export interface Timing {
  kind: 'histogram'
  name: string
  unit: 's'
  help: string
  /** Those that it can have: `route` not always. */
  labels: readonly string[]
  /** Whether it has the label `route` where no option says so. */
  isOfRoute: boolean
}

/** The label for values, which have no route: labels of routes begin with a method. */
export const VALUES = 'getOrSet'

/** Upper bounds of the histograms, in seconds: from a hit in the process to a handler that takes half a minute. */
export const BUCKETS: readonly number[] = [
  0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30
]

/** Those of a histogram that each route has: fewer, and each of them one of the others. */
export const ROUTE_BUCKETS: readonly number[] = [0.001, 0.005, 0.025, 0.1, 0.25, 1, 5]

export const readings: readonly Observable[] = [
  {
    kind: 'counter',
    name: 'requests',
    unit: '{request}',
    help: 'Requests of cached routes and calls of getOrSet, by what their lookup came to. A rescued miss counts as a miss.',
    labels: ['route', 'outcome', 'reason'],
    read: (stats) => ofRoutes(stats, outcomes)
  },
  ofRoute('rescued', '{request}', 'Misses whose handler failed and that were answered with a stale entry.', (route) => route.rescued),
  {
    kind: 'counter',
    name: 'fills',
    unit: '{response}',
    help: 'Responses and values that were stored, or refused and why.',
    labels: ['route', 'result', 'reason'],
    read: (stats) => ofRoutes(stats, fills)
  },
  ofRoute('stored', 'By', 'Bytes given to the store.', (route) => route.bytes),
  ofRoute('refreshes', '{run}', 'Runs of the handler for entries that were served stale or were near their end.', (route) => route.refreshes),
  ofRoute('sets', '{value}', 'Values given to cache.set that went through the route.', (route) => route.sets),
  ofRoute('outdated', '{entry}', 'Entries found that had been invalidated by tag or with everything.', (route) => route.outdated),
  ofRoute('unreadable', '{entry}', 'Misses that found what is no entry of this build.', (route) => route.unreadable),
  {
    kind: 'counter',
    name: 'errors',
    unit: '{error}',
    help: 'Failures of the store and of the routes\' own functions.',
    labels: ['route'],
    read: (stats) => ofRoutes(stats, ({ errors }) => [[{}, errors]])
  },
  {
    kind: 'counter',
    name: 'invalidations',
    unit: '{invalidation}',
    help: 'Invalidations, by whether the store could be told.',
    labels: ['result'],
    read: ({ invalidations, invalidationsFailed }) => [[{ result: 'told' }, invalidations], [{ result: 'failed' }, invalidationsFailed]]
  },
  ofAll('counter', 'invalidated_entries', '{entry}', 'Entries that went by their keys.', (stats) => stats.invalidated),
  ofAll('gauge', 'journal.targets', '{target}', 'Invalidations that the store was not told of yet. Above 0 nothing is served.',
    (stats) => stats.journal),
  ofAll('gauge', 'breaker.open', '{state}', 'Whether the store is not asked, as it has failed too often: 1 or 0.',
    (stats) => Number(stats.breaker === 'open')),
  ofAll('gauge', 'flights', '{flight}', 'Keys that are being filled, by handlers here or by others that are waited for.',
    (stats) => stats.flights),
  ofAll('gauge', 'waiting_requests', '{request}', 'Requests that wait for another one\'s handler.', (stats) => stats.waiting),
  ofAll('gauge', 'tier.live', '{state}', 'Whether the in-process tier serves: 1 or 0.', ({ tier }) => tier && Number(tier.isLive)),
  ofAll('gauge', 'tier.entries', '{entry}', 'Names that the in-process tier keeps.', ({ tier }) => tier && tier.entries),
  ofAll('gauge', 'tier.size', 'By', 'What they take, roughly.', ({ tier }) => tier && tier.bytes),
  ofAll('counter', 'tier.hits', '{request}', 'Requests served from the in-process tier.', ({ tier }) => tier && tier.hits),
  ofAll('counter', 'tier.drops', '{drop}', 'How often the in-process tier was dropped whole.', ({ tier }) => tier && tier.drops),
  {
    kind: 'gauge',
    name: 'tier.delay',
    unit: 's',
    help: 'How long a tracking message takes, of the last 1,024 heartbeats: half of them, 99 of 100, and all are within it.',
    labels: ['part'],
    read: ({ tier }) => Object.entries(tier?.delay ?? {}).map(([part, time]) => [{ part }, time / 1000] as const)
  },
  ofFeed('gauge', 'postgres.listening', '{state}', 'Whether Postgres can be asked what changed: 1 or 0.', ({ isListening }) => Number(isListening)),
  ofFeed('counter', 'postgres.changes', '{line}', 'Lines of the outbox in Postgres that were read.', ({ changes }) => changes),
  ofFeed('counter', 'postgres.targets', '{target}', 'Keys, tags and prefixes that were invalidated for them.', ({ targets }) => targets),
  ofFeed('counter', 'postgres.failures', '{look}', 'How often the store could not be told what Postgres said.', ({ failures }) => failures),
  ofFeed('counter', 'postgres.reconnects', '{connection}', 'How often the connection to Postgres was made anew.', ({ reconnects }) => reconnects),
  ofFeed('counter', 'postgres.refusals', '{look}', 'How often Postgres refused that the outbox was read.', ({ refusals }) => refusals),
  ofFeed('gauge', 'postgres.outbox.lines', '{line}', 'Lines in the outbox, 100,000 at most.', ({ outbox }) => outbox && outbox.lines),
  ofFeed('gauge', 'postgres.outbox.age', 's', 'How old the oldest of them is.', ({ outbox }) => outbox && (outbox.age ?? 0))
]

export const timings = {
  lookup: {
    kind: 'histogram',
    name: 'lookup.duration',
    unit: 's',
    help: 'From where a lookup stands to what it came to, waiting for others\' handlers included.',
    labels: ['route', 'outcome'],
    isOfRoute: false
  },
  handler: {
    kind: 'histogram',
    name: 'handler.duration',
    unit: 's',
    help: 'From the end of a lookup to the handler\'s answer; of getOrSet, the run of load.',
    labels: ['route'],
    isOfRoute: true
  },
  fill: {
    kind: 'histogram',
    name: 'fill.duration',
    unit: 's',
    help: 'From an answer to the store\'s word on it, compression included.',
    labels: ['route'],
    isOfRoute: false
  },
  invalidation: {
    kind: 'histogram',
    name: 'invalidation.duration',
    unit: 's',
    help: 'How long invalidations took, those that failed too.',
    labels: [],
    isOfRoute: false
  }
} as const satisfies Partial<Record<keyof CacheEvents, Timing>>

/** The events that histograms have. */
export type Timed = keyof typeof timings

/** A counter of each route where it is not 0. */
function ofRoute (name: string, unit: string, help: string, value: (route: RouteStats) => number): Observable {
  const read: Observable['read'] = (stats) => ofRoutes(stats, (route) => counted([[{}, value(route)]]))
  return { kind: 'counter', name, unit, help, labels: ['route'], read }
}

/** One number; null: there is none. */
function ofAll (
  kind: Observable['kind'], name: string, unit: string, help: string, value: (stats: CacheStats) => number | null
): Observable {
  const read: Observable['read'] = (stats) => {
    const number = value(stats)
    return number === null ? [] : [[{}, number]]
  }
  return { kind, name, unit, help, labels: [], read }
}

/** One figure of the Postgres feed; null: there is none, or no feed. */
function ofFeed (
  kind: Observable['kind'], name: string, unit: string, help: string, value: (feed: FeedStats) => number | null
): Observable {
  const read: Observable['read'] = ({ feed }) => {
    const number = feed && value(feed)
    return number === null ? [] : [[{}, number]]
  }
  return { kind, name, unit, help, labels: [], read }
}

type Of = (route: RouteStats) => Iterable<readonly [Labels, number]>

function * ofRoutes ({ routes, values }: CacheStats, of: Of): Iterable<readonly [Labels, number]> {
  for (const [route, stats] of [...Object.entries(routes), [VALUES, values] as const]) {
    if (!isUsed(stats)) continue
    for (const [labels, value] of of(stats)) yield [{ route, ...labels }, value]
  }
}

function isUsed (route: RouteStats): boolean {
  return SUMS.some((name) => route[name] > 0) || Object.keys(route.bypasses).length > 0
}

/**
 * Each only grows: a stale hit and one that has waited for another's handler are counted together with it. Hits and misses
 * are told while they are 0, too, as a rate of hits needs both.
 */
function outcomes ({ hits, stale, collapsed, misses, bypasses }: RouteStats): Array<readonly [Labels, number]> {
  return [
    [{ outcome: 'hit', reason: '' }, hits - stale - collapsed],
    [{ outcome: 'miss', reason: '' }, misses],
    ...counted([[{ outcome: 'hit', reason: 'collapsed' }, collapsed], [{ outcome: 'stale', reason: '' }, stale]]),
    ...Object.entries(bypasses).map(([reason, n]) => [{ outcome: 'bypass', reason }, n] as const)
  ]
}

function fills ({ stores, refusals }: RouteStats): Array<readonly [Labels, number]> {
  return [
    ...counted([[{ result: 'stored', reason: '' }, stores]]),
    ...Object.entries(refusals).map(([reason, n]) => [{ result: 'refused', reason }, n] as const)
  ]
}

function counted (figures: Array<readonly [Labels, number]>): Array<readonly [Labels, number]> {
  return figures.filter(([, value]) => value > 0)
}
