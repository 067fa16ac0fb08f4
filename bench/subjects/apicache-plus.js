// apicache-plus as a middleware of Fastify, through @fastify/middie, its Redis client ioredis as its README advises.
import middie from '@fastify/middie'
import apicache from 'apicache-plus'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { listen, load, probe, PROBE, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const app = fastify()
  const redis = new Redis(redisUrl)
  redis.on('error', () => {})
  await app.register(middie)
  const cache = apicache.newInstance({ redisClient: redis })
  app.use(cache.middleware(`${TTL} seconds`))
  app.get('/item/:id', async ({ params }) => await load(params.id))
  app.get('/probe', async (_, reply) => {
    return await reply.code(PROBE.status).type(PROBE.type).header(PROBE.header, PROBE.made).send(probe())
  })
  return {
    url: await listen(app),
    invalidate: async (id) => await cache.clear(await cache.getKey({ method: 'GET', url: `/item/${id}`, params: {} }))
  }
})
