// The plugin's options, checked, with their defaults, in the units that we work with.
import { DURATION_FORMS, LONGEST_TIMER, toMilliseconds, type Bytes, type Milliseconds, wallClock } from '../duration.js'
import { optionError } from '../errors.js'
import { CREDENTIAL_HEADERS } from '../http/credentials.js'
import { own } from '../key/key.js'
import { CHECKS } from './checks.js'
import { readMaxVariants, type AnswerLimits, type CacheLimits } from './limits.js'
import { readCookies, readCredentials, readIgnored } from './mark-options.js'
import { clientForms, isRedisClient, type RedisClient } from '../store/server/redis-client.js'
import type { StoreWrapper } from '../store/store.js'
import type { TierLimits } from '../store/tier/tiered.js'

export interface Settings extends CacheLimits, AnswerLimits {
  prefix: string
  redis: RedisClient | null
  namespace: string | null
  ttl: Milliseconds
  waitTimeout: Milliseconds
  maxVariants: number
  version: string | null
  credentials: readonly string[]
  cookies: readonly string[] | null
  ignoreQuery: readonly string[]
  quiet: readonly string[]
  decorator: string
  enabled: boolean
  writeDeadline: Milliseconds
  waitForReplicas: number
  trustFailover: boolean
  maxStoreBytes: Bytes
  memory: TierLimits | null
  cacheStatus: { name: string, key: boolean } | null
  xCache: boolean
  invalidateUnsafe: boolean
  jitter: number
  store: StoreWrapper | null
  now: () => Milliseconds
  random: () => number
}

const WHERE = 'fastify-route-cache'
const SWITCH = 'it is true or false'
const PREFIX = /^[A-Za-z0-9_-]+$/

/** Throws FRC_OPTION for what is unknown or wrong. */
export function readSettings (options: unknown): Settings {
  const settings: Settings = {
    prefix: checked(options, 'prefix', 'cache', (value) => typeof value === 'string' && PREFIX.test(value), 'it has letters, digits, "_" and "-" only'),
    redis: checked<RedisClient | null>(options, 'redis', null, isRedisClient, clientForms),
    namespace: checked<string | null>(options, 'namespace', null, isName, "it is the name of one of @fastify/redis' namespaces"),
    ttl: duration(options, 'ttl', 60_000),
    waitTimeout: timer(options, 'waitTimeout', 10_000),
    maxVariants: readMaxVariants(WHERE, 'maxVariants', own(options, 'maxVariants')) ?? 1_000,
    version: versionOf(own(options, 'version')),
    credentials: readCredentials(WHERE, 'credentials', { names: own(options, 'credentials'), known: CREDENTIAL_HEADERS }),
    cookies: readCookies(WHERE, 'cookies', own(options, 'cookies')),
    ignoreQuery: readIgnored(WHERE, 'ignoreQuery', own(options, 'ignoreQuery')) ?? [],
    quiet: checked<readonly string[]>(options, 'quiet', [], areChecks, `it lists checks: ${CHECKS.join(', ')}`),
    decorator: checked(options, 'decorator', 'cache', isName, 'it is the name of a decorator'),
    enabled: checked(options, 'enabled', true, isSwitch, SWITCH),
    deadline: timer(options, 'deadline', 50),
    breakerThreshold: checked(options, 'breakerThreshold', 5, isCount, 'it is a number of lookups that fail; 0: the breaker never opens'),
    writeDeadline: timer(options, 'writeDeadline', 1000),
    quarantineTime: atLeast(1, timer(options, 'quarantineTime', 30_000), options),
    waitForReplicas: checked(options, 'waitForReplicas', 0, isCount, 'it is a number of replicas'),
    trustFailover: checked(options, 'trustFailover', false, isSwitch, SWITCH),
    maxBodyBytes: size(options, 'maxBodyBytes', 1024 * 1024),
    maxHeaderBytes: size(options, 'maxHeaderBytes', 16 * 1024),
    maxStoreBytes: size(options, 'maxStoreBytes', 64 * 1024 * 1024),
    memory: tierOf(own(options, 'memory')),
    maxWaiters: checked(options, 'maxWaiters', 10_000, isCount, 'it is a number of requests'),
    maxJournal: checked(options, 'maxJournal', 1_000, isCount, 'it is a number of targets'),
    cacheStatus: cacheStatusOf(own(options, 'cacheStatus')),
    xCache: checked(options, 'xCache', false, isSwitch, SWITCH),
    invalidateUnsafe: checked(options, 'invalidateUnsafe', false, isSwitch, SWITCH),
    jitter: checked(options, 'jitter', 0, isPart, 'it is a number from 0 to 1: the part of a ttl by which it is shortened at most'),
    store: checked<StoreWrapper | null>(options, 'store', null, (value) => typeof value === 'function', 'it is what faultyStore() gives, for tests'),
    now: checked(options, 'now', wallClock, (value) => typeof value === 'function', 'it is a function that gives milliseconds'),
    random: checked(options, 'random', () => Math.random(), (value) => typeof value === 'function', 'it is a function that gives numbers from 0 to 1')
  }
  const unknown = Object.keys(options as object).find((name) => !Object.hasOwn(settings, name))
  if (unknown !== undefined) {
    throw optionError(WHERE, unknown, own(options, unknown), `there is no such option; there are: ${Object.keys(settings).join(', ')}`)
  }
  if (settings.redis !== null && settings.namespace !== null) {
    throw optionError(WHERE, 'namespace', settings.namespace, 'it chooses among what fastify.redis has, so leave it out, or leave out redis')
  }
  return settings
}

/** What would be right, in words; some depend on the value. */
type Right = string | ((value: unknown) => string)

function checked<T> (options: unknown, name: string, absent: T, isRight: (value: unknown) => boolean, right: Right): T {
  const value = own(options, name)
  if (value === undefined) return absent
  if (!isRight(value)) throw optionError(WHERE, name, value, typeof right === 'string' ? right : right(value))
  return value as T
}

function duration (options: unknown, name: string, absent: Milliseconds): Milliseconds {
  const value = own(options, name)
  const time = value === undefined ? absent : toMilliseconds(value)
  if (time === undefined) throw optionError(WHERE, name, value, DURATION_FORMS)
  return time
}

/** A duration that a timer can wait for. */
function timer (options: unknown, name: string, absent: Milliseconds): Milliseconds {
  const time = duration(options, name, absent)
  if (time > LONGEST_TIMER) throw optionError(WHERE, name, own(options, name), 'it is at most 24 days')
  return time
}

/** Throws for less: a quarantine that is over at once keeps nothing away. */
function atLeast (least: Milliseconds, time: Milliseconds, options: unknown): Milliseconds {
  if (time >= least) return time
  throw optionError(WHERE, 'quarantineTime', own(options, 'quarantineTime'), 'it is longer than 0: longer than the database ' +
    'keeps the transaction of a client that died')
}

function size (options: unknown, name: string, absent: Bytes): Bytes {
  return checked(options, name, absent, isCount, 'it is a number of bytes')
}

/** A number reads as its text. */
function versionOf (option: unknown): string | null {
  if (option === undefined) return null
  if (isName(option) || Number.isFinite(option)) return String(option)
  throw optionError(WHERE, 'version', option, 'it is a non-empty string or a number')
}

function isCount (value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function areChecks (value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => (CHECKS as readonly unknown[]).includes(one))
}

function isPart (value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= 1
}

function isName (value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isSwitch (value: unknown): boolean {
  return typeof value === 'boolean'
}

function tierOf (option: unknown): TierLimits | null {
  if (option === undefined || option === false) return null
  const isObject = typeof option === 'object' && option !== null
  const unknown = isObject ? Object.keys(option).find((name) => !['maxBytes', 'maxAge'].includes(name)) : undefined
  if (!isObject || unknown !== undefined) throw optionError(WHERE, 'memory', option, 'it is false, or { maxBytes, maxAge }')
  const { maxBytes = 64 * 1024 * 1024, maxAge = 60 } = option as { maxBytes?: unknown, maxAge?: unknown }
  if (!isCount(maxBytes)) throw optionError(WHERE, 'memory.maxBytes', maxBytes, 'it is a number of bytes')
  const age = toMilliseconds(maxAge)
  if (age === undefined) throw optionError(WHERE, 'memory.maxAge', maxAge, DURATION_FORMS)
  return { maxBytes: maxBytes as Bytes, maxAge: age }
}

/** RFC 9211 §2: the cache's name is a token here. */
function cacheStatusOf (option: unknown): Settings['cacheStatus'] {
  if (option === false) return null
  const { name = 'fastify-route-cache', key = false } = (option ?? {}) as { name?: unknown, key?: unknown }
  const isRight = (option === undefined || (typeof option === 'object' && option !== null)) &&
    typeof name === 'string' && /^[A-Za-z*][\w:/!#$%&'*+.^`|~-]*$/.test(name) && isSwitch(key)
  if (!isRight) throw optionError(WHERE, 'cacheStatus', option, 'it is false, or { name, key }: a token, and whether to show the key')
  return { name, key: key === true }
}
