// From a request, or from values that a user names, to a key. Both go through the same compiled template, so that what
// `cache.key()` builds is what the route builds.
//
// No two different sets of values make one key: everything in a value but A-Z a-z 0-9 and - _ . ! ~ * ' ( ) is
// percent-encoded (RFC 3986 §2.1; a lone surrogate, which has no UTF-8, as %uD800), so a value never contains a separator
// or a brace, and what is not plain text has forms that no text can have: `%-` absent, `a,b` a list, `%[a]` a list of one,
// `%[%]` an empty one, `%=…` JSON of anything deeper.
//
// Braces would move a name to another slot of a Redis Cluster, so they are percent-encoded in *every* key, whoever wrote it.
import { createHash } from 'node:crypto'
import { RouteCacheError, show } from './errors.js'

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
const ABSENT = '%-'
const EMPTY_LIST = '%[%]'
/** What `escapeValue` never gives. */
const SEPARATOR = /[^\w.!~*'()%,[\]=-]/
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** The parts of a key template such as `user:{id}`. Throws FRC_KEY when braces don't pair or a placeholder is not a name. */
export function parseTemplate (template: string): TemplatePart[] {
  const parts: TemplatePart[] = []
  let rest = template
  while (rest !== '') {
    const match = /^([^{}]*)\{([^{}]*)\}/.exec(rest)
    if (match === null) {
      if (/[{}]/.test(rest)) throw templateError(template, 'a brace has no partner')
      parts.push(escapeKey(rest))
      break
    }
    if (match[1] !== '') parts.push(escapeKey(match[1]!))
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

/** The key of a template for these values, each placeholder read by `read`. */
export function fillTemplate (parts: readonly TemplatePart[], read: (place: Placeholder) => unknown): string {
  let key = ''
  for (const part of parts) key += typeof part === 'string' ? part : escapeValue(read(part))
  return key
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
    return scoped ?? own(values, name)
  })
}

/** An own property's value; undefined where there is none, so `__proto__` and `constructor` are names like others. */
export function own (object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null && Object.hasOwn(object, name)
    ? (object as Record<string, unknown>)[name]
    : undefined
}

/** The key of a route without a `key`: its canonical name, then params, then the query sorted by name. */
export function defaultKey (route: string, source: KeySource): string {
  return escapeKey(route) + listed(source.params, ';', ';') + listed(source.query, '?', '&')
}

function listed (values: unknown, opening: string, separator: string): string {
  if (typeof values !== 'object' || values === null) return ''
  let text = ''
  for (const name of Object.keys(values).sort()) {
    const value = own(values, name)
    if (value !== undefined) text += `${text === '' ? opening : separator}${escapeText(name)}=${escapeValue(value)}`
  }
  return text
}

/** A key that a user wrote, as it is stored: braces encoded, well-formed Unicode. Doing it twice changes nothing. */
export function escapeKey (key: string): string {
  const escaped = /[{}]/.test(key) ? key.replaceAll('{', '%7B').replaceAll('}', '%7D') : key
  return /[\ud800-\udfff]/.test(escaped) ? escaped.replace(LONE_SURROGATE, escapeSurrogate) : escaped
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

/** A value from a request, so encoded that it is one piece of a key and nothing else. */
export function escapeValue (value: unknown): string {
  switch (typeof value) {
    case 'string': return escapeText(value)
    case 'number': case 'boolean': case 'bigint': return escapeText(String(value))
    case 'undefined': return ABSENT
    case 'object': break
    default: throw new RouteCacheError('FRC_KEY', `a key can't be built from ${show(value)}`)
  }
  if (value === null) return ABSENT
  return Array.isArray(value) ? escapeList(value) : `%=${escapeText(sortedJson(value))}`
}

function escapeList (list: readonly unknown[]): string {
  if (list.length === 0) return EMPTY_LIST
  if (list.some(Array.isArray)) return `%=${escapeText(sortedJson(list))}`
  const text = list.map(escapeValue).join(',')
  return list.length === 1 ? `%[${text}]` : text
}

function escapeText (text: string): string {
  if (/^[\w.-]*$/.test(text)) return text
  let escaped = ''
  let from = 0
  for (const { index } of text.matchAll(LONE_SURROGATE)) {
    escaped += encodeURIComponent(text.slice(from, index)) + escapeSurrogate(text[index]!)
    from = index + 1
  }
  return escaped + encodeURIComponent(text.slice(from))
}

function escapeSurrogate (surrogate: string): string {
  return `%u${surrogate.charCodeAt(0).toString(16).toUpperCase()}`
}

/** JSON with sorted names, so that equal objects have equal text. */
function sortedJson (value: object): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (typeof inner === 'bigint') return `${inner}n`
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}
