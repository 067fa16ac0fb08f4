// The writers' side of the cache: what they wrote makes entries untrue. Told to the store, or where that can't be done now,
// kept in the journal; and whole writes with their targets in quarantine.
import type { Background, Flights } from './flight.js'
import { Downstream } from './downstream.js'
import { channels, since, stamp, tell as publish, type Log, type CacheEvents, type Instance } from '../telling/events.js'
import type { Targets } from './claim.js'
import { Confirmed, isUnreplicated, Journal } from './journal.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import type { CacheLimits } from '../options/limits.js'
import type { OnInvalidate } from '../options/on-invalidate.js'
import { mutate, worked } from './mutation.js'
import { causeOf } from '../store/server/causes.js'
import type { Stats } from '../telling/stats.js'
import { withValue } from '../store/keys.js'
import { NO_TARGETS, type Store } from '../store/store.js'
import { within } from '../store/wait/deadline.js'
import { isNothing, mentioned } from '../key/target.js'

interface InvalidationParts extends Pick<CacheLimits, 'quarantineTime' | 'maxJournal'> {
  store: Store
  stats: Stats
  log: Log
  flights: Flights
  background: Background
  instance: Instance
  /** Names the store that failed, and the cause, in words. */
  describe?: (error: unknown) => string
  /** The store's name with its address, for what tells the end of an outage. Default: it has none. */
  storeName?: string | undefined
  /** Hears of each invalidation when it is asked for. */
  onInvalidation?: ((targets: Targets) => void) | undefined
  /** Tells caches in front, once the store has confirmed. Default: null, there are none. */
  onInvalidate?: OnInvalidate | null
  onInvalidateTimeout?: Milliseconds
}

/** An invalidation that has ended. `began`: when it began; 0: nobody listens. */
interface Ended extends Pick<CacheEvents['invalidation'], 'soft' | 'entries' | 'error'> { began: Milliseconds }

/** An invalidation; `later`: the targets that are told where it has to be told later, more than the targets themselves. */
interface Invalidating {
  work: () => Promise<number>
  later: Targets
  soft: boolean
  /** Caches in front are told. Default: true. */
  isAnnounced?: boolean
}

export class Invalidation {
  readonly #parts: InvalidationParts
  /** The targets that the store was not told of yet. */
  readonly journal: Journal
  readonly #confirmed: Confirmed
  readonly #downstream: Downstream
  /** Calls that were not confirmed yet, nor have failed, with the targets that they invalidate in the end. */
  readonly #underWay = new Map<Promise<unknown>, Targets>()

  constructor (parts: InvalidationParts) {
    this.#parts = parts
    const { store: { witness }, log, maxJournal: most, describe, storeName, instance: { prefix }, background } = parts
    const { onInvalidate: call = null, onInvalidateTimeout: timeout = 0 } = parts
    this.#downstream = new Downstream({ call, timeout, prefix, log, background })
    const onTold = (targets: Targets): void => { this.#downstream.tellLate(targets) }
    const tell = async (targets: Targets): Promise<void> => await this.#tellLate(targets)
    this.journal = new Journal({ tell, onTold, log, most, describe, storeName })
    const again = (list: readonly Targets[]): void => { this.journal.again(list) }
    this.#confirmed = new Confirmed({ witness, again, isTold: () => this.isTold })
  }

  /** The store was told of everything. */
  get isTold (): boolean {
    return this.journal.isEmpty
  }

  /** How many targets the store was not told of yet. */
  get kept (): number {
    return this.journal.size
  }

  /**
   * Invalidates all of these together; the number of entries that went by their keys. `token`: of the quarantine that ends
   * with it. Rejects with FRC_STORE; what the store could not be told is told later, and nothing is served before. Or with
   * FRC_ON_INVALIDATE, once the store was told.
   */
  async run (targets: Targets, token?: string): Promise<number> {
    const work = async (): Promise<number> => await this.#tell(targets, token)
    return await this.during(targets, async () => await this.#invalidate(targets, { work, later: targets, soft: false }))
  }

  /**
   * Invalidates the value under a key, by the value's name, ahead of a response that is stored under the key and then
   * announced. Where it has to be told later, the whole key is told. Rejects with FRC_STORE.
   */
  async endValue (value: string, key: string): Promise<void> {
    const targets = { ...NO_TARGETS, keys: [value] }
    const later = { ...NO_TARGETS, keys: [key] }
    const work = async (): Promise<number> => await this.#tell(targets, undefined, later)
    await this.during(later, async () => await this.#invalidate(targets, { work, later, soft: false, isAnnounced: false }))
  }

  /**
   * What a writer's work made is stored under the key: caches in front have the former response. Rejects with
   * FRC_ON_INVALIDATE, which says that the work is done.
   */
  async announce (key: string): Promise<void> {
    try {
      await this.#downstream.tell({ ...NO_TARGETS, keys: [key] })
    } catch (error) {
      throw worked(error)
    }
  }

  /**
   * Makes them stale instead, as far as they may be served so; the number of entries under these keys. Rejects with
   * FRC_STORE; targets that the store could not be told of are then told later, and end.
   */
  async soften (targets: Targets): Promise<number> {
    const work = async (): Promise<number> => {
      const softened = await this.#confirmed.by(targets, async () => await this.#parts.store.soften(targets))
      this.#forget(targets)
      return softened
    }
    return await this.during(targets, async () => await this.#invalidate(targets, { work, later: targets, soft: true }))
  }

  /**
   * A call that invalidates these in the end, or keeps them in the journal: until then, the cache that closes waits for it,
   * or names them as untold.
   */
  async during<T> (targets: Targets, work: () => Promise<T>): Promise<T> {
    const working = work()
    this.#underWay.set(working, targets)
    try {
      return await working
    } finally {
      this.#underWay.delete(working)
    }
  }

  /** Resolves when one of the calls that are under way has ended. */
  async #ended (): Promise<void> {
    await Promise.race([...this.#underWay.keys()].map(async (call) => { await call.catch(() => {}) }))
  }

  async #invalidate (targets: Targets, { work, later, soft, isAnnounced = true }: Invalidating): Promise<number> {
    const { store, stats, log, background } = this.#parts
    this.#parts.onInvalidation?.(targets)
    const began = stamp(channels.invalidation)
    let entries: number
    try {
      entries = await telling(store, 'invalidate', background.watch(work()))
      this.hurry()
      stats.invalidated(entries)
      if (began > 0) this.#say(targets, { began, soft, entries, error: null })
      if (soft) log.debug({ ...mentioned(targets), softened: entries }, 'cache made stale')
      else log.debug({ ...mentioned(targets), removed: entries }, 'cache invalidated')
    } catch (error) {
      // The primary has it: what is in front is to go as well. A failure of that is in the log.
      if (isAnnounced && isUnreplicated(error)) await this.#downstream.tell(targets, soft).catch(() => {})
      return this.#fail(later, { began, soft, entries: 0, error })
    }
    if (isAnnounced) await this.#downstream.tell(targets, soft)
    return entries
  }

  #fail (targets: Targets, ended: Ended): never {
    const { error } = ended
    this.#parts.stats.invalidationFailed()
    if (ended.began > 0) this.#say(targets, ended)
    const { code, message, cause } = error as RouteCacheError
    // The primary has it, and only replicas lack it. `#confirmed` tells another primary again.
    if (isUnreplicated(error)) throw new RouteCacheError(code, `${message}; another server that takes over is told again`, { cause })
    this.journal.keep(targets, error)
    // A client may be answered with it: it names no keys.
    throw new RouteCacheError(code, `${message}; ${LATER[this.journal.phase]}`, { cause })
  }

  /** Publishes it, where somebody listens. */
  #say ({ keys, tags, prefixes, all }: Targets, { began, soft, entries, error }: Ended): void {
    const named = { keys: keys.length, tags: tags.length, prefixed: prefixes.length > 0, all }
    publish('invalidation', this.#parts.instance, { ...named, soft, entries, error, duration: since(began) ?? 0 })
  }

  /** `token`: of the quarantine that ends with it; undefined: of none. */
  async #tell (targets: Targets, token?: string, later = targets): Promise<number> {
    return await this.#confirmed.by(later, async () => await this.#tellNow(targets, token))
  }

  /** The primary knows an invalidation that replicas have not confirmed, and keeps it: to repeat it would change nothing. */
  async #tellLate (targets: Targets): Promise<void> {
    await this.#tell(targets).catch((error: unknown) => { if (!isUnreplicated(error)) throw error })
  }

  async #tellNow (targets: Targets, token?: string): Promise<number> {
    const removed = isNothing(targets) ? 0 : await this.#parts.store.invalidate(targets, token)
    this.#forget(targets)
    return removed
  }

  /** Does the work with its targets, keys and tags, in quarantine: see mutation.ts. */
  async mutate<T> (targets: Targets, work: () => T | Promise<T>): Promise<T> {
    this.#parts.onInvalidation?.(targets)
    return await this.during(targets, async () => await mutate({
      quarantine: async (targets, token) => {
        const had = await telling(this.#parts.store, 'quarantine', this.#parts.store.quarantine(targets, token, this.#parts.quarantineTime))
        this.#forget(targets)
        return had
      },
      invalidate: async (targets, token) => await this.run(targets, token),
      undo: async (targets, token) => await this.#tell(targets, token),
      time: this.#parts.quarantineTime,
      log: this.#parts.log
    }, targets, work))
  }

  /** Running fills for these targets can't be stored any more: new requests need not wait for them. */
  #forget ({ keys, prefixes, all }: Targets): void {
    const forgotten = new Set(keys.flatMap(withValue))
    this.#parts.flights.forget((key) => all || forgotten.has(key) || prefixes.some((prefix) => key.startsWith(prefix)))
  }

  /** Gives, later, whether the same servers have answered all the while: what they were told meanwhile is not lost. */
  sameServers (): () => boolean {
    const servers = this.#parts.store.witness?.sent()
    return () => servers === undefined || servers() !== ''
  }

  /** The store answers: what is kept is told soon. */
  hurry (): void {
    this.journal.hurry()
  }

  /**
   * Waits for calls that are under way, and tries to tell what is kept: once more, or as long as there is time. Behind it
   * nothing is tried by itself.
   */
  async finish (time: Milliseconds, isPatient: boolean): Promise<void> {
    const end = performance.now() + time
    const left = (): Milliseconds => time === 0 ? 0 : Math.max(1, end - performance.now())
    do {
      await this.journal.finish(left(), isPatient)
      if (this.#underWay.size === 0) return
      await within(left(), this.#ended()).catch(() => {})
    } while (left() !== 1)
  }

  /** Tries what is kept by now; gives what is left, which is lost, and the targets of calls that are under way still. */
  async close (time: Milliseconds, isPatient: boolean): Promise<Targets | null> {
    const left = await this.journal.close(time, isPatient, () => [...this.#underWay.values()])
    await within(time, this.#downstream.idle()).catch(() => {})
    return left
  }
}

/** What becomes of an invalidation that failed, for who waited for it. */
const LATER: Readonly<Record<Journal['phase'], string>> = {
  open: 'the invalidation is tried again until it succeeds, and this process serves nothing from the cache before',
  patient: 'the cache is closing: the invalidation is tried again until close() gives up',
  last: 'the cache is closing: the invalidation is tried once more at most',
  closed: 'the cache is closed: the invalidation is not tried again'
}

/** Says of a failure what could not be done: FRC_STORE, or FRC_DEADLINE as it is. */
export async function telling<T> ({ kind }: Store, what: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (error instanceof RouteCacheError) throw error
    // A client may be answered with it: the server's own words, with names and addresses, are in the cause.
    const why = causeOf(error)
    throw new RouteCacheError('FRC_STORE', `${what}: ${kind} failed${why === null ? '' : ` (${why})`}`, { cause: error })
  }
}
