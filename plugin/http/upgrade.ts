// Requests that ask to go on in another protocol: RFC 9110 §7.8, and over HTTP/2 RFC 8441. What such a client wants is no
// response to a GET.
// https://www.rfc-editor.org/rfc/rfc9110#section-7.8
import { varyMembers, type RequestFields } from './vary.js'

/** The answer to an offer of these is the same response, be the offer taken or not: a version of HTTP, or TLS under it. */
const CARRIES_HTTP = /^(?:h2|h2c|h3|http\/\d(?:\.\d)?|tls\/\d(?:\.\d)?)$/

/** Whether the request asks to leave HTTP. The field says nothing unless Connection names it: it was for another hop. */
export function asksForUpgrade (request: RequestFields): boolean {
  const { upgrade } = request
  if (upgrade === undefined) return request[':protocol'] !== undefined
  if (!varyMembers(request['connection']).includes('upgrade')) return false
  return varyMembers(upgrade).some((protocol) => !CARRIES_HTTP.test(protocol))
}
