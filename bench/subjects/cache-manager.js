// cache-manager's wrap in a handler of Fastify, its one store @keyv/redis.
import { createKeyv } from '@keyv/redis'
import { createCache } from 'cache-manager'
import fastify from 'fastify'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const app = fastify()
  const store = createKeyv(redisUrl)
  store.on('error', () => {})
  const cache = createCache({ stores: [store], ttl: TTL * 1000 })
  app.get('/item/:id', async ({ params: { id } }) => await cache.wrap(`item:${id}`, async () => await load(id)))
  return { url: await listen(app), invalidate: async (id) => await cache.del(`item:${id}`) }
})
