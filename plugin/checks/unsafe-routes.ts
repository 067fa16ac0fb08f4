// Routes with an unsafe method on the path of a cached route, of which a likely mistake is looked for while the app runs
// (unnoticed-writes.ts): which pairs there are, and what their author is told.
//
// On the path: the same template (`PUT /books/:id` beside `GET /books/:id`), a param more (`PUT /books/:id` beside
// `GET /books`), or a param less (`DELETE /books` beside `GET /books/:id`). A POST to a collection makes a new thing, which
// changes no other one, but ends the 404 that is stored for it.
import type { Milliseconds } from '../duration.js'
import { show } from '../errors.js'
import { canMake, parseTemplate, type NamePattern } from '../key/key.js'
import type { CheckedRoute } from './start-checks.js'
import type { Targets } from '../cache/claim.js'
import type { Warning } from './warnings.js'

/** A route with an unsafe method, as it was declared. */
export interface UnsafeRoute {
  /** `PUT /books/:id`. */
  route: string
  methods: readonly string[]
  url: string
  /** The shape of its path, and what else selects it. */
  path: string
  constraints: string
  params: readonly string[]
  /** It names what it invalidates. */
  isDeclared: boolean
}

/** A route with an unsafe method, and the cached routes that it may change. */
export interface WritePair { check: 'never-invalidated' | 'lasting-404', writer: UnsafeRoute, cached: readonly CheckedRoute[] }

/** Whoever stores for no longer than this has said that responses may be as old. */
const SHORT: Milliseconds = 5_000

/** Ends of paths to which a POST most often asks, logs in or sends a message, and changes nothing that a GET gives. */
const ASKING = /\/(?:_?search|query|queries|find|filter|lookup|graphql|rpc|batch|preview|validate|check|verify|calculate|estimate|quote|export|report|log-?in|log-?out|sign-?in|sign-?up|sign-?out|auth|authenticate|token|session|register|contact|subscribe|feedback|webhooks?|upload)\/?$/i

export function pairsOf (writers: readonly UnsafeRoute[], cached: readonly CheckedRoute[]): WritePair[] {
  const places = new Map<string, CheckedRoute[]>()
  for (const route of cached) {
    const place = placeOf(route.path)
    places.set(place, [...places.get(place) ?? [], route])
  }
  return writers.filter(({ path }) => !path.includes('*')).flatMap((writer) => {
    const near = (place: string | null): CheckedRoute[] =>
      (place === null ? [] : places.get(place) ?? []).filter(({ constraints }) => constraints === writer.constraints)
    const place = placeOf(writer.path)
    const [same, above, below] = [near(place), near(aboveOf(place)), place === '' ? [] : near(`${place}/:{}`)]
    const changed = writer.isDeclared ? [] : changedBy(writer, { same, above, below })
    const made = madeBy(writer, { same, below })
    return [
      ...changed.length > 0 ? [{ check: 'never-invalidated' as const, writer, cached: changed }] : [],
      ...made.length > 0 ? [{ check: 'lasting-404' as const, writer, cached: made }] : []
    ]
  })
}

/** Cached routes on the path of a writer, with a param less, and with one more. */
interface Near { same: CheckedRoute[], above: CheckedRoute[], below: CheckedRoute[] }

function changedBy ({ methods, path }: UnsafeRoute, { same, above, below }: Near): CheckedRoute[] {
  const isPost = methods.includes('POST')
  if (isPost && ASKING.test(path.replace(/\/:\{\}\/?$/, ''))) return []
  return [...same, ...above, ...isPost ? [] : below].filter(({ ttl }) => ttl === null || ttl > SHORT)
}

function madeBy ({ methods, path }: UnsafeRoute, { same, below }: Pick<Near, 'same' | 'below'>): CheckedRoute[] {
  if (methods.includes('POST') ? ASKING.test(path) : !methods.includes('PUT')) return []
  return [...same, ...methods.includes('POST') ? below : []]
    .filter(({ path, notFound }) => path.includes(':{}') && notFound !== null && notFound > SHORT)
}

/** A path with and without a slash at its end is one. */
function placeOf (path: string): string {
  return path.replace(/\/$/, '')
}

/** Null: its last part is no param; or it is a param of `/`, whose page is about nothing in particular. */
function aboveOf (place: string): string | null {
  return place.endsWith('/:{}') && place !== '/:{}' ? place.slice(0, -'/:{}'.length) : null
}

/** More names than these are not compared. */
const MOST_COMPARED = 20

/** Whether these targets may be names of what the route has stored. True where that is not known. */
export function mayTouch ({ key, tags }: CheckedRoute, targets: Targets): boolean {
  if (targets.all || targets.prefixes.length > 0 || targets.keys.length + targets.tags.length > MOST_COMPARED) return true
  return targets.keys.some((name) => key === null || canMake(key, name)) ||
    targets.tags.some((name) => tags === null || tags.length === 0 || tags.some((tag) => canMake(tag, name)))
}

/** `times`: how often that was seen. */
export function warningOf ({ check, writer, cached }: WritePair, times: number): Warning {
  const { route } = writer
  const names = cached.map((one) => one.route).join(' and ')
  const verb = cached.length === 1 ? 'is' : 'are'
  const message = check === 'never-invalidated'
    ? `route ${route}: ${times} requests succeeded, and none of them invalidated anything, while ${names} ${verb} cached: clients get what was ` +
      `there before, until its ttl ends. ${adviceFor(writer, cached)}, or call app.cache.invalidate() in its handler, or write cache: false there ` +
      `if it changes nothing that ${names} ${cached.length === 1 ? 'gives' : 'give'}`
    : `route ${route}: ${times} requests succeeded, and none of them invalidated what ${names} stores, 404 among it: something new may stay ` +
      `"not found" for ${cached[0]!.notFound! / 1000} s. ${adviceForNew(writer, cached[0]!)}, or leave 404 out of the statuses of ${names}`
  return { check, route, concerned: cached.map((one) => one.route), message }
}

function adviceFor (writer: UnsafeRoute, cached: readonly CheckedRoute[]): string {
  const names = [...new Set(cached.map((route) => nameFor(writer, route)).filter((name) => name !== null))]
  if (names.length > 0) return `Write cache: { invalidates: [${names.join(', ')}] } in ${writer.route}`
  const tag = show(tagFor(cached[0]!))
  return `Give ${cached.map(({ route }) => route).join(' and ')} a tag, such as tags: [${tag}], and write cache: { invalidates: { tags: [${tag}] } } ` +
    `in ${writer.route}`
}

/** The name that the writer's params can fill; null: it has none. */
function nameFor (writer: UnsafeRoute, { path, key, tags }: CheckedRoute): string | null {
  const isItsOwn = key !== null && placeOf(path) === placeOf(writer.path) && isFilledBy(key, writer.params)
  return isItsOwn ? show(key.written) : tagNameFor(writer, tags)
}

function tagNameFor ({ params }: UnsafeRoute, tags: CheckedRoute['tags']): string | null {
  const tag = tags?.find((tag) => isFilledBy(tag, params))
  return tag === undefined ? null : `{ tags: [${show(tag.written)}] }`
}

function isFilledBy ({ written }: NamePattern, params: readonly string[]): boolean {
  return parseTemplate(written).every((part) => typeof part === 'string' || (part.scope !== 'query' && params.includes(part.name)))
}

function adviceForNew (writer: UnsafeRoute, { route, path, key, tags }: CheckedRoute): string {
  const common = tagNameFor(writer, tags)
  if (common !== null) return `Write cache: { invalidates: [${common}] } in ${writer.route}`
  if (key !== null && path === writer.path) return `Write cache: { invalidates: [${show(key.written)}] } in ${writer.route}`
  if (key !== null) {
    return `Write cache: { invalidates: (request, reply, made) => app.cache.key(${show(key.written)}, made) } in ${writer.route}`
  }
  const tag = show(tagFor({ path }))
  return `Give ${route} a tag, such as tags: [${tag}], and write cache: { invalidates: { tags: [${tag}] } } in ${writer.route}`
}

/** The last word of the path. */
function tagFor ({ path }: Pick<CheckedRoute, 'path'>): string {
  return path.split('/').findLast((part) => /^[\w-]+$/.test(part)) ?? 'pages'
}
