// Entries in Redis, one server or a Cluster. Single commands and scripts of one slot, so nothing is ever cross-slot.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { Batches, promised, readAll, type BatchAnswer } from './batch.js'
import { within } from '../wait/deadline.js'
import { Floor, newHistory } from './floor.js'
import { readFloor, type FloorState, type Keys } from '../keys.js'
import { Generations } from './generations.js'
import { INVALIDATE_ALL } from './clock-scripts.js'
import { JointInvalidation } from './joint-invalidation.js'
import { KeyRemoval } from './key-removal.js'
import { inTurn, Leases } from './leases.js'
import { PrefixRemoval } from './prefix.js'
import { mustFit, type RedisClient } from '../server/redis-client.js'
import { confirmed, allAnswer, type Write } from '../server/topology.js'
import { FILL, FILL_VARIANT } from './scripts.js'
import {
  FIRST_LIFE, type Ask, type Fill, type FillResult, type ValidityReading, type Lease, type Reader, type Reading,
  type Seen, type Seized, type Store, type Taken, type TierStats, type Writing, type Targets
} from '../store.js'
import { Tiered, type TierLimits } from '../tier/tiered.js'

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
  /** Null: there is no tier. */
  memory?: TierLimits | null
  /** Told why the tier is not used any more; and of each time that it was dropped whole. */
  complain?: (error: unknown) => void
  onDrop?: () => void
}

export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #writeDeadline: Milliseconds
  readonly #now: () => Milliseconds
  readonly #waitForReplicas: number
  readonly #floor: Floor
  readonly #batches: Batches
  readonly #serverOf = (name: string): RedisClient | undefined => this.#floor.serverOf(name)
  readonly #generations: Generations
  readonly #leases: Leases
  readonly #removal: KeyRemoval
  readonly #joint: JointInvalidation
  readonly #tiered: Tiered | null

  constructor ({
    client, keys, deadline = 0, writeDeadline, now, trustFailover = false, waitForReplicas = 0, memory = null,
    complain = () => {}, onDrop
  }: RedisStoreOptions) {
    const write: Write = async (command) => await this.#write(command)
    this.#client = client
    this.#keys = keys
    this.#writeDeadline = writeDeadline
    this.#now = now
    this.#waitForReplicas = waitForReplicas
    this.#floor = new Floor({ client, keys, write, now, trusting: trustFailover })
    this.#batches = new Batches({ keys, deadline, ask: async (names) => await this.#ask(names) })
    this.#generations = new Generations({ client, keys, write, now })
    this.#leases = new Leases({ client, keys, write, beginHistory: async () => await this.#floor.renew() })
    this.#removal = new KeyRemoval({ client, keys, write, now })
    const parts = { client, keys, write, now, writeDeadline, generations: this.#generations, removal: this.#removal }
    this.#joint = new JointInvalidation({ ...parts, prefixes: new PrefixRemoval({ client, keys, write }) })
    mustFit(client)
    this.#tiered = memory === null ? null : new Tiered({ client, keys, limits: memory, now, complain, onDrop })
  }

  async connect (): Promise<void> {
    try {
      await this.#floor.check()
    } finally {
      await this.#tiered?.begin()
    }
  }

  get tier (): TierStats | null {
    return this.#tiered?.stats ?? null
  }

  get witness (): Floor { return this.#floor }

  async probe (): Promise<void> {
    this.#mustBeUp()
    if (this.#client.isCluster === true) await allAnswer(this.#client, async (command) => await this.#write(command))
    await this.generations([])
  }

  async read (ask: Ask): Promise<Reading> {
    this.#mustBeUp()
    return await promised((reader) => { this.#batches.add(ask, reader, true) })
  }

  glance (ask: Ask): Reading | null {
    return this.#tiered?.glance(ask) ?? null
  }

  ask (ask: Ask, reader: Reader): void {
    this.#tiered?.missed(ask)
    if (this.#isUp) this.#batches.add(ask, reader, false)
    else reader.failed(this.#down())
  }

  async generations (tags: readonly string[]): Promise<ValidityReading> {
    return await promised((reader) => { this.#batches.add({ key: null, variant: null, tags }, reader, true) })
  }

  /** The values of these names, the floor's first, if the servers that answer are known. */
  async #ask (names: readonly string[]): Promise<BatchAnswer> {
    const begun = this.#floor.begin(names)
    const since = typeof begun === 'number' ? begun : await begun
    const ticket = this.#tiered?.sent() ?? 0
    const values = await readAll(this.#client, names, this.#serverOf)
    const looking = this.#floor.end(names, since)
    if (looking !== undefined) await looking
    this.#tiered?.answered(ticket, names, values)
    const { history, prefixes } = await this.#floorOf(values[0] ?? null)
    return { values, history, prefixes }
  }

  async #floorOf (bytes: Buffer | null): Promise<FloorState> {
    const floor = bytes === null ? await this.#floor.renew() : readFloor(bytes)
    if (floor.prefixes.length > 0) this.#joint.tidy(floor.prefixes)
    return floor
  }

  async take (key: string, variant: string | null, seen: Seen): Promise<Taken> {
    this.#mustBeUp()
    if (seen.missing.length > 0) await this.#generations.create(seen.missing)
    const taking = this.#leases.take(key, variant, seen)
    const taken = await (seen.marker === null ? taking : this.#changing(taking, (tiered) => { tiered.fill(key, null) }))
    if (typeof taken !== 'string' && seen.tags.length > 0) taken.needs = { tags: seen.tags, at: 0 }
    return taken
  }

  async seize (key: string): Promise<Seized | null> {
    const { history } = await this.#write(this.generations([]))
    const lease = await this.#changing(this.#leases.seize(key), (tiered) => { tiered.fill(key, null) })
    return lease === null ? null : { lease, history }
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    const { needs } = lease
    const now = this.#now()
    if (needs !== undefined && now - needs.at > FIRST_LIFE / 3) {
      needs.at = now
      this.#generations.keep(needs.tags)
    }
    return await this.#leases.renew(key, lease, pass)
  }

  async fill (key: string, lease: Lease, { bytes, life, varied, tags, late }: Fill): Promise<FillResult> {
    if (!await this.#generations.settle(late, lease.asOf)) {
      await this.release(key, lease)
      return 'outdated'
    }
    this.#generations.extend(tags, life)
    const names = [this.#keys.entry(key), this.#keys.lease(key, lease.variant)]
    const filling = inTurn(lease, async () => await this.#write(varied === null
      ? FILL.run(this.#client, names, [lease.token, bytes, life, ...lease.isSeized === true ? [1] : []])
      : FILL_VARIANT.run(this.#client, [...names, this.#keys.variant(key, varied.variant), this.#keys.variants(key)],
        [lease.token, Buffer.from(varied.under, 'latin1'), varied.marker, bytes, life, varied.variant, varied.most])))
    const stored = Number(await this.#changing(filling, (tiered) => { tiered.fill(key, lease.variant) }))
    return stored === 2 ? 'crowded' : stored === 1 ? 'stored' : 'lost'
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    await this.#leases.release(key, lease, pass)
  }

  async end (key: string, lease: Lease, epoch: string): Promise<void> {
    await this.#changing(this.#leases.end(key, lease, epoch), (tiered) => { tiered.fill(key, lease.variant) })
  }

  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    this.#mustBeUp()
    return await this.#leases.holder(key, variant)
  }

  async quarantine ({ keys, tags }: Writing, token: string, time: Milliseconds): Promise<boolean> {
    const [byKeys, byTags] = await this.#telling(Promise.all([
      this.#removal.quarantine(keys, token, time), tags.length === 0 || this.#generations.quarantine(tags, token, time)
    ]), (tiered) => { tiered.write({ keys, tags }) })
    return byKeys.had && byTags
  }

  async invalidate (named: Partial<Targets>, token?: string): Promise<number> {
    const { keys = [], tags = [], prefixes = [], all = false } = named
    const targets = { keys, tags, prefixes, all }
    const work = all ? this.#beginHistory() : this.#joint.run(targets, token)
    return await this.#telling(work, (tiered) => { tiered.invalidate(targets) })
  }

  /** With it all other targets are invalidated, too. */
  async #beginHistory (): Promise<number> {
    const { floor, clock, lastTag } = this.#keys
    await this.#write(INVALIDATE_ALL.run(this.#client, [floor, clock, lastTag], [newHistory()]))
    return 0
  }

  async soften ({ keys, tags }: Writing): Promise<number> {
    return await this.#telling(this.#joint.soften({ keys, tags }), (tiered) => { tiered.write({ keys, tags }) })
  }

  close (): void {
    this.#floor.close()
    this.#tiered?.close()
  }

  /** Waits for the work, and then drops its targets from the tier: also where it failed, as Redis may have done it. */
  async #changing<T> (work: Promise<T>, drop: (tiered: Tiered) => void): Promise<T> {
    return this.#tiered === null ? await work : await work.finally(() => { drop(this.#tiered!) })
  }

  /** The same, and for the replicas. */
  async #telling<T> (work: Promise<T>, drop: (tiered: Tiered) => void): Promise<T> {
    const result = await this.#changing(work, drop)
    const write: Write = async (command) => await this.#write(command)
    await confirmed(this.#client, { wanted: this.#waitForReplicas, deadline: this.#writeDeadline, write })
    return result
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
