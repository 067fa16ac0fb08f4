// Rounds of one race: a handler in an app's process has read the old row; the row is written; somebody outside invalidates
// it, by key, by the route's tag or by the response's; and the handler answers before, meanwhile or after. Then nobody is
// served the old row. Many rounds share an invalidation: each has a key and tags of its own.
import { startCluster, startRedis } from '../../helpers/redis.js'
import type { Named, Place } from './messages.js'
import { forked, OUTSIDERS } from './outsiders.js'

/** Rounds at a time. */
const LANES = 20

export interface RaceSettings {
  target: 'single' | 'cluster'
  outsiders: string[]
  rounds: number
  /** The limit of time for each of them, in ms. */
  time: number
}

/** `stale`: the rounds that were served the old row. */
export interface Raced { outsider: string, rounds: number, stale: string[], took: number }

/** Rejects where an invalidation failed. */
export async function raceOutside (
  { target, outsiders, rounds, time }: RaceSettings, onEnd = (_raced: Raced): void => {}
): Promise<Raced[]> {
  const servers = target === 'cluster' ? await startCluster() : await startRedis()
  const nodes = 'nodes' in servers ? servers.nodes : [{ host: servers.host, port: servers.port }]
  const all: Raced[] = []
  try {
    for (const outsider of outsiders) {
      const place = { prefix: `race-${outsider}`, nodes, cluster: target === 'cluster' }
      const raced = await raceOne(outsider, place, { rounds, time })
      onEnd(raced)
      all.push(raced)
    }
  } finally {
    await servers.stop()
  }
  return all
}

async function raceOne (name: string, place: Place, { rounds, time }: Pick<RaceSettings, 'rounds' | 'time'>): Promise<Raced> {
  const app = await forked('app-process.ts', place)
  const outsider = await OUTSIDERS[name]!(place)
  const began = performance.now()
  const stale: string[] = []
  let done = 0
  try {
    while (done < rounds && performance.now() - began < time) {
      const lanes = Array.from({ length: Math.min(LANES, rounds - done) }, (_, i) => `${done + i}`)
      await app.tell({ do: 'begin', lanes })
      await app.tell({ do: 'write', lanes })
      await outsider.invalidate(targetsOf(lanes))
      stale.push(...await app.tell({ do: 'read', lanes }) as string[])
      done += lanes.length
    }
  } finally {
    await outsider.end()
    app.child.send({ do: 'end', lanes: [] })
  }
  return { outsider: name, rounds: done, stale, took: performance.now() - began }
}

/** A third of them by key, by the route's tag, by a tag of the response. */
function targetsOf (lanes: readonly string[]): Named {
  const targets: Named = { keys: [], tags: [] }
  for (const lane of lanes) {
    if (Number(lane) % 3 === 0) targets.keys.push(`lane:${lane}`)
    else targets.tags.push(`${Number(lane) % 3 === 1 ? 'route' : 'response'}:${lane}`)
  }
  return targets
}
