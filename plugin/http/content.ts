// Whether a request has content: RFC 9112 §6, RFC 9113 §8.1. Of a GET it has no meaning that is generally defined (RFC 9110
// §9.3.1), so a handler that reads it answers by something that no key has.
// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1

/** As much of a request of HTTP/2 as tells: whether its header was its end. */
interface RawRequest { stream?: { endAfterHeaders?: unknown } | null }

/** Whether the message says that there is any. */
export function hasContent (request: Readonly<Record<string, unknown>>, raw: RawRequest): boolean {
  const length = request['content-length']
  if (length !== undefined) return String(length) !== '0'
  return request['transfer-encoding'] !== undefined || raw.stream?.endAfterHeaders === false
}
