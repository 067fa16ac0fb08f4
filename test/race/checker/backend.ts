// What stands behind the apps: one Postgres, and one Redis or a Cluster.
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { RedisCluster } from '../../helpers/redis-cluster.js'
import type { RedisServer } from '../../helpers/redis-instance.js'
import { createTables } from './database.js'
import type { Settings } from './settings.js'

/** What a SAVE writes, and a restart loads. */
const SNAPSHOT = ['--dbfilename', 'dump.rdb']
/** How soon replicas take over, in milliseconds. */
const NODE_TIMEOUT = 1_000

/** What a client needs to know. */
export interface Address {
  nodes: Array<{ host: string, port: number }>
  isCluster: boolean
}

export interface Backend {
  postgres: TestPostgres
  redis: RedisServer | RedisCluster
  address: Address
  stop: () => Promise<void>
}

export async function startBackend (settings: Settings): Promise<Backend> {
  const { rows, ballast } = settings
  const starting = [startPostgres(), startRedisFor(settings)] as const
  const stop = async (): Promise<void> => {
    for (const start of await Promise.allSettled(starting)) if (start.status === 'fulfilled') await start.value.stop()
  }
  try {
    const [postgres, redis] = await Promise.all(starting)
    const address = redis instanceof RedisCluster
      ? { nodes: redis.nodes, isCluster: true }
      : { nodes: [{ host: redis.host, port: redis.port }], isCluster: false }
    await createTables(postgres.url, rows)
    await load(redis, ballast)
    return { postgres, redis, address, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startRedisFor ({ target, fault, redisArgs }: Settings): Promise<RedisServer | RedisCluster> {
  if (target === 'standalone') return await startRedis({ args: [...SNAPSHOT, ...redisArgs] })
  if (fault !== 'failover' && fault !== 'handover') return await startCluster({ args: redisArgs })
  return await startCluster({ replicas: 1, nodeTimeout: NODE_TIMEOUT, args: redisArgs })
}

/** Other names, so that a SCAN takes several steps and something can happen between them. */
async function load (redis: RedisServer | RedisCluster, names: number): Promise<void> {
  const client = redis.client()
  const write = async (name: string): Promise<unknown> => await client.set(name, 'ballast')
  try {
    await Promise.all(Array.from({ length: names }, async (_, i) => await write(`ballast:${i}`)))
  } finally {
    client.disconnect()
  }
}
