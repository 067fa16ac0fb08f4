// The steps between the hooks and the store, one after another: lookup, then (on a miss) fill or abandon; and, apart from
// requests, invalidate and inspect. Knows keys, bytes and time; nothing of HTTP's rules or of Fastify.
//
// What the store does wrong is caught here, in one place: a request goes on without the cache, counted and logged; only
// `invalidate`, `get` and `inspect` reject, because their caller must know.
import { encode } from './codec.js'
import type { Milliseconds } from './duration.js'
import { isFresh, type Entry, type HeaderField, type Marker, type PayloadKind } from './entry.js'
import { RouteCacheError } from './errors.js'
import { count, type CacheStats, type Counters, type RefusalReason, type Stats } from './stats.js'
import { within } from './store/deadline.js'
import type { FillResult, Lease, Store } from './store/store.js'
import { placeFill, selectEntry, type Selection } from './variant.js'

/** As much of pino as is used here. */
export interface Log {
  debug: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

/** Who asks: the counters and the log of the route and the request that it is for. */
export interface Caller {
  counters: Counters
  log: Log
}

/** A fresh entry; or the right to fill, null where somebody else has it, with what is there; or the store could not say. */
export type Found =
  | { type: 'hit', entry: Entry }
  | { type: 'miss', lease: Lease | null, marker: Marker | null }
  | { type: 'unknown' }

/** A request that looks its response up. */
export interface Question {
  key: string
  selection: Selection
  /** A miss will be filled: the lease is taken. */
  toFill: boolean
  /** What is there is not good enough for this client: only the lease is wanted. */
  toRefresh: boolean
}

/** The right to fill, and what it was taken for. */
export interface Claim {
  key: string
  selection: Selection
  lease: Lease
  marker: Marker | null
}

/** What a handler answered, ready to be stored. */
export interface Answer {
  status: number
  headers: readonly HeaderField[]
  body: Buffer
  kind: PayloadKind
  /** The members of its `Vary`. */
  members: readonly string[]
  life: Milliseconds
}

/** A lookup under way, and whether its request has gone on without it. */
interface Ticket extends Question {
  late: boolean
}

const MOST_OVERDUE = 100
/** How long a start waits for connections: well below Fastify's own limit for a hook of it. */
const CONNECT_WAIT: Milliseconds = 1_000
/** How long a closing app waits for fills where `writeDeadline` sets no limit. */
const CLOSE_WAIT: Milliseconds = 5_000

export class ResponseCache {
  enabled: boolean
  readonly #store: Store
  readonly #stats: Stats
  readonly #log: Log
  readonly #deadline: Milliseconds
  readonly #now: () => Milliseconds
  /** Lookups that were given up and are not answered yet. */
  #overdue = 0
  /** Work that no request waits for. */
  readonly #pending = new Set<Promise<void>>()

  constructor ({ store, stats, log, deadline, now, enabled }: {
    store: Store, stats: Stats, log: Log, deadline: Milliseconds, now: () => Milliseconds, enabled: boolean
  }) {
    this.#store = store
    this.#stats = stats
    this.#log = log
    this.#deadline = deadline
    this.#now = now
    this.enabled = enabled
  }

  get stats (): CacheStats {
    return this.#stats.read()
  }

  now (): Milliseconds {
    return this.#now()
  }

  /** Reads the entry and, `toFill` a miss, takes the lease: both within one deadline. Never rejects. */
  async lookup (question: Question, caller: Caller): Promise<Found> {
    // Each of them is a command that the client still keeps: a store that hangs must not be piled up with more.
    if (this.#overdue >= MOST_OVERDUE) return { type: 'unknown' }
    const ticket: Ticket = { ...question, late: false }
    const finding = this.#find(ticket)
    try {
      if (this.#store.kind === 'memory') return await finding
      return await within(this.#deadline, finding, (late) => {
        if (late.type === 'miss' && late.lease !== null) this.abandon(question.key, late.lease, caller)
      })
    } catch (error) {
      if (error instanceof RouteCacheError && error.code === 'FRC_DEADLINE') this.#giveUp(ticket, finding)
      caller.counters.errors++
      caller.log.warn({ err: error, key: question.key }, 'cache lookup failed')
      return { type: 'unknown' }
    }
  }

  async #find (ticket: Ticket): Promise<Found> {
    const { entry, marker, variant } = await selectEntry(this.#store, ticket.key, ticket.selection)
    if (entry !== null && !ticket.toRefresh && isFresh(entry, this.#now())) return { type: 'hit', entry }
    // Late, nobody waits any more: a lease would only keep others from filling.
    return { type: 'miss', lease: ticket.toFill && !ticket.late ? await this.#store.take(ticket.key, variant) : null, marker }
  }

  #giveUp (ticket: Ticket, finding: Promise<unknown>): void {
    ticket.late = true
    this.#overdue++
    const settled = (): void => { this.#overdue-- }
    finding.then(settled, settled)
  }

  /** Stores an answer under the lease. Nobody waits for it; it never rejects. */
  fill ({ key, selection, lease, marker }: Claim, { life, members, ...answer }: Answer, caller: Caller): void {
    const place = placeFill(selection, { members, marker, lease })
    if (place === 'unfit') {
      refuse(key, 'vary', caller)
      return this.abandon(key, lease, caller)
    }
    const storedAt = this.#now()
    const bytes = encode({ ...answer, storedAt, staleAt: storedAt + life, asOf: lease.asOf, epoch: place.epoch })
    this.#track(async () => {
      const result = await this.#store.fill(key, lease, { bytes, life, varied: place.varied })
      const refused = REFUSALS[result]
      if (refused !== null) return refuse(key, refused, caller)
      caller.counters.stores++
      caller.counters.bytes += bytes.length
      caller.log.debug({ key, bytes: bytes.length, ttl: life / 1000 }, 'cache stored')
    }, (error) => {
      caller.counters.errors++
      count(caller.counters.refusals, 'store')
      caller.log.warn({ err: error, key }, 'cache fill failed')
    })
  }

  /** Gives the lease back, as there will be no fill. Nobody waits for it; it never rejects. */
  abandon (key: string, lease: Lease, caller: Caller): void {
    this.#track(async () => await this.#store.release(key, lease), (error) => {
      caller.counters.errors++
      caller.log.warn({ err: error, key }, 'cache lease could not be given back')
    })
  }

  /** Removes the entries and stops the fills of these keys, or of all keys that begin so. Rejects with FRC_STORE. */
  async invalidate (targets: { keys: readonly string[] } | { prefix: string }): Promise<number> {
    const removed = await this.#telling('invalidate', 'prefix' in targets
      ? this.#store.invalidatePrefix(targets.prefix)
      : this.#store.invalidate(targets.keys))
    this.#stats.invalidated(removed)
    this.#log.debug({ ...targets, removed }, 'cache invalidated')
    return removed
  }

  /** The entry that a request would be served that selects so. Rejects with FRC_STORE. */
  async get (key: string, selection: Selection): Promise<Entry | null> {
    const { entry } = await this.#telling('read', within(this.#deadline, selectEntry(this.#store, key, selection)))
    return entry !== null && isFresh(entry, this.#now()) ? entry : null
  }

  /** Waits, before the first request, for the store to be connected; a start without it goes on. Never rejects. */
  async connect (): Promise<void> {
    try {
      await within(CONNECT_WAIT, this.#store.connect())
    } catch (error) {
      this.#log.warn({ err: error }, 'the cache starts without its store, and uses it when it is there')
    }
  }

  /** Waits for the fills under way, for a bounded time. */
  async close (): Promise<void> {
    this.enabled = false
    await within(CLOSE_WAIT, Promise.all(this.#pending)).catch(() => {})
    this.#store.close()
  }

  async #telling<T> (what: string, work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (error instanceof RouteCacheError) throw error
      throw new RouteCacheError('FRC_STORE', `${what}: ${this.#store.kind} failed: ${(error as Error).message}`, error)
    }
  }

  #track (work: () => Promise<void>, onError: (error: unknown) => void): void {
    const done = work().catch(onError).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }
}

const REFUSALS: Record<FillResult, RefusalReason | null> = { stored: null, lost: 'lease', 'too-large': 'size' }

/** Says why a response was not stored, in the statistics and the log. */
export function refuse (key: string, reason: RefusalReason, { counters, log }: Caller): void {
  count(counters.refusals, reason)
  log.debug({ key, reason }, 'cache refused')
}
