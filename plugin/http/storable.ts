// Whether a response may be stored by a shared cache, as far as its head tells: RFC 9111 §3. What is stored besides 200
// is the policy's to say.
// https://www.rfc-editor.org/rfc/rfc9111#section-3
import type { HeaderFields } from './headers.js'
import { isStorableStatus, isUnderstood } from './statuses.js'
import { says, type Directives } from './targeted.js'
import { varyMembers } from './vary.js'

export type HeadRefusal = 'status' | 'set-cookie' | 'no-store' | 'private' | 'vary' | 'payload'

/** What counts as an error that a stored response may stand in for: RFC 5861 §4. */
const ERRORS = [500, 502, 503, 504]

export function isError (status: number): boolean {
  return ERRORS.includes(status)
}

/** The statuses that the policy stores. */
interface Statuses { has: (status: number, fields: HeaderFields) => boolean }

export interface ResponseHead {
  status: number
  /** The fields that belong to the entry. */
  added: HeaderFields
  /** The fields of the whole response: what the app's hooks say of it counts too. */
  all: HeaderFields
  /** Those of its fields that are meant for this cache. */
  directives: readonly Directives[]
}

/** Why a response may not be stored; null where it may. */
export function refusalOf ({ status, added, all, directives }: ResponseHead, statuses: Statuses): HeadRefusal | null {
  if (!isStorableStatus(status) || !statuses.has(status, all)) return 'status'
  // RFC 9111 §5.2.2.3: it is for caches that know what this status asks of them, and `no-store` is for the others.
  const mustUnderstand = says(directives, 'must-understand')
  if (mustUnderstand && !isUnderstood(status)) return 'status'
  // RFC 9111 §7.3: a cookie is somebody's own.
  if (added['set-cookie'] !== undefined) return 'set-cookie'
  // RFC 9111 §4.1: nothing selects it.
  if (varyMembers(all.vary).includes('*')) return 'vary'
  if (says(directives, 'no-store') && !mustUnderstand) return 'no-store' // RFC 9111 §5.2.2.5
  if (says(directives, 'private')) return 'private' // RFC 9111 §5.2.2.7
  // It has no end.
  return /^text\/event-stream/i.test(String(all['content-type'] ?? '')) ? 'payload' : null
}
