// A user's CommonJS module: the module itself can be registered, and so can its two exports.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const routeCache = require('fastify-route-cache')
const postgres = require('fastify-route-cache/postgres')
const { assertHit, fakeClock, settled } = require('fastify-route-cache/testing')

async function use (plugin) {
  const app = Fastify()
  await app.register(plugin, { prefix: 'shop' })
  let runs = 0
  app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 600 } }, async (request) => ({ id: request.params.id, run: ++runs }))

  const miss = await app.inject('/users/1')
  const hit = await app.inject('/users/1')
  assert.match(miss.headers['cache-status'], /fwd=/)
  assert.match(hit.headers['cache-status'], /\bhit\b/)
  assert.equal(hit.body, '{"id":"1","run":1}')
  assert.equal(hit.body, miss.body)
  await app.close()
}

async function main () {
  for (const plugin of [routeCache, routeCache.default, routeCache.routeCache]) await use(plugin)
  // There is no Postgres here: what is wrong is said before one is needed.
  assert.match(postgres.installSql([{ table: 'cities', keys: 'city:{id}' }]), /CREATE OR REPLACE TRIGGER/)
  for (const plugin of [postgres, postgres.default, postgres.postgresInvalidation]) {
    const app = Fastify()
    await assert.rejects(async () => await app.register(plugin, { watch: [{ table: 'cities' }] }), { code: 'FRC_OPTION' })
  }

  const clock = fakeClock()
  const app = Fastify()
  await app.register(routeCache, { now: clock.now })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  clock.advance('10s')
  assertHit(await app.inject('/'), { ttl: 50 })
  await app.close()
  console.log('used')
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
