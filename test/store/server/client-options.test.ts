// Options of ioredis that change how commands go out, and how their replies come back: on one server and on a Cluster the
// same route is cached, and invalidated, as without them.
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RedisClient } from '../../../plugin/index.js'
import { cachedApp } from '../../helpers/app.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { cachesBy } from './caches-by.js'
import { sharedClient } from './shared-client.js'

const OPTIONS: Record<string, object> = {
  none: {},
  readOnly: { readOnly: true },
  enableAutoPipelining: { enableAutoPipelining: true },
  showFriendlyErrorStack: { showFriendlyErrorStack: true },
  commandTimeout: { commandTimeout: 30_000 },
  socketTimeout: { socketTimeout: 30_000 },
  'protocol 2': { protocol: 2 },
  'protocol 3': { protocol: 3 },
  replyMapping: { replyMapping: 'map' },
  'no ready check': { enableReadyCheck: false },
  'no offline queue': { enableOfflineQueue: false },
  lazyConnect: { lazyConnect: true },
  maxRetriesPerRequest: { maxRetriesPerRequest: null }
}
/** Those that only one server takes: a Cluster with them is refused. */
const ALONE: Record<string, object> = { keyPrefix: { keyPrefix: 'team:' }, stringNumbers: { stringNumbers: true } }

async function caches (t: Test, client: Redis | Cluster, prefix: string): Promise<void> {
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  if (client.status === 'wait') await client.connect()
  else if (client.status !== 'ready') await new Promise((resolve) => client.once('ready', resolve))
  await cachesBy(t, client as RedisClient, prefix)
}

t.test('one server', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  for (const [name, options] of Object.entries({ ...OPTIONS, ...ALONE })) {
    await t.test(name, async (t) => {
      await caches(t, new Redis({ host: server.host, port: server.port, ...options }), name.replaceAll(' ', '-'))
    })
  }
  const client = server.client()
  await client.ping()
  await t.test('many caches on one client', async (t) => {
    await sharedClient(t, client, async () => {
      const left = new Promise((resolve) => client.once('close', resolve))
      await server.ask('CLIENT', 'KILL', 'TYPE', 'normal')
      await left
      await client.ping()
    })
  })
})

t.test('a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  for (const [name, redisOptions] of Object.entries(OPTIONS)) {
    await t.test(name, async (t) => { await caches(t, new Cluster(cluster.nodes, { redisOptions }), name.replaceAll(' ', '-')) })
  }
  const client = cluster.client()
  await client.ping()
  await t.test('many caches on one client', async (t) => {
    await sharedClient(t, client, async () => {
      const left = client.nodes('master').map((node) => new Promise((resolve) => node.once('close', resolve)))
      for (const server of cluster.servers) await server.ask('CLIENT', 'KILL', 'TYPE', 'normal')
      await Promise.all(left)
      for (const node of client.nodes('master')) await node.ping()
    })
  })
  for (const [name, redisOptions] of Object.entries(ALONE)) {
    const redis = new Cluster(cluster.nodes, { redisOptions, lazyConnect: true }) as RedisClient
    await t.rejects(cachedApp(t, { redis }), { code: 'FRC_OPTION', message: new RegExp(`Cluster client has .*${name}`) }, name)
  }
})
