// Which servers of a Cluster have to be asked so that no slot is left out. A client's own list is that of its connections:
// a node whose connection ended, or that has just joined, is not in it. What a node says of *itself* is sure.
import { RouteCacheError } from '../../errors.js'
import type { RedisClient } from './redis-client.js'
import { SLOTS } from './slot.js'

export interface Topology {
  /** All primaries. */
  servers: readonly RedisClient[]
  /** Who has which slots, as a text to compare. */
  slots: string
  /** No slot is being moved. */
  isSettled: boolean
}

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

/** Bounds how long a command is waited for. */
export type Write = <T>(command: Promise<T>) => Promise<T>

/** The primaries, after each of them said which slots are its own and together they have all; FRC_STORE otherwise. */
export async function topologyOf (client: RedisClient, write: Write): Promise<Topology> {
  // Also connects a lazy client.
  await write(client.ping())
  for (const attempt of ['first', 'refreshed']) {
    if (attempt === 'refreshed') await write(refreshed(client))
    const servers = primariesOf(client)
    const nodes = await Promise.all(servers.map(async (server) => await write(server.cluster!('NODES'))))
    const topology = readTopology(servers, nodes)
    if (topology !== null) return topology
  }
  throw new RouteCacheError('FRC_STORE', 'not all primaries of the Cluster can be reached')
}

/** Resolves when all primaries have answered that are so by now: a client does not notice by itself that one hangs. */
export async function allAnswer (client: RedisClient, write: Write): Promise<void> {
  await write(refreshed(client))
  await Promise.all(primariesOf(client).map(async (server) => await write(server.ping())))
}

/** As the client knows them now. */
export function primariesOf (client: RedisClient): RedisClient[] {
  return client.nodes?.('master') ?? [client]
}

/** Has the client read the Cluster's slots anew. */
async function refreshed (client: RedisClient): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (client.refreshSlotsCache === undefined) return resolve()
    client.refreshSlotsCache((error) => { error == null ? resolve() : reject(error) })
  })
}
