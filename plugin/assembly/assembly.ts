// Puts a cache together from its options, with routes or without: client, store, counters, journal, and who calls it.
import { REQUESTS_GO_ON } from '../store/wait/breaker.js'
import { openClient, type OwnClient, type RedisConnection } from './own-client.js'
import { ResponseCache } from '../cache/cache.js'
import type { Targets } from '../cache/claim.js'
import type { Values } from '../calls/value.js'
import type { CacheSettings } from '../options/cache-settings.js'
import { Keys } from '../store/keys.js'
import { RedisStore } from '../store/redis/redis.js'
import { Outage } from '../store/server/outage.js'
import { clientFrom, isClient } from '../store/server/clients.js'
import { isDeafToFailovers, type RedisClient } from '../store/server/redis-client.js'
import type { Store } from '../store/store.js'
import { channels, tell, Complaints, HarmlessLog, type Instance, type Log } from '../telling/events.js'
import { Stats } from '../telling/stats.js'

/** What is there around the cache. */
interface Surroundings {
  /** The app's, as it is. */
  log: Log
  /** Of `ownClientOf`. */
  made: OwnClient | null
  /** The client, where the options give none; null: entries live in this process. */
  find: () => RedisClient | null
  /** The store where there is no client. May throw. */
  inProcess: () => Store
  /** Called with the targets of each invalidation, before the store is told. */
  onInvalidation?: (targets: Targets) => void
  /** What is done while the store can't be used, in words. Default: requests go to their handlers. */
  meanwhile?: string
}

export interface Assembled {
  cache: ResponseCache
  values: Values
  stats: Stats
  log: Log
  /** Its member `cache` is to be set. */
  instance: Instance
  /** Null: entries live in this process. */
  client: RedisClient | null
  /** Ends the client, where it is the cache's own. To be called when the cache is closed. */
  end: () => void
}

/**
 * A client of the cache's own, where the options say where the server is; null: they don't. `meanwhile`: what is done while
 * the server can't be used, in words. Rejects with FRC_OPTION where ioredis is not installed.
 */
export function ownClientOf ({ redis, now }: CacheSettings, log: Log, meanwhile: string): Promise<OwnClient> | null {
  if (redis === null || isClient(redis)) return null
  return openClient(redis as RedisConnection, { log: new HarmlessLog(log), now, meanwhile })
}

/**
 * Throws FRC_OPTION for options that don't go together. It awaits nothing, so that the plugin's hooks are there in the turn
 * in which its function is called.
 */
export function assemble (
  settings: CacheSettings, { log: given, made, find, inProcess, onInvalidation, meanwhile = REQUESTS_GO_ON }: Surroundings
): Assembled {
  const { redis, now, prefix } = settings
  const log = new HarmlessLog(given)
  const instance: Instance = { cache: {}, prefix }
  const client = made?.client ?? (isClient(redis) ? clientFrom(redis) : find())
  const opened = openedOr(made, () => client === null ? inProcess() : openStore(client, settings, { instance, log }))
  const store = settings.store === null ? opened : settings.store(opened, settings)
  const stats = new Stats(store.kind, now())
  const outage = new Outage(client)
  const describe = (error: unknown): string => outage.describe(error)
  const storeName = client === null ? undefined : outage.name
  const said = { log, instance, describe, storeName, meanwhile }
  const cache = new ResponseCache({ ...settings, ...said, store, stats, onInvalidation })
  const caller = { counters: stats.values, log, source: { instance, route: null } }
  const { ttl, waitTimeout, maxBodyBytes } = settings
  const end = (): void => {
    outage.close()
    made?.close()
  }
  const values = { cache, caller, ttl, waitTimeout, maxBodyBytes, complaints: new Complaints(now) }
  return { cache, values, stats, log, instance, client, end }
}

/** A client of the cache's own must not outlive a start that fails. */
function openedOr (made: OwnClient | null, open: () => Store): Store {
  try {
    return open()
  } catch (error) {
    made?.close()
    throw error
  }
}

function openStore (
  client: RedisClient, settings: CacheSettings, { instance, log }: Pick<Assembled, 'instance' | 'log'>
): Store {
  if (isDeafToFailovers(client)) {
    log.warn({}, 'fastify-route-cache: the Redis client finds its primary by sentinels, without failoverDetector: true. It stays with a ' +
      'primary that was replaced until that is made a replica, and invalidations that it confirms reach others only then')
  }
  const complain = (error: unknown): void => {
    log.warn({ err: error }, 'the cache serves nothing from this process, as Redis does not tell what changes; it tries again')
  }
  const onDrop = (): void => {
    if (channels.tier.hasSubscribers) tell('tier', instance, { state: 'dropped' })
  }
  return new RedisStore({ ...settings, client, keys: new Keys(settings.prefix), complain, onDrop })
}
