// The tier, seen from requests: hits without Redis; what this instance invalidates is gone at once, what another one does
// soon.
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

/** Commands that the server was sent since `config resetstat`, but for heartbeats and the asking itself. */
async function commandsOf (other: Redis): Promise<string[]> {
  const stats = String(await other.info('commandstats'))
  return [...stats.matchAll(/cmdstat_([\w|]+):/g)].map(([, name]) => name!).filter((name) => !/^(?:info|config|set$)/.test(name))
}

interface Source { version: number, runs: number }

interface Opened { app: CachedApp, redis: Redis, source: Source }

/** An instance with a client of its own; all of them answer with the source's version. */
async function open (t: Test, server: RedisServer, source: Source, options: RouteCacheOptions = {}): Promise<Opened> {
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, prefix: 'shop', memory: {}, ...options })
  const answer = async (): Promise<{ version: number }> => {
    source.runs++
    return { version: source.version }
  }
  app.get('/user/:id', { cache: { key: 'user:{id}', tags: ['users'], staleWhileRevalidate: 60 } }, answer)
  app.get('/named/:id', { cache: { key: 'named:{id}' } }, async (_request, reply) => {
    reply.cacheTags('named')
    return await answer()
  })
  app.get('/varied/:id', { cache: { key: 'varied:{id}' } }, async (_request, reply) => {
    reply.header('vary', 'accept-language')
    return await answer()
  })
  app.get('/ended/:id', { cache: { key: 'ended:{id}', ttl: 1, staleWhileRevalidate: 60 } }, answer)
  await app.ready()
  await until(async () => app.cache.stats().tier?.isLive === true, 'the tier is live')
  return { app, redis, source }
}

const versionOf = async (app: CachedApp, url: string): Promise<number> => (await app.inject(url)).json().version

/** Asks until it is served from this process. */
async function warm (app: CachedApp, url: string): Promise<void> {
  const served = (): number => app.cache.stats().tier!.hits
  await until(async () => {
    const before = served()
    await app.inject(url)
    await settled(app)
    return served() > before
  }, `${url} is at hand`)
}

const server = await startRedis()
t.teardown(async () => { await server.stop() })

t.test('a hit sends Redis nothing', async (t) => {
  await server.ask('FLUSHALL')
  const { app } = await open(t, server, { version: 1, runs: 0 })
  const other = server.client()
  const urls = ['/user/1', '/named/1', '/varied/1']
  for (const url of urls) await warm(app, url)
  const { etag } = (await app.inject(urls[0]!)).headers
  const { hits } = app.cache.stats().tier!
  await other.config('RESETSTAT')
  for (let i = 0; i < 10; i++) {
    for (const url of urls) t.match(await app.inject(url), { statusCode: 200, headers: { 'cache-status': /; hit;/ } })
    t.equal((await app.inject({ url: urls[0]!, headers: { 'if-none-match': etag } })).statusCode, 304)
    t.match(await app.inject({ method: 'HEAD', url: urls[0]! }), { statusCode: 200, body: '' })
  }
  t.strictSame(await commandsOf(other), [])
  t.equal(app.cache.stats().tier!.hits, hits + 50)
  t.match(app.cache.stats(), { total: { errors: 0 }, tier: { isLive: true, drops: 0, entries: 7 } })

  t.equal((await app.inject({ url: '/varied/1', headers: { 'accept-language': 'fr' } })).headers['cache-status'],
    'fastify-route-cache; fwd=miss', 'another variant is asked of Redis')
  t.strictSame((await commandsOf(other)).includes('mget'), true)
})

t.test('what is no fresh hit is asked of Redis, and not counted', async (t) => {
  await server.ask('FLUSHALL')
  let now = Date.now()
  const { app, source } = await open(t, server, { version: 1, runs: 0 }, { now: () => now })
  await warm(app, '/ended/1')
  const { hits } = app.cache.stats().tier!
  now += 2_000
  source.version = 2
  t.equal(await versionOf(app, '/ended/1'), 1, 'stale, while it is refreshed')
  t.equal(app.cache.stats().tier!.hits, hits)
  await until(async () => app.cache.stats().total.stores === 2, 'it is refreshed')
  t.equal(await versionOf(app, '/ended/1'), 2, 'what this process has filled replaces it at once')
})

t.test('what this instance invalidates, it serves no more', async (t) => {
  await server.ask('FLUSHALL')
  const { app, source } = await open(t, server, { version: 1, runs: 0 })
  const { cache } = app
  const ways: Record<string, [url: string, way: () => Promise<unknown>]> = {
    'a key': ['/user/1', async () => await cache.invalidate('user:1')],
    'keys of variants': ['/varied/1', async () => await cache.invalidate(['varied:1', 'other'])],
    'a tag': ['/user/1', async () => await cache.invalidate({ tags: ['users'] })],
    'a tag that only the response named': ['/named/1', async () => await cache.invalidate({ tags: ['named'] })],
    'a prefix': ['/user/1', async () => await cache.invalidate({ prefix: 'use' })],
    'a prefix of variants': ['/varied/1', async () => await cache.invalidate({ prefix: 'varied:' })],
    everything: ['/user/1', async () => await cache.invalidate({ all: true })],
    'mutate, by key': ['/user/1', async () => await cache.mutate('user:1', async () => {})],
    'mutate, by tag': ['/user/1', async () => await cache.mutate({ tags: ['users'] }, async () => {})],
    set: ['/user/1', async () => await cache.set('user:1', async () => ({ version: source.version }), { route: '/user/1' })]
  }
  for (const [what, [url, way]] of Object.entries(ways)) {
    for (let round = 0; round < 8; round++) {
      await warm(app, url)
      source.version++
      await way()
      t.equal(await versionOf(app, url), source.version, what)
    }
  }
  for (const targets of ['user:1', { tags: ['users'] }]) {
    await warm(app, '/user/1')
    await cache.invalidate(targets, { soft: true })
    t.match(await app.inject('/user/1'), { headers: { 'cache-status': /; hit; ttl=-/ } }, 'softly: it is stale')
    await settled(app)
  }
  t.match(cache.stats(), { total: { errors: 0 }, tier: { drops: 0 } })
})

t.test('nor where a read that began before is answered behind it', async (t) => {
  await server.ask('FLUSHALL')
  const source = { version: 1, runs: 0 }
  const { app, redis } = await open(t, server, source)
  const targets = ['user:1', { tags: ['users'] }, { prefix: 'user:' }, { all: true as const }]
  for (const target of targets) {
    await warm(app, '/user/1')
    // It has to be asked for once more, and the reply is held up.
    await server.ask('PERSIST', 'shop:user:1')
    await until(async () => app.cache.stats().tier!.entries < 3, 'the copy was dropped')
    const { wait, reached, open: release } = gate()
    const mget = redis.mgetBuffer.bind(redis)
    redis.mgetBuffer = (async (...names: string[]) => {
      const values = await mget(...names)
      redis.mgetBuffer = mget
      await wait()
      return values
    }) as typeof mget
    const early = versionOf(app, '/user/1')
    await reached
    const old = source.version++
    await app.cache.invalidate(target)
    release()
    t.equal(await early, old, 'it began before')
    t.equal(await versionOf(app, '/user/1'), source.version, JSON.stringify(target))
  }
})

t.test('what another instance invalidates is served for no longer than the message takes', async (t) => {
  await server.ask('FLUSHALL')
  const source = { version: 1, runs: 0 }
  const [one, other] = await Promise.all([open(t, server, source), open(t, server, source)])
  for (const target of ['user:1', { tags: ['users'] }, { prefix: 'user:' }, { all: true as const }]) {
    await warm(one.app, '/user/1')
    await warm(other.app, '/user/1')
    source.version++
    await other.app.cache.invalidate(target)
    t.equal(await versionOf(other.app, '/user/1'), source.version)
    await until(async () => await versionOf(one.app, '/user/1') === source.version, JSON.stringify(target), 1_000)
  }
})

t.test('without the tracking connection it is Redis that is asked, and the log says why', async (t) => {
  await server.ask('FLUSHALL')
  const { app } = await open(t, server, { version: 1, runs: 0 })
  const other = server.client()
  await warm(app, '/user/1')
  await other.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(async () => app.cache.stats().tier!.drops === 1, 'it is dropped')
  t.match(app.lines.filter(({ level }) => level === 40), [{ msg: /serves nothing from this process/, err: { message: /tracking/ } }])
  t.match(await app.inject('/user/1'), { headers: { 'cache-status': /; hit;/ } })
  await warm(app, '/user/1')
  await app.close()
  await until(async () => !String(await other.client('LIST')).includes('fastify-route-cache-tracking'), 'the connection is closed')
})

t.test('no more is kept than there is room for, nor for longer than maxAge', async (t) => {
  await server.ask('FLUSHALL')
  let now = Date.now()
  const { app } = await open(t, server, { version: 1, runs: 0 }, { now: () => now, memory: { maxBytes: 30_000, maxAge: '10s' } })
  for (let i = 0; i < 50; i++) await app.inject(`/user/${i}`)
  await settled(app)
  for (let i = 0; i < 50; i++) await app.inject(`/user/${i}`)
  const { bytes, entries } = app.cache.stats().tier!
  t.ok(bytes <= 30_000 && entries > 5, `${entries} entries, ${bytes} bytes`)
  await warm(app, '/user/1')
  const { hits } = app.cache.stats().tier!
  now += 10_000
  t.match(await app.inject('/user/1'), { headers: { 'cache-status': /; hit;/ } })
  t.equal(app.cache.stats().tier!.hits, hits)
})

t.test('no tier unless it is asked for', async (t) => {
  await server.ask('FLUSHALL')
  for (const option of [{}, { memory: false as const }]) {
    const redis = server.client()
    await redis.ping()
    const app = await cachedApp(t, { redis, ...option })
    await app.ready()
    t.equal(app.cache.stats().tier, null)
  }
  t.notMatch(String(await server.ask('CLIENT', 'LIST')), 'fastify-route-cache-tracking')
})

t.test('what a handler asks its own app for, while its answer may be stored, is asked of Redis', async (t) => {
  await server.ask('FLUSHALL')
  const { reached, wait, open: letGo } = gate()
  const composed = await cachedApp(t, { redis: server.client(), prefix: 'shop', memory: {} })
  composed.get('/user/:id', { cache: { key: 'user:{id}', tags: ['users'], staleWhileRevalidate: 60 } }, async () => ({ version: 1 }))
  composed.get('/page', { cache: { key: 'page' } }, async () => {
    const near = composed.cache.stats().tier!.hits
    const part = await versionOf(composed, '/user/1')
    const isNear = composed.cache.stats().tier!.hits > near
    await wait()
    return { part, isNear }
  })
  await composed.listen()
  await until(async () => composed.cache.stats().tier?.isLive === true, 'the tier is live')
  await warm(composed, '/user/1')
  const asked = composed.inject('/page')
  await reached
  const near = composed.cache.stats().tier!.hits
  t.equal((await (await fetch(`${composed.listeningOrigin}/user/1`)).json() as Source).version, 1)
  t.equal(composed.cache.stats().tier!.hits, near + 1, 'clients are served what is near')
  letGo()
  t.strictSame((await asked).json(), { part: 1, isNear: false })
})
