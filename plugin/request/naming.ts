// Names a response on its way out for caches in front of the app: by its key and all its tags, where the route asks for it.
// Of a response that goes past the cache, too, as far as they are known: a cache in front may keep it all the same.
import { union } from '../cache/lookup.js'
import type { Named } from '../send/surrogate-keys.js'
import type { Exchange, Served } from './exchange.js'

interface ReplyView {
  request: { log: Exchange['caller']['log'] }
  getHeader: (name: string) => unknown
  header: (name: string, value: string) => unknown
}

export function nameEntry (served: Served, reply: ReplyView, payload: unknown): void {
  const { site: { surrogates }, outcome: { key }, entry, tags } = served
  if (surrogates === null) return
  surrogates.put(reply, { key, tags: union(tags, entry.tags) }, { payload, log: reply.request.log })
}

export function nameAnswer (exchange: Exchange, reply: ReplyView, payload: unknown): void {
  const { site: { surrogates }, outcome } = exchange
  // No client gets the response of a request of our own.
  if (surrogates === null || outcome.type === 'own') return
  surrogates.put(reply, namedOf(exchange), { payload, log: reply.request.log })
}

function namedOf ({ named, marks, outcome, spare, toValidate, kept }: Exchange): Named | null {
  if (named === null) return null
  // A stale entry stands in for the answer, or the answer has confirmed it.
  const isConfirmed = outcome.type === 'miss' && outcome.revalidated === true
  const entry = outcome.type === 'stale' ? spare?.entry : isConfirmed ? toValidate?.entry : null
  const ofEntry = union(kept?.tags ?? [], entry?.tags ?? [])
  return { key: named.key, tags: union(union(named.tags, marks.tags), ofEntry) }
}
