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
import { keyPrefixOf, type RedisClient } from './redis-client.js'
import { FILL, INVALIDATE, RELEASE } from './scripts.js'
import { LEASE_TIME, type FillResult, type Lease, type Store } from './store.js'

/** Names per SCAN step and per UNLINK: each step blocks the server for well below a millisecond. */
const BATCH = 500

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
  }

  /** A Cluster client connects to a node when it is first asked something that is there. */
  async connect (): Promise<void> {
    await Promise.all(this.#primaries().map(async (server) => await this.#write(server.ping())))
  }

  async read (key: string): Promise<Buffer | null> {
    this.#mustBeUp()
    return await this.#client.getBuffer(this.#keys.entry(key))
  }

  async take (key: string): Promise<Lease | null> {
    this.#mustBeUp()
    const token = randomUUID()
    // Both are sent together. `asOf` may be read before or after the lease: the handler runs after either.
    const [taken, clock] = await Promise.all([
      this.#client.set(this.#keys.lease(key), token, 'PX', LEASE_TIME, 'NX'),
      this.#client.get(this.#keys.clock)
    ])
    return taken === 'OK' ? { token, asOf: Number(clock ?? 0) } : null
  }

  async fill (key: string, lease: Lease, { bytes, life }: { bytes: Buffer, life: Milliseconds }): Promise<FillResult> {
    const names = [this.#keys.entry(key), this.#keys.lease(key)]
    const stored = await this.#write(FILL.run(this.#client, names, [lease.token, bytes, life]))
    return stored === 1 ? 'stored' : 'lost'
  }

  async release (key: string, lease: Lease): Promise<void> {
    await this.#write(RELEASE.run(this.#client, [this.#keys.lease(key)], [lease.token]))
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
    await this.#unlinkAll(this.#keys.leasePattern(prefix, this.#keyPrefix))
    return await this.#unlinkAll(this.#keys.entryPattern(prefix, this.#keyPrefix))
  }

  close (): void {}

  /** UNLINKs what the pattern matches, on every primary; the number of names. */
  async #unlinkAll (pattern: string): Promise<number> {
    const counts = await Promise.all(this.#primaries().map(async (server) => await this.#unlinkOn(server, pattern)))
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
      cursor = next
      removed += await this.#unlink(names.map((name) => name.slice(this.#keyPrefix.length)))
    } while (cursor !== '0')
    return removed
  }

  /** On a Cluster one by one, through the client that knows the slots: names of one node are still of different slots. */
  async #unlink (names: string[]): Promise<number> {
    if (names.length === 0) return 0
    if (this.#client.isCluster !== true) return await this.#write(this.#client.unlink(...names))
    const counts = await Promise.all(names.map(async (name) => await this.#write(this.#client.unlink(name))))
    return counts.reduce((sum, n) => sum + n, 0)
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
