// What a user's compiler sees of the metrics. The package check compiles this file as an ES module and, copied to .cts, as
// CommonJS.
import Fastify from 'fastify'
import { subscribe } from 'node:diagnostics_channel'
import routeCache, { type CacheEvents } from 'fastify-route-cache'
import dashboard, { type DashboardOptions, type Guard } from 'fastify-route-cache/dashboard'
import openTelemetry, { type OpenTelemetryOptions } from 'fastify-route-cache/opentelemetry'
import prometheusMetrics, { type PrometheusOptions } from 'fastify-route-cache/prometheus'
import { Registry } from 'prom-client'

export async function build () {
  const app = Fastify()
  await app.register(routeCache, { prefix: 'shop' })
  const prometheus: PrometheusOptions = { register: new Registry(), path: '/metrics', cache: app.cache }
  await app.register(prometheusMetrics, prometheus)
  const options: OpenTelemetryOptions = { spans: { key: false } }
  await app.register(openTelemetry, options)
  // @ts-expect-error a path is a text
  await app.register(prometheusMetrics, { path: 5 })
  const guard: Guard = async (request) => request.headers.authorization === 'Bearer x'
  const page: DashboardOptions = { guard, name: 'shop', interval: '5s' }
  await app.register(dashboard, { prefix: '/cache', ...page })
  // @ts-expect-error a guard is a function
  await app.register(dashboard, { guard: true })
  // @ts-expect-error a misspelt option
  await app.register(openTelemetry, { span: true })
  subscribe('fastify-route-cache:fill', (message) => {
    const { route, result, bytes } = message as CacheEvents['fill']
    return [route?.toUpperCase(), result === 'stored', bytes + 1]
  })
  return app.cache.prefix
}
