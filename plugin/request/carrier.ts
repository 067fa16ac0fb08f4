// The cache's own properties of a request, under symbols: they can't collide with other plugins', and are not printed with
// it.
import { without } from '../cache/variant.js'
import type { KeySource } from '../key/key.js'
import { checkTags } from '../key/route-template.js'
import { openExchange, type Exchange, type Marks, type RequestView, type Served, type Site } from './exchange.js'
import type { HeaderFields } from '../http/headers.js'
import type { Arrival, Ticket } from './own-request.js'
import type { CacheOutcome } from '../telling/outcome.js'

/** How far the request has come. */
export const STATE = Symbol('fastify-route-cache.state')
/** `reply.noCache` and `reply.cacheTags`, called by its hooks and its handler. */
export const MARKS = Symbol('fastify-route-cache.marks')
/** How it came, where a later refresh may come the same way. */
export const ARRIVAL = Symbol('fastify-route-cache.arrival')
/** Its headers as the lookup found them. */
export const HEADERS = Symbol('fastify-route-cache.headers')
/** Of an internal request: its purpose. */
export const TICKET = Symbol('fastify-route-cache.ticket')
/** Of an unsafe request, params and query as they came. */
export const SOURCE = Symbol('fastify-route-cache.source')

/** The validation has refused it. */
export const INVALID = Symbol('fastify-route-cache.invalid')
/** How many listened to the reply's end when the request arrived: no handlers. */
export const LISTENERS = Symbol('fastify-route-cache.listeners')

/** Of a request that declares changes: how they are concluded. */
export const CHANGE = Symbol('fastify-route-cache.change')

/** A request that declares changes, from when its handler begins. */
export interface Change {
  /** An error was raised: what is sent is the error's answer. */
  failed: boolean
  /** To be called when the answer is about to leave, which waits for this. Never rejects. */
  conclude: () => Promise<void>
}

export interface Carrier {
  [ARRIVAL]?: Arrival | null
  [HEADERS]?: RequestView['headers'] | null
  [SOURCE]?: KeySource | null
  [STATE]?: Exchange | Served | null
  [MARKS]?: Marks | null
  [TICKET]?: Ticket | null
  [CHANGE]?: Change | null
  [LISTENERS]?: number | null
  [INVALID]?: boolean
}

/** What the cache did for this request, as far as it is known by now; null where the route is not cached. */
export function outcomeOf (request: object): CacheOutcome | null {
  const { [STATE]: state, [TICKET]: ticket } = request as Carrier
  // Also while the hooks run that come before the lookup: one that counts requests, or refuses too many, may let it pass.
  if (ticket != null) return { type: 'own', key: ticket.filling, why: ticket.why }
  return state?.outcome ?? null
}

/** The request's way to its handler; null: an entry is sent, or its lookup has not come. */
export function exchangeOf (request: object): Exchange | null {
  const { [STATE]: state } = request as Carrier
  return state == null || 'entry' in state ? null : state
}

/** A request and its reply where the lookup begins. */
interface Found { request: object, reply: { getHeaders: () => Record<string, HeaderFields[string]> } }

/** Opens the request's way to its handler. */
export function openOn (site: Site, { request, reply }: Found): Exchange {
  const carrier = request as Carrier
  const { [HEADERS]: kept, [TICKET]: ticket = null } = carrier
  // Validation may take headers away.
  const headers = kept ?? { ...(request as RequestView).headers }
  const opening = { before: reply.getHeaders(), headers, marks: marksOf(request), ticket }
  const exchange = openExchange(site, request as RequestView, opening)
  carrier[STATE] = exchange
  return exchange
}

/** Keeps this request's response out of the store. */
export function markNoCache (request: object): void {
  marksOf(request).noCache = true
  noteLateCall(exchangeOf(request), { call: 'reply.noCache' })
}

export function marksOf (request: object): Marks {
  const carrier = request as Carrier
  carrier[MARKS] ??= { noCache: false, tags: [] }
  return carrier[MARKS]
}

/** Keeps the tags for this request's response; bad ones keep it out of the store instead: no request fails by them. */
export function markTags (request: Pick<RequestView, 'log'>, tags: readonly unknown[]): void {
  const marks = marksOf(request)
  try {
    const named = checkTags(tags)
    // One after another, as handlers name them in loops.
    for (const tag of named) marks.tags.push(tag)
    noteLateCall(exchangeOf(request), { call: 'reply.cacheTags', tags: named })
  } catch (error) {
    request.log.error({ err: error }, 'reply.cacheTags was called with what is no tag: the response is not stored')
    marks.noCache = true
    noteLateCall(exchangeOf(request), { call: 'reply.cacheTags' })
  }
}

/** Notes that an error was raised: the response that is sent is the error's. */
export function markFailed (request: object, error: unknown): void {
  const { [STATE]: state, [CHANGE]: change } = request as Carrier
  if (state != null) state.failed = true
  else if (isOfValidation(error)) (request as Carrier)[INVALID] = true
  const exchange = exchangeOf(request)
  exchange?.showAll?.()
  exchange?.departure?.raised(error)
  if (change != null) change.failed = true
}

/** Fastify says so of each error that refuses a request. */
function isOfValidation (error: unknown): boolean {
  return (error as { validationContext?: unknown } | null | undefined)?.validationContext !== undefined
}

// `reply.cacheTags()` and `reply.noCache()` count until the response is given to the store: while its handler runs, in
// onSend hooks, while its stream is read. A response of which they say something later is not kept, and the log says so,
// once for each route. Of a response that is not stored (a hit, a HEAD, past the cache, refused) there is nothing to say.

/** Absent tags: it is not to be stored at all. */
interface LateCall { call: 'reply.noCache' | 'reply.cacheTags', tags?: readonly string[] }

/** Has the response not be kept where it is being stored, or was, and not so that this makes no difference. */
function noteLateCall (exchange: Exchange | null, { call, tags }: LateCall): void {
  if (exchange === null || exchange.kept === null) return
  const { kept, site, caller: { log } } = exchange
  if (tags !== undefined && without(tags, kept.tags).length === 0) return
  kept.giveUp(() => {
    if (site.isTooLate) return
    site.isTooLate = true
    log.warn(Object.assign({ route: site.policy.route, call }, tags !== undefined && { tags }), `${call}() was called when the response had ` +
      `been sent, and was on its way to the store, or there: it is not kept. ${INSTEAD[call]}`)
  })
}

const EARLIER = 'in a hook before the handler, in the handler before reply.send() or return, in an onSend hook, or while a stream is read'

const INSTEAD: Readonly<Record<LateCall['call'], string>> = {
  'reply.cacheTags': `Call it earlier: ${EARLIER}; or name tags that the request tells in the route's option: ` +
    'cache: { tags: [\'author:{id}\'] }',
  'reply.noCache': `Call it earlier: ${EARLIER}; or have the route's option tell: cache: { storeIf: (reply) => ... }`
}
