// One of the processes of stale.ts: an app on the Redis and the Postgres that it is told, its handlers slow and counted.
import { Redis } from 'ioredis'
import fastify from 'fastify'
import pg from 'pg'
import { setTimeout as delay } from 'node:timers/promises'
import routeCache from '../plugin/index.js'

const redis = new Redis(process.env.REDIS_URL!)
// It is ended with its driver; the servers may be gone before.
redis.on('error', () => {})
await redis.ping()
const database = new pg.Pool({ connectionString: process.env.POSTGRES_URL, max: 4, connectionTimeoutMillis: 2_000 })
database.on('error', () => {})
const app = fastify()
await app.register(routeCache, { redis, prefix: 'stale', deadline: 5, writeDeadline: 10 })
let runs = 0
const answer = async (milliseconds: number): Promise<{ run: number, by: number }> => {
  const run = ++runs
  await delay(milliseconds)
  return { run, by: process.pid }
}

app.get('/stale', { cache: { key: 'stale', ttl: 3, staleWhileRevalidate: 60 } }, async () => await answer(500))
app.get('/hot', { cache: { key: 'hot', ttl: 2, earlyRefresh: true } }, async () => await answer(100))
app.get('/late', { cache: { key: 'late', ttl: 2 } }, async () => await answer(100))
app.get('/rescued', { cache: { key: 'rescued', ttl: 1, staleIfError: 8 } }, async () => {
  runs++
  const { rows: [row] } = await database.query('SELECT now()::text AS now')
  return { now: row.now, by: process.pid }
})
app.get('/runs', async () => ({ runs, ...app.cache.stats().total }))

process.send!({ url: await app.listen({ port: 0, host: '127.0.0.1' }) })
process.on('disconnect', () => { process.exit() })
