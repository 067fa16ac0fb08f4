// What a response says of what the cache did: Cache-Status (RFC 9211), and X-Cache where it is asked for.
import type { CacheOutcome } from '../telling/outcome.js'

/** How responses say what the cache did. */
export interface Signals {
  cacheStatus: { name: string, key: boolean } | null
  xCache: boolean
}

/** As much of a reply as says it. */
interface ReplyView {
  getHeader: (name: string) => unknown
  header: (name: string, value: string) => unknown
}

/** Says what the cache did: our member goes behind those of caches that the handler itself went through. */
export function announce (reply: ReplyView, outcome: CacheOutcome, { cacheStatus: status, xCache }: Signals): void {
  // No client gets this response.
  if (outcome.type === 'own') return
  if (xCache) reply.header('x-cache', outcome.type === 'hit' || outcome.type === 'stale' ? 'HIT' : 'MISS')
  if (status === null) return
  const handling = handlingOf(outcome)
  if (status.key && outcome.type !== 'bypass') handling.key = outcome.key
  const member = cacheStatus(status.name, handling)
  reply.header('cache-status', withMember(String(reply.getHeader('cache-status') ?? ''), member))
}

function handlingOf (outcome: Exclude<CacheOutcome, { type: 'own' }>): Handling {
  if (outcome.type === 'hit') return outcome.collapsed ? { fwd: 'miss', collapsed: true, ttl: outcome.ttl } : { ttl: outcome.ttl }
  if (outcome.type === 'stale') return staleHandling(outcome)
  if (outcome.type === 'miss' && outcome.revalidated === true) return { fwd: 'stale', fwdStatus: 304 }
  if (outcome.type === 'miss') return { fwd: outcome.forced ? 'request' : 'miss' }
  return { fwd: 'bypass', detail: outcome.detail ?? outcome.reason }
}

/** Its ttl is negative: RFC 9211 §2.4. `fwd=stale` is of one that waited for the handler (§2.2). */
function staleHandling ({ ttl, ifError, status }: Extract<CacheOutcome, { type: 'stale' }>): Handling {
  if (!ifError) return { ttl }
  const detail = 'stale-if-error'
  return status === null ? { ttl, detail } : { fwd: 'stale', fwdStatus: status, ttl, detail }
}

// The Cache-Status field, RFC 9211: a list with one member for each cache on the way, ours last.
// https://www.rfc-editor.org/rfc/rfc9211#section-2

export interface Handling {
  /** Why the request went to the handler (§2.2); absent: it did not, it was a hit (§2.1). */
  fwd?: 'miss' | 'bypass' | 'request' | 'stale'
  /** What the handler answered, where that is not what is sent (§2.3). */
  fwdStatus?: number
  /** It waited for another request's response instead (§2.6). */
  collapsed?: boolean
  /** Seconds left (§2.4). */
  ttl?: number
  /** Our reason (§2.8). */
  detail?: string
  /** The key (§2.7), where it is asked for. */
  key?: string
}

/** Our member: `name; hit; ttl=30`, or `name; fwd=miss`. */
export function cacheStatus (name: string, { fwd, fwdStatus, collapsed, ttl, detail, key }: Handling): string {
  return name + (fwd === undefined ? '; hit' : `; fwd=${fwd}`) + (fwdStatus === undefined ? '' : `; fwd-status=${fwdStatus}`) +
    (collapsed === true ? '; collapsed' : '') + (ttl === undefined ? '' : `; ttl=${ttl}`) +
    (key === undefined ? '' : `; key=${quoted(key)}`) + (detail === undefined ? '' : `; detail=${detail}`)
}

/** The field with our member behind those that are there already. */
export function withMember (field: string, member: string): string {
  let end = field.length
  while (end > 0 && EMPTY.includes(field[end - 1]!)) end--
  return end === 0 ? member : `${field.slice(0, end)}, ${member}`
}

/** Of empty members at the end nothing is left. */
const EMPTY = ', \t\r\n'

/** An sf-string, RFC 8941 §3.3.3: what is not visible ASCII is percent-encoded. Keys are well-formed Unicode. */
function quoted (text: string): string {
  const ascii = text.replace(/[^\x20-\x7e]+/g, (part) => encodeURIComponent(part))
  return `"${ascii.replace(/["\\]/g, '\\$&')}"`
}
