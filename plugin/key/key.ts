// From a request, or from values that a user names, to a key. Both go through the same compiled template, so that what
// `cache.key()` builds is what the route builds.
//
// No two different sets of values make one key: a value's text never contains a separator or a brace.
//
// A key that a user wrote is stored as it is, but for what Redis can't have: braces would move a name to another slot of a
// Cluster, and a lone surrogate has no UTF-8. They become `%<`, `%>` and `%!D800`, and of a long key the head and a hash are
// left, with `%~` between. A user's own `%<` becomes `%_<`, and that `%__<`: no two keys are stored under one name. No
// template and no value gives such a form, so what `cache.key()` builds is stored as it is.
import { createHash } from 'node:crypto'
import { types } from 'node:util'
import { RouteCacheError, show, optionError } from '../errors.js'

/** The parts of a request that may select a response. */
export interface KeySource {
  params?: unknown
  query?: unknown
}

/** A place in a template: the scope it names, or null for "params, then query". */
interface Placeholder {
  scope: 'params' | 'query' | null
  name: string
}

export type TemplatePart = string | Placeholder

/** A longer key is hashed. */
export const MOST_CHARACTERS = 1000
const HEAD_CHARACTERS = 900
/** A text that `escapeValue` never gives. */
const SEPARATOR = /[^\w.!~*'()%,[\]=-]/
/** The forms that a stored key has for what a user can't have written so. */
const OWN_FORM = /%(_*[<>!~])/g

/** The parts of a key template such as `user:{id}`. Throws FRC_KEY when braces don't pair or a placeholder is not a name. */
export function parseTemplate (template: string): TemplatePart[] {
  const parts: TemplatePart[] = []
  let rest = template
  while (rest !== '') {
    const match = /^([^{}]*)\{([^{}]*)\}/.exec(rest)
    if (match === null) {
      if (/[{}]/.test(rest)) throw templateError(template, 'a brace has no partner')
      parts.push(escapeSurrogates(rest, '%!'))
      break
    }
    if (match[1] !== '') parts.push(escapeSurrogates(match[1]!, '%!'))
    parts.push(parsePlaceholder(template, match[2]!))
    rest = rest.slice(match[0].length)
  }
  checkSeparators(template, parts)
  return parts
}

/** Between two placeholders there must be a character that no value can contain, or one could run into the next. */
function checkSeparators (template: string, parts: readonly TemplatePart[]): void {
  const first = parts.findIndex((part) => typeof part !== 'string')
  for (const [i, part] of parts.entries()) {
    const before = parts[i - 1]
    if (i > first && typeof part !== 'string' && (typeof before !== 'string' || !SEPARATOR.test(before))) {
      throw templateError(template, 'between two placeholders there must be a separator that values can\'t contain, such as ":"')
    }
  }
}

function parsePlaceholder (template: string, text: string): Placeholder {
  const dot = text.indexOf('.')
  const scope = text.slice(0, dot)
  if (dot > 0 && (scope === 'params' || scope === 'query')) {
    const name = text.slice(dot + 1)
    if (name !== '') return { scope, name }
  } else if (text !== '' && text.trim() === text) {
    return { scope: null, name: text }
  }
  throw templateError(template, `{${text}} is not a placeholder; write {id}, {params.id} or {query.page}`)
}

function templateError (template: string, what: string): RouteCacheError {
  return new RouteCacheError('FRC_KEY', `key template ${show(template)}: ${what}`)
}

/** The key of a template for these values, each placeholder read by `read`. Throws FRC_KEY for a value that has no key. */
export function fillTemplate (parts: readonly TemplatePart[], read: (place: Placeholder) => unknown): string {
  let key = ''
  for (const part of parts) key += typeof part === 'string' ? part : textAt(part, read)
  return key
}

function textAt (part: Placeholder, read: (place: Placeholder) => unknown): string {
  try {
    return escapeValue(read(part))
  } catch (error) {
    throw keyless(error, part.scope === null ? part.name : `${part.scope}.${part.name}`)
  }
}

/** The reason in words: `query.ids is a Set …`. */
export function keyless (error: unknown, place: string): unknown {
  if (!(error instanceof Keyless)) return error
  const inside = error.path.map((name) => (typeof name === 'number' ? `[${name}]` : `.${name}`)).join('')
  return new RouteCacheError('FRC_KEY', `${shortened(place + inside)} is ${error.message}, and a key can't be built from that: only plain ` +
    'objects, arrays, dates and primitives tell requests apart; have the schema or the parser give one of these, or write ' +
    'key: (request) => ..., which makes a text of it')
}

/** Names come from clients. */
function shortened (place: string): string {
  return place.length > 100 ? `${place.slice(0, 97)}...` : place
}

/** The value under this name in one of the request's parts; undefined: there is none. Throws Keyless, FRC_KEY. */
function readMember (source: KeySource, { scope, name }: Placeholder): unknown {
  const part = partOf(source, scope!)
  return part === null ? undefined : memberOf(part, name)
}

/** Params or query; null where there are none. Throws FRC_KEY where that is no object whose members could be told apart. */
function partOf (source: KeySource, scope: 'params' | 'query'): object | null {
  const part = source[scope]
  if (part === undefined || part === null) return null
  if (typeof part === 'object' && isPlainObject(part)) return part
  throw keyless(new Keyless(kindOf(part)), scope)
}

/**
 * The key that a route with this template builds for these values, by plain name (`{ id: 7 }`) or by scope (`{ params:
 * { id: 7 } }`). An absent value gives the key of the request that lacks it. Throws FRC_KEY for a name that the template
 * does not have: it is most likely misspelt, and would name another key than the one that was meant.
 */
export function buildKey (template: string, values: Readonly<Record<string, unknown>> = {}): string {
  if (typeof values !== 'object' || values === null) {
    throw new RouteCacheError('FRC_KEY', `the values for a key template are an object, not ${show(values)}`)
  }
  if (typeof template !== 'string' || template === '') {
    throw new RouteCacheError('FRC_KEY', `a key template is a non-empty string, not ${show(template)}`)
  }
  const parts = parseTemplate(template)
  const places = parts.filter((part) => typeof part !== 'string')
  for (const name of Object.keys(values)) {
    if (!places.some((place) => place.name === name || place.scope === name)) {
      throw new RouteCacheError('FRC_KEY', `key template ${show(template)} has no placeholder {${name}}`)
    }
  }
  return fillTemplate(parts, ({ scope, name }) => {
    const scoped = scope === null ? undefined : own(own(values, scope), name)
    return scoped === undefined ? own(values, name) : scoped
  })
}

/** An own property's value; undefined where there is none, so `__proto__` and `constructor` are names like others. */
export function own (object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null && Object.hasOwn(object, name)
    ? (object as Record<string, unknown>)[name]
    : undefined
}

/**
 * The key of a route without a `key`: its canonical name, then params, then the query sorted by name, as far as `counts`
 * says that its values select the response. Throws FRC_KEY.
 */
export function defaultKey (route: string, source: KeySource, counts?: (name: string) => boolean): string {
  return escapeKey(route) + listed(source, 'params', { opening: ';', separator: ';' }) +
    listed(source, 'query', { opening: '?', separator: '&', counts })
}

interface Listing { opening: string, separator: string, counts?: ((name: string) => boolean) | undefined }

function listed (source: KeySource, scope: 'params' | 'query', { opening, separator, counts }: Listing): string {
  const part = partOf(source, scope)
  if (part === null) return ''
  let text = ''
  let at = ''
  try {
    for (const name of isBare(part) ? Object.keys(part).sort() : namesOf(part)) {
      if (counts !== undefined && !counts(name)) continue
      at = name
      text += `${text === '' ? opening : separator}${escapeText(name)}=${escapeValue(memberOf(part, name))}`
    }
  } catch (error) {
    throw keyless(error, at === '' ? scope : `${scope}.${at}`)
  }
  return text
}

/** The key that a function of a route gave, as it is stored. Throws FRC_KEY for what is none. */
function writtenKey (key: unknown): string {
  if (typeof key !== 'string' || key === '') throw new RouteCacheError('FRC_KEY', `a key is a non-empty string, not ${show(key)}`)
  if (!isObjectsText(key)) return escapeKey(key)
  throw new RouteCacheError('FRC_KEY', `cache.key gave ${show(key)}: an object has become the text that all objects share; write ` +
    'into the key what tells them apart, such as JSON.stringify(request.query.filter)')
}

/** Whether an object, put into a text, has become `[object Object]`, as all others do. */
export function isObjectsText (text: string): boolean {
  return text.includes('[object ') && /\[object \w+\]/.test(text)
}

/** A key that a user wrote, as it is stored. What `cache.key` builds is stored as it is. */
export function escapeKey (key: string): string {
  let escaped = key
  if (key.includes('%')) escaped = escaped.replace(OWN_FORM, '%_$1')
  if (/[{}]/.test(escaped)) escaped = escaped.replaceAll('{', '%<').replaceAll('}', '%>')
  return escapeSurrogates(escaped, '%!')
}

/** A tag as it is stored; doing it twice changes nothing. Two of one name are invalidated together: more than had to be. */
export function escapeTag (tag: string): string {
  const escaped = /[{}]/.test(tag) ? tag.replaceAll('{', '%7B').replaceAll('}', '%7D') : tag
  return escapeSurrogates(escaped, '%!')
}

/** The names that a user may mean by this text: that of the key that it is, and, as it is shown in logs, the stored one. */
export function storedKeys (key: string): string[] {
  const escaped = boundKey(escapeKey(key))
  return isStoredForm(key) ? [boundKey(key), escaped] : [escaped]
}

function isStoredForm (key: string): boolean {
  return /%_*[<>!~]/.test(key) && !/[{}]/.test(key) && escapeSurrogates(key, '') === key
}

/** A key of bounded length: of a longer one the head, readable and found by prefix, and a hash of the whole. */
export function boundKey (key: string): string {
  if (key.length <= MOST_CHARACTERS) return key
  return `${boundPrefix(key)}%~${createHash('sha256').update(key).digest('base64url')}`
}

/** A prefix that also finds keys of which only the head is left. */
export function boundPrefix (prefix: string): string {
  const head = prefix.slice(0, HEAD_CHARACTERS)
  // Half a pair would be another character when it is encoded.
  return /[\ud800-\udbff]$/.test(head) ? head.slice(0, -1) : head
}

// A value's text in a key. No two different values make one text, save that a number, a boolean or a bigint reads as its
// text does, at the top and in a list of such: the schema of a route says which of them it is, and who invalidates `user:7`
// may have either.
//
// Everything in a text but A-Z a-z 0-9 and - _ . ! ~ * ' ( ) is percent-encoded (RFC 3986 §2.1; a lone surrogate, which has
// no UTF-8, as %uD800). What is no plain text has forms that no text can have: `%-` absent, `%n` null, `%N` `%I` `%-I` the
// numbers that are none, `a,b` a list, `%[a]` a list of one, `%[%]` an empty one, `%=…` anything deeper, as JSON with
// sorted names, and with what JSON has no form for: `@` in front of a date's instant, `n` behind a bigint, `undefined`.

const ABSENT = '%-'
const NULL = '%n'
const EMPTY_LIST = '%[%]'
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** The most values that a list or an object may hold, at all levels: one that stands in it twice counts twice. */
const MOST_VALUES = 100_000

/** For a list's items this is much faster than to read each one's descriptor. */
const getterOf = (Object.prototype as unknown as { __lookupGetter__: (name: number) => unknown }).__lookupGetter__

/** One piece of a key and nothing else. Throws Keyless. */
export function escapeValue (value: unknown): string {
  if (typeof value !== 'object' || value === null) return escapeScalar(value)
  if (!Array.isArray(value)) return nested(value)
  const list = listOf(value)
  if (list.length === 0) return EMPTY_LIST
  let text = ''
  let at = 0
  try {
    for (; at < list.length; at++) {
      if (getterOf.call(list, at) !== undefined) throw new Keyless('a getter')
      const item = list[at]
      if (typeof item === 'object' && item !== null) return nested(list)
      text += at === 0 ? escapeScalar(item) : `,${escapeScalar(item)}`
    }
  } catch (error) {
    throw found(error, at)
  }
  return list.length === 1 ? `%[${text}]` : text
}

function nested (value: object): string {
  return `%=${escapeText(new Writer().text(value, 0))}`
}

function escapeScalar (value: unknown): string {
  switch (typeof value) {
    case 'string': return escapeText(value)
    case 'number': return Number.isFinite(value) ? escapeText(numberText(value)) : NOT_FINITE[String(value)]!
    case 'boolean': case 'bigint': return String(value)
    case 'undefined': return ABSENT
    default:
      if (value === null) return NULL
      throw new Keyless(kindOf(value))
  }
}

const NOT_FINITE: Readonly<Record<string, string>> = { NaN: '%N', Infinity: '%I', '-Infinity': '%-I' }

function numberText (value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

/** Writes lists and objects. */
class Writer {
  #left = MOST_VALUES

  text (value: unknown, level: number): string {
    if (--this.#left < 0) throw new Keyless(`an object or list of more than ${MOST_VALUES} values`)
    switch (typeof value) {
      case 'string': return JSON.stringify(value)
      case 'number': return numberText(value)
      case 'bigint': return `${value}n`
      case 'boolean': case 'undefined': return String(value)
      case 'object': return value === null ? 'null' : this.#objectText(value, level)
      default: throw new Keyless(kindOf(value))
    }
  }

  #objectText (value: object, level: number): string {
    const instant = instantOf(value)
    if (instant !== undefined) return `@${instant}`
    if (level === MOST_LEVELS) throw new Keyless(`nested deeper than ${MOST_LEVELS} levels`)
    const write = (name: string | number): string => {
      try {
        return this.text(memberOf(value, name), level + 1)
      } catch (error) {
        throw found(error, name)
      }
    }
    if (Array.isArray(value)) return `[${listOf(value).map((_, i) => write(i)).join(',')}]`
    return `{${namesOf(value).map((name) => `${JSON.stringify(name)}:${write(name)}`).join(',')}}`
  }
}

/** A text, percent-encoded. */
function escapeText (text: string): string {
  if (/^[\w.-]*$/.test(text)) return text
  let escaped = ''
  let from = 0
  for (const { index } of text.matchAll(LONE_SURROGATE)) {
    escaped += encodeURIComponent(text.slice(from, index)) + escapeSurrogate(text[index]!, '%u')
    from = index + 1
  }
  return escaped + encodeURIComponent(text.slice(from))
}

/** Every lone surrogate with this in front of its number: it has no UTF-8. */
function escapeSurrogates (text: string, mark: string): string {
  if (!/[\ud800-\udfff]/.test(text)) return text
  return text.replace(LONE_SURROGATE, (surrogate) => escapeSurrogate(surrogate, mark))
}

function escapeSurrogate (surrogate: string, mark: string): string {
  return `${mark}${surrogate.charCodeAt(0).toString(16).toUpperCase()}`
}

// Data that may select a response: primitives, dates, lists, and plain objects. These hold nothing but their members, so two
// that read the same are the same. A Set, a Map, an object of a class, a getter may tell requests apart by what is not
// read of them: such a value has no key.

/** A value that has no key: its kind, and where it was found. */
export class Keyless extends Error {
  /** From the outermost value inward. */
  readonly path: Array<string | number> = []
}

/** The error; a Keyless was found under this name. */
export function found (error: unknown, name: string | number): unknown {
  if (error instanceof Keyless) error.path.unshift(name)
  return error
}

/** Whether it has only members of its own. */
function isPlainObject (value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null
  return prototype === Object.prototype || prototype === null || isBare(value) || isOfAnotherRealm(prototype)
}

/** Empty prototypes: there are a few, and each request's params and query have one of them. */
const empty = new WeakSet<object>()

/** Whether a parser of Fastify's, or its router, has made it: with an empty prototype, and nothing but members. */
export function isBare (value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === null || prototype === Object.prototype) return false
  if (empty.has(prototype)) return true
  if (Object.getPrototypeOf(prototype) !== null || Reflect.ownKeys(prototype).length > 0) return false
  empty.add(prototype)
  return true
}

/** Under jest, for example, an app runs in a context of its own, and Node's objects come from outside. */
function isOfAnotherRealm (prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && ['isPrototypeOf', '__lookupGetter__', '__defineSetter__'].every((name) => Object.hasOwn(prototype, name))
}

function isPlainList (value: object): value is unknown[] {
  if (!Array.isArray(value)) return false
  const prototype = Object.getPrototypeOf(value) as object | null
  // Arrays of any realm: only a prototype of arrays is an array itself.
  return prototype === Array.prototype || (Array.isArray(prototype) && prototype.length === 0)
}

/** A date's instant in milliseconds, NaN where it is invalid; undefined where it is no date, or of a class of its own. */
export function instantOf (value: object): number | undefined {
  if (!types.isDate(value)) return undefined
  const prototype = Object.getPrototypeOf(value) as object | null
  const isPlain = prototype !== null && Object.hasOwn(prototype, 'getTimezoneOffset') && Reflect.ownKeys(value).length === 0
  return isPlain ? Date.prototype.getTime.call(value) : undefined
}

/** The list itself. Throws Keyless where it is none, or there is more to it than its items, or less. */
export function listOf (value: object): readonly unknown[] {
  if (!isPlainList(value)) throw new Keyless(kindOf(value))
  // In order, and indices come first.
  const names = Object.keys(value)
  const last = value.length - 1
  const isWhole = names.length === value.length && (last < 0 || names[last] === String(last))
  if (!isWhole || Object.getOwnPropertySymbols(value).length > 0) throw new Keyless('a list with holes, or with properties')
  return value
}

/** The names of its members, sorted. Throws Keyless where it is no plain object, or has members that are not listed. */
export function namesOf (value: object): string[] {
  if (!isPlainObject(value)) throw new Keyless(kindOf(value))
  const names = Object.keys(value)
  if (Reflect.ownKeys(value).length !== names.length) throw new Keyless('an object with symbols, or with hidden properties')
  return names.sort()
}

/** An own member; undefined where there is none, so `__proto__` and `constructor` are names like others. */
export function memberOf (value: object, name: string | number): unknown {
  const property = Object.getOwnPropertyDescriptor(value, name)
  if (property === undefined || 'value' in property) return property?.value
  throw new Keyless('a getter')
}

/** As a person would call it: `a Set`, `a URLSearchParams`, `a function`. */
export function kindOf (value: unknown): string {
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : `a ${typeof value}`
  const prototype = Object.getPrototypeOf(value) as object | null
  const maker: unknown = prototype === null ? undefined : Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  return typeof maker === 'function' && maker.name !== '' ? `a ${maker.name}` : 'an object of a class'
}

/** Deeper has no key. */
const MOST_LEVELS = 100

/** A copy of plain data; what is none stays where it is. What is there twice, or in a circle, is so again. */
export function copyPlain<T> (value: T, level = 0, copies = new Map<unknown, unknown>()): T {
  if (typeof value !== 'object' || value === null || level > MOST_LEVELS) return value
  const known = copies.get(value)
  if (known !== undefined) return known as T
  try {
    const copy = emptyLike(value)
    copies.set(value, copy)
    const names = Array.isArray(value) ? listOf(value).keys() : isBare(value) ? Object.keys(value) : namesOf(value)
    for (const name of names) {
      const member = copyPlain(memberOf(value, name), level + 1, copies)
      // An assignment would set an object's prototype.
      if (name === '__proto__') Object.defineProperty(copy, name, { value: member, enumerable: true, configurable: true, writable: true })
      else (copy as Record<string, unknown>)[name] = member
    }
    return copy as T
  } catch (error) {
    if (!(error instanceof Keyless)) throw error
    copies.set(value, value)
    return value
  }
}

const Bare = function () {} as unknown as new () => object
Bare.prototype = Object.create(null)

function emptyLike (value: object): object {
  if (Array.isArray(value)) return []
  return isBare(value) ? new Bare() : {}
}

/** Whether the value is a promise, or can be awaited like one. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

// A route's templates: which of the request's values each placeholder stands for, in its key and its tags.

/** The parts of a route that its templates depend on. */
export interface TemplateRoute {
  url: string
  schema?: unknown
  constraints?: unknown
}

interface CompiledKey {
  /** The key with `{}` for every placeholder; null where that is not known. */
  shape: string | null
  /** A likely mistake in the template, for the log; null: none. */
  doubt: string | null
  /** Which names its template can make; null: it is none. */
  pattern: NamePattern | null
  /** The query values that its template names; null: it is none. */
  queryInKey: readonly string[] | null
  key: (source: KeySource, request: unknown) => string | Promise<string>
}

/** Whether a query value selects the response. */
export type QueryFilter = (name: string) => boolean

type CompiledTags = (source: KeySource, request: unknown) => readonly string[]

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

interface Template {
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
interface Rewritten {
  originalUrl: string
  raw: { url?: unknown, originalUrl?: unknown }
}

/**
 * Begins what no key of another target has: a user's own `%~` is escaped (key.ts), and a hash has no percent sign, as this
 * has behind it.
 */
const SIGN = '%~'

/** For a default key: path and query as the client sent them, as far as they were others; mostly ''. */
function rewrittenPart (request: Rewritten): string {
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
interface RoutePath {
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

/** The place behind the param's regular expression, if there is one: its parentheses may nest. */
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

// Which names a template can make, whatever the values: to tell whether a name is one of them, and whether two templates
// can make the same one.

/** A template's texts, and for each value the characters that its text can have. */
export interface NamePattern {
  /** As its author wrote it. */
  written: string
  parts: ReadonlyArray<string | RegExp>
  regexp: RegExp
}

/** The characters of a value's text. */
const OF_VALUES = /[\w.!~*'()%,[\]=-]/
const OF_NUMBERS = /[\d.-]/
/** Longer names are not compared with each other. */
const LONGEST = 200

/** `isNumber`: which placeholders only numbers fill, as the route's schema says. Default: none. */
export function patternOf (
  written: string, template: readonly TemplatePart[], isNumber: (place: Placeholder) => boolean = () => false
): NamePattern {
  const parts = template.map((part) => typeof part === 'string' ? part : isNumber(part) ? OF_NUMBERS : OF_VALUES)
  const texts = parts.map((part) => typeof part === 'string' ? part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&') : `${part.source}*`)
  return { written, parts, regexp: new RegExp(`^${texts.join('')}$`) }
}

/** The text in front of the first value. */
function headOf ({ parts: [first] }: NamePattern): string {
  return typeof first === 'string' ? first : ''
}

/** Whether the template can make this name. */
export function canMake (pattern: NamePattern, name: string): boolean {
  return name.startsWith(headOf(pattern)) && pattern.regexp.test(name)
}

/** Whether there is a name that both can make. Of very long templates it is not found out: false. */
export function canMeet (one: NamePattern, other: NamePattern): boolean {
  const [head, its] = [headOf(one), headOf(other)]
  if (!head.startsWith(its) && !its.startsWith(head)) return false
  const [a, b] = [charactersOf(one), charactersOf(other)]
  if (a.length > LONGEST || b.length > LONGEST) return false
  // `next[j]`: whether the rests of `a` from place i and of `b` from place j can be the same, from the ends to the
  // beginnings. Of `a` nothing is left at first, so all that is left of `b` must be values.
  const lastText = b.findLastIndex((char) => typeof char === 'string')
  let next = Array.from({ length: b.length + 1 }, (_, j) => j > lastText)
  for (let i = a.length - 1; i >= 0; i--) {
    const x = a[i]!
    const now: boolean[] = Array.from({ length: b.length + 1 }, () => false)
    now[b.length] = typeof x !== 'string' && next[b.length]!
    for (let j = b.length - 1; j >= 0; j--) {
      const y = b[j]!
      if (typeof x !== 'string') now[j] = next[j]! || (now[j + 1]! && (typeof y !== 'string' || x.test(y)))
      else if (typeof y !== 'string') now[j] = now[j + 1]! || (next[j]! && y.test(x))
      else now[j] = x === y && next[j + 1]!
    }
    next = now
  }
  return next[0]!
}

/** The pattern's characters one by one, and for each value the characters that a value can have. */
function charactersOf ({ parts }: NamePattern): Array<string | RegExp> {
  return parts.flatMap((part): Array<string | RegExp> => typeof part === 'string' ? [...part] : [part])
}

/** The beginning of a name, up to the first character that no value has: `user:` of `user:7`. */
export function beginningOf (name: string): string {
  for (let i = 0; i < name.length; i++) if (!OF_VALUES.test(name[i]!)) return name.slice(0, i + 1)
  return name
}

/** Whether two templates are most likely meant to be one. */
export function isMisspelt (one: NamePattern, other: NamePattern): boolean {
  return areNear(shapeOf(one), shapeOf(other))
}

/** Whether a name is most likely meant to be one that the template makes. */
export function isMisspeltName (pattern: NamePattern, name: string): boolean {
  const isWhole = pattern.parts.every((part) => typeof part === 'string')
  return areNear(isWhole ? name : beginningOf(name), isWhole ? shapeOf(pattern) : beginningOf(shapeOf(pattern)))
}

function shapeOf ({ parts }: NamePattern): string {
  return parts.map((part) => typeof part === 'string' ? part : '{}').join('')
}

/** One character in four differs, two at most. Singular and plural are different names: apps have both. */
export function areNear (text: string, other: string): boolean {
  const letters = Math.max(text.length, other.length) - (text.split('{}').length - 1) * '{}'.length
  const most = Math.min(2, Math.floor(letters / 4))
  if (text.length > LONGEST || Math.abs(text.length - other.length) > most) return false
  return singular(text) !== singular(other) && distance(text, other) <= most
}

function singular (text: string): string {
  return text.replaceAll(/s(?!\w)/g, '')
}

/** Levenshtein's: how many characters must be put in, left out or replaced. */
function distance (text: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, j) => j)
  for (let i = 1; i <= text.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const replaced = row[j - 1]! + (text[i - 1] === other[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[other.length]!
}
