// The one reader of options that users give: the plugin's, a route's, a call's, an extra's. Wrong values and unknown names
// throw FRC_OPTION, naming the place, the option, its value and the right form.
import { DURATION_FORMS, LONGEST_TIMER, toMilliseconds, type Bytes, type Milliseconds } from '../duration.js'
import { optionError, type RouteCacheError } from '../errors.js'
import { own } from '../key/key.js'

/** The right form, in words; some depend on the value. */
type Right = string | ((value: unknown) => string)

export const SWITCH = 'it is true or false'
export const FUNCTION = 'it is a function'
const SIZE = 'it is a number of bytes'
const TAGS = 'it is an array of strings'

export class OptionReader {
  /** The plugin, the route or the call. */
  readonly where: string
  readonly #options: unknown
  readonly #path: string

  /** `path`: stands in front of each name in messages, such as `cache.`. */
  constructor (where: string, options: unknown, path = '') {
    this.where = where
    this.#options = options
    this.#path = path
  }

  /** Options of a call; throws where they are no object (`forms`: how to write them), or there is another than these. */
  static of (where: string, options: unknown, { forms, names }: { forms: string, names: readonly string[] }): OptionReader {
    if (!isObject(options)) throw optionError(where, 'options', options, forms)
    return new OptionReader(where, options).onlyKnows(names)
  }

  /** Throws for a name that is not one of these. `right`: what to say then. */
  onlyKnows (names: readonly string[], right = `there is no such option; there are: ${names.join(', ')}`): this {
    const unknown = Object.keys(this.#options as object).find((name) => !names.includes(name))
    if (unknown !== undefined) throw this.error(unknown, right)
    return this
  }

  /** As it was given; undefined: it was not. */
  get (name: string): unknown {
    return own(this.#options, name)
  }

  /** `value`: the part of the option that is wrong. Default: all of it. */
  error (name: string, right: string, value: unknown = this.get(name)): RouteCacheError {
    return optionError(this.where, this.#path + name, value, right)
  }

  read<T> (name: string, absent: T, isRight: (value: unknown) => boolean, right: Right): T {
    const value = this.get(name)
    if (value === undefined) return absent
    if (!isRight(value)) throw this.error(name, typeof right === 'string' ? right : right(value))
    return value as T
  }

  isOn (name: string, absent = false): boolean {
    return this.read(name, absent, isSwitch, SWITCH)
  }

  size (name: string, absent: Bytes): Bytes {
    return this.read(name, absent, isCount, SIZE)
  }

  /** Null: it is absent. */
  function<F> (name: string, right = FUNCTION): F | null {
    return this.read<F | null>(name, null, isFunction, right)
  }

  duration (name: string, absent: Milliseconds, right = DURATION_FORMS): Milliseconds {
    const value = this.get(name)
    const time = value === undefined ? absent : toMilliseconds(value)
    if (time === undefined) throw this.error(name, right)
    return time
  }

  /** A duration that a timer can wait for. `tooLong`: what to say of one that is longer. */
  timer (name: string, absent: Milliseconds, { right, tooLong }: { right?: string, tooLong?: string } = {}): Milliseconds {
    const time = this.duration(name, absent, right)
    if (time > LONGEST_TIMER) throw this.error(name, tooLong ?? right ?? DURATION_FORMS)
    return time
  }

  /** Not checked one by one. None where they are null, as calls may have them of a database. */
  tags (name: string): readonly unknown[] {
    return this.get(name) === null ? [] : this.read<readonly unknown[]>(name, [], Array.isArray, TAGS)
  }
}

export function isObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isCount (value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

export function isSwitch (value: unknown): value is boolean {
  return typeof value === 'boolean'
}

export function isName (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

export function isFunction (value: unknown): boolean {
  return typeof value === 'function'
}
