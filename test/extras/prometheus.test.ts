// The metrics as Prometheus scrapes them: names, types and labels by the rules; values that are exactly those of what was
// done; and the dashboard and the guide name the metrics that there are.
import fastify from 'fastify'
import { readFile } from 'node:fs/promises'
import { Counter, Registry, register as globalRegistry } from 'prom-client'
import t, { type Test } from 'tap'
import { prometheusMetrics, type PrometheusOptions } from '../../plugin/extras/prometheus/index.js'
import { attachFeed } from '../../plugin/extras/metrics/feed.js'
import { BUCKETS, readings, timings } from '../../plugin/extras/metrics/instruments.js'
import { channels } from '../../plugin/telling/events.js'
import routeCache, { type CacheEvents, type RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { lint, parseExposition, type Metric } from './exposition.js'

/** An app whose metrics are in a registry of their own. */
async function measured (
  t: Test, options: RouteCacheOptions = {}, metrics: PrometheusOptions = {}
): Promise<{ app: CachedApp, register: Registry }> {
  const register = new Registry()
  const app = await cachedApp(t, { prefix: 'shop', ...options })
  await app.register(prometheusMetrics, { register, ...metrics })
  return { app, register }
}

async function scrape (register: Registry): Promise<Map<string, Metric>> {
  return parseExposition(await register.metrics())
}

/** The samples of a metric by their labels, but for those of the label `cache`; histograms: their counts. */
function valuesOf (metrics: Map<string, Metric>, name: string): Record<string, number> {
  const { samples, type } = metrics.get(name)!
  const counted = samples.filter((sample) => type !== 'histogram' || sample.name === `${name}_count`)
  return Object.fromEntries(counted.map(({ labels: { cache, ...rest }, value }) => [Object.values(rest).join(' ').trim(), value]))
}

t.test('values are those of what was done', async (t) => {
  let now = 1_000_000
  const { app, register } = await measured(t, { now: () => now })
  let took = 0
  const listener = (event: unknown): void => { took += (event as CacheEvents['handler']).duration }
  channels.handler.subscribe(listener)
  t.teardown(() => { channels.handler.unsubscribe(listener) })
  const handler = gate()
  let isBroken = false
  const life = { ttl: 10, staleWhileRevalidate: 10, staleIfError: 100 }
  app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users'], ...life } }, async (_request, reply) => {
    return isBroken ? await reply.code(503).send() : 'user'
  })
  app.get('/private', { cache: { key: 'private' } }, async (_request, reply) => { reply.noCache().send('x') })
  app.get('/slow', { cache: { key: 'slow' } }, async () => {
    await handler.wait()
    return 'slow'
  })
  for (const id of ['1', '2', '3', '1', '1', '2']) {
    await app.inject(`/users/${id}`)
    await settled(app)
  }
  await app.inject({ url: '/users/1', headers: { authorization: 'Bearer x' } })
  await app.inject('/private')
  await app.inject('/private')
  const waiting = [app.inject('/slow')]
  await handler.reached
  waiting.push(app.inject('/slow'), app.inject('/slow'))
  await until(async () => app.cache.stats().waiting === 2, 'they do not wait')
  const between = await scrape(register)
  t.strictSame([valuesOf(between, 'route_cache_flights'), valuesOf(between, 'route_cache_waiting_requests')], [{ '': 1 }, { '': 2 }])
  handler.open()
  await Promise.all(waiting)
  await app.cache.getOrSet('n', {}, () => 1)
  await until(async () => app.cache.stats().values.stores === 1, 'it is not stored')
  await app.cache.getOrSet('n', {}, () => 1)
  await app.cache.invalidate(['user:3', 'none'])
  await t.rejects(app.cache.invalidate({ keys: [] as string[], tags: 5 as unknown as string[] }))
  now += 12_000
  await app.inject('/users/1')
  await until(async () => app.cache.stats().total.refreshes === 1, 'it is not refreshed')
  await settled(app)
  isBroken = true
  now += 50_000
  t.match((await app.inject('/users/2')).headers['cache-status'], /stale-if-error/)
  await settled(app)
  await app.cache.invalidate({ tags: ['users'] })
  isBroken = false
  await app.inject('/users/2')
  await settled(app)

  const metrics = await scrape(register)
  const values = (name: string): Record<string, number> => valuesOf(metrics, `route_cache_${name}`)
  const [users, secret, slow] = ['GET /users/:id', 'GET /private', 'GET /slow']
  t.strictSame(values('requests_total'), {
    [`${users} hit`]: 3,
    [`${users} stale`]: 1,
    [`${users} miss`]: 5,
    [`${users} bypass authorization`]: 1,
    [`${secret} hit`]: 0,
    [`${secret} miss`]: 2,
    [`${slow} hit`]: 0,
    [`${slow} hit collapsed`]: 2,
    [`${slow} miss`]: 1,
    'getOrSet hit': 1,
    'getOrSet miss': 1
  })
  t.strictSame(values('rescued_total'), { [users!]: 1 })
  t.strictSame(values('fills_total'), {
    [`${users} stored`]: 5,
    [`${users} refused status`]: 1,
    [`${secret} refused no-cache-called`]: 2,
    [`${slow} stored`]: 1,
    'getOrSet stored': 1
  })
  t.strictSame(values('refreshes_total'), { [users!]: 1 })
  t.strictSame(values('outdated_total'), { [users!]: 1 })
  const { routes } = app.cache.stats()
  t.equal(values('stored_bytes_total')[users!], routes[users!]!.bytes)
  t.ok(routes[users!]!.bytes > 0)
  t.strictSame(values('invalidations_total'), { told: 2, failed: 0 })
  t.strictSame(values('invalidated_entries_total'), { '': 1 })
  for (const name of ['journal_targets', 'breaker_open', 'flights', 'waiting_requests']) t.strictSame(values(name), { '': 0 }, name)

  // Durations: as many as there was what they are of.
  t.strictSame(values('lookup_duration_seconds'), { hit: 6, miss: 9, stale: 1, bypass: 1 })
  t.strictSame(values('handler_duration_seconds'), { [users!]: 7, [secret!]: 2, [slow!]: 1, getOrSet: 1 })
  t.strictSame(values('fill_duration_seconds'), { '': 7 }, 'what the store was asked about')
  t.strictSame(values('invalidation_duration_seconds'), { '': 2 })
  const sums = metrics.get('route_cache_handler_duration_seconds')!.samples.filter(({ name }) => name.endsWith('_sum'))
  t.equal(sums.length, 4)
  const all = sums.reduce((sum, { value }) => sum + value, 0)
  t.ok(took > 0 && Math.abs(all - took / 1000) < 1e-9, 'what the events say, in seconds')
})

t.test('the rules for names, types and labels', async (t) => {
  const { app, register } = await measured(t)
  app.get('/a/:id', { cache: true }, async () => 'x')
  await app.inject('/a/1?x=secret')
  await settled(app)
  await app.inject('/a/1?x=secret')
  await app.cache.getOrSet('secret', {}, () => 1)
  await app.cache.invalidate('secret')
  const metrics = await scrape(register)
  t.strictSame(lint(metrics.values()), [])
  t.strictSame([...metrics.values()].map(({ name, type }) => [name, type]), [
    ...readings, ...Object.values(timings)
  ].map(({ kind, name, unit }) => {
    const ends: Record<string, string> = { s: '_seconds', By: '_bytes' }
    return [`route_cache_${name.replaceAll('.', '_')}${ends[unit] ?? ''}${kind === 'counter' ? '_total' : ''}`, kind]
  }))
  const samples = [...metrics.values()].flatMap(({ samples }) => samples)
  t.ok(samples.every(({ labels }) => labels.cache === 'shop'), 'the cache is named')
  t.notMatch(JSON.stringify(samples), /secret/, 'no label has a URL or a key')
  const bounds = metrics.get('route_cache_lookup_duration_seconds')!.samples
    .filter(({ name, labels }) => name.endsWith('_bucket') && labels.outcome === 'hit').map(({ labels: { le } }) => le)
  t.strictSame(bounds, [...BUCKETS.map(String), '+Inf'])
})

t.test('what Postgres tells, while it does', async (t) => {
  const { app, register } = await measured(t)
  await app.ready()
  t.strictSame(valuesOf(await scrape(register), 'route_cache_postgres_listening'), {})
  const outbox = { lines: 7, age: 90, holder: 'somebody' }
  const feed = { isListening: false, changes: 1, targets: 2, failures: 3, reconnects: 4, refusals: 5, outbox }
  const detach = attachFeed(app.cache, () => feed)
  const told = await scrape(register)
  const values = ['listening', 'changes_total', 'targets_total', 'failures_total', 'reconnects_total', 'refusals_total', 'outbox_lines', 'outbox_age_seconds']
    .map((name) => valuesOf(told, `route_cache_postgres_${name}`)[''])
  t.strictSame(values, [0, 1, 2, 3, 4, 5, 7, 90])
  detach()
  t.strictSame(valuesOf(await scrape(register), 'route_cache_postgres_refusals_total'), {})
})

t.test('the tier, the breaker and the journal', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const { app, register } = await measured(t, { redis, memory: {}, deadline: '100ms', writeDeadline: '100ms' })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.ready()
  await until(async () => app.cache.stats().tier?.isLive === true, 'the tier is not live')
  await until(async () => {
    await app.inject('/')
    return app.cache.stats().tier!.hits > 0
  }, 'the tier has no hit')
  const { tier } = app.cache.stats()
  const live = await scrape(register)
  const { tier: later } = app.cache.stats()
  t.strictSame(valuesOf(live, 'route_cache_tier_live'), { '': 1 })
  t.strictSame(valuesOf(live, 'route_cache_tier_hits_total'), { '': tier!.hits })
  t.strictSame(valuesOf(live, 'route_cache_tier_entries'), { '': tier!.entries })
  t.strictSame(valuesOf(live, 'route_cache_tier_size_bytes'), { '': tier!.bytes })
  t.strictSame(valuesOf(live, 'route_cache_tier_drops_total'), { '': 0 })
  const delay = valuesOf(live, 'route_cache_tier_delay_seconds')
  t.strictSame(Object.keys(delay), ['p50', 'p99', 'max'])
  const inSeconds = (delay: object): number[] => Object.values(delay).map((time: number) => time / 1000)
  // A heartbeat may have come meanwhile.
  t.ok([tier!, later!].some(({ delay: told }) => String(inSeconds(told!)) === String(Object.values(delay))))
  await server.pause()
  await until(async () => {
    await Promise.all(Array.from({ length: 10 }, async () => await app.inject('/')))
    return app.cache.stats().breaker === 'open'
  }, 'it did not open')
  await t.rejects(app.cache.invalidate(['a', 'b']), { code: 'FRC_DEADLINE' })
  const ill = await scrape(register)
  t.strictSame(valuesOf(ill, 'route_cache_breaker_open'), { '': 1 })
  t.strictSame(valuesOf(ill, 'route_cache_journal_targets'), { '': 2 })
  t.strictSame(valuesOf(ill, 'route_cache_invalidations_total'), { told: 0, failed: 1 })
  t.strictSame(valuesOf(ill, 'route_cache_tier_live'), { '': 0 })
  t.ok(valuesOf(ill, 'route_cache_errors_total')['GET /']! > 0)
  server.resume()
  await until(async () => valuesOf(await scrape(register), 'route_cache_tier_live')[''] === 1, 'it is not live again')
  t.strictSame(valuesOf(await scrape(register), 'route_cache_tier_drops_total'), { '': 1 })
})

t.test('several caches in one registry, beside metrics of the app\'s own', async (t) => {
  const register = new Registry()
  const own = new Counter({ name: 'own_total', help: 'The app\'s own.', registers: [register] })
  own.inc()
  const open = async (prefix: string, options: PrometheusOptions = {}): Promise<CachedApp> => {
    const app = await cachedApp(t, { prefix })
    await app.register(prometheusMetrics, { register, ...options })
    app.get('/', { cache: { key: 'k' } }, async () => 'x')
    return app
  }
  const [one, two] = [await open('one'), await open('two')]
  for (const app of [one, two, two]) {
    await app.inject('/')
    await settled(app)
  }
  const misses = async (): Promise<object> => {
    const metric = (await scrape(register)).get('route_cache_requests_total')
    const samples = metric?.samples.filter(({ labels }) => labels.outcome !== 'stale' && labels.route === 'GET /' && labels.reason === '')
    return Object.fromEntries(samples?.map(({ labels, value }) => [`${labels.cache} ${labels.outcome}`, value]) ?? [])
  }
  t.strictSame(await misses(), { 'one hit': 0, 'one miss': 1, 'two hit': 1, 'two miss': 1 })
  const lookups = (await scrape(register)).get('route_cache_lookup_duration_seconds')!.samples
    .filter(({ name }) => name.endsWith('_count')).map(({ labels, value }) => `${labels.cache} ${labels.outcome} ${value}`)
  t.strictSame(lookups, ['one miss 1', 'two miss 1', 'two hit 1'], 'each hears of its own')
  await t.rejects(open('one'), { code: 'FRC_OPTION', message: /name is "one"; .* a name of its own/ })
  const third = await open('one', { name: 'third' })
  await third.inject('/')
  t.match(await misses(), { 'third hit': 0, 'third miss': 1 })
  await third.close()
  await one.close()
  t.strictSame(await misses(), { 'two hit': 1, 'two miss': 1 }, 'closed ones are left out')
  await two.close()
  const left = await scrape(register)
  t.strictSame([...left.keys()], ['own_total'], 'with the last one the metrics go')
  t.notOk(channels.lookup.hasSubscribers, 'and nobody listens')
  const again = await open('one')
  await again.inject('/')
  t.match(await misses(), { 'one miss': 1 })
})

t.test('a route of its own, another prefix and other buckets', async (t) => {
  const { app } = await measured(t, {}, { path: '/metrics', prefix: 'my_', buckets: [0.5, 1] })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  const { statusCode, headers, body } = await app.inject('/metrics')
  t.equal(statusCode, 200)
  t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
  t.equal(headers['cache-status'], undefined)
  const metrics = parseExposition(body)
  t.ok([...metrics.keys()].every((name) => name.startsWith('my_')))
  const bounds = metrics.get('my_lookup_duration_seconds')!.samples.map(({ labels }) => labels.le).filter(Boolean)
  t.strictSame(bounds, ['0.5', '1', '+Inf'])
})

t.test('by default: the global registry, and the cache of the instance; or that of another decorator', async (t) => {
  t.teardown(() => { globalRegistry.clear() })
  const app = fastify()
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { prefix: 'one' })
  await app.register(prometheusMetrics)
  t.match(await globalRegistry.metrics(), /^route_cache_breaker_open\{cache="one"\} 0$/m)
  const other = fastify()
  t.teardown(async () => { await other.close() })
  await other.register(routeCache, { prefix: 'two', decorator: 'pages' })
  await t.rejects(async () => { await other.register(prometheusMetrics) }, { code: 'FRC_OPTION', message: /cache is undefined; .*decorator/ })
})

t.test('another decorator', async (t) => {
  const register = new Registry()
  const app = fastify()
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { prefix: 'two', decorator: 'pages' })
  const { pages } = app as unknown as { pages: typeof app.cache }
  await app.register(prometheusMetrics, { cache: pages, name: 'pages', register })
  t.match(await register.metrics(), /^route_cache_breaker_open\{cache="pages"\} 0$/m)
})

t.test('wrong options are named, and what would be right', async (t) => {
  const wrong: Array<[object, RegExp]> = [
    [{ registry: 1 }, /registry is 1; there is no such option; there are: .*register/],
    [{ register: {} }, /register is .*; it is a Registry of prom-client/],
    [{ prefix: 'a-b' }, /prefix is "a-b"/],
    [{ buckets: [] }, /buckets is /],
    [{ buckets: [1, 1] }, /buckets is /],
    [{ path: 'metrics' }, /path is "metrics"; it begins with/],
    [{ name: '' }, /name is ""/],
    [{ labels: true }, /labels is true; it is \{ route \}/],
    [{ labels: null }, /labels is null; it is \{ route \}/],
    [{ labels: { route: 'no' } }, /labels\.route is "no"; it is true or false/],
    [{ labels: { outcome: false } }, /labels\.outcome is false; there is no such option; there are: route/],
    [{ histograms: [] }, /histograms is .*; it is true or false/],
    [{ cache: {} }, /cache is /]
  ]
  for (const [options, message] of wrong) {
    const app = await cachedApp(t)
    await t.rejects(async () => { await app.register(prometheusMetrics, options) }, { code: 'FRC_OPTION', message }, JSON.stringify(options))
  }
})

t.test('the dashboard asks for each metric, and for no other', async (t) => {
  const { register } = await measured(t)
  const text = await readFile(new URL('../../docs/grafana-dashboard.json', import.meta.url), 'utf8')
  const dashboard = JSON.parse(text) as Dashboard
  const asked = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  const named = new Set(asked.flatMap((expr) => expr.match(/route_cache_\w+/g) ?? []))
  const metrics = await register.getMetricsAsJSON()
  const ends = { histogram: '_bucket' } as Record<string, string>
  t.strictSame([...named].sort(), metrics.map(({ name, type }) => name + (ends[String(type)] ?? '')).sort())
  t.ok(asked.every((expr) => expr.split('(').length === expr.split(')').length && expr.includes('cache=~"$cache"')))
  const ids = dashboard.panels.map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length)
  const labels: readonly string[] = ['le', 'cache', ...[...readings, ...Object.values(timings)].flatMap(({ labels }) => labels)]
  const grouped = asked.flatMap((expr) => [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(', ')))
  t.strictSame(grouped.filter((label) => !labels.includes(label)), [], 'there are such labels')
})

interface Dashboard { panels: Array<{ id: number, targets?: Array<{ expr: string }> }> }

t.test('the guide\'s table has each metric with its type and labels', async (t) => {
  const guide = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  const rows = [...guide.matchAll(/^\| `(route_cache_\w+)` \| (\w+) \|([^|]*)\|/gm)]
  const { register } = await measured(t)
  const types = new Map((await register.getMetricsAsJSON()).map(({ name, type }) => [name, type as unknown as string]))
  const all = [...readings, ...Object.values(timings)]
  t.strictSame(rows.map(([, name, type]) => [name, type]), [...types])
  t.strictSame(rows.map(([, , , labels]) => [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label)), all.map(({ labels }) => [...labels]))
})
