// The plugin on clients of node-redis.
import t from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { nodeRedisOf } from '../../helpers/node-redis.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { contract } from '../contract.js'

const storeOf = (client: RedisClient): RedisStore =>
  new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now })

for (const RESP of [2, 3]) {
  t.test(`the contract, RESP ${RESP}`, async (t) => {
    const server = await startRedis()
    t.teardown(async () => { await server.stop() })
    await contract(t, storeOf(await nodeRedisOf(t, server, { RESP })))
  })

  t.test(`the contract on a Cluster, RESP ${RESP}`, async (t) => {
    const cluster = await startCluster()
    t.teardown(async () => { await cluster.stop() })
    await contract(t, storeOf(await nodeRedisOf(t, { nodes: cluster.servers }, { RESP })))
  })
}
