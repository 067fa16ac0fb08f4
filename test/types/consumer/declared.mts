// An app with a `cache` of its own, that says so to TypeScript, and has ours under another name.
import Fastify from 'fastify'
import routeCache, { type RouteCache } from 'fastify-route-cache'

declare module 'fastify' {
  interface FastifyInstance {
    cache: Map<string, string>
    routeCache: RouteCache
  }
}

export async function build () {
  const app = Fastify()
  app.decorate('cache', new Map<string, string>())
  await app.register(routeCache, { decorator: 'routeCache' })
  app.get('/users/:id', { cache: { key: 'user:{id}' } }, async (request) => request.server.cache.get('a'))
  await app.routeCache.invalidate('user:1')
  // @ts-expect-error a map's own
  await app.cache.invalidate('user:1')
  return app.cache.size
}
