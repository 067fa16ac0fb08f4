// The client of a process under test.
import { Cluster, Redis } from 'ioredis'
import { nodeRedis, type AppClient } from './node-redis.js'
import type { Address, SentinelClient } from './backend.js'

export async function clientOf ({ client: kind, ...address }: Address, process = 1): Promise<Redis | Cluster | AppClient> {
  const isOther = kind === 'node-redis' || (kind === 'mixed' && process % 2 === 0)
  if (isOther && !('sentinels' in address)) return await nodeRedis(address)
  const client = 'nodes' in address ? new Cluster(address.nodes) : singleOf(address, process)
  // What fails is seen in its commands.
  client.on('error', () => {})
  // It may end for good: when sentinels announce a new primary while it is asking them for one. It ends with its process.
  client.on('end', () => { client.connect().catch(() => {}) })
  return client
}

/** By the detector it leaves a primary that goes on after it was replaced. */
function singleOf (address: { host: string, port: number } | SentinelClient, process: number): Redis {
  if (!('sentinels' in address)) return new Redis(address)
  const { blind, ...sentinels } = address
  return new Redis({ ...sentinels, failoverDetector: !blind || process % 2 === 1 })
}
