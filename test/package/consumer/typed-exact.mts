// A user's TypeScript with exactOptionalPropertyTypes: what may be left out may also be undefined, such as a variable of the
// environment. The examples of README.md and docs/client.md are written so.
import Fastify from 'fastify'
import routeCache, { type CacheOptions, type RouteCacheOptions } from 'fastify-route-cache'
import { createCache, type CreateCacheOptions } from 'fastify-route-cache/client'
import type { DashboardOptions } from 'fastify-route-cache/dashboard'
import type { PostgresInvalidationOptions } from 'fastify-route-cache/postgres'
import type { PrometheusOptions } from 'fastify-route-cache/prometheus'
import type { OpenTelemetryOptions } from 'fastify-route-cache/opentelemetry'

/**
 * The names of members that may be left out, and not be undefined. `prefix` of a plugin is none of them: Fastify's own option of
 * that name may not be undefined, so that of a plugin can't.
 */
type Refuses<T> = { [K in keyof T]-?: object extends Pick<T, K> ? undefined extends T[K] ? never : K : never }[keyof T]
type Holds<T> = [Exclude<Refuses<T>, 'prefix'>] extends [never] ? true : { refuses: Refuses<T> }

export const held: [
  Holds<CacheOptions>, Holds<RouteCacheOptions>, Holds<CreateCacheOptions>, Holds<DashboardOptions>,
  Holds<PostgresInvalidationOptions>, Holds<PrometheusOptions>, Holds<OpenTelemetryOptions>
] = [true, true, true, true, true, true, true]

export async function build () {
  const app = Fastify()
  await app.register(routeCache, { redis: { url: process.env.REDIS_URL }, version: process.env.VERSION })
  app.get('/users/:id', { cache: { key: 'user:{id}', ttl: process.env.TTL as '10m' | undefined } }, async () => 'user')
  return app
}

export async function work () {
  const cache = await createCache({ redis: { url: process.env.REDIS_URL }, prefix: 'shop' })
  await cache.invalidate({ keys: [cache.key('user:{id}', { id: 7 })], tags: undefined }, { soft: undefined })
  await cache.getOrSet('k', { ttl: undefined, tags: undefined, waitTimeout: undefined }, () => 1)
  await cache.put('k', 1, { ttl: undefined, tags: undefined })
  await cache.settled({ timeout: undefined })
  await cache.close({ timeout: undefined })
}
