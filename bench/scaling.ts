// How the cost of a hit grows: with processes on one Redis, nodes of a Cluster, tags of an entry, and entries in Redis. What
// docs/scaling.md says was measured is printed here.
//
//   npm run bench:scaling -- [seconds a slice] [rounds] [most entries]
import type { Redis } from 'ioredis'
import { startCluster, startRedis } from '../test/helpers/redis.js'
import { Load } from './driver/load.js'
import { AskedProcess } from './driver/process.js'
import { storeCopies, storedOf } from './driver/stored.js'
import { cpuSeconds, redisUsage } from './driver/usage.js'

const [seconds = 3, rounds = 3, mostEntries = 1_000_000] = process.argv.slice(2).map(Number)
const CONNECTIONS = 64
const HOT = Array.from({ length: 16 }, (_, i) => `h1-${i}`)

interface Place { url?: string, nodes?: readonly { host: string, port: number }[], servers: readonly Redis[] }
interface Setting { name: string, place: Place, processes?: number, tags?: number, ids?: readonly string[] }
interface Running extends Setting { apps: readonly { process: AskedProcess, url: string }[], rows: number[][] }

const load = await Load.start()
try {
  await byProcesses()
  await byNodes()
  await byTags()
  await byEntries()
} finally {
  await load.stop()
}

async function start ({ place, processes = 1, tags = 1, ...setting }: Setting): Promise<Running> {
  const variant = JSON.stringify({ nodes: place.nodes, tags })
  const apps: { process: AskedProcess, url: string }[] = []
  for (let i = 0; i < processes; i++) {
    const env = place.url === undefined ? {} : { REDIS_URL: place.url }
    const { process, first } = await AskedProcess.start<{ url: string }>('subjects/scaling.js', [variant], { env })
    apps.push({ process, url: first.url })
  }
  return { ...setting, place, processes, tags, apps, rows: [] }
}

/** Requests a second, µs of CPU a request of the processes, of Redis, and its commands a request. */
async function slice ({ apps, place, ids = HOT, rows }: Running, time: number, keep = true): Promise<void> {
  const usage = async (): Promise<{ cpu: number, redis: number, commands: number }> => {
    const redis = await Promise.all(place.servers.map(redisUsage))
    const sum = (of: (one: typeof redis[number]) => number): number => redis.reduce((sum, one) => sum + of(one), 0)
    const cpu = apps.reduce((sum, { process }) => sum + cpuSeconds(process.pid), 0)
    return { cpu, redis: sum(({ cpu }) => cpu), commands: sum(({ commands }) => commands) }
  }
  const before = await usage()
  const urls = apps.map(({ url }) => url)
  const { requests, took, p99, wrong, example } = await load.steady({ urls, ids, connections: CONNECTIONS, seconds: time })
  const after = await usage()
  if (wrong > 0) throw new Error(`${wrong} wrong answers: ${example}`)
  const each = (name: 'cpu' | 'redis' | 'commands'): number => (after[name] - before[name]) / requests
  if (keep) rows.push([requests / took, each('cpu') * 1e6, each('redis') * 1e6, each('commands'), p99])
}

/** In turns, and then a row each: medians. */
async function compare (title: string, settings: readonly Setting[]): Promise<void> {
  const running: Running[] = []
  try {
    for (const setting of settings) running.push(await start(setting))
    for (const one of running) await slice(one, 1, false)
    for (let round = 0; round < rounds; round++) for (const one of running) await slice(one, seconds)
    console.log(`\n${title}\n\n| | requests/s | CPU µs | Redis CPU µs | Redis commands | p99 ms | connections |`)
    console.log('|---|---|---|---|---|---|---|')
    for (const { name, rows, place } of running) {
      const medians = [0, 1, 2, 3, 4].map((i) => rows.map((row) => row[i]!).sort((a, b) => a - b)[rows.length >> 1]!)
      const [rate, cpu, redis, commands, p99] = medians as [number, number, number, number, number]
      console.log(`| ${name} | ${Math.round(rate)} | ${cpu.toFixed(1)} | ${redis.toFixed(2)} | ${commands.toFixed(2)} | ` +
        `${p99.toFixed(1)} | ${await connectionsOf(place)} |`)
    }
  } finally {
    for (const { apps } of running) await Promise.all(apps.map(async ({ process }) => { await process.stop() }))
  }
}

/** To the first server, the measurement's own left out. */
async function connectionsOf ({ servers: [server] }: Place): Promise<number> {
  return Number(/connected_clients:(\d+)/.exec(await server!.info('clients'))![1]) - 1
}

/** Each has a Redis of its own, so that its connections and commands can be told. */
async function onServers (count: number, run: (places: Place[]) => Promise<void>): Promise<void> {
  const servers = await Promise.all(Array.from({ length: count }, async () => await startRedis()))
  try {
    await run(servers.map((server) => ({ url: server.url, servers: [server.client()] })))
  } finally {
    for (const server of servers) await server.stop()
  }
}

async function byProcesses (): Promise<void> {
  const counts = [1, 2, 4, 8]
  await onServers(counts.length, async (places) => {
    await compare('Processes on one Redis, a hit of 1 kB, one tag', counts.map((processes, i) =>
      ({ name: `${processes}`, place: places[i]!, processes })))
  })
}

async function byNodes (): Promise<void> {
  const clusters = await Promise.all([1, 2, 3, 6].map(async (primaries) => await startCluster({ primaries })))
  try {
    await onServers(1, async ([single]) => {
      await compare('Nodes, one process, a hit of 1 kB, one tag', [
        { name: 'one server', place: single! },
        ...clusters.map(({ servers }) => ({
          name: `Cluster of ${servers.length}`,
          place: {
            nodes: servers.map(({ port }) => ({ host: '127.0.0.1', port })), servers: servers.map((server) => server.client())
          }
        }))
      ])
    })
  } finally {
    for (const cluster of clusters) await cluster.stop()
  }
}

async function byTags (): Promise<void> {
  const counts = [0, 1, 10, 100, 1_000]
  await onServers(counts.length, async (places) => {
    await compare('Tags of an entry, one process on one Redis, a hit of 1 kB', counts.map((tags, i) =>
      ({ name: `${tags}`, place: places[i]!, tags })))
  })
}

async function byEntries (): Promise<void> {
  const counts = [16, 1_000, 100_000, 1_000_000].filter((count) => count <= mostEntries)
  await onServers(counts.length, async (places) => {
    const settings: Setting[] = []
    for (const [i, count] of counts.entries()) {
      const place = places[i]!
      const asked = Math.min(count, 10_000)
      const ids = Array.from({ length: asked }, (_, n) => `h1-${Math.floor(n * count / asked)}`)
      settings.push({ name: `${count}, ${Math.round(await fill(place, count))} bytes of Redis each`, place, ids })
    }
    await compare('Entries in Redis, of which 10,000 are asked for', settings)
  })
}

/** Stores so many, made of one that the app has stored. Bytes of Redis' memory an entry. */
async function fill (place: Place, count: number): Promise<number> {
  const [redis] = place.servers as [Redis]
  const { apps: [app] } = await start({ name: '', place })
  await fetch(`${app!.url}/item/h1-0`)
  await storedOf(redis, 'h1-0')
  await app!.process.stop()
  const before = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))![1])
  await storeCopies(redis, 'h1-0', Array.from({ length: count - 1 }, (_, i) => `h1-${i + 1}`))
  return (Number(/used_memory:(\d+)/.exec(await redis.info('memory'))![1]) - before) / Math.max(1, count - 1)
}
