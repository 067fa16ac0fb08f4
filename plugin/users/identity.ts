// Who asks, by the policy's `identity`: a text that is this one's own, or nobody in particular.
import { RouteCacheError, show } from '../errors.js'

/** As much of a policy as says it. */
interface Telling { identity: ((request: unknown) => unknown) | null }

/** Who asks; undefined where the policy doesn't tell users apart, or nobody in particular asks. Throws FRC_OPTION. */
export function identify ({ identity }: Telling, request: object): string | undefined {
  if (identity === null) return undefined
  const given = unpromised(identity(request))
  if (Array.isArray(given)) return joined(given)
  const text = textOf(given, given)
  if (text === undefined || /[\p{L}\p{N}]/u.test(text)) return text
  throw shared(given, 'it has neither letters nor digits, so its parts are empty')
}

/** A promise that nobody waits for must not end the process when it rejects. */
export function unpromised (value: unknown): unknown {
  if (value instanceof Promise) value.catch(() => {})
  return value
}

/** Begins the text of a list. A text that begins so gets it twice, so no text is that of a list. */
const LIST = '\0'

/** Where all parts are absent, nobody in particular asks; where some are, all who lack them would share the rest. */
function joined (parts: readonly unknown[]): string | undefined {
  const texts = parts.map((part) => textOf(typeof part === 'string' && part.trim() === '' ? '' : part, parts))
  if (texts.every((text) => text === undefined)) return undefined
  if (texts.includes(undefined)) throw shared(parts, 'a part of it is absent, so all users who lack it share it')
  return LIST + JSON.stringify(parts.map((part) => (typeof part === 'bigint' ? [String(part)] : part)))
}

/** Of one value; `given`: all that there was. */
function textOf (value: unknown, given: unknown): string | undefined {
  if (value == null || value === '') return undefined
  // Any other value has a text that all users share, such as "[object Promise]" or "NaN".
  if (typeof value !== 'string') {
    if (Number.isSafeInteger(value) || typeof value === 'bigint') return String(value)
    unpromised(value)
    throw new RouteCacheError('FRC_OPTION', `cache.identity gave ${show(given)}; it must give a string, or an array of strings, at once`)
  }
  if (COMMON.test(value)) throw shared(given, 'that text is made of a value that is absent, or no text, so many users share it')
  if (LACKING.test(value)) throw shared(given, 'a part of that text is empty, so all users who lack it share it')
  return value.startsWith(LIST) ? LIST + value : value
}

/**
 * What becomes of a value that is absent, or no text, as a whole or as one part: `undefined:undefined`, `acme/null`,
 * `42undefined`, `[object Object]`, a function's source.
 */
const COMMON = new RegExp([
  'undefined', '(?<![A-Za-z0-9])[A-Za-z]{0,20}(?:null|NaN|Infinity)(?![A-Za-z0-9])', '^(?:true|false)$',
  '\\[object |Invalid Date|Symbol\\(|=>|\\) ?\\{|^class\\b.*\\{'
].join('|'))

/** A part is empty: `acme:`, `:admin`, `Bearer `. Not so an address of IPv6, such as `::1`. */
const LACKING = /^[:|,\s](?![:|])|(?<![:|])[:|,]$|\s$/

function shared (given: unknown, why: string): RouteCacheError {
  return new RouteCacheError('FRC_OPTION', `cache.identity gave ${show(given)}; ${why}: give an array such as [user.tenant, user.role], ` +
    'or undefined where nobody in particular asks')
}
