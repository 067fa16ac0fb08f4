// The plugin's option `routes`: `cache` options for routes that have none of their own, by their paths.
import type { OptionReader } from './reader.js'
import { isName, isObject, OptionReader as Reader } from './reader.js'
import type { CacheOptions } from './route-options.js'

/** A `cache` option for the GET routes of a path. */
export interface RouteRule {
  /**
   * The path of a route as it is declared, its prefix included: `/users/:id`, whatever the param is called there; with `*`
   * at the end, those of all routes that begin so: `/api/*`, and also `/api` itself. Or a list of such.
   */
  path: string | readonly string[]
  /** As a route's own `cache` option. `false`: these routes are not cached, whatever later rules say. */
  cache: boolean | CacheOptions
}

const FORM = 'write { path: "/api/*", cache: { ttl: 60 } }, with paths of routes as they are declared; the first that fits a route counts'
const EXCLUDED = 'write true or options for GET routes, or false for routes that are not to be cached'

/** `routes`: none where it is absent. Throws FRC_OPTION. */
export function readRules (options: OptionReader): readonly RouteRule[] {
  const rules = options.read<readonly unknown[]>('routes', [], Array.isArray, `it is a list: ${FORM}`)
  return rules.map((rule, i) => readRule(options, `routes[${i}]`, rule))
}

function readRule (options: OptionReader, place: string, rule: unknown): RouteRule {
  if (!isObject(rule)) throw options.error(place, FORM, rule)
  const reader = new Reader('fastify-route-cache', rule, `${place}.`).onlyKnows(['path', 'cache'])
  const path = reader.read<RouteRule['path'] | null>('path', null, arePaths, FORM)
  if (path === null) throw reader.error('path', FORM)
  const cache = reader.get('cache')
  if (typeof cache !== 'boolean' && !isObject(cache)) throw reader.error('cache', EXCLUDED)
  return { path, cache: cache as RouteRule['cache'] }
}

function arePaths (path: unknown): boolean {
  const paths = [path].flat()
  return paths.length > 0 && paths.every((one) => isName(one) && (one === '*' || one.startsWith('/')) && !one.slice(0, -1).includes('*'))
}
