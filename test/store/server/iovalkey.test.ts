// The plugin on clients of iovalkey, ioredis' sister: what every store must do, and a route with a tier.
import { Cluster, Redis } from 'iovalkey'
import t from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { contract } from '../contract.js'
import { cachesBy } from './caches-by.js'

const storeOf = (client: RedisClient): RedisStore =>
  new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now })

t.test('one server, and a Cluster', async (t) => {
  const [server, cluster] = await Promise.all([startRedis(), startCluster()])
  t.teardown(async () => { await Promise.all([server.stop(), cluster.stop()]) })
  for (const client of [new Redis({ host: server.host, port: server.port }), new Cluster(cluster.nodes)]) {
    t.teardown(() => { client.disconnect() })
    await client.ping()
    await contract(t, storeOf(client as RedisClient))
    await cachesBy(t, client as RedisClient, 'app')
  }
})
