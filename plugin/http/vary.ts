// Which stored response a request selects where the response varies: RFC 9111 §4.1.
// https://www.rfc-editor.org/rfc/rfc9111#section-4.1
import { createHash } from 'node:crypto'

/** A request's fields by lower-case name. */
export type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>

type Field = string | number | readonly string[] | undefined

/** The members of these Vary fields, in lower case, sorted, each once; `*` among them where a field says so. */
export function varyMembers (...fields: readonly Field[]): string[] {
  const members = new Set<string>()
  for (const field of fields) {
    for (const member of String(field ?? '').split(',')) {
      const name = member.trim().toLowerCase()
      if (name !== '') members.add(name)
    }
  }
  return [...members].sort()
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
