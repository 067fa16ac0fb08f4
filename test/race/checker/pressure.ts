// Somebody else who fills a Redis with a `maxmemory`, so that it evicts: entries, leases, generations, and where its policy
// spares nothing, the floor and the clock too. What went is counted by its name.
import type { Redis } from 'ioredis'
import type { Fault, Scene } from './scene.js'

const SIZE = 4096
const AT_ONCE = 25
const PAUSE = 20
/** Far longer than anything stays. */
const LIFE = 60_000
const NAMES = 100_000

/** The names of the plugin's, by what they are for; the rest is ballast. */
const KINDS: Array<[kind: string, pattern: RegExp]> = [
  ['generations', /#tag:/],
  ['floors', /#floor$/],
  ['clocks', /#floor\}:clock$/],
  ['lastTags', /#floor\}:tags$/],
  ['leases', /^lease:/],
  ['ballast', /^(?:ballast|pressure):/]
]

export const pressure: Fault = async (scene) => {
  const evicted: Record<string, number> = { evicted: 0, entries: 0 }
  for (const [kind] of KINDS) evicted[kind] = 0
  const listeners = await Promise.all(scene.servers.map(async (server) => await listen(server.client(), (name) => {
    evicted.evicted!++
    evicted[kindOf(name)]!++
  })))
  try {
    await press(scene)
    return evicted
  } finally {
    for (const listener of listeners) listener.disconnect()
  }
}

async function press (scene: Scene): Promise<void> {
  const client = scene.redis.client()
  const value = 'x'.repeat(SIZE)
  try {
    while (!scene.isOver) {
      const names = Array.from({ length: AT_ONCE }, () => `pressure:${scene.random.below(NAMES)}`)
      // One that is refused, as nothing can be evicted, is pressure enough.
      await Promise.allSettled(names.map(async (name) => await client.set(name, value, 'PX', LIFE)))
      await scene.wait(PAUSE)
    }
  } finally {
    client.disconnect()
  }
}

async function listen (client: Redis, onEvicted: (name: string) => void): Promise<Redis> {
  await client.config('SET', 'notify-keyspace-events', 'Ee')
  client.on('message', (_channel: string, name: string) => { onEvicted(name) })
  await client.subscribe('__keyevent@0__:evicted')
  return client
}

function kindOf (name: string): string {
  return KINDS.find(([, pattern]) => pattern.test(name))?.[0] ?? 'entries'
}
