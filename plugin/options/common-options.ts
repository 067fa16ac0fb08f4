// Options that the plugin and its routes have alike. Each throws FRC_OPTION where it is wrong; null: it is absent.
import { isName, type OptionReader } from './reader.js'

/** The fields by which caches in front know a response. */
export const SURROGATE_FIELDS = ['Cache-Tag', 'Surrogate-Key'] as const

export type SurrogateField = typeof SURROGATE_FIELDS[number]

/** RFC 9110 §5.6.2. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/
const CREDENTIALS = 'write names of request headers such as ["x-partner-key"], which are added to CREDENTIAL_HEADERS; "!x-session-id" ' +
  'takes one of those away. Authorization always counts, and of cookies those that the option cookies names'
const COOKIES = 'write the names of the cookies that tell users apart, such as ["session", "lang"]; "session*" has all that begin so, [] none'
const IGNORED = 'write the names of query values that change nothing, such as ["fbclid", "utm_*"]; a "*" at the end stands for all that begin so'
/** As many as a script may remove in one step. */
const MOST_VARIANTS = 100_000

/** `cookies`. Null: all but those of analytics count. */
export function readCookies (options: OptionReader): readonly string[] | null {
  const isRight = (names: unknown): boolean => Array.isArray(names) && names.every(isToken)
  const names = options.read<readonly string[] | null>('cookies', null, isRight, COOKIES)
  return names === null ? null : [...names]
}

/** `credentials`: all names that count with it, in lower case. `known`: those that count without it. */
export function readCredentials (options: OptionReader, known: readonly string[]): readonly string[] {
  const fields = new Set(known)
  for (const name of options.read<readonly unknown[]>('credentials', [], Array.isArray, CREDENTIALS)) {
    const field = isToken(name) ? name.toLowerCase() : ''
    if (field.startsWith('!') && known.includes(field.slice(1))) fields.delete(field.slice(1))
    else if (field === '' || field.startsWith('!') || COUNTED.includes(field)) throw options.error('credentials', CREDENTIALS, name)
    else fields.add(field)
  }
  return [...fields]
}

/** These count by other rules. */
const COUNTED = ['authorization', 'cookie']

export function readMaxVariants (options: OptionReader): number | null {
  return options.read<number | null>('maxVariants', null, (value) => Number.isSafeInteger(value) && (value as number) >= 1 &&
    (value as number) <= MOST_VARIANTS, `it is a number of responses of one key, from 1 to ${MOST_VARIANTS}`)
}

/** `ignoreQuery`: none where it is absent. */
export function readIgnored (options: OptionReader): readonly string[] {
  return [...options.read<readonly string[]>('ignoreQuery', [], areNames, IGNORED)]
}

export function areNames (names: unknown): boolean {
  return Array.isArray(names) && names.every(isName)
}

/** Whether a name is among these; one that ends with `*` stands for all that begin so. */
export function compileNames (names: readonly string[]): (name: string) => boolean {
  const whole = new Set(names.filter((name) => !name.endsWith('*')))
  const beginnings = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))
  return (name) => whole.has(name) || beginnings.some((beginning) => name.startsWith(beginning))
}

/** `surrogateKeys`; null: no such field. `absent`: where it is not given. */
export function readSurrogateKeys (options: OptionReader, absent: SurrogateField | null): SurrogateField | null {
  const isRight = (value: unknown): boolean => value === false || (SURROGATE_FIELDS as readonly unknown[]).includes(value)
  const field = options.read<SurrogateField | false | null>('surrogateKeys', absent, isRight, 'it is the field by which caches in front know a ' +
    'response, "Surrogate-Key" (Fastly, Varnish) or "Cache-Tag" (Cloudflare, CloudFront), or false')
  return field === false ? null : field
}

/** `version`: a number reads as its text. */
export function readVersion (options: OptionReader): string | null {
  const version = options.read<string | number | null>('version', null, (value) => isName(value) || Number.isFinite(value),
    'it is a non-empty string or a number')
  return version === null ? null : String(version)
}

function isToken (name: unknown): name is string {
  return typeof name === 'string' && TOKEN.test(name)
}
