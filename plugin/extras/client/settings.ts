// The options of a cache without routes.
import type { Bytes, Duration } from '../../duration.js'
import { readCacheSettings, type CacheSettings } from '../../options/cache-settings.js'
import type { OnInvalidate } from '../../options/on-invalidate.js'
import type { TierOptions } from '../../options/tier-options.js'
import { isObject, OptionReader } from '../../options/reader.js'
import { optionError } from '../../errors.js'
import type { AnyRedisClient } from '../../store/server/clients.js'
import type { StoreWrapper } from '../../store/store.js'
import type { Log } from '../../telling/events.js'

/** A logger: pino's, `app.log`, or one with the same four methods. */
export interface CacheLog {
  debug: (details: object, message: string) => void
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

/** The options of `createCache`: the plugin's that need no route, each with the plugin's meaning and default. */
export interface CreateCacheOptions {
  /**
   * A client of ioredis, iovalkey or node-redis, for one server or a Cluster, which stays yours. Or where the server is:
   * `{ url: 'redis://…' }`, or options of ioredis such as `{ host, port, password }`: then the cache makes a client of its own
   * (`npm i ioredis`), which `close()` closes.
   */
  redis: AnyRedisClient | ({ url?: string | undefined } & Record<string, unknown>)
  /** The plugin's `prefix`, of the apps with which entries and invalidations are shared. Default `cache`. */
  prefix?: string | undefined
  /**
   * Told what goes wrong, and how it ended. Default: warnings and errors go to stderr, one line each, with their details
   * behind. False: nobody is told, save by calls that reject.
   */
  logger?: CacheLog | false | undefined
  /** How long a value is served where the call doesn't say. Default 60 seconds. 0: nothing is stored. */
  ttl?: Duration | undefined
  /** How long `getOrSet` waits for another one's `load`. Default 10 seconds. 0: each runs its own. */
  waitTimeout?: Duration | undefined
  /** Whether lookups and fills take place. Default true. */
  enabled?: boolean | undefined
  /** The longest that Redis may delay `getOrSet`, for lookup and lease together. Default `'50ms'`. 0: no limit. */
  deadline?: Duration | undefined
  /** How many lookups may fail, one after another, until Redis is not asked any more. Default 5. 0: every lookup asks. */
  breakerThreshold?: number | undefined
  /** The longest that one Redis command of an invalidation or a fill may take. Default 1 second. 0: no limit. */
  writeDeadline?: Duration | undefined
  /** How long the targets of a `mutate` whose process died stay out of the cache. Default 30 seconds. */
  quarantineTime?: Duration | undefined
  /** How many replicas have an invalidation before it resolves (Redis' WAIT). Default 0: the primary's word is enough. */
  waitForReplicas?: number | undefined
  /** Whether entries are still served when Redis was restarted or a replica took over. Default false. */
  trustFailover?: boolean | undefined
  /** Larger values are not stored. Bytes. Default 1 MiB. */
  maxBodyBytes?: Bytes | undefined
  /** A tier in this process, in front of Redis, as the plugin's `memory`. Absent or false: none. */
  memory?: false | TierOptions | undefined
  /** How many callers of `getOrSet` may wait for others' `load` at a time. Default 10,000. 0: nobody waits. */
  maxWaiters?: number | undefined
  /** How many targets are kept that Redis could not be told to drop. Default 1,000. 0: everything is dropped instead. */
  maxJournal?: number | undefined
  /** By how much of its ttl the time of each value is shortened at most, by chance. A part from 0 to 1. Default 0. */
  jitter?: number | undefined
  /**
   * Tells caches in front of the apps what to drop, as the plugin's `onInvalidate` does: of what this process invalidates.
   * Default: none.
   */
  onInvalidate?: OnInvalidate | undefined
  /** How long one call of `onInvalidate` is waited for. Default 5 seconds. 0: no limit. */
  onInvalidateTimeout?: Duration | undefined
  /** Stands in front of the store: for tests, `faultyStore()` of `fastify-route-cache/testing`. Default: nothing does. */
  store?: StoreWrapper | undefined
  /** The wall clock, in milliseconds since 1970. Default: the system's. For tests. */
  now?: (() => number) | undefined
  /** Numbers from 0 to below 1, for `jitter`. Default: Math.random. For tests. */
  random?: (() => number) | undefined
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
const LOGGER = 'it is a logger with debug, info, warn and error, such as pino() or console, or false'
/** Of the plugin, and of no use here. */
const OF_ROUTES = [
  'namespace', 'version', 'surrogateKeys', 'credentials', 'cookies', 'decorator', 'maxVariants', 'maxHeaderBytes', 'maxStoreBytes', 'cacheStatus',
  'xCache', 'invalidateUnsafe', 'ignoreQuery', 'routes', 'quiet'
]

export type ClientSettings = CacheSettings & { log: Log }

/** Throws FRC_OPTION for what is unknown or wrong, or only for routes. `where`: the function that was called. */
export function readClientSettings (where: string, given: unknown): ClientSettings {
  if (!isObject(given)) throw optionError(where, 'options', given, 'write { redis: { url: "redis://..." }, prefix: "shop" }')
  const options = new OptionReader(where, given)
  const settings = readCacheSettings(options)
  const ofRoutes = OF_ROUTES.find((name) => name in given)
  if (ofRoutes !== undefined) throw options.error(ofRoutes, 'it is for routes: give it to the plugin, where they are')
  options.onlyKnows([...Object.keys(settings), 'logger'])
  return { ...settings, log: logOf(options) }
}

function logOf (options: OptionReader): Log {
  const given = options.read<CacheLog | false>('logger', STDERR, isLogger, LOGGER)
  return given === false ? SILENT : given
}

function isLogger (value: unknown): boolean {
  const isRight = (level: string): boolean => typeof (value as Record<string, unknown>)[level] === 'function'
  return value === false || (typeof value === 'object' && value !== null && LEVELS.every(isRight))
}

const nothing = (): void => {}

const SILENT: CacheLog = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** A script has no log: what is to be known goes where its own errors go. */
const STDERR: CacheLog = {
  ...SILENT,
  warn: (details, message) => { console.warn(lineOf(details, message)) },
  error: (details, message) => { console.error(lineOf(details, message)) }
}

/** `message {"key":"k","cause":"…"}`: one line, whatever the details have in them. */
function lineOf ({ err, ...details }: { err?: unknown }, message: string): string {
  const cause = messagesOf(err).filter((text) => !message.includes(text))
  const all = cause.length === 0 ? details : { ...details, cause: cause.join(': ') }
  return Object.keys(all).length === 0 ? message : `${message} ${JSON.stringify(all)}`
}

/** Of an error and those behind it. */
function messagesOf (error: unknown): string[] {
  const found: string[] = []
  for (let one = error; one instanceof Error && found.length < 5; one = one.cause) found.push(one.message || one.name)
  return found
}
