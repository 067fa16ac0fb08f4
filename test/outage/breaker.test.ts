// Redis that hangs or is gone: after a few requests it is not asked any more, and when it is back it is used again.
import type { Redis } from 'ioredis'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'
import { startCluster, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

const OPENED = 'the cache does without its store'
const CLOSED = 'the cache uses its store again'

async function appOn (t: Test, redis: Redis | object, options: RouteCacheOptions = {}): Promise<CachedApp> {
  const app = await cachedApp(t, { redis: redis as Redis, deadline: '100ms', ...options })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  app.get('/:id', { cache: { key: 'k:{id}' } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  return app
}

function said (app: CachedApp, message: string): number {
  return app.lines.filter(({ msg, level }) => String(msg).startsWith(message) && level as number >= 30).length
}

const state = (app: CachedApp): string => app.cache.stats().breaker
const statusOf = async (app: CachedApp): Promise<unknown> => (await app.inject('/')).headers['cache-status']

/** Commands that Redis has run, this one not. */
async function commands (redis: Redis): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))![1])
}

t.test('Redis hangs: it opens, requests go past, it closes by itself', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const app = await appOn(t, server.client())
  t.match(await statusOf(app), /hit/)
  t.equal(state(app), 'closed')
  await server.pause()
  await Promise.all(Array.from({ length: 20 }, async () => { t.match(await statusOf(app), /detail=store$/) }))
  await until(async () => state(app) === 'open', 'it did not open')
  const { errors } = app.cache.stats().total
  for (let i = 0; i < 50; i++) t.equal(await statusOf(app), 'fastify-route-cache; fwd=bypass; detail=breaker')
  t.match(app.cache.stats().total, { errors, bypasses: { store: 20, breaker: 50 } })
  t.equal(said(app, OPENED), 1)
  t.equal(said(app, 'cache lookup failed'), 1, 'of twenty')
  t.equal(await app.cache.getOrSet('v', {}, () => 'loaded'), 'loaded', 'values do without as well')
  server.resume()
  await until(async () => state(app) === 'closed', 'it did not close')
  t.match(await statusOf(app), /hit/)
  t.equal(said(app, CLOSED), 1)
})

t.test('Redis is gone and comes back, empty', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  const app = await appOn(t, redis)
  await server.kill()
  await until(async () => { await statusOf(app); return state(app) === 'open' }, 'it did not open')
  await server.restart()
  await until(async () => state(app) === 'closed', 'it did not close')
  t.match(await statusOf(app), /fwd=miss/)
  await settled(app)
  t.match(await statusOf(app), /hit/)
})

t.test('a node of a Cluster hangs: no key waits for it', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  const app = await appOn(t, client)
  let n = 0
  const node = cluster.servers[2]!
  await node.pause()
  await until(async () => { await app.inject(`/${n++}`); return state(app) === 'open' }, 'it did not open')
  for (let i = 0; i < 30; i++) t.match((await app.inject(`/${i}`)).headers['cache-status'], /detail=breaker$/)
  node.resume()
  await until(async () => state(app) === 'closed', 'it did not close')
  t.match(await statusOf(app), /hit|miss/)
})

t.test('Redis refuses to write: what it has is still served', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  const app = await appOn(t, redis)
  await redis.config('SET', 'maxmemory', '1')
  await redis.config('SET', 'maxmemory-policy', 'noeviction')
  for (let i = 0; i < 50; i++) t.match((await app.inject(`/${i}`)).headers['cache-status'], /detail=store/)
  t.equal(state(app), 'closed')
  t.match(await statusOf(app), /hit/)
  t.equal(said(app, 'cache lookup failed'), 1, 'of fifty')
})

t.test('a process that is busy does not open it', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  // As long as Redis itself may have to wait for a processor.
  const app = await appOn(t, server.client(), { deadline: '100ms' })
  for (let i = 0; i < 8; i++) {
    const answers = Array.from({ length: 5 }, async (_, j) => await app.inject(`/${i}.${j}`))
    for (let turns = 0; turns < 4; turns++) {
      const end = performance.now() + 125
      while (performance.now() < end);
      await turn()
    }
    for (const { headers } of await Promise.all(answers)) t.match(headers['cache-status'], /fwd=miss/, 'nor is a lookup late')
  }
  await turn()
  t.equal(state(app), 'closed')
  t.equal(said(app, OPENED), 0)
})

t.test('0: it never opens', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const app = await appOn(t, server.client(), { deadline: '10ms', breakerThreshold: 0 })
  await server.pause()
  for (let i = 0; i < 20; i++) t.match(await statusOf(app), /detail=store$/)
  t.equal(state(app), 'closed')
  server.resume()
})

t.test('an app that closes while it is open leaves nothing behind, and asks no more', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  const other = server.client()
  const app = await appOn(t, redis, { deadline: '20ms', breakerThreshold: 1 })
  await server.pause()
  await statusOf(app)
  await until(async () => state(app) === 'open', 'it did not open')
  const closed = app.close()
  server.resume()
  await closed
  const before = await commands(other)
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.equal(await commands(other), before + 1, 'only what asks for it')
})
