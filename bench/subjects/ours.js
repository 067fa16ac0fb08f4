// fastify-route-cache, built, as users have it. `redis`; `node-redis`: by another client; `tier`: with the mirror in this
// process; `memory`: without Redis.
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import routeCache from '../../dist/esm/index.js'
import { listen, load, probe, PROBE, serve, TTL } from './subject.js'

const OPTIONS = {
  redis: {},
  'node-redis': {},
  tier: { memory: { maxBytes: 64 * 1024 * 1024, maxAge: TTL } },
  memory: {}
}

await serve(async ({ redisUrl, variant }) => {
  const app = fastify()
  const redis = variant === 'memory' ? undefined : variant === 'node-redis' ? createClient({ url: redisUrl }) : new Redis(redisUrl)
  redis?.on('error', () => {})
  if (variant === 'node-redis') await redis.connect()
  await app.register(routeCache, { prefix: 'bench', ...redis && { redis }, ...OPTIONS[variant] })
  app.get('/item/:id', { cache: { key: 'item:{id}', ttl: TTL, tags: ['items'] } }, async ({ params }) => await load(params.id))
  app.get('/probe', { cache: { key: 'probe', ttl: TTL, statuses: { 203: TTL } } }, async (_, reply) => {
    return await reply.code(PROBE.status).type(PROBE.type).header(PROBE.header, PROBE.made).send(probe())
  })
  return {
    url: await listen(app),
    // By turns by its tag and by its key.
    invalidate: async (id, i) => await app.cache.invalidate(i % 2 === 0 ? { tags: ['items'] } : `item:${id}`)
  }
})
