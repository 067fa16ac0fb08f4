// The same as a CommonJS module.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const routeCache = require('fastify-route-cache')
const { default: dashboard } = require('fastify-route-cache/dashboard')

async function main () {
  const app = Fastify()
  await app.register(routeCache.default ?? routeCache)
  await app.register(dashboard, { prefix: '/cache', public: true })
  for (const file of ['', 'dashboard.js', 'uPlot.js', 'api/overview']) {
    assert.equal((await app.inject(`/cache/${file}`)).statusCode, 200, file)
  }
  await app.close()
  console.log('used')
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
