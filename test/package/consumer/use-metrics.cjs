// A user's CommonJS module: the metrics of a cache. The module itself can be registered, and so can its export.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const routeCache = require('fastify-route-cache')
const openTelemetry = require('fastify-route-cache/opentelemetry')
const { prometheusMetrics } = require('fastify-route-cache/prometheus')
const { Registry } = require('prom-client')

async function main () {
  const register = new Registry()
  const app = Fastify()
  await app.register(routeCache, { prefix: 'shop' })
  await app.register(prometheusMetrics, { register })
  await app.register(openTelemetry)
  app.get('/', { cache: true }, async () => 'x')
  await app.inject('/')
  await app.inject('/')
  const text = await register.metrics()
  assert.match(text, /route_cache_requests_total\{cache="shop",route="GET \/",outcome="hit",reason=""\} 1\n/)
  await app.close()
  console.log('used')
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
