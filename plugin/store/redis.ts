// Entries in Redis, one server or a Cluster. Single commands and scripts of one slot, so nothing is ever cross-slot.
import { randomUUID } from 'node:crypto'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { within } from './deadline.js'
import { Floor, historyOf, newHistory } from './floor.js'
import { Generations, isGeneration, readAll } from './generations.js'
import type { Keys } from './keys.js'
import { PrefixRemoval } from './prefix.js'
import { keyPrefixOf, readsFromReplicas, type RedisClient } from './redis-client.js'
import { FILL, FILL_VARIANT, INVALIDATE, INVALIDATE_ALL, PASS, RELEASE, RENEW, TAKE, TAKE_FIRST } from './scripts.js'
import {
  FIRST_MARKER_TIME, LEASE_TIME, PASS_TIME, type Ask, type Fill, type FillResult, type Lease, type Reading, type Seen,
  type Store, type Taken
} from './store.js'
import { primariesOf, type Write } from './topology.js'

/** Keys, or tags, that are invalidated at a time. */
const BATCH = 500

export interface RedisStoreOptions {
  client: RedisClient
  keys: Keys
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
  readonly #generations: Generations
  readonly #prefixes: PrefixRemoval

  constructor ({ client, keys, writeDeadline, now, trustFailover = false, waitForReplicas = 0 }: RedisStoreOptions) {
    const write: Write = async (command) => await this.#write(command)
    this.#client = client
    this.#keys = keys
    this.#writeDeadline = writeDeadline
    this.#waitForReplicas = waitForReplicas
    this.#floor = new Floor({ client, keys, write, trusting: trustFailover })
    this.#generations = new Generations({ client, keys, write, now })
    this.#prefixes = new PrefixRemoval({ client, keys, write })
    if (client.isCluster === true && keyPrefixOf(client) !== '') {
      throw new RouteCacheError('FRC_OPTION', `redis: the Cluster client has keyPrefix "${keyPrefixOf(client)}", which puts ` +
        'an entry and its lease into different slots; give the plugin a client without it, and use its own prefix option')
    }
    if (readsFromReplicas(client)) {
      throw new RouteCacheError('FRC_OPTION', 'redis: the client reads from replicas, which may still have what was ' +
        'invalidated; give the plugin one that reads from primaries (no scaleReads, no role: "slave")')
    }
  }

  async connect (): Promise<void> {
    await this.#floor.check()
  }

  async read ({ key, variant, tags }: Ask): Promise<Reading> {
    this.#mustBeUp()
    const names = [this.#keys.entry(key), this.#keys.floor]
    if (variant !== null) names.push(this.#keys.variant(key, variant))
    for (const tag of tags) names.push(this.#keys.tag(tag))
    const [main = null, floor = null, ...others] = await this.#ask(names)
    return {
      main,
      varied: variant === null ? null : others.shift() ?? null,
      history: await this.#history(floor),
      generations: others.map(generationOf)
    }
  }

  async generations (tags: readonly string[]): Promise<Pick<Reading, 'history' | 'generations'>> {
    const [floor = null, ...values] = await this.#ask([this.#keys.floor, ...tags.map((tag) => this.#keys.tag(tag))])
    return { history: await this.#history(floor), generations: values.map(generationOf) }
  }

  async #history (floor: Buffer | null): Promise<string> {
    return floor === null ? await this.#floor.renew() : historyOf(floor)
  }

  /** What these names hold, if those who answer are known. */
  async #ask (names: readonly string[]): Promise<(Buffer | null)[]> {
    const begun = this.#floor.begin(names)
    const since = typeof begun === 'number' ? begun : await begun
    const values = await readAll(this.#client, names)
    this.#floor.end(names, since)
    return values
  }

  async take (key: string, variant: string | null, { missing, bytes, marker }: Seen): Promise<Taken> {
    this.#mustBeUp()
    if (missing.length > 0) await this.#generations.create(missing)
    const token = randomUUID()
    const lease = this.#keys.lease(key, variant)
    const target = variant === null ? this.#keys.entry(key) : this.#keys.variant(key, variant)
    const args = [token, LEASE_TIME, ...bytes === undefined ? [] : [bytes?.subarray(1, 5) ?? '']]
    // Both are sent together. `asOf` may be read before or after the lease: the handler runs after either.
    const [taken, clock] = await Promise.allSettled([
      marker === null
        ? TAKE.run(this.#client, [lease, target], args)
        : TAKE_FIRST.run(this.#client, [this.#keys.entry(key), lease], [...args, marker, FIRST_MARKER_TIME]),
      this.#client.get(this.#keys.clock)
    ])
    if (taken.status === 'fulfilled' && clock.status === 'fulfilled') {
      const [mine, held] = (taken.value as unknown[]).map(String)
      // Without a clock nothing is valid: the next lookup begins a new history, and with it a clock.
      const asOf = Number(isGeneration(clock.value ?? '') ? clock.value : await this.#ticked())
      if (mine !== '') return { token: mine!, asOf, variant, isPass: mine!.startsWith(PASS) }
      if (held === '') return 'changed'
      return held!.startsWith(PASS) ? 'pass' : 'held'
    }
    // The lease may have been taken, also where its answer was lost.
    this.release(key, { token, asOf: 0, variant, isPass: false }).catch(() => {})
    throw taken.status === 'rejected' ? taken.reason : (clock as PromiseRejectedResult).reason
  }

  /** The clock where it was lost: with it goes the history. */
  async #ticked (): Promise<string | number> {
    await this.#floor.renew()
    return await this.#client.get(this.#keys.clock) ?? 0
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    const token = pass && !lease.isPass ? PASS + lease.token : lease.token
    const names = [this.#keys.lease(key, lease.variant)]
    const renewed = await this.#write(RENEW.run(this.#client, names, [lease.token, LEASE_TIME, token]))
    if (Number(renewed) !== 1) return false
    lease.token = token
    lease.isPass ||= pass
    return true
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
    // A number, or its text: a client may be set to give texts.
    return Number(stored) === 1 ? 'stored' : 'lost'
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    const args = pass ? [lease.token, PASS_TIME] : [lease.token]
    await this.#write(RELEASE.run(this.#client, [this.#keys.lease(key, lease.variant)], args))
  }

  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    this.#mustBeUp()
    const held = await this.#write(this.#client.get(this.#keys.lease(key, variant)))
    if (held === null) return 'none'
    return String(held).startsWith(PASS) ? 'pass' : 'held'
  }

  async invalidate (keys: readonly string[]): Promise<number> {
    let removed = 0
    for (let from = 0; from < keys.length; from += BATCH) {
      const counts = await Promise.all(keys.slice(from, from + BATCH).map(async (key) => await this.#write(
        INVALIDATE.run(this.#client, [this.#keys.entry(key), this.#keys.lease(key)], [])
      )))
      removed += counts.reduce<number>((sum, n) => sum + Number(n), 0)
    }
    await this.#confirm()
    return removed
  }

  async invalidatePrefix (prefix: string): Promise<number> {
    const removed = await this.#prefixes.run(prefix)
    await this.#confirm()
    return removed
  }

  async invalidateTags (tags: readonly string[]): Promise<void> {
    for (let from = 0; from < tags.length; from += BATCH) await this.#generations.invalidate(tags.slice(from, from + BATCH))
    await this.#confirm()
  }

  async invalidateAll (): Promise<void> {
    await this.#write(INVALIDATE_ALL.run(this.#client, [this.#keys.floor], [newHistory()]))
    await this.#confirm()
  }

  close (): void {
    this.#floor.close()
  }

  /** Waits, where that is asked for, until the replicas have what was written. */
  async #confirm (): Promise<void> {
    const wanted = this.#waitForReplicas
    if (wanted === 0) return
    // Redis looks ten times a second whether the time is over, and is to say so itself.
    const time = Math.ceil(Math.max(this.#writeDeadline / 2, this.#writeDeadline - 200))
    const counts = await Promise.all(primariesOf(this.#client).map(async (server) =>
      Number(await this.#write(server.wait(wanted, time)))))
    const least = Math.min(...counts)
    if (least < wanted) {
      throw new RouteCacheError('FRC_STORE', `the primary has it, but of ${wanted} replicas only ${least} confirmed in time`)
    }
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

function generationOf (value: Buffer | null): number | null {
  const text = value?.toString('latin1') ?? ''
  return isGeneration(text) ? Number(text) : null
}
