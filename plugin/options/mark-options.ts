// Lists of names that the plugin and its routes may give: cookies and header fields that say who asks, and query values.
import { optionError } from '../errors.js'

/** RFC 9110 §5.6.2. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/
const RIGHT = 'write names of request headers such as ["x-partner-key"], which are added to CREDENTIAL_HEADERS; "!x-session-id" ' +
  'takes one of those away. Authorization always counts, and of cookies those that the option cookies names'

/** The option `cookies`: null where it is absent, so that all but those of analytics count. Throws FRC_OPTION. */
export function readCookies (where: string, option: string, names: unknown): readonly string[] | null {
  if (names === undefined) return null
  if (Array.isArray(names) && names.every((name) => typeof name === 'string' && TOKEN.test(name))) return [...names]
  throw optionError(where, option, names, 'write the names of the cookies that tell users apart, such as ["session", "lang"]; ' +
    '"session*" has all that begin so, [] none')
}

/** The option `credentials`: with it, all that count, in lower case. `known`: without it. Throws FRC_OPTION. */
export function readCredentials (where: string, option: string, { names, known }: CredentialNames): readonly string[] {
  if (names === undefined) return known
  if (!Array.isArray(names)) throw optionError(where, option, names, RIGHT)
  const fields = new Set(known)
  for (const name of names) {
    const isRight = typeof name === 'string' && TOKEN.test(name)
    const field = isRight ? name.toLowerCase() : ''
    if (isRight && known.includes(field.slice(1)) && field.startsWith('!')) fields.delete(field.slice(1))
    else if (!isRight || field.startsWith('!') || OTHERWISE.includes(field)) throw optionError(where, option, name, RIGHT)
    else fields.add(field)
  }
  return [...fields]
}

/** The option `ignoreQuery`: null where it is absent. Throws FRC_OPTION. */
export function readIgnored (where: string, option: string, names: unknown): readonly string[] | null {
  if (names === undefined) return null
  if (isNames(names)) return [...names]
  throw optionError(where, option, names, 'write the names of query values that change nothing, such as ["fbclid", "utm_*"]; ' +
    'a "*" at the end stands for all that begin so')
}

export function isNames (names: unknown): names is string[] {
  return Array.isArray(names) && names.every((name) => typeof name === 'string' && name !== '')
}

/** Whether a name is among these; one that ends with `*` stands for all that begin so. */
export function compileNames (names: readonly string[]): (name: string) => boolean {
  const whole = new Set(names.filter((name) => !name.endsWith('*')))
  const beginnings = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))
  return (name) => whole.has(name) || beginnings.some((beginning) => name.startsWith(beginning))
}

export interface CredentialNames { names: unknown, known: readonly string[] }

/** Marks by themselves. */
const OTHERWISE = ['authorization', 'cookie']
