// The values that a request may have for a column's text. Postgres writes a value in one way, and handlers and URLs may
// write it in another: node-postgres makes a Date of a timestamp, JSON an ISO text of that, a URL has a host without its
// mask. With a form too many, more is invalidated than necessary; with a form missing, an old response stays. So a text
// that looks like a date is taken for one, even if its column is a text.
import pg from 'pg'

/** A request has nothing where a column is null; or null, where its schema gives that. */
const NOTHING = [undefined, null]

type Form = string | number | Date | null | undefined

/** All that the text, as its type's output function writes it, may be elsewhere. */
export function formsOf (text: string | null): readonly Form[] {
  if (text === null) return NOTHING
  const forms = new Set<Form>([text])
  if (text === 't' || text === 'f') forms.add(text === 't' ? 'true' : 'false')
  // A char(n) is padded, and equal to its text without padding.
  if (text.endsWith(' ')) forms.add(withoutLast(text, ' '))
  // A cidr of one address.
  const [, host, bits] = /^([\da-f.:]+)\/(32|128)$/.exec(text) ?? []
  if (host !== undefined && (bits === '128') === host.includes(':')) forms.add(host)
  if (/^(?:-?infinity|NaN)$/i.test(text)) forms.add(Number(text.replace(/infinity/, 'Infinity')))
  addNumbers(forms, text)
  addInstants(forms, text)
  return [...forms]
}

/** 1.50 and 1.5; 1e+15 as JavaScript writes it; -0 as a number, or as JSON has it. */
function addNumbers (forms: Set<Form>, text: string): void {
  if (!/^-?\d+(?:\.\d+)?(?:e[+-]\d+)?$/.test(text)) return
  const [plain = '', exponent] = text.split('e')
  if (exponent === undefined && plain.includes('.')) forms.add(withoutLast(withoutLast(plain, '0'), '.'))
  const number = Number(text)
  if (exponent !== undefined || plain.includes('.') || Object.is(number, -0)) forms.add(number).add(String(number))
}

const { DATE, TIMESTAMP, TIMESTAMPTZ } = pg.types.builtins

/** As node-postgres parses it in this process, and as JSON has that; also without its fraction, with a T or a Z. */
function addInstants (forms: Set<Form>, text: string): void {
  const [, day, time, zone] = /^(\d{4,}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d(?::\d\d)*)?)?(?: BC)?$/.exec(text) ?? []
  if (day === undefined) return
  const type = time === undefined ? DATE : zone === undefined ? TIMESTAMP : TIMESTAMPTZ
  const instant: unknown = (pg.types.getTypeParser(type, 'text') as (text: string) => unknown)(text)
  if (instant instanceof Date && !Number.isNaN(instant.getTime())) {
    forms.add(instant).add(instant.toISOString())
    // A URL often has no milliseconds.
    if (instant.getMilliseconds() === 0) forms.add(instant.toISOString().replace('.000Z', 'Z'))
  } else if (typeof instant === 'string') {
    forms.add(instant)
  }
  if (text.endsWith('BC') || time === undefined) return
  forms.add(`${day}T${time}${zone === undefined ? '' : 'Z'}`)
}

function withoutLast (text: string, character: string): string {
  let end = text.length
  while (text[end - 1] === character) end--
  return text.slice(0, end)
}

/** One of each list, in all ways. */
export function combinationsOf<T> (lists: ReadonlyArray<readonly T[]>): T[][] {
  return lists.reduce<T[][]>((sofar, list) => sofar.flatMap((some) => list.map((one) => [...some, one])), [[]])
}
