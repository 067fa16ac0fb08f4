// How long a response may be served by what its own headers say: RFC 9111 §4.2.1, and never by heuristics (§4.2.2).
// https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
// And how long beyond that, while it is refreshed or where that fails: RFC 5861.
// https://www.rfc-editor.org/rfc/rfc5861#section-3
// https://www.rfc-editor.org/rfc/rfc5861#section-4
import type { HeaderFields } from './headers.js'
import { httpDate } from './http-date.js'
import { directivesOf, says, type Directives } from './cache-control.js'

/** A response that has just come. */
export interface Arrived {
  fields: HeaderFields
  /** The present, in milliseconds since 1970. */
  now: number
  /** How many milliseconds ago it was asked for: §4.2.3, response_delay. */
  delay: number
}

/** The same, and whether its CDN-Cache-Control counts instead of Cache-Control and Expires (RFC 9213 §2.2). */
export interface Targetable extends Arrived { isTargeted: boolean }

/**
 * Seconds of freshness that are left: s-maxage, max-age, or Expires less Date, less its age. 0 where that is over, where
 * what it says is invalid (§4.2.1: then it is stale), and where each use must be validated (`no-cache`, §5.2.2.4).
 * Undefined where it says nothing of it.
 */
export function originFreshness ({ isTargeted, ...arrived }: Targetable): number | undefined {
  const directives = directivesOf(arrived.fields, isTargeted)
  if (['no-cache', 'private'].some((directive) => says(directives, directive))) return 0
  if (says(directives, 'no-store') && !says(directives, 'must-understand')) return 0
  const lifetime = leastOf(directives.map((each) => lifetimeOf(each, arrived)))
  return lifetime === undefined ? undefined : Math.max(0, lifetime - correctedAge(arrived))
}

/** Whether its fields say how long it is fresh, be that for no time at all. */
export function saysHowLong (fields: HeaderFields, isTargeted: boolean): boolean {
  const at = { fields, now: 0, delay: 0 }
  return directivesOf(fields, isTargeted).some((each) => lifetimeOf(each, at) !== undefined)
}

/** Seconds, by one field. */
function lifetimeOf ({ said, withExpires }: Directives, { fields, now }: Arrived): number | undefined {
  const lifetime = said.get('s-maxage') ?? said.get('max-age')
  if (lifetime !== undefined) return deltaSeconds(lifetime) ?? 0
  if (!withExpires || fields.expires === undefined) return undefined
  const expires = httpDate(text(fields.expires), now)
  if (expires === null) return 0 // §5.3: an invalid date, "0" above all, is in the past
  return Math.max(0, Math.floor((expires - (httpDate(text(fields.date), now) ?? now)) / 1000))
}

/** Where there are two fields, one of which says nothing, the one that can't be read has no say of its own. */
function leastOf (lifetimes: ReadonlyArray<number | undefined>): number | undefined {
  const [general, unread] = lifetimes
  if (general === undefined || unread === undefined) return unread === undefined ? general : 0
  return Math.min(general, unread)
}

/**
 * §4.2.3, in seconds: how old a response is that comes from somewhere else, by its Date and by the Age that it came with.
 * A response without either was made just now.
 */
export function correctedAge ({ fields, now, delay }: Arrived): number {
  const date = httpDate(text(fields.date), now)
  const apparent = date === null ? 0 : Math.max(0, Math.floor((now - date) / 1000))
  const age = deltaSeconds(text(fields.age))
  return age === undefined ? apparent : Math.max(apparent, age + Math.max(0, Math.floor(delay / 1000)))
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
  if (forbidStale(directives)) return 0
  return leastOf(directives.map(({ said }) => {
    const allowance = said.get(directive)
    return allowance === undefined ? undefined : deltaSeconds(allowance) ?? 0
  }))
}

/** Whether it must not be served stale, whoever says how long it is fresh. */
export function forbidsStale (fields: HeaderFields): boolean {
  return forbidStale(directivesOf(fields, false))
}

function forbidStale (directives: readonly Directives[]): boolean {
  return NEVER_STALE.some((directive) => says(directives, directive))
}

/** delta-seconds, RFC 9111 §1.2.2: digits, at most 2^31. Of a list, as caches on the way may make one, the first (§5.1). */
export function deltaSeconds (value: string | undefined): number | undefined {
  const [first = ''] = value?.split(',') ?? []
  return /^\d+$/.test(first.trim()) ? Math.min(Number(first), 2 ** 31) : undefined
}

function text (field: HeaderFields[string]): string | undefined {
  return field === undefined ? undefined : String(field)
}
