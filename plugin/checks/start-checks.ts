// Checks of an app when all its routes are declared.
import type { Milliseconds } from '../duration.js'
import { show } from '../errors.js'
import type { Check } from '../options/checks.js'
import { own, canMeet, type NamePattern } from '../key/key.js'
import type { KnownNames } from './names.js'
import type { Warning } from './warnings.js'

/** A cached route, as it was declared. */
export interface CheckedRoute {
  route: string
  /** The shape of its path: two of one shape are for the same URLs. */
  path: string
  /** What else selects it: its host, its version. */
  constraints: string
  key: NamePattern | null
  /** Null: of a function. */
  tags: readonly NamePattern[] | null
  /** How long its responses are served; null: a function or the response says so. */
  ttl: Milliseconds | null
  /** How long a 404 is served; null: it is not stored, or the response says so. */
  notFound: Milliseconds | null
  /** The query values that its key template names; null: the key is none. */
  queryInKey: readonly string[] | null
  /** Whether the route says that this query value changes nothing. */
  ignores: (name: string) => boolean
  schema: unknown
  /** Query values that its handler takes by name; `*`: the whole query. */
  taken: readonly string[]
}

/** A route that writes, and the templates that it names. */
export interface CheckedWriter { route: string, keys: readonly NamePattern[], tags: readonly NamePattern[] }

interface CheckedApp {
  routes: readonly CheckedRoute[]
  writers: readonly CheckedWriter[]
  /** Routes that have `invalidates` where Fastify ignores it. */
  misplaced: readonly string[]
  /** Routes that have in `config.cache` what nobody reads. */
  unread: readonly Warning[]
  /** Paths of the plugin's option `routes` that no route has. */
  unused: readonly string[]
  names: KnownNames
}

/** `hears`: whether a check is not silenced. */
export function checkApp (app: CheckedApp, hears: (check: Check) => boolean): Warning[] {
  const { routes, writers, misplaced, unread, unused, names } = app
  return [
    ...routes.flatMap(leftOutOf),
    ...hears('shared-key') ? sharedKeys(routes) : [],
    ...hears('unknown-name') ? unknownNames(names, writers) : [],
    ...misplaced.map((route): Warning => ({
      check: 'misplaced-option', route, message: `route ${route} has invalidates beside cache, where nobody reads it; write cache: { invalidates }`
    })),
    ...unread,
    ...unused.map((path): Warning => ({
      check: 'unused-rule',
      route: null,
      message: `the plugin's option routes has the path ${show(path)}, which gives no route its options: there is no such GET route behind the ` +
        'plugin\'s registration, or rules in front of it have taken all; write the path as the route declares it, with its prefix'
    }))
  ]
}

/** A filter that the key forgets gives one filter's response for another's. */
function leftOutOf ({ route, queryInKey, ignores, schema, taken }: CheckedRoute): Warning[] {
  if (queryInKey === null) return []
  if (taken.includes('*') && queryInKey.length === 0) return [wholeQueryLeftOut(route)]
  const names = new Set([...declaredQuery(schema), ...taken.filter((name) => name !== '*')])
  const left = [...names].filter((name) => !queryInKey.includes(name) && !ignores(name))
  if (left.length === 0) return []
  const places = left.map((name) => `{query.${name}}`).join(':')
  const by = taken.length > 0 ? 'handler takes' : 'schema declares'
  return [{
    check: 'query-left-out',
    route,
    message: `route ${route}: its key leaves out query values that its ${by} (${left.join(', ')}), so all their values share one ` +
      `response; add ${places} to the key, or write ignoreQuery: ${show(left)} where they change nothing`
  }]
}

/** Which values a class for the whole query has is not known. */
function wholeQueryLeftOut (route: string): Warning {
  return {
    check: 'query-left-out',
    route,
    message: `route ${route}: its handler takes the whole query, of which its key has nothing, so all queries share one response; add those that ` +
      'count to the key, {query.page} for example, or leave key out, for the whole query; or leave @Query() out'
  }
}

function declaredQuery (schema: unknown): string[] {
  const query = own(schema, 'querystring') ?? own(schema, 'query')
  const properties = own(query, 'properties')
  return typeof properties === 'object' && properties !== null ? Object.keys(properties) : []
}

/** Comparing each key with each other takes long in an app of a thousand routes: an app must start in time. */
const LONGEST_SEARCH: Milliseconds = 100

/** Two keys of one shape are refused; here are those that only some values make the same. */
function sharedKeys (routes: readonly CheckedRoute[]): Warning[] {
  const found: Warning[] = []
  const end = performance.now() + LONGEST_SEARCH
  for (const [i, one] of routes.entries()) {
    if (performance.now() > end) break
    for (const other of routes.slice(i + 1)) {
      if (one.key === null || other.key === null || !canMeet(one.key, other.key) || areApart(one.path, other.path)) continue
      found.push({
        check: 'shared-key',
        route: other.route,
        message: `routes ${one.route} and ${other.route}: their keys ${show(one.key.written)} and ${show(other.key.written)} are the same for some ` +
          'values, so each may serve the other\'s response; begin the keys with different words'
      })
    }
  }
  return found
}

/** The router gives each URL to one of them, and the key's values are the path's: `/users/me` beside `/users/:id`. */
function areApart (path: string, other: string): boolean {
  const [a, b] = [path.split('/'), other.split('/')]
  return a.length === b.length && a.every((part, i) => part === b[i] || part.includes(':{}') || b[i]!.includes(':{}'))
}

function unknownNames (names: KnownNames, writers: readonly CheckedWriter[]): Warning[] {
  const end = performance.now() + LONGEST_SEARCH
  return writers.flatMap((writer) => performance.now() > end ? [] : unknownTo(names, writer))
}

function unknownTo (names: KnownNames, { route, keys, tags }: CheckedWriter): Warning[] {
  return [...keys.map((key) => names.doubtOfTemplate('key', key)), ...tags.map((tag) => names.doubtOfTemplate('tag', tag))]
    .flatMap((doubt) => doubt === null ? [] : [{ check: 'unknown-name', route, message: `route ${route}: ${doubt}` }])
}
