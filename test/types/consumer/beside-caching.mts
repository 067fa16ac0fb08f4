// What a user's compiler sees of an app that has @fastify/caching, too. Compiled by decorators.test.ts as an ES module
// and, copied to .cts, as CommonJS.
import caching from '@fastify/caching'
import Fastify from 'fastify'
import routeCache, { type CacheStats, type RouteCache } from 'fastify-route-cache'

export async function build () {
  const app = Fastify()
  await app.register(caching, { privacy: caching.privacy.PUBLIC, expiresIn: 300 })
  await app.register(routeCache, { decorator: 'routeCache' })
  app.get<{ Params: { id: string } }>('/users/:id', { cache: { key: ({ params }) => `user:${params.id}` } }, async (request, reply) => {
    reply.cacheTags('users').etag('"a"')
    return request.server.routeCache.stats()
  })
  await app.routeCache.invalidate('user:1')
  // @ts-expect-error a target is no number
  await app.routeCache.invalidate(7)
  const found: RouteCache = app.routeCache
  const stats: CacheStats = found.stats()

  // Theirs is under its own name.
  app.cache.set('a', 1, 1000, () => {})
  // @ts-expect-error not ours
  await app.cache.invalidate('user:1')
  const life: number | undefined = app.etagMaxLife
  return [stats, life, app.cacheSegment]
}
