// The lookup in full: read; on a miss follow the flight that is on, or open one and take the lease. Failures of the store
// are caught here: the request goes on without the cache, counted and logged.
import type { Caller } from '../telling/caller.js'
import type { Claim, Found, Question, Spare } from './claim.js'
import type { Complaints } from '../telling/log.js'
import type { Milliseconds } from '../duration.js'
import { encodeMarker } from '../entry/codec.js'
import { useOf, type Entry, type Use } from '../entry/entry.js'
import type { Failures } from './refresh.js'
import { flightName, type Flight, type Flights, type LandedEntry } from './flight.js'
import type { FormerBuild } from './former-build.js'
import type { CacheLimits } from '../options/limits.js'
import type { Breaker } from '../store/wait/breaker.js'
import { Deadline, isLate, within } from '../store/wait/deadline.js'
import { nameOf } from '../store/keys.js'
import type { Taken } from '../store/store.js'
import { firstMarker, isSelected, selectEntry, without, type First, type Selected, type Selection, type Shelf } from './variant.js'

/** The result of a read; `flight`: somebody is about to fill the key. */
type Finding = Found | { type: 'flight', flight: Flight, spare: Spare | null }

/** A lookup under way, and whether its request has gone on without it. */
interface Ticket extends Question {
  late: boolean
  canWait: boolean
  /** The store has answered the read. */
  isRead: boolean
}

/** An entry that lies there and is not served, or only where the handler fails. */
interface Lying { spare: Spare | null, entry: Entry | null }

type Polled = Pick<Ticket, 'key' | 'selection' | 'waitTimeout'> & { variant: string | null }

const MOST_OVERDUE = 100
/** A request waits for one run; and for another, where the first ended without an entry. */
const MOST_WAITS = 2

export interface LookupParts extends Pick<CacheLimits, 'deadline' | 'maxWaiters'> {
  shelf: Shelf
  flights: Flights
  failures: Failures
  formerBuild: FormerBuild
  breaker: Breaker
  complaints: Complaints
  now: () => Milliseconds
  random: () => number
  /** Gives back a lease that came too late. */
  abandon: (claim: Claim, caller: Caller) => void
}

export class Lookup {
  readonly #parts: LookupParts
  /** Requests that wait for another one's handler. */
  #waiting = 0
  /** Lookups that were given up and are not answered yet. */
  #overdue = 0

  constructor (parts: LookupParts) {
    this.#parts = parts
  }

  /** How many requests wait for another one's handler. */
  get waiting (): number {
    return this.#waiting
  }

  /**
   * The entry, or on a miss the lease: read and taken within one deadline. Where somebody else is about to fill it, waits
   * for that, `waitTimeout` in all. `first`: was read for it before. Never rejects.
   */
  async run (question: Question, caller: Caller, first?: First): Promise<Found> {
    let left = question.waitTimeout
    let collapsed = false
    for (let waits = 0; ; waits++) {
      const canWait = left > 0 && waits < MOST_WAITS
      const finding = await this.#findInTime({ ...question, late: false, isRead: false, canWait }, caller, first)
      first = undefined
      if (finding.type === 'hit') return { ...finding, collapsed }
      if (finding.type !== 'flight') return finding
      const began = performance.now()
      // If the handler has answered, only the fill is left to wait for.
      collapsed ||= !finding.flight.isAnswered && !finding.flight.isLanded
      if (this.#waiting >= this.#parts.maxWaiters) return { type: 'miss', claim: null, spare: finding.spare, why: 'waiters' }
      this.#waiting++
      const landing = await finding.flight.follow(left)
      this.#waiting--
      left -= performance.now() - began
      const { spare } = finding
      if (landing === null) this.#tellLongRun(question, caller)
      if (landing?.type === 'failed' && spare !== null && useOf(spare.entry, this.#parts.now(), { mayRescue: true, hasFailed: true }) !== null) {
        return { type: 'stale', entry: spare.entry, selected: spare.selected, ifError: true }
      }
      if (landing === null || landing.type === 'pass' || landing.type === 'failed') return { type: 'miss', claim: null, spare }
      const entry = landing.type === 'stored' ? this.#fitting(landing.stored, question) : null
      if (entry !== null) return { type: 'hit', entry, collapsed, early: null }
    }
  }

  /** A handler that asks for the key that it fills waits for itself, in vain; so do two that ask for each other's. */
  #tellLongRun ({ key, waitTimeout }: Question, { log }: Caller): void {
    this.#parts.complaints.warn(log, 'another run for this cache key did not end within waitTimeout, so nobody waits for it any more: ' +
      'it is slow, or asks for this very key itself, as a load of getOrSet or a handler must not', { key: nameOf(key), waitTimeout })
  }

  /** The entry that a landing handed out, if this request selects it, too. */
  #fitting (stored: LandedEntry, { selection }: Question): Entry | null {
    const { entry, tags } = stored
    const isOurs = isSelected(selection, stored) && without(selection.tags, tags).length === 0
    return isOurs && useOf(entry, this.#parts.now(), {}) === 'fresh' ? entry : null
  }

  async #findInTime (ticket: Ticket, caller: Caller, first?: First): Promise<Finding> {
    if (first?.reading === null) return this.#failed(ticket, caller, first.error)
    if (this.#parts.breaker.isOpen) return { type: 'unknown', reason: 'breaker' }
    // Each of them is a command that the client still keeps: a store that hangs must not be piled up with more.
    if (this.#overdue >= MOST_OVERDUE) return { type: 'unknown', reason: 'store' }
    const finding = this.#find(ticket, caller, first)
    try {
      if (this.#parts.shelf.store.kind === 'memory') return await finding
      const found = await new Deadline(first?.left ?? this.#parts.deadline).wait(finding, (late) => {
        if (late.type === 'miss' && late.claim !== null) this.#parts.abandon(late.claim, caller)
      })
      this.#parts.breaker.succeeded()
      return found
    } catch (error) {
      if (isLate(error)) this.#giveUp(ticket, finding)
      return this.#failed(ticket, caller, error)
    }
  }

  #failed ({ isRead, key }: Ticket, { counters, log }: Caller, error: unknown): Finding {
    // A store that refuses to write may still answer reads.
    if (!isRead || isLate(error)) this.#parts.breaker.failed()
    counters.errors++
    this.#parts.complaints.warn(log, 'cache lookup failed', { err: error, key })
    return { type: 'unknown', reason: 'store' }
  }

  async #find (ticket: Ticket, { counters }: Caller, first?: First): Promise<Finding> {
    const { key, selection, toFill, toRefresh } = ticket
    const selected = await selectEntry(this.#parts.shelf, key, selection, first)
    ticket.isRead = true
    const { entry, variant } = selected
    if (entry?.isOfFormerBuild === true) this.#parts.formerBuild.notice(entry)
    const use = entry === null || toRefresh ? null : this.#useOf(entry, ticket, flightName(key, variant))
    if (use === 'fresh' || use === 'early') {
      return { type: 'hit', entry: entry!, collapsed: false, early: use === 'early' ? selected : null }
    }
    if (use === 'stale' || use === 'stand-in') return { type: 'stale', entry: entry!, selected, ifError: use === 'stand-in' }
    const spare = use === 'spare' ? { entry: entry!, selected } : null
    const missed = { type: 'miss' as const, claim: null, spare }
    if (selected.isOutdated) counters.outdated++
    if (selected.isUnreadable) counters.unreadable++
    // Late, nobody waits any more: a lease would only keep others from filling.
    if (!toFill || ticket.late) return missed
    // A tag in quarantine: nothing that runs now could be served later.
    if (selected.ground.generations.includes(Infinity)) return missed
    const flight = this.#parts.flights.get(flightName(key, variant))
    if (flight === undefined) return ticket.toFollow === true ? missed : await this.#open(ticket, selected, { spare, entry })
    if (toRefresh || !ticket.canWait || flight.age > ticket.waitTimeout) return missed
    await flight.known()
    return flight.isPass ? missed : { type: 'flight', flight, spare }
  }

  #useOf (entry: Entry, { mayBeStale, mayRescue, mayBeEarly }: Question, name: string): Use {
    const { now, random: chance, failures } = this.#parts
    return useOf(entry, now(), { mayBeStale, mayRescue, mayBeEarly, chance, hasFailed: () => failures.has(name, entry) })
  }

  /** No handler runs in this process: takes the lease, or waits, with all that come now, for the process that has it. */
  async #open (ticket: Ticket, selected: Selected, { spare, entry }: Lying): Promise<Finding> {
    const { variant, bytes, marker: present, ground } = selected
    const { key, selection, toRefresh } = ticket
    const first = present === null ? firstMarker(selection) : null
    const name = flightName(key, variant)
    const flight = this.#parts.flights.open(name, key)
    let taken: Taken = 'pass'
    try {
      const missing = ground.tags.filter((_, i) => ground.generations[i] === null)
      const matters = first !== null || (!toRefresh && ticket.canWait)
      const marker = first === null ? null : encodeMarker(first)
      const seen = { tags: ground.tags, missing, bytes: matters ? bytes : undefined, marker }
      taken = await this.#parts.shelf.store.take(key, variant, seen)
    } finally {
      if (taken === 'pass') this.#parts.flights.land(name, flight, { type: 'pass' })
      if (taken === 'changed' || (taken === 'held' && !ticket.canWait)) this.#parts.flights.land(name, flight, { type: 'again' })
    }
    if (typeof taken !== 'string') {
      this.#parts.flights.lead(flight, this.#parts.shelf.store, { key, lease: taken, waitTimeout: ticket.waitTimeout })
      const claim = { key, selection, lease: taken, marker: present ?? first, ground, flight, isOver: bytes != null }
      return { type: 'miss', claim, spare, present: entry === null ? null : { entry, selected } }
    }
    if (taken === 'changed') return { type: 'flight', flight, spare }
    if (flight.isLanded) return { type: 'miss', claim: null, spare }
    this.#poll(name, flight, { ...ticket, variant }).catch(() => { this.#parts.flights.land(name, flight, { type: 'pass' }) })
    return { type: 'flight', flight, spare }
  }

  /** Waits for another process' fill, for all who join. */
  async #poll (name: string, flight: Flight, { key, variant, selection, waitTimeout }: Polled): Promise<void> {
    const holder = async (): Promise<'held' | 'pass' | 'none'> => await within(this.#parts.deadline, this.#parts.shelf.store.holder(key, variant))
    const { type } = await flight.poll(holder, waitTimeout)
    if (type === 'pass') this.#parts.flights.land(name, flight, { type })
    else await this.handOut(name, { key, selection, flight })
  }

  /** Hands out the entry that lies there and is valid now, when all followers have begun: see the head of flight.ts. */
  async handOut (name: string, { key, selection, flight }: Pick<Claim, 'key' | 'selection' | 'flight'>): Promise<void> {
    this.#parts.flights.close(name, flight)
    const stored = flight.isAlone ? null : await this.#reread(key, selection)
    flight.land(stored === null ? { type: 'again' } : { type: 'stored', stored })
  }

  async #reread (key: string, selection: Selection): Promise<LandedEntry | null> {
    const found = await within(this.#parts.deadline, selectEntry(this.#parts.shelf, key, selection)).catch(() => null)
    if (found?.entry == null) return null
    const { entry, marker, variant } = found
    return { entry, members: marker?.members ?? [], variant, tags: [...selection.tags, ...entry.tags] }
  }

  #giveUp (ticket: Ticket, finding: Promise<unknown>): void {
    ticket.late = true
    this.#overdue++
    const settled = (): void => { this.#overdue-- }
    finding.then(settled, settled)
  }
}
