// The cost of invalidating many entries at once: a tag of many entries, and a prefix of a million keys, while the time of
// each command in Redis is measured. On one server and on a Cluster of 3.
//
//   npm run bench:invalidation -- [entries with the tag] [keys under the prefix]
import type { Cluster, Redis } from 'ioredis'
import { encode, isValid } from '../plugin/entry/entry.js'
import { Keys } from '../plugin/store/keys.js'
import { RedisStore } from '../plugin/store/redis/redis.js'
import { startCluster, startRedis } from '../test/helpers/redis.js'

const [tagged = 100_000, prefixed = 1_000_000] = process.argv.slice(2).map(Number)
const keys = new Keys('bench')
const LIFE = 3_600_000

async function measure (what: string, client: Redis | Cluster, servers: readonly Redis[]): Promise<void> {
  await client.ping()
  const store = new RedisStore({ client, keys, writeDeadline: 60_000, now: Date.now })
  console.log(what)
  const history = (await store.read({ key: 'x', variant: null, tags: [] })).history
  const lease = await store.take('x', null, { tags: ['users'], missing: ['users'], bytes: undefined, marker: null })
  if (typeof lease === 'string') throw new Error('the lease is held')
  const bytes = encode({
    status: 200,
    headers: [['content-type', 'application/json']],
    body: Buffer.alloc(100, 'x'),
    encoded: [],
    kind: 'text',
    epoch: '',
    history,
    tags: ['users'],
    storedAt: 0,
    softenings: [],
    staleAt: LIFE,
    deadAt: LIFE,
    rescueUntil: LIFE,
    cost: 0,
    asOf: lease.asOf
  }, 'x')

  await put(client, tagged, (i) => `tagged:${i}`, bytes)
  const valid = async (): Promise<boolean> => {
    const { main, history, generations } = await store.read({ key: 'tagged:7', variant: null, tags: ['users'] })
    const entry = { status: 200, headers: [], body: main!, encoded: [], kind: 'text' as const, epoch: '', history, tags: ['users'], storedAt: 0, softenings: [], staleAt: 1, deadAt: 1, rescueUntil: 1, cost: 0 }
    return isValid({ ...entry, asOf: lease.asOf }, { history, least: 0, tags: ['users'], generations, softened: [] })
  }
  const times: number[] = []
  if (!await valid()) throw new Error('the entries are not valid')
  await reset(servers)
  for (let i = 0; i < 101; i++) {
    const began = performance.now()
    await store.invalidate({ tags: ['users'] })
    times.push(performance.now() - began)
  }
  if (await valid()) throw new Error('the entries are still valid')
  times.sort((a, b) => a - b)
  console.log(`  a tag of ${tagged} entries: median ${times[50]!.toFixed(2)} ms, max ${times[100]!.toFixed(2)} ms (101 times); ${await commands(servers)}`)

  await put(client, prefixed, (i) => `p:${i}`, bytes)
  await reset(servers)
  const began = performance.now()
  const removed = await store.invalidate({ prefixes: ['p:'] })
  const time = performance.now() - began
  console.log(`  a prefix of ${removed} keys beside ${tagged} others: ${(time / 1000).toFixed(1)} s`)
  for (const server of servers) console.log(`    ${await percentiles(server)}`)
}

async function put (client: Redis | Cluster, count: number, nameOf: (i: number) => string, bytes: Buffer): Promise<void> {
  for (let from = 0; from < count; from += 5000) {
    const batch = Array.from({ length: Math.min(5000, count - from) }, (_, i) => keys.entry(nameOf(from + i)))
    await Promise.all(batch.map(async (name) => await client.set(name, bytes, 'PX', LIFE)))
  }
}

async function reset (servers: readonly Redis[]): Promise<void> {
  for (const server of servers) {
    await server.config('RESETSTAT')
    await server.config('SET', 'slowlog-log-slower-than', '1000')
    await server.slowlog('RESET')
  }
}

async function commands (servers: readonly Redis[]): Promise<string> {
  const counts = new Map<string, number>()
  for (const server of servers) {
    for (const [, name, calls] of String(await server.info('commandstats')).matchAll(/cmdstat_(evalsha|unlink|del|scan):calls=(\d+)/g)) {
      counts.set(name!, (counts.get(name!) ?? 0) + Number(calls))
    }
  }
  return [...counts].map(([name, n]) => `${n} ${name}`).join(', ')
}

/** The server's own times, in µs, and its longest command. */
async function percentiles (server: Redis): Promise<string> {
  const stats = [...String(await server.info('latencystats')).matchAll(/usec_(scan|unlink):p50=([\d.]+),p99=([\d.]+),p99\.9=([\d.]+)/g)]
  const slow = await server.slowlog('GET', 1000) as [number, number, number, string[]][]
  const longest = Math.max(0, ...slow.map(([, , micros]) => micros))
  return `${stats.map(([, name, p50, p99, p999]) => `${name} p50 ${p50} µs, p99 ${p99} µs, p99.9 ${p999} µs`).join('; ')}; ` +
    `slower than 1 ms: ${slow.length}, the longest ${longest === 0 ? '-' : `${longest} µs`}`
}

const server = await startRedis()
try {
  const client = server.client()
  await measure('one server', client, [client])
} finally {
  await server.stop()
}
const cluster = await startCluster()
try {
  await measure('a Cluster of 3', cluster.client(), cluster.servers.map((server) => server.client()))
} finally {
  await cluster.stop()
}
