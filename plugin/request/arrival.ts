// How a request came, before anybody's hook changed it, so that a request of our own can come the same way: its URL, its
// header fields, and what its socket says of the client. Kept while it is answered: a client that leaves takes its address
// along.
import { CONDITIONS } from '../http/conditional.js'

type Fields = Record<string, string | string[] | undefined>

/** As much of node's request as is looked at, and set, here. */
export interface RawView {
  url?: string | undefined
  originalUrl?: string
  headers: Fields
  rawHeaders: string[]
  socket: object
}

export interface Arrival {
  /** As the client sent it. */
  target: string
  /** As the app has rewritten it, and the same where it has not. */
  url: string
  originalUrl: string | undefined
  headers: Fields
  rawHeaders: readonly string[]
  socket: Partial<Record<typeof OF_THE_SOCKET[number], unknown>>
}

/** `encrypted` makes https of it, `authorized` is that of a client's certificate. */
const OF_THE_SOCKET = [
  'remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'encrypted', 'authorized'
] as const

/** What the client has already, or a part, is no answer for others, and there is no body. */
const OF_THE_CLIENT: readonly string[] = [...CONDITIONS, 'content-length', 'transfer-encoding']

export function arrivalOf (raw: RawView): Arrival {
  const headers: Fields = {}
  for (const [name, value] of Object.entries(raw.headers)) {
    if (value !== undefined && !OF_THE_CLIENT.includes(name)) headers[name] = value
  }
  const socket: Arrival['socket'] = {}
  for (const name of OF_THE_SOCKET) socket[name] = (raw.socket as Arrival['socket'])[name]
  const url = raw.url ?? '/'
  return {
    target: raw.originalUrl ?? url,
    url,
    originalUrl: raw.originalUrl,
    headers,
    rawHeaders: fieldsOf(raw.rawHeaders, (name) => !OF_THE_CLIENT.includes(name)),
    socket
  }
}

/** Has a request have come as the other did. */
export function comeAs (raw: RawView, { url, originalUrl, headers, rawHeaders, socket }: Arrival): void {
  raw.url = url
  if (originalUrl !== undefined) raw.originalUrl = originalUrl
  raw.headers = { ...headers }
  raw.rawHeaders = [...rawHeaders]
  Object.assign(raw.socket, socket)
}

/** Takes fields off a request, as if they had not been there. */
export function takeOff (raw: RawView, names: readonly string[]): void {
  for (const name of names) delete raw.headers[name]
  raw.rawHeaders = fieldsOf(raw.rawHeaders, (name) => !names.includes(name))
}

/** Those of the pairs of name and value. */
function fieldsOf (rawHeaders: readonly string[], isWanted: (name: string) => boolean): string[] {
  return rawHeaders.filter((_, i) => isWanted(rawHeaders[i - i % 2]!.toLowerCase()))
}
