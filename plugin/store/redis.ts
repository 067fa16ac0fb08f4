// Entries in Redis, one server or a Cluster. Single commands and scripts of one slot, so nothing is ever cross-slot.
//
// Prefix invalidation has two passes, for this race of a fill F and an invalidation W of the prefix `user:`:
//
//   1. F  take('user:1') -> lease; reads the old row
//   2. W  writes the new row; one pass over the entries finds nothing under `user:1`
//   3. F  fill -> stored: the old row, after the invalidation went by
//
// With the leases removed first, on all primaries, F either lost its lease before its fill (refused) or had filled before
// the second pass began, which then finds the entry: SCAN returns every name that is there from its start to its end.
import { randomUUID } from 'node:crypto'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { within } from './deadline.js'
import type { Keys } from './keys.js'
import { keyPrefixOf, readsFromReplicas, type RedisClient } from './redis-client.js'
import { FILL, FILL_VARIANT, INVALIDATE, RELEASE } from './scripts.js'
import { readTopology, refreshed, type Topology } from './topology.js'
import { LEASE_TIME, type Fill, type FillResult, type Lease, type Reading, type Store } from './store.js'

/** Names per SCAN step and per UNLINK: each step blocks the server for well below a millisecond. */
const BATCH = 500
/** How often a prefix is gone over while slots move. */
const MOST_ROUNDS = 5

export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #writeDeadline: Milliseconds
  /** What ioredis itself puts before every name, but neither before a pattern nor off the names that SCAN returns. */
  readonly #keyPrefix: string

  constructor ({ client, keys, writeDeadline }: { client: RedisClient, keys: Keys, writeDeadline: Milliseconds }) {
    this.#client = client
    this.#keys = keys
    this.#writeDeadline = writeDeadline
    this.#keyPrefix = keyPrefixOf(client)
    if (client.isCluster === true && this.#keyPrefix !== '') {
      throw new RouteCacheError('FRC_OPTION', `redis: the Cluster client has keyPrefix "${this.#keyPrefix}", which puts ` +
        'an entry and its lease into different slots; give the plugin a client without it, and use its own prefix option')
    }
    if (readsFromReplicas(client)) {
      throw new RouteCacheError('FRC_OPTION', 'redis: the client reads from replicas, which may still have what was ' +
        'invalidated; give the plugin one that reads from primaries (no scaleReads, no role: "slave")')
    }
  }

  /** A Cluster client connects to a node when it is first asked something that is there. */
  async connect (): Promise<void> {
    await Promise.all(this.#primaries().map(async (server) => await this.#write(server.ping())))
  }

  async read (key: string, variant: string | null): Promise<Reading> {
    this.#mustBeUp()
    if (variant === null) return [await this.#client.getBuffer(this.#keys.entry(key)), null]
    const names = [this.#keys.entry(key), this.#keys.variant(key, variant)]
    const [main = null, varied = null] = await this.#client.mgetBuffer(...names)
    return [main, varied]
  }

  async take (key: string, variant: string | null): Promise<Lease | null> {
    this.#mustBeUp()
    const token = randomUUID()
    // Both are sent together. `asOf` may be read before or after the lease: the handler runs after either.
    const [taken, clock] = await Promise.allSettled([
      this.#client.set(this.#keys.lease(key, variant), token, 'PX', LEASE_TIME, 'NX'),
      this.#client.get(this.#keys.clock)
    ])
    if (taken.status === 'fulfilled' && clock.status === 'fulfilled') {
      return taken.value === 'OK' ? { token, asOf: Number(clock.value ?? 0), variant } : null
    }
    // The SET may have been carried out, also where its answer was lost.
    this.release(key, { token, asOf: 0, variant }).catch(() => {})
    throw taken.status === 'rejected' ? taken.reason : (clock as PromiseRejectedResult).reason
  }

  async fill (key: string, lease: Lease, { bytes, life, varied }: Fill): Promise<FillResult> {
    const names = [this.#keys.entry(key), this.#keys.lease(key, lease.variant)]
    const stored = await this.#write(varied === null
      ? FILL.run(this.#client, names, [lease.token, bytes, life])
      : FILL_VARIANT.run(this.#client, [...names, this.#keys.variant(key, varied.variant)],
        [lease.token, Buffer.from(varied.under, 'latin1'), varied.marker, bytes, life]))
    // A number, or its text: a client may be set to give texts.
    return Number(stored) === 1 ? 'stored' : 'lost'
  }

  async release (key: string, lease: Lease): Promise<void> {
    await this.#write(RELEASE.run(this.#client, [this.#keys.lease(key, lease.variant)], [lease.token]))
  }

  async invalidate (keys: readonly string[]): Promise<number> {
    let removed = 0
    for (let from = 0; from < keys.length; from += BATCH) {
      const counts = await Promise.all(keys.slice(from, from + BATCH).map(async (key) => await this.#write(
        INVALIDATE.run(this.#client, [this.#keys.entry(key), this.#keys.lease(key)], [])
      )))
      removed += counts.reduce<number>((sum, n) => sum + Number(n), 0)
    }
    return removed
  }

  async invalidatePrefix (prefix: string): Promise<number> {
    if (this.#client.isCluster === true) {
      return await this.#onCluster(async (servers) => await this.#twoPasses(servers, prefix))
    }
    // SCAN would be answered by a replica, too, or by a primary that is one no more: a write is not.
    await this.#write(this.#client.unlink(this.#keys.lease(prefix)))
    return await this.#twoPasses([this.#client], prefix)
  }

  close (): void {}

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
      const before = await this.#topology()
      removed += await work(before.servers)
      const after = await this.#topology()
      if (before.isSettled && after.isSettled && before.slots === after.slots) return removed
    }
    throw new RouteCacheError('FRC_STORE', `the Cluster's slots kept moving; ${removed} entries went, others may be left`)
  }

  /** The primaries, after each of them said which slots are its own and together they have all; FRC_STORE otherwise. */
  async #topology (): Promise<Topology> {
    // Also connects a lazy client.
    await this.#write(this.#client.ping())
    for (const attempt of ['first', 'refreshed']) {
      if (attempt === 'refreshed') await this.#write(refreshed(this.#client))
      const servers = this.#primaries()
      const nodes = await Promise.all(servers.map(async (server) => await this.#write(server.cluster!('NODES'))))
      const topology = readTopology(servers, nodes)
      if (topology !== null) return topology
    }
    throw new RouteCacheError('FRC_STORE', 'not all primaries of the Cluster can be reached')
  }

  /** UNLINKs what the pattern matches, on each of these servers; the number of names. */
  async #unlinkAll (servers: readonly RedisClient[], pattern: string): Promise<number> {
    const counts = await Promise.all(servers.map(async (server) => await this.#unlinkOn(server, pattern)))
    return counts.reduce((sum, n) => sum + n, 0)
  }

  #primaries (): RedisClient[] {
    return this.#client.nodes?.('master') ?? [this.#client]
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

  async #write<T> (command: Promise<T>): Promise<T> {
    return await within(this.#writeDeadline, command)
  }

  /** A client that isn't connected would keep the command until it is: a lookup can't wait for that. */
  #mustBeUp (): void {
    const { status } = this.#client
    // 'wait' is a lazy client, which connects with its first command.
    if (status !== 'ready' && status !== 'wait') {
      throw new RouteCacheError('FRC_STORE', `Redis is not connected (the client's status is "${status}")`)
    }
  }
}
