// How long a policy's responses are served: fresh, stale while they are refreshed, or where the handler fails; and which
// statuses are stored at all.
import { DURATION_FORMS, toMilliseconds, type Milliseconds } from '../duration.js'
import { optionError } from '../errors.js'
import { forbidsStale, originFreshness, saysHowLong, staleAllowance, type StaleDirective } from '../http/freshness.js'
import type { HeaderFields } from '../http/headers.js'
import { isHeuristicallyCacheable, isStorableByFields } from '../http/statuses.js'

/** What a ttl may depend on. */
export interface PolicyResponse {
  request: unknown
  reply: unknown
  headers: HeaderFields
  now: Milliseconds
  /** What the handler took. */
  delay: Milliseconds
}

/** Undefined where a ttl function gave no duration. */
type Ttl = (response: PolicyResponse) => Milliseconds | undefined
/** Null: none of them ever. */
export type PolicyStale = ((response: PolicyResponse) => Milliseconds) | null

/** What a policy says of each status. */
export interface PolicyLife {
  /** Those that are stored; of some, only responses whose fields say for how long. */
  statuses: { has: (status: number, fields: HeaderFields) => boolean }
  /** How long a response is served; 0: it is not stored; undefined: a ttl function gave no duration. */
  life: (status: number, response: PolicyResponse) => Milliseconds | undefined
  /** Whether the header fields of a response of this status decide for how long. */
  isByOrigin: (status: number) => boolean
  /** Whether they do so for any status. */
  asksOrigin: boolean
}

interface Written { ttl: unknown, statuses: unknown }

interface Defaults { defaultTtl: Milliseconds, isTargeted: boolean }

export function compileLife (where: string, { ttl, statuses }: Written, { defaultTtl, isTargeted }: Defaults): PolicyLife {
  const general = compileTtl(where, ttl, defaultTtl)
  const others = statuses === 'origin'
  const listed = others ? NONE : compileStatuses(where, statuses)
  const isByOrigin = (status: number): boolean => {
    const own = listed.get(status)
    return general === 'origin' || own === 'origin' || (others && status !== 200)
  }
  const has = (status: number, fields: HeaderFields): boolean => status === 200 || listed.has(status) ||
    (others && isStorableByFields(status) && (isHeuristicallyCacheable(status) || saysHowLong(fields, isTargeted)))
  const life = (status: number, response: PolicyResponse): Milliseconds | undefined => {
    const own = listed.get(status)
    const ofItself = typeof own === 'number' ? own : undefined
    if (!isByOrigin(status)) return ofItself ?? (general as Ttl)(response)
    const { headers: fields, now, delay } = response
    const seconds = originFreshness({ fields, now, delay, isTargeted })
    return seconds === undefined ? ofItself ?? 0 : seconds * 1000
  }
  const asksOrigin = general === 'origin' || others || [...listed.values()].includes('origin')
  return { statuses: { has }, life, isByOrigin, asksOrigin }
}

const NONE: ReadonlyMap<number, Milliseconds | 'origin'> = new Map()

function compileTtl (where: string, ttl: unknown, defaultTtl: Milliseconds): Ttl | 'origin' {
  if (ttl === undefined) return () => defaultTtl
  if (ttl === 'origin') return 'origin'
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

/**
 * What the handler's headers say counts where they say how long it is fresh. That they forbid to serve it stale counts in
 * any case: RFC 9111 §4.2.4.
 */
export function compileStale (where: string, stale: unknown, { directive, isOrigin, isTargeted }: Origin): PolicyStale {
  const time = stale === undefined ? 0 : toMilliseconds(stale)
  const name = directive === 'stale-if-error' ? 'staleIfError' : 'staleWhileRevalidate'
  if (time === undefined) throw optionError(where, `cache.${name}`, stale, `${DURATION_FORMS}; 0 serves nothing stale`)
  if (time === 0 && (stale !== undefined || !isOrigin)) return null
  if (!isOrigin) return ({ headers }) => forbidsStale(headers) ? 0 : time
  return ({ headers }) => {
    const seconds = staleAllowance(headers, directive, isTargeted)
    return seconds === undefined ? time : seconds * 1000
  }
}

const EXAMPLES = 'write the ttl of each status, such as { 404: 30, 301: \'1h\', 410: \'origin\' }, or "origin" for all whose headers say it'

/** 1xx are no responses, 206 is a part, 304 has no body of its own: RFC 9111 §3, §3.3. */
function compileStatuses (where: string, statuses: unknown): ReadonlyMap<number, Milliseconds | 'origin'> {
  if (statuses === undefined) return NONE
  if (typeof statuses !== 'object' || statuses === null || Array.isArray(statuses)) {
    throw optionError(where, 'cache.statuses', statuses, EXAMPLES)
  }
  const compiled = new Map<number, Milliseconds | 'origin'>()
  for (const [status, ttl] of Object.entries(statuses)) {
    const time = ttl === 'origin' ? ttl : toMilliseconds(ttl)
    if (!/^[2-5]\d\d$/.test(status) || status === '206' || status === '304') {
      throw optionError(where, `cache.statuses.${status}`, ttl, 'a status is from 200 to 599, and neither 206 nor 304')
    }
    if (time === undefined) {
      throw optionError(where, `cache.statuses.${status}`, ttl, `${DURATION_FORMS}; 0 stores nothing; "origin" asks the handler`)
    }
    compiled.set(Number(status), time)
  }
  return compiled
}
