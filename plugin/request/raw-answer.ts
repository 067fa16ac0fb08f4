// Answers that leave past Fastify: the handler has hijacked its reply, or sends a head of its own on the raw response. No
// onSend hook tells of these, and the response may be open for hours, as server-sent events are. Nothing announces them
// either, and methods of the response are not replaced to learn of them: others would find ours in their place. So while the
// handler runs that holds a lease, its reply is looked at now and then, the less often the longer it takes.
import type { ResponseCache } from '../cache/cache.js'
import { refuseAnswer, type Exchange } from './exchange.js'
import { Backoff } from '../store/wait/backoff.js'

const PAUSES = { first: 10, longest: 200 }

/** As much of a reply as is looked at here. */
interface ReplyView {
  sent: boolean
  raw: { headersSent: boolean }
}

/** Lets everybody go who waits for this handler, as soon as it is seen that its answer will not come to be stored. */
export function watchRawAnswer (cache: ResponseCache, exchange: Exchange, reply: ReplyView): void {
  const pauses = new Backoff(PAUSES)
  const look = (): void => {
    if (exchange.captured || exchange.claim === null) return
    if (reply.sent || reply.raw.headersSent) {
      // What may be sent through Fastify behind that is a part.
      exchange.captured = true
      refuseAnswer(cache, exchange, 'raw')
      return
    }
    setTimeout(look, pauses.next()).unref()
  }
  setTimeout(look, pauses.next()).unref()
}
