// Names a response on its way out for caches in front of the app, by its key and all its tags. Also one that goes past the
// cache, as far as they are known: a cache in front may keep it all the same.
import { union } from '../cache/lookup.js'
import type { Entry } from '../entry/entry.js'
import type { Log } from '../telling/events.js'
import type { NamedResponse, SurrogateKeys } from '../send/surrogate-keys.js'
import type { Exchange, Served } from './exchange.js'

interface Leaving {
  reply: { request: { log: Log }, getHeader: (name: string) => unknown, header: (name: string, value: string) => unknown }
  payload: unknown
}

export function nameEntry (surrogates: SurrogateKeys, served: Served, { reply, payload }: Leaving): void {
  const { outcome: { key }, entry, tags } = served
  surrogates.put(reply, { key, tags: union(tags, entry.tags) }, { payload, log: reply.request.log })
}

export function nameAnswer (surrogates: SurrogateKeys, exchange: Exchange, { reply, payload }: Leaving): void {
  surrogates.put(reply, namedOf(exchange), { payload, log: reply.request.log })
}

function namedOf ({ named, marks }: Exchange): NamedResponse | null {
  return named === null ? null : { key: named.key, tags: union(named.tags, marks.tags) }
}

/** An entry stands in for the answer, or the answer has confirmed it: what is sent has the entry's tags, too. */
export function nameAs (exchange: Exchange, { tags }: Entry): void {
  const { named } = exchange
  if (named !== null) exchange.named = { key: named.key, tags: union(named.tags, tags) }
}
