// Data that may select a response: primitives, dates, lists, and plain objects. These hold nothing but their members, so two
// that read the same are the same. A Set, a Map, an object of a class, a getter may tell requests apart by what is not
// read of them: such a value has no key.
import { types } from 'node:util'

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
