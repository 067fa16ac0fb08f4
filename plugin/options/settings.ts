// The plugin's options, checked, with their defaults, in the units that we work with.
import type { Bytes, Milliseconds } from '../duration.js'
import { wallClock } from '../store/wait/deadline.js'
import { CREDENTIAL_HEADERS } from '../http/credentials.js'
import { CHECKS } from './checks.js'
import { readCookies, readCredentials, readIgnored, readMaxVariants, readVersion } from './common-options.js'
import type { AnswerLimits, CacheLimits } from './limits.js'
import { readRules, type RouteRule } from './route-rules.js'
import { isCount, isFunction, isName, isObject, isSwitch, OptionReader } from './reader.js'
import { clientForms, isClient, type AnyRedisClient } from '../store/server/clients.js'
import { looksLikeClient } from '../store/server/redis-client.js'
import type { StoreWrapper } from '../store/store.js'
import type { TierLimits } from '../store/tier/tiered.js'

export interface Settings extends CacheLimits, AnswerLimits {
  prefix: string
  redis: AnyRedisClient | object | null
  namespace: string | null
  ttl: Milliseconds
  waitTimeout: Milliseconds
  maxVariants: number
  version: string | null
  credentials: readonly string[]
  cookies: readonly string[] | null
  ignoreQuery: readonly string[]
  routes: readonly RouteRule[]
  quiet: readonly string[]
  decorator: string
  enabled: boolean
  writeDeadline: Milliseconds
  waitForReplicas: number
  trustFailover: boolean
  maxStoreBytes: Bytes
  memory: TierLimits | null
  cacheStatus: { name: string, key: boolean, writes: boolean } | null
  xCache: boolean
  invalidateUnsafe: boolean
  jitter: number
  store: StoreWrapper | null
  now: () => Milliseconds
  random: () => number
}

const WHERE = 'fastify-route-cache'
const PREFIX = /^[A-Za-z0-9_-]+$/
const CACHE_STATUS = 'it is false, or { name, key, writes }: a token, whether to show the key, and whether responses of writes say what ' +
  'was invalidated'
const TOO_LONG = { tooLong: 'it is at most 24 days' }

/** Throws FRC_OPTION for what is unknown or wrong. */
export function readSettings (given: unknown): Settings {
  const options = new OptionReader(WHERE, given)
  const settings: Settings = {
    prefix: options.read('prefix', 'cache', (value) => typeof value === 'string' && PREFIX.test(value), 'it has letters, digits, "_" and "-" only'),
    redis: options.read<object | null>('redis', null, isClientOrPlace, (value) => `${clientForms(value)}; or write { url: "redis://..." }`),
    namespace: options.read<string | null>('namespace', null, isName, "it is the name of one of @fastify/redis' namespaces"),
    ttl: options.duration('ttl', 60_000),
    waitTimeout: options.timer('waitTimeout', 10_000, TOO_LONG),
    maxVariants: readMaxVariants(options) ?? 1_000,
    version: readVersion(options),
    credentials: readCredentials(options, CREDENTIAL_HEADERS),
    cookies: readCookies(options),
    ignoreQuery: readIgnored(options),
    routes: readRules(options),
    quiet: options.read<readonly string[]>('quiet', [], areChecks, `it lists checks: ${CHECKS.join(', ')}`),
    decorator: options.read('decorator', 'cache', isName, 'it is the name of a decorator'),
    enabled: options.isOn('enabled', true),
    deadline: options.timer('deadline', 50, TOO_LONG),
    breakerThreshold: options.read('breakerThreshold', 5, isCount, 'it is a number of lookups that fail; 0: the breaker never opens'),
    writeDeadline: options.timer('writeDeadline', 1000, TOO_LONG),
    quarantineTime: quarantineTimeOf(options),
    waitForReplicas: options.read('waitForReplicas', 0, isCount, 'it is a number of replicas'),
    trustFailover: options.isOn('trustFailover'),
    maxBodyBytes: options.size('maxBodyBytes', 1024 * 1024),
    maxHeaderBytes: options.size('maxHeaderBytes', 16 * 1024),
    maxStoreBytes: options.size('maxStoreBytes', 64 * 1024 * 1024),
    memory: tierOf(options),
    maxWaiters: options.read('maxWaiters', 10_000, isCount, 'it is a number of requests'),
    maxJournal: options.read('maxJournal', 1_000, isCount, 'it is a number of targets'),
    cacheStatus: cacheStatusOf(options),
    xCache: options.isOn('xCache'),
    invalidateUnsafe: options.isOn('invalidateUnsafe'),
    jitter: options.read('jitter', 0, isPart, 'it is a number from 0 to 1: the part of a ttl by which it is shortened at most'),
    store: options.function<StoreWrapper>('store', 'it is what faultyStore() gives, for tests'),
    now: options.read('now', wallClock, isFunction, 'it is a function that gives milliseconds'),
    random: options.read('random', Math.random, isFunction, 'it is a function that gives numbers from 0 to 1')
  }
  options.onlyKnows(Object.keys(settings))
  if (settings.redis !== null && settings.namespace !== null) {
    throw options.error('namespace', 'it chooses among what fastify.redis has, so leave it out, or leave out redis')
  }
  return settings
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

function areChecks (value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => (CHECKS as readonly unknown[]).includes(one))
}

function isPart (value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= 1
}

function tierOf (options: OptionReader): TierLimits | null {
  const memory = options.read<unknown>('memory', false, (value) => value === false || (isObject(value) &&
    Object.keys(value).every((name) => ['maxBytes', 'maxAge'].includes(name))), 'it is false, or { maxBytes, maxAge }')
  if (memory === false) return null
  const limits = new OptionReader(WHERE, memory, 'memory.')
  return { maxBytes: limits.size('maxBytes', 64 * 1024 * 1024), maxAge: limits.duration('maxAge', 60_000) }
}

/** RFC 9211 §2: the cache's name is a token here. */
function cacheStatusOf (options: OptionReader): Settings['cacheStatus'] {
  const given = options.read<unknown>('cacheStatus', {}, (value) => value === false || isObject(value), CACHE_STATUS)
  if (given === false) return null
  const { name = WHERE, key = false, writes = false } = given as { name?: unknown, key?: unknown, writes?: unknown }
  const isRight = Object.keys(given as object).every((one) => ['name', 'key', 'writes'].includes(one)) &&
    typeof name === 'string' && /^[A-Za-z*][\w:/!#$%&'*+.^`|~-]*$/.test(name) && isSwitch(key) && isSwitch(writes)
  if (!isRight) throw options.error('cacheStatus', CACHE_STATUS)
  return { name, key, writes }
}
