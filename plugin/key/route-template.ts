// What a route's templates mean: which of the request's values each placeholder stands for, in its key and its tags.
import { RouteCacheError, optionError, show } from '../errors.js'
import {
  boundKey, defaultKey, escapeTag, fillTemplate, isObjectsText, own, parseTemplate,
  readMember, writtenKey, type KeySource, type Placeholder, type TemplatePart
} from './key.js'
import { isThenable, escapeText, escapeValue, Keyless, kindOf } from './key-value.js'
import { patternOf, type NamePattern } from './name-pattern.js'

/** What templates need to know of the route. */
export interface TemplateRoute {
  url: string
  schema?: unknown
  constraints?: unknown
}

export interface CompiledKey {
  /** The key with `{}` for every placeholder; null where that is not known. */
  shape: string | null
  /** What of it is most likely a mistake, for the log; null: nothing. */
  doubt: string | null
  /** Which names its template can make; null: it is none. */
  pattern: NamePattern | null
  /** The query values that its template names; null: it is none. */
  queryInKey: readonly string[] | null
  key: (source: KeySource, request: unknown) => string | Promise<string>
}

/** Whether a query value selects the response. */
export type QueryFilter = (name: string) => boolean

export type CompiledTags = (source: KeySource, request: unknown) => readonly string[]

const NO_TAGS: readonly string[] = []

interface KeyOption { key: unknown, canonical: string, counts?: QueryFilter | undefined }

export function compileKey (
  where: string, route: TemplateRoute, { key, canonical, counts }: KeyOption
): CompiledKey {
  const untold = { shape: null, doubt: null, pattern: null, queryInKey: null }
  if (key === undefined) {
    checkConstraints(where, route)
    const hasWildcard = readPath(route.url).params.includes('*')
    const ask: CompiledKey['key'] = (source, request) => {
      const key = defaultKey(canonical, source, counts) + rewrittenPart(request as Rewritten)
      return hasWildcard ? key + encodedSlashes(request) : key
    }
    return { ...untold, key: ask }
  }
  if (typeof key === 'function') {
    const ask = key as (request: unknown) => unknown
    return { ...untold, key: (_, request) => written(ask(request)) }
  }
  if (typeof key !== 'string' || key === '') {
    throw optionError(where, 'cache.key', key, 'write a template such as "user:{id}", or a function of the request')
  }
  const { parts, places, fill } = compileTemplate(`${where}: cache.key`, key, route)
  const shape = parts.map((part) => (typeof part === 'string' ? part : '{}')).join('')
  const queryInKey = places.flatMap((place) => typeof place !== 'string' && place.scope === 'query' ? [place.name] : [])
  const pattern = patternOf(key, places, (place) => isNumeric(route.schema, place))
  return { shape, doubt: doubtOf(where, key, { route, parts }), pattern, queryInKey, key: fill }
}

/**
 * Which of the path's slashes came percent-encoded, for a key; '' where none did. A wildcard's value does not tell them from
 * those between segments, but who passes the URL on, such as a proxy, does: RFC 3986 §2.2. No param is called so in a key.
 */
function encodedSlashes (request: unknown): string {
  const [path] = String((request as { url?: unknown }).url).split('?', 1) as [string]
  if (!/%2f/i.test(path)) return ''
  const slashes = path.match(/\/|%2f/gi)!
  return `;*%2F=${slashes.flatMap((slash, i) => slash === '/' ? [] : [i]).join('.')}`
}

function written (key: unknown): string | Promise<string> {
  return isThenable(key) ? Promise.resolve(key).then(writtenKey) : writtenKey(key)
}

interface Doubtful { route: TemplateRoute, parts: readonly TemplatePart[] }

/** `/users/:id` under one key is `user:id` where `user:{id}` was meant; a wildcard may well be one page for all paths. */
function doubtOf (where: string, key: string, { route, parts }: Doubtful): string | null {
  const params = readPath(route.url).params.filter((name) => name !== '*')
  const isNamed = (part: TemplatePart): boolean => typeof part !== 'string' && part.scope !== 'query' && params.includes(part.name)
  const isBlind = params.length > 0 && !parts.some(isNamed)
  if (!isBlind) return null
  return `${where}: cache.key ${show(key)} names none of the path's params (${params.join(', ')}), so all of them share one response; ` +
    `write for example "${key}:{${params[0]!}}", or a function where that is meant: key: () => ${show(key)}`
}

/** A list of templates, or a function of the request that gives tags as they are. */
export function compileTags (where: string, route: TemplateRoute, tags: unknown): CompiledTags {
  if (tags === undefined) return () => NO_TAGS
  if (typeof tags === 'function') return (_, request) => ownTags((tags as (request: unknown) => unknown)(request))
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string' && tag !== '')) {
    throw optionError(where, 'cache.tags', tags, 'write a list such as ["users", "user:{id}"], or a function of the request')
  }
  const templates = tags.map((tag: string) => compileTemplate(`${where}: cache.tags`, tag, route))
  if (templates.some(({ parts }) => parts.some((part) => typeof part !== 'string'))) {
    return (source) => storedTags(templates.map(({ fill }) => fill(source)))
  }
  const fixed = storedTags(templates.map(({ fill }) => fill({})))
  return () => fixed
}

/** Which tags the templates of the option can make; null: a function may give any. `compileTags` has checked the option. */
export function tagPatterns (where: string, route: TemplateRoute, tags: unknown): NamePattern[] | null {
  if (typeof tags === 'function') return null
  return (tags as string[] | undefined ?? []).map((tag) => patternOf(tag, compileTemplate(where, tag, route).parts))
}

/** Throws FRC_TAG as `checkTags` does, and for a tag that stands for no object in particular. */
function ownTags (tags: unknown): readonly string[] {
  const checked = checkTags(tags)
  const shared = checked.find(isObjectsText)
  if (shared === undefined) return checked
  throw new RouteCacheError('FRC_TAG', `cache.tags gave ${show(shared)}: an object has become the text that all objects share`)
}

/** Throws FRC_TAG for what is no list of tags; gives them as they are stored. */
export function checkTags (tags: unknown): readonly string[] {
  if (tags instanceof Promise) tags.catch(() => {})
  if (!Array.isArray(tags)) throw new RouteCacheError('FRC_TAG', `tags are a list of strings, not ${show(tags)}`)
  return storedTags(tags.map((tag: unknown) => {
    if (typeof tag === 'string' && tag !== '') return tag
    throw new RouteCacheError('FRC_TAG', `a tag is a non-empty string, not ${show(tag)}`)
  }))
}

/** As they are stored, each once: a byte 0 separates them there. */
export function storedTags (tags: readonly string[]): string[] {
  return [...new Set(tags.map((tag) => boundKey(escapeTag(tag).replaceAll('\0', '%00'))))]
}

export interface Template {
  parts: readonly TemplatePart[]
  /** The parts, each with the scope that it means. */
  places: readonly TemplatePart[]
  fill: (source: KeySource) => string
}

/** `where`: the route, a colon, and the option that the template stands in. Throws FRC_OPTION. */
export function compileTemplate (where: string, text: string, route: TemplateRoute): Template {
  const parts = parseRouteTemplate(where, text)
  const places = parts.map((part) => (typeof part === 'string' ? part : resolve(where, text, part, route)))
  return { parts, places, fill: (source) => fillTemplate(places, (place) => readMember(source, place)) }
}

function parseRouteTemplate (where: string, text: string): TemplatePart[] {
  try {
    return parseTemplate(text)
  } catch (error) {
    throw new RouteCacheError('FRC_OPTION', `${where}: ${(error as Error).message}`)
  }
}

/**
 * Which scope a plain name means: the path's params first. A name that the path doesn't have is the query's where the
 * route's schema declares it, or where the path has no params at all; else it is most likely a misspelt param.
 */
function resolve (where: string, text: string, { scope, name }: Placeholder, route: TemplateRoute): Placeholder {
  const params = new Set(readPath(route.url).params)
  if (scope === 'query') return { scope, name }
  if (params.has(name)) return { scope: 'params', name }
  if (scope === null && (params.size === 0 || declaresQuery(route.schema, name))) return { scope: 'query', name }
  const known = params.size === 0 ? 'none' : [...params].join(', ')
  const ways = scope === null ? `; for a query value write {query.${name}}` : ''
  const [place, option] = where.split(/: (?=cache\.)/)
  throw optionError(place!, option!, text, `the path has no param "${name}" (it has: ${known})${ways}`)
}

/** Whether it is a param, and the route's schema lets only numbers through. */
function isNumeric (schema: unknown, { scope, name }: Placeholder): boolean {
  const type = own(own(own(own(schema, 'params'), 'properties'), name), 'type')
  return scope === 'params' && (type === 'integer' || type === 'number')
}

function declaresQuery (schema: unknown, name: string): boolean {
  const query = own(schema, 'querystring') ?? own(schema, 'query')
  return own(own(query, 'properties') ?? query, name) !== undefined
}

/** The path, and what else selects the route: constraints such as host or version. */
export function canonicalName ({ url, constraints }: TemplateRoute): string {
  if (typeof constraints !== 'object' || constraints === null || Object.keys(constraints).length === 0) {
    const sign = url.indexOf('@')
    // Such a path may be taken for one with constraints.
    return sign !== -1 && url.includes('=', sign) ? doubled(url) : url
  }
  const pairs = Object.entries(constraints).sort(([a], [b]) => (a < b ? -1 : 1))
  return `${doubled(url)}@${pairs.map(([name, value]) => `${name}=${constraintText(value)}`).join(',')}`
}

function doubled (url: string): string {
  return url.replaceAll('@', '@@')
}

/** A strategy of one's own may take any value: data by their content, others by their text. */
function constraintText (value: unknown): string {
  if (value instanceof RegExp) return String(value)
  return keyText(value) ?? escapeText(`${kindOf(value)}: ${show(value)}`)
}

/** Null: it has none. */
function keyText (value: unknown): string | null {
  try {
    return escapeValue(value)
  } catch (error) {
    if (error instanceof Keyless) return null
    throw error
  }
}

/** Routes whose constraints have no key are told apart by a `key` of their own. Throws FRC_OPTION. */
function checkConstraints (where: string, { constraints }: TemplateRoute): void {
  if (typeof constraints !== 'object' || constraints === null) return
  const keyless = Object.entries(constraints).find(([, value]) => !(value instanceof RegExp) && keyText(value) === null)
  if (keyless === undefined) return
  throw optionError(where, 'cache.key', undefined, `the route's constraint "${keyless[0]}" is ${kindOf(keyless[1])}, which the default ` +
    'key can\'t tell from others: write a key')
}

// The part of the target that the app's `rewriteUrl` has removed: `/acme/users` has become `/users`, and `?tenant=acme` is
// gone. The handler may read it in `request.originalUrl`, and params and query lack it, so the default key has it as well.

/** As much of a request as is looked at here. */
export interface Rewritten {
  originalUrl: string
  raw: { url?: unknown, originalUrl?: unknown }
}

/**
 * Begins what no key of another target has: a user's own `%~` is escaped (key.ts), and a hash has no percent sign, as this
 * has behind it.
 */
const SIGN = '%~'

/** For a default key: path and query as the client sent them, as far as they were others; mostly ''. */
export function rewrittenPart (request: Rewritten): string {
  const { raw } = request
  // Fastify's own getter would keep it on each request.
  if (typeof raw.originalUrl !== 'string' || raw.originalUrl === raw.url) return ''
  const [path, query] = parted(request.originalUrl)
  const [toPath, toQuery] = parted(String(raw.url))
  if (path === toPath && query === toQuery) return ''
  return SIGN + (path === toPath ? '' : escapeText(path)) + (query === toQuery ? '' : escapeText(`?${query}`))
}

function parted (target: string): [path: string, query: string] {
  const begin = target.indexOf('?')
  return begin === -1 ? [target, ''] : [target.slice(0, begin), target.slice(begin + 1)]
}

// A route's path, read as Fastify's router (find-my-way) reads it.

/** A path such as `/at/:hour(^\\d{2})h-:minute/*`, read. */
export interface RoutePath {
  /** The params in their order: hour, minute, *. */
  params: string[]
  /**
   * The path without the params' names and patterns: `/at/:{}h-:{}/*`. Paths of one shape are for
   * the same URLs.
   */
  shape: string
}

export function readPath (path: string): RoutePath {
  const params: string[] = []
  let shape = ''
  let at = 0
  while (at < path.length) {
    const char = path[at]!
    if (char === '*') params.push('*')
    if (char !== ':' || path[at + 1] === ':') {
      const literal = char === ':' ? '::' : char // "::" is a colon
      shape += literal
      at += literal.length
    } else {
      const name = /^[^/\-.(?]*/.exec(path.slice(at + 1))![0]
      params.push(name)
      shape += ':{}'
      at = afterPattern(path, at + 1 + name.length)
      if (path[at] === '?') at++ // it may be absent
    }
  }
  return { params, shape }
}

/** Where the path goes on behind the param's regular expression, if it has one: its parentheses may nest. */
function afterPattern (path: string, from: number): number {
  if (path[from] !== '(') return from
  let depth = 0
  for (let at = from; at < path.length; at++) {
    if (path[at] === '\\') at++
    else if (path[at] === '(') depth++
    else if (path[at] === ')' && --depth === 0) return at + 1
  }
  return path.length
}
