// Read by `npm run typecheck`, never run: what TypeScript sees of the route option, and what it refuses.
import fastify, { type FastifyTypeProvider } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import routeCache, { type CacheOutcome, type CacheStats } from 'fastify-route-cache'

const app = fastify()
await app.register(routeCache)
await app.register(routeCache, { redis: new Redis(), ttl: '10m', deadline: '50ms', jitter: 0.1 })
await app.register(routeCache, { redis: new Cluster([]) })
await app.register(routeCache, {
  surrogateKeys: 'Cache-Tag',
  onInvalidate: async ({ keys, surrogateKeys, signal }) => { await fetch(keys.concat(surrogateKeys).join(), { signal }) },
  onInvalidateTimeout: '1s'
})
// @ts-expect-error not such a field
await app.register(routeCache, { surrogateKeys: 'xkey' })
// @ts-expect-error an option that there is not
await app.register(routeCache, { tttl: 1 })
// @ts-expect-error not a client
await app.register(routeCache, { redis: 'redis://127.0.0.1' })

// @ts-expect-error only where the app's types have it, or beside @fastify/caching
await app.routeCache.invalidate('a')

app.get('/a', { cache: true }, async () => 'x')
app.get('/b', { cache: { key: 'b', ttl: 10 } }, async () => 'x')
app.get('/c', { cache: { key: async (request) => request.url, ttl: '10m', when: (request) => request.ip !== '' } }, async () => 'x')
app.get('/d', { cache: { ttl: (request, reply) => request.url.length + reply.statusCode, storeIf: (reply) => reply.sent } }, async () => 'x')
app.route({ method: 'GET', url: '/e', cache: { key: 'e' }, handler: async () => 'x' })
// @ts-expect-error a ttl is seconds, a string or a function
app.get('/f', { cache: { ttl: {} } }, async () => 'x')
app.get('/stale', { cache: { staleWhileRevalidate: 60, staleIfError: '1h' } }, async () => 'x')
app.get('/named', { cache: { surrogateKeys: 'Surrogate-Key' } }, async () => 'x')
app.get('/unnamed', { cache: { surrogateKeys: false } }, async () => 'x')
app.get('/early', { cache: { earlyRefresh: true } }, async () => 'x')
// @ts-expect-error true or false
app.get('/early', { cache: { earlyRefresh: 10 } }, async () => 'x')
// @ts-expect-error a length of time
app.get('/stale', { cache: { staleIfError: true } }, async () => 'x')
// @ts-expect-error an option that there is not
app.get('/g', { cache: { tttl: 1 } }, async () => 'x')
// @ts-expect-error a key function gives a string
app.get('/h', { cache: { key: () => 7 } }, async () => 'x')
app.get<{ Params: { id: string } }>('/tags/:id', { cache: { tags: (request) => [request.params.id] } }, async () => 'x')
// @ts-expect-error tags are a list
app.get('/tags', { cache: { tags: 'a' } }, async () => 'x')
// @ts-expect-error also in a full route
app.route({ method: 'GET', url: '/i', cache: { ttl: {} }, handler: async () => 'x' })

// In its config.
app.get('/config', { config: { routeCache: { key: 'b', ttl: 10, identity: (request) => request.ip } } }, async () => 'x')
app.put('/config', { config: { routeCache: { invalidates: ['b'] } } }, async () => 'x')
// @ts-expect-error a ttl is seconds, a string or a function
app.get('/config', { config: { routeCache: { ttl: {} } } }, async () => 'x')

// What a route changes.
app.put('/users/:id', { cache: { invalidates: ['user:{id}', { keys: ['a'], tags: ['users'], prefix: 'page:' }, { all: true }] } }, async () => 'x')
app.delete('/users/:id', { cache: { invalidates: ['user:{id}'], onError: 'fail' } }, async () => 'x')
app.post('/users', { cache: { invalidates: (request, reply) => ({ tags: [request.url, `${reply.statusCode}`] }) } }, async () => 'x')
app.post('/posts', { cache: { invalidates: async (request) => request.url } }, async () => 'x')
app.route({ method: ['PUT', 'PATCH'], url: '/posts', cache: { invalidates: ['a'] }, handler: async () => 'x' })
const names: readonly string[] = ['a']
app.put('/names', { cache: { invalidates: names } }, async () => 'x')
// @ts-expect-error a list, also of one
app.put('/n', { cache: { invalidates: 'a' } }, async () => 'x')
// @ts-expect-error there is only 'fail'
app.put('/o', { cache: { invalidates: ['a'], onError: 'ignore' } }, async () => 'x')
// @ts-expect-error of what?
app.put('/p', { cache: { onError: 'fail' } }, async () => 'x')
// @ts-expect-error keys are a list
app.put('/q', { cache: { invalidates: [{ keys: 'a' }] } }, async () => 'x')
// @ts-expect-error a function gives a target
app.put('/r', { cache: { invalidates: () => 7 } }, async () => 'x')
app.put<{ Params: { id: string } }>('/s/:id', { cache: { invalidates: ({ params }) => params.id.trim() } }, async () => 'x')
// @ts-expect-error a param that the route does not have
app.put<{ Params: { id: string } }>('/t/:id', { cache: { invalidates: ({ params }) => params.nope } }, async () => 'x')
app.put<{ Body: { team: string } }>('/u', { cache: { invalidates: ({ body }) => ({ tags: [body.team] }) } }, async () => 'x')

// The functions of a policy get the route's own types: from generics …
app.get<{ Params: { id: string } }>('/j/:id', { cache: { key: (request) => request.params.id.toUpperCase() } }, async () => 'x')
// @ts-expect-error … so a param that the route does not have is an error
app.get<{ Params: { id: string } }>('/k/:id', { cache: { key: (request) => request.params.nope } }, async () => 'x')

// … and from a type provider.
interface Provider extends FastifyTypeProvider {
  validator: this['schema'] extends { readonly of: infer Type } ? Type : unknown
}
const typed = fastify().withTypeProvider<Provider>()
typed.get('/l/:id', {
  schema: { params: { of: { id: 7 } } },
  cache: { key: (request) => request.params.id.toFixed() }
}, async (request) => request.params.id.toFixed())

typed.put('/l/:id', {
  schema: { params: { of: { id: 7 } } },
  cache: { invalidates: (request) => [request.params.id.toFixed()] }
}, async (request) => request.params.id.toFixed())

typed.get('/m', async (request, reply) => {
  const outcome: CacheOutcome | null = request.cacheOutcome
  const stats: CacheStats = app.cache.stats()
  const removed: number = await app.cache.invalidate({ prefix: app.cache.key('x:{id}', { id: 1 }) })
  await app.cache.invalidate({ keys: ['a'], tags: ['b'], prefix: 'c' })
  await app.cache.invalidate({ all: true })
  // @ts-expect-error all of it, or nothing said of it
  await app.cache.invalidate({ all: false })
  reply.cacheTags('a', 'b')
  // @ts-expect-error neither key, keys nor prefix
  await app.cache.invalidate(7)
  return reply.noCache().send({ outcome, stats, removed })
})
