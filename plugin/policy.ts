// A route's `cache` option, checked and compiled once, when the route is declared. What is wrong throws there, naming the
// route, the option, its value and what would be right.
import { DURATION_FORMS, toMilliseconds, type Duration, type Milliseconds } from './duration.js'
import { RouteCacheError, optionError, show } from './errors.js'
import { defaultKey, escapeKey, escapeValue, fillTemplate, own, parseTemplate } from './key.js'
import type { KeySource, Placeholder, TemplatePart } from './key.js'
import { paramsOf } from './route-path.js'

/** What a policy needs to know of the route that it belongs to. */
export interface PolicyRoute {
  method: string | string[]
  url: string
  schema?: unknown
  constraints?: unknown
}

/** A compiled policy. Its functions take the request and the reply of the framework above, whatever their type. */
export interface Policy {
  /** `GET /users/:id`, with its constraints where it has some: its name in statistics and logs, the same for its HEAD. */
  route: string
  /** The key's shape, with `{}` for every placeholder: two routes of one shape would share keys. Null: not known. */
  shape: string | null
  key: (request: KeySource) => string | Promise<string>
  /** Undefined where a ttl function gave no duration. */
  ttl: (request: unknown, reply: unknown) => Milliseconds | undefined
  when: ((request: unknown) => boolean | Promise<boolean>) | null
  storeIf: ((reply: unknown) => boolean) | null
}

const OPTIONS = ['key', 'ttl', 'when', 'storeIf']

/** Compiles a route's option; `true` takes all defaults. Throws FRC_OPTION. */
export function compilePolicy (route: PolicyRoute, option: unknown, defaultTtl: Milliseconds): Policy {
  const where = `route ${[route.method].flat().join(',')} ${route.url}`
  const canonical = canonicalName(route)
  const options = option === true ? {} : option
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw optionError(where, 'cache', option, 'write cache: true, or cache: { key, ttl }')
  }
  if ([route.method].flat().some((method) => method !== 'GET' && method !== 'HEAD')) {
    throw optionError(where, 'cache', option, 'only GET and HEAD routes can be cached')
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
  if (unknown !== undefined) {
    throw optionError(where, `cache.${unknown}`, own(options, unknown), `there is no such option; there are: ${OPTIONS.join(', ')}`)
  }
  return {
    route: `GET ${canonical}`,
    ...compileKey(where, route, { key: own(options, 'key'), canonical }),
    ttl: compileTtl(where, own(options, 'ttl'), defaultTtl),
    when: compileFunction(where, 'when', own(options, 'when')),
    storeIf: compileFunction(where, 'storeIf', own(options, 'storeIf'))
  }
}

function compileKey (
  where: string, route: PolicyRoute, { key, canonical }: { key: unknown, canonical: string }
): Pick<Policy, 'key' | 'shape'> {
  if (key === undefined) {
    return { shape: null, key: (request) => defaultKey(canonical, request) }
  }
  if (typeof key === 'function') return { shape: null, key: key as Policy['key'] }
  if (typeof key !== 'string' || key === '') {
    throw optionError(where, 'cache.key', key, 'write a template such as "user:{id}", or a function of the request')
  }
  const parts = parseRouteTemplate(where, key)
  const places = parts.map((part) => (typeof part === 'string' ? part : resolve(where, key, part, route)))
  const shape = parts.map((part) => (typeof part === 'string' ? part : '{}')).join('')
  return { shape, key: (request) => fillTemplate(places, ({ scope, name }) => own(request[scope!], name)) }
}

function parseRouteTemplate (where: string, key: string): TemplatePart[] {
  try {
    return parseTemplate(key)
  } catch (error) {
    throw new RouteCacheError('FRC_OPTION', `${where}: cache.key: ${(error as Error).message}`)
  }
}

/**
 * Which scope a plain name means: the path's params first. A name that the path doesn't have is the query's where the
 * route's schema declares it, or where the path has no params at all; else it is most likely a misspelt param.
 */
function resolve (where: string, key: string, { scope, name }: Placeholder, route: PolicyRoute): Placeholder {
  const params = paramsOf(route.url)
  if (scope === 'query') return { scope, name }
  if (params.has(name)) return { scope: 'params', name }
  if (scope === null && (params.size === 0 || declaresQuery(route.schema, name))) return { scope: 'query', name }
  const known = params.size === 0 ? 'none' : [...params].join(', ')
  const ways = scope === null ? `; for a query value write {query.${name}}` : ''
  throw optionError(where, 'cache.key', key, `the path has no param "${name}" (it has: ${known})${ways}`)
}

function declaresQuery (schema: unknown, name: string): boolean {
  const query = own(schema, 'querystring') ?? own(schema, 'query')
  return own(own(query, 'properties') ?? query, name) !== undefined
}

/** The path, and what else selects the route: constraints such as host or version. */
function canonicalName ({ url, constraints }: PolicyRoute): string {
  if (typeof constraints !== 'object' || constraints === null || Object.keys(constraints).length === 0) return url
  const pairs = Object.entries(constraints).sort(([a], [b]) => (a < b ? -1 : 1))
  // A strategy of one's own may take any value: objects by their content.
  return `${url}@${pairs.map(([name, value]) => `${name}=${value instanceof RegExp ? value : escapeValue(value)}`).join(',')}`
}

function compileTtl (where: string, ttl: unknown, defaultTtl: Milliseconds): Policy['ttl'] {
  if (ttl === undefined) return () => defaultTtl
  if (typeof ttl === 'function') {
    return (request, reply) => {
      const duration: unknown = (ttl as (...args: unknown[]) => Duration)(request, reply)
      // No duration, so it is refused below; unwatched, its rejection would end the process.
      if (duration instanceof Promise) duration.catch(() => {})
      return toMilliseconds(duration)
    }
  }
  const time = toMilliseconds(ttl)
  if (time === undefined) throw optionError(where, 'cache.ttl', ttl, `${DURATION_FORMS}; 0 stores nothing`)
  return () => time
}

function compileFunction (where: string, name: string, value: unknown): ((arg: unknown) => boolean) | null {
  if (value === undefined) return null
  if (typeof value === 'function') return value as (arg: unknown) => boolean
  throw optionError(where, `cache.${name}`, value, 'it is a function')
}

/** The key that a policy's function gave, as it is stored. Throws FRC_KEY where it is not a non-empty string. */
export function checkKey (key: unknown): string {
  if (typeof key === 'string' && key !== '') return escapeKey(key)
  throw new RouteCacheError('FRC_KEY', `a key is a non-empty string, not ${show(key)}`)
}
