// A lookup without effects, for `explain`: the same steps, with nothing counted, remembered, taken or served.
import type { ResponseCache } from '../cache/cache.js'
import type { Caller } from '../telling/events.js'
import { ownName, soundEntry, type Entry } from '../entry/entry.js'
import type { RequestView, Site } from './exchange.js'
import type { Examined } from './own-request.js'
import { flightName } from '../cache/flight.js'
import type { BypassReason } from '../telling/outcome.js'
import { select, type Wanted } from './selecting.js'
import { Stats } from '../telling/stats.js'
import type { Selected, Selection } from '../cache/claim.js'

/** The request that is examined, and its headers as they came. */
interface Examinee {
  site: Site
  request: RequestView
  headers: RequestView['headers']
}

/** Never rejects. */
export async function examine (cache: ResponseCache, { site, request, headers }: Examinee): Promise<Examined> {
  const { policy, place, counters } = site
  const examined = { ...unseen(cache), site: { policy, place, counters }, isHead: request.method === 'HEAD' }
  const caller = listener(site, (error) => { examined.error = error })
  // A copy: where the log was not told yet what to write in the policy, it will be.
  const selected = await select(cache, { site: { ...site }, caller, request, headers })
  return 'bypass' in selected ? { ...examined, bypass: selected.bypass, mark: selected.mark ?? null } : await looked(cache, examined, selected)
}

/** Examines the lookup of a key, without a route's policy. Never rejects. */
export async function examineKey (cache: ResponseCache, key: string, selection: Selection): Promise<Examined> {
  return await looked(cache, unseen(cache), { key, selection, toRefresh: false, identity: undefined })
}

function unseen (cache: ResponseCache): Examined {
  return {
    site: null,
    isHead: false,
    now: cache.now(),
    bypass: null,
    mark: null,
    error: null,
    wanted: null,
    look: null,
    present: null,
    hasFailed: false
  }
}

async function looked (cache: ResponseCache, examined: Examined, wanted: Wanted): Promise<Examined> {
  const { key, selection } = wanted
  examined.wanted = wanted
  examined.bypass = idleness(cache)
  if (examined.bypass !== null) return examined
  try {
    const look = examined.look = await cache.look(key, { ...selection, hint: { ...selection.hint } })
    const present = examined.present = presentIn(cache, look.found, key)
    examined.hasFailed = present !== null && cache.failures.has(flightName(key, look.found.variant), present)
  } catch (error) {
    examined.error = error
    examined.bypass = 'store'
  }
  return examined
}

/** Why the store is not asked now. */
function idleness ({ invalidation, breaker }: ResponseCache): BypassReason | null {
  if (!invalidation.isTold) return 'journal'
  return breaker.isOpen ? 'breaker' : null
}

/** The entry that lies where the response would; null: there is none, or it is unreadable. */
function presentIn ({ shelf }: ResponseCache, { bytes, marker, variant }: Selected, key: string): Entry | null {
  const name = ownName(key, marker === null || variant === null ? null : { variant })
  return bytes == null ? null : soundEntry({ bytes, name }, shelf.limits)
}

/** A caller whose counters nobody reads. `onError` gets the failures. */
function listener ({ source }: Site, onError: (error: unknown) => void): Caller {
  const ignore = (): void => {}
  const warn = (details: object): void => { if ('err' in details) onError(details.err) }
  return { counters: new Stats('memory', 0).values, log: { debug: ignore, info: ignore, warn, error: warn }, source }
}
