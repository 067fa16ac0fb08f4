// From the cache's events to durations, as the histograms have them.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { CacheEvents } from '../../index.js'
import { VALUES, type Labels, type timings } from './instruments.js'

type Timed = keyof typeof timings

/** Hears of each duration, in seconds. Must not throw: see the head of events.ts. */
type Hear = (what: Timed, labels: Labels, seconds: number) => void

const labelsOf: { [What in Timed]: (event: CacheEvents[What]) => Labels } = {
  lookup: ({ route, outcome }) => ({ route: route ?? VALUES, outcome: outcome.type }),
  handler: ({ route }) => ({ route: route ?? VALUES }),
  fill: ({ route }) => ({ route: route ?? VALUES }),
  invalidation: () => ({})
}

/** Calls `hear` with each duration of this cache, until the function that it returns is called. */
export function hearDurations (cache: object, hear: Hear): () => void {
  const timed = <What extends Timed>(what: What): () => void => listen(what, (event) => {
    const { cache: teller, duration } = event
    if (teller === cache && duration !== null) hear(what, labelsOf[what](event), duration / 1000)
  })
  const ends = [timed('lookup'), timed('handler'), timed('fill'), timed('invalidation')]
  return () => { for (const end of ends) end() }
}

/** Until the function that it returns is called. */
export function listen<What extends keyof CacheEvents> (what: What, hear: (event: CacheEvents[What]) => void): () => void {
  const name = `fastify-route-cache:${what}`
  const listener = (message: unknown): void => { hear(message as CacheEvents[What]) }
  subscribe(name, listener)
  return () => { unsubscribe(name, listener) }
}
