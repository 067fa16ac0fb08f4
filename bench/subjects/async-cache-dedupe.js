// async-cache-dedupe in a handler of Fastify, its storage Redis over ioredis; without references, which cost it commands.
import { createCache } from 'async-cache-dedupe'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const app = fastify()
  const client = new Redis(redisUrl)
  client.on('error', () => {})
  const cache = createCache({ ttl: TTL, storage: { type: 'redis', options: { client } } })
  cache.define('item', load)
  app.get('/item/:id', async ({ params }) => await cache.item(params.id))
  return { url: await listen(app), invalidate: async (id) => await cache.clear('item', id) }
})
