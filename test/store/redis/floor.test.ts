// A server that comes back with an older memory: what was invalidated lies there again, and must not be served. Nor may a
// failover, or an answer of a server that nobody knows yet.
import type { Cluster, Redis } from 'ioredis'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore, type RedisStoreOptions } from '../../../plugin/store/redis/redis.js'
import type { Lease, Store } from '../../../plugin/store/store.js'
import { cachedApp, settled, type CachedApp } from '../../helpers/app.js'
import { startCluster, startRedis, type RedisServer } from '../../helpers/redis.js'
import { leaseOf, NOTHING_SEEN } from '../../helpers/plain-store.js'
import { actors } from '../tag-contract.js'

const WRITE_DEADLINE = 5_000
const SNAPSHOT = ['--dbfilename', 'dump.rdb']

function storeOf (client: RedisClient, options: Partial<RedisStoreOptions> = {}): RedisStore {
  return new RedisStore({ client, keys: new Keys('shop'), writeDeadline: WRITE_DEADLINE, now: Date.now, ...options })
}

async function ready<Client extends Redis | Cluster> (client: Client): Promise<Client> {
  await client.ping()
  return client
}

async function withRedis (t: Test): Promise<RedisServer> {
  const server = await startRedis({ args: SNAPSHOT })
  t.teardown(async () => { await server.stop() })
  return server
}

/** The server dies and comes back as it was at its last SAVE; resolves when the client is connected again. */
async function reborn (server: RedisServer, client: Redis): Promise<void> {
  const closed = new Promise((resolve) => client.once('close', resolve))
  await server.kill()
  await closed
  const connected = new Promise((resolve) => client.once('ready', resolve))
  await server.restart()
  await connected
}

const INVALIDATIONS: Record<string, (store: Store) => Promise<unknown>> = {
  'its key': async (store) => await store.invalidate({ keys: ['user:1'] }),
  'its prefix': async (store) => await store.invalidate({ prefixes: ['user:'] }),
  'its tag': async (store) => { await store.invalidate({ tags: ['users'] }) },
  everything: async (store) => { await store.invalidate({ all: true }) }
}

for (const [what, invalidate] of Object.entries(INVALIDATIONS)) {
  t.test(`restarted from a snapshot, what was invalidated since is not served: ${what}`, async (t) => {
    const server = await withRedis(t)
    const client = await ready(server.client())
    const store = storeOf(client)
    const { start, end, isServed } = actors(store)
    const old = await start('user:1', ['users'])
    t.equal(await end(old), 'stored')
    t.equal(await isServed(old), true)
    await client.save()
    await invalidate(store)
    t.equal(await isServed(old), false)

    await reborn(server, client)
    t.equal(await client.exists('shop:user:1'), 1, 'it lies there again')
    t.equal(await isServed(old), false, 'by who was connected before')
    t.equal(await actors(storeOf(await ready(server.client()))).isServed(old), false, 'by who comes anew')
    const next = await start('user:1', ['users'])
    t.equal(await end(next), 'stored')
    t.equal(await isServed(next), true, 'and caching goes on')
  })
}

t.test('an answer to a question from before the restart does not count', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  const store = storeOf(client)
  const { start, end, isServed } = actors(store)
  const old = await start('user:1', ['users'])
  await end(old)
  await client.save()
  await store.invalidate({ keys: ['user:1'] })
  await server.pause()
  const asked = [
    store.read({ key: 'user:1', variant: null, tags: ['users'] }), store.generations(['users']),
    store.read({ key: 'user:1', variant: 'de', tags: [] })
  ]
  const outcomes = Promise.allSettled(asked)
  await reborn(server, client)
  t.match(await outcomes, Array(3).fill({ status: 'rejected', reason: { code: 'FRC_STORE', message: /servers changed/ } }))
  t.equal(await isServed(old), false)
})

t.test('a lease from before the restart fills nothing that is served', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  const { start, end, isServed } = actors(storeOf(client))
  const slow = await start('user:1', ['users'])
  await client.save()
  await storeOf(await ready(server.client())).invalidate({ keys: ['user:1'] })
  await reborn(server, client)
  t.equal(await end(slow), 'stored', 'the lease is there again')
  t.equal(await isServed(slow), false)
})

t.test('FLUSHALL, and a floor or clock of nobody', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  const store = storeOf(client)
  const { start, end, isServed } = actors(store)
  const old = await start('user:1', ['users'])
  await end(old)
  const entry = await client.getBuffer('shop:user:1')
  const generation = await client.get('shop#tag:users')
  await client.flushall()
  await client.mset('shop:user:1', entry!, 'shop#tag:users', generation!)
  t.equal(await isServed(old), false, 'restored by somebody, it is of another history')
  const next = await start('user:1', ['users'])
  await end(next)
  t.equal(await isServed(next), true)
  t.equal(await isServed(old), false)
  const floor = await client.get('shop#floor')
  await storeOf(await ready(server.client())).connect()
  t.equal(await client.get('shop#floor'), floor, 'who comes anew keeps it')
})

t.test('trustFailover: a server that comes back is taken at its word', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  const { start, end, isServed } = actors(storeOf(client, { trustFailover: true }))
  const kept = await start('user:1', ['users'])
  await end(kept)
  await client.save()
  await reborn(server, client)
  t.equal(await isServed(kept), true)
  t.equal(await actors(storeOf(await ready(server.client()), { trustFailover: true })).isServed(kept), true)
})

t.test('an app serves nothing of before the restart, also where it was there before', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  let name = 'old'
  const open = async (redis: Redis): Promise<CachedApp> => {
    const app = await cachedApp(t, { redis })
    app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => name)
    return app
  }
  const app = await open(client)
  await app.inject('/')
  await settled(app)
  t.match((await app.inject('/')).headers['cache-status'], /hit/)
  await client.save()
  name = 'new'
  await app.cache.invalidate({ tags: ['t'] })
  await reborn(server, client)
  t.equal((await app.inject('/')).body, 'new')
  await settled(app)
  t.match(await app.inject('/'), { body: 'new', headers: { 'cache-status': /hit/ } })
  t.match(await (await open(await ready(server.client()))).inject('/'), { body: 'new', headers: { 'cache-status': /hit/ } })
  t.match(app.cache.stats().total, { outdated: 1, errors: 0 })
})

t.test('replicas', async (t) => {
  const [primary, replica] = await Promise.all([startRedis(), startRedis()])
  t.teardown(async () => { await Promise.all([primary.stop(), replica.stop()]) })
  const client = await ready(primary.client())
  const behind = await ready(replica.client())
  await behind.replicaof(primary.host, primary.port)
  const invalidateWaiting = async (waitForReplicas: number, writeDeadline = 500): Promise<void> => {
    const store = storeOf(client, { waitForReplicas, writeDeadline })
    await store.invalidate({ keys: ['k'] })
    await store.invalidate({ tags: ['t'] })
    await store.invalidate({ prefixes: ['p'] })
    await store.invalidate({ all: true })
  }
  while (await client.wait(1, 1_000) !== 1);

  await t.test('are not read from', async (t) => {
    const store = storeOf(behind)
    await t.rejects(store.connect(), { code: 'FRC_STORE', message: /replica/ })
    await t.rejects(store.read({ key: 'k', variant: null, tags: [] }), { code: 'FRC_STORE', message: /replica/ })
    const app = await cachedApp(t, { redis: behind })
    app.get('/', { cache: { key: 'k' } }, async () => 'x')
    t.match(await app.inject('/'), { statusCode: 200, headers: { 'cache-status': /bypass; detail=store/ } })
  })

  await t.test('are waited for', async (t) => {
    await invalidateWaiting(1, WRITE_DEADLINE)
    t.equal(await behind.get('shop#floor'), await client.get('shop#floor'))
    await t.rejects(invalidateWaiting(2), { code: 'FRC_REPLICAS', message: /of 2 replicas only 1/ })
  })

  await t.test('and one that stands still is said so', async (t) => {
    await replica.pause()
    const store = storeOf(client, { waitForReplicas: 1, writeDeadline: 500 })
    const { start, end } = actors(store)
    // The first has something to remove: what removes nothing has nothing to wait for.
    t.equal(await end(await start('user:1')), 'stored')
    for (const [what, invalidate] of Object.entries(INVALIDATIONS)) {
      await t.rejects(invalidate(store), { code: 'FRC_REPLICAS', message: /of 1 replicas only 0/ }, what)
    }
    replica.resume()
  })

  await t.test('as is one that is not there', async (t) => {
    await behind.replicaof('NO', 'ONE')
    while (!(await client.info('replication')).includes('connected_slaves:0'));
    await t.rejects(invalidateWaiting(1), { code: 'FRC_REPLICAS', message: /of 1 replicas only 0/ })
  })
})

t.test('a primary that is made a replica while its connections stay', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  let now = 0
  const store = storeOf(client, { now: () => now })
  const { start, end, isServed } = actors(store)
  const old = await start('user:1')
  await end(old)
  t.equal(await isServed(old), true)
  // Of itself, so that it has no primary to hear the truth from.
  await client.replicaof(server.host, server.port)
  now += 1_000
  await t.rejects(isServed(old), { code: 'FRC_STORE', message: /servers changed/ }, 'is found out within a second')
  await t.rejects(isServed(old), { code: 'FRC_STORE', message: /replica/ }, 'and not read from')
  await client.replicaof('NO', 'ONE')
  t.equal(await isServed(old), false, 'what it has missed is not known')

  const next = await start('user:1')
  await end(next)
  await client.replicaof(server.host, server.port)
  await client.replicaof('NO', 'ONE')
  now += 1_000
  await t.rejects(isServed(next), { code: 'FRC_STORE', message: /servers changed/ }, 'nor when it is a primary again by then')
  t.equal(await isServed(next), false)
})

/** All that is written for the cache: each may be what is refused first. */
const WRITES: Record<string, (store: Store, lease: Lease) => Promise<unknown>> = {
  ...INVALIDATIONS,
  'its key is softened': async (store) => await store.soften({ keys: ['user:1'], tags: [] }),
  'its tag is softened': async (store) => await store.soften({ keys: [], tags: ['users'] }),
  'its key is put in quarantine': async (store) => await store.quarantine({ keys: ['user:1'], tags: [] }, 'token', 1_000),
  'its tag is put in quarantine': async (store) => await store.quarantine({ keys: [], tags: ['users'] }, 'token', 1_000),
  'a lease is taken': async (store) => await store.take('other', null, NOTHING_SEEN),
  'a lease is seized': async (store) => await store.seize('other'),
  'a lease is renewed': async (store, lease) => await store.renew('leased', lease),
  'a lease is given back': async (store, lease) => { await store.release('leased', lease) },
  'a response is stored': async (store, lease) =>
    await store.fill('leased', lease, { bytes: Buffer.from('x'), life: 1_000, varied: null, tags: [], unreadTags: [] }),
  'a generation is created': async (store) => await store.take('other', null, { ...NOTHING_SEEN, missing: ['unknown'] })
}

t.test('a primary that was made a replica refuses a write: it is not read from any more', async (t) => {
  const server = await withRedis(t)
  const client = await ready(server.client())
  for (const [what, write] of Object.entries(WRITES)) {
    // No time passes: only what it says tells.
    const store = storeOf(client, { now: () => 0, keys: new Keys(`shop-${Object.keys(WRITES).indexOf(what)}`) })
    const { start, end, isServed } = actors(store)
    const old = await start('user:1', ['users'])
    t.equal(await end(old), 'stored')
    const lease = leaseOf(await store.take('leased', null, NOTHING_SEEN))
    t.equal(await isServed(old), true)
    await client.replicaof(server.host, server.port)
    t.equal(await isServed(old), true, 'nobody has written yet')
    await t.rejects(write(store, lease!), /READONLY/, what)
    await t.rejects(isServed(old), { code: 'FRC_STORE', message: /replica/ }, what)
    await client.replicaof('NO', 'ONE')
    store.close()
  }
})

t.test('a replica of a Cluster takes over', async (t) => {
  const cluster = await startCluster({ replicas: 1, nodeTimeout: 1_000 })
  t.teardown(async () => { await cluster.stop() })
  const [before, other] = await Promise.all([ready(cluster.client()), ready(cluster.client())])
  const users = Array.from({ length: 30 }, (_, i) => i)
  const rows = new Map<string, number>()
  const open = async (redis: Cluster): Promise<CachedApp> => {
    const app = await cachedApp(t, { redis, deadline: '1s', writeDeadline: '10s', waitTimeout: 0.5 })
    app.get('/:id', { cache: { key: 'user:{id}', tags: ['users', 'user:{id}'], ttl: 600 } }, async ({ params }) =>
      rows.get((params as { id: string }).id) ?? 0)
    return app
  }
  const [app, invalidator] = await Promise.all([open(before), open(other)])
  const problems: string[] = []
  const ask = async (): Promise<number> => {
    const answers = await Promise.all(users.map(async (id) => ({ id, answer: await app.inject(`/${id}`) })))
    for (const { id, answer } of answers) {
      const right = rows.get(`${id}`) ?? 0
      if (answer.statusCode !== 200 || answer.body !== `${right}`) {
        problems.push(`/${id} ${answer.statusCode} ${answer.body} not ${right} ${String(answer.headers['cache-status'])}`)
      }
    }
    return answers.filter(({ answer }) => String(answer.headers['cache-status']).includes('hit')).length
  }
  while (await ask() < users.length);

  // The replicas stand still and have no link: what follows is lost to them.
  const replicas = cluster.servers.slice(3)
  await Promise.all(replicas.map(async (server) => { await server.pause() }))
  const primaries = cluster.servers.slice(0, 3).map((server) => server.client())
  await Promise.all(primaries.map(async (primary) => await primary.call('CLIENT', 'KILL', 'TYPE', 'replica')))
  for (const id of users) rows.set(`${id}`, 1)
  await invalidator.cache.invalidate({ keys: users.slice(0, 10).map((id) => `user:${id}`), tags: users.slice(10).map((id) => `user:${id}`) })
  t.strictSame(problems, [])
  await cluster.servers[0]!.kill()
  for (const server of replicas) server.resume()

  const until = performance.now() + 90_000
  let hits = 0
  while (hits < users.length && performance.now() < until) {
    hits = await ask()
    // Requests that go past the cache wait for nothing: sockets need their turn.
    await turn()
  }
  t.equal(hits, users.length, 'caching works again')
  t.strictSame(problems, [], 'nothing older was served, and no request failed')
  for (const id of users) rows.set(`${id}`, 2)
  await app.cache.invalidate({ tags: ['users'] })
  await ask()
  t.strictSame(problems, [])
})
