// The client of a process under test.
import { Cluster, Redis } from 'ioredis'
import type { Address } from './backend.js'

export function clientOf (address: Address): Redis | Cluster {
  const client = 'nodes' in address ? new Cluster(address.nodes) : new Redis(address)
  // What fails is seen in its commands.
  client.on('error', () => {})
  // It may end for good: when sentinels announce a new primary while it is asking them for one. It ends with its process.
  client.on('end', () => { client.connect().catch(() => {}) })
  return client
}
