// What the cache says of its work by Node's diagnostics channels: each event with what it says, none where nobody listens.
import { execFile } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { mock } from 'node:test'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { CacheEvents } from '../../plugin/index.js'
import { channels } from '../../plugin/telling/events.js'
import { cachedApp, gate, onEachStore, send, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

type Name = keyof CacheEvents
type Heard = { [Event in Name]: Array<CacheEvents[Event]> }

const NAMES = Object.keys(channels) as Name[]

/** The fields that were seen, by event: compared with what the guide says of them. */
const seen = new Map<Name, Set<string>>()

/** Listens to all channels, or to these, until the test ends; what this app says. */
function hear (t: Test, app: CachedApp, names: readonly Name[] = NAMES): Heard {
  const heard = Object.fromEntries(NAMES.map((name) => [name, []])) as unknown as Heard
  for (const name of names) {
    const listener = (message: unknown): void => {
      const event = message as { cache: object }
      if (event.cache !== app.cache) return
      ;(heard[name] as object[]).push(event)
      const fields = seen.get(name) ?? new Set()
      for (const field of Object.keys(event)) fields.add(field)
      seen.set(name, fields)
    }
    subscribe(`fastify-route-cache:${name}`, listener)
    t.teardown(() => { unsubscribe(`fastify-route-cache:${name}`, listener) })
  }
  return heard
}

/** A list of events without their durations, which must be times that were measured, and without whom they are about. */
function plain (t: Test, events: ReadonlyArray<object>): object[] {
  return events.map((event) => {
    const { cache, prefix, duration, ...rest } = event as Record<string, unknown>
    t.ok(duration === undefined || duration === null || (duration as number) > 0, 'a time')
    return rest
  })
}

t.test('a miss, its handler and its fill; then a hit', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ prefix: 'shop' })
    app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 60 } }, async () => 'x')
    const heard = hear(t, app)
    await app.inject('/users/7')
    await settled(app)
    await app.inject('/users/7')
    t.match(heard.lookup, [{ cache: app.cache, prefix: 'shop' }, { cache: app.cache, prefix: 'shop' }])
    const [missed, hit] = heard.lookup
    t.match((missed!.request as { url: string }).url, '/users/7')
    t.not(missed!.request, hit!.request)
    const route = 'GET /users/:id'
    t.strictSame(plain(t, heard.lookup).map(({ request, ...rest }: { request?: unknown }) => rest), [
      { route, outcome: { type: 'miss', key: 'user:7', forced: false } },
      { route, outcome: { type: 'hit', key: 'user:7', ttl: 60, collapsed: false } }
    ])
    t.strictSame(plain(t, heard.handler), [{ route, key: 'user:7', why: 'miss', status: 200 }])
    const { bytes } = app.cache.stats().total
    t.ok(bytes > 0)
    t.strictSame(plain(t, heard.fill), [{ route, key: 'user:7', result: 'stored', bytes }])
    t.type(heard.lookup[0]!.duration, 'number')
    t.type(heard.lookup[1]!.duration, 'number')
    t.type(heard.fill[0]!.duration, 'number')
    t.strictSame([heard.rescue, heard.refresh, heard.invalidation, heard.breaker, heard.tier], [[], [], [], [], []])
  })
})

t.test('a hit is told before it is sent', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    app.get('/', { cache: { key: 'k' } }, async () => 'x')
    await app.listen({ host: '127.0.0.1', port: 0 })
    const written: number[] = []
    const listener = (message: unknown): void => {
      const { request } = message as { request: { raw: { socket: { bytesWritten: number } } } }
      written.push(request.raw.socket.bytesWritten)
    }
    const heard = hear(t, app, ['lookup'])
    subscribe('fastify-route-cache:lookup', listener)
    t.teardown(() => { unsubscribe('fastify-route-cache:lookup', listener) })
    for (let i = 0; i < 2; i++) {
      // Over a connection of its own, on which nothing was sent before.
      const [response] = await once(send(app, 'GET', '/'), 'response')
      await text(response)
      await settled(app)
    }
    t.match(heard.lookup, [{ outcome: { type: 'miss' } }, { outcome: { type: 'hit' } }])
    t.strictSame(written, [0, 0])
  })
})

t.test('requests that go past the cache, and why', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  app.get('/closed', {
    cache: { key: 'closed' }, onRequest: async (_request, reply) => await reply.code(401).send()
  }, async () => 'x')
  const heard = hear(t, app)
  await app.inject({ url: '/', headers: { authorization: 'Bearer x' } })
  app.cache.enabled = false
  await app.inject('/')
  app.cache.enabled = true
  await app.inject('/closed')
  t.strictSame(heard.lookup.map(({ route, outcome }) => [route, outcome]), [
    ['GET /', { type: 'bypass', reason: 'authorization' }],
    ['GET /', { type: 'bypass', reason: 'disabled' }],
    ['GET /closed', { type: 'bypass', reason: 'answered' }]
  ])
  t.type(heard.lookup[0]!.duration, 'number')
  t.equal(heard.lookup[2]!.duration, null, 'there was no lookup')
  t.strictSame(plain(t, heard.handler), Array(2).fill({ route: 'GET /', key: null, why: 'bypass', status: 200 }))
  t.strictSame(heard.fill, [])
})

t.test('what is not stored, and why', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    const handler = gate()
    app.get('/kept-out', { cache: { key: 'kept-out' } }, async (_request, reply) => { reply.noCache().send('x') })
    app.get('/slow', { cache: { key: 'slow' } }, async () => {
      await handler.wait()
      return 'old'
    })
    const heard = hear(t, app)
    await app.inject('/kept-out')
    const slow = app.inject('/slow')
    await handler.reached
    await app.cache.invalidate('slow')
    handler.open()
    await slow
    await settled(app)
    t.strictSame(plain(t, heard.fill), [
      { route: 'GET /kept-out', key: 'kept-out', result: 'no-cache-called', bytes: 0 },
      { route: 'GET /slow', key: 'slow', result: 'lease', bytes: 0 }
    ])
    t.equal(heard.fill[0]!.duration, null, 'the store was not asked')
    t.type(heard.fill[1]!.duration, 'number')
  })
})

t.test('a hook that fails behind the handler: its error goes the same way, and is no second answer', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' }, onSend: async () => { throw new Error('a hook failed') } }, async () => 'x')
  const heard = hear(t, app)
  t.equal((await app.inject('/')).statusCode, 500)
  await settled(app)
  t.strictSame(plain(t, heard.handler), [{ route: 'GET /', key: 'k', why: 'miss', status: 200 }])
  t.match(heard.fill, [{ key: 'k', result: 'error' }])
  t.equal(heard.lookup.length, 1)
})

t.test('a request that waits for another one\'s handler', async (t) => {
  const app = await cachedApp(t)
  const handler = gate()
  app.get('/', { cache: { key: 'k' } }, async () => {
    await handler.wait()
    return 'x'
  })
  const heard = hear(t, app)
  const first = app.inject('/')
  await handler.reached
  const second = app.inject('/')
  await until(async () => app.cache.stats().waiting === 1, 'it does not wait')
  t.equal(app.cache.stats().flights, 1)
  handler.open()
  await Promise.all([first, second])
  t.match(app.cache.stats(), { waiting: 0, flights: 0 })
  t.match(heard.lookup.map(({ outcome }) => outcome), [{ type: 'miss' }, { type: 'hit', collapsed: true }])
  t.ok(heard.lookup[1]!.duration! > 0)
  t.equal(heard.handler.length, 1)
})

t.test('a stale entry, its refresh; and one that stands in for an error', async (t) => {
  await onEachStore(t, async (t, open) => {
    let now = 1_000_000
    const app = await open({ now: () => now })
    let isBroken = false
    const options = { ttl: 1, staleWhileRevalidate: 10, staleIfError: 100 }
    app.get('/:id', { cache: { key: '{id}', ...options } }, async (_request, reply) => isBroken ? await reply.code(503).send() : 'x')
    await app.inject('/a')
    await settled(app)
    now += 2_000
    const heard = hear(t, app)
    await app.inject('/a')
    await until(async () => heard.refresh.length > 0, 'it is not refreshed')
    t.match(heard.lookup, [{ outcome: { type: 'stale', key: 'a', ttl: -1, ifError: false } }])
    t.strictSame(plain(t, heard.refresh), [{ route: 'GET /:id', key: 'a', result: 'stored' }])
    t.strictSame(plain(t, heard.handler), [{ route: 'GET /:id', key: 'a', why: 'refresh', status: 200 }])
    t.match(heard.fill, [{ key: 'a', result: 'stored' }])
    isBroken = true
    now += 50_000
    await app.inject('/a')
    t.match(heard.lookup.slice(1), [{ outcome: { type: 'miss', key: 'a' } }])
    t.strictSame(heard.rescue.map(({ request, cache, ...rest }) => rest), [{ prefix: 'cache', route: 'GET /:id', key: 'a', status: 503 }])
    t.equal(heard.rescue[0]!.request, heard.lookup[1]!.request)
    t.strictSame(plain(t, heard.handler.slice(1)), [{ route: 'GET /:id', key: 'a', why: 'miss', status: 503 }])
    t.match(heard.fill.slice(1), [{ key: 'a', result: 'status' }])
  })
})

t.test('values, which have no route', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    const heard = hear(t, app)
    await app.cache.getOrSet('n', { ttl: 60 }, () => 1)
    await until(async () => heard.fill.length > 0, 'it is not stored')
    await app.cache.getOrSet('n', { ttl: 60 }, () => 2)
    await t.rejects(app.cache.getOrSet('bad', {}, async () => { throw new Error('no value') }), { message: 'no value' })
    app.cache.enabled = false
    await app.cache.getOrSet('n', {}, () => 3)
    t.strictSame(plain(t, heard.lookup), [
      { route: null, request: null, outcome: { type: 'miss', key: 'n', forced: false } },
      { route: null, request: null, outcome: { type: 'hit', key: 'n', ttl: 60, collapsed: false } },
      { route: null, request: null, outcome: { type: 'miss', key: 'bad', forced: false } },
      { route: null, request: null, outcome: { type: 'bypass', reason: 'disabled' } }
    ])
    t.strictSame(plain(t, heard.handler), [
      { route: null, key: 'n', why: 'miss', status: null },
      { route: null, key: 'bad', why: 'miss', status: null },
      { route: null, key: null, why: 'bypass', status: null }
    ])
    const { bytes } = app.cache.stats().values
    t.strictSame(plain(t, heard.fill), [
      { route: null, key: 'n', result: 'stored', bytes }, { route: null, key: 'bad', result: 'error', bytes: 0 }
    ])
  })
})

t.test('invalidations, by what they name', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    app.get('/:id', { cache: { key: 'k:{id}', tags: ['t'], staleWhileRevalidate: 60 } }, async () => 'x')
    app.put('/:id', { cache: { invalidates: ['k:{id}'] } }, async () => 'x')
    for (const id of ['1', '2', '3']) await app.inject(`/${id}`)
    await settled(app)
    const heard = hear(t, app)
    await app.cache.invalidate(['k:1', 'none'])
    await app.cache.invalidate({ keys: ['k:2'], tags: ['t', 'u'] }, { soft: true })
    await app.inject({ method: 'PUT', url: '/2' })
    await app.cache.invalidate({ prefix: 'k:' })
    await app.cache.invalidate({ all: true })
    await app.cache.mutate(['k:1'], () => {})
    const none = { soft: false, keys: 0, tags: 0, prefixed: false, all: false, error: null }
    t.strictSame(plain(t, heard.invalidation), [
      { ...none, keys: 2, entries: 1 },
      { ...none, soft: true, keys: 1, tags: 2, entries: 1 },
      { ...none, keys: 1, entries: 1 },
      { ...none, prefixed: true, entries: 1 },
      { ...none, all: true, entries: 0 },
      { ...none, keys: 1, entries: 0 }
    ])
  })
})

t.test('Redis hangs: invalidations that fail, and the breaker', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, deadline: '100ms', writeDeadline: '100ms' })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  const heard = hear(t, app)
  await server.pause()
  await Promise.all(Array.from({ length: 20 }, async () => await app.inject('/')))
  await until(async () => app.cache.stats().breaker === 'open', 'it did not open')
  await t.rejects(app.cache.invalidate('k'), { code: 'FRC_DEADLINE' })
  t.equal(app.cache.stats().journal, 1)
  t.strictSame(heard.breaker.map(({ state, duration }) => [state, duration]), [['open', null]])
  t.type(heard.breaker[0]!.error, Error)
  t.match(heard.invalidation, [{ keys: 1, entries: 0, error: { code: 'FRC_DEADLINE' } }])
  server.resume()
  await until(async () => app.cache.stats().breaker === 'closed', 'it did not close')
  t.match(heard.breaker, [{}, { state: 'closed', error: null }])
  t.ok(heard.breaker[1]!.duration! > 0)
})

t.test('a fill that the store did not take', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, writeDeadline: '100ms' })
  const handler = gate()
  app.get('/', { cache: { key: 'k' } }, async () => {
    await handler.wait()
    return 'x'
  })
  const heard = hear(t, app)
  const request = app.inject('/')
  await handler.reached
  await server.pause()
  handler.open()
  t.equal((await request).body, 'x')
  await settled(app)
  server.resume()
  t.strictSame(plain(t, heard.fill), [{ route: 'GET /', key: 'k', result: 'store', bytes: 0 }])
  t.type(heard.fill[0]!.duration, 'number')
})

t.test('the tier is dropped', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, memory: {} })
  const heard = hear(t, app)
  await app.ready()
  await until(async () => app.cache.stats().tier?.isLive === true, 'the tier is not live')
  t.strictSame(heard.tier, [], 'it was not alive before')
  const other = server.client()
  await other.client('KILL', 'TYPE', 'PUBSUB')
  await until(async () => app.cache.stats().tier!.drops === 1, 'it was not dropped')
  t.strictSame(heard.tier, [{ cache: app.cache, prefix: 'cache', state: 'dropped' }])
})

t.test('several apps in one process are told apart', async (t) => {
  const apps = await Promise.all(['one', 'two'].map(async (prefix) => await cachedApp(t, { prefix })))
  const heard = apps.map((app) => hear(t, app, ['lookup']))
  for (const app of apps) app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await apps[0]!.inject('/')
  await apps[1]!.inject('/')
  await apps[1]!.inject('/')
  t.strictSame(heard.map(({ lookup }) => lookup.map(({ prefix }) => prefix)), [['one'], ['two', 'two']])
  t.strictSame(apps.map((app) => app.cache.prefix), ['one', 'two'])
})

t.test('nobody listens: nothing is made, and no clock is read for it', async (t) => {
  const app = await cachedApp(t, { quiet: ['not-worth-caching'] })
  app.get('/:id', { cache: { key: '{id}', tags: ['t'], staleWhileRevalidate: 60 } }, async () => 'x')
  const published: string[] = []
  for (const channel of Object.values(channels)) {
    Object.defineProperty(channel, 'publish', { configurable: true, value: () => { published.push(String(channel.name)) } })
  }
  const unwatch = (): void => { for (const channel of Object.values(channels)) Reflect.deleteProperty(channel, 'publish') }
  t.teardown(unwatch)
  const traffic = async (id: string): Promise<void> => {
    await app.inject(`/${id}`)
    await settled(app)
    await app.inject(`/${id}`)
    await app.inject({ url: `/${id}`, headers: { range: 'bytes=0-1' } })
    await app.cache.getOrSet(id, {}, () => 1)
    await app.cache.invalidate(id)
  }
  await traffic('warm-up')
  const clock = mock.method(performance, 'now')
  t.teardown(() => { clock.mock.restore() })
  const reads = async (id: string): Promise<number> => {
    clock.mock.resetCalls()
    await app.inject(`/${id}`)
    return clock.mock.callCount()
  }
  await traffic('a')
  await app.inject('/a')
  await settled(app)
  const alone = await reads('a')
  t.strictSame(published, [])
  unwatch()
  const heard = hear(t, app, ['lookup'])
  t.equal(await reads('a'), alone + 2, 'with a listener: when it began, and when it ended')
  t.match(heard.lookup, [{ outcome: { type: 'hit' } }])
})

t.test('who begins to listen while something runs hears of it, without a duration', async (t) => {
  const app = await cachedApp(t, { quiet: ['not-worth-caching'] })
  const handler = gate()
  app.get('/', { cache: { key: 'k' } }, async () => {
    await handler.wait()
    return 'x'
  })
  const request = app.inject('/')
  await handler.reached
  const heard = hear(t, app)
  handler.open()
  await request
  await settled(app)
  t.strictSame(heard.handler, [])
  t.match(heard.fill, [{ result: 'stored' }])
})

t.test('a listener that throws: the request does not hear of it, the process does', async (t) => {
  const url = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href)
  const code = `
    import fastify from 'fastify'
    import { subscribe } from 'node:diagnostics_channel'
    import routeCache from ${url('plugin/index.ts')}
    const app = fastify()
    await app.register(routeCache)
    app.get('/', { cache: true }, async () => 'x')
    subscribe('fastify-route-cache:lookup', () => { throw new Error('a listener failed') })
    process.on('uncaughtException', ({ message }) => { console.log(message) })
    const { statusCode, body } = await app.inject('/')
    console.log(statusCode, body)
    await app.close()
  `
  const args = ['--import=./test/helpers/typescript.mjs', '--input-type=module', '-e', code]
  const cwd = new URL('../../', import.meta.url)
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, timeout: 60_000 })
  t.strictSame(stdout.trim().split('\n').sort(), ['200 x', 'a listener failed'])
})

t.test('the guide says which channels there are, and what is published there', async (t) => {
  const guide = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  const rows = [...guide.matchAll(/^\| `fastify-route-cache:(\w+)` \| ([^|]+) \|/gm)]
  t.strictSame(rows.map(([, name]) => name), NAMES)
  for (const [, name, fields] of rows) {
    const named = ['cache', 'prefix', ...[...fields!.matchAll(/`(\w+)`/g)].map(([, field]) => field!)]
    t.strictSame(named.sort(), [...seen.get(name as Name) ?? []].sort(), name!)
  }
})
