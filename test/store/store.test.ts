// One contract, every store: in this process, on one Redis (also through a client with a keyPrefix), on a Cluster.
import type { Cluster, Redis } from 'ioredis'
import t from 'tap'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { LEASE_TIME, PASS_TIME } from '../../plugin/store/store.js'
import { Keys } from '../../plugin/store/keys.js'
import { MemoryStore } from '../../plugin/store/memory/memory.js'
import { RedisStore } from '../../plugin/store/redis/redis.js'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { plain } from '../helpers/plain-store.js'
import { startCluster, startRedis } from '../helpers/redis.js'
import { contract } from './contract.js'

const WRITE_DEADLINE = 20_000
const redisStore = (client: RedisClient, prefix = 'shop'): RedisStore =>
  new RedisStore({ client, keys: new Keys(prefix), writeDeadline: WRITE_DEADLINE, now: Date.now })
/** The store doesn't wait for a client that is still connecting: a request could not either. */
const ready = async <Client extends Redis | Cluster>(client: Client): Promise<Client> => {
  await client.ping()
  return client
}

t.test('memory', async (t) => {
  await contract(t, new MemoryStore({ maxBytes: 10_000_000, now: Date.now }))
})

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = await ready(server.client())

  await contract(t, redisStore(client))
  await t.test('through a client with a keyPrefix', async (t) => {
    await client.flushall()
    await contract(t, redisStore(await ready(server.client({ keyPrefix: 'app*{x}:' }))))
    t.ok((await client.keys('*')).every((name) => name.startsWith('app*{x}:')), 'all names are under it')
  })

  await t.test('names are readable, and entries and leases end by themselves', async (t) => {
    await client.flushall()
    const store = plain(redisStore(client))
    const lease = await store.take('user:1')
    t.strictSame(await client.keys('*user*'), ['lease:{shop:user:1}'])
    const lasts = await client.pttl('lease:{shop:user:1}')
    t.ok(lasts > 0 && lasts <= LEASE_TIME, `the lease: ${lasts} ms`)
    await store.fill('user:1', lease!, { bytes: Buffer.from('x'), life: 60_000 })
    t.strictSame(await client.keys('*user*'), ['shop:user:1'])
    const left = await client.pttl('shop:user:1')
    t.ok(left > 50_000 && left <= 60_000, `${left} ms`)
  })

  await t.test('two prefixes never meet', async (t) => {
    const [one, other] = [plain(redisStore(client, 'shop')), plain(redisStore(client, 'shop2'))]
    for (const store of [one, other]) {
      await store.fill('user:1', (await store.take('user:1'))!, { bytes: Buffer.from('x'), life: 60_000 })
    }
    await one.invalidate({ prefixes: ['u'] })
    await one.invalidate({ keys: ['user:1'] })
    t.strictSame([await one.read('user:1'), String(await other.read('user:1'))], [null, 'x'])
  })

  await t.test('a server that forgot the scripts is told them again', async (t) => {
    const store = plain(redisStore(client))
    const lease = await store.take('forgot')
    await client.script('FLUSH')
    t.equal(await store.fill('forgot', lease!, { bytes: Buffer.from('x'), life: 60_000 }), 'stored')
  })
})

t.test('cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  await contract(t, redisStore(await ready(cluster.client())))
  t.throws(() => redisStore(cluster.client({ keyPrefix: 'app:' })), { code: 'FRC_OPTION', message: /keyPrefix "app:"/ })
  t.throws(() => redisStore(cluster.client({ redisOptions: { stringNumbers: true } })), { code: 'FRC_OPTION', message: /stringNumbers/ })
})

t.test('memory is bounded, and ends entries by the clock it is given', async (t) => {
  let now = 1_000
  const store = plain(new MemoryStore({ maxBytes: 12_000, now: () => now }))
  const put = async (key: string, bytes: Buffer, life = 100): Promise<string> =>
    await store.fill(key, (await store.take(key))!, { bytes, life })

  t.equal(await put('a', Buffer.alloc(4_000)), 'stored')
  t.equal(await put('b', Buffer.alloc(4_000)), 'stored')
  await store.read('a')
  t.equal(await put('c', Buffer.alloc(4_000)), 'stored')
  t.strictSame([await store.read('a') !== null, await store.read('b'), await store.read('c') !== null], [true, null, true],
    'the least recently used one went')
  t.equal(await put('d', Buffer.alloc(12_001)), 'too-large')
  t.not(await store.read('a'), null, 'what is too large displaces nothing')
  now += 100
  t.equal(await store.read('a'), null, 'its life has ended')
  t.equal(await store.invalidate({ keys: ['c'] }), 0, 'what has ended is not counted')
  for (let i = 0; i < 1_000; i++) await put(`${i}`, Buffer.alloc(1_000))
  t.not(await store.read('999'), null, 'no room was lost by all that')

  const lease = await store.take('slow')
  now += LEASE_TIME
  t.equal(await store.fill('slow', lease!, { bytes: Buffer.alloc(1), life: 100 }), 'lost', 'the lease has ended')
})

t.test('memory keeps nothing of keys that are not shareable and that nobody asks for again', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const heap = (): number => {
    gc()
    return process.memoryUsage().heapUsed
  }
  let now = 0
  const store = new MemoryStore({ maxBytes: 10_000, now: () => now })
  const key = (i: number): string => `${i}`.padEnd(1_000, 'x')
  const long = await store.take(key(-1), null, { tags: [], missing: [], bytes: undefined, marker: null })
  if (typeof long === 'string') throw new Error(long)
  const before = heap()
  for (let i = 0; i < 50_000; i++) {
    const lease = await store.take(key(i), null, { tags: [], missing: [], bytes: undefined, marker: null })
    if (typeof lease === 'string') throw new Error(lease)
    await store.release(key(i), lease, true)
    now += PASS_TIME / 1_000
    if (i % 100 === 0) await store.renew(key(-1), long)
  }
  const growth = heap() - before
  t.ok(growth < 10_000_000, `${growth} bytes`)
  t.equal(await store.holder(key(-1), null), 'held', 'what is in use stays')
  t.equal(await store.holder(key(49_999), null), 'pass')
  store.close()
})
