// Whether a response may be stored by a shared cache, RFC 9111 §3, as far as its head tells; and ours: the default is to
// store what is surely the same for everybody, so 200 without cookies.
// https://www.rfc-editor.org/rfc/rfc9111#section-3
import { parseCacheControl } from './cache-control.js'
import type { HeaderFields } from './headers.js'

type Fields = readonly (readonly [name: string, value: string | readonly string[]])[]

export type HeadRefusal = 'status' | 'set-cookie' | 'no-store' | 'private' | 'vary'

/**
 * Why a response may not be stored; null where it may. `added` are the fields that belong to the entry, `all` those of the
 * whole response: what the app's hooks say of it counts too.
 */
export function refusalOf (status: number, added: Fields, all: HeaderFields): HeadRefusal | null {
  if (status !== 200) return 'status'
  for (const [name] of added) {
    // RFC 9111 §7.3: a cookie is somebody's own.
    if (name === 'set-cookie') return 'set-cookie'
    // RFC 9111 §4.1: it selects by request fields that the key does not contain.
    if (name === 'vary') return 'vary'
  }
  // `Vary: Origin` of a hook is CORS': its headers are this request's own and not stored. Anything else selects the body.
  if (listed(all.vary).some((member) => member !== 'origin')) return 'vary'
  const directives = parseCacheControl(listed(all['cache-control']).join(','))
  if (directives.has('no-store')) return 'no-store' // RFC 9111 §5.2.2.5
  if (directives.has('private')) return 'private' // RFC 9111 §5.2.2.7
  return null
}

function listed (field: HeaderFields[string]): string[] {
  return String(field ?? '').split(',').map((member) => member.trim().toLowerCase()).filter((member) => member !== '')
}
