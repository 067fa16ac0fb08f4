// A request that found nothing, and wants the lease when another one's fill has landed and given the lease back:
//
//   1. R  reads: nothing there
//   2. L  reads, takes the lease, runs, fills; the lease is free again
//   3. R  takes the lease: refused, as there is something else now than what R saw
//   4. R  reads again: a hit, and one run in all
import t from 'tap'
import type { RedisClient } from '../../plugin/store/redis-client.js'
import { cachedApp, gate, settled } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

t.test('does not run the handler again', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const late = gate()
  let isHeld = false
  const holding: RedisClient = new Proxy(redis, {
    get: (target, name) => name !== 'evalsha'
      ? Reflect.get(target, name)
      : async (...args: Parameters<RedisClient['evalsha']>) => {
        if (args[2] === 'lease:{cache:k}' && !isHeld) {
          isHeld = true
          await late.wait()
        }
        return await redis.evalsha(...args)
      }
  })
  let runs = 0
  const [reader, leader] = [await cachedApp(t, { redis: holding }), await cachedApp(t, { redis })]
  for (const app of [reader, leader]) app.get('/', { cache: { key: 'k' } }, async () => ++runs)
  const reading = reader.inject('/')
  await late.reached
  t.equal((await leader.inject('/')).body, '1')
  await settled(leader)
  late.open()
  const response = await reading
  t.equal(response.body, '1')
  t.match(response.headers['cache-status'], /; hit;/)
  t.equal(runs, 1)
})
