// layered-loader in a handler of Fastify: memory, kept in step by its notifications over Redis, in front of Redis.
import fastify from 'fastify'
import { Redis } from 'ioredis'
import layered from 'layered-loader'
import { listen, load, serve, TTL } from './subject.js'

const { createNotificationPair, Loader, RedisCache } = layered

await serve(async ({ redisUrl }) => {
  const app = fastify()
  const redis = () => {
    const client = new Redis(redisUrl)
    client.on('error', () => {})
    return client
  }
  const { publisher, consumer } = createNotificationPair({
    channel: 'items', publisherRedis: redis(), consumerRedis: redis()
  })
  const loader = new Loader({
    inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL * 1000, maxItems: 10_000 },
    asyncCache: new RedisCache(redis(), { json: true, prefix: 'item', ttlInMsecs: TTL * 1000 }),
    dataSourceGetOneFn: load,
    notificationPublisher: publisher,
    notificationConsumer: consumer
  })
  await loader.init()
  // Synchronous where memory has it, as its README advises for hot paths.
  app.get('/item/:id', async ({ params: { id } }) => loader.getInMemoryOnly(id) ?? await loader.get(id))
  return { url: await listen(app), invalidate: async (id) => await loader.invalidateCacheFor(id) }
})
