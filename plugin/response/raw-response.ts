// Node's response under a reply, as others may have made it: middleware replaces its methods to see, or to change, how a
// response leaves.
import { ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import type { HeaderFields } from '../http/headers.js'

/** What a head and a body go through on their way, those that Node calls itself among them. */
type Methods = Partial<Record<
  'writeHead' | 'write' | 'end' | 'setHeader' | 'setHeaders' | 'appendHeader' | 'removeHeader' | 'getHeader' | 'getHeaders' |
  'getHeaderNames' | 'hasHeader' | 'flushHeaders' | 'addTrailers' | '_implicitHeader' | '_storeHeader' | '_send', unknown
>>

/** As they were when this package was loaded: middleware may also replace those of the class. */
const OF_HTTP = methodsOf(ServerResponse.prototype)
const OF_HTTP2 = methodsOf(Http2ServerResponse.prototype)

function methodsOf (raw: Methods): Methods {
  const { writeHead, write, end, setHeader, setHeaders, appendHeader, removeHeader, getHeader, getHeaders } = raw
  const { getHeaderNames, hasHeader, flushHeaders, addTrailers, _implicitHeader, _storeHeader, _send } = raw
  const ofHeaders = { setHeader, setHeaders, appendHeader, removeHeader, getHeader, getHeaders, getHeaderNames, hasHeader }
  return { writeHead, write, end, ...ofHeaders, flushHeaders, addTrailers, _implicitHeader, _storeHeader, _send }
}

/** Whether this is Node's own response, with all its methods. Of another class nobody knows how it sends. */
export function isOwnOfNode (raw: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(raw)
  return (prototype === ServerResponse.prototype && areSame(raw, OF_HTTP)) ||
    (prototype === Http2ServerResponse.prototype && areSame(raw, OF_HTTP2))
}

/** As much of it as is looked at here. */
export interface RawResponseView {
  headersSent: boolean
  getHeaders: () => HeaderFields
}

/** Whether any method of it is not that of its class, whatever class that is. */
export function isReplaced (raw: object): boolean {
  return !areSame(raw, Object.getPrototypeOf(raw) as Methods)
}

/** The fields that were sent, by names in lower case. Node keeps HTTP/1's as a text, and what was set on it is less. */
export function sentHead (raw: RawResponseView): HeaderFields {
  const { _header: head } = raw as { _header?: unknown }
  if (typeof head !== 'string') return raw.getHeaders()
  const fields: Record<string, string | string[]> = {}
  for (const line of head.split('\r\n').slice(1)) {
    const end = line.indexOf(': ')
    if (end < 0) continue
    const name = line.slice(0, end).toLowerCase()
    const value = line.slice(end + 2)
    fields[name] = name in fields ? [fields[name]!, value].flat() : value
  }
  return fields
}

/** One by one, by their names: that takes 5 ns, and a loop a thousand. */
function areSame (raw: Methods, node: Methods): boolean {
  return raw.writeHead === node.writeHead && raw.write === node.write && raw.end === node.end &&
    raw.setHeader === node.setHeader && raw.setHeaders === node.setHeaders && raw.appendHeader === node.appendHeader &&
    raw.removeHeader === node.removeHeader && raw.getHeader === node.getHeader && raw.getHeaders === node.getHeaders &&
    raw.getHeaderNames === node.getHeaderNames && raw.hasHeader === node.hasHeader &&
    raw.flushHeaders === node.flushHeaders && raw.addTrailers === node.addTrailers &&
    raw._implicitHeader === node._implicitHeader && raw._storeHeader === node._storeHeader && raw._send === node._send
}
