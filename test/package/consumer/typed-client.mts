// A user's TypeScript with a Redis client: of either major of ioredis, and by @fastify/redis.
import redis from '@fastify/redis'
import Fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import { createCache, type CacheClient, type RouteCacheError } from 'fastify-route-cache/client'
import { Cluster, Redis } from 'ioredis'

export async function build () {
  const app = Fastify()
  await app.register(redis, { url: 'redis://127.0.0.1:6379' })
  await app.register(routeCache)
  await app.register(routeCache, { decorator: 'b', redis: app.redis })
  await app.register(routeCache, { decorator: 'c', redis: new Redis({ lazyConnect: true }), memory: { maxAge: '1m' } })
  await app.register(routeCache, { decorator: 'd', redis: new Cluster([{ host: '127.0.0.1', port: 7000 }]) })
  // @ts-expect-error not a client, but an address
  await app.register(routeCache, { decorator: 'e', redis: 'redis://127.0.0.1:6379' })
  // @ts-expect-error a map is no client
  await app.register(routeCache, { decorator: 'f', redis: new Map<string, string>() })
  return app
}

export async function work (): Promise<Date> {
  const cache: CacheClient = await createCache({ redis: new Redis({ lazyConnect: true }), prefix: 'shop', logger: false })
  await createCache({ redis: { url: 'redis://127.0.0.1:6379' } })
  await createCache({ redis: new Cluster([{ host: '127.0.0.1', port: 7000 }]), logger: console })
  // @ts-expect-error it shares what is in Redis
  await createCache({ prefix: 'shop' })
  // @ts-expect-error it is for routes
  await createCache({ redis: { url: '' }, cacheStatus: false })
  const removed: number = await cache.invalidate({ keys: [cache.key('user:{id}', { id: 7 })], tags: ['users'] })
  const date = await cache.getOrSet('date', { ttl: '1m' }, () => new Date(removed))
  await cache.close({ timeout: '5s' }).catch(({ untold }: RouteCacheError) => {
    if (untold !== undefined) return cache.invalidate(untold)
  })
  return date
}
