// A Response of the web, as other plugins' onSend hooks see it: Fastify puts its status and its fields on the reply only
// when all of them have run. What we store is read off the reply, so it is put there for a moment, and taken away again.
import { isSame, type HeaderFields } from '../http/headers.js'
import type { HeaderField } from '../entry/entry.js'

interface ReplyView {
  getHeaders: () => HeaderFields
  code: (status: number) => unknown
  header: (name: string, value: string | string[]) => unknown
  removeHeader: (name: string) => unknown
}

/** What was on the reply before the Response's head was put there, and the body as it is sent on. */
export interface Apart { status: number, fields: HeaderFields, body: unknown }

/** Takes a Response's head off the reply again; gives the Response with this body. */
export function rewrapped (reply: ReplyView, response: Response, { status, fields, body }: Apart): Response {
  const present = reply.getHeaders()
  reply.code(status)
  for (const name of new Set(response.headers.keys())) {
    const [value, before] = [present[name], fields[name]]
    if (isSame(before, value)) continue
    reply.removeHeader(name)
    if (before !== undefined) reply.header(name, before as string | string[])
  }
  // We may have added to it, and the Response's is the one that counts in the end.
  const vary = response.headers.has('vary') ? String(present.vary) : null
  if (body === response.body && vary === response.headers.get('vary')) return response
  const headers = Array.from(response.headers, ([name, value]): HeaderField => [name, name === 'vary' ? vary! : value])
  return responseWith(body, response, headers)
}

interface Line { status: number, statusText: string }

/** The Response that an entry was. */
export function responseOf (status: number, headers: readonly HeaderField[], bytes: Buffer): Response {
  // Others who are given these bytes must not see what a hook writes into them.
  return responseWith(bytes.length === 0 ? null : new Uint8Array(bytes), { status, statusText: '' }, headers)
}

type Body = ConstructorParameters<typeof Response>[0]

function responseWith (body: unknown, { status, statusText }: Line, headers: readonly HeaderField[]): Response {
  const response = new Response(body as Body, { status, statusText })
  for (const [name, value] of headers) for (const one of [value].flat().flatMap(valuesOf)) response.headers.append(name, one)
  return response
}

/** A field that came more than once is one text in a Response; spaces at its ends are of empty values, and would be lost. */
function valuesOf (text: string): string[] {
  return text === text.trim() ? [text] : text.split(', ')
}
