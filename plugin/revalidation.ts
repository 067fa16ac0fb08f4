// What the handler is asked that runs for the cache.
import type { Exchange } from './exchange.js'
import type { Asked } from './handler-view.js'
import { isConditional } from './http/conditional.js'

/** The conditional fields that the handler is to see; null: those that came. */
export function askedOf ({ site: { policy }, headers }: Exchange): Asked | null {
  return policy.isForHandler || !isConditional(headers) ? null : {}
}
