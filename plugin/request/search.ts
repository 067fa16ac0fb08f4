// What serves a request of a cached route: its key and its variant by the policy, then the lookup. Decides; hooks.ts says
// when, cache.ts does it.
import type { ResponseCache } from '../cache/cache.js'
import { refuse } from '../telling/caller.js'
import type { Found, Question, Right } from '../cache/claim.js'
import type { Milliseconds } from '../duration.js'
import type { Entry } from '../entry/entry.js'
import { bypass, secondsLeft, tellOutcome, type Exchange, type RequestView } from './exchange.js'
import { asksForPart } from '../http/conditional.js'
import type { RefusalReason } from '../telling/outcome.js'
import { toValidate } from './revalidation.js'
import { select, type Selecting } from './selecting.js'
import type { Ticket } from './own-request.js'
import { isPacked, unpacked } from '../send/representation.js'
import { VERSION, type First } from '../cache/variant.js'

/** What is known of the request's lookup already: what it selects, and what was read first. */
export interface Searching {
  request: RequestView
  selecting?: Selecting | Promise<Selecting> | undefined
  first?: First | undefined
  /** What is stale does not do, unless the handler fails. */
  onlyFresh?: boolean
}

/** The entry to serve, or null for the handler to run; says in the exchange what became of the lookup. Never rejects. */
export async function search (
  cache: ResponseCache, exchange: Exchange, { request, selecting, first, onlyFresh = false }: Searching
): Promise<Entry | null> {
  const { caller, site: { policy: { waitTimeout, stale, rescue, earlyRefresh } } } = exchange
  const selected = await (selecting ?? select(cache, { ...exchange, request }))
  if (exchange.captured) return null
  if ('bypass' in selected) return bypass(exchange, selected.bypass, selected.mark)
  exchange.identity = selected.identity
  // Only GET fills, so a HEAD would hold the lease for nothing.
  const isPart = request.method === 'GET' && asksForPart(exchange.headers)
  const question = {
    key: selected.key,
    selection: selected.selection,
    toFill: request.method === 'GET',
    toFollow: isPart,
    toRefresh: selected.toRefresh,
    mayBeStale: stale !== null && !onlyFresh,
    mayRescue: rescue !== null,
    mayBeEarly: earlyRefresh,
    waitTimeout
  }
  const found = await readable(cache, exchange, { question, first })
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
  exchange.unclaimed = isPart ? 'range' : found.why ?? 'lease'
  exchange.spare = found.spare
  // Who forces a new response wants no word of the old one.
  exchange.toValidate = toRefresh ? null : toValidate(exchange, found.present ?? null)
  exchange.began = cache.now()
  caller.counters.misses++
  tellOutcome(exchange)
  caller.log.debug({ key }, 'cache miss')
  return null
}

/** What is found, with a body that can be sent: what can't be decoded is no entry. */
async function readable (
  cache: ResponseCache, { caller, headers }: Exchange, { question, first }: { question: Question, first: First | undefined }
): Promise<Found> {
  const found = await cache.lookup(question, caller, first)
  if (!('entry' in found) || !isPacked(found.entry, headers)) return found
  try {
    return { ...found, entry: await unpacked(found.entry) }
  } catch (error) {
    caller.counters.unreadable++
    caller.log.warn({ err: error, key: question.key }, 'cache entry could not be decoded')
    // To be overwritten.
    return await cache.lookup({ ...question, toRefresh: true }, caller)
  }
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
  tellOutcome(exchange)
  log.debug({ key }, `cache ${found.type}`)
  return entry
}

/** Of a request of our own: takes the right to fill that it came with; false where it can't use it. Never rejects. */
export async function adopt (
  cache: ResponseCache, exchange: Exchange, { request, ticket }: { request: RequestView, ticket: Ticket }
): Promise<boolean> {
  const selected = await select(cache, { ...exchange, request })
  const { right, why } = ticket
  // A time-out has answered meanwhile: then it is given back by who made the request.
  if (right === null || exchange.captured) return false
  ticket.right = null
  const { caller, site: { policy } } = exchange
  if (why === 'set') caller.counters.sets++
  if ('bypass' in selected) {
    caller.onEnd?.(selected.bypass)
    return turnAway(cache, exchange, { ticket, right, reason: 'diverted' })
  }
  const { key, selection, identity } = selected
  exchange.identity = identity
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
  exchange.toValidate = toValidate(exchange, ticket.present)
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
