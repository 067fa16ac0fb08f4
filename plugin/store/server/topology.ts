// The servers behind a client: which of a Cluster's have to be asked, what they say of themselves, and their replicas.
//
// Which servers of a Cluster have to be asked so that no slot is left out. A client's own list is that of its connections:
// a node whose connection ended, or that has just joined, is not in it. What a node says of *itself* is sure.
import { RouteCacheError, withoutSecrets } from '../../errors.js'
import type { RedisClient } from './redis-client.js'
import type { Milliseconds } from '../../duration.js'

interface Topology {
  /** All primaries. */
  servers: readonly RedisClient[]
  /** The servers and their slots, as a text to compare. */
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

/** The address of the primary that has this slot, as the client knows it now; '': it knows none. */
export function ownerOf (client: RedisClient, slot: number): string {
  return client.ownerOf?.(slot) ?? client.slots?.[slot]?.[0] ?? ''
}

/** Has the client read the Cluster's slots anew. */
async function refreshed (client: RedisClient): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (client.refreshSlotsCache === undefined) return resolve()
    client.refreshSlotsCache((error) => { error == null ? resolve() : reject(error) })
  })
}

// A server's INFO about itself: which run of which server answers, and whether it is a primary.

export function addressOf ({ options }: RedisClient): string {
  const { host, port } = options as { host?: string, port?: number }
  return `${host}:${port}`
}

/** The remedy where INFO does not say who answers. */
export const WITHOUT_INFO = 'without INFO nobody can tell a server that was restarted, or replaced. Let the client connect to Redis itself, as a ' +
  'user with +info; or write trustFailover: true, where what is cached may outlive that'

/**
 * A server's INFO. Throws FRC_STORE where it refuses to give it, as some proxies do; or, where its answers are trusted
 * whoever gives them, gives an empty one.
 */
export async function infoOf (asked: Promise<unknown>, isTrusted: boolean): Promise<string> {
  try {
    return String(await asked)
  } catch (error) {
    if (!isReplyOf(error)) throw error
    if (isTrusted) return ''
    const words = (withoutSecrets(error) as Error).message.slice(0, 100)
    throw new RouteCacheError('FRC_STORE', `INFO is refused (${words}): ${WITHOUT_INFO}`, { cause: error })
  }
}

/** The server's answer to INFO, not a failure of the connection, nor a state that ends: loading, no password. */
function isReplyOf (error: unknown): boolean {
  return error instanceof Error && /^(?:ERR|NOPERM)\b/.test(error.message)
}

/** A server's run id is new with each start. Empty: it does not tell, and is trusted all the same. */
export function runOf (info: unknown, isTrusted = false): string {
  const run = /^run_id:(\w+)/m.exec(String(info))?.[1] ?? (isTrusted ? '' : null)
  if (run !== null) return `${run} ${reignOf(info)}`
  throw new RouteCacheError('FRC_STORE', `INFO does not tell the server's run_id, as behind a proxy: ${WITHOUT_INFO}`)
}

/** The id of its replication, new with each promotion to a primary. Throws FRC_STORE where it is a replica. */
export function reignOf (info: unknown): string {
  const text = String(info)
  // A Cluster's client may not know yet that it is none any more.
  if (/^role:(?:slave|replica)/m.test(text)) throw new RouteCacheError('FRC_STORE', 'the server is a replica, which may lag behind: connect to its primary')
  return /^master_replid:(\w+)/m.exec(text)?.[1] ?? ''
}

/** Whether replicas follow it. */
export function hasReplicas (info: unknown): boolean {
  return Number(/^connected_slaves:(\d+)/m.exec(String(info))?.[1] ?? 0) > 0
}

// Waits until replicas have a write, where the option `waitForReplicas` asks for it.

export interface Confirmation {
  /** How many replicas of each primary. */
  wanted: number
  deadline: Milliseconds
  write: Write
}

/** Waits until so many replicas have all writes; FRC_REPLICAS where they have not in time. 0: waits for none. */
export async function confirmed (client: RedisClient, { wanted, deadline, write }: Confirmation): Promise<void> {
  if (wanted === 0) return
  // Redis looks ten times a second whether the time is over, and is to say so itself.
  const time = Math.ceil(Math.max(deadline / 2, deadline - 200))
  const counts = await Promise.all(primariesOf(client).map(async (server) => Number(await write(server.wait(wanted, time)))))
  const least = Math.min(...counts)
  if (least < wanted) {
    throw new RouteCacheError('FRC_REPLICAS', `the primary has it, but of ${wanted} replicas only ${least} confirmed in time`)
  }
}

// Which of a Cluster's 16,384 slots a name is in: CRC-16/XMODEM of the text in its first braces, or of the whole name.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ ((crc & 0x8000) === 0 ? 0 : 0x1021)
  return crc
})

export const SLOTS = 16_384

export function slotOf (name: string): number {
  const open = name.indexOf('{')
  const close = open < 0 ? -1 : name.indexOf('}', open + 1)
  const hashed = close > open + 1 ? name.slice(open + 1, close) : name
  let crc = 0
  for (const byte of Buffer.from(hashed)) crc = ((crc << 8) & 0xffff) ^ TABLE[(crc >> 8) ^ byte]!
  return crc % SLOTS
}
