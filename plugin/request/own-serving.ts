// An internal request, where a client's lookup stands: see own-request.ts for the purpose of each.
import type { ResponseCache } from '../cache/cache.js'
import type { Right } from '../cache/claim.js'
import { VERSION } from '../cache/lookup.js'
import { refuse, channels, stamp } from '../telling/events.js'
import type { RefusalReason } from '../telling/outcome.js'
import {
  HEADERS, openOn, abandonFill, isAnswered, refuseAnswer, type Carrier, type Exchange, type RequestView, type Site
} from './exchange.js'
import { examine } from './examination.js'
import { failedToSend, type Engine, type Waiting } from './hit.js'
import { search, watchEnd } from './miss.js'
import type { Ticket } from './own-request.js'
import { toValidate } from './revalidation.js'
import { select } from './selecting.js'

interface Own extends Waiting { ticket: Ticket }

/** Goes on under the ticket's right to fill; or answers, to nobody, where the request can't use it. */
function fulfil ({ cache }: Engine, site: Site, { request, reply, ticket, proceed }: Own): void {
  const exchange = openOn(site, { request, reply })
  adopt(cache, exchange, ticket).then((isOurs) => {
    if (isOurs) {
      ticket.giveUp = () => { abandonFill(cache, exchange, true) }
      watchEnd(cache, exchange, reply)
    }
    if (reply.sent) return
    if (!isOurs) return reply.code(409).send()
    if (ticket.why === 'refresh') exchange.handlerBegan = stamp(channels.handler)
    proceed()
  }).catch((error: unknown) => { reply.send(error) })
}

/** An internal request takes the right to fill that it came with; false: it can't use the right. Never rejects. */
async function adopt (cache: ResponseCache, exchange: Exchange, ticket: Ticket): Promise<boolean> {
  const selected = await select(cache, exchange)
  const { right, why } = ticket
  // A time-out has answered meanwhile: `OwnRequests` gives it back.
  if (right === null || isAnswered(exchange)) return false
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
  exchange.stage = 'missed'
  exchange.outcome = { type: 'own', key, why }
  exchange.claim = { ...right, selection }
  exchange.toValidate = ticket.present === null ? null : toValidate(exchange, ticket.present)
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

/** A warm-up runs the handler if its answer can be stored; if not, it is answered at once. */
function warm ({ cache }: Engine, site: Site, { request, reply, ticket, proceed }: Own): void {
  const exchange = openOn(site, { request, reply })
  ticket.outcome = () => exchange.outcome
  search(cache, exchange, { onlyFresh: true }).then(() => {
    if (exchange.claim !== null) {
      ticket.giveUp = () => { abandonFill(cache, exchange) }
      watchEnd(cache, exchange, reply)
      if (reply.sent) return
      exchange.handlerBegan = stamp(channels.handler)
      proceed()
    } else if (!isAnswered(exchange) && !reply.sent) {
      // This is no answer of the handler's.
      exchange.stage = 'captured'
      refuseAnswer(cache, exchange, exchange.unclaimed)
      reply.code(204).send()
    }
  }).catch((error: unknown) => { failedToSend({ request, reply }, error) })
}

/** An explanation examines the lookup, and is answered at once. */
function explain ({ cache }: Engine, site: Site, { request, reply, ticket }: Own): void {
  const headers = (request as Carrier)[HEADERS] ?? request.headers
  examine(cache, { site, request: request as RequestView, headers }).then((examined) => {
    ticket.examined = examined
    if (!reply.sent) reply.code(204).send()
  }).catch((error: unknown) => { reply.send(error) })
}

const WAYS = { set: fulfil, refresh: fulfil, warm, explain }

/** The place where its lookup would stand. */
export function serveOwn (engine: Engine, site: Site, own: Own): void {
  WAYS[own.ticket.why](engine, site, own)
}
