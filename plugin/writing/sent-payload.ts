// A handler's payload as the handler gives it: neither preSerialization hooks nor the serializer nor onSend hooks have made
// something else of it. Fastify tells nobody of that: a handler's result and `reply.send` come to the same method, which is
// listened to for this one request.
import { isResponse } from '../response/payload.js'

interface ReplyView { send: (payload?: unknown) => unknown }

/** To be called before the handler. Gives, later, what was sent; undefined: nothing, or what only the client may read. */
export function watchSent (reply: ReplyView): () => unknown {
  const { send } = reply
  let sent: unknown
  const value = function (this: ReplyView, ...given: [payload?: unknown]): unknown {
    sent = given[0]
    return send.apply(this, given)
  }
  Object.defineProperty(reply, 'send', { value, configurable: true, writable: true })
  return () => isReadOnce(sent) ? undefined : sent
}

/** A stream, or a Response: to read it is to take it from the client. */
function isReadOnce (payload: unknown): boolean {
  return isResponse(payload) || (typeof payload === 'object' && payload !== null && ('pipe' in payload || 'getReader' in payload))
}
