// Opens a cache without routes, on Redis or, for tests, in this process.
import { assemble } from '../../assembly/assembly.js'
import type { OwnClient } from '../../assembly/own-client.js'
import type { Store } from '../../store/store.js'
import { CacheClient } from './cache-client.js'
import type { ClientSettings } from './settings.js'

export const MEANWHILE = 'getOrSet loads each time, and invalidations are kept'

interface Place {
  /** Of `ownClientOf`; null: the client is given, or there is none. */
  made: OwnClient | null
  /** The store where there is no client. */
  inProcess: () => Store
}

/** Waits up to a second for the store; where that is down, it opens all the same, and the log says so. */
export async function openCache ({ log, ...settings }: ClientSettings, { made, inProcess }: Place): Promise<CacheClient> {
  const surroundings = { log, made, meanwhile: MEANWHILE, find: () => null, inProcess }
  const { cache, values, instance, end } = assemble(settings, surroundings)
  const client = new CacheClient({ cache, values, end })
  instance.cache = client
  await cache.connect(made?.hasComplained)
  return client
}
