// What a user's compiler sees of a program that imports the package in one place and requires it in another: one app.
import type { FastifyInstance } from 'fastify'
import routeCache, { RouteCacheError, type RouteCache, type RouteCacheOptions } from 'fastify-route-cache'
import type * as required from 'fastify-route-cache' with { 'resolution-mode': 'require' }
import './typed-metrics.mjs'
import './typed-metrics.cjs'
import * as esm from './typed-use.mjs'
import * as cjs from './typed-use.cjs'

export async function use (app: FastifyInstance) {
  const cache: RouteCache = app.cache
  const same: required.RouteCache = cache
  const options: required.RouteCacheOptions = { prefix: 'shop' } satisfies RouteCacheOptions
  await app.register(routeCache, options)
  const error: RouteCacheError = new Error() as required.RouteCacheError
  // @ts-expect-error a target is no number
  await same.invalidate(7)
  const stats: required.CacheStats[] = [await esm.build(), await cjs.build()]
  return [stats, error.code]
}
