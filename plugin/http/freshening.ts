// How a 304 updates the header of the response that it speaks of: RFC 9111 §4.3.4, §3.2.
// https://www.rfc-editor.org/rfc/rfc9111#section-3.2

type Field = readonly [name: string, value: string | readonly string[]]

/**
 * The body that is stored depends on them, or they speak of the content of the 304 itself, of which there is none (RFC 9530
 * §2); fields of the connection never come here. §3.2.
 */
const OF_THE_STORED_BODY = ['content-encoding', 'content-range', 'content-length', 'content-digest', 'content-md5']
/** They speak of the message that they came in: of when it was made, and how old it was. §4.2.3. */
const OF_THE_MESSAGE = ['age', 'date']

/** The stored fields, each replaced by all of its name in the 304, in their order; then those that are new. */
export function freshened (stored: readonly Field[], update: readonly Field[]): Field[] {
  const fresh = new Map(update.filter(([name]) => !OF_THE_STORED_BODY.includes(name)))
  const kept = stored.filter(([name]) => fresh.has(name) || !OF_THE_MESSAGE.includes(name))
    .map(([name, value]): Field => [name, fresh.get(name) ?? value])
  const had = new Set(stored.map(([name]) => name))
  return [...kept, ...Array.from(fresh).filter(([name]) => !had.has(name))]
}
