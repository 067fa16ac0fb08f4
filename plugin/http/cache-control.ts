// Cache-Control, RFC 9111 §5.2: a list of directives, some with an argument.
// https://www.rfc-editor.org/rfc/rfc9111#section-5.2
import type { HeaderFields } from './headers.js'
import { parseDictionary, type Member } from './structured-field.js'

/** The directives by lower-case name, each with its argument ('' where it has none); the first of a name counts. */
export function parseCacheControl (field: string): Map<string, string> {
  const directives = new Map<string, string>()
  // A quoted argument may contain commas: no-cache="set-cookie, x-user".
  // Nor does a semicolon belong to a name: `no-store; max-age=0` forbids as much as it would with a comma.
  for (const [, name, quoted, token] of field.matchAll(/([^\s,;="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g)) {
    const key = name!.toLowerCase()
    if (!directives.has(key)) directives.set(key, quoted?.replaceAll(/\\(.)/g, '$1') ?? token ?? '')
  }
  return directives
}

// Which directives of a response are meant for this cache: those of Cache-Control, or where it listens to it, of
// CDN-Cache-Control. RFC 9213 §2.
// https://www.rfc-editor.org/rfc/rfc9213#section-2

/** What one field says, and whether Expires says the rest. */
export interface Directives {
  /** By name, each with its argument: '' where it has none. */
  said: ReadonlyMap<string, string>
  /** RFC 9213 §2.2: beside a targeted field, Expires is ignored like Cache-Control. */
  withExpires: boolean
}

/**
 * The fields that count for this response, and all that one of them forbids is forbidden. One field; two where a targeted
 * field can't be read: RFC 9213 §2.2 has it ignored, but what it may have forbidden would then be stored.
 */
export function directivesOf (fields: HeaderFields, isTargeted: boolean): readonly Directives[] {
  const general = { said: parseCacheControl(text(fields['cache-control'])), withExpires: true }
  if (!isTargeted || fields['cdn-cache-control'] === undefined) return [general]
  const field = text(fields['cdn-cache-control'])
  const members = parseDictionary(field)
  if (members === null) return [general, { said: parseCacheControl(field), withExpires: false }]
  // §2.2: an empty one is as good as none.
  return members.size === 0 ? [general] : [{ said: mapped(members), withExpires: false }]
}

/** Whether any of the fields has this directive. */
export function says (directives: readonly Directives[], name: string): boolean {
  return directives.some(({ said }) => said.has(name))
}

/**
 * §2.1: seconds are an integer, a list of fields is a string, a directive without an argument is true. A value of another
 * type is not to be read as if it were of the right one, so `max-age="60"` and `max-age=60.0` have no number.
 */
function mapped (members: ReadonlyMap<string, Member>): Map<string, string> {
  return new Map(Array.from(members, ([name, { text }]) => [name, text === '?1' ? '' : text]))
}

function text (field: HeaderFields[string]): string {
  return field === undefined ? '' : Array.isArray(field) ? field.join(', ') : String(field)
}
