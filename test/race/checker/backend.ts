// What stands behind the apps: one Postgres, and one Redis, a Cluster, or a primary with sentinels.
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js'
import {
  RedisCluster, RedisSentinel, startCluster, startRedis, startSentinel, type RedisServer, type SentinelAddress
} from '../../helpers/redis.js'
import { createTables } from './database.js'
import type { ClientName, Settings } from './settings.js'

/** What a SAVE writes, and a restart loads. */
const SNAPSHOT = ['--dbfilename', 'dump.rdb']
/** How soon replicas take over, in milliseconds. */
const NODE_TIMEOUT = 1_000

/** What a client needs to know. */
export type Address = (Place | { nodes: Place[] } | SentinelClient) & { client?: ClientName }

interface Place { host: string, port: number }

/** `blind`: every other process hears of no failover. */
export interface SentinelClient extends SentinelAddress { blind: boolean }

export type TestRedis = RedisServer | RedisCluster | RedisSentinel

export interface Backend {
  postgres: TestPostgres
  redis: TestRedis
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
    await createTables(postgres.url, rows)
    await load(redis, ballast)
    return { postgres, redis, address: addressOf(redis, settings), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startRedisFor ({ target, fault, redisArgs }: Settings): Promise<TestRedis> {
  if (target === 'standalone') return await startRedis({ args: [...SNAPSHOT, ...redisArgs] })
  if (target === 'sentinel') return await startSentinel({ args: redisArgs })
  if (fault !== 'failover' && fault !== 'handover') return await startCluster({ args: redisArgs })
  return await startCluster({ replicas: 1, nodeTimeout: NODE_TIMEOUT, args: redisArgs })
}

function addressOf (redis: TestRedis, { blind, client }: Settings): Address {
  if (redis instanceof RedisCluster) return { nodes: redis.nodes, client }
  if (redis instanceof RedisSentinel) return { ...redis.address, blind }
  return { host: redis.host, port: redis.port, client }
}

/** Other names, so that a SCAN takes several steps and something can happen between them. */
async function load (redis: TestRedis, names: number): Promise<void> {
  const client = redis.client()
  const write = async (name: string): Promise<unknown> => await client.set(name, 'ballast')
  try {
    await Promise.all(Array.from({ length: names }, async (_, i) => await write(`ballast:${i}`)))
  } finally {
    client.disconnect()
  }
}
