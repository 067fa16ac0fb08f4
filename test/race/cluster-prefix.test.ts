// A prefix is invalidated on all primaries or the call rejects: whatever connections the client happens to have.
import type { Cluster } from 'ioredis'
import t from 'tap'
import { Keys } from '../../plugin/store/keys.js'
import { RedisStore } from '../../plugin/store/redis/redis.js'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { readTopology } from '../../plugin/store/server/topology.js'
import { plain } from '../helpers/plain-store.js'
import { startCluster, startRedis } from '../helpers/redis.js'

const KEYS = Array.from({ length: 12 }, (_, i) => `p:${i}`)
const storeOf = (client: RedisClient): RedisStore => new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 10_000, now: Date.now })

t.test('a Cluster client whose connections are not what they should be', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const filling = plain(storeOf(await ready(cluster.client())))
  const fill = async (): Promise<void> => {
    for (const key of KEYS) await filling.fill(key, (await filling.take(key))!, { bytes: Buffer.from('old'), life: 60_000 })
  }
  const left = async (): Promise<number> => {
    const entries = await Promise.all(KEYS.map(async (key) => await filling.read(key)))
    return entries.filter(Boolean).length
  }

  await t.test('not connected yet', async (t) => {
    await fill()
    t.equal(await left(), 12)
    t.equal(await storeOf(cluster.client({ lazyConnect: true })).invalidate({ prefixes: ['p:'] }), 12)
    t.equal(await left(), 0)
  })

  await t.test('one connection was cut', async (t) => {
    await fill()
    const client = await ready(cluster.client())
    const [node] = client.nodes('master')
    const ended = new Promise((resolve) => client.once('-node', resolve))
    node!.disconnect()
    await ended
    t.equal(client.nodes('master').length, 2, 'the client knows of two')
    t.equal(await storeOf(client).invalidate({ prefixes: ['p:'] }), 12)
    t.equal(await left(), 0)
  })

  await t.test('a node is gone: the call says so', async (t) => {
    const client = await ready(cluster.client())
    await cluster.servers[2]!.kill()
    const store = new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 300, now: Date.now })
    await t.rejects(store.invalidate({ prefixes: ['p:'] }))
  })

  t.throws(() => storeOf(cluster.client({ scaleReads: 'slave' })), { code: 'FRC_OPTION', message: /reads from replicas/ })
  t.throws(() => storeOf(cluster.client({ scaleReads: 'all' })), { code: 'FRC_OPTION', message: /reads from replicas/ })
})

t.test('primaries count by what each says of itself', async (t) => {
  const line = (id: string, flags: string, slots: string): string =>
    `x1 127.0.0.1:1@2 master - 0 0 1 connected 0-16383\n${id} 127.0.0.1:1@2 myself,${flags} - 0 0 1 connected ${slots}\n`
  t.equal(readTopology([], [line('a', 'master', '0-8191')]), null, 'half of the slots')
  t.equal(readTopology([], [line('a', 'master', '0-8191'), line('b', 'slave', '8192-16383')]), null, 'a replica does not count')
  t.match(readTopology([], [line('a', 'master', '0-8190 8191'), line('b', 'master', '8192-16383')]), { isSettled: true })
  t.match(readTopology([], [line('a', 'master', '0-8191 [5->-b]'), line('b', 'master', '8192-16383')]), { isSettled: false })
})

t.test('a server that takes no writes does not count as told', async (t) => {
  const [primary, replica] = await Promise.all([startRedis(), startRedis()])
  t.teardown(async () => { await Promise.all([primary.stop(), replica.stop()]) })
  const client = replica.client()
  await client.replicaof(primary.host, primary.port)
  await t.rejects(storeOf(client).invalidate({ prefixes: ['p:'] }), /READONLY/)
})

async function ready (client: Cluster): Promise<Cluster> {
  await client.ping()
  return client
}
