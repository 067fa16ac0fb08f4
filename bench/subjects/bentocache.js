// bentocache in a handler of Fastify. `l2`: Redis alone; `l1`: memory in front of it, and a bus that tells other processes.
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl, variant }) => {
  const app = fastify()
  const { hostname: host, port } = new URL(redisUrl)
  const connection = new Redis(redisUrl)
  connection.on('error', () => {})
  const l2 = redisDriver({ connection })
  const store = variant === 'l2'
    ? bentostore().useL2Layer(l2)
    : bentostore().useL1Layer(memoryDriver({ maxSize: '64mb' })).useL2Layer(l2)
      .useBus(redisBusDriver({ connection: { host, port: Number(port) } }))
  const cache = new BentoCache({ default: 'items', ttl: TTL * 1000, stores: { items: store } })
  app.get('/item/:id', async ({ params: { id } }) => {
    return await cache.getOrSet({ key: `item:${id}`, ttl: TTL * 1000, factory: async () => await load(id) })
  })
  return { url: await listen(app), invalidate: async (id) => await cache.delete({ key: `item:${id}` }) }
})
