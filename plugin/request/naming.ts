// Names a response on its way out for caches in front of the app, by its key and all its tags. Also one that goes past the
// cache, as far as they are known: a cache in front may keep it all the same.
import { union } from '../cache/lookup.js'
import type { Log } from '../telling/events.js'
import type { NamedResponse, SurrogateKeys } from '../send/surrogate-keys.js'
import type { Exchange, Served } from './exchange.js'

interface Leaving {
  reply: { request: { log: Log }, getHeader: (name: string) => unknown, header: (name: string, value: string) => unknown }
  payload: unknown
}

export function nameEntry (surrogates: SurrogateKeys, { outcome: { key }, entry, tags }: Served, { reply, payload }: Leaving): void {
  surrogates.put(reply, { key, tags: union(tags, entry.tags) }, { payload, log: reply.request.log })
}

export function nameAnswer (surrogates: SurrogateKeys, exchange: Exchange, { reply, payload }: Leaving): void {
  surrogates.put(reply, namedOf(exchange), { payload, log: reply.request.log })
}

function namedOf ({ named, marks, outcome, spare, toValidate, kept }: Exchange): NamedResponse | null {
  if (named === null) return null
  const isConfirmed = outcome.type === 'miss' && outcome.revalidated === true
  // A stale entry stands in for the answer, or the answer has confirmed it.
  const entry = outcome.type === 'stale' ? spare?.entry : isConfirmed ? toValidate?.entry : null
  const ofEntry = union(kept?.tags ?? [], entry?.tags ?? [])
  return { key: named.key, tags: union(union(named.tags, marks.tags), ofEntry) }
}
