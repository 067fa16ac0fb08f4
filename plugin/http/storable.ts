// Whether a response may be stored by a shared cache, as far as its head tells: RFC 9111 §3. What is stored besides 200
// is the policy's to say.
// https://www.rfc-editor.org/rfc/rfc9111#section-3
import { parseCacheControl } from './cache-control.js'
import type { HeaderFields } from './headers.js'
import { varyMembers } from './vary.js'

export type HeadRefusal = 'status' | 'set-cookie' | 'no-store' | 'private' | 'vary' | 'payload'

/** What counts as an error that a stored response may stand in for: RFC 5861 §4. */
const ERRORS = [500, 502, 503, 504]

export function isError (status: number): boolean {
  return ERRORS.includes(status)
}

/** RFC 9111 §3: final; §3.3: whole, and 304 has no body of its own. */
export function isStorableStatus (status: number): boolean {
  return status >= 200 && status <= 599 && status !== 206 && status !== 304
}

/** The statuses that the policy stores. */
interface Statuses { has: (status: number) => boolean }

export interface Head {
  status: number
  /** The fields that belong to the entry. */
  added: HeaderFields
  /** The fields of the whole response: what the app's hooks say of it counts too. */
  all: HeaderFields
  /** A targeted Cache-Control, which counts instead of the other: RFC 9213 §2.2. */
  target: string | undefined
}

/** Why a response may not be stored; null where it may. */
export function refusalOf ({ status, added, all, target }: Head, statuses: Statuses): HeadRefusal | null {
  if (!statuses.has(status) || !isStorableStatus(status)) return 'status'
  // RFC 9111 §7.3: a cookie is somebody's own.
  if (added['set-cookie'] !== undefined) return 'set-cookie'
  // RFC 9111 §4.1: nothing selects it.
  if (varyMembers(all.vary).includes('*')) return 'vary'
  const directives = parseCacheControl(String(target ?? all['cache-control'] ?? ''))
  if (directives.has('no-store')) return 'no-store' // RFC 9111 §5.2.2.5
  if (directives.has('private')) return 'private' // RFC 9111 §5.2.2.7
  // It has no end.
  return /^text\/event-stream/i.test(String(all['content-type'] ?? '')) ? 'payload' : null
}
