// Which of a response's header fields belong to the entry. RFC 9111 §3.1: all but those of the connection; and, ours: all
// but those that were on the reply before the lookup, which this request's own hooks put there.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.1
import { createHash } from 'node:crypto'
import { validateHeaderName, validateHeaderValue } from 'node:http'

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
  const named = after.connection === undefined ? null : new Set(varyMembers(after.connection))
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined || OF_THE_CONNECTION.has(name) || named?.has(name) === true) continue
    if (isSame(before[name], value)) continue
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
  if (after === undefined) return []
  const had = new Set(varyMembers(before))
  return String(after).split(',').map((member) => member.trim())
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

// Which stored response a request selects where the response varies: RFC 9111 §4.1.
// https://www.rfc-editor.org/rfc/rfc9111#section-4.1

/** A request's fields by lower-case name. */
export type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>

type Field = string | number | readonly string[] | undefined

/** The members of these Vary fields, in lower case, sorted, each once; `*` among them where a field says so. */
export function varyMembers (...fields: readonly Field[]): string[] {
  const members = new Set<string>()
  for (const field of fields) {
    if (field === undefined) continue
    for (const member of String(field).split(',')) {
      const name = member.trim().toLowerCase()
      if (name !== '') members.add(name)
    }
  }
  return members.size === 0 ? [] : [...members].sort()
}

/** A short text that is the same for requests that select the same response, by their values of these members. */
export function fingerprint (members: readonly string[], request: RequestFields): string {
  const hash = createHash('sha256')
  for (const name of members) hash.update(JSON.stringify([name, normalized(name, request[name])]))
  return hash.digest('base64url').slice(0, 22)
}

/** A value without what makes no difference (RFC 9111 §4.1: white space, order); null where the field is absent. */
function normalized (name: string, value: string | readonly string[] | undefined): string | null {
  if (value === undefined) return null
  const text = String(value)
  if (name === 'accept-encoding') return codings(text)
  // Of a list, white space around commas and semicolons means nothing; in quotes, and in other fields, it might.
  if (!name.startsWith('accept') || text.includes('"')) return text
  const members = text.split(',').map((member) => member.split(';').map(withoutSpace).join(';'))
  // Nor do empty members: §5.6.1.2.
  const list = members.filter((member) => member !== '').join(',')
  return CASELESS.includes(name) ? list.toLowerCase() : list
}

/** Language tags and charsets are the same in any case: RFC 9110 §8.5.1, §8.3.2. Parameters of media types need not be. */
const CASELESS = ['accept-language', 'accept-charset']

/** A member without the optional white space around it: RFC 9110 §5.6.3. */
function withoutSpace (member: string): string {
  let [from, to] = [0, member.length]
  while (from < to && isSpace(member.charCodeAt(from))) from++
  while (to > from && isSpace(member.charCodeAt(to - 1))) to--
  return member.slice(from, to)
}

function isSpace (code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** No browser names a tenth of these. A longer list is taken as it is: to read it costs more than a hit. */
const MOST_CODINGS = 100

/**
 * The content codings that the client takes, sorted. Order and weights differ from browser to browser, but a response in
 * any coding of the set is right for all that name the set: RFC 9110 §12.5.3.
 */
function codings (field: string): string {
  const members = field.toLowerCase().split(',')
  if (members.length > MOST_CODINGS) return field
  const accepted = new Set<string>()
  const refused = new Set<string>()
  for (const member of members) {
    const [coding = '', ...parameters] = member.split(';').map((part) => part.trim())
    if (coding === '') continue
    const isRefused = parameters.some((parameter) => /^q\s*=\s*0(\.0*)?$/.test(parameter))
    if (isRefused) refused.add(coding)
    else accepted.add(coding)
  }
  // A refusal says what leaving the coding out does not, where it would be accepted otherwise.
  const telling = [...refused].filter((coding) => accepted.has('*') || coding === 'identity' || coding === '*')
  return [...accepted, ...telling.map((coding) => `!${coding}`)].sort().join(',')
}
