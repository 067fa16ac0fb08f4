// A value's text in a key. No two different values make one text, save that a number, a boolean or a bigint reads as its
// text does, at the top and in a list of such: the schema of a route says which of them it is, and who invalidates `user:7`
// may have either.
//
// Everything in a text but A-Z a-z 0-9 and - _ . ! ~ * ' ( ) is percent-encoded (RFC 3986 §2.1; a lone surrogate, which has
// no UTF-8, as %uD800). What is no plain text has forms that no text can have: `%-` absent, `%n` null, `%N` `%I` `%-I` the
// numbers that are none, `a,b` a list, `%[a]` a list of one, `%[%]` an empty one, `%=…` anything deeper, as JSON with
// sorted names, and with what JSON has no form for: `@` in front of a date's instant, `n` behind a bigint, `undefined`.
import { Keyless, MOST_LEVELS, instantOf, kindOf, listOf, memberOf, namesOf, found } from './plain-data.js'

const ABSENT = '%-'
const NULL = '%n'
const EMPTY_LIST = '%[%]'
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** All that an object or a list holds: what stands in it more than once is written as often. */
const MOST_VALUES = 100_000

/** Of a list's items this is much faster than to look at each one's descriptor. */
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

/** Writes what holds other values. */
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
export function escapeText (text: string): string {
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
export function escapeSurrogates (text: string, mark: string): string {
  if (!/[\ud800-\udfff]/.test(text)) return text
  return text.replace(LONE_SURROGATE, (surrogate) => escapeSurrogate(surrogate, mark))
}

function escapeSurrogate (surrogate: string, mark: string): string {
  return `${mark}${surrogate.charCodeAt(0).toString(16).toUpperCase()}`
}
