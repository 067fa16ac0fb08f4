// Redis stopped, paused or away: requests get their handler's answer, and only invalidation says that it failed.
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { beyondLookup, cachedApp, gate, settled, told, type CachedApp } from '../helpers/app.js'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { TAKE } from '../../plugin/store/redis/scripts.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'

interface Parts { app: CachedApp, server: RedisServer, redis: Redis }

async function parts (t: Test): Promise<Parts> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, deadline: '500ms', writeDeadline: '1s' })
  let runs = 0
  app.get('/', { cache: { key: 'k' } }, async () => ++runs)
  return { app, server, redis }
}

t.test('Redis hangs: a request waits one deadline, an invalidation rejects', async (t) => {
  const { app, server } = await parts(t)
  await app.inject('/')
  await settled(app)
  await server.pause()
  const response = await app.inject('/')
  t.equal(response.body, '2')
  t.equal(response.headers['cache-status'], 'fastify-route-cache; fwd=bypass; detail=store')
  await t.rejects(app.cache.invalidate('k'), { code: 'FRC_DEADLINE', message: /within 1000 ms/ })
  await t.rejects(app.cache.invalidate({ prefix: 'k' }), { code: 'FRC_DEADLINE' })
  await t.rejects(app.cache.inspect('k'), { code: 'FRC_DEADLINE' })
  t.match(app.cache.stats(), { invalidations: 0, total: { errors: 1, bypasses: { store: 1 } } })
  t.match(app.lines.find(({ msg }) => String(msg).startsWith('cache lookup failed')), { level: 40, err: { code: 'FRC_DEADLINE' } })

  server.resume()
  await app.cache.invalidate('k')
  await told(app)
  t.equal((await app.inject('/')).body, '3')
  await settled(app)
  t.match((await app.inject('/')).headers['cache-status'], /hit/, 'and works again')
})

t.test('Redis hangs while the handler runs: the client does not wait for the fill', async (t) => {
  const { app, server } = await parts(t)
  app.get('/pausing', { cache: { key: 'pausing' } }, async () => { await server.pause(); return 'x' })
  t.equal((await app.inject('/pausing')).body, 'x')
  await settled(app)
  t.match(app.cache.stats().total, { errors: 1, refusals: { store: 1 } })
  server.resume()
})

t.test('a lease that came after the deadline is given back', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  let paused: Promise<void> | undefined
  let taken: Promise<unknown> | undefined
  await TAKE.run(redis, ['lease:{known}', 'known'], ['the script', 1])
  const pausing = new Proxy(redis, {
    get: (target, name) => name !== 'evalsha'
      ? Reflect.get(target, name)
      : async (...args: Parameters<RedisClient['evalsha']>) => {
        if (taken !== undefined || args[2] !== 'lease:{cache:k}') return await redis.evalsha(...args)
        paused = server.pause()
        taken = paused.then(async () => await redis.evalsha(...args))
        return await taken
      }
  })
  const app = await cachedApp(t, { redis: pausing, deadline: '50ms' })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  t.equal((await app.inject('/')).headers['cache-status'], 'fastify-route-cache; fwd=bypass; detail=store')
  // The deadline may be over before it stands still, and then it would wait for that for ever.
  await paused
  server.resume()
  t.equal(await taken, 1, 'the lease was taken late')
  while (await redis.exists('lease:{cache:k}') === 1);
  t.pass('and given back, long before it would have ended')
})

t.test('Redis is gone: a request does not wait, an invalidation rejects', async (t) => {
  const { app, server, redis } = await parts(t)
  await app.inject('/')
  await settled(app)
  const closed = new Promise((resolve) => redis.once('close', resolve))
  await server.kill()
  await closed
  t.match(await app.inject('/'), { statusCode: 200, body: '2' })
  await t.rejects(app.cache.invalidate('k'), { code: 'FRC_DEADLINE' })

  const ready = new Promise((resolve) => redis.once('ready', resolve))
  await server.restart()
  await ready
  await told(app)
  t.equal((await app.inject('/')).body, '3')
  await settled(app)
  t.match((await app.inject('/')).headers['cache-status'], /hit/)
})

t.test('Redis refuses: the error is the cause', async (t) => {
  const { app, redis } = await parts(t)
  await app.ready()
  await redis.config('SET', 'min-replicas-to-write', '1')
  t.match(await app.inject('/'), { statusCode: 200, body: '1' })
  t.match(app.cache.stats().total, { errors: 1, bypasses: { store: 1 } })
  const refused = { code: 'FRC_STORE', message: /^invalidate: redis failed \(NOREPLICAS: .*\);/, cause: { message: /NOREPLICAS/ } }
  await t.rejects(app.cache.invalidate({ tags: ['t'] }), refused)
  await redis.config('SET', 'min-replicas-to-write', '0')
  await told(app)
  await redis.hset('cache:k', 'a', 'hash')
  t.match(await app.inject('/'), { statusCode: 200, body: '2' })
  await settled(app)
  t.match(await app.cache.inspect('k'), { status: 200 }, 'what is no entry is overwritten')
  await redis.del('cache#floor')
  await redis.hset('cache#floor', 'a', 'hash')
  t.match(await app.inject('/'), { statusCode: 200, body: '3' })
  await settled(app)
  t.equal((await app.inject('/')).body, '3', 'so is what is no floor')
})

t.test('Redis hangs when the handler has answered: who waits for it does not wait for the fill', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, deadline: '500ms', writeDeadline: '20s' })
  const { wait, reached, open } = gate()
  let runs = 0
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
    // A tag that nobody knows takes steps of its own.
    reply.cacheTags('late')
    if (++runs === 1) await wait()
    return `${runs}`
  })
  const leader = app.inject('/')
  await reached
  const followers = [app.inject('/'), app.inject('/')]
  // They have looked it up, and wait.
  await beyondLookup(app)
  await server.pause()
  const began = performance.now()
  open()
  t.equal((await leader).body, '1')
  t.strictSame((await Promise.all(followers)).map(({ statusCode }) => statusCode), [200, 200])
  const time = performance.now() - began
  t.ok(time < 15_000, `one deadline, not the 20 seconds that a fill has: ${time} ms`)
  t.equal(runs, 3)
  server.resume()
})
