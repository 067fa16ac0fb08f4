// Which servers of a Cluster have to be asked so that no slot is left out. A client's own list is that of its connections:
// a node whose connection ended, or that has just joined, is not in it. What a node says of *itself* is sure.
import type { RedisClient } from './redis-client.js'

export interface Topology {
  /** All primaries. */
  servers: readonly RedisClient[]
  /** Who has which slots, as a text to compare. */
  slots: string
  /** No slot is being moved. */
  isSettled: boolean
}

const SLOTS = 16_384

/** From each server's CLUSTER NODES; null where the servers that are primaries don't have all slots together. */
export function readTopology (servers: readonly RedisClient[], nodes: readonly unknown[]): Topology | null {
  let total = 0
  const owned: string[] = []
  for (const text of nodes) {
    // <id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slot> <slot-slot> … [<slot->-<id>]
    const fields = String(text).split('\n').find((line) => line.includes('myself'))?.split(' ') ?? []
    if (fields[2]?.includes('master') !== true) continue
    const slots = fields.slice(8)
    owned.push(`${fields[0]} ${slots.join(' ')}`)
    for (const range of slots.filter((slot) => !slot.startsWith('['))) {
      const [first, last = first] = range.split('-').map(Number)
      total += last! - first! + 1
    }
  }
  if (total !== SLOTS) return null
  const slots = owned.sort().join('\n')
  return { servers, slots, isSettled: !slots.includes('[') }
}

/** Has the client read the Cluster's slots anew. */
export async function refreshed (client: RedisClient): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (client.refreshSlotsCache === undefined) return resolve()
    client.refreshSlotsCache((error) => { error == null ? resolve() : reject(error) })
  })
}
