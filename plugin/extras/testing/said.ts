// The outcome of a response, read from its Cache-Status field (RFC 9211), as announcement.ts writes it.
// https://www.rfc-editor.org/rfc/rfc9211#section-2
import { RouteCacheError } from '../../errors.js'
import type { BypassReason, RefusalReason, StaleReason } from '../../telling/outcome.js'

/** A response of `inject`, `fetch`, supertest or Node's http: any object with headers. */
export interface AnyResponse {
  headers: object
}

/** The outcome of a request. */
export interface Said {
  outcome: 'hit' | 'stale' | 'miss' | 'bypass'
  /** The reason of a bypass, or the detail of a stale entry; else null. */
  reason: BypassReason | StaleReason | null
  /** Why the response of a miss is not stored, as far as that was known when its header left; null: it may be stored. */
  refused: RefusalReason | null
  /** Seconds that a hit is fresh yet, 0 or less where it is stale; null: there is none. */
  ttl: number | null
  /** A hit that waited for another request's handler. */
  collapsed: boolean
  /** A miss that the client has forced (`honourNoCache`). */
  forced: boolean
  /** The key, where the plugin's `cacheStatus` shows it. */
  key: string | null
  /** The member of the field. */
  member: string
}

const OURS = 'fastify-route-cache'

/**
 * What this plugin's member of the response's Cache-Status says; null where there is none, as the route is not cached or the
 * plugin's `cacheStatus` is false. `name`: the one that `cacheStatus` gives the cache. Default: `fastify-route-cache`, or if
 * there is no such member the last one, which is the nearest cache's.
 * @throws RouteCacheError FRC_OPTION where it is no response
 */
export function readCacheStatus (response: AnyResponse, { name }: { name?: string | undefined } = {}): Said | null {
  const members = splitAt(',', fieldOf(response)).filter((member) => member !== '')
  const named = members.filter((member) => nameOf(member) === (name ?? OURS))
  const member = named.at(-1) ?? (name === undefined ? members.at(-1) : undefined)
  return member === undefined ? null : read(member)
}

function nameOf (member: string): string {
  return unquoted(splitAt(';', member)[0]!)
}

function read (member: string): Said {
  const parameters = new Map(splitAt(';', member).slice(1).map((parameter) => {
    const [name = ''] = parameter.split('=', 1)
    return [name, unquoted(parameter.slice(name.length + 1))]
  }))
  const fwd = parameters.get('fwd')
  const detail = parameters.get('detail')
  const ttl = parameters.has('ttl') ? Number(parameters.get('ttl')) : null
  const collapsed = parameters.has('collapsed')
  const said = { refused: null, ttl, collapsed, forced: fwd === 'request', key: parameters.get('key') ?? null, member }
  // A stale hit's ttl is 0 or less (§2.4); `fwd=stale` stands in for what the handler answered,
  // but where that was that nothing has changed.
  if ((fwd === 'stale' && parameters.get('fwd-status') !== '304') || ((fwd === undefined || collapsed) && ttl !== null && ttl <= 0)) {
    return { ...said, outcome: 'stale', reason: detail === 'stale-if-error' ? detail : 'stale-while-revalidate' }
  }
  if (fwd === undefined || collapsed) return { ...said, outcome: 'hit', reason: null }
  // Behind a colon it says which of several marks: `credential:x-api-key`.
  if (fwd === 'bypass') return { ...said, outcome: 'bypass', reason: (detail?.split(':')[0] ?? null) as BypassReason | null }
  return { ...said, outcome: 'miss', reason: null, refused: (detail ?? null) as RefusalReason | null }
}

/** The field of any kind of response; '' where it has none. */
function fieldOf (response: unknown): string {
  const headers = typeof response === 'object' && response !== null && 'headers' in response ? response.headers : undefined
  if (typeof headers !== 'object' || headers === null) {
    const isPromise = typeof response === 'object' && response !== null && 'then' in response
    throw new RouteCacheError('FRC_OPTION', isPromise
      ? 'this is a promise of a response: await it'
      : 'this is no response: it has no headers; give what app.inject() or fetch() resolves with')
  }
  const field: unknown = 'get' in headers && typeof headers.get === 'function'
    ? (headers.get as (name: string) => unknown)('cache-status')
    : Object.entries(headers).find(([name]) => name.toLowerCase() === 'cache-status')?.[1]
  return field == null ? '' : String(field)
}

/** The parts between separators that don't stand in quotes. */
function splitAt (separator: ',' | ';', text: string): string[] {
  const parts = ['']
  let isQuoted = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    if (isQuoted && character === '\\') parts[parts.length - 1] += character + (text[++i] ?? '')
    else if (!isQuoted && character === separator) parts.push('')
    else parts[parts.length - 1] += character
    if (character === '"') isQuoted = !isQuoted
  }
  return parts.map((part) => part.trim())
}

/** An sf-string's text, RFC 8941 §4.2.5; a token is its own. */
function unquoted (text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replace(/\\(["\\])/g, '$1') : text
}
