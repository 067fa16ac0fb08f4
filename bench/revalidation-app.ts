// The app of revalidation.ts: the demo's `/nearest` on the Redis and the Postgres that it is told, with a clock that can be
// put forward. Says how much of the processor this process has had.
import fastifyPostgres from '@fastify/postgres'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { nearest } from '../demo-app/routes/nearest.js'
import routeCache from '../plugin/index.js'

const redis = new Redis(process.env.REDIS_URL!)
// It is ended with its driver; the servers may be gone before.
redis.on('error', () => {})
await redis.ping()
const app = fastify()
let ahead = 0
await app.register(fastifyPostgres, { connectionString: process.env.POSTGRES_URL!, max: 2 })
app.pg.pool.on('error', () => {})
await app.register(routeCache, { redis, prefix: 'revalidation', deadline: 30, writeDeadline: 30, now: () => Date.now() + ahead })
await app.register(nearest)
/** Beyond the ttl, so that all entries are stale. */
app.get('/pass', async () => {
  await app.cache.settled()
  ahead += 11 * 60_000
  return {}
})
app.get('/drop', async () => {
  await app.cache.settled()
  return { removed: await app.cache.invalidate({ prefix: 'nearest:' }) }
})
app.get('/usage', async () => {
  const { user, system } = process.cpuUsage()
  return { milliseconds: (user + system) / 1000, ...app.cache.stats().total }
})

process.send!({ url: await app.listen({ port: 0, host: '127.0.0.1' }) })
process.on('disconnect', () => { process.exit() })
