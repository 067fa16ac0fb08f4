// Cache-aside as it is written by hand: get, JSON.parse, return the object; on a miss load and set.
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const app = fastify()
  const redis = new Redis(redisUrl)
  redis.on('error', () => {})
  app.get('/item/:id', async ({ params }) => {
    const name = `item:${params.id}`
    const found = await redis.get(name)
    if (found !== null) return JSON.parse(found)
    const value = await load(params.id)
    await redis.set(name, JSON.stringify(value), 'EX', TTL)
    return value
  })
  return { url: await listen(app), invalidate: async (id) => await redis.del(`item:${id}`) }
})
