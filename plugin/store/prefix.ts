// Invalidation of all keys that begin so: two passes over all names, for this race of a fill F and an invalidation W of the
// prefix `user:`:
//
//   1. F  take('user:1') -> lease; reads the old row
//   2. W  writes the new row; one pass over the entries finds nothing under `user:1`
//   3. F  fill -> stored: the old row, after the invalidation went by
//
// With the leases removed first, on all primaries, F either lost its lease before its fill (refused) or had filled before
// the second pass began, which then finds the entry: SCAN returns every name that is there from its start to its end.
import { RouteCacheError } from '../errors.js'
import type { Keys } from './keys.js'
import { keyPrefixOf, type RedisClient } from './redis-client.js'
import { topologyOf, type Write } from './topology.js'

/** Names per SCAN step and per UNLINK: each step blocks the server for well below a millisecond. */
const BATCH = 200
/** How often a prefix is gone over while slots move. */
const MOST_ROUNDS = 5

export class PrefixRemoval {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  /** What ioredis itself puts before every name, but neither before a pattern nor off the names that SCAN returns. */
  readonly #keyPrefix: string

  constructor ({ client, keys, write }: { client: RedisClient, keys: Keys, write: Write }) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#keyPrefix = keyPrefixOf(client)
  }

  /** Removes them; the number of entries that went. */
  async run (prefix: string): Promise<number> {
    if (this.#client.isCluster === true) {
      return await this.#onCluster(async (servers) => await this.#twoPasses(servers, prefix))
    }
    // SCAN would be answered by a replica, too, or by a primary that is one no more: a write is not.
    await this.#write(this.#client.unlink(this.#keys.lease(prefix)))
    return await this.#twoPasses([this.#client], prefix)
  }

  async #twoPasses (servers: readonly RedisClient[], prefix: string): Promise<number> {
    await this.#unlinkAll(servers, this.#keys.leasePattern(prefix, this.#keyPrefix))
    const removed = await this.#unlinkAll(servers, this.#keys.entryPattern(prefix, this.#keyPrefix))
    // Without their markers they are not served; they only take room.
    await this.#unlinkAll(servers, this.#keys.variantPattern(prefix, this.#keyPrefix))
    return removed
  }

  /** Does the work with all primaries, again where slots moved meanwhile: a name may have moved to where it had been. */
  async #onCluster (work: (servers: readonly RedisClient[]) => Promise<number>): Promise<number> {
    let removed = 0
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      const before = await topologyOf(this.#client, this.#write)
      removed += await work(before.servers)
      const after = await topologyOf(this.#client, this.#write)
      if (before.isSettled && after.isSettled && before.slots === after.slots) return removed
    }
    throw new RouteCacheError('FRC_STORE', `the Cluster's slots kept moving; ${removed} entries went, others may be left`)
  }

  /** UNLINKs what the pattern matches, on each of these servers; the number of names. */
  async #unlinkAll (servers: readonly RedisClient[], pattern: string): Promise<number> {
    const counts = await Promise.all(servers.map(async (server) => await this.#unlinkOn(server, pattern)))
    return counts.reduce((sum, n) => sum + n, 0)
  }

  async #unlinkOn (server: RedisClient, pattern: string): Promise<number> {
    let removed = 0
    let cursor = '0'
    do {
      const [next, names] = await this.#write(server.scan!(cursor, 'MATCH', pattern, 'COUNT', BATCH))
      cursor = String(next)
      removed += await this.#unlink(names.map((name) => name.slice(this.#keyPrefix.length)))
    } while (cursor !== '0')
    return removed
  }

  /** On a Cluster one by one, through the client that knows the slots: names of one node are still of different slots. */
  async #unlink (names: string[]): Promise<number> {
    if (names.length === 0) return 0
    if (this.#client.isCluster !== true) return Number(await this.#write(this.#client.unlink(...names)))
    const counts = await Promise.all(names.map(async (name) => await this.#write(this.#client.unlink(name))))
    return counts.reduce<number>((sum, n) => sum + Number(n), 0)
  }
}
