// Behind many misses of a route the lease is asked for together with the entry. It must be given back by whoever does not
// fill, keep nobody waiting, and end as every lease does.
import type { Redis } from 'ioredis'
import { get } from 'node:http'
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const MANY = 20

interface Opened { app: CachedApp, redis: Redis, server: RedisServer, ran: () => number }

interface Route { answer?: (id: string) => Promise<string>, options?: RouteCacheOptions, cache?: object }

/** An app with a route that has missed often. */
async function missing (t: Test, { answer = async (id) => id, options = {}, cache = {} }: Route = {}): Promise<Opened> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, ...options })
  let runs = 0
  app.get('/:id', { cache: { key: 'item:{id}', tags: ['items'], ...cache } }, async ({ params }) => {
    runs++
    return await answer((params as { id: string }).id)
  })
  await app.ready()
  await miss(app)
  return { app, redis, server, ran: () => runs }
}

async function miss (app: CachedApp): Promise<void> {
  for (let i = 0; i < MANY; i++) await app.inject(`/warm-${MANY - i}-${app.cache.stats().total.misses}`)
  await settled(app)
}

async function commands (redis: Redis, name: string): Promise<number> {
  return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await redis.info('commandstats'))?.[1] ?? 0)
}

const connections = async (app: CachedApp): Promise<number> =>
  await new Promise((resolve) => { app.server.getConnections((_, count) => { resolve(count) }) })

const leases = async (redis: Redis): Promise<string[]> => await redis.keys('lease:*')

t.test('who finds the entry gives the lease back, and the next one asks for none', async (t) => {
  const { app, redis } = await missing(t)
  await app.inject('/a')
  await settled(app)
  await miss(app)
  const before = await commands(redis, 'set')
  t.match((await app.inject('/a')).headers['cache-status'], /hit/)
  t.equal(await commands(redis, 'set') - before, 1, 'it was asked for')
  await app.cache.settled()
  t.strictSame(await leases(redis), [])
  t.match((await app.inject('/a')).headers['cache-status'], /hit/)
  t.equal(await commands(redis, 'set') - before, 1)
  t.match(app.cache.stats().total, { errors: 0 })
})

t.test('HEAD, parts of responses, and responses that vary take the lease when they need it', async (t) => {
  const { app, redis } = await missing(t)
  app.log.level = 'silent'
  const before = await commands(redis, 'set')
  await app.inject({ method: 'HEAD', url: '/head' })
  t.equal(await commands(redis, 'set') - before, 0)
  await miss(app)
  const then = await commands(redis, 'set')
  await app.inject({ url: '/part', headers: { range: 'bytes=0-0' } })
  t.equal(await commands(redis, 'set') - then, 0)
  const varying = await missing(t, { cache: { vary: ['accept-language'] } })
  const first = await commands(varying.redis, 'set')
  await varying.app.inject({ url: '/x', headers: { 'accept-language': 'de' } })
  await settled(varying.app)
  // The marker and the lease of the variant; marker, variant.
  t.equal(await commands(varying.redis, 'set') - first, 4)
})

t.test('a hundred requests for a cold key run the handler once, in two processes', async (t) => {
  const run = gate()
  const answer = async (id: string): Promise<string> => {
    if (id === 'cold') await run.wait()
    return id
  }
  const { app, server, ran } = await missing(t, { answer })
  let others = 0
  const other = await cachedApp(t, { redis: server.client() })
  other.get('/:id', { cache: { key: 'item:{id}', tags: ['items'] } }, async ({ params }) => {
    others++
    return await answer((params as { id: string }).id)
  })
  await other.ready()
  await miss(other)
  const [before, beforeOthers] = [ran(), others]
  const asked = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? app : other).inject('/cold'))
  await until(async () => ran() + others > before + beforeOthers, 'no handler ran')
  await until(async () => app.cache.stats().waiting + other.cache.stats().waiting === 99, async () =>
    `${app.cache.stats().waiting} and ${other.cache.stats().waiting} wait`)
  run.open()
  for (const { body } of await Promise.all(asked)) t.equal(body, 'cold')
  t.equal(ran() + others - before - beforeOthers, 1)
})

t.test('an invalidation ends it: the fill is refused', async (t) => {
  let row = 'old'
  let run = gate()
  const answer = async (id: string): Promise<string> => {
    if (id !== 'slow') return id
    const read = row
    await run.wait()
    return read
  }
  for (const targets of ['item:slow', { tags: ['items'] }, { prefix: 'item:' }, { all: true as const }]) {
    run = gate()
    const { app, redis } = await missing(t, { answer })
    const asked = app.inject('/slow')
    await run.reached
    t.equal((await leases(redis)).length, 1)
    row = 'new'
    await app.cache.invalidate(targets)
    run.open()
    t.equal((await asked).body, 'old')
    await settled(app)
    t.equal((await app.inject('/slow')).body, 'new', JSON.stringify(targets))
    row = 'old'
  }
})

t.test('a client that leaves before the lookup is answered leaves no lease', async (t) => {
  const { app, redis } = await missing(t)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  // The answers of Redis come when the client has gone.
  const send = redis.sendCommand.bind(redis) as (...args: unknown[]) => Promise<unknown>
  const answers = gate()
  redis.sendCommand = ((...args: [{ name: string }]) => {
    const sent = send(...args)
    return args[0].name === 'mget' ? answers.wait().then(async () => await sent) : sent
  }) as typeof redis.sendCommand
  const request = get(`${url}/left`)
  request.on('error', () => {})
  await answers.reached
  t.equal((await leases(redis)).length, 1)
  request.destroy()
  await until(async () => await connections(app) === 0, 'the client is there')
  answers.open()
  await until(async () => (await leases(redis)).length === 0, async () => `there are ${String(await leases(redis))}`, 2_000)
  t.match(app.cache.stats().total, { errors: 0 })
})

t.test('a server that is full is read, and the miss is not filled', async (t) => {
  const { app, redis } = await missing(t)
  await app.inject('/there')
  await settled(app)
  await miss(app)
  await redis.config('SET', 'maxmemory', '1')
  t.match(await app.inject('/there'), { body: 'there', headers: { 'cache-status': /hit/ } })
  t.equal((await app.inject('/new')).body, 'new')
  await redis.config('SET', 'maxmemory', '0')
})

t.test('a generation that is not there is created, and the lease is used with a later clock', async (t) => {
  const { app, redis } = await missing(t)
  await redis.del('cache#tag:items')
  t.equal((await app.inject('/a')).body, 'a')
  await settled(app)
  t.match((await app.inject('/a')).headers['cache-status'], /hit/)
  await app.cache.invalidate({ tags: ['items'] })
  t.match((await app.inject('/a')).headers['cache-status'], /fwd=miss/)
})
