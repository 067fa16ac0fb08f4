// The plugin's options, checked, with their defaults, in the units that we work with.
import type { Bytes } from '../duration.js'
import { CREDENTIAL_HEADERS } from '../http/credentials.js'
import { readCacheSettings, type CacheSettings } from './cache-settings.js'
import { CHECKS } from './checks.js'
import { readCookies, readCredentials, readIgnored, readMaxVariants, readSurrogateKeys, readVersion, type SurrogateField } from './common-options.js'
import type { AnswerLimits } from './limits.js'
import { readRules, type RouteRule } from './route-rules.js'
import { isName, isObject, isSwitch, OptionReader } from './reader.js'

export interface Settings extends CacheSettings, AnswerLimits {
  namespace: string | null
  maxVariants: number
  version: string | null
  surrogateKeys: SurrogateField | null
  credentials: readonly string[]
  cookies: readonly string[] | null
  ignoreQuery: readonly string[]
  routes: readonly RouteRule[]
  quiet: readonly string[]
  decorator: string
  maxStoreBytes: Bytes
  cacheStatus: { name: string, key: boolean, writes: boolean } | null
  xCache: boolean
  invalidateUnsafe: boolean
}

const WHERE = 'fastify-route-cache'
const CACHE_STATUS = 'it is false, or { name, key, writes }: a token, whether to show the key, and whether responses of writes say what ' +
  'was invalidated'

/** Throws FRC_OPTION for what is unknown or wrong. */
export function readSettings (given: unknown): Settings {
  const options = new OptionReader(WHERE, given)
  const settings: Settings = {
    ...readCacheSettings(options),
    namespace: options.read<string | null>('namespace', null, isName, "it is the name of one of @fastify/redis' namespaces"),
    maxVariants: readMaxVariants(options) ?? 1_000,
    version: readVersion(options),
    surrogateKeys: readSurrogateKeys(options, null),
    credentials: readCredentials(options, CREDENTIAL_HEADERS),
    cookies: readCookies(options),
    ignoreQuery: readIgnored(options),
    routes: readRules(options),
    quiet: options.read<readonly string[]>('quiet', [], areChecks, `it lists checks: ${CHECKS.join(', ')}`),
    decorator: options.read('decorator', 'cache', isName, 'it is the name of a decorator'),
    maxHeaderBytes: options.size('maxHeaderBytes', 16 * 1024),
    maxStoreBytes: options.size('maxStoreBytes', 64 * 1024 * 1024),
    cacheStatus: cacheStatusOf(options),
    xCache: options.isOn('xCache'),
    invalidateUnsafe: options.isOn('invalidateUnsafe')
  }
  options.onlyKnows(Object.keys(settings))
  if (settings.redis !== null && settings.namespace !== null) {
    throw options.error('namespace', 'it chooses among what fastify.redis has, so leave it out, or leave out redis')
  }
  return settings
}

function areChecks (value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => (CHECKS as readonly unknown[]).includes(one))
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
