// What a hit, a miss and its fill cost Redis: round trips, and the commands that the server counted, scripts' own included.
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'
import { startCluster, startRedis } from '../helpers/redis.js'

type Client = Redis | Cluster
type Counts = Record<string, number>
interface Cost { trips: number, commands: Counts }

/** Trips: how often something was sent while nothing was under way. */
function countTrips (client: Client): () => number {
  const send = client.sendCommand.bind(client) as (...args: unknown[]) => Promise<unknown>
  let trips = 0
  let open = 0
  const done = (): void => { open-- }
  client.sendCommand = ((...args: unknown[]) => {
    if (open++ === 0) trips++
    const sent = send(...args)
    Promise.resolve(sent).then(done, done)
    return sent
  }) as typeof client.sendCommand
  return () => trips
}

/** What the servers counted, but for the asking itself. */
async function commandsOf (servers: readonly Redis[]): Promise<Counts> {
  const counts: Counts = {}
  for (const server of servers) {
    for (const [, name, calls] of String(await server.info('commandstats')).matchAll(/cmdstat_(\w+):calls=(\d+)/g)) {
      if (name !== 'info' && name !== 'config') counts[name!] = (counts[name!] ?? 0) + Number(calls)
    }
  }
  return counts
}

interface Measured { servers: readonly Redis[], trips: () => number }

async function cost (app: CachedApp, url: string, { servers, trips }: Measured): Promise<Cost> {
  for (const server of servers) await server.config('RESETSTAT')
  const before = trips()
  await app.inject(url)
  await settled(app)
  await app.cache.settled()
  return { trips: trips() - before, commands: await commandsOf(servers) }
}

interface Expected {
  hit: Cost
  /** A hit where a miss was likely. */
  surprise: Cost
  miss: Cost
  /** A miss where a miss was likely. */
  likely: Cost
  first: Cost
}

type Expect = (tags: number) => Expected

async function costs (t: Test, client: Client, servers: readonly Redis[], expected: Expect): Promise<void> {
  const trips = countTrips(client)
  const app = await cachedApp(t, { redis: client })
  for (const tags of [0, 1, 3]) {
    const names = Array.from({ length: tags }, (_, i) => `tag-${i}`)
    app.get(`/${tags}/:id`, { cache: { key: `${tags}:{id}`, tags: names } }, async () => 'x')
  }
  app.get('/named', { cache: { key: 'named' } }, async (_, reply) => reply.cacheTags('named').send('x'))
  await app.ready()
  // Every node is connected, and knows every script.
  for (let i = 0; i < 60; i++) {
    // A hit among the misses, where a miss is likely.
    for (const tags of [0, 1, 3]) await app.inject(`/${tags}/warm-${i === 30 ? 0 : i}`)
    await settled(app)
  }
  for (const tags of [0, 1, 3]) {
    const { hit, surprise, miss, likely } = expected(tags)
    const measured = { servers, trips }
    t.strictSame(await cost(app, `/${tags}/1`, measured), likely, `${tags} tags: a miss behind many, its generations there, and its fill`)
    t.strictSame(await cost(app, `/${tags}/1`, measured), surprise, `${tags} tags: a hit behind many misses`)
    t.strictSame(await cost(app, `/${tags}/1`, measured), hit, `${tags} tags: a hit`)
    await client.unlink(`cache:${tags}:1`)
    t.strictSame(await cost(app, `/${tags}/1`, measured), miss, `${tags} tags: a miss behind a hit, and its fill`)
    if (tags === 0) continue
    const name = `cache#tag:tag-${tags - 1}`
    await client.del(name)
    t.strictSame(await cost(app, `/${tags}/2`, measured), expected(tags).first, `${tags} tags: a miss that creates a generation`)
  }
  await app.inject('/named')
  await settled(app)
  const { trips: forNamed } = await cost(app, '/named', { servers, trips })
  t.equal(forNamed, 1, 'a hit with a tag that only the handler named')
}

/** No lease is taken with a read of several servers. */
function alike<One extends string, Other extends string> (one: One, other: Other, cost: Cost): Record<One | Other, Cost> {
  return { [one]: cost, [other]: cost } as Record<One | Other, Cost>
}

t.test('one server', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const [client, other] = [server.client(), server.client()]
  await Promise.all([client.ping(), other.ping()])
  await costs(t, client, [other], () => ({
    hit: { trips: 1, commands: { mget: 1 } },
    // set of the lease and mget, together; RELEASE (get, del).
    surprise: { trips: 2, commands: { mget: 1, evalsha: 1, get: 1, set: 1, del: 1 } },
    // mget; TAKE (set, pttl); FILL (get, set, del).
    miss: { trips: 3, commands: { mget: 1, evalsha: 2, get: 1, pttl: 1, set: 2, del: 1 } },
    // set of the lease and mget, together; FILL.
    likely: { trips: 2, commands: { mget: 1, evalsha: 1, get: 1, set: 2, del: 1 } },
    // CREATE: time, get and set of the clock, get and set of the generation; get of the clock; beside FILL, EXTEND: pttl.
    first: { trips: 4, commands: { mget: 1, evalsha: 4, time: 1, get: 5, set: 4, del: 1, pttl: 2, pexpire: 1 } }
  }))
})

t.test('a Cluster of 3', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  await client.ping()
  const servers = cluster.servers.map((server) => server.client())
  await Promise.all(servers.map(async (server) => await server.ping()))
  await costs(t, client, servers, (tags) => ({
    // Entry, floor, and each generation, side by side.
    ...alike('hit', 'surprise', { trips: 1, commands: { get: 2 + tags } }),
    ...alike('miss', 'likely', { trips: 3, commands: { get: 4 + tags, evalsha: 2, pttl: 1, set: 2, del: 1 } }),
    // And before CREATE, RESERVE (get, set), behind it SETTLE (get, set).
    first: {
      trips: 6,
      commands: { get: 8 + tags, evalsha: 6, time: 1, set: 5, del: 1, pttl: 2, pexpire: 1 }
    }
  }))
})
