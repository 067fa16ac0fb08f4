// Dictionaries of structured fields, whole: RFC 9651 §3.2 and §4.2, and with it RFC 8941. Of a member its type and its text
// are kept; parameters are checked and dropped.
// https://www.rfc-editor.org/rfc/rfc9651#section-4.2
import { isUtf8 } from 'node:buffer'

type BareType = 'integer' | 'decimal' | 'string' | 'token' | 'bytes' | 'boolean' | 'date' | 'display'

/** A member's value. */
export interface Member {
  type: BareType | 'list'
  /** As it was written, quotes and all; of a key alone `?1`. */
  text: string
}

/** Dictionary §4.2.2: a key's last value counts. Null: a parser must fail, and the field says nothing. */
export function parseDictionary (field: string): Map<string, Member> | null {
  const text = new Scanner(field)
  const members = new Map<string, Member>()
  text.take(SPACES)
  while (!text.isAtEnd) {
    const key = text.take(KEY)
    const value = key === null ? null : text.take(EQUALS) === null ? withParameters(text, TRUE) : itemOrList(text)
    if (value === null) return null
    members.set(key!, value)
    text.take(OWS)
    if (text.isAtEnd) return members
    // Behind a comma there must be another member.
    if (text.take(COMMA) === null || text.isAtEnd) return null
  }
  return members
}

/** The forms that may stand at a place of the text. */
class Scanner {
  readonly #text: string
  #at = 0

  constructor (text: string) {
    this.#text = text
  }

  get isAtEnd (): boolean {
    return this.#at === this.#text.length
  }

  /** The text of this form at the place, which moves behind it; null: no such text. */
  take (form: RegExp): string | null {
    form.lastIndex = this.#at
    const [found] = form.exec(this.#text) ?? []
    if (found === undefined) return null
    this.#at += found.length
    return found
  }
}

const SPACES = / */y
const OWS = /[ \t]*/y
const COMMA = /,[ \t]*/y
const EQUALS = /=/y
const SEMICOLON = /; */y
const OPENING = /\( */y
const CLOSING = / *\)/y
const SPACE = / +/y
const KEY = /[a-z*][a-z\d_.*-]*/y
const TRUE: Member = { type: 'boolean', text: '?1' }

/** By its first character no two forms can be meant, but an integer and a decimal. §4.2.3.1 */
const FORMS: Record<BareType, RegExp> = {
  decimal: /-?\d+\.\d+/y,
  integer: /-?\d+/y,
  string: /"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"/y,
  token: /[a-z*][\w!#$%&'*+.^`|~:/-]*/iy,
  bytes: /:[a-z\d+/=]*:/iy,
  boolean: /\?[01]/y,
  date: /@-?\d{1,15}/y,
  display: /%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[\da-f]{2})*"/y
}

/** Rules that a form can't express: a number's digits (§4.2.4), and that a display string is UTF-8 (§4.2.10). */
function isWithin (type: BareType, text: string): boolean {
  if (type === 'integer') return /^-?\d{1,15}$/.test(text)
  if (type === 'decimal') return /^-?\d{1,12}\.\d{1,3}$/.test(text)
  return type !== 'display' || isUtf8(Buffer.from(unescaped(text.slice(2, -1)), 'latin1'))
}

/** The bytes that a display string stands for, a character for each. */
function unescaped (text: string): string {
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}

function bareItem (text: Scanner): Member | null {
  for (const type of Object.keys(FORMS) as BareType[]) {
    const found = text.take(FORMS[type])
    if (found !== null) return isWithin(type, found) ? { type, text: found } : null
  }
  return null
}

function item (text: Scanner): Member | null {
  const value = bareItem(text)
  return value === null ? null : withParameters(text, value)
}

/** §4.2.3.2: the value, if what follows it are parameters. */
function withParameters (text: Scanner, value: Member): Member | null {
  while (text.take(SEMICOLON) !== null) {
    if (text.take(KEY) === null) return null
    if (text.take(EQUALS) !== null && bareItem(text) === null) return null
  }
  return value
}

/** §4.2.1.1, §4.2.1.2. */
function itemOrList (text: Scanner): Member | null {
  if (text.take(OPENING) === null) return item(text)
  const members: string[] = []
  while (text.take(CLOSING) === null) {
    if (members.length > 0 && text.take(SPACE) === null) return null
    const member = item(text)
    if (member === null) return null
    members.push(member.text)
  }
  return withParameters(text, { type: 'list', text: `(${members.join(' ')})` })
}
