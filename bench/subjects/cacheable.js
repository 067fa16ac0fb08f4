// cacheable's getOrSet in a handler of Fastify: memory in front of Redis, not waiting for Redis, as its README has it for
// speed.
import { createKeyvNonBlocking } from '@keyv/redis'
import { Cacheable } from 'cacheable'
import fastify from 'fastify'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const app = fastify()
  const secondary = createKeyvNonBlocking(redisUrl)
  secondary.on('error', () => {})
  const cache = new Cacheable({ secondary, nonBlocking: true, ttl: TTL * 1000 })
  cache.on('error', () => {})
  app.get('/item/:id', async ({ params: { id } }) => await cache.getOrSet(`item:${id}`, async () => await load(id)))
  return { url: await listen(app), invalidate: async (id) => await cache.delete(`item:${id}`) }
})
