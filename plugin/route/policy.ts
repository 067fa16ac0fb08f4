// A route's `cache` option, checked and compiled once, when the route is declared. What is wrong throws there, naming the
// route, the option, its value and what would be right.
import { IDENTITY, MATCHED_HOST, VERSION } from '../cache/lookup.js'
import { DURATION_FORMS, toMilliseconds, type Bytes, type Milliseconds } from '../duration.js'
import { optionError } from '../errors.js'
import { CREDENTIAL_HEADERS } from '../http/credentials.js'
import {
  forbidsStale, originFreshness, saysHowLong, staleAllowance, isHeuristicallyCacheable, isStorableByFields,
  areSendable, varyMembers, type StaleDirective, type HeaderFields
} from '../http/headers.js'
import {
  own, canonicalName, compileKey, compileTags, tagPatterns, type KeySource, type NamePattern, type QueryFilter,
  type TemplateRoute
} from '../key/key.js'
import {
  areNames, compileNames, readCookies, readCredentials, readIgnored, readMaxVariants, readSurrogateKeys, readVersion,
  type SurrogateField
} from '../options/common-options.js'
import { isName, isObject, OptionReader } from '../options/reader.js'
import type { Caller } from '../telling/events.js'
import { compileMarking, type Marking } from '../users/identity.js'

/** The parts of a route that its policy depends on. */
export interface PolicyRoute extends TemplateRoute {
  method: string | string[]
}

/** The defaults for options that the route does not give. */
interface PolicyDefaults {
  ttl: Milliseconds
  waitTimeout: Milliseconds
  maxVariants: number
  /** Default: there is no limit. */
  maxBodyBytes?: Bytes
  version: string | null
  /** Default: none. */
  ignoreQuery?: readonly string[]
  /** Default: null, none. */
  surrogateKeys?: SurrogateField | null
  /** Default: the list of them. */
  credentials?: readonly string[]
  /** Default: null, all but those of analytics. */
  cookies?: readonly string[] | null
}

/** A compiled policy. Its functions take the request and the reply of the framework above, whatever their type. */
export interface Policy extends PolicyLife {
  /** `GET /users/:id`, with its constraints where it has some: its name in statistics and logs, the same for its HEAD. */
  route: string
  /** The key's shape, with `{}` for every placeholder: two routes of one shape would share keys. Null: not known. */
  shape: string | null
  /** A likely mistake in the key, for the log; null: none. */
  doubt: string | null
  /** Which keys its template can make; null: it is none. */
  pattern: NamePattern | null
  /** Which tags its templates can make; null: a function may give any. */
  tagPatterns: readonly NamePattern[] | null
  /** The query values that its key template names; null: it is none. */
  queryInKey: readonly string[] | null
  /** Whether the route says that this query value changes nothing. */
  ignoresQuery: (name: string) => boolean
  key: (source: KeySource, request: unknown) => string | Promise<string>
  /** For this request; throws where its function gives no tags. */
  tags: (source: KeySource, request: unknown) => readonly string[]
  /** How long beyond its ttl a response may be served while it is refreshed; null: none of them ever. */
  stale: PolicyStale
  /** How long beyond its ttl a response may stand in for a failing handler's; null: none of them ever. */
  rescue: PolicyStale
  /** Whether its entries are filled again before they are stale. */
  earlyRefresh: boolean
  /** Whether requests of our own may fill its entries again. */
  isRefreshed: boolean
  when: ((request: unknown) => unknown) | null
  storeIf: ((reply: unknown) => unknown) | null
  /** The user, as far as the user selects the response. */
  identity: ((request: unknown) => unknown) | null
  /** The marks of requests that are somebody's own, if the route does not say how users are told apart. */
  marking: Marking
  /** The app has said which cookies are marks, so it knows. */
  namesCookies: boolean
  /** The response is the same for everybody who got through. */
  shared: boolean
  /** The version of the handler's output: another build's entries are not this one's. */
  version: string | null
  /** How long a request waits for another one's handler. 0: not at all. */
  waitTimeout: Milliseconds
  /** The members that select a variant, whatever the response says: `vary`, identity and version. Sorted. */
  needs: readonly string[]
  /** Whether this client may force a refresh. */
  honourNoCache: (request: unknown) => unknown
  /** Handlers know conditional requests: they are asked whether a stale entry is still right. */
  revalidates: boolean
  /** Handlers see conditional fields as they came. */
  handlerValidates: boolean
  /** The place of the lookup; null: the first safe one. */
  hook: 'onRequest' | 'preHandler' | null
  /** Under Nest, no guard decides who may see the responses. */
  skipsGuards: boolean
  /** How many variants of a key there may be. */
  maxVariants: number
  /** Larger bodies are not stored. */
  maxBodyBytes: Bytes
  /** A CDN-Cache-Control counts instead of Cache-Control. */
  isTargeted: boolean
  /** Downstream Cache-Control where the handler sets none. */
  cacheControl: string | null
  /** The field by which caches in front know its responses; null: they don't. */
  surrogateField: SurrogateField | null
  /** From which size on a body is stored encoded, too; null: none is. */
  compressFrom: Bytes | null
  /** As the route says it. */
  written: object
}

/** A function of a route's option, of the request or of the reply. */
type Ask = (asked: unknown) => unknown

/** The names of a cached route's options. */
export const CACHING: readonly string[] = [
  'key', 'query', 'ignoreQuery', 'tags', 'ttl', 'staleWhileRevalidate', 'staleIfError', 'earlyRefresh', 'statuses', 'vary',
  'identity', 'shared', 'cookies', 'credentials', 'version', 'when', 'storeIf', 'waitTimeout', 'maxVariants', 'maxBodyBytes', 'hook',
  'honourNoCache', 'cdnCacheControl', 'cacheControl', 'compress', 'conditional', 'revalidate', 'guards', 'surrogateKeys'
]

/** Smaller ones fit into one packet anyway. */
const COMPRESSED_FROM: Bytes = 1024

/** Compiles a route's option; `true` takes all defaults. Throws FRC_OPTION. */
export function compilePolicy (route: PolicyRoute, option: unknown, defaults: PolicyDefaults): Policy {
  const where = `route ${[route.method].flat().join(',')} ${route.url}`
  const canonical = canonicalName(route)
  const options = option === true ? {} : option
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw optionError(where, 'cache', option, 'write cache: true, or cache: { key, ttl }')
  }
  if ([route.method].flat().some((method) => method !== 'GET' && method !== 'HEAD')) {
    throw optionError(where, 'cache', option, 'only GET and HEAD routes can be cached')
  }
  const reader = new OptionReader(where, options, 'cache.').onlyKnows(CACHING)
  const get = (name: string): unknown => reader.get(name)
  const isTargeted = reader.isOn('cdnCacheControl')
  const identity = reader.function<Ask>('identity')
  const version = readVersion(reader) ?? defaults.version
  const isOrigin = get('ttl') === 'origin'
  const life = compileLife(where, { ttl: get('ttl'), statuses: get('statuses') }, { defaultTtl: defaults.ttl, isTargeted })
  const stale = compileStale(where, get('staleWhileRevalidate'), { directive: 'stale-while-revalidate', isOrigin, isTargeted })
  const rescue = compileStale(where, get('staleIfError'), { directive: 'stale-if-error', isOrigin, isTargeted })
  const earlyRefresh = reader.isOn('earlyRefresh')
  const pseudo = [...identity === null ? [] : [IDENTITY], ...version === null ? [] : [VERSION]]
  const vary = compileVary(reader)
  const cookies = readCookies(reader) ?? defaults.cookies ?? null
  const known = defaults.credentials ?? CREDENTIAL_HEADERS
  const { counts, ignores } = compileQuery(reader, defaults.ignoreQuery)
  const hosts = takesManyHosts(route) ? ['host', MATCHED_HOST] : []
  return {
    route: `GET ${canonical}`,
    ...compileKey(where, route, { key: get('key'), canonical, counts }),
    ignoresQuery: ignores,
    tags: compileTags(where, route, get('tags')),
    tagPatterns: tagPatterns(`${where}: cache.tags`, route, get('tags')),
    ...life,
    stale,
    rescue,
    earlyRefresh,
    isRefreshed: stale !== null || rescue !== null || earlyRefresh,
    identity,
    shared: reader.isOn('shared'),
    version,
    waitTimeout: reader.timer('waitTimeout', defaults.waitTimeout, { right: `${DURATION_FORMS}, at most 24 days` }),
    maxVariants: readMaxVariants(reader) ?? defaults.maxVariants,
    maxBodyBytes: reader.size('maxBodyBytes', defaults.maxBodyBytes ?? Infinity),
    needs: [...new Set([...vary, ...hosts, ...pseudo])].sort(),
    marking: compileMarking({ credentials: readCredentials(reader, known), cookies, vary }),
    namesCookies: cookies !== null,
    when: reader.function<Ask>('when'),
    storeIf: reader.function<Ask>('storeIf'),
    honourNoCache: compileHonour(reader),
    isTargeted: isTargeted && life.asksOrigin,
    revalidates: reader.isOn('revalidate', isOrigin),
    handlerValidates: reader.read<string>('conditional', 'cache', (value) => value === 'cache' || value === 'handler', 'it is "cache" or "handler"') === 'handler',
    hook: reader.read<Policy['hook']>('hook', null, (value) => value === 'onRequest' || value === 'preHandler',
      'it is "onRequest" or "preHandler"; without it the lookup stands where it is safe'),
    skipsGuards: reader.read<string | null>('guards', null, (value) => value === 'skip', 'it is "skip", for a route of a Nest app whose ' +
      'responses all may see, so that hits need not come behind guards') !== null,
    cacheControl: reader.read<string | null>('cacheControl', null, (value) => isName(value) && areSendable([['cache-control', value]]),
      'it is the value of a Cache-Control header'),
    surrogateField: readSurrogateKeys(reader, defaults.surrogateKeys ?? null),
    compressFrom: compileCompress(where, reader),
    written: options
  }
}

/** Which query values select the response under the default key. `always`: those that the plugin's option ignores. */
function compileQuery (
  reader: OptionReader, always: readonly string[] = []
): { counts: QueryFilter | undefined, ignores: QueryFilter } {
  const ignored = [...readIgnored(reader), ...always]
  const ignores = compileNames(ignored)
  const query = reader.read<readonly string[] | null>('query', null, areNames, 'write the names of the query values that select the ' +
    'response, such as ["page", "sort"]')
  if (query === null) return { counts: ignored.length === 0 ? undefined : (name) => !ignores(name), ignores }
  if (reader.get('key') !== undefined) throw reader.error('query', 'it is for routes without a key; one with a key names its query values there: {query.page}')
  if (reader.get('ignoreQuery') !== undefined) throw reader.error('query', 'what it leaves out is ignored anyway, so leave out ignoreQuery')
  const names = new Set(query)
  return { counts: (name) => names.has(name), ignores }
}

function compileVary (reader: OptionReader): string[] {
  const isRight = (vary: unknown): boolean => Array.isArray(vary) &&
    vary.every((name) => typeof name === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(name) && name !== '*')
  return varyMembers(reader.read<string[]>('vary', [], isRight, 'write the names of request headers, such as ["accept-language"]'))
}

/** The host that matched a pattern tells its responses apart, not the pattern. */
function takesManyHosts ({ constraints }: PolicyRoute): boolean {
  return Object.prototype.toString.call(own(constraints, 'host')) === '[object RegExp]'
}

function compileHonour (reader: OptionReader): Policy['honourNoCache'] {
  const honour = reader.get('honourNoCache')
  if (honour === undefined || typeof honour === 'boolean') return () => honour === true
  return reader.function<Ask>('honourNoCache')!
}

function compileCompress (where: string, reader: OptionReader): Bytes | null {
  const compress = reader.read<unknown>('compress', false, (value) => typeof value === 'boolean' || (isObject(value) &&
    Object.keys(value).every((name) => name === 'threshold')), 'it is true or false, or { threshold }: the size in bytes from which ' +
    'bodies are compressed')
  return compress === false ? null : new OptionReader(where, compress, 'cache.compress.').size('threshold', COMPRESSED_FROM)
}

/** Counts and says that one of the policy's functions threw, or gave what it must not. */
export function policyFailed (policy: Policy, { counters, log }: Caller, error: unknown): void {
  counters.errors++
  // The client's input may be the cause: requests must not fill the log.
  const since = performance.now() - (failuresTold.get(policy) ?? -Infinity)
  if (since < PAUSE) return log.debug({ err: error, route: policy.route }, 'cache policy failed')
  failuresTold.set(policy, performance.now())
  log.warn({ err: error, route: policy.route }, 'cache policy failed')
}

/** When each policy's failure was last said. */
const failuresTold = new WeakMap<Policy, Milliseconds>()
const PAUSE: Milliseconds = 10_000

// How long a policy's responses are served: fresh, stale while they are refreshed, or where the handler fails; and which
// statuses are stored at all.

/** The values that a ttl may depend on. */
export interface PolicyResponse {
  request: unknown
  reply: unknown
  headers: HeaderFields
  now: Milliseconds
  /** How long the handler took. */
  delay: Milliseconds
}

/** Undefined where a ttl function gave no duration. */
type Ttl = (response: PolicyResponse) => Milliseconds | undefined
/** Null: none of them ever. */
type PolicyStale = ((response: PolicyResponse) => Milliseconds) | null

/** A policy's rules for each status. */
interface PolicyLife {
  /** The statuses that are stored; for some, only responses whose fields say for how long. */
  statuses: { has: (status: number, fields: HeaderFields) => boolean }
  /** How long a response is served; 0: it is not stored; undefined: a ttl function gave no duration. */
  life: (status: number, response: PolicyResponse) => Milliseconds | undefined
  /** Whether the header fields of a response of this status decide for how long. */
  isByOrigin: (status: number) => boolean
  /** Whether they do so for any status. */
  asksOrigin: boolean
}

interface Written { ttl: unknown, statuses: unknown }

interface Defaults { defaultTtl: Milliseconds, isTargeted: boolean }

function compileLife (where: string, { ttl, statuses }: Written, { defaultTtl, isTargeted }: Defaults): PolicyLife {
  const general = compileTtl(where, ttl, defaultTtl)
  const others = statuses === 'origin'
  const listed = others ? NONE : compileStatuses(where, statuses)
  const isByOrigin = (status: number): boolean => {
    const own = listed.get(status)
    return general === 'origin' || own === 'origin' || (others && status !== 200)
  }
  const has = (status: number, fields: HeaderFields): boolean => status === 200 || listed.has(status) ||
    (others && isStorableByFields(status) && (isHeuristicallyCacheable(status) || saysHowLong(fields, isTargeted)))
  const life = (status: number, response: PolicyResponse): Milliseconds | undefined => {
    const own = listed.get(status)
    const ofItself = typeof own === 'number' ? own : undefined
    if (!isByOrigin(status)) return ofItself ?? (general as Ttl)(response)
    const { headers: fields, now, delay } = response
    const seconds = originFreshness({ fields, now, delay, isTargeted })
    return seconds === undefined ? ofItself ?? 0 : seconds * 1000
  }
  const asksOrigin = general === 'origin' || others || [...listed.values()].includes('origin')
  return { statuses: { has }, life, isByOrigin, asksOrigin }
}

const NONE: ReadonlyMap<number, Milliseconds | 'origin'> = new Map()

function compileTtl (where: string, ttl: unknown, defaultTtl: Milliseconds): Ttl | 'origin' {
  if (ttl === undefined) return () => defaultTtl
  if (ttl === 'origin') return 'origin'
  if (typeof ttl === 'function') {
    return ({ request, reply }) => {
      const duration: unknown = (ttl as (...args: unknown[]) => unknown)(request, reply)
      // No duration, so it is refused; unwatched, its rejection would end the process.
      if (duration instanceof Promise) duration.catch(() => {})
      return toMilliseconds(duration)
    }
  }
  const time = toMilliseconds(ttl)
  if (time === undefined) throw optionError(where, 'cache.ttl', ttl, `${DURATION_FORMS}; 0 stores nothing; "origin" asks the handler`)
  return () => time
}

interface Origin { directive: StaleDirective, isOrigin: boolean, isTargeted: boolean }

/**
 * What the handler's headers say counts where they say how long it is fresh. That they forbid to serve it stale counts in
 * any case: RFC 9111 §4.2.4.
 */
function compileStale (where: string, stale: unknown, { directive, isOrigin, isTargeted }: Origin): PolicyStale {
  const time = stale === undefined ? 0 : toMilliseconds(stale)
  const name = directive === 'stale-if-error' ? 'staleIfError' : 'staleWhileRevalidate'
  if (time === undefined) throw optionError(where, `cache.${name}`, stale, `${DURATION_FORMS}; 0 serves nothing stale`)
  if (time === 0 && (stale !== undefined || !isOrigin)) return null
  if (!isOrigin) return ({ headers }) => forbidsStale(headers) ? 0 : time
  return ({ headers }) => {
    const seconds = staleAllowance(headers, directive, isTargeted)
    return seconds === undefined ? time : seconds * 1000
  }
}

const EXAMPLES = 'write the ttl of each status, such as { 404: 30, 301: \'1h\', 410: \'origin\' }, or "origin" for all whose headers say it'

/** 1xx are no responses, 206 is a part, 304 has no body of its own: RFC 9111 §3, §3.3. */
function compileStatuses (where: string, statuses: unknown): ReadonlyMap<number, Milliseconds | 'origin'> {
  if (statuses === undefined) return NONE
  if (typeof statuses !== 'object' || statuses === null || Array.isArray(statuses)) {
    throw optionError(where, 'cache.statuses', statuses, EXAMPLES)
  }
  const compiled = new Map<number, Milliseconds | 'origin'>()
  for (const [status, ttl] of Object.entries(statuses)) {
    const time = ttl === 'origin' ? ttl : toMilliseconds(ttl)
    if (!/^[2-5]\d\d$/.test(status) || status === '206' || status === '304') {
      throw optionError(where, `cache.statuses.${status}`, ttl, 'a status is from 200 to 599, and neither 206 nor 304')
    }
    if (time === undefined) {
      throw optionError(where, `cache.statuses.${status}`, ttl, `${DURATION_FORMS}; 0 stores nothing; "origin" asks the handler`)
    }
    compiled.set(Number(status), time)
  }
  return compiled
}
