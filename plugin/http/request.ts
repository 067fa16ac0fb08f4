// Requests that are no ordinary GET of a path: by their target, content, protocol or method.

// How a request names its resource: RFC 9112 §3.2. Routers take more than that: the absolute form that is meant for
// proxies, and a fragment, which browsers never send, and which is no part of the path. A handler that echoes the target
// would then have one client's text stored for all: `GET http://evil.test/x`, `GET /x#"><script>`.
// https://www.rfc-editor.org/rfc/rfc9112#section-3.2
import { varyMembers, type RequestFields } from './headers.js'

/**
 * Whether it is a path with a query. `//evil.test/x` is one, too, but put into a page it is a link to another host, as is
 * `/\\evil.test/x` for browsers.
 */
export function isOriginForm (target: string): boolean {
  return target.startsWith('/') && target[1] !== '/' && target[1] !== '\\' && !target.includes('#')
}

// Whether a request has content: RFC 9112 §6, RFC 9113 §8.1. Of a GET it has no meaning that is generally defined (RFC 9110
// §9.3.1), so a handler that reads it answers by something that no key has.
// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1

/** Of HTTP/2: whether the request ended with its header. */
interface RawRequest { stream?: { endAfterHeaders?: unknown } | null }

/** Whether the message says that there is any. */
export function hasContent (request: Readonly<Record<string, unknown>>, raw: RawRequest): boolean {
  const length = request['content-length']
  if (length !== undefined) return String(length) !== '0'
  return request['transfer-encoding'] !== undefined || raw.stream?.endAfterHeaders === false
}

// Requests that ask to go on in another protocol: RFC 9110 §7.8, and over HTTP/2 RFC 8441. Such a client
// wants no response to a GET.
// https://www.rfc-editor.org/rfc/rfc9110#section-7.8

/** The answer to an offer of these is the same response, be the offer taken or not: a version of HTTP, or TLS under it. */
const CARRIES_HTTP = /^(?:h2|h2c|h3|http\/\d(?:\.\d)?|tls\/\d(?:\.\d)?)$/

/** Whether the request asks to leave HTTP. The field says nothing unless Connection names it: it was for another hop. */
export function asksForUpgrade (request: RequestFields): boolean {
  const { upgrade } = request
  if (upgrade === undefined) return request[':protocol'] !== undefined
  if (!varyMembers(request['connection']).includes('upgrade')) return false
  return varyMembers(upgrade).some((protocol) => !CARRIES_HTTP.test(protocol))
}

// RFC 9110 §9.2.1. https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1

/** Those that are defined as safe: they change nothing that their client asked for. */
export const SAFE_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE']
