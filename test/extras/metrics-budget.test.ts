// How many series an app's metrics make, as docs/metrics.md says it: by its formula, and in its table of an app with 200
// routes. A scrape is paid for by each series, at each scrape.
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { readFile } from 'node:fs/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { Registry } from 'prom-client'
import t from 'tap'
import { ROUTE_BUCKETS, BUCKETS } from '../../plugin/extras/metrics/instruments.js'
import { openTelemetry, type OpenTelemetryOptions } from '../../plugin/extras/opentelemetry/index.js'
import { prometheusMetrics, type PrometheusOptions } from '../../plugin/extras/prometheus/index.js'
import type { RouteStats } from '../../plugin/telling/stats.js'
import { assertHit } from '../../plugin/extras/testing/index.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'
import { until } from '../helpers/until.js'
import { parseExposition, type Metric } from './exposition.js'

const ROUTES = 200
/** Of one histogram: its bounds, the infinite one, sum and count. */
const ofHistogram = (bounds: readonly number[]): number => bounds.length + 3

async function scraped (register: Registry): Promise<{ series: number, bytes: number, metrics: Map<string, Metric> }> {
  const text = await register.metrics()
  const metrics = parseExposition(text)
  const series = [...metrics.values()].reduce((sum, { samples }) => sum + samples.length, 0)
  return { series, bytes: Buffer.byteLength(text), metrics }
}

/** Each route has had a miss, a hit and a bypass. */
async function use (app: CachedApp, routes: number): Promise<void> {
  for (let i = 0; i < routes; i++) app.get(`/route-${i}/:id`, { cache: { key: `route-${i}:{id}` } }, async () => 'x')
  for (let i = 0; i < routes; i++) await app.inject(`/route-${i}/1`)
  await settled(app)
  for (let i = 0; i < routes; i++) {
    assertHit(await app.inject(`/route-${i}/1`))
    await app.inject({ url: `/route-${i}/1`, headers: { authorization: 'Bearer x' } })
  }
}

t.test('200 routes, as the guide\'s table has it', async (t) => {
  const guide = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  const rows = [...guide.matchAll(/^\| (?:`([^`]+)`|default) \| ([\d,]+) \| ([\d,]+) kB \|$/gm)]
  const told = new Map(rows.map(([, option = '', series, kilobytes]) => [option, [series, kilobytes].map((text) => Number(text!.replace(',', '')))]))
  const forms: Record<string, PrometheusOptions> = {
    '': {},
    'labels: { route: true }': { labels: { route: true } },
    'histograms: false': { histograms: false },
    'labels: { route: false }': { labels: { route: false } }
  }
  t.strictSame([...told.keys()].sort(), Object.keys(forms).sort())
  const app = await cachedApp(t, { prefix: 'shop' })
  const registers = new Map<string, Registry>()
  for (const [name, form] of Object.entries(forms)) {
    const register = new Registry()
    await app.register(prometheusMetrics, { register, ...form })
    registers.set(name, register)
  }
  await use(app, ROUTES)
  for (const [name, register] of registers) {
    const { series, bytes } = await scraped(register)
    t.equal(series, told.get(name)![0], `series: ${name}`)
    const kilobytes = told.get(name)![1]!
    t.ok(Math.abs(bytes / 1000 - kilobytes) < 1 + kilobytes / 20, `${bytes} bytes: ${name}`)
  }
  t.ok((await scraped(registers.get('')!)).series < ROUTES * 20, 'the budget of a route: 20 series')
})

t.test('the formula, where everything happens', async (t) => {
  let now = 1_000_000
  const register = new Registry()
  const app = await cachedApp(t, { prefix: 'shop', now: () => now })
  await app.register(prometheusMetrics, { register })
  let status = 200
  const life = { ttl: 10, staleWhileRevalidate: 10, staleIfError: 1000, tags: ['t'] }
  app.get('/a/:id', { cache: { key: 'a:{id}', ...life } }, async (_request, reply) => {
    await turn()
    return await reply.code(status).send('x')
  })
  app.get('/b', { cache: { key: 'b' } }, async (_request, reply) => { reply.noCache().send('x') })
  app.get('/unused', { cache: { key: 'unused' } }, async () => 'x')
  const ask = async (url: string, headers = {}): Promise<void> => {
    await app.inject({ url, headers })
    await settled(app)
  }
  t.equal((await scraped(register)).series, 7, 'no request yet')
  await ask('/a/1')
  t.equal((await scraped(register)).series, expected(app), 'one miss')
  await Promise.all([ask('/a/2'), ask('/a/2'), ask('/b')])
  await ask('/a/1', { authorization: 'Bearer x' })
  await ask('/a/1', { 'cache-control': 'no-store' })
  now += 15_000
  await ask('/a/1')
  await until(async () => app.cache.stats().total.refreshes === 1, 'it is not refreshed')
  await settled(app)
  await app.cache.invalidate({ tags: ['t'] })
  await ask('/a/1')
  now += 100_000
  status = 503
  await ask('/a/1')
  await app.cache.getOrSet('n', {}, () => 1)
  await settled(app)
  const { total } = app.cache.stats()
  const { collapsed, stale, rescued, outdated, refreshes } = total
  t.strictSame(Object.entries({ collapsed, stale, rescued, outdated, refreshes }).filter(([, n]) => n === 0), [], 'the rare things happen')
  t.equal((await scraped(register)).series, expected(app))
})

/** By the guide's formula, from what `stats()` counts. */
function expected (app: CachedApp): number {
  const { routes, values, total, invalidations } = app.cache.stats()
  const used = [...Object.values(routes), values].filter((route) => counted(route) > 0 || route.misses > 0)
  const { hits, stale, misses, bypasses } = total
  const outcomes = [hits - stale, stale, misses, Object.keys(bypasses).length].filter((n) => n > 0)
  const once = ofHistogram(BUCKETS)
  return used.reduce((sum, route) => sum + 3 + counted(route) + ofHistogram(ROUTE_BUCKETS), 0) +
    7 + once * outcomes.length + once * Number(total.stores > 0) + once * Number(invalidations > 0)
}

function counted (route: RouteStats): number {
  const { collapsed, stale, stores, bytes, rescued, refreshes, sets, outdated, unreadable } = route
  const figures = [collapsed, stale, stores, bytes, rescued, refreshes, sets, outdated, unreadable].filter((n) => n > 0)
  return figures.length + Object.keys(route.bypasses).length + Object.keys(route.refusals).length
}

t.test('with the label, and without: the same figures', async (t) => {
  const [of, without] = [new Registry(), new Registry()]
  const app = await cachedApp(t, { prefix: 'shop' })
  await app.register(prometheusMetrics, { register: of, labels: { route: true } })
  await app.register(prometheusMetrics, { register: without, labels: { route: false } })
  await use(app, 3)
  const [{ metrics: all }, { metrics: sums }] = await Promise.all([scraped(of), scraped(without)])
  t.strictSame([...all.keys()], [...sums.keys()])
  const counts = (metrics: Map<string, Metric>): Record<string, number> => {
    const sum: Record<string, number> = {}
    const samples = [...metrics.values()].flatMap((metric) => metric.samples)
    for (const { name, labels: { route, cache, le, ...labels }, value } of samples) {
      if (le !== undefined || name.endsWith('_sum')) continue
      const series = `${name} ${Object.values(labels).join(' ')}`
      sum[series] = (sum[series] ?? 0) + value
    }
    return sum
  }
  t.strictSame(counts(all), counts(sums))
  t.match(counts(all), { 'route_cache_requests_total miss ': 3, 'route_cache_lookup_duration_seconds_count hit': 3 })
  const labels = (metrics: Map<string, Metric>): Set<string> =>
    new Set([...metrics.values()].flatMap(({ samples }) => samples.flatMap(({ labels }) => Object.keys(labels))))
  t.ok(labels(all).has('route'))
  t.notOk(labels(sums).has('route'))
  t.ok(all.get('route_cache_lookup_duration_seconds')!.samples.every(({ labels }) => 'route' in labels))
})

t.test('caches that share a registry have metrics of one form', async (t) => {
  const register = new Registry()
  const open = async (prefix: string, options: PrometheusOptions): Promise<void> => {
    const app = await cachedApp(t, { prefix })
    await app.register(prometheusMetrics, { register, ...options })
  }
  await open('one', { labels: { route: false } })
  await open('two', { labels: { route: false }, histograms: true })
  await t.rejects(open('three', {}), { code: 'FRC_OPTION', message: /labels is undefined; .*was said for another cache/ })
  await t.rejects(open('four', { labels: { route: false }, histograms: false }), { code: 'FRC_OPTION', message: /histograms is false; / })
  await t.rejects(open('five', { labels: { route: false }, buckets: [1] }), { code: 'FRC_OPTION', message: /buckets is / })
  await open('six', { prefix: 'other_' })
})

/** Collects when it is asked to. */
class Reader extends MetricReader {
  protected override async onForceFlush (): Promise<void> {}
  protected override async onShutdown (): Promise<void> {}
}

t.test('OpenTelemetry: the same', async (t) => {
  const forms: Array<[OpenTelemetryOptions, number, number]> = [
    // Points, each histogram being one, and how many of them are histograms: 3 of lookups, 1 of fills, and the handlers'.
    [{}, 7 + ROUTES * 6 + 3 + 1 + ROUTES, 3 + 1 + ROUTES],
    [{ labels: { route: true } }, 7 + ROUTES * 6 + ROUTES * 5, ROUTES * 5],
    [{ labels: { route: false } }, 7 + 6 + 3 + 1 + 1, 3 + 1 + 1],
    [{ histograms: false }, 7 + ROUTES * 6, 0]
  ]
  const app = await cachedApp(t, { prefix: 'shop' })
  const readers = await Promise.all(forms.map(async ([form]) => {
    const reader = new Reader()
    const provider = new MeterProvider({ readers: [reader] })
    t.teardown(async () => { await provider.shutdown() })
    await app.register(openTelemetry, { meter: provider.getMeter('test'), ...form })
    return reader
  }))
  await use(app, ROUTES)
  for (const [i, reader] of readers.entries()) {
    const { resourceMetrics } = await reader.collect()
    const { metrics } = resourceMetrics.scopeMetrics[0]!
    const points = metrics.flatMap(({ dataPoints }) => [...dataPoints] as Array<{ value: unknown }>)
    const histograms = points.filter(({ value }) => typeof value === 'object')
    t.strictSame([points.length, histograms.length], forms[i]!.slice(1), JSON.stringify(forms[i]![0]))
  }
  const wrong: Array<[object, RegExp]> = [
    [{ labels: [] }, /labels is .*; it is \{ route \}/],
    [{ labels: { routes: false } }, /labels\.routes is false; there is no such option; there are: route/],
    [{ histograms: 0 }, /histograms is 0; it is true or false/]
  ]
  for (const [options, message] of wrong) {
    await t.rejects(async () => { await (await cachedApp(t)).register(openTelemetry, options) }, { code: 'FRC_OPTION', message })
  }
})
