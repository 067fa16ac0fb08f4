// Entries in Redis, one server or a Cluster. Single commands and scripts of one slot, so nothing is ever cross-slot.
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { Batches, promised, type Answer } from './batch.js'
import { within } from './deadline.js'
import { Floor, historyOf, newHistory } from './floor.js'
import { Generations } from './generations.js'
import { KeyRemoval } from './key-removal.js'
import type { Keys } from './keys.js'
import { Leases } from './leases.js'
import { PrefixRemoval } from './prefix.js'
import { readAll } from './read-all.js'
import { mustFit, type RedisClient } from './redis-client.js'
import { confirmed } from './replicas.js'
import { INVALIDATE_ALL } from './clock-scripts.js'
import { FILL, FILL_VARIANT } from './scripts.js'
import {
  type Ask, type Fill, type FillResult, type Ground, type Lease, type Reader, type Reading,
  type Seen, type Seized, type Store, type Taken, type Writing
} from './store.js'
import { allAnswer, type Write } from './topology.js'

/** Tags that are invalidated at a time. */
const BATCH = 500

export interface RedisStoreOptions {
  client: RedisClient
  keys: Keys
  /** How long a lookup waits; 0: without limit. */
  deadline?: Milliseconds
  writeDeadline: Milliseconds
  now: () => Milliseconds
  /** A server that comes back is taken to have the memory that it had: no new history. */
  trustFailover?: boolean
  /** How many replicas have an invalidation before it is done. */
  waitForReplicas?: number
}

export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #writeDeadline: Milliseconds
  readonly #waitForReplicas: number
  readonly #floor: Floor
  readonly #batches: Batches
  readonly #serverOf = (name: string): RedisClient | undefined => this.#floor.serverOf(name)
  readonly #generations: Generations
  readonly #leases: Leases
  readonly #removal: KeyRemoval
  readonly #prefixes: PrefixRemoval

  constructor ({
    client, keys, deadline = 0, writeDeadline, now, trustFailover = false, waitForReplicas = 0
  }: RedisStoreOptions) {
    const write: Write = async (command) => await this.#write(command)
    this.#client = client
    this.#keys = keys
    this.#writeDeadline = writeDeadline
    this.#waitForReplicas = waitForReplicas
    this.#floor = new Floor({ client, keys, write, now, trusting: trustFailover })
    this.#batches = new Batches({ keys, deadline, ask: async (names) => await this.#ask(names) })
    this.#generations = new Generations({ client, keys, write, now })
    this.#leases = new Leases({ client, keys, write, beginHistory: async () => await this.#floor.renew() })
    this.#removal = new KeyRemoval({ client, keys, write, now })
    this.#prefixes = new PrefixRemoval({ client, keys, write })
    mustFit(client)
  }

  async connect (): Promise<void> {
    await this.#floor.check()
  }

  async probe (): Promise<void> {
    this.#mustBeUp()
    if (this.#client.isCluster === true) await allAnswer(this.#client, async (command) => await this.#write(command))
    await this.generations([])
  }

  async read (ask: Ask): Promise<Reading> {
    this.#mustBeUp()
    return await promised((reader) => { this.#batches.add(ask, reader, true) })
  }

  glance (): null {
    return null
  }

  ask (ask: Ask, reader: Reader): void {
    if (this.#isUp) this.#batches.add(ask, reader, false)
    else reader.failed(this.#down())
  }

  async generations (tags: readonly string[]): Promise<Ground> {
    return await promised((reader) => { this.#batches.add({ key: null, variant: null, tags }, reader, true) })
  }

  /** What these names hold, the floor first, if those who answer are known. */
  async #ask (names: readonly string[]): Promise<Answer> {
    const begun = this.#floor.begin(names)
    const since = typeof begun === 'number' ? begun : await begun
    const values = await readAll(this.#client, names, this.#serverOf)
    const looking = this.#floor.end(names, since)
    if (looking !== undefined) await looking
    return { values, history: await this.#history(values[0] ?? null) }
  }

  async #history (floor: Buffer | null): Promise<string> {
    return floor === null ? await this.#floor.renew() : historyOf(floor)
  }

  async take (key: string, variant: string | null, seen: Seen): Promise<Taken> {
    this.#mustBeUp()
    if (seen.missing.length > 0) await this.#generations.create(seen.missing)
    return await this.#leases.take(key, variant, seen)
  }

  async seize (key: string): Promise<Seized | null> {
    const { history } = await this.#write(this.generations([]))
    const lease = await this.#leases.seize(key)
    return lease === null ? null : { lease, history }
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    return await this.#leases.renew(key, lease, pass)
  }

  async fill (key: string, lease: Lease, { bytes, life, varied, tags, late }: Fill): Promise<FillResult> {
    if (!await this.#generations.settle(late, lease.asOf)) {
      await this.release(key, lease)
      return 'outdated'
    }
    this.#generations.extend(tags, life)
    const names = [this.#keys.entry(key), this.#keys.lease(key, lease.variant)]
    const stored = await this.#write(varied === null
      ? FILL.run(this.#client, names, [lease.token, bytes, life])
      : FILL_VARIANT.run(this.#client, [...names, this.#keys.variant(key, varied.variant)],
        [lease.token, Buffer.from(varied.under, 'latin1'), varied.marker, bytes, life]))
    return Number(stored) === 1 ? 'stored' : 'lost'
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    await this.#leases.release(key, lease, pass)
  }

  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    this.#mustBeUp()
    return await this.#leases.holder(key, variant)
  }

  async quarantine ({ keys, tags }: Writing, token: string, time: Milliseconds): Promise<boolean> {
    const [byKeys, byTags] = await Promise.all([
      this.#removal.quarantine(keys, token, time), tags.length === 0 || this.#generations.quarantine(tags, token, time)
    ])
    await this.#confirm()
    return byKeys && byTags
  }

  async invalidate (keys: readonly string[], token = ''): Promise<number> {
    const removed = await this.#removal.invalidate(keys, token)
    await this.#confirm()
    return removed
  }

  async soften ({ keys, tags }: Writing): Promise<number> {
    const [softened] = await Promise.all([this.#removal.soften(keys), tags.length > 0 && this.#generations.soften(tags)])
    await this.#confirm()
    return softened
  }

  async invalidatePrefix (prefix: string): Promise<number> {
    const removed = await this.#prefixes.run(prefix)
    await this.#confirm()
    return removed
  }

  async invalidateTags (tags: readonly string[], token = ''): Promise<void> {
    for (let from = 0; from < tags.length; from += BATCH) {
      await this.#generations.invalidate(tags.slice(from, from + BATCH), token)
    }
    await this.#confirm()
  }

  async invalidateAll (): Promise<void> {
    await this.#write(INVALIDATE_ALL.run(this.#client, [this.#keys.floor], [newHistory()]))
    await this.#confirm()
  }

  close (): void {
    this.#floor.close()
  }

  async #confirm (): Promise<void> {
    const write: Write = async (command) => await this.#write(command)
    await confirmed(this.#client, { wanted: this.#waitForReplicas, deadline: this.#writeDeadline, write })
  }

  async #write<T> (command: Promise<T>): Promise<T> {
    return await within(this.#writeDeadline, command)
  }

  #mustBeUp (): void {
    if (!this.#isUp) throw this.#down()
  }

  /** A client that isn't connected would keep the command until it is: a lookup can't wait for that. */
  get #isUp (): boolean {
    const { status } = this.#client
    // 'wait' is a lazy client, which connects with its first command.
    return status === 'ready' || status === 'wait'
  }

  #down (): RouteCacheError {
    return new RouteCacheError('FRC_STORE', `Redis is not connected (the client's status is "${this.#client.status}")`)
  }
}
