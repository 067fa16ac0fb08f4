// The same instruments by OpenTelemetry's API, and what the cache did on the request's span, as an SDK's exporters get them.
import { context, metrics as metricsApi, trace as tracing } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { DataPointType, MeterProvider, MetricReader, type MetricData } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-base'
import t, { type Test } from 'tap'
import { BUCKETS, ROUTE_BUCKETS, readings, timings } from '../../plugin/extras/metrics/instruments.js'
import { openTelemetry, type OpenTelemetryOptions } from '../../plugin/extras/opentelemetry/index.js'
import { channels } from '../../plugin/telling/events.js'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { until } from '../helpers/until.js'

/** Collects when it is asked to. */
class Reader extends MetricReader {
  protected override async onForceFlush (): Promise<void> {}
  protected override async onShutdown (): Promise<void> {}
}

const exporter = new InMemorySpanExporter()
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
tracing.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
t.beforeEach(() => { exporter.reset() })

interface Measured { app: CachedApp, collect: () => Promise<MetricData[]> }

async function measured (t: Test, options: RouteCacheOptions = {}, others: OpenTelemetryOptions = {}): Promise<Measured> {
  const reader = new Reader()
  const provider = new MeterProvider({ readers: [reader] })
  t.teardown(async () => { await provider.shutdown() })
  const app = await cachedApp(t, { prefix: 'shop', ...options })
  await app.register(openTelemetry, { meter: provider.getMeter('test'), ...others })
  return { app, collect: async () => await collect(reader) }
}

async function collect (reader: Reader): Promise<MetricData[]> {
  const { resourceMetrics, errors } = await reader.collect()
  if (errors.length > 0) throw errors[0]
  return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
}

/** The values of a metric by their attributes, but for the name of the cache; histograms: their counts. */
function valuesOf (metrics: readonly MetricData[], name: string): Record<string, number> {
  const { dataPoints } = metrics.find(({ descriptor }) => descriptor.name === `route_cache.${name}`) ?? { dataPoints: [] }
  return Object.fromEntries(dataPoints.map(({ attributes: { cache, ...rest }, value }) => {
    const text = Object.values(rest).join(' ').trim()
    return [text, typeof value === 'number' ? value : value.count]
  }))
}

t.test('the instruments, and values that are those of what was done', async (t) => {
  const { app, collect } = await measured(t)
  app.get('/users/:id', { cache: { key: 'user:{id}' } }, async () => 'x')
  for (const id of ['1', '2', '1', '1']) {
    await app.inject(`/users/${id}`)
    await settled(app)
  }
  await app.inject({ url: '/users/1', headers: { authorization: 'Bearer x' } })
  await app.cache.getOrSet('n', {}, () => 1)
  await until(async () => app.cache.stats().values.stores === 1, 'it is not stored')
  await app.cache.invalidate('user:1')
  const metrics = await collect()
  const values = (name: string): Record<string, number> => valuesOf(metrics, name)
  t.strictSame(values('requests'), {
    'GET /users/:id hit': 2,
    'GET /users/:id miss': 2,
    'GET /users/:id bypass authorization': 1,
    'getOrSet hit': 0,
    'getOrSet miss': 1
  })
  t.strictSame(values('fills'), { 'GET /users/:id stored': 2, 'getOrSet stored': 1 })
  t.equal(values('stored')['GET /users/:id'], app.cache.stats().routes['GET /users/:id']!.bytes)
  t.strictSame(values('invalidations'), { told: 1, failed: 0 })
  t.strictSame(values('invalidated_entries'), { '': 1 })
  t.strictSame([values('breaker.open'), values('journal.targets'), values('flights')], [{ '': 0 }, { '': 0 }, { '': 0 }])
  t.strictSame(values('lookup.duration'), { hit: 2, miss: 3, bypass: 1 })
  t.strictSame(values('handler.duration'), { 'GET /users/:id': 3, getOrSet: 1 })
  t.strictSame(values('fill.duration'), { '': 3 })
  t.strictSame(values('invalidation.duration'), { '': 1 })
  const points = metrics.flatMap(({ dataPoints }) => dataPoints as ReadonlyArray<{ attributes: object }>)
  t.ok(points.every(({ attributes }) => (attributes as { cache?: string }).cache === 'shop'), 'the cache is named')
  const boundsOf = (wanted: string): number[] => {
    const { dataPoints } = metrics.find(({ descriptor: { name } }) => name === wanted)!
    return (dataPoints[0]!.value as { buckets: { boundaries: number[] } }).buckets.boundaries
  }
  t.strictSame([boundsOf('route_cache.lookup.duration'), boundsOf('route_cache.handler.duration')], [BUCKETS, ROUTE_BUCKETS])
})

t.test('names, units and kinds are as they are listed; counts go on from one collection to the next', async (t) => {
  const { app, collect } = await measured(t)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  await app.cache.invalidate('k')
  await settled(app)
  const first = await collect()
  const listed = new Map([...readings, ...Object.values(timings)].map(({ name, unit, kind, help }) => [`route_cache.${name}`, { unit, kind, help }]))
  for (const metric of first) {
    const { name, unit, description } = metric.descriptor
    const { dataPointType } = metric
    const isCounter = dataPointType === DataPointType.SUM && metric.isMonotonic
    const kind = dataPointType === DataPointType.HISTOGRAM ? 'histogram' : isCounter ? 'counter' : 'gauge'
    t.strictSame({ unit, kind, help: description }, listed.get(name), name)
  }
  const without = [...listed.keys()].filter((name) => !first.some(({ descriptor }) => descriptor.name === name))
  const absent = /^route_cache\.(?:tier\.|postgres\.|rescued|refreshes|sets|outdated|unreadable)/
  t.ok(without.every((name) => absent.test(name)), 'there is no tier, no Postgres, and nothing rare has happened')
  await app.inject('/')
  await settled(app)
  const second = await collect()
  t.match([valuesOf(first, 'requests'), valuesOf(second, 'requests')], [{ 'GET / miss': 1 }, { 'GET / miss': 2 }])
  t.match([valuesOf(first, 'handler.duration'), valuesOf(second, 'handler.duration')], [{ 'GET /': 1 }, { 'GET /': 2 }])
})

t.test('two caches by one meter; closed, one is not observed any more', async (t) => {
  const reader = new Reader()
  const provider = new MeterProvider({ readers: [reader] })
  t.teardown(async () => { await provider.shutdown() })
  const meter = provider.getMeter('test')
  const apps = await Promise.all(['one', 'two'].map(async (prefix) => {
    const app = await cachedApp(t, { prefix })
    await app.register(openTelemetry, { meter })
    return app
  }))
  const names = async (): Promise<unknown[]> => {
    const metric = (await collect(reader)).find(({ descriptor: { name } }) => name === 'route_cache.breaker.open')
    return metric?.dataPoints.map(({ attributes: { cache } }) => cache).sort() ?? []
  }
  t.strictSame(await names(), ['one', 'two'])
  // An SDK goes on giving what it was told last: so what is looked at is whether it asks.
  const asked = apps.map(() => 0)
  for (const [i, { cache }] of apps.entries()) {
    const { stats } = cache
    cache.stats = function () {
      asked[i]!++
      return stats.call(this)
    }
  }
  await names()
  await apps[0]!.close()
  await names()
  t.strictSame(asked, [1, 2])
  t.ok(channels.lookup.hasSubscribers)
  await apps[1]!.close()
  t.strictSame(Object.values(channels).filter(({ hasSubscribers }) => hasSubscribers), [], 'nobody listens')
})

/** Has each request in a span of its own, as instrumentations do; those that have ended, by their names. */
function traced (app: CachedApp): () => Promise<Record<string, ReadableSpan[]>> {
  let open = 0
  app.addHook('onRequest', (request, reply, done) => {
    open++
    tracing.getTracer('test').startActiveSpan(request.url, (span) => {
      reply.raw.once('close', () => {
        open--
        span.end()
      })
      done()
    })
  })
  return async () => {
    await until(async () => open === 0, 'a span has not ended')
    const byName: Record<string, ReadableSpan[]> = {}
    for (const span of exporter.getFinishedSpans()) (byName[span.name] ??= []).push(span)
    return byName
  }
}

t.test('what the cache did stands on the request\'s own span', async (t) => {
  await onEachStore(t, async (t, open) => {
    let now = 1_000_000
    exporter.reset()
    const app = await open({ now: () => now })
    const spans = traced(app)
    await app.register(openTelemetry)
    let isBroken = false
    const life = { ttl: 10, staleWhileRevalidate: 10, staleIfError: 100 }
    app.get('/:id', { cache: { key: 'key:{id}', ...life } }, async (_request, reply) => isBroken ? await reply.code(503).send() : 'x')
    await app.ready()
    // Their lookups travel together.
    await Promise.all(['/a', '/b'].map(async (url) => await app.inject(url)))
    await settled(app)
    await Promise.all(['/a', '/b'].map(async (url) => await app.inject(url)))
    await app.inject({ url: '/c', headers: { authorization: 'Bearer x' } })
    now += 12_000
    await app.inject('/a')
    await until(async () => app.cache.stats().total.refreshes === 1, 'it is not refreshed')
    await settled(app)
    isBroken = true
    now += 50_000
    await app.inject('/b')
    const { '/a': a, '/b': b, '/c': c } = await spans()
    const attributes = (all: ReadableSpan[] | undefined): object[] => all!.map(({ attributes }) => attributes)
    const key = (id: string): object => ({ 'cache.key': [`key:${id}`] })
    const missed = { 'cache.outcome': 'miss', 'cache.hit': false }
    const hit = { 'cache.outcome': 'hit', 'cache.hit': true, 'cache.ttl': 10 }
    // The refresh is a request, too, and in its span the cache did nothing for a client.
    t.strictSame(attributes(a).filter((one) => 'cache.outcome' in one), [
      { ...missed, ...key('a') }, { ...hit, ...key('a') }, { 'cache.outcome': 'stale', 'cache.hit': true, ...key('a'), 'cache.ttl': -2 }
    ])
    t.strictSame(attributes(b), [
      { ...missed, ...key('b') },
      { ...hit, ...key('b') },
      { 'cache.outcome': 'stale', 'cache.hit': false, ...key('b'), 'cache.reason': 'rescued' }
    ])
    t.strictSame(attributes(c), [{ 'cache.outcome': 'bypass', 'cache.hit': false, 'cache.reason': 'authorization' }])
  })
})

t.test('a request that waited for another one\'s handler', async (t) => {
  const app = await cachedApp(t)
  const spans = traced(app)
  await app.register(openTelemetry)
  const handler = gate()
  app.get('/', { cache: { key: 'k' } }, async () => {
    await handler.wait()
    return 'x'
  })
  const requests = [app.inject('/')]
  await handler.reached
  requests.push(app.inject('/'))
  await until(async () => app.cache.stats().waiting === 1, 'it does not wait')
  handler.open()
  await Promise.all(requests)
  const { '/': all } = await spans()
  t.same(all!.map(({ attributes }) => attributes['cache.reason']).sort(), ['collapsed', undefined])
})

t.test('the span that @fastify/otel has for a request goes before the active one', async (t) => {
  const app = await cachedApp(t)
  const spans = traced(app)
  const own = tracing.getTracer('test').startSpan('own')
  app.decorateRequest('opentelemetry', function () { return { span: own } })
  await app.register(openTelemetry)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  own.end()
  const { '/': [active], own: [ended] } = await spans() as { '/': [ReadableSpan], own: [ReadableSpan] }
  t.strictSame(active.attributes, {})
  t.match(ended.attributes, { 'cache.outcome': 'miss' })
})

t.test('without keys, without spans, and without any SDK', async (t) => {
  for (const [options, expected] of [
    [{ spans: { key: false } }, [{ 'cache.outcome': 'miss', 'cache.hit': false }]], [{ spans: false }, [{}]]
  ] as const) {
    exporter.reset()
    const { app } = await measured(t, {}, options)
    const spans = traced(app)
    app.get('/', { cache: { key: 'k' } }, async () => 'x')
    await app.inject('/')
    t.strictSame((await spans())['/']!.map(({ attributes }) => attributes), expected)
  }
  t.match(metricsApi.getMeterProvider().constructor.name, /Noop/)
  const app = await cachedApp(t)
  await app.register(openTelemetry)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  t.equal((await app.inject('/')).body, 'x', 'no span is active')
})

t.test('wrong options are named, and what would be right', async (t) => {
  const wrong: Array<[object, RegExp]> = [
    [{ metre: 1 }, /metre is 1; there is no such option; there are: .*meter/],
    [{ meter: {} }, /meter is .*; it is a Meter/],
    [{ spans: 'yes' }, /spans is "yes"; it is true or false, or/],
    [{ spans: { keys: true } }, /spans is /],
    [{ name: 5 }, /name is 5/]
  ]
  for (const [options, message] of wrong) {
    const app = await cachedApp(t)
    await t.rejects(async () => { await app.register(openTelemetry, options) }, { code: 'FRC_OPTION', message }, JSON.stringify(options))
  }
})
