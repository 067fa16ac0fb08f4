// What serves a request of a cached route: its key and its variant by the policy, then the lookup. Decides; hooks.ts says
// when, cache.ts does it.
import type { ResponseCache } from './cache.js'
import { refuse } from './caller.js'
import type { Found, Right } from './claim.js'
import { credentials, explain, identify, unpromised } from './credentials.js'
import type { Milliseconds } from './duration.js'
import type { Entry } from './entry.js'
import { bypass, secondsLeft, type Exchange, type RequestView } from './exchange.js'
import { parseCacheControl } from './http/cache-control.js'
import { isForTheHandler } from './http/conditional.js'
import { fingerprint } from './http/vary.js'
import type { KeySource } from './key.js'
import { validatedSource } from './key-source.js'
import type { Ticket } from './own-request.js'
import { checkKey, policyFailed } from './policy.js'
import type { BypassReason, RefusalReason } from './outcome.js'
import { IDENTITY, VERSION, type Selection } from './variant.js'

/** The entry to serve, or null for the handler to run; says in the exchange what became of the lookup. Never rejects. */
export async function search (cache: ResponseCache, exchange: Exchange, request: RequestView): Promise<Entry | null> {
  const { caller, site: { policy: { waitTimeout, stale, rescue, earlyRefresh } } } = exchange
  const selected = await selectKey(cache, exchange, request)
  if (exchange.captured) return null
  if ('bypass' in selected) return bypass(exchange, selected.bypass)
  // Only GET fills, so a HEAD would hold the lease for nothing.
  const may = { mayBeStale: stale !== null, mayRescue: rescue !== null, mayBeEarly: earlyRefresh }
  const question = { ...selected, toFill: request.method === 'GET', ...may, waitTimeout }
  const found = await cache.lookup(question, caller)
  if (exchange.captured) {
    // Something else answered meanwhile, a time-out for example: nobody will fill.
    if (found.type === 'miss' && found.claim !== null) cache.abandon(found.claim, caller)
    return null
  }
  if (found.type === 'unknown') return bypass(exchange, found.reason)
  const { key, toRefresh } = selected
  if (found.type === 'hit' || found.type === 'stale') return serve(exchange, found, { key, now: cache.now() })
  exchange.outcome = { type: 'miss', key, forced: toRefresh }
  exchange.claim = found.claim
  exchange.unclaimed = found.why ?? 'lease'
  exchange.spare = found.spare
  exchange.began = cache.now()
  caller.counters.misses++
  caller.log.debug({ key }, 'cache miss')
  return null
}

type Served = Extract<Found, { entry: Entry }>

function serve (exchange: Exchange, found: Served, { key, now }: { key: string, now: Milliseconds }): Entry {
  const { caller: { counters, log }, site: { policy } } = exchange
  const { entry } = found
  exchange.entry = entry
  counters.hits++
  if (found.type === 'stale') {
    counters.stale++
    exchange.outcome = { type: 'stale', key, ttl: secondsLeft(entry, now), ifError: found.ifError, status: null }
    exchange.refreshable = { key, selected: found.selected, waitTimeout: policy.waitTimeout }
  } else {
    if (found.collapsed) counters.collapsed++
    if (found.early !== null) exchange.refreshable = { key, selected: found.early, waitTimeout: policy.waitTimeout }
    exchange.outcome = { type: 'hit', key, ttl: Math.ceil((entry.staleAt - now) / 1000), collapsed: found.collapsed }
  }
  log.debug({ key }, `cache ${found.type}`)
  return entry
}

/** Of a request of our own: takes the right to fill that it came with; false where it can't use it. Never rejects. */
export async function adopt (
  cache: ResponseCache, exchange: Exchange, { request, ticket }: { request: RequestView, ticket: Ticket }
): Promise<boolean> {
  const selected = await selectKey(cache, exchange, request)
  const { right, why } = ticket
  // A time-out has answered meanwhile: then it is given back by who made the request.
  if (right === null || exchange.captured) return false
  ticket.right = null
  const { caller, site: { policy } } = exchange
  if (why === 'set') caller.counters.sets++
  if ('bypass' in selected) {
    caller.told?.(selected.bypass)
    return turnAway(cache, exchange, { ticket, right, reason: 'diverted' })
  }
  const { key, selection } = selected
  ticket.key = key
  if (key !== right.key) return turnAway(cache, exchange, { ticket, right, reason: 'diverted' })
  // One response can't stand for those of all users or all values of a header; of a version there is one.
  if (why === 'set' && policy.needs.some((need) => need !== VERSION)) {
    return turnAway(cache, exchange, { ticket, right, reason: 'vary' })
  }
  // Authentication may take the request for somebody else than it did the one that is repeated.
  const { lease: { variant }, marker } = right
  if (variant !== null && selection.fingerprint(marker?.members ?? []) !== variant) {
    return turnAway(cache, exchange, { ticket, right, reason: 'diverted' })
  }
  exchange.outcome = { type: 'own', key, why }
  exchange.claim = { ...right, selection }
  exchange.began = cache.now()
  exchange.life = ticket.life
  exchange.marks.tags = [...exchange.marks.tags, ...ticket.tags]
  return true
}

interface Refused { ticket: Ticket, right: Right, reason: RefusalReason }

function turnAway (cache: ResponseCache, { caller }: Exchange, { ticket, right, reason }: Refused): false {
  refuse(right.key, reason, caller)
  cache.abandon(right, caller, ticket.why === 'refresh')
  return false
}

interface Selected { key: string, selection: Selection, toRefresh: boolean }

/** The request's key and variant, or why it goes past the cache. */
async function selectKey (
  cache: ResponseCache, exchange: Exchange, request: RequestView
): Promise<Selected | { bypass: BypassReason }> {
  const { site, caller, headers } = exchange
  const { policy } = site
  if (!cache.enabled) return { bypass: 'disabled' }
  if (isForTheHandler(headers)) return { bypass: 'conditional' }
  try {
    const identity = exchange.identity = identify(policy, request)
    const reason = policy.shared || identity !== undefined ? null : credentials(request, headers)
    if (reason !== null) {
      explain(site, caller, reason)
      return { bypass: reason }
    }
    if (policy.when !== null && !await policy.when(request)) return { bypass: 'when' }
    // In front of the handler the request is validated already, and was refused unless the handler wants to see to that.
    const isInvalid = (request as { validationError?: unknown }).validationError != null
    const source = site.place === 'onRequest' ? await validatedSource(request) : isInvalid ? null : request
    if (source === null) return { bypass: 'invalid' }
    // Set in any case: a header field may have any name.
    const pseudo = { [IDENTITY]: identity, [VERSION]: policy.version ?? undefined }
    const seen = seenWith(request, source)
    return {
      key: checkKey(await policy.key(source, seen)),
      selection: {
        needs: policy.needs,
        hint: site.hint,
        fingerprint: (members) => fingerprint(members, { ...headers, ...pseudo }),
        tags: policy.tags(source, seen)
      },
      toRefresh: asksForRefresh(headers) && unpromised(policy.honourNoCache(request)) === true
    }
  } catch (error) {
    policyFailed(policy, caller, error)
    return { bypass: 'policy' }
  }
}

/** The request with params and query as the handler will see them, for a key function. */
function seenWith (request: RequestView, { params, query }: KeySource): RequestView {
  if (params === request.params && query === request.query) return request
  return Object.create(request, { params: { value: params }, query: { value: query } }) as RequestView
}

/** RFC 9111 §5.2.1.4, §5.4: `no-cache`, or where there is no Cache-Control, the old Pragma. */
function asksForRefresh (headers: RequestView['headers']): boolean {
  return parseCacheControl(String(headers['cache-control'] ?? headers.pragma ?? '')).has('no-cache')
}
