// Which values a request may have for a column's text. Postgres writes a value in one way, and drivers and URLs may have it
// in another one. A form too many drops more than it had to; one that is missing leaves an old response.

/** A request has nothing where a column is null; or null, where its schema gives that. */
const NOTHING = [undefined, null]

/** All that the text, as its type's output function writes it, may be elsewhere. */
export function formsOf (text: string | null): ReadonlyArray<string | null | undefined> {
  if (text === null) return NOTHING
  const forms = [text]
  if (text === 't' || text === 'f') forms.push(text === 't' ? 'true' : 'false')
  // A char(n) is padded, and equal to what is not.
  if (text.endsWith(' ')) forms.push(withoutPadding(text))
  // A cidr of one address.
  const [, host, bits] = /^([\da-f.:]+)\/(32|128)$/.exec(text) ?? []
  if (host !== undefined && (bits === '128') === host.includes(':')) forms.push(host)
  return forms
}

function withoutPadding (text: string): string {
  let end = text.length
  while (text[end - 1] === ' ') end--
  return text.slice(0, end)
}

/** One of each list, in all ways. */
export function combinationsOf<T> (lists: ReadonlyArray<readonly T[]>): T[][] {
  return lists.reduce<T[][]>((sofar, list) => sofar.flatMap((some) => list.map((one) => [...some, one])), [[]])
}
