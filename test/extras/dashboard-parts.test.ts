// The dashboard's parts that need no app: durations in buckets, the curve, notes, and reports put together.
import { readFile, readdir } from 'node:fs/promises'
import t from 'tap'
import { Histogram, RecentHistogram } from '../../plugin/extras/dashboard/histogram.js'
import type { RedisHealth, ServerHealth } from '../../plugin/extras/dashboard/health.js'
import type { FeedStats } from '../../plugin/extras/metrics/feed.js'
import { notesOn } from '../../plugin/extras/dashboard/notes.js'
import { overviewOf, type Overview, type OverviewParts } from '../../plugin/extras/dashboard/overview.js'
import { curveOf, Past, STEP, STEPS } from '../../plugin/extras/dashboard/past.js'
import { FORM, Recorder, type Report } from '../../plugin/extras/dashboard/recorder.js'
import { isReport } from '../../plugin/extras/dashboard/report-shape.js'
import { channels } from '../../plugin/telling/events.js'
import type { Warning, CacheStats, RouteCache, RouteStats } from '../../plugin/index.js'
import { BYPASS_WORDS, REFUSAL_WORDS } from '../../plugin/telling/reasons.js'

const ROUTE = 'GET /users/:id'

function route (counted: Partial<RouteStats> = {}): RouteStats {
  const zeros = {
    hits: 0,
    collapsed: 0,
    stale: 0,
    misses: 0,
    rescued: 0,
    outdated: 0,
    unreadable: 0,
    refreshes: 0,
    sets: 0,
    stores: 0,
    errors: 0,
    bytes: 0
  }
  const { hits = 0, misses = 0 } = counted
  return { ...zeros, bypasses: {}, refusals: {}, hitRate: hits + misses === 0 ? 0 : hits / (hits + misses), ...counted }
}

function stats (routes: Record<string, RouteStats>, more: Partial<CacheStats> = {}): CacheStats {
  return {
    store: 'redis',
    since: 1,
    invalidations: 0,
    invalidated: 0,
    invalidationsFailed: 0,
    breaker: 'closed',
    journal: 0,
    tier: null,
    flights: 0,
    waiting: 0,
    total: route(),
    routes,
    values: route(),
    ...more
  }
}

function report (id: string, of: CacheStats, more: Partial<Report> = {}): Report {
  return { form: FORM, id, process: `process ${id}`, stats: of, times: {}, past: { routes: [], steps: [] }, ...more }
}

function histogram (...durations: number[]): Histogram {
  const one = new Histogram()
  for (const duration of durations) one.add(duration)
  return one
}

t.test('a duration is told to within a tenth', async (t) => {
  let worst = 0
  for (let duration = 0.01; duration < 120_000; duration *= 1.01) {
    worst = Math.max(worst, Math.abs(histogram(duration).quantile(0.5)! / duration - 1))
  }
  t.ok(worst < 0.1, `${worst}`)
  t.equal(new Histogram().quantile(0.5), null)
  for (const odd of [0, -1, 0.000001]) t.ok(histogram(odd).quantile(1)! <= 0.01, `${odd}`)
  for (const long of [1e9, Infinity]) t.ok(histogram(long).quantile(1)! > 120_000, `${long}`)
})

t.test('quantiles by rank', async (t) => {
  const near = (value: number | null, expected: number): void => { t.ok(Math.abs(value! / expected - 1) < 0.1, `${value} is near ${expected}`) }
  const mostly = histogram(...Array.from({ length: 99 }, () => 1), 1000)
  near(mostly.quantile(0), 1)
  near(mostly.quantile(0.5), 1)
  near(mostly.quantile(0.99), 1)
  near(mostly.quantile(0.991), 1000)
  near(mostly.quantile(1), 1000)
  near(histogram(1, 100).quantile(0.5), 1)
  near(histogram(1, 100).quantile(0.51), 100)
})

t.test('buckets of several processes are those of all their durations', async (t) => {
  const [some, others] = [[0.2, 5, 5, 700], [0.2, 90, 8_000]]
  const both = new Histogram()
  both.addAll(JSON.parse(JSON.stringify(histogram(...some).counts)))
  both.addAll(histogram(...others).counts)
  t.strictSame(both.counts, histogram(...some, ...others).counts)
  const before = both.counts
  both.addAll([-1, 5, 96, 5, 1.5, 5, NaN, 5, 3])
  t.strictSame(both.counts, before, 'what is no bucket adds nothing')
})

t.test('the recent ones are of this time and the one before', async (t) => {
  const recent = new RecentHistogram()
  recent.add(1)
  recent.turn()
  recent.add(100)
  t.strictSame(recent.counts, histogram(1, 100).counts)
  recent.turn()
  t.strictSame(recent.counts, histogram(100).counts)
  recent.turn()
  t.strictSame(recent.counts, [])
})

t.test('the curve', async (t) => {
  const start = 1_000_000 * STEP
  const past = new Past()
  const look = (now: number, a: Partial<RouteStats>, values: Partial<RouteStats> = {}): void => {
    past.look(stats({ a: route(a), b: route() }, { values: route(values) }), now)
  }
  look(start + 1, { hits: 2, misses: 1, bypasses: { user: 1, cookie: 2 } })
  look(start + 2, { hits: 2, misses: 1, bypasses: { user: 1, cookie: 2 } })
  look(start + STEP - 1, { hits: 5, misses: 1, bypasses: { user: 1, cookie: 2 } })
  look(start + STEP, { hits: 6, misses: 1, bypasses: { user: 2, cookie: 2 } }, { hits: 10 })
  look(start + 3 * STEP, { hits: 6, misses: 2, bypasses: { user: 2, cookie: 2 } }, { hits: 10 })
  t.strictSame(past.report, {
    routes: ['a', 'getOrSet'],
    steps: [
      [1_000_000, [0, 5, 1, 3]],
      [1_000_001, [0, 1, 0, 1, 1, 10, 0, 0]],
      [1_000_003, [0, 0, 1, 0]]
    ]
  })
  const told = JSON.parse(JSON.stringify(past.report))
  const last = (list: number[]): number[] => list.slice(-4)
  const all = curveOf([told], null, start + 3 * STEP + 5)
  t.equal(all.step, 10)
  t.equal(all.at.length, 90)
  t.strictSame(last(all.at), [0, 1, 2, 3].map((i) => (start + i * STEP) / 1000))
  t.strictSame([last(all.hits), last(all.misses), last(all.bypasses)], [[5, 11, 0, 0], [1, 0, 0, 1], [3, 1, 0, 0]])
  const a = curveOf([told, told], 'a', start + 3 * STEP)
  t.strictSame([last(a.hits), last(a.misses), last(a.bypasses)], [[10, 2, 0, 0], [2, 0, 0, 2], [6, 2, 0, 0]], 'two together, of one route')
  t.ok(curveOf([told], 'b', start).hits.every((n) => n === 0))
  t.equal(curveOf([told], null, start + (STEPS - 1) * STEP).hits[0], 5, 'the oldest step')
  t.equal(curveOf([told], null, start + STEPS * STEP).hits[0], 11)
  t.ok(curveOf([told], null, start - STEP).hits.every((n) => n === 0), 'later ones are not drawn')
  look(start + (STEPS + 1) * STEP, { hits: 6, misses: 3, bypasses: { user: 2, cookie: 2 } }, { hits: 10 })
  t.strictSame(past.report.steps.map(([step]) => step), [1_000_003, 1_000_091], 'what is older than a quarter of an hour is forgotten')
  look(start, { hits: 7, misses: 3, bypasses: { user: 2, cookie: 2 } }, { hits: 10 })
  t.strictSame(past.report.steps.at(-1), [1_000_000, [0, 1, 0, 0]], 'a clock that was set back')
})

function server (more: Partial<ServerHealth> = {}): ServerHealth {
  const full = { memory: 96, maxMemory: 100, policy: 'noeviction', evicted: 0 }
  return { address: 'a:1', error: null, ping: 1, version: 'Redis 7', clients: 1, ...full, ...more }
}

t.test('notes', async (t) => {
  type Told = Partial<CacheStats & { feed: FeedStats }>
  let warnings: Warning[] = []
  const told = (redis: Partial<RedisHealth> | null, ...processes: Told[]): string[] => {
    const all = processes.map((one) => ({ ...stats({}), process: 'p', ...one }))
    const around = { redis: redis === null ? null : { status: 'ready', servers: [], ...redis }, warnings }
    return notesOn(all, around).map(({ level, text }) => `${level}: ${text}`)
  }
  t.strictSame(told(null, {}), [])
  const fed = { isListening: true, changes: 0, targets: 0, failures: 0, reconnects: 0, refusals: 0 }
  const young = { lines: 5, age: 60, holder: null }
  t.strictSame(told(null, { feed: { ...fed, outbox: null } }, { feed: { ...fed, outbox: young } }), [])
  t.match(told(null, { feed: { ...fed, isListening: false, outbox: null } }), [/^error: p: Postgres can't be asked/])
  t.strictSame(told(null, ...[700, 900].map((age) => ({ feed: { ...fed, outbox: { lines: 5, age, holder: 'the place "x"' } } }))),
    ['warning: The outbox in Postgres has 5 lines, the oldest is 15 minutes old. It waits for the place "x".'])
  t.strictSame(told({ servers: [server({ memory: 95 })] }, {}, {}), [])
  t.match(told({ status: 'reconnecting' }), [/^error: This process is not connected to Redis \(reconnecting\)/])
  t.match(told({ servers: [server()] }), [/^error: Redis a:1 is full and evicts nothing \(noeviction\)/])
  t.match(told({ servers: [server({ error: 'late' })] }), [/^error: Redis a:1 can't be asked: late\.$/])
  t.strictSame(told({ servers: [server({ policy: 'allkeys-lru' })] }), [], 'full, but nothing went yet')
  t.match(told({ servers: [server({ policy: 'allkeys-lru', evicted: 1 })] }), [/^warning: Redis a:1 is full and evicts by allkeys-lru/])
  for (const unlimited of [{ maxMemory: 0 }, { maxMemory: null }, { memory: null }]) {
    t.strictSame(told({ servers: [server(unlimited)] }), [])
  }
  const tier = { entries: 0, bytes: 0, hits: 0, isLive: false, delay: null, drops: 1 }
  const evicting = { servers: [server({ policy: 'allkeys-lru', evicted: 1 })] }
  const all = told(evicting, { tier }, { tier: { ...tier, isLive: true }, journal: 3 }, { breaker: 'open' })
  t.match(all, [
    /^error: p: 3 invalidations could not be told to Redis yet/, /^error: p: the store has failed too often/,
    /^warning: Redis a:1/, /^warning: p: its in-process tier serves nothing/
  ], 'errors first')
  t.equal(all.length, 4)
  warnings = [{ check: 'shared-key', route: 'GET /a', message: 'two routes may make one key' }]
  t.strictSame(told(null, {}), ['warning: two routes may make one key.'])
})

function overview (heard: OverviewParts['heard'], more: Partial<OverviewParts> = {}): Overview {
  return overviewOf({ name: 'n', prefix: 'shop', heard, own: 'one', alone: null, redis: null, warnings: [], now: 5 * STEP, only: null, route: null, ...more })
}

t.test('reports put together', async (t) => {
  const one = report('one', stats({
    a: route({
      hits: 3, misses: 1, stale: 1, collapsed: 2, stores: 1, bytes: 100, bypasses: { user: 2 }, refusals: { size: 1 }
    })
  }, {
    total: route({ hits: 3, misses: 1, bypasses: { user: 2 } }),
    invalidations: 2,
    invalidated: 5,
    invalidationsFailed: 1,
    flights: 1,
    waiting: 4
  }), {
    times: { a: { hit: histogram(1, 1, 1).counts, miss: histogram(50).counts } },
    past: { routes: ['a'], steps: [[5, [0, 3, 1, 2]]] }
  })
  const two = report('two', stats({
    a: route({ hits: 1, misses: 3, bypasses: { user: 1, cookie: 7 }, refusals: { size: 2 }, errors: 1 }),
    b: route({ misses: 1 })
  }, {
    values: route({ hits: 2 }), invalidations: 1, total: route({ hits: 3, misses: 4, bypasses: { user: 1, cookie: 7 } })
  }), {
    times: { a: { hit: histogram(100).counts, miss: [] } },
    past: { routes: ['x', 'a'], steps: [[4, [1, 1, 1, 1]], [5, [1, 1, 2, 7, 0, 9, 9, 9]]] }
  })
  const heard = [{ age: 0, report: one }, { age: 1_500, report: two }]
  const both = overview(heard)
  t.match(both.total, { route: null, hits: 6, misses: 5, requests: 21, bypassed: 10, refused: 3 })
  t.match(both.total, { stale: 1, collapsed: 2, stores: 1, bytes: 100, errors: 1 })
  t.equal(both.total.hitRate, 6 / 11)
  t.strictSame(both.routes.map(({ route, requests, hits, misses }) => [route, requests, hits, misses]), [
    ['a', 18, 4, 4], ['getOrSet', 2, 2, 0], ['b', 1, 0, 1]
  ])
  const a = both.routes.find(({ route }) => route === 'a')!
  t.equal(a.hitRate, 0.5)
  const quantiles = { p50: histogram(1, 1, 1, 100).quantile(0.5), p99: histogram(100).quantile(1) }
  t.strictSame(a.hit, quantiles, 'percentiles of all durations, not of percentiles')
  t.strictSame(a.miss, { p50: histogram(50).quantile(0.5), p99: histogram(50).quantile(0.5) })
  t.strictSame(both.routes.find(({ route }) => route === 'b')!.hit, { p50: null, p99: null })
  t.strictSame(both.reasons, [
    { route: 'a', kind: 'bypass', reason: 'cookie', words: BYPASS_WORDS.cookie, count: 7 },
    { route: 'a', kind: 'bypass', reason: 'user', words: BYPASS_WORDS.user, count: 3 },
    { route: 'a', kind: 'refusal', reason: 'size', words: REFUSAL_WORDS.size, count: 3 }
  ])
  t.strictSame(both.invalidations, { told: 3, failed: 1, entries: 5 })
  t.match(both.processes, [
    { id: 'one', process: 'process one', isThis: true, age: 0, requests: 6, hitRate: 0.75, flights: 1, waiting: 4, tier: null },
    { id: 'two', isThis: false, age: 1.5, requests: 15, hitRate: 3 / 7 }
  ])
  const { hits, misses, bypasses } = both.curve
  t.strictSame([hits, misses, bypasses].map((list) => list.slice(-2)), [[1, 13], [1, 12], [1, 18]])

  const alone = overview(heard, { only: 'two', route: 'a' })
  t.match(alone.total, { hits: 3, misses: 4, requests: 15 })
  t.equal(alone.processes.length, 2, 'the others can still be chosen')
  t.strictSame(alone.curve.hits.slice(-2), [1, 1])
  t.strictSame(alone.invalidations, { told: 1, failed: 0, entries: 0 })
  const nobody = overview(heard, { only: '__proto__', route: 'constructor' })
  t.match(nobody.total, { hits: 0, requests: 0, hitRate: 0, hit: { p50: null } })
  t.strictSame([nobody.routes, nobody.reasons], [[], []])
  t.notOk(overview([{ age: 0, report: one }]).routes.some(({ route }) => route === 'getOrSet'), 'who has no values is not shown any')
})

t.test('names that objects have anyway', async (t) => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
  const all = JSON.parse(`{${names.map((name) => `"${name}":1`).join(',')}}`) as Record<string, number>
  const routes = JSON.parse(`{${names.map((name) => `"${name}":${JSON.stringify(route({ hits: 1, bypasses: all, refusals: all }))}`).join(',')}}`)
  const odd = report('odd', stats(routes), { past: { routes: names, steps: [[5, names.flatMap((_, i) => [i, 1, 0, 0])]] } })
  t.ok(isReport(JSON.parse(JSON.stringify(odd))))
  const { routes: shown, reasons, curve, total } = overview([{ age: 0, report: JSON.parse(JSON.stringify(odd)) }], { route: '__proto__' })
  t.strictSame(shown.map(({ route, hits, hit }) => [route, hits, hit.p50]), names.map((name) => [name, 1, null]))
  t.equal(total.bypassed, 16)
  t.equal(reasons.length, 32)
  t.ok(reasons.every(({ reason, words }) => words === reason), 'a reason without words is its own')
  t.equal(curve.hits.at(-1), 1)
  t.equal(({} as { hits?: unknown }).hits, undefined)
})

t.test('what is no report', async (t) => {
  const tier = { entries: 0, bytes: 0, hits: 0, isLive: true, delay: null, drops: 0 }
  const right = report('one', stats({ a: route({ hits: 1, bypasses: { user: 1 } }) }, { tier }), {
    times: { a: { hit: [1, 2], miss: [] } }, past: { routes: ['a'], steps: [[5, [0, 1, 0, 0]]] }
  })
  t.ok(isReport(right))
  t.ok(isReport({ ...right, later: 'more' }), 'another build may say more')
  t.ok(isReport({ ...right, stats: { ...right.stats, tier: null } }))
  const counts = { isListening: true, changes: 0, targets: 0, failures: 0, reconnects: 0, refusals: 0 }
  const feed = { ...counts, outbox: { lines: 1, age: null, holder: null } }
  for (const good of [undefined, null, feed, { ...feed, outbox: null }]) t.ok(isReport({ ...right, feed: good }))
  for (const bad of [1, {}, { ...feed, refusals: 'x' }, { ...feed, outbox: { lines: 'x', age: 1, holder: null } }]) t.notOk(isReport({ ...right, feed: bad }))
  // Each part of it, missing or of another kind.
  const places = pathsOf(right).filter((path) => !path.startsWith('stats.tier.delay'))
  t.ok(places.length > 70)
  for (const path of places) {
    for (const bad of [undefined, null, 'x', '1', -1, NaN, Infinity, true, [null], { x: null }, { x: 'y' }]) {
      const damaged = structuredClone(right)
      const isSame = put(damaged, path.split('.'), bad)
      if (isSame || isFine(path, bad)) continue
      if (isReport(damaged)) t.fail(`${path}: ${JSON.stringify(bad) ?? String(bad)}`)
    }
  }
  for (const other of [null, 1, 'x', [], {}, { form: FORM }, { ...right, form: FORM + 1 }, { ...right, form: String(FORM) }]) t.notOk(isReport(other))
})

/** Texts are any texts, and of a record or a list each one may be absent. */
function isFine (path: string, value: unknown): boolean {
  return (path === 'stats.tier' && value === null) || (path === 'stats.tier.isLive' && value === true) ||
    (typeof value === 'string' && /^(?:id|process|past\.routes\.0)$/.test(path)) ||
    (value === undefined && /^stats\.routes\.a$|\.user$|^times\.a$|\.\d$/.test(path))
}

/** Of each value in it: the names that lead there. */
function pathsOf (value: object, before = ''): string[] {
  return Object.entries(value).flatMap(([name, inner]) => {
    const path = before + name
    return typeof inner === 'object' && inner !== null ? [path, ...pathsOf(inner, `${path}.`)] : [path]
  })
}

/** Whether that is what was there. */
function put (object: object, [name = '', ...rest]: string[], value: unknown): boolean {
  const record = object as Record<string, unknown>
  if (rest.length > 0) return put(record[name] as object, rest, value)
  if (record[name] === value) return true
  if (value === undefined) Reflect.deleteProperty(record, name)
  else record[name] = value
  return false
}

t.test('a recorder hears of its own cache, and forgets', async (t) => {
  let now = 1_000_000_000
  const cache = { stats: () => stats({ [ROUTE]: route() }) } as unknown as RouteCache
  const recorder = new Recorder(cache, () => now)
  const hit = (duration: number | null, type = 'hit', of: object = cache, route: string | null = ROUTE): void => {
    channels.lookup.publish({ cache: of, prefix: 'x', route, request: null, outcome: { type }, duration })
  }
  const run = (duration: number, why: string, of: object = cache): void => {
    channels.handler.publish({ cache: of, prefix: 'x', route: ROUTE, key: null, why, status: 200, duration })
  }
  hit(1)
  hit(2, 'stale')
  hit(3, 'miss')
  hit(3, 'bypass')
  hit(null)
  hit(3, 'hit', {})
  hit(4, 'hit', cache, null)
  run(50, 'miss')
  run(60, 'bypass')
  run(60, 'refresh')
  run(60, 'miss', {})
  t.strictSame(recorder.report.times, {
    [ROUTE]: { hit: histogram(1, 2).counts, miss: histogram(50).counts }, getOrSet: { hit: histogram(4).counts, miss: [] }
  })
  t.ok(isReport(JSON.parse(JSON.stringify(recorder.report))), 'what it tells is a report')
  t.match(recorder.report.process, new RegExp(`process ${process.pid}$`))
  const times = (): unknown => recorder.report.times[ROUTE]!.hit
  now += 299_999
  t.strictSame(times(), histogram(1, 2).counts)
  now += 1
  t.strictSame(times(), histogram(1, 2).counts)
  hit(8)
  t.strictSame(times(), histogram(1, 2, 8).counts)
  now += 300_000
  t.strictSame(times(), histogram(8).counts)
  now += 300_000
  t.strictSame(times(), [])
  recorder.end()
  hit(1)
  t.strictSame(times(), [], 'nobody listens any more')
  t.notOk(channels.lookup.hasSubscribers || channels.handler.hasSubscribers)
  const another = { stats: cache.stats } as unknown as RouteCache
  const [again, other] = [new Recorder(cache, () => now), new Recorder(another, () => now)]
  t.equal(again.id, recorder.id, 'of the same cache')
  t.not(other.id, recorder.id)
  for (const one of [again, other]) one.end()
})

t.test('the page sets text only, and has nothing inline or from elsewhere', async (t) => {
  const folder = new URL('../../plugin/extras/dashboard/public/', import.meta.url)
  const files = new Map<string, string>()
  for (const name of await readdir(folder)) files.set(name, await readFile(new URL(name, folder), 'utf8'))
  t.ok(files.size >= 5)
  const risks: Array<[of: RegExp, risk: RegExp]> = [
    [/\.js$/, /(?:inner|outer)HTML\s*\+?=(?!=)|insertAdjacentHTML|setHTML|document\.write|createContextualFragment|DOMParser|srcdoc/],
    [/\.js$/, /\beval\b|new Function|import\s*\(|set(?:Timeout|Interval)\(['"`]|javascript:|localStorage|document\.cookie|\.href\b/],
    [/\.(?:html|svg)$/, /\son\w+\s*=|\sstyle\s*=|<style|<script(?![^>]*\ssrc=)|javascript:|<iframe|<base/i],
    [/./, /(?:https?:)?\/\/[\w-]+\.\w|@import|url\((?!['"]?data:)/]
  ]
  for (const [name, text] of files) {
    const code = text.replaceAll('http://www.w3.org/2000/svg', '').replaceAll(/^\s*\/\/ .*$/gm, '')
    for (const [of, risk] of risks) if (of.test(name)) t.notMatch(code, risk, `${name}: ${String(risk).slice(0, 40)}`)
  }
  const bad = ['place.innerHTML = x', 'a.innerHTML += x', 'a.insertAdjacentHTML(x)', 'new Function("x")', 'eval(x)', 'location.href = x']
  for (const line of bad) t.ok(risks.some(([of, risk]) => of.test('a.js') && risk.test(line)), line)
})
