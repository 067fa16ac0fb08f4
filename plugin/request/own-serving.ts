// A request of our own, where a client's lookup stands: see own-request.ts for what each is for.
import { HEADERS, type Carrier } from './carrier.js'
import { channels, stamp } from '../telling/events.js'
import { examine } from './examination.js'
import { abandon, refuseAnswer, type RequestView, type Site } from './exchange.js'
import { adopt, search } from './search.js'
import { begin, failedToSend, watchEnd, type Engine, type Waiting } from './serving.js'
import type { Ticket } from './own-request.js'

interface Own extends Waiting { ticket: Ticket }

/** Goes on under the ticket's right to fill; or answers, to nobody, where the request can't use it. */
function fulfil ({ cache }: Engine, site: Site, { request, reply, ticket, proceed }: Own): void {
  const exchange = begin(site, { request, reply })
  adopt(cache, exchange, { request: request as RequestView, ticket }).then((isOurs) => {
    if (isOurs) {
      ticket.giveUp = () => { abandon(cache, exchange, true) }
      watchEnd(cache, exchange, reply)
    }
    if (reply.sent) return
    if (!isOurs) return reply.code(409).send()
    if (ticket.why === 'refresh') exchange.handlerBegan = stamp(channels.handler)
    proceed()
  }).catch((error: unknown) => { reply.send(error) })
}

/** Of a warm-up: has the handler run where what it answers can be stored, and else answers at once. */
function warm ({ cache }: Engine, site: Site, { request, reply, ticket, proceed }: Own): void {
  const exchange = begin(site, { request, reply })
  ticket.outcome = () => exchange.outcome
  search(cache, exchange, { request: request as RequestView, onlyFresh: true }).then(() => {
    if (exchange.claim !== null) {
      ticket.giveUp = () => { abandon(cache, exchange) }
      watchEnd(cache, exchange, reply)
      if (reply.sent) return
      exchange.handlerBegan = stamp(channels.handler)
      proceed()
    } else if (!exchange.captured && !reply.sent) {
      // This is no answer of the handler's.
      exchange.captured = true
      refuseAnswer(cache, exchange, exchange.unclaimed)
      reply.code(204).send()
    }
  }).catch((error: unknown) => { failedToSend({ request, reply }, error) })
}

/** Of an explanation: says what the lookup would find, and answers at once. */
function explain ({ cache }: Engine, site: Site, { request, reply, ticket }: Own): void {
  const headers = (request as Carrier)[HEADERS] ?? request.headers
  examine(cache, { site, request: request as RequestView, headers }).then((examined) => {
    ticket.examined = examined
    if (!reply.sent) reply.code(204).send()
  }).catch((error: unknown) => { reply.send(error) })
}

const WAYS = { set: fulfil, refresh: fulfil, warm, explain }

/** Where its lookup would stand. */
export function serveOwn (engine: Engine, site: Site, own: Own): void {
  WAYS[own.ticket.why](engine, site, own)
}
