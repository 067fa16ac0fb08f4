// A user's ES module: both ways to import the plugin, each on an app of its own.
import assert from 'node:assert/strict'
import Fastify from 'fastify'
import routeCache, { RouteCacheError, routeCache as named } from 'fastify-route-cache'
import postgresInvalidation, { installSql, postgresInvalidation as namedPostgres } from 'fastify-route-cache/postgres'
import { assertBypass, assertHit, assertMiss, faultyStore, settled } from 'fastify-route-cache/testing'

for (const plugin of [routeCache, named]) {
  const app = Fastify()
  await app.register(plugin, { prefix: 'shop' })
  let runs = 0
  app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 600 } }, async (request) => ({ id: request.params.id, run: ++runs }))

  const miss = await app.inject('/users/1')
  const hit = await app.inject('/users/1')
  assert.equal(miss.statusCode, 200)
  assert.match(miss.headers['cache-status'], /fwd=/)
  assert.match(hit.headers['cache-status'], /\bhit\b/)
  assert.equal(hit.body, '{"id":"1","run":1}')
  assert.equal(hit.body, miss.body)

  await app.cache.invalidate('user:1')
  assert.equal((await app.inject('/users/1')).json().run, 2)
  assert.equal(typeof app.cache.stats(), 'object')
  await app.close()
}

// There is no Postgres here: what is wrong is said before one is needed.
const watch = [{ table: 'cities', keys: 'city:{id}' }]
assert.match(installSql(watch), /CREATE OR REPLACE TRIGGER/)
for (const plugin of [postgresInvalidation, namedPostgres]) {
  const app = Fastify()
  await app.register(routeCache)
  await assert.rejects(async () => await app.register(plugin, { watch }), (error) => {
    return error instanceof RouteCacheError && error.code === 'FRC_OPTION' && error.message.includes('register @fastify/postgres first')
  })
  await app.close()
}

const app = Fastify()
const store = faultyStore()
await app.register(routeCache, { store })
app.get('/', { cache: { key: 'k' } }, async () => 'x')
assertMiss(await app.inject('/'))
await settled(app)
assertHit(await app.inject('/'), { ttl: 60 })
store.fail()
assert.throws(() => assertHit({ headers: {} }), { name: 'AssertionError' })
assertBypass(await app.inject('/'), 'store')
await app.close()
console.log('used')
