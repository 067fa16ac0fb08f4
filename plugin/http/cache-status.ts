// The Cache-Status field, RFC 9211: a list with one member for each cache on the way, ours last.
// https://www.rfc-editor.org/rfc/rfc9211#section-2

export type Handling =
  | { hit: true, ttl: number }
  | { hit: false, fwd: 'miss' | 'bypass', detail?: string }

/** Our member: `name; hit; ttl=30`, or why the request was forwarded to the handler (RFC 9211 §2.1 to §2.8). */
export function cacheStatus (name: string, handling: Handling): string {
  if (handling.hit) return `${name}; hit; ttl=${handling.ttl}`
  return `${name}; fwd=${handling.fwd}${handling.detail === undefined ? '' : `; detail=${handling.detail}`}`
}

/** The field with our member behind those that are there already. */
export function withMember (field: string, member: string): string {
  return field === '' ? member : `${field}, ${member}`
}
