// Which of a response's header fields belong to the entry. RFC 9111 §3.1: all but those of the connection; and, ours: all
// but those that were on the reply before the lookup, which this request's own hooks put there.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.1
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { varyMembers } from './vary.js'

/** Header fields by lower-case name, as a reply holds them. */
export type HeaderFields = Readonly<Record<string, number | string | readonly string[] | undefined>>

/** RFC 9110 §7.6.1, and Content-Length, which is made anew from the body. */
const OF_THE_CONNECTION = new Set([
  'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization',
  'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'content-length'
])

/** The fields that were added or changed since `before`, in their order; of `Vary`, the members that were. */
export function addedFields (before: HeaderFields, after: HeaderFields): [string, string | string[]][] {
  const added: [string, string | string[]][] = []
  // RFC 9110 §7.6.1: fields that Connection names belong to the connection, too.
  const named = new Set(varyMembers(after.connection))
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined || OF_THE_CONNECTION.has(name) || named.has(name) || isSame(before[name], value)) continue
    if (name === 'vary' && before.vary !== undefined) {
      const members = addedMembers(before.vary, value)
      if (members.length > 0) added.push([name, members.join(', ')])
    } else if (!Array.isArray(value)) added.push([name, String(value)])
    else if (value.length === 1) added.push([name, String(value[0])])
    else if (value.length > 1) added.push([name, value.map(String)])
  }
  return added
}

/** The members of a Vary that were not there before, as they are written: CORS and the handler share one field. */
export function addedMembers (before: HeaderFields[string], after: HeaderFields[string]): string[] {
  const had = new Set(varyMembers(before))
  return String(after ?? '').split(',').map((member) => member.trim())
    .filter((member) => member !== '' && !had.has(member.toLowerCase()))
}

/** A Vary with the members of another behind its own; the other as it is where there is none. */
export function mergedVary (field: HeaderFields[string], other: string | readonly string[]): string | string[] {
  if (field === undefined) return typeof other === 'string' ? other : [...other]
  return [String(field), ...addedMembers(field, other)].join(', ')
}

/** Whether Node would send these fields: one that it refuses would make every hit fail. */
export function areSendable (fields: readonly (readonly [string, string | readonly string[]])[]): boolean {
  try {
    for (const [name, value] of fields) {
      validateHeaderName(name)
      for (const one of [value].flat()) validateHeaderValue(name, one as string)
    }
    return true
  } catch {
    return false
  }
}

/**
 * Whether these fields may stand in an answer that is given to many: Node would send them, none is of the connection, frames
 * the message, or is a client's own, and each is there once, in lower case.
 */
export function isReplayable (fields: readonly (readonly [string, string | readonly string[]])[]): boolean {
  const names = new Set(fields.map(([name]) => name))
  if (names.size !== fields.length || !areSendable(fields)) return false
  for (const [name, value] of fields) {
    if (name !== name.toLowerCase() || OF_THE_CONNECTION.has(name) || name.startsWith('proxy-') || name === 'set-cookie') return false
    if (name === 'vary' && varyMembers(value).includes('*')) return false
  }
  return true
}

/** Whether a field was not changed. */
export function isSame (a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b
  return a.length === b.length && a.every((one, i) => one === b[i])
}

/**
 * The members that select the response. `Origin` of a hook does not: it is of CORS, whose headers are this request's own and
 * not stored. What else hooks put there selects as if the handler had.
 */
export function selectingMembers (before: HeaderFields, after: HeaderFields): string[] {
  const own = varyMembers(addedMembers(before.vary, after.vary))
  return [...own, ...varyMembers(before.vary).filter((member) => member !== 'origin')]
}
