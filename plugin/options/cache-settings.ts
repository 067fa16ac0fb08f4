// The options of a cache, with routes or without: checked, with their defaults, in the units that we work with.
import type { Bytes, Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { wallClock } from '../store/wait/deadline.js'
import type { CacheLimits } from './limits.js'
import type { OnInvalidate } from './on-invalidate.js'
import { isCount, isFunction, isObject, isName, OptionReader } from './reader.js'
import { mistakeInPlace } from './redis-url.js'
import { clientForms, isClient, type AnyRedisClient } from '../store/server/clients.js'
import { looksLikeClient } from '../store/server/redis-client.js'
import type { StoreWrapper } from '../store/store.js'
import type { TierLimits } from '../store/tier/tiered.js'

export interface CacheSettings extends CacheLimits {
  prefix: string
  redis: AnyRedisClient | object | null
  ttl: Milliseconds
  waitTimeout: Milliseconds
  enabled: boolean
  writeDeadline: Milliseconds
  waitForReplicas: number
  trustFailover: boolean
  maxBodyBytes: Bytes
  memory: TierLimits | null
  jitter: number
  onInvalidate: OnInvalidate | null
  onInvalidateTimeout: Milliseconds
  store: StoreWrapper | null
  now: () => Milliseconds
  random: () => number
}

const PREFIX = /^[A-Za-z0-9_-]+$/
const TOO_LONG = { tooLong: 'it is at most 24 days' }

/** Throws FRC_OPTION for what is wrong. Names that are unknown are left to the caller. */
export function readCacheSettings (options: OptionReader): CacheSettings {
  return {
    prefix: options.read('prefix', 'cache', (value) => typeof value === 'string' && PREFIX.test(value), 'it has letters, digits, "_" and "-" only'),
    redis: redisOf(options),
    ttl: options.duration('ttl', 60_000),
    waitTimeout: options.timer('waitTimeout', 10_000, TOO_LONG),
    enabled: options.isOn('enabled', true),
    deadline: options.timer('deadline', 50, TOO_LONG),
    breakerThreshold: options.read('breakerThreshold', 5, isCount, 'it is a number of lookups that fail; 0: the breaker never opens'),
    writeDeadline: options.timer('writeDeadline', 1000, TOO_LONG),
    quarantineTime: quarantineTimeOf(options),
    waitForReplicas: options.read('waitForReplicas', 0, isCount, 'it is a number of replicas'),
    trustFailover: options.isOn('trustFailover'),
    maxBodyBytes: options.size('maxBodyBytes', 1024 * 1024),
    memory: tierOf(options),
    maxWaiters: options.read('maxWaiters', 10_000, isCount, 'it is a number of requests'),
    maxJournal: options.read('maxJournal', 1_000, isCount, 'it is a number of targets'),
    jitter: options.read('jitter', 0, isPart, 'it is a number from 0 to 1: the part of a ttl by which it is shortened at most'),
    onInvalidate: options.function<OnInvalidate>('onInvalidate', 'it is a function that purges caches in front'),
    onInvalidateTimeout: options.timer('onInvalidateTimeout', 5_000, TOO_LONG),
    store: options.function<StoreWrapper>('store', 'it is what faultyStore() gives, for tests'),
    now: options.read('now', wallClock, isFunction, 'it is a function that gives milliseconds'),
    random: options.read('random', Math.random, isFunction, 'it is a function that gives numbers from 0 to 1')
  }
}

/** A client, or where the server is, or null. No message has a password. */
function redisOf (options: OptionReader): object | null {
  const redis = options.read<object | null>('redis', null, isClientOrPlace, rightRedis)
  const mistake = redis === null || isClient(redis) ? null : mistakeInPlace(redis)
  if (mistake !== null) throw new RouteCacheError('FRC_OPTION', `${options.where}: ${mistake}`)
  return redis
}

function rightRedis (value: unknown): string {
  const isUnset = isObject(value) && 'url' in value && value.url === undefined
  return isUnset
    ? 'its url is undefined, as of an environment variable that is not set; write { url: "redis://..." }'
    : `${clientForms(value)}; or write { url: "redis://..." }`
}

/** A client; or where the server is, for a client of the plugin's own. */
function isClientOrPlace (value: unknown): boolean {
  if (isClient(value)) return true
  const { url } = isObject(value) ? value as { url?: unknown } : {}
  return isObject(value) && !looksLikeClient(value) && Object.getPrototypeOf(value) === Object.prototype &&
    (url === undefined ? 'host' in value || 'path' in value || 'sentinels' in value || 'port' in value : isName(url))
}

/** A quarantine that is over at once keeps nothing away. */
function quarantineTimeOf (options: OptionReader): Milliseconds {
  const time = options.timer('quarantineTime', 30_000, TOO_LONG)
  if (time > 0) return time
  throw options.error('quarantineTime', 'it is longer than 0: longer than the database keeps the transaction of a client that died')
}

function isPart (value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= 1
}

function tierOf (options: OptionReader): TierLimits | null {
  const memory = options.read<unknown>('memory', false, (value) => value === false || (isObject(value) &&
    Object.keys(value).every((name) => ['maxBytes', 'maxAge'].includes(name))), 'it is false, or { maxBytes, maxAge }')
  if (memory === false) return null
  const limits = new OptionReader(options.where, memory, 'memory.')
  return { maxBytes: limits.size('maxBytes', 64 * 1024 * 1024), maxAge: limits.duration('maxAge', 60_000) }
}
