// ocache's HTTP handler on a server of h3, its blob storage on ioredis.
import { H3, serve as serveH3 } from 'h3'
import { Redis } from 'ioredis'
import { createBlobStorage, defineCachedHandler } from 'ocache'
import { load, probe, PROBE, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const redis = new Redis(redisUrl)
  redis.on('error', () => {})
  const storage = createBlobStorage({
    get: async (key) => await redis.getBuffer(key),
    set: async (key, value, { ttl = TTL } = {}) => {
      if (value === null) await redis.del(key)
      else await redis.set(key, Buffer.from(value), 'EX', Math.ceil(ttl))
    }
  })
  const options = { storage, maxAge: TTL, swr: false }
  const app = new H3()
  const item = defineCachedHandler(async (event) => {
    const { pathname } = event.url
    const value = await load(pathname.slice(pathname.lastIndexOf('/') + 1))
    return new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } })
  }, { ...options, name: 'item' })
  app.get('/item/:id', item)
  app.get('/probe', defineCachedHandler(async () => new Response(probe(), {
    status: PROBE.status, headers: { 'content-type': PROBE.type, [PROBE.header]: PROBE.made }
  }), { ...options, name: 'probe' }))
  const server = serveH3(app, { hostname: '127.0.0.1', port: 0, silent: true })
  await server.ready()
  const url = server.url.replace(/\/$/, '')
  return { url, invalidate: async (id) => await item.invalidate({ req: new Request(`${url}/item/${id}`), url: new URL(`${url}/item/${id}`) }) }
})
