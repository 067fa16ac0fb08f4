// What a response says of what the cache did: Cache-Status (RFC 9211), and X-Cache where it is asked for.
import type { Exchange } from './exchange.js'
import { cacheStatus, withMember, type Handling } from '../http/cache-status.js'
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
export function announce (reply: ReplyView, { outcome }: Exchange, { cacheStatus: status, xCache }: Signals): void {
  // Nobody gets it.
  if (outcome.type === 'own') return
  if (xCache) reply.header('x-cache', outcome.type === 'hit' || outcome.type === 'stale' ? 'HIT' : 'MISS')
  if (status === null) return
  const handling = handlingOf(outcome)
  if (status.key && outcome.type !== 'bypass') handling.key = outcome.key
  const member = cacheStatus(status.name, handling)
  reply.header('cache-status', withMember(String(reply.getHeader('cache-status') ?? ''), member))
}

/** The same of a hit without a reply, as name and value in turns. */
export function statusFieldOf (outcome: Extract<CacheOutcome, { type: 'hit' }>, { cacheStatus: status, xCache }: Signals): string[] {
  const lines: string[] = xCache ? ['x-cache', 'HIT'] : []
  if (status !== null) {
    const { key, ttl } = outcome
    lines.push('cache-status', cacheStatus(status.name, status.key ? { ttl, key } : { ttl }))
  }
  return lines
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
