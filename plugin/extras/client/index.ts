// A cache without routes: for queue consumers, cron jobs, scripts, tests, and other frameworks. It shares entries and
// invalidations with the plugin of each app on the same Redis under the same prefix; nothing of Fastify is loaded.
import { ownClientOf } from '../../assembly/assembly.js'
import { optionError } from '../../errors.js'
import type { CacheClient } from './cache-client.js'
import { MEANWHILE, openCache } from './open.js'
import { readClientSettings, type CreateCacheOptions } from './settings.js'

const WHERE = 'createCache'
const NEEDED = 'a cache without routes shares what is in Redis: give it a client, or write { url: "redis://..." }; for a test, ' +
  'inProcessCache() of fastify-route-cache/testing needs none'

/**
 * Opens a cache without routes. Waits up to a second for Redis; where that is down, it opens all the same, and the log says
 * so.
 * Close it when the work is done, or use `await using`.
 * @throws RouteCacheError FRC_OPTION for options that are unknown or wrong, or that only routes need, and where `redis` says
 * where the server is, and ioredis is not installed
 */
export async function createCache (options: CreateCacheOptions): Promise<CacheClient> {
  const settings = readClientSettings(WHERE, options)
  if (settings.redis === null) throw optionError(WHERE, 'redis', options.redis, NEEDED)
  const made = await ownClientOf(settings, settings.log, `${MEANWHILE},`)
  return await openCache(settings, { made, inProcess: () => { throw optionError(WHERE, 'redis', options.redis, NEEDED) } })
}

export type { CacheClient } from './cache-client.js'
export type { CacheLog, CreateCacheOptions } from './settings.js'
export { RouteCacheError } from '../../errors.js'
export type { ErrorCode, Untold } from '../../errors.js'
export type { Bytes, Duration, Seconds } from '../../duration.js'
export type { CacheStats, RouteStats } from '../../telling/stats.js'
export type { RedisClient } from '../../store/server/redis-client.js'
export type { StoreWrapper, TierStats } from '../../store/store.js'
export type { InvalidatedTargets, OnInvalidate } from '../../options/on-invalidate.js'
export type { TierOptions } from '../../options/tier-options.js'
export type { InvalidateTarget, InvalidateTargets, MutateTarget } from '../../key/target.js'
export type { InvalidateOptions } from '../../calls/invalidate.js'
export type { EntryInfo } from '../../calls/look.js'
export type { ValueOptions } from '../../calls/value.js'
export type { PutOptions } from '../../calls/put.js'
