// Which of a response's header fields belong to the entry. RFC 9111 §3.1: all but those of the connection; and, ours: all
// but those that were on the reply before the lookup, which this request's own hooks put there.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.1
import { validateHeaderName, validateHeaderValue } from 'node:http'

/** Header fields by lower-case name, as a reply holds them. */
export type HeaderFields = Readonly<Record<string, number | string | readonly string[] | undefined>>

/** RFC 9110 §7.6.1, and Content-Length, which is made anew from the body. */
const OF_THE_CONNECTION = new Set([
  'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization',
  'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'content-length'
])

/** The fields that were added or changed since `before`, in their order. */
export function addedFields (before: HeaderFields, after: HeaderFields): [string, string | string[]][] {
  const added: [string, string | string[]][] = []
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined || OF_THE_CONNECTION.has(name) || isSame(before[name], value)) continue
    if (!Array.isArray(value)) added.push([name, String(value)])
    else if (value.length === 1) added.push([name, String(value[0])])
    else if (value.length > 1) added.push([name, value.map(String)])
  }
  return added
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

function isSame (a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b
  return a.length === b.length && a.every((one, i) => one === b[i])
}
