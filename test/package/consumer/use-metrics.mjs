// A user's ES module: the metrics of a cache.
import assert from 'node:assert/strict'
import Fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import openTelemetry, { openTelemetry as named } from 'fastify-route-cache/opentelemetry'
import prometheusMetrics from 'fastify-route-cache/prometheus'
import { Registry } from 'prom-client'

assert.equal(openTelemetry, named)
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
assert.match(text, /route_cache_lookup_duration_seconds_count\{.*outcome="hit"\} 1\n/)
await app.close()
console.log('used')
