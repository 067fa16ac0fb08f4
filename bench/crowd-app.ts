// One of the crowd's processes: an app with the plugin on the Redis that it is told, its handlers slow and counted.
import { Redis } from 'ioredis'
import fastify from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'
import routeCache from '../plugin/index.js'

const redis = new Redis(process.env.REDIS_URL!)
// It is ended with its driver; the server may be gone before.
redis.on('error', () => {})
await redis.ping()
const app = fastify()
await app.register(routeCache, { redis, prefix: 'crowd', deadline: 5, writeDeadline: 10 })
let runs = 0

app.get('/shared/:id', { cache: { key: 'shared:{id}', ttl: 60 } }, async (request) => {
  runs++
  process.send!({ running: request.url })
  await delay(Number((request.query as { ms?: string }).ms ?? 300))
  return { by: process.pid }
})
app.get('/private/:id', { cache: { key: 'private:{id}', ttl: 60 } }, async (_, reply) => {
  runs++
  await delay(300)
  return await reply.header('cache-control', 'no-store').send({ by: process.pid })
})
app.get('/runs', async () => ({ runs, ...app.cache.stats().total }))

process.send!({ url: await app.listen({ port: 0, host: '127.0.0.1' }) })
process.on('disconnect', () => { process.exit() })
