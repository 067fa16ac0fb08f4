// A Response of the web, as other plugins' onSend hooks see it: Fastify puts its status and its fields on the reply only when
// all of them have run. What we store is read off the reply, so it is put there for a moment, and taken away again.
import { isSame, type HeaderFields } from './http/headers.js'
import type { HeaderField } from './entry.js'

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
  const headers = new Headers(response.headers)
  reply.code(status)
  for (const name of new Set(response.headers.keys())) {
    const [value, before] = [present[name], fields[name]]
    // We may have added to it: the Response's is the one that counts in the end.
    if (typeof value === 'string' && name !== 'set-cookie') headers.set(name, value)
    if (isSame(before, value)) continue
    reply.removeHeader(name)
    if (before !== undefined) reply.header(name, before as string | string[])
  }
  if (body === response.body && isSame(headers.get('vary') ?? undefined, response.headers.get('vary') ?? undefined)) return response
  return new Response(body as ConstructorParameters<typeof Response>[0], { status: response.status, statusText: response.statusText, headers })
}

/** The Response that an entry was. */
export function responseOf (status: number, headers: readonly HeaderField[], bytes: Buffer): Response {
  const own = new Headers()
  for (const [name, value] of headers) for (const one of [value].flat()) own.append(name, one)
  // Others who are given these bytes must not see what a hook writes into them.
  return new Response(bytes.length === 0 ? null : new Uint8Array(bytes), { status, headers: own })
}
