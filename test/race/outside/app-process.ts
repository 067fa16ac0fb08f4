// The process of an app whose handlers are slow: they read a row, and answer when they are let go. Told by messages what to
// do next; it also is the database.
import { setTimeout as pause } from 'node:timers/promises'
import fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import routeCache from '../../../plugin/index.js'
import type { Call, Place } from './messages.js'

const PATIENT = { deadline: 30, writeDeadline: 30, waitTimeout: 60 }
/** Handlers that are let go early answer within this time, whenever others invalidate. */
const EARLY = 20

const { prefix, nodes, cluster } = JSON.parse(process.argv[2]!) as Place
const redis = cluster ? new Cluster(nodes) : new Redis(nodes[0]!)
const app = fastify()
await app.register(routeCache, { prefix, redis: redis as never, ...PATIENT })

const rows = new Map<string, number>()
const gates = new Map<string, () => void>()
let unread = 0
let onRead = (): void => {}

const cache = { key: 'lane:{lane}', tags: ['route:{lane}'], ttl: 600 }
app.get<{ Params: { lane: string } }>('/:lane', { cache }, async (request, reply) => {
  const { lane } = request.params
  const row = rows.get(lane) ?? 1
  reply.cacheTags(`response:${lane}`)
  if (row === 1) {
    const opened = new Promise<void>((resolve) => { gates.set(lane, resolve) })
    if (--unread === 0) onRead()
    await opened
  }
  return { row }
})
await app.ready()

const rowOf = async (lane: string): Promise<number> => (await app.inject(`/${lane}`)).json().row
let begun: Array<Promise<number>> = []

const calls: Readonly<Record<Call['do'], (lanes: string[]) => Promise<unknown>>> = {
  // All handlers have read the old row.
  begin: async (lanes) => {
    unread = lanes.length
    const read = new Promise<void>((resolve) => { onRead = resolve })
    begun = lanes.map(rowOf)
    await read
  },
  // Writes the new ones. A third of the handlers answers now, at any moment.
  write: async (lanes) => {
    for (const lane of lanes) rows.set(lane, 2)
    for (const lane of lanes) if (Math.random() < 1 / 3) pause(Math.random() * EARLY).then(() => gates.get(lane)!())
  },
  // What a request gets that begins when the invalidation has ended; then the other handlers answer.
  read: async (lanes) => {
    // These may wait for the handler that still runs, as its lease stands where a tag was invalidated.
    const reading = Promise.all(lanes.map(rowOf))
    await pause(Math.random() * EARLY)
    for (const lane of lanes) gates.get(lane)!()
    const [reads] = await Promise.all([reading, Promise.all(begun)])
    await app.cache.settled()
    const after = await Promise.all(lanes.map(rowOf))
    await app.cache.settled()
    return lanes.filter((_, i) => reads[i] !== 2 || after[i] !== 2)
  },
  end: async () => {
    await app.close()
    redis.disconnect()
    process.disconnect()
  }
}

process.on('message', ({ do: name, lanes }: Call) => {
  calls[name](lanes).then((result) => {
    if (process.connected) process.send!({ result: result ?? null })
  }, (error: Error) => { process.send!({ error: error.message }) })
})
process.send!({ result: null })
