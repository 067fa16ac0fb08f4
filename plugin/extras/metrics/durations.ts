// From the cache's events to durations, as the histograms have them.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { CacheEvents } from '../../index.js'
import type { Plan } from './budget.js'
import { VALUES, type Labels, type Timed } from './instruments.js'

/** Hears of each duration, in seconds. Must not throw: see the head of events.ts. */
type Hear = (what: Timed, labels: Labels, seconds: number) => void

type Label<What extends Timed> = (event: CacheEvents[What], hasRoute: boolean) => Labels

const labelsOf: { [What in Timed]: Label<What> } = {
  lookup: ({ route, outcome: { type: outcome } }, hasRoute) => hasRoute ? { route: route ?? VALUES, outcome } : { outcome },
  handler: ofRoute,
  fill: ofRoute,
  invalidation: () => ({})
}

function ofRoute ({ route }: { route: string | null }, hasRoute: boolean): Labels {
  return hasRoute ? { route: route ?? VALUES } : {}
}

/** Calls `hear` with each duration of this cache that is planned, until the function that it returns is called. */
export function hearDurations (cache: object, { timings }: Plan, hear: Hear): () => void {
  const timed = <What extends Timed>(what: What): () => void => {
    const timing = timings[what]
    if (timing === undefined) return () => {}
    const hasRoute = timing.labels.includes('route')
    return listen(what, (event) => {
      const { cache: teller, duration } = event
      if (teller === cache && duration !== null) hear(what, labelsOf[what](event, hasRoute), duration / 1000)
    })
  }
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
