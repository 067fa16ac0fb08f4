// What a user's compiler sees. The package check compiles this file as an ES module and, copied to .cts, as CommonJS.
import Fastify from 'fastify'
import routeCache, { routeCache as named, type Explanation, type WarmSummary } from 'fastify-route-cache'
import postgresInvalidation, { installSql, type PostgresInvalidationOptions, type Watch } from 'fastify-route-cache/postgres'
import { assertBypass, assertHit, fakeClock, faultyStore, recovered, settled } from 'fastify-route-cache/testing'

export async function build () {
  const app = Fastify()
  await app.register(routeCache, { prefix: 'shop' })
  await app.register(named, { prefix: 'other', decorator: 'otherCache' })

  app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 600 } }, async () => ({}))
  app.get<{ Params: { id: string } }>('/typed/:id', { cache: { ttl: '10m' } }, async (request) => request.params.id)
  app.get('/defaults', { cache: true }, async () => ({}))
  app.route({ method: 'GET', url: '/full', cache: { ttl: 1 }, handler: async () => ({}) })
  app.put('/users/:id', { cache: { invalidates: ['user:{id}', { tags: ['users'] }], onError: 'fail' } }, async () => ({}))
  app.get('/status', async (request, reply) => {
    reply.noCache()
    return { outcome: request.cacheOutcome }
  })

  // @ts-expect-error a ttl is a number of seconds, a text such as '10m', or a function
  app.get('/wrong', { cache: { ttl: {} } }, async () => ({}))
  // @ts-expect-error a misspelt option
  app.get('/misspelt', { cache: { tttl: 1 } }, async () => ({}))
  // @ts-expect-error what is invalidated is a list, or a function
  app.put('/wrong', { cache: { invalidates: 'user:{id}' } }, async () => ({}))
  // @ts-expect-error a misspelt option of a full route
  app.route({ method: 'GET', url: '/full-misspelt', cache: { tttl: 1 }, handler: async () => ({}) })
  // @ts-expect-error the plugin's own options are checked as well
  await app.register(routeCache, { prefix: 5 })

  const watch: Watch[] = [{ table: 'cities', keys: 'city:{id}', tags: ['cities'], whole: { tags: ['cities'] } }]
  const options: PostgresInvalidationOptions = { watch, install: true, poll: '2s' }
  await app.register(postgresInvalidation, options)
  // @ts-expect-error a watch is for a table
  await app.register(postgresInvalidation, { watch: [{ keys: 'city:{id}' }] })
  await app.postgresInvalidation.caughtUp()
  console.log(installSql(watch, { schema: 'shop' }), app.postgresInvalidation.isListening)

  await app.cache.invalidate('user:1')
  return app.cache.stats()
}

export async function test () {
  const clock = fakeClock()
  const store = faultyStore()
  const app = Fastify()
  await app.register(routeCache, { now: clock.now, store })
  store.fail('writes')
  const response = await app.inject('/users/1')
  assertHit(response, { ttl: 600 })
  assertBypass(await fetch('http://localhost'), 'store')
  // @ts-expect-error a reason that there is not
  assertBypass(response, 'stored')
  // @ts-expect-error the body is no response
  assertHit(response.body)
  // @ts-expect-error there are no such faults
  store.hang('reads')
  await settled(app, { timeout: '1s' })
  await recovered(app)
  const summary: WarmSummary = await app.cache.warm(['/a', { url: '/b', headers: { accept: 'text/html' } }], { concurrency: 2 })
  // @ts-expect-error a request has a url
  await app.cache.warm([{ path: '/a' }])
  const explanation: Explanation = await app.cache.explain({ url: '/a', method: 'HEAD' })
  return [summary.stored, explanation.text, clock.advance('5m')]
}
