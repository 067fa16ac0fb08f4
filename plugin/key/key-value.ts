// A value's text in a key. No two different values make one text, save that a number, a boolean or a bigint reads as its
// text does, at the top and in a list of such: the schema of a route says which of them it is, and who invalidates `user:7`
// may have either.
//
// Everything in a text but A-Z a-z 0-9 and - _ . ! ~ * ' ( ) is percent-encoded (RFC 3986 §2.1; a lone surrogate, which has
// no UTF-8, as %uD800). What is no plain text has forms that no text can have: `%-` absent, `%n` null, `%N` `%I` `%-I` the
// numbers that are none, `a,b` a list, `%[a]` a list of one, `%[%]` an empty one, `%=…` anything deeper, as JSON with
// sorted names, and with what JSON has no form for: `@` in front of a date's instant, `n` behind a bigint, `undefined`.
import { types } from 'node:util'

const ABSENT = '%-'
const NULL = '%n'
const EMPTY_LIST = '%[%]'
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** The most values that a list or an object may hold, at all levels: one that stands in it twice counts twice. */
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
export function isPlainObject (value: object): boolean {
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
  // Of any realm: only a prototype of arrays is an array itself.
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
export const MOST_LEVELS = 100

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
