// Entries in Redis, one server or a Cluster. Single commands and scripts of one slot, so nothing is ever cross-slot.
import { randomUUID } from 'node:crypto'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { Deadline, Deadlines, isLate } from '../wait/deadline.js'
import { Floor, newHistory, readAll } from './floor.js'
import { QUARANTINE, isGeneration, leastOf, readFloor, readGeneration, type FloorState, type Keys, type Generation } from '../keys.js'
import { Generations } from './generations.js'
import { INVALIDATE_ALL } from './clock-scripts.js'
import { JointInvalidation } from './joint-invalidation.js'
import { KeyRemoval } from './key-removal.js'
import { PrefixRemoval } from './prefix.js'
import { heed, mustFit, type RedisClient } from '../server/redis-client.js'
import { confirmed, allAnswer, type Write } from '../server/topology.js'
import { holdWrites } from './script.js'
import { FILL, FILL_VARIANT, END, PASS, RELEASE, RENEW, SEIZE, TAKE, TAKE_FIRST } from './scripts.js'
import {
  FIRST_LIFE, FIRST_MARKER_TIME, LEASE_TIME, PASS_TIME, type Ask, type Fill, type FillResult, type ValidityReading,
  type Lease, type Reader, type Reading, type Seen, type Seized, type Store, type Taken, type TierStats, type Writing,
  type Targets
} from '../store.js'
import { Tiered, type TierLimits } from '../tier/tiered.js'
import { checksumOf } from '../layout.js'

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
  readonly #writes = new Deadlines()
  #isClosed = false
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
    const write: Write = (command) => this.#write(command)
    this.#client = client
    this.#keys = keys
    this.#writeDeadline = writeDeadline
    this.#now = now
    this.#waitForReplicas = waitForReplicas
    this.#floor = new Floor({ client, keys, write, now, trusting: trustFailover })
    const clock = client.isCluster === true || trustFailover ? null : keys.clock
    this.#generations = new Generations({ client, keys, write, now })
    this.#leases = new Leases({ client, keys, write, beginHistory: async () => await this.#floor.renew() })
    const giveBack = (key: string, token: string): void => { this.#leases.release(key, leaseOf(token)).catch(() => {}) }
    const ask = async (...asked: Parameters<BatchParts['ask']>): Promise<BatchAnswer> => await this.#ask(...asked)
    this.#batches = new Batches({ keys, clock, deadline, giveBack, ask })
    this.#removal = new KeyRemoval({ client, keys, write, now })
    const prefixes = new PrefixRemoval({ client, keys, write })
    const [generations, removal] = [this.#generations, this.#removal]
    this.#joint = new JointInvalidation({ client, keys, write, now, writeDeadline, generations, removal, prefixes })
    mustFit(client)
    this.#tiered = memory === null ? null : new Tiered({ client, keys, limits: memory, now, complain, onDrop })
  }

  async connect (): Promise<void> {
    try {
      await this.#floor.check()
      await this.#lookUpAny()
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
    await this.#lookUpAny()
  }

  /**
   * As lookups ask, so that it fails where they would: one server of a Cluster, for example, refuses several names. Unlike a
   * lookup it succeeds before the journal was told, which waits for the breaker that asks here.
   */
  async #lookUpAny (): Promise<void> {
    await this.generations([])
    await readAll(this.#client, [this.#keys.floor, this.#keys.entry('any')], this.#serverOf)
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

  /** The values of these names, the floor's first, if the servers that answer are known. Takes the leases, where it can. */
  async #ask (names: readonly string[], leases: readonly AskedLease[]): Promise<BatchAnswer> {
    const begun = this.#floor.begin(names)
    const since = typeof begun === 'number' ? begun : await begun
    const ticket = this.#tiered?.sent() ?? 0
    const taking = leases.length === 0 ? null : this.#leases.takeAhead(leases)
    const values = await readAll(this.#client, names, this.#serverOf)
    if (taking !== null) await taking
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
    const taking = this.#takenAhead(seen) ?? this.#leases.take(key, variant, seen)
    const taken = await (seen.marker === null ? taking : this.#changing(taking, (tiered) => { tiered.fill(key, null) }))
    if (typeof taken !== 'string' && seen.tags.length > 0) taken.needs = { tags: seen.tags, at: 0 }
    return taken
  }

  /** The lease that was taken with the read, if no generation was created since, which would be above the clock. */
  #takenAhead ({ token = null, clock = null, missing }: Seen): Promise<Lease> | null {
    if (token === null || clock === null || missing.length > 0) return null
    return Promise.resolve({ token, asOf: clock, variant: null, isPass: false })
  }

  async seize (key: string, tags: readonly string[] = []): Promise<Seized | null> {
    const { history, generations } = await this.#write(this.generations(tags))
    const missing = tags.filter((_, i) => generations[i] === null)
    if (missing.length > 0) await this.#write(this.#generations.create(missing))
    const clock = this.#generations.advance()
    const lease = await this.#changing(this.#leases.seize(key, clock), (tiered) => { tiered.fill(key, null) })
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

  async fill (key: string, lease: Lease, { bytes, life, varied, tags, unreadTags }: Fill): Promise<FillResult> {
    if (unreadTags.length > 0 && !await this.#generations.settle(unreadTags, lease.asOf)) {
      await this.release(key, lease)
      return 'outdated'
    }
    this.#generations.extend(tags, life)
    const names = [this.#keys.entry(key), this.#keys.lease(key, lease.variant)]
    const filling = inTurn(lease, () => this.#write(varied === null
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
    this.#isClosed = true
    this.#floor.close()
    this.#tiered?.close()
    this.#writes.end(new RouteCacheError('FRC_STORE', 'the cache was closed before Redis had answered'))
  }

  /** Waits for the work, and then drops its targets from the tier: also where it failed, as Redis may have done it. */
  #changing<T> (work: Promise<T>, drop: (tiered: Tiered) => void): Promise<T> {
    return this.#tiered === null ? work : work.finally(() => { drop(this.#tiered!) })
  }

  /** The same, and for the replicas. */
  async #telling<T> (work: Promise<T>, drop: (tiered: Tiered) => void): Promise<T> {
    const result = await this.#changing(work, drop)
    const write: Write = async (command) => await this.#write(command)
    await confirmed(this.#client, { wanted: this.#waitForReplicas, deadline: this.#writeDeadline, write })
    return result
  }

  async #write<T> (command: Promise<T>): Promise<T> {
    // What a closed cache still has to say may wait for a server's answer, and not for a connection: nobody makes one.
    if (this.#isClosed && !this.#isUp) {
      command.catch(() => {})
      throw this.#down()
    }
    return await this.#writes.within(this.#writeDeadline, command)
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

// Reads of one turn of the event loop travel together. A read joins the batch that is not sent yet: it reads what the server
// has after the read began. A batch is sent when the sockets that were ready have been read, so requests that came together
// share one trip; one that came alone waits for nothing but that.

/** Names in a batch: a reply of thousands would have everybody wait for its last. */
const MOST_NAMES = 1_000
/** Each of them is a command that the client still keeps: a store that hangs must not be piled up with more. */
const MOST_OVERDUE_READS = 100
const NONE: readonly never[] = []
/** The place of the floor among the names. */
const FLOOR = 0

/** The values of a batch's names, and the floor's state. */
export interface BatchAnswer extends FloorState { values: readonly (Buffer | null)[] }

interface BatchParts {
  keys: Keys
  /** The clock's name, where one server answers and so gives all of a batch in one instant; null: it is not asked for. */
  clock: string | null
  /** Asks the servers; the first name is the floor's. Says in the leases which were taken. */
  ask: (names: readonly string[], leases: readonly AskedLease[]) => Promise<BatchAnswer>
  /** Gives a lease back that was taken for a reader who waits no more. */
  giveBack: (key: string, token: string) => void
  /** How long a reader waits. 0: without limit. */
  deadline: Milliseconds
}

/** A lease that is taken with a read, where nobody has it. `isAsked`: the command was sent. */
export interface AskedLease { key: string, token: string, isAsked: boolean, isTaken: boolean }

interface Waiting {
  reader: Reader
  key: string | null
  lease: AskedLease | null
  /** The lookup's deadline is not for this reader. */
  isPatient: boolean
  main: number
  varied: number
  tags: readonly number[]
}

class Batch {
  readonly names: string[]
  readonly #places = new Map<string, number>()
  /** Places of values that several readers get. */
  readonly #shared = new Set<number>()
  readonly leases: AskedLease[] = []
  #waiting: Waiting[] = []
  readonly #clock: number | null
  isSent = false

  constructor (floor: string, clock: string | null) {
    this.names = clock === null ? [floor] : [floor, clock]
    this.#clock = clock === null ? null : 1
  }

  add (waiting: Waiting): void {
    this.#waiting.push(waiting)
    if (waiting.lease !== null) this.leases.push(waiting.lease)
  }

  /** The place of this name's value. */
  place (name: string): number {
    let place = this.#places.get(name)
    if (place === undefined) {
      place = this.names.push(name) - 1
      this.#places.set(name, place)
    } else {
      this.#shared.add(place)
    }
    return place
  }

  answer ({ values, history, prefixes }: BatchAnswer, left: Milliseconds): void {
    const generations = new Array<Generation | null | undefined>(values.length)
    const generationAt = (place: number): Generation | null => {
      let generation = generations[place]
      if (generation === undefined) generation = generations[place] = readGeneration(values[place]?.toString('latin1') ?? '')
      return generation
    }
    // Without a floor the history began behind this read, and the clock perhaps with it, below this value (store.ts).
    const clock = this.#clock === null || values[FLOOR] == null ? null : clockIn(values[this.#clock])
    for (const { reader, key, lease, main, varied, tags } of this.#take()) {
      reader.read({
        clock,
        main: values[main] ?? null,
        varied: varied === FLOOR ? null : values[varied] ?? null,
        history,
        least: prefixes.length === 0 || key === null ? 0 : leastOf(prefixes, key),
        generations: tags.length === 0 ? NONE : tags.map((place) => generationAt(place)?.dropped ?? null),
        softened: tags.length === 0 ? NONE : tags.map((place) => generationAt(place)?.stale ?? 0),
        isKept: this.#shared.has(varied === FLOOR ? main : varied),
        isNear: false,
        token: lease?.isTaken === true ? lease.token : null
      }, left)
    }
  }

  fail (error: unknown, isMeant?: (waiting: Waiting) => boolean): void {
    for (const { reader } of this.#take(isMeant)) reader.failed(error)
  }

  #take (isMeant?: (waiting: Waiting) => boolean): Waiting[] {
    const taken = this.#waiting
    this.#waiting = isMeant === undefined ? [] : taken.filter((waiting) => !isMeant(waiting))
    return isMeant === undefined ? taken : taken.filter(isMeant)
  }
}

/** `key` null: only the tags are asked for. */
type BatchAsk = Omit<Ask, 'key'> & { key: string | null }

export class Batches {
  readonly #parts: BatchParts
  #next: Batch | null = null
  #overdue = 0

  constructor (parts: BatchParts) {
    this.#parts = parts
  }

  /** `isPatient`: the deadline is not for this reader. */
  add ({ key, variant, tags, toTake = false }: BatchAsk, reader: Reader, isPatient: boolean): void {
    if (this.#overdue >= MOST_OVERDUE_READS) {
      reader.failed(new RouteCacheError('FRC_STORE', `${MOST_OVERDUE_READS} reads have not been answered yet`))
      return
    }
    const { keys, clock } = this.#parts
    const batch = this.#open()
    batch.add({
      reader,
      key,
      // Without the clock of the same instant a lease costs a trip of its own all the same.
      lease: toTake && key !== null && clock !== null ? { key, token: randomUUID(), isAsked: false, isTaken: false } : null,
      isPatient,
      main: key === null ? FLOOR : batch.place(keys.entry(key)),
      varied: key === null || variant === null ? FLOOR : batch.place(keys.variant(key, variant)),
      tags: tags.length === 0 ? NONE : tags.map((tag) => batch.place(keys.tag(tag)))
    })
    if (batch.names.length >= MOST_NAMES) this.#send(batch)
  }

  #open (): Batch {
    if (this.#next !== null) return this.#next
    const batch = this.#next = new Batch(this.#parts.keys.floor, this.#parts.clock)
    setImmediate(() => { this.#send(batch) })
    return batch
  }

  #send (batch: Batch): void {
    if (batch.isSent) return
    batch.isSent = true
    if (this.#next === batch) this.#next = null
    const { ask, giveBack } = this.#parts
    const asking = ask(batch.names, batch.leases)
    const deadline = new Deadline(this.#parts.deadline)
    const answer = (values: BatchAnswer): void => { batch.answer(values, deadline.left) }
    const fail = (error: unknown): void => {
      batch.fail(error)
      for (const { key, token, isAsked } of batch.leases) if (isAsked) giveBack(key, token)
    }
    deadline.wait(asking).then(answer, (error: unknown) => {
      if (!isLate(error)) return fail(error)
      this.#overdue++
      batch.fail(error, ({ isPatient }) => !isPatient)
      asking.then((values) => {
        answer(values)
        for (const { key, token, isTaken } of batch.leases) if (isTaken) giveBack(key, token)
      }, fail).finally(() => { this.#overdue-- })
    })
  }
}

/** Null: it was lost, or is none. */
function clockIn (bytes: Buffer | null | undefined): number | null {
  const text = bytes?.toString('latin1') ?? ''
  return isGeneration(text) ? Number(text) : null
}

/** A reader as a promise. */
export async function promised (add: (reader: Reader) => void): Promise<Reading> {
  return await new Promise((resolve, reject) => { add({ read: resolve, failed: reject }) })
}

// Leases in Redis: each a name with the token of who may fill. Single commands and scripts of one slot.
//
// A renewal that says that nobody is to wait any more changes the token. With F filling and S the server:
//
//   1. F  renews: `~a` for `a`       sent
//   2. F  fills, by the token `a`    sent behind it
//   3. S  the lease is `~a`          the fill is refused, although nobody took the lease
//
// The other way round, too, where the server does not know the fill's script yet: its text is sent behind the renewal. So
// commands that use one lease token run one at a time.

/** Of the key itself, to be given back. */
function leaseOf (token: string): Lease {
  return { token, asOf: 0, variant: null, isPass: false }
}

interface LeasesParts {
  client: RedisClient
  keys: Keys
  write: Write
  /** Called if the clock was lost. */
  beginHistory: () => Promise<unknown>
}

export class Leases {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #beginHistory: () => Promise<unknown>

  constructor ({ client, keys, write, beginHistory }: LeasesParts) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#beginHistory = beginHistory
  }

  /**
   * Takes leases of keys where nobody has them, by commands that are sent in front of the next one. Says in them which were
   * taken; one that the server refuses, as it is full for example, was not. Never rejects.
   */
  async takeAhead (leases: readonly AskedLease[]): Promise<void> {
    holdWrites(this.#client)
    await Promise.all(leases.map((lease) => {
      lease.isAsked = true
      const { key, token } = lease
      return this.#client.set(this.#keys.lease(key), token, 'PX', LEASE_TIME, 'NX', 'GET').then((held) => {
        // A client may have sent it twice.
        lease.isTaken = held === null || held === token
      }, (error: unknown) => { heed(this.#client, error) })
    }))
  }

  async take (
    key: string, variant: string | null, { bytes, marker, missing, clock: seen = null, token: former = null }: Seen
  ): Promise<Taken> {
    const token = former ?? randomUUID()
    const lease = this.#keys.lease(key, variant)
    const target = variant === null ? this.#keys.entry(key) : this.#keys.variant(key, variant)
    const args = [token, LEASE_TIME, ...bytes === undefined ? [] : [bytes === null ? '' : checksumOf(bytes)]]
    const sent = marker === null
      ? TAKE.run(this.#client, [lease, target], args)
      : TAKE_FIRST.run(this.#client, [this.#keys.entry(key), lease, this.#keys.lease(key)],
        [...args, marker, FIRST_MARKER_TIME])
    // A generation that was created since is above what was read before.
    const taking = seen === null || missing.length > 0 ? this.#withClock(sent) : sent
    const taken = await this.#orReleased(key, { token, variant }, { taking, heard: taking })
    const [reply, asOf] = taking === sent ? [taken, seen!] : taken as [reply: unknown, asOf: number]
    if (!Array.isArray(reply)) return { token, asOf, variant, isPass: false }
    const [mine, held] = reply.map(String)
    if (mine !== '') return { token: mine!, asOf, variant, isPass: mine!.startsWith(PASS) }
    return held === '' ? 'changed' : holding(held!)
  }

  /** `clock`: its value of now. Null: the key is in quarantine. */
  async seize (key: string, clock: Promise<number>): Promise<Lease | null> {
    const token = randomUUID()
    const taking = Promise.all([SEIZE.run(this.#client, [this.#keys.lease(key)], [token, LEASE_TIME]), clock])
    const [seized, asOf] = await this.#orReleased(key, { token, variant: null }, { taking, heard: this.#write(taking) })
    return Number(seized) === 1 ? { token, asOf, variant: null, isPass: false, isSeized: true } : null
  }

  /** Both are sent together. `asOf` may be read before or after the lease: the handler runs after either. */
  async #withClock (lease: Promise<unknown>): Promise<[reply: unknown, asOf: number]> {
    const [taken, clock] = await Promise.allSettled([lease, this.#client.get(this.#keys.clock)])
    if (taken.status === 'rejected') throw taken.reason
    if (clock.status === 'rejected') throw clock.reason
    return [taken.value, await this.#asOf(clock.value)]
  }

  /** The lease may have been taken, also where its answer was lost, or comes too late: then it is given back. */
  async #orReleased<T> (
    key: string, { token, variant }: Pick<Lease, 'token' | 'variant'>, { taking, heard }: { taking: Promise<T>, heard: Promise<T> }
  ): Promise<T> {
    try {
      return await heard
    } catch (error) {
      const release = async (): Promise<void> => { await this.release(key, { token, asOf: 0, variant, isPass: false }) }
      taking.then(release, release).catch(() => {})
      throw error
    }
  }

  /** Without a clock nothing is valid: with it went the history, and a new one begins. */
  async #asOf (clock: string | null): Promise<number> {
    if (isGeneration(clock ?? '')) return Number(clock)
    await this.#beginHistory()
    return Number(await this.#client.get(this.#keys.clock) ?? 0)
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    return await inTurn(lease, async () => {
      const token = pass && !lease.isPass ? PASS + lease.token : lease.token
      const names = [this.#keys.lease(key, lease.variant)]
      const renewed = await this.#write(RENEW.run(this.#client, names, [lease.token, LEASE_TIME, token]))
      if (Number(renewed) !== 1) return false
      lease.token = token
      lease.isPass ||= pass
      return true
    })
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    await inTurn(lease, async () => {
      const args = pass ? [lease.token, PASS_TIME] : [lease.token]
      await this.#write(RELEASE.run(this.#client, [this.#keys.lease(key, lease.variant)], args))
    })
  }

  /** `epoch`: of the marker that the variant lies under; '': it is no variant. */
  async end (key: string, lease: Lease, epoch: string): Promise<void> {
    await inTurn(lease, async () => {
      const { variant, token } = lease
      const place = variant === null ? [this.#keys.entry(key)] : [this.#keys.variant(key, variant), this.#keys.entry(key)]
      const args = [token, PASS_TIME, ...variant === null ? [] : [Buffer.from(epoch, 'latin1')]]
      await this.#write(END.run(this.#client, [this.#keys.lease(key, variant), ...place], args))
    })
  }

  /** A lease that lasts longer than any may is left over from before the server's time stepped back, and may be taken. */
  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    const name = this.#keys.lease(key, variant)
    const [held, life] = await this.#write(Promise.all([this.#client.get(name), this.#client.pttl(name)]))
    if (held === null) return 'none'
    const isLeft = !String(held).startsWith(QUARANTINE) && Number(life) > (held === PASS ? PASS_TIME : LEASE_TIME)
    return isLeft ? 'none' : holding(String(held))
  }
}

/** Runs commands that use one lease token one at a time, in the order of the calls. */
export function inTurn<T> (lease: Lease, work: () => Promise<T>): Promise<T> {
  const working = lease.turn === undefined ? work() : lease.turn.then(work)
  lease.turn = working.then(nothing, nothing)
  return working
}

function nothing (): void {}

/** Nobody is to wait for a quarantine, either. */
function holding (value: string): 'held' | 'pass' {
  return value.startsWith(PASS) || value.startsWith(QUARANTINE) ? 'pass' : 'held'
}
