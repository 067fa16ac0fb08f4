// From a question to what is found: read, and on a miss join the flight that is on, or open one and take the lease. What the
// store does wrong is caught here: the request goes on without the cache, counted and logged.
import type { Caller } from '../telling/caller.js'
import type { Claim, Found, Question, Spare } from './claim.js'
import type { Complaints } from '../telling/log.js'
import type { Milliseconds } from '../duration.js'
import { encodeMarker } from '../entry/codec.js'
import { isAlive, isDue, isFresh, isRescuable, type Entry } from '../entry/entry.js'
import type { Failures } from './failures.js'
import { flightName, leading, type Flight, type Flights, type LandedEntry } from './flight.js'
import type { FormerBuild } from './former-build.js'
import type { CacheLimits } from '../options/limits.js'
import type { Breaker } from '../store/wait/breaker.js'
import { Deadline, isLate, within } from '../store/wait/deadline.js'
import { nameOf } from '../store/keys.js'
import type { Taken } from '../store/store.js'
import { firstMarker, isSelected, selectEntry, without, type First, type Selected, type Selection, type Shelf } from './variant.js'

/** What was found, or that somebody is about to fill it. */
type Finding = Found | { type: 'flight', flight: Flight, spare: Spare | null }

/** A lookup under way, and whether its request has gone on without it. */
interface Ticket extends Question {
  late: boolean
  canWait: boolean
  /** The store has told what it has. */
  isRead: boolean
}

/** What lies there: of no use, or only where the handler fails. */
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
  /** Gives back what came too late. */
  abandon: (claim: Claim, caller: Caller) => void
}

export class Lookup {
  readonly #shelf: Shelf
  readonly #flights: Flights
  readonly #failures: Failures
  readonly #formerBuild: FormerBuild
  readonly #deadline: Milliseconds
  readonly #breaker: Breaker
  readonly #complaints: Complaints
  readonly #maxWaiters: number
  readonly #now: () => Milliseconds
  readonly #random: () => number
  readonly #abandon: LookupParts['abandon']
  /** Requests that wait for another one's handler. */
  #waiting = 0
  /** Lookups that were given up and are not answered yet. */
  #overdue = 0

  constructor (parts: LookupParts) {
    const { shelf, flights, failures, formerBuild, deadline, breaker, complaints, maxWaiters, now, random, abandon } = parts
    this.#shelf = shelf
    this.#flights = flights
    this.#failures = failures
    this.#formerBuild = formerBuild
    this.#deadline = deadline
    this.#breaker = breaker
    this.#complaints = complaints
    this.#maxWaiters = maxWaiters
    this.#now = now
    this.#random = random
    this.#abandon = abandon
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
      // Where the handler has answered, at most its fill is waited for.
      collapsed ||= !finding.flight.isAnswered && !finding.flight.isLanded
      if (this.#waiting >= this.#maxWaiters) return { type: 'miss', claim: null, spare: finding.spare, why: 'waiters' }
      this.#waiting++
      const landing = await finding.flight.follow(left)
      this.#waiting--
      left -= performance.now() - began
      const { spare } = finding
      if (landing === null) this.#tellLongRun(question, caller)
      if (landing?.type === 'failed' && spare !== null && isRescuable(spare.entry, this.#now())) {
        return { type: 'stale', entry: spare.entry, selected: spare.selected, ifError: true }
      }
      if (landing === null || landing.type === 'pass' || landing.type === 'failed') return { type: 'miss', claim: null, spare }
      const entry = landing.type === 'stored' ? this.#fitting(landing.stored, question) : null
      if (entry !== null) return { type: 'hit', entry, collapsed, early: null }
    }
  }

  /** One that asks for what it is about to store waits for itself, in vain; so do two that want each other's. */
  #tellLongRun ({ key, waitTimeout }: Question, { log }: Caller): void {
    this.#complaints.warn(log, 'another run for this cache key did not end within waitTimeout, so nobody waits for it any more: ' +
      'it is slow, or asks for this very key itself, as a load of getOrSet or a handler must not', { key: nameOf(key), waitTimeout })
  }

  /** What was handed out at a landing, if it is this request's, too. */
  #fitting (stored: LandedEntry, { selection }: Question): Entry | null {
    const { entry, tags } = stored
    const isOurs = isSelected(selection, stored) && without(selection.tags, tags).length === 0
    return isOurs && isFresh(entry, this.#now()) ? entry : null
  }

  async #findInTime (ticket: Ticket, caller: Caller, first?: First): Promise<Finding> {
    if (first?.reading === null) return this.#failed(ticket, caller, first.error)
    if (this.#breaker.isOpen) return { type: 'unknown', reason: 'breaker' }
    // Each of them is a command that the client still keeps: a store that hangs must not be piled up with more.
    if (this.#overdue >= MOST_OVERDUE) return { type: 'unknown', reason: 'store' }
    const finding = this.#find(ticket, caller, first)
    try {
      if (this.#shelf.store.kind === 'memory') return await finding
      const found = await new Deadline(first?.left ?? this.#deadline).wait(finding, (late) => {
        if (late.type === 'miss' && late.claim !== null) this.#abandon(late.claim, caller)
      })
      this.#breaker.succeeded()
      return found
    } catch (error) {
      if (isLate(error)) this.#giveUp(ticket, finding)
      return this.#failed(ticket, caller, error)
    }
  }

  #failed ({ isRead, key }: Ticket, { counters, log }: Caller, error: unknown): Finding {
    // What the store refuses to write it may still have to read.
    if (!isRead || isLate(error)) this.#breaker.failed()
    counters.errors++
    this.#complaints.warn(log, 'cache lookup failed', { err: error, key })
    return { type: 'unknown', reason: 'store' }
  }

  async #find (ticket: Ticket, { counters }: Caller, first?: First): Promise<Finding> {
    const { key, selection, toFill, toRefresh } = ticket
    const selected = await selectEntry(this.#shelf, key, selection, first)
    ticket.isRead = true
    const { entry, variant } = selected
    if (entry?.isOfFormerBuild === true) this.#formerBuild.notice(entry)
    let spare: Spare | null = null
    if (entry !== null && !toRefresh) {
      const now = this.#now()
      if (isFresh(entry, now)) {
        const early = ticket.mayBeEarly && isDue(entry, now, this.#random) ? selected : null
        return { type: 'hit', entry, collapsed: false, early }
      }
      if (ticket.mayBeStale && isAlive(entry, now)) return { type: 'stale', entry, selected, ifError: false }
      if (ticket.mayRescue && isRescuable(entry, now)) {
        if (this.#failures.has(flightName(key, variant), entry)) return { type: 'stale', entry, selected, ifError: true }
        spare = { entry, selected }
      }
    }
    const missed = { type: 'miss' as const, claim: null, spare }
    if (selected.isOutdated) counters.outdated++
    if (selected.isUnreadable) counters.unreadable++
    // Late, nobody waits any more: a lease would only keep others from filling.
    if (!toFill || ticket.late) return missed
    // A tag in quarantine: nothing that runs now could be served later.
    if (selected.ground.generations.includes(Infinity)) return missed
    const flight = this.#flights.get(flightName(key, variant))
    if (flight === undefined) return ticket.toFollow === true ? missed : await this.#open(ticket, selected, { spare, entry })
    if (toRefresh || !ticket.canWait || flight.age > ticket.waitTimeout) return missed
    await flight.known()
    return flight.isPass ? missed : { type: 'flight', flight, spare }
  }

  /** Nobody in this process runs it: takes the lease, or waits with all that come now for who has it. */
  async #open (ticket: Ticket, selected: Selected, { spare, entry }: Lying): Promise<Finding> {
    const { variant, bytes, marker: present, ground } = selected
    const { key, selection, toRefresh } = ticket
    const first = present === null ? firstMarker(selection) : null
    const name = flightName(key, variant)
    const flight = this.#flights.open(name, key)
    let taken: Taken = 'pass'
    try {
      const missing = ground.tags.filter((_, i) => ground.generations[i] === null)
      const matters = first !== null || (!toRefresh && ticket.canWait)
      const marker = first === null ? null : encodeMarker(first)
      const seen = { tags: ground.tags, missing, bytes: matters ? bytes : undefined, marker }
      taken = await this.#shelf.store.take(key, variant, seen)
    } finally {
      if (taken === 'pass') this.#flights.land(name, flight, { type: 'pass' })
      if (taken === 'changed' || (taken === 'held' && !ticket.canWait)) this.#flights.land(name, flight, { type: 'again' })
    }
    if (typeof taken !== 'string') {
      const onLost = (): void => { this.#flights.land(name, flight, { type: 'again' }) }
      flight.lead(leading(this.#shelf.store, { key, lease: taken, waitTimeout: ticket.waitTimeout, onLost }))
      const claim = { key, selection, lease: taken, marker: present ?? first, ground, flight, isOver: bytes != null }
      return { type: 'miss', claim, spare, present: entry === null ? null : { entry, selected } }
    }
    if (taken === 'changed') return { type: 'flight', flight, spare }
    if (flight.isLanded) return { type: 'miss', claim: null, spare }
    this.#poll(name, flight, { ...ticket, variant }).catch(() => { this.#flights.land(name, flight, { type: 'pass' }) })
    return { type: 'flight', flight, spare }
  }

  /** Waits for another process' fill, for all who join. */
  async #poll (name: string, flight: Flight, { key, variant, selection, waitTimeout }: Polled): Promise<void> {
    const holder = async (): Promise<'held' | 'pass' | 'none'> => await within(this.#deadline, this.#shelf.store.holder(key, variant))
    const { type } = await flight.poll(holder, waitTimeout)
    if (type === 'pass') this.#flights.land(name, flight, { type })
    else await this.handOut(name, { key, selection, flight })
  }

  /** Hands out what lies there and is valid now, when all who get it have begun: see the head of flight.ts. */
  async handOut (name: string, { key, selection, flight }: Pick<Claim, 'key' | 'selection' | 'flight'>): Promise<void> {
    this.#flights.close(name, flight)
    const stored = flight.isAlone ? null : await this.#reread(key, selection)
    flight.land(stored === null ? { type: 'again' } : { type: 'stored', stored })
  }

  async #reread (key: string, selection: Selection): Promise<LandedEntry | null> {
    const found = await within(this.#deadline, selectEntry(this.#shelf, key, selection)).catch(() => null)
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
