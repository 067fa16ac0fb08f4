// A cache without routes: for queue consumers, cron jobs, scripts, tests, and other frameworks. It shares entries and
// invalidations with the plugin of each app on the same Redis under the same prefix; nothing of Fastify is loaded.
import { assemble, ownClientOf } from '../../assembly/assembly.js'
import { RouteCacheError } from '../../errors.js'
import { CacheClient } from './cache-client.js'
import { readClientSettings, type CreateCacheOptions } from './settings.js'

const MEANWHILE = 'getOrSet loads each time, and invalidations are kept'

/**
 * Opens a cache without routes. Waits up to a second for Redis; where that is down, it opens all the same, and the log says
 * so.
 * Close it when the work is done, or use `await using`.
 * @throws RouteCacheError FRC_OPTION for options that are unknown or wrong, or that only routes need, and where `redis` says
 * where the server is, and ioredis is not installed
 */
export async function createCache (options: CreateCacheOptions): Promise<CacheClient> {
  const { log, ...settings } = readClientSettings(options)
  const made = await ownClientOf(settings, log, `${MEANWHILE},`)
  const { cache, values, instance, end } = assemble(settings, {
    log,
    made,
    meanwhile: MEANWHILE,
    find: () => null,
    inProcess: () => { throw new RouteCacheError('FRC_OPTION', 'createCache: redis is needed') }
  })
  const client = new CacheClient({ cache, values, end })
  instance.cache = client
  await cache.connect(made?.hasComplained)
  return client
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
