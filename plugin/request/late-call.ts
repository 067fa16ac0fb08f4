// `reply.cacheTags()` and `reply.noCache()` count until the response is given to the store: while its handler runs, in
// onSend hooks, while its stream is read. A response of which they say something later is not kept, and the log says so,
// once for each route. Of a response that is not stored (a hit, a HEAD, past the cache, refused) there is nothing to say.
import type { Exchange } from './exchange.js'
import { without } from '../cache/variant.js'

/** Absent tags: it is not to be stored at all. */
export interface LateCall { call: 'reply.noCache' | 'reply.cacheTags', tags?: readonly string[] }

/** Has the response not be kept where it is being stored, or was, and not so that this makes no difference. */
export function noteLateCall (exchange: Exchange | null | undefined, { call, tags }: LateCall): void {
  if (exchange?.kept == null) return
  const { kept, site, caller: { log } } = exchange
  if (tags !== undefined && without(tags, kept.tags).length === 0) return
  kept.giveUp(() => {
    if (site.isTooLate) return
    site.isTooLate = true
    log.warn({ route: site.policy.route, call, ...tags !== undefined && { tags } }, `${call}() was called when the response had ` +
      `been sent, and was on its way to the store, or there: it is not kept. ${INSTEAD[call]}`)
  })
}

const EARLIER = 'in a hook before the handler, in the handler before reply.send() or return, in an onSend hook, or while a stream is read'

const INSTEAD: Readonly<Record<LateCall['call'], string>> = {
  'reply.cacheTags': `Call it earlier: ${EARLIER}; or name tags that the request tells in the route's option: ` +
    'cache: { tags: [\'author:{id}\'] }',
  'reply.noCache': `Call it earlier: ${EARLIER}; or have the route's option tell: cache: { storeIf: (reply) => ... }`
}
