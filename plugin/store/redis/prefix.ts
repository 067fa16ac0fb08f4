// Invalidation of all keys that begin so: two passes over all names, for this race of a fill F and an invalidation W of the
// prefix `user:`:
//
//   1. F  take('user:1') -> lease; reads the old row
//   2. W  writes the new row; one pass over the entries finds nothing under `user:1`
//   3. F  fill -> stored: the old row, after the invalidation went by
//
// With the leases removed first, on all primaries, F either lost its lease before its fill (refused) or had filled before
// the second pass began, which then finds the entry: SCAN returns every name that is there from its start to its end.
import { RouteCacheError } from '../../errors.js'
import type { Keys } from '../keys.js'
import { keyPrefixOf, heeded, type RedisClient } from '../server/redis-client.js'
import type { Script } from './script.js'
import { UNLINK_LEASES, UNLINK_VARIANTS } from './scripts.js'
import { topologyOf, type Write } from '../server/topology.js'

/** Names per SCAN step and per UNLINK: each step blocks the server for well below a millisecond. */
const BATCH = 200
/** How often a prefix is gone over while slots move. */
const MOST_ROUNDS = 5

type Work = (names: string[]) => Promise<number>

export class PrefixRemoval {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  /** The prefix that ioredis puts before every name, but neither before a pattern nor off the names that SCAN returns. */
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
    await this.#write(heeded(this.#client, this.#client.unlink(this.#keys.lease(''))))
    return await this.#twoPasses([this.#client], prefix)
  }

  async #twoPasses (servers: readonly RedisClient[], prefix: string): Promise<number> {
    const [leases, responses, beside] = (['leasePattern', 'entryPattern', 'variantPattern'] as const)
      .map((name) => this.#keys[name](prefix, this.#keyPrefix)) as [string, string, string]
    await this.#eachName(servers, leases, async (names) => await this.#inScripts(UNLINK_LEASES, names))
    const entries = await this.#eachName(servers, responses, async (names) => await this.#unlink(names))
    // Variants are not served without their markers, but may be a user's data; values are entries like others. A list goes
    // only with all that it names: since SCAN named the list, a fill may have put another variant there.
    const values = await this.#eachName(servers, beside, async (names) => {
      const lists = names.filter((name) => this.#keys.isVariants(name))
      const values = names.filter((name) => this.#keys.isValue(name))
      await this.#inScripts(UNLINK_VARIANTS, lists)
      await this.#unlink(names.filter((name) => !lists.includes(name) && !values.includes(name)))
      return await this.#unlink(values)
    })
    return entries + values
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

  /** Goes over the names that the pattern matches, on each of these servers; the sum of what `work` gives for them. */
  async #eachName (servers: readonly RedisClient[], pattern: string, work: Work): Promise<number> {
    const sums = await Promise.all(servers.map(async (server) => {
      let sum = 0
      let cursor = '0'
      do {
        const [next, names] = await this.#write(server.scan!(cursor, 'MATCH', pattern, 'COUNT', BATCH))
        cursor = String(next)
        sum += await work(names.map((name) => name.slice(this.#keyPrefix.length)))
      } while (cursor !== '0')
      return sum
    }))
    return sums.reduce((sum, n) => sum + n, 0)
  }

  /** Runs the script for these names: on a Cluster, for one at a time. */
  async #inScripts (script: Script, names: string[]): Promise<number> {
    const calls = this.#client.isCluster === true ? names.map((name) => [name]) : names.length === 0 ? [] : [names]
    await Promise.all(calls.map(async (keys) => await this.#write(script.run(this.#client, keys, []))))
    return 0
  }

  /** On a Cluster one by one, through the client that knows the slots: names of one node are still of different slots. */
  async #unlink (names: string[]): Promise<number> {
    if (names.length === 0) return 0
    if (this.#client.isCluster !== true) return Number(await this.#write(this.#client.unlink(...names)))
    const counts = await Promise.all(names.map(async (name) => await this.#write(this.#client.unlink(name))))
    return counts.reduce<number>((sum, n) => sum + Number(n), 0)
  }
}
