// From a request, or from values that a user names, to a key. Both go through the same compiled template, so that what
// `cache.key()` builds is what the route builds.
//
// No two different sets of values make one key: a value's text (key-value.ts) never contains a separator or a brace.
//
// A key that a user wrote is stored as it is, but for what Redis can't have: braces would move a name to another slot of a
// Cluster, and a lone surrogate has no UTF-8. They become `%<`, `%>` and `%!D800`, and of a long key the head and a hash are
// left, with `%~` between. A user's own `%<` becomes `%_<`, and that `%__<`: no two keys are stored under one name. No
// template and no value gives such a form, so what `cache.key()` builds is stored as it is.
import { createHash } from 'node:crypto'
import { RouteCacheError, show } from '../errors.js'
import {
  escapeSurrogates, escapeText, escapeValue, Keyless, isBare, isPlainObject, kindOf, memberOf, namesOf
} from './key-value.js'

/** The parts of a request that may select a response. */
export interface KeySource {
  params?: unknown
  query?: unknown
}

/** A place in a template: the scope it names, or null for "params, then query". */
export interface Placeholder {
  scope: 'params' | 'query' | null
  name: string
}

export type TemplatePart = string | Placeholder

/** A longer key is hashed. */
const MOST_CHARACTERS = 1000
const HEAD_CHARACTERS = 900
/** What `escapeValue` never gives. */
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

/** What says so to people: `query.ids is a Set …`. */
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

/** What a request has under this name in one of its parts; undefined where there is none. Throws Keyless, FRC_KEY. */
export function readMember (source: KeySource, { scope, name }: Placeholder): unknown {
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
export function writtenKey (key: unknown): string {
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
