// fastify-route-cache, built, on one server or a Cluster, with so many tags an entry: for scaling.ts. The variant is JSON
// of { nodes, tags }.
import fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import routeCache from '../../dist/esm/index.js'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl, variant }) => {
  const { nodes, tags } = JSON.parse(variant)
  const app = fastify()
  const redis = nodes === undefined ? new Redis(redisUrl) : new Cluster(nodes)
  redis.on('error', () => {})
  await app.register(routeCache, { prefix: 'bench', redis })
  const names = Array.from({ length: tags }, (_, i) => `tag-${i}`)
  app.get('/item/:id', { cache: { key: 'item:{id}', ttl: TTL, tags: names } }, async ({ params }) => await load(params.id))
  return { url: await listen(app), invalidate: async () => await app.cache.invalidate({ tags: names.slice(0, 1) }) }
})
