// What a user's compiler sees of the metrics. The package check compiles this file as an ES module and, copied to .cts, as
// CommonJS.
import Fastify from 'fastify'
import { subscribe } from 'node:diagnostics_channel'
import routeCache, { type CacheEvents } from 'fastify-route-cache'
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
  // @ts-expect-error a misspelt option
  await app.register(openTelemetry, { span: true })
  subscribe('fastify-route-cache:fill', (message) => {
    const { route, result, bytes } = message as CacheEvents['fill']
    return [route?.toUpperCase(), result === 'stored', bytes + 1]
  })
  return app.cache.prefix
}
