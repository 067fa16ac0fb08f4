// fastify-route-cache, built, with so many bytes for what this process keeps: for full.ts. The variant is JSON of
// { store, maxBytes, plugin }. `store`: `memory`, `tier`, or `none` for the route without a cache. `plugin`: the folder of a
// checkout that is built.
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { pathToFileURL } from 'node:url'
import { listen, load, serve, TTL } from './subject.js'

await serve(async ({ redisUrl, variant }) => {
  const { store, maxBytes, plugin } = JSON.parse(variant)
  const app = fastify()
  const handler = async ({ params }) => await load(params.id)
  if (store === 'none') {
    app.get('/item/:id', handler)
    return { url: await listen(app) }
  }
  const { default: routeCache } = await import(pathToFileURL(`${plugin}/dist/esm/index.js`))
  const redis = store === 'tier' ? new Redis(redisUrl) : undefined
  redis?.on('error', () => {})
  const size = redis === undefined ? { maxStoreBytes: maxBytes } : { redis, memory: { maxBytes, maxAge: TTL } }
  await app.register(routeCache, { prefix: 'bench', ...size })
  app.get('/item/:id', { cache: { key: 'item:{id}', ttl: TTL, tags: ['items'] } }, handler)
  return { url: await listen(app) }
})
