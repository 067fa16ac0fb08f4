// How long a policy's responses are served: fresh, stale while they are refreshed, or where the handler fails; and which
// statuses are stored at all.
import { DURATION_FORMS, toMilliseconds, type Milliseconds } from './duration.js'
import { optionError } from './errors.js'
import { originFreshness, staleAllowance, type StaleDirective } from './http/freshness.js'
import type { HeaderFields } from './http/headers.js'

/** What a ttl may depend on. */
export interface PolicyResponse {
  request: unknown
  reply: unknown
  headers: HeaderFields
  now: Milliseconds
}

/** Undefined where a ttl function gave no duration. */
export type PolicyTtl = (response: PolicyResponse) => Milliseconds | undefined
/** Null: none of them ever. */
export type PolicyStale = ((response: PolicyResponse) => Milliseconds) | null
/** Each with its own ttl where it has one. */
export type PolicyStatuses = ReadonlyMap<number, Milliseconds | null>

export function compileTtl (
  where: string, ttl: unknown, { defaultTtl, isTargeted }: { defaultTtl: Milliseconds, isTargeted: boolean }
): PolicyTtl {
  if (ttl === undefined) return () => defaultTtl
  if (ttl === 'origin') return ({ headers, now }) => originFreshness(headers, now, isTargeted) * 1000
  if (typeof ttl === 'function') {
    return ({ request, reply }) => {
      const duration: unknown = (ttl as (...args: unknown[]) => unknown)(request, reply)
      // No duration, so it is refused; unwatched, its rejection would end the process.
      if (duration instanceof Promise) duration.catch(() => {})
      return toMilliseconds(duration)
    }
  }
  const time = toMilliseconds(ttl)
  if (time === undefined) throw optionError(where, 'cache.ttl', ttl, `${DURATION_FORMS}; 0 stores nothing; "origin" asks the handler`)
  return () => time
}

interface Origin { directive: StaleDirective, isOrigin: boolean, isTargeted: boolean }

/** What the handler's headers say counts where they say how long it is fresh. */
export function compileStale (where: string, stale: unknown, { directive, isOrigin, isTargeted }: Origin): PolicyStale {
  const time = stale === undefined ? 0 : toMilliseconds(stale)
  const name = directive === 'stale-if-error' ? 'staleIfError' : 'staleWhileRevalidate'
  if (time === undefined) throw optionError(where, `cache.${name}`, stale, `${DURATION_FORMS}; 0 serves nothing stale`)
  if (time === 0 && (stale !== undefined || !isOrigin)) return null
  if (!isOrigin) return () => time
  return ({ headers }) => {
    const seconds = staleAllowance(headers, directive, isTargeted)
    return seconds === undefined ? time : seconds * 1000
  }
}

/** 1xx are no responses, 206 is a part, 304 has no body of its own: RFC 9111 §3, §3.3. */
export function compileStatuses (where: string, statuses: unknown): PolicyStatuses {
  const compiled = new Map<number, Milliseconds | null>([[200, null]])
  if (statuses === undefined) return compiled
  if (typeof statuses !== 'object' || statuses === null || Array.isArray(statuses)) {
    throw optionError(where, 'cache.statuses', statuses, 'write the ttl of each status, such as { 404: 30, 301: \'1h\' }')
  }
  for (const [status, ttl] of Object.entries(statuses)) {
    const time = toMilliseconds(ttl)
    if (!/^[2-5]\d\d$/.test(status) || status === '206' || status === '304') {
      throw optionError(where, `cache.statuses.${status}`, ttl, 'a status is from 200 to 599, and neither 206 nor 304')
    }
    if (time === undefined) throw optionError(where, `cache.statuses.${status}`, ttl, `${DURATION_FORMS}; 0 stores nothing`)
    compiled.set(Number(status), time)
  }
  return compiled
}
