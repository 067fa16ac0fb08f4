// The steps between the hooks and the store, one after another: lookup, then (on a miss) fill or abandon; and, apart from
// requests, refresh, what writers do (invalidation.ts) and `get`. Knows keys, bytes and time; nothing of HTTP or Fastify.
//
// A request never hears of what the store does wrong: it goes on without the cache. Only writers, `get` and `inspect` do.
import { setImmediate as turn } from 'node:timers/promises'
import { Background, whenIdle, Flights, flightName, type Landing } from './flight.js'
import { Complaints, channels, tell, type Caller, type Log, type Instance } from '../telling/events.js'
import { NO_TARGETS, type Answer, type Claim, type Found, type Missed, type Question, type Refreshable, type Right, type Targets } from './claim.js'
import type { Milliseconds } from '../duration.js'
import { withoutSecrets } from '../errors.js'
import { useOf, DecodedEntries, type Entry } from '../entry/entry.js'
import { Failures, Refreshes } from './refresh.js'
import { Fills, type Kept } from './fill.js'
import { FormerBuild } from './former-build.js'
import { Invalidation, telling } from './invalidation.js'
import type { AnswerLimits, CacheLimits } from '../options/limits.js'
import { LOOKUP_FAILED, Lookup, TagMemory, selectEntry, type First, type Shelf } from './lookup.js'
import type { CacheStats, Stats } from '../telling/stats.js'
import { Breaker, REQUESTS_GO_ON } from '../store/wait/breaker.js'
import { within } from '../store/wait/deadline.js'
import type { Store } from '../store/store.js'
import type { Selected, Selection } from './claim.js'

/** How long a start waits for connections: well below Fastify's own limit for a hook of it. */
const CONNECT_WAIT: Milliseconds = 1_000
/** How long a closing app waits for fills and refreshes, and for what the store was not told yet. */
const CLOSE_WAIT: Milliseconds = 5_000
/** And for what fails only then. */
const LAST_WAIT: Milliseconds = 1_000

interface CacheParts extends CacheLimits, Partial<AnswerLimits> {
  store: Store
  stats: Stats
  log: Log
  /** The subject of its events. */
  instance: Instance
  /** Names the store that failed, and the cause, in words. */
  describe?: (error: unknown) => string
  /** The store's name with its address, for what tells the end of an outage. Default: it has none. */
  storeName?: string | undefined
  /** What is done without the store, in words. Default: requests go to their handlers. */
  meanwhile?: string | undefined
  /** Hears of what invalidates, when it is asked for. */
  onInvalidation?: ((targets: Targets) => void) | undefined
  /** By how much of its ttl a response's time is shortened at most, 0 to 1. */
  jitter: number
  now: () => Milliseconds
  random: () => number
  enabled: boolean
}

const UNTOLD = Promise.resolve<Found>({ type: 'unknown', reason: 'journal' })

/** The result of a look; and whether a fill is on its way, or nobody is to wait for one. */
export interface LookResult { found: Selected, holder: 'held' | 'pass' | 'none' }

/** What will be filled: its tags, as far as they are known, and how long requests wait for it. */
interface Seizing { tags: readonly string[], waitTimeout: Milliseconds }

export class ResponseCache {
  enabled: boolean
  readonly invalidation: Invalidation
  readonly failures: Failures
  readonly breaker: Breaker
  readonly shelf: Shelf
  readonly formerBuild: FormerBuild
  readonly #parts: CacheParts
  readonly #lookup: Lookup
  readonly #fills: Fills
  readonly #complaints: Complaints
  readonly #refreshes: Refreshes
  readonly #flights = new Flights()
  readonly #background = new Background()
  #isClosed = false

  constructor (parts: CacheParts) {
    this.#parts = parts
    const { store, log, now, enabled, maxBodyBytes = Infinity, maxHeaderBytes = Infinity } = parts
    const flights = this.#flights
    const background = this.#background
    this.enabled = enabled
    const limits = { maxBodyBytes, maxHeaderBytes }
    this.shelf = { store, tagMemory: new TagMemory(), limits, decoded: new DecodedEntries(limits) }
    this.invalidation = new Invalidation({ ...parts, flights, background })
    this.failures = new Failures(now)
    this.formerBuild = new FormerBuild(log, now())
    this.#refreshes = new Refreshes({ store, flights, now })
    this.#complaints = new Complaints(now, parts.describe, parts.storeName)
    this.breaker = this.#openBreaker()
    const { shelf, failures, formerBuild, breaker } = this
    const abandon = (right: Right, caller: Caller, pass?: boolean): void => { this.abandon(right, caller, pass) }
    const shared = { ...parts, shelf, flights, background, complaints: this.#complaints, abandon }
    const untake = (key: string, token: string, caller: Caller): void => { this.untake(key, token, caller) }
    this.#lookup = new Lookup({ ...shared, failures, formerBuild, breaker, untake })
    this.#fills = new Fills({
      ...shared,
      end: (claim, caller) => { this.end(claim, caller) },
      handOut: async (claim) => { await this.#lookup.handOut(claim) },
      invalidate: async (key) => await this.invalidation.run({ ...NO_TARGETS, keys: [key] })
    })
  }

  #openBreaker (): Breaker {
    const { store, log, instance, deadline, breakerThreshold: threshold } = this.#parts
    let lookups = 0
    const onOpen = (error: unknown): void => {
      lookups = this.#past
      if (channels.breaker.hasSubscribers) tell('breaker', instance, { state: 'open', error: withoutSecrets(error), duration: null })
    }
    const onClose = (duration: Milliseconds): void => {
      this.invalidation.hurry()
      this.#complaints.forget(LOOKUP_FAILED)
      if (channels.breaker.hasSubscribers) tell('breaker', instance, { state: 'closed', error: null, duration })
    }
    const past = (): string => `; ${this.#past - lookups} lookups went past it meanwhile`
    const { describe, storeName, meanwhile } = this.#parts
    const said = { ...describe !== undefined && { describe }, storeName, meanwhile, past, log }
    return new Breaker({ ...said, threshold, deadline, probe: async () => { await store.probe() }, onOpen, onClose })
  }

  /** How many lookups went past the store, as it failed. */
  get #past (): number {
    const { store = 0, breaker = 0 } = this.#parts.stats.read().total.bypasses
    return store + breaker
  }

  get stats (): CacheStats {
    return {
      ...this.#parts.stats.read(),
      journal: this.invalidation.kept,
      breaker: this.breaker.isOpen ? 'open' : 'closed',
      tier: this.#parts.store.tier,
      flights: this.#flights.size,
      waiting: this.#lookup.waiting
    }
  }

  now (): Milliseconds {
    return this.#parts.now()
  }

  /** Which store failed, and why, in words. */
  describe (error: unknown): string {
    return this.#parts.describe?.(error) ?? 'the store failed'
  }

  /** Lookups are answered by the store, as far as is known. */
  get isReady (): boolean {
    return this.enabled && this.invalidation.journal.kept.size === 0 && !this.breaker.isOpen
  }

  /** A handler runs in this process, or its answer is on its way, that may be stored. */
  get isFilling (): boolean {
    return this.#flights.areAloft
  }

  /** The entry, or on a miss the lease, or why the store was of no use. Never rejects. */
  lookup (question: Question, caller: Caller, first?: First): Promise<Found> {
    return this.invalidation.journal.kept.size === 0 ? this.#lookup.run(question, caller, first) : UNTOLD
  }

  /** A miss with the lease, where that is known without waiting; null: `lookup` has to tell. */
  missAtOnce (question: Question, first: First): Missed | null {
    return this.invalidation.journal.kept.size === 0 ? this.#lookup.missAtOnce(question, first) : null
  }

  /** A handler runs in this process for this key, or its answer is on its way: a lookup need not ask for the lease. */
  isFillingKey (key: string): boolean {
    return this.#flights.get(flightName(key, null)) !== undefined
  }

  /** Gives back the lease that was taken with this read, if no lookup has used it. Nobody waits for it; it never rejects. */
  giveBack (first: First, caller: Caller): void {
    this.#lookup.giveBack(first, caller)
  }

  /** Gives back a lease of the key itself that was taken with a read. Nobody waits for it; it never rejects. */
  untake (key: string, token: string, caller: Caller): void {
    if (this.#isClosed) return
    const lease = { token, asOf: 0, variant: null, isPass: false }
    const work = async (): Promise<void> => { await this.#parts.store.release(key, lease) }
    this.#background.run(work, (error) => { this.#notGivenBack(key, caller, error) })
  }

  /** Stores an answer under the lease; null: it has no place. Nobody waits for it; it never rejects. */
  fill (claim: Claim, answer: Answer, caller: Caller): Kept | null {
    return this.#fills.run(claim, answer, caller)
  }

  #land ({ flight }: Right, landing: Landing): void {
    this.#flights.land(flight, landing)
  }

  /**
   * Gives the lease back, as there will be no fill; `pass`: of a response that can't be shared, so that nobody waits for the
   * next. Nobody waits for it; it never rejects.
   */
  abandon (right: Right, caller: Caller, pass = false): void {
    const { key, lease } = right
    this.#giveBack(right, caller, { pass, work: async () => { await this.#parts.store.release(key, lease, pass) } })
  }

  /**
   * Gives the lease back after a response that can't be shared, and ends the entry under the key: the response takes its
   * place. Nobody waits for it; it never rejects.
   */
  end (right: Right, caller: Caller): void {
    const { key, lease, marker } = right
    this.#giveBack(right, caller, { pass: true, work: async () => { await this.#parts.store.end(key, lease, marker?.epoch ?? '') } })
    caller.log.debug({ key }, 'cache entry ended')
  }

  #giveBack (right: Right, caller: Caller, { pass, work }: { pass: boolean, work: () => Promise<void> }): void {
    caller.onEnd?.('abandoned')
    // The lease went back, and the client may be closed.
    if (this.#isClosed) return
    this.#background.run(work, (error) => { this.#notGivenBack(right.key, caller, error) })
    this.#land(right, { type: pass ? 'pass' : 'again' })
  }

  #notGivenBack (key: string, { counters, log }: Caller, error: unknown): void {
    counters.errors++
    this.#complaints.warn(log, 'cache lease could not be given back', { err: error, key })
  }

  /** The handler has failed: who waits for it, and who comes soon, is served an entry that may stand in. */
  fail (name: string, right: Right | null): void {
    this.failures.note(name)
    if (right !== null) this.#land(right, { type: 'failed' })
  }

  /** Takes the right to fill a key, whoever had it; null: it is in quarantine. Rejects with FRC_STORE. */
  async seize (key: string, { tags, waitTimeout }: Seizing): Promise<Right | null> {
    this.#parts.onInvalidation?.({ ...NO_TARGETS, keys: [key] })
    const seized = await telling(this.#parts.store, 'seize', this.#parts.store.seize(key, tags))
    if (seized === null) return null
    const { lease, history } = seized
    const flight = this.#flights.open(flightName(key, null), key)
    const validity = { history, least: 0, tags: [], generations: [], softened: [] }
    flight.lead({ store: this.#parts.store, key, lease, waitTimeout })
    return { key, lease, marker: null, validity, flight, isOccupied: false }
  }

  /**
   * Has an entry that was served filled again: `run` makes the request and waits for its end, where this process gets
   * the lease. Nobody waits for it; it never rejects.
   */
  refresh (stale: Refreshable, caller: Caller, run: (right: Right) => Promise<void>): void {
    const { key } = stale
    this.#background.run(async () => {
      // The answer goes first.
      await turn()
      const right = this.enabled ? await this.#refreshes.take(stale) : null
      if (right === null) return
      caller.counters.refreshes++
      caller.log.debug({ key }, 'cache refresh')
      await run(right)
    }, (error) => {
      caller.counters.errors++
      this.#complaints.warn(caller.log, 'cache refresh failed', { err: error, key })
    })
  }

  /** The entry that a request would be served that selects so. Rejects with FRC_STORE. */
  async get (key: string, selection: Selection): Promise<Entry | null> {
    const isTold = this.invalidation.isTold
    const { entry } = await telling(this.#parts.store, 'read', within(this.#parts.deadline, selectEntry(this.shelf, key, selection)))
    return entry !== null && isTold && useOf(entry, this.#parts.now(), {}) === 'fresh' ? entry : null
  }

  /** A lookup's result with this selection, and whether a fill is on its way. Leaves no trace. Rejects with FRC_STORE. */
  async look (key: string, selection: Selection): Promise<LookResult> {
    const shelf = { ...this.shelf, tagMemory: new TagMemory() }
    const looking = selectEntry(shelf, key, selection).then(async (found) => {
      return { found, holder: await this.#parts.store.holder(key, found.variant) }
    })
    return await telling(this.#parts.store, 'read', within(this.#parts.deadline, looking))
  }

  /** Resolves when nothing is under way that ends in the store. Rejects with FRC_DEADLINE after this time; 0: no limit. */
  async settled (time: Milliseconds): Promise<void> {
    await whenIdle({ flights: this.#flights, background: this.#background }, time)
  }

  /**
   * Waits, before the first request, for the store to be connected; without it the app starts, too. Never rejects. `isSaid`:
   * whether the log has that already, by the client's own error.
   */
  async connect (isSaid = (): boolean => false): Promise<void> {
    try {
      await within(CONNECT_WAIT, this.#parts.store.connect())
    } catch (error) {
      const { log, describe, meanwhile = REQUESTS_GO_ON } = this.#parts
      if (!isSaid()) {
        log.warn({ err: error }, `the cache starts without its store${describe === undefined ? '' : `, ${describe(error)}`}: ${meanwhile}, ` +
          'until it is there')
      }
      this.breaker.failedAtStart()
    }
  }

  /**
   * Waits for the fills and refreshes under way, and tells what the store was not told yet, for a bounded time: once more,
   * or, `isPatient`, again and again. Other requests wait no longer for handlers that have not answered: what they answer is
   * not stored any more. Gives what could not be told, or is not confirmed yet; null: the store knows everything.
   */
  async close (time = CLOSE_WAIT, isPatient = false): Promise<Targets | null> {
    this.enabled = false
    this.breaker.end()
    this.#fills.close()
    const began = performance.now()
    await Promise.all([
      within(time, Promise.all([this.#flights.cancel(), this.#background.idle()])).catch(() => {}),
      this.invalidation.finish(time, isPatient)
    ])
    // An invalidation that was under way may have failed since.
    const rest = time === 0 ? 0 : Math.max(isPatient ? 1 : LAST_WAIT, time - (performance.now() - began))
    const left = await this.invalidation.close(rest, isPatient)
    this.#isClosed = true
    this.#parts.store.close()
    return left
  }
}
