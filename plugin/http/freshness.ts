// How long a response may be served by what its own headers say: RFC 9111 §4.2.1, and never by heuristics (§4.2.2).
// https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
// And how long beyond that, while it is refreshed or where that fails: RFC 5861.
// https://www.rfc-editor.org/rfc/rfc5861#section-3
// https://www.rfc-editor.org/rfc/rfc5861#section-4
import { parseCacheControl } from './cache-control.js'
import { httpDate } from './http-date.js'
import type { HeaderFields } from './headers.js'

/**
 * Seconds of freshness left when the response arrives at `now` (milliseconds): s-maxage, max-age, or Expires less Date,
 * each less the Age that it came with (§4.2.3). 0 where it says nothing, where what it says is invalid (§4.2.1: then it is
 * stale), and where each use must be validated (`no-cache`, §5.2.2.4). `isTargeted`: a CDN-Cache-Control counts instead of
 * Cache-Control and Expires (RFC 9213 §2.2).
 */
export function originFreshness (fields: HeaderFields, now: number, isTargeted: boolean): number {
  const age = deltaSeconds(text(fields.age)) ?? 0
  const directives = directivesOf(fields, isTargeted)
  if (['no-cache', 'no-store', 'private'].some((directive) => directives.has(directive))) return 0
  const lifetime = directives.get('s-maxage') ?? directives.get('max-age')
  if (lifetime !== undefined) return Math.max(0, (deltaSeconds(lifetime) ?? 0) - age)
  if (fields.expires === undefined || (isTargeted && targetedField(fields) !== undefined)) return 0
  const expires = httpDate(text(fields.expires), now)
  if (expires === null) return 0 // §5.3: an invalid date, "0" above all, is in the past
  return Math.max(0, Math.floor((expires - (httpDate(text(fields.date), now) ?? now)) / 1000) - age)
}

/** RFC 9111 §4.2.4; s-maxage has the meaning of proxy-revalidate (§5.2.2.10). */
const NEVER_STALE = ['no-cache', 'must-revalidate', 'proxy-revalidate', 's-maxage']

/** While it is refreshed (RFC 5861 §3); where the origin fails (§4). */
export type StaleDirective = 'stale-while-revalidate' | 'stale-if-error'

/**
 * Seconds beyond its freshness for which a response may be served: what its directive says, 0 where it forbids to be served
 * stale; undefined where it says nothing of it.
 */
export function staleAllowance (fields: HeaderFields, directive: StaleDirective, isTargeted: boolean): number | undefined {
  const directives = directivesOf(fields, isTargeted)
  if (NEVER_STALE.some((directive) => directives.has(directive))) return 0
  const allowance = directives.get(directive)
  return allowance === undefined ? undefined : deltaSeconds(allowance) ?? 0
}

function directivesOf (fields: HeaderFields, isTargeted: boolean): Map<string, string> {
  return parseCacheControl((isTargeted ? targetedField(fields) : undefined) ?? text(fields['cache-control']) ?? '')
}

/** The CDN-Cache-Control that counts instead of Cache-Control and Expires; undefined where there is no valid one. */
export function targetedField (fields: HeaderFields): string | undefined {
  const members = (text(fields['cdn-cache-control']) ?? '').split(',').map((member) => member.trim())
  // The last of a name counts, where Cache-Control's parser takes the first.
  return members.every((member) => TARGETED_MEMBER.test(member)) ? members.reverse().join(', ') : undefined
}

/** A member of the dictionary (RFC 8941 §3.2), as far as directives need it: a name, and a number or a token. */
const TARGETED_MEMBER = /^[a-z*][a-z0-9_.*-]*(=(\d{1,15}|[A-Za-z*][\w.*/:-]*|\?[01]))?$/

/** delta-seconds, RFC 9111 §1.2.2: digits, at most 2^31. Of a list, as caches on the way may make one, the first (§5.1). */
export function deltaSeconds (value: string | undefined): number | undefined {
  const [first = ''] = value?.split(',') ?? []
  return /^\d+$/.test(first.trim()) ? Math.min(Number(first), 2 ** 31) : undefined
}

function text (field: HeaderFields[string]): string | undefined {
  return field === undefined ? undefined : String(field)
}
