// What the dashboard shows of one process, and does: its numbers, looking up, invalidating, and that nothing of it is left.
import fastify from 'fastify'
import { createRequire } from 'node:module'
import { channel } from 'node:diagnostics_channel'
import { setTimeout as delay } from 'node:timers/promises'
import routeCache, { type Explanation, type RouteCache } from 'fastify-route-cache'
import { dashboard } from 'fastify-route-cache/dashboard'
import { prometheusMetrics } from 'fastify-route-cache/prometheus'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { BYPASS_WORDS, REFUSAL_WORDS } from '../../plugin/telling/reasons.js'
import { gate, settled } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { openSite, type Site, type SiteOptions } from './dashboard-site.js'

const LONG = 'x'.repeat(3_000)

/** On the in-process store and on a Redis of its own. */
async function onEachStore (
  t: Test, options: SiteOptions, run: (t: Test, site: Site) => Promise<void>
): Promise<void> {
  await t.test('in-process store', async (t) => { await run(t, await openSite(t, options)) })
  await t.test('redis', async (t) => {
    const server = await startRedis()
    t.teardown(async () => { await server.stop() })
    const redis = server.client()
    await redis.ping()
    await run(t, await openSite(t, { ...options, cache: { redis, ...options.cache } }))
  })
}

function listening (): string[] {
  const names = ['lookup', 'rescue', 'handler', 'fill', 'refresh', 'invalidation', 'breaker', 'tier']
  return names.filter((name) => channel(`fastify-route-cache:${name}`).hasSubscribers)
}

t.test('what was done is shown, by a process that has no Redis', async (t) => {
  let now = 1_700_000_000_000
  const clock = { now: () => now }
  const { app, overview } = await openSite(t, { cache: clock, dashboard: { ...clock, name: 'the shop' } })
  const handler = gate()
  app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users'], ttl: 10, staleWhileRevalidate: 10 } }, async () => 'x')
  app.get('/private', { cache: { key: 'private' } }, async (_request, reply) => await reply.noCache().send('x'))
  app.get('/slow', { cache: { key: 'slow' } }, async () => { await handler.wait(); return 'x' })
  app.get('/plain', async () => 'x')
  const nothing = await overview()
  t.match(nothing.total, { requests: 0, hitRate: 0, hit: { p50: null, p99: null }, miss: { p50: null } })
  t.strictSame(nothing.reasons, [])
  t.strictSame(nothing.routes.map(({ route }) => route), ['GET /users/:id', 'GET /private', 'GET /slow'])
  const ask = async (url: string, headers = {}): Promise<void> => {
    await app.inject({ url, headers })
    await settled(app)
  }
  for (const url of ['/users/1', '/users/1', '/users/1', '/private', '/private', '/plain']) await ask(url)
  await ask('/users/1', { authorization: 'Bearer x' })
  await app.cache.getOrSet('n', {}, () => 1)
  await until(async () => app.cache.stats().values.stores === 1, 'it is not stored')
  await app.cache.getOrSet('n', {}, () => 1)
  await overview()
  now += 15_000
  await ask('/users/1')
  await until(async () => app.cache.stats().total.refreshes === 1, 'it is not refreshed')
  await settled(app)
  await app.cache.invalidate(['user:1', 'user:2'])
  await app.cache.invalidate({ tags: ['users'] })
  const slow = app.inject('/slow')
  await handler.reached
  const waiting = app.inject('/slow')
  await until(async () => app.cache.stats().waiting === 1, 'it does not wait')

  const shown = await overview()
  t.match(shown, {
    name: 'the shop',
    prefix: 'shop',
    store: 'memory',
    alone: null,
    redis: null,
    notes: [],
    invalidations: { told: 2, failed: 0, entries: 1 },
    total: { requests: 10, hits: 4, misses: 5, stale: 1, bypassed: 1, refused: 2, stores: 3, hitRate: 4 / 9 }
  })
  const columns = ['route', 'requests', 'hits', 'stale', 'misses', 'refused', 'refreshes'] as const
  t.strictSame(shown.routes.map((route) => columns.map((name) => route[name])), [
    ['GET /users/:id', 5, 3, 1, 1, 0, 1],
    ['GET /private', 2, 0, 0, 2, 2, 0],
    ['GET /slow', 1, 0, 0, 1, 0, 0],
    ['getOrSet', 2, 1, 0, 1, 0, 0]
  ])
  t.strictSame(shown.reasons, [
    { route: 'GET /private', kind: 'refusal', reason: 'no-cache-called', words: REFUSAL_WORDS['no-cache-called'], count: 2 },
    { route: 'GET /users/:id', kind: 'bypass', reason: 'authorization', words: BYPASS_WORDS.authorization, count: 1 }
  ])
  const [users, secret] = shown.routes
  t.ok(users!.hit.p50! > 0 && users!.hit.p99! >= users!.hit.p50! && users!.miss.p50! > 0)
  t.match(secret, { hit: { p50: null, p99: null } })
  t.match(shown.processes, [{ isThis: true, age: 0, requests: 10, hitRate: 4 / 9, flights: 1, waiting: 1, tier: null }])
  t.equal(shown.processes.length, 1)
  handler.open()
  await Promise.all([slow, waiting])

  const { id } = shown.processes[0]!
  t.equal((await overview({ process: id })).total.requests, 11)
  t.equal((await overview({ process: 'other' })).total.requests, 0)
  const last = ({ curve: { hits, misses, bypasses } }: typeof shown): number[][] => {
    return [hits, misses, bypasses].map((list) => list.slice(-2))
  }
  t.strictSame(last(await overview()), [[3, 2], [4, 1], [1, 0]], 'before and after the fifteen seconds')
  t.strictSame(last(await overview({ route: 'GET /users/:id' })), [[2, 1], [1, 0], [1, 0]])
  t.strictSame(last(await overview({ route: 'GET /nothing' })), [[0, 0], [0, 0], [0, 0]])
})

t.test('the curve, by the clock that is given', async (t) => {
  let now = 1_700_000_000_000
  const { app, overview } = await openSite(t, { dashboard: { now: () => now, interval: 3600 } })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  const hits: number[] = []
  for (let step = 0; step < 95; step++) {
    hits.push(step % 3)
    if (step === 0) { await app.inject('/'); await settled(app) }
    for (let i = 0; i < step % 3; i++) await app.inject('/')
    const { curve } = await overview()
    t.equal(curve.at.at(-1), now / 1000)
    t.strictSame(curve.hits.slice(-hits.length), hits.slice(-90), `step ${step}`)
    now += 10_000
  }
  now += 890_000
  const { curve } = await overview()
  t.strictSame([curve.at.length, curve.hits.reduce((sum, n) => sum + n)], [90, 0], 'it is all too long ago')
})

t.test('looking up', async (t) => {
  let now = 1_700_000_000_000
  await onEachStore(t, { cache: { now: () => now } }, async (t, { app, post }) => {
    const life = { ttl: 10, staleWhileRevalidate: 100 }
    app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users'], ...life } }, async () => 'x')
    app.get('/pages/*', { cache: { key: 'page:{*}' } }, async () => 'x')
    app.get('/words', { cache: { key: 'words', vary: ['accept-language'] } }, async (request) => request.headers['accept-language'])
    const german = { 'accept-language': 'de' }
    for (const url of ['/users/1', '/pages/a/b', '/pages/%F0%9F%8D%B0%20%C3%A4', `/pages/${LONG.slice(0, 2_000)}`]) {
      await app.inject({ url })
      await settled(app)
    }
    await app.inject({ url: '/words', headers: german })
    await app.cache.getOrSet('value', { ttl: 60 }, () => [1])
    await settled(app)
    await until(async () => app.cache.stats().values.stores === 1, 'it is not stored')
    const counted = JSON.stringify(app.cache.stats().total)
    const look = async (wish: object, expected: object): Promise<Explanation> => {
      const { statusCode, body } = await post('/api/explain', wish)
      t.equal(statusCode, 200, body)
      const found = JSON.parse(body) as Explanation
      t.match(found, expected, JSON.stringify(wish).slice(0, 100))
      t.strictSame(found, JSON.parse(JSON.stringify(await app.cache.explain(wish as { url: string }))), 'as the cache explains it')
      return found
    }
    // By key.
    const found = await look({ key: 'user:1' }, {
      outcome: 'hit', key: 'user:1', route: null, entry: { status: 200, age: 0, isValid: true }, tags: [{ tag: 'users', state: 'valid' }]
    })
    t.match(found.text, /^key "user:1": hit/)
    await look({ key: 'user:2' }, { outcome: 'miss', reason: 'absent', entry: null })
    await look({ key: 'value' }, { outcome: 'hit', text: /^value under key "value": hit/ })
    for (const path of ['a/b', '🍰 ä', LONG.slice(0, 2_000)]) {
      await look({ key: app.cache.key('page:{*}', { '*': path }) }, { outcome: 'hit' })
    }
    await look({ key: 'a/b' }, { outcome: 'miss' })
    await look({ key: LONG }, { outcome: 'miss' })
    await look({ key: '__proto__' }, { outcome: 'miss', key: '__proto__' })
    await look({ key: '<img src=x onerror=alert(1)>' }, { outcome: 'miss', key: '<img src=x onerror=alert(1)>' })
    await look({ key: 'words', headers: german }, { outcome: 'hit', variant: { members: ['accept-language'] } })
    await look({ key: 'words', headers: { 'Accept-Language': 'de' } }, { outcome: 'hit' })
    await look({ key: 'words' }, { outcome: 'miss', reason: 'absent' })
    // By request.
    await look({ url: '/users/1' }, { outcome: 'hit', route: 'GET /users/:id', key: 'user:1', policy: { ttl: 10, tags: ['users'] } })
    await look({ url: '/users/1', headers: { authorization: 'Bearer x' } }, { outcome: 'bypass', reason: 'authorization' })
    await look({ url: '/users/3' }, { outcome: 'miss', reason: 'absent' })
    await look({ url: '/words', headers: german }, { outcome: 'hit' })
    await look({ url: '/words' }, { outcome: 'miss' })
    await look({ url: '/pages/%F0%9F%8D%B0%20%C3%A4' }, { outcome: 'hit' })
    await look({ url: '/users/1', method: 'POST' }, { outcome: null, reason: 'method' })
    await look({ url: '/nothing' }, { outcome: null, reason: 'not-found' })
    await look({ url: '/cache/' }, { outcome: null, reason: 'uncached' })
    now += 20_000
    await look({ url: '/users/1' }, { outcome: 'stale', reason: 'stale-while-revalidate', entry: { ttl: -10 } })
    await look({ key: 'user:1' }, { outcome: 'stale' })
    await app.cache.invalidate({ tags: ['users'] })
    await look({ key: 'user:1' }, { outcome: 'miss', reason: 'tag', entry: { isValid: false }, tags: [{ tag: 'users', state: 'invalidated' }] })
    t.equal(JSON.stringify(app.cache.stats().total), counted, 'looking counts nothing')
  })
})

t.test('what can\'t be looked up', async (t) => {
  const { post } = await openSite(t)
  const wrong: Array<[unknown, RegExp]> = [
    [null, /request is null; it is a path/], [5, /request is 5/], ['"users"', /it begins with "\/"/], [[], /request\.url is undefined/],
    [{}, /request\.url is undefined/], [{ key: '' }, /a key is a non-empty string, not ""/], [{ key: 5 }, /not 5/], [{ key: { a: 1 } }, /not \{"a":1\}/],
    [{ key: 'a', url: '/' }, /url is "\/"; there is no such option beside key/], [{ url: 'https://other.example/' }, /request\.url is "https/],
    [{ url: '//other.example', x: 1 }, /request\.x is 1; there is no such option/], [{ url: '/ä' }, /percent-encoded/], [{ url: '/a b' }, /percent-encoded/],
    [{ url: '/', method: 'GET /x' }, /request\.method is "GET \/x"/], [{ url: '/', headers: 'a: b' }, /headers is "a: b"; write/],
    [{ url: '/', headers: { a: 1 } }, /headers\.a is 1/], [{ key: 'a', headers: [] }, /headers is \[\]/]
  ]
  for (const [wish, message] of wrong) {
    const { statusCode, body } = await post('/api/explain', wish)
    t.equal(statusCode, 400, body)
    t.match(JSON.parse(body), { message, code: /^FRC_(?:OPTION|TARGET)$/ })
  }
})

t.test('invalidating', async (t) => {
  await onEachStore(t, {}, async (t, { app, post, lines }) => {
    const life = { ttl: 60, staleWhileRevalidate: 60 }
    app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users', 'user/{id}'], ...life } }, async () => 'x')
    app.get('/late', { cache: { key: 'late' } }, async (_, reply) => { reply.cacheTags('team:red'); return 'x' })
    const stateOf = async (id: number): Promise<unknown> => (await app.cache.explain(`/users/${id}`)).outcome
    const fill = async (): Promise<void> => {
      for (const id of [1, 2, 30]) await app.inject(`/users/${id}`)
      await settled(app)
    }
    const nothing = ['hit', 'hit', 'hit']
    const cases: Array<[body: object, entries: number | null, after: unknown[], found?: boolean]> = [
      [{ target: 'user:1' }, 1, ['miss', 'hit', 'hit']],
      [{ target: { keys: ['user:1'] } }, 1, ['miss', 'hit', 'hit']],
      [{ target: ['user:1', 'user:30', 'user:99'] }, 2, ['miss', 'hit', 'miss']],
      [{ target: { tags: ['user/2'] }, soft: false }, 0, ['hit', 'miss', 'hit']],
      [{ target: { prefix: 'user:3' } }, 1, ['hit', 'hit', 'miss']],
      [{ target: { keys: ['user:1'], tags: ['user/2'], prefix: 'user:3' } }, 2, ['miss', 'miss', 'miss']],
      [{ target: { all: true } }, null, ['miss', 'miss', 'miss']],
      [{ target: { keys: ['user:1'] }, soft: true }, 1, ['stale', 'hit', 'hit']],
      [{ target: { tags: ['users'] }, soft: true }, 0, ['stale', 'stale', 'stale']],
      [{ target: 'nobody has this: ä/{x}' }, 0, nothing, false],
      [{ target: { keys: ['nobody', 'user:99'] }, soft: true }, 0, nothing, false],
      [{ target: { tags: ['user-2'] } }, 0, nothing, false],
      [{ target: { tags: ['user-9'] }, soft: true }, 0, nothing, false],
      [{ target: { tags: ['boook:2', 'ä\0'] } }, 0, nothing, false],
      [{ target: { tags: ['boook:2', 'user/2'] } }, 0, ['hit', 'miss', 'hit']],
      [{ target: { tags: ['boook:2'], keys: ['user:1'] } }, 1, ['miss', 'hit', 'hit']],
      [{ target: { prefix: 'nobody' } }, 0, nothing, false]
    ]
    for (const [body, entries, after, found = true] of cases) {
      await app.cache.invalidate({ all: true })
      await fill()
      const { statusCode, body: text } = await post('/api/invalidate', body)
      t.equal(statusCode, 200, text)
      if (entries !== null) t.strictSame(JSON.parse(text), { entries, found }, JSON.stringify(body))
      t.strictSame([await stateOf(1), await stateOf(2), await stateOf(30)], after, JSON.stringify(body))
      t.match(lines.filter(({ msg }) => msg === 'invalidated by the dashboard').at(-1), { level: 30, ...body })
    }
    await app.cache.invalidate({ all: true })
    await fill()
    const { invalidations } = app.cache.stats()
    const wrong: Array<[unknown, RegExp]> = [
      [null, /can't invalidate undefined; write a key/], ['"user:1"', /can't invalidate undefined/], [['user:1'], /can't invalidate undefined/],
      [{}, /can't invalidate undefined/], [{ target: null }, /can't invalidate null/], [{ target: '' }, /a key is a non-empty string/],
      [{ target: {} }, /can't invalidate \{\}/], [{ target: { key: 'user:1' } }, /can't invalidate \{"key":"user:1"\}/], [{ target: { prefix: '' } }, /can't invalidate/],
      [{ target: { keys: 'user:1' } }, /can't invalidate/], [{ target: { keys: [1] } }, /not 1/], [{ target: { tags: [''] } }, /a tag is a non-empty string/],
      [{ target: { all: 1 } }, /can't invalidate/], [{ target: { all: true, keys: [] } }, /can't invalidate/], [{ target: 'user:1', soft: 'on' }, /soft is "on"; it is true or false/],
      [{ target: { prefix: 'user:' }, soft: true }, /can't softly invalidate.*leave out soft/]
    ]
    for (const [body, message] of wrong) {
      const { statusCode, body: text } = await post('/api/invalidate', body)
      t.equal(statusCode, 400, text)
      t.match(JSON.parse(text), { message, code: /^FRC_(?:OPTION|TARGET|TAG)$/ })
    }
    t.equal(app.cache.stats().invalidations, invalidations)
    t.strictSame([await stateOf(1), await stateOf(2), await stateOf(30)], nothing)

    const isFound = async (tags: string[]): Promise<boolean | null> => JSON.parse((await post('/api/invalidate', { target: { tags } })).body).found
    t.equal(await isFound(['team:red']), false, 'a handler has it, but has not run')
    t.not(await isFound(['team:red']), true, 'Redis may keep what the first call left')
    await app.inject('/late')
    await settled(app)
    t.equal(await isFound(['team:red']), true)
  })
})

t.test('a route\'s likely mistakes stand beside it', async (t) => {
  const { app, overview } = await openSite(t)
  const schema = { querystring: { type: 'object', properties: { page: { type: 'integer' } } } }
  app.get('/posts', { schema, cache: { key: 'posts' } }, async () => 'x')
  app.get('/users', { cache: { key: 'users' } }, async () => 'x')
  await app.ready()
  const { routes, notes } = await overview()
  t.match(routes, [{ route: 'GET /posts', notes: [/"?page"?/] }, { route: 'GET /users', notes: [] }])
  t.strictSame(notes.map(({ text }) => text), routes[0]!.notes)
})

t.test('Redis is away', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const { app, post, overview } = await openSite(t, { cache: { redis, deadline: '100ms', writeDeadline: '100ms' } })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  await server.kill()
  await until(async () => redis.status !== 'ready', 'the client does not notice')
  const { statusCode, body } = await post('/api/invalidate', { target: 'k' })
  t.equal(statusCode, 503, body)
  t.match(JSON.parse(body), { code: /^FRC_(?:STORE|DEADLINE)$/, message: /./ })
  t.match((await post('/api/explain', { url: '/' })).json(), { outcome: 'bypass' })
  t.equal((await post('/api/invalidate', { target: '' })).statusCode, 400, 'wrong input is still wrong input')
  const shown = await overview()
  t.match(shown, {
    alone: /^Redis is not connected \(the client's status is "\w+"\)$/,
    store: 'redis',
    total: { requests: 1, misses: 1 },
    invalidations: { told: 0, failed: 1 },
    redis: { servers: [{ error: /^not connected \(\w+\)$/, ping: null, version: null }] },
    processes: [{ journal: 1 }]
  })
  t.match(shown.notes.map(({ text }) => text), [
    /^This process is not connected to Redis/, /^Redis 127\.0\.0\.1:\d+ can't be asked: not connected/, /1 invalidations could not be told/
  ])
  await server.restart()
  await until(async () => (await overview()).alone === null && app.cache.stats().journal === 0, 'it does not come back')
  const back = await overview()
  t.match(back, { notes: [], redis: { status: 'ready', servers: [{ error: null, version: /^(?:Redis|Valkey) \d/, policy: 'noeviction', evicted: 0 }] } })
  const [health] = back.redis!.servers
  t.equal(health!.address, `127.0.0.1:${server.port}`)
  t.ok(health!.ping! > 0 && health!.memory! > 100_000 && health!.clients! > 0 && health!.maxMemory === 0)
})

t.test('two caches in one app', async (t) => {
  const app = fastify()
  t.teardown(async () => { await app.close() })
  let [shop, pages] = [null as unknown as RouteCache, null as unknown as RouteCache]
  await app.register(async (inner) => {
    await inner.register(routeCache, { prefix: 'shop' })
    await inner.register(dashboard, { prefix: '/shop-cache', public: true })
    shop = inner.cache
  })
  await app.register(async (inner) => {
    await inner.register(routeCache, { prefix: 'pages', decorator: 'pages' })
    pages = (inner as unknown as { pages: RouteCache }).pages
  })
  await app.register(dashboard, { prefix: '/pages-cache', public: true, cache: pages })
  await shop.getOrSet('a', {}, () => 1)
  for (const key of ['a', 'b']) await pages.getOrSet(key, {}, () => 1)
  await until(async () => [shop, pages].every((cache) => cache.stats().values.stores > 0), 'they are not stored')
  await shop.getOrSet('a', {}, () => 1)
  const [mine, theirs] = [(await app.inject('/shop-cache/api/overview')).json(), (await app.inject('/pages-cache/api/overview')).json()]
  t.match(mine, { name: 'shop', total: { requests: 2, hits: 1, misses: 1 } })
  t.match(theirs, { name: 'pages', total: { requests: 2, misses: 2 } })
  t.ok(mine.routes[0].miss.p50 !== null && theirs.routes[0].miss.p50 !== null)
  t.ok(mine.routes[0].hit.p50 !== null && theirs.routes[0].hit.p50 === null, 'each hears of its own')
  t.match((await app.inject({
    method: 'POST', url: '/pages-cache/api/invalidate', headers: { 'content-type': 'application/json' }, payload: '{"target":"a"}'
  })).json(), { entries: 1 })
  t.equal((await shop.explain({ key: 'a' })).outcome, 'hit')
  t.equal((await pages.explain({ key: 'a' })).outcome, 'miss')
})

t.test('a cache that was required, and a dashboard that was imported', async (t) => {
  const required = createRequire(import.meta.url)('fastify-route-cache') as { default: typeof routeCache }
  const app = fastify()
  t.teardown(async () => { await app.close() })
  await app.register(required.default)
  await app.register(dashboard, { prefix: '/cache', public: true })
  const { statusCode, body } = await app.inject({
    method: 'POST', url: '/cache/api/invalidate', headers: { 'content-type': 'application/json' }, payload: '{"target":""}'
  })
  t.equal(statusCode, 400)
  t.match(JSON.parse(body), { code: 'FRC_TARGET' })
})

t.test('the other form of the dashboard finds its page, too', async (t) => {
  const require = createRequire(import.meta.url)
  const app = fastify()
  t.teardown(async () => { await app.close() })
  await app.register((require('fastify-route-cache') as { default: typeof routeCache }).default)
  await app.register((require('fastify-route-cache/dashboard') as { default: typeof dashboard }).default, { prefix: '/cache', public: true })
  t.match((await app.inject('/cache/')).body, /^<!doctype html>/)
  t.equal((await app.inject('/cache/uPlot.js')).statusCode, 200)
})

t.test('when the app closes nothing is left', async (t) => {
  t.strictSame(listening(), [], 'others have closed theirs')
  let looks = 0
  const { app } = await openSite(t, { dashboard: { interval: '5ms', now: () => ++looks } })
  await app.ready()
  t.strictSame(listening(), ['lookup', 'handler'])
  const first = looks
  await until(async () => looks > first + 2, 'it does not look')
  await app.close()
  const last = looks
  t.strictSame(listening(), [])
  await delay(50)
  t.equal(looks, last, 'its timer has ended')
})

t.test('its own routes are not cached, nor that of the metrics, whatever the plugin\'s option `routes` says', async (t) => {
  const urls: string[] = []
  const { app } = await openSite(t, {
    before: (app) => app.addHook('onRoute', ({ method, url }) => { if (method === 'GET') urls.push(url) }),
    cache: { routes: [{ path: '/*', cache: true }] }
  })
  await app.register(prometheusMetrics, { register: new Registry() })
  app.get('/page', async () => 'page')
  await app.ready()
  t.ok(urls.length > 12, urls.join(' '))
  for (const url of urls) {
    const { headers } = await app.inject(url)
    t.equal(headers['cache-status'] !== undefined, url === '/page', url)
  }
})
