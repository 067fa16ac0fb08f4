// A cache without routes whose entries live in this process: for tests of a worker that uses `createCache`.
import { optionError } from '../../errors.js'
import { MemoryStore } from '../../store/memory/memory.js'
import type { CacheClient } from '../client/cache-client.js'
import { openCache } from '../client/open.js'
import { readClientSettings, type CreateCacheOptions } from '../client/settings.js'

/** The options of `createCache` that need no Redis, with the same meanings and defaults. */
export type InProcessCacheOptions = Omit<CreateCacheOptions, 'redis' | 'memory'>

const WHERE = 'inProcessCache'
const MAX_BYTES = 64 * 1024 * 1024

/**
 * What `createCache` gives, without a Redis: the same calls, on a store in this process that is empty at first, and that no
 * other cache shares. With `store: faultyStore()` it fails when told, as where Redis is down.
 * @throws RouteCacheError FRC_OPTION for options that are unknown or wrong, or that only routes or a Redis need
 */
export async function inProcessCache (options: InProcessCacheOptions = {}): Promise<CacheClient> {
  const settings = readClientSettings(WHERE, options)
  const { redis, memory } = options as Partial<CreateCacheOptions>
  if (settings.redis !== null) throw optionError(WHERE, 'redis', redis, 'entries live in this process: leave it out, or use createCache')
  if (settings.memory !== null) throw optionError(WHERE, 'memory', memory, 'it is a tier in front of Redis, and there is none: leave it out')
  const inProcess = (): MemoryStore => new MemoryStore({ maxBytes: MAX_BYTES, now: settings.now })
  return await openCache(settings, { made: null, inProcess })
}
