// One run per key in this process, and one poll where another process runs it. The first request that misses opens a
// flight and takes the lease; those that miss while it is on wait for its landing, all of them side by side:
//
//   stored   the response lies in the store, and was still true when it was read there after all of them had begun
//   again    it does not, or is true no more: look up once more
//   pass     it can't be shared: each runs its own handler
//   failed   the handler failed: a follower with a stale entry that may stand in gets that; others run their own handlers
//
// The read at the landing is for this race of a follower R, a leader L and an invalidation W. W is of a tag, so L keeps its
// lease:
//
//   1. L  takes the lease; reads the old row
//   2. W  writes the new row; invalidates the tag; returns
//   3. R  begins; finds nothing; the flight is on, so it waits
//   4. L  fills: the lease is held, so it is stored, though no read will find it valid
//   5. L  lands: the flight is closed, then the entry read with its tags' generations -> invalid -> 'again'
//
// A key's invalidation between 4 and 5 removes the entry, so that the same read doesn't find it.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds } from '../duration.js'
import type { Entry } from '../entry/entry.js'
import { Backoff } from '../store/wait/backoff.js'
import { within, isLate } from '../store/wait/deadline.js'
import { LEASE_TIME, type Lease, type Store } from '../store/store.js'
import { RouteCacheError, show } from '../errors.js'

/** The place of an entry: the members that select it, and their fingerprint; null where it doesn't vary. */
export interface Place { members: readonly string[], variant: string | null }

export type Landing =
  | { type: 'stored', stored: LandedEntry }
  | { type: 'again' }
  | { type: 'pass' }
  | { type: 'failed' }

/** The entry that a landing hands out, with the selection and the tags that decide who may have it. */
export interface LandedEntry extends Place {
  entry: Entry
  tags: readonly string[]
}

/** Pauses between two looks at another process' lease. */
const POLLS = { first: 5, longest: 100, factor: 1.5 }
/** A handler that takes longer loses its lease, whether it will ever answer or not. */
const LONGEST_RUN: Milliseconds = 10 * 60_000

/** Until when followers wait for a fill that has begun, and how they are let go then. */
interface BegunFill { until: Milliseconds, letGo: () => void }

/** The lease that a flight leads under, and how long its followers wait. */
interface Leading { store: Pick<Store, 'renew' | 'release'>, key: string, lease: Lease, waitTimeout: Milliseconds }

/** A value that comes once. Only who waits for it costs a promise: most flights have no followers. */
class Coming<T> {
  #came: { value: T } | null = null
  #waiting: Array<(value: T) => void> | null = null

  async wait (): Promise<T> {
    if (this.#came !== null) return this.#came.value
    return await new Promise((resolve) => { (this.#waiting ??= []).push(resolve) })
  }

  /** Only the first one counts. */
  come (value: T): void {
    if (this.#came !== null) return
    this.#came = { value }
    if (this.#waiting !== null) for (const resolve of this.#waiting) resolve(value)
    this.#waiting = null
  }
}

export class Flight {
  /** Of the place that it fills: see `flightName`. */
  readonly name: string
  readonly key: string
  readonly #began = performance.now()
  readonly #flights: Flights
  readonly #landing = new Coming<Landing>()
  readonly #known = new Coming<undefined>()
  #renewal: NodeJS.Timeout | undefined
  #limit: NodeJS.Timeout | undefined
  #leading: Leading | null = null
  #followers = 0
  #fill: BegunFill | null = null
  /** The handler has answered; what is waited for is only the fill. */
  isAnswered = false
  isLanded = false
  /** Nobody waits for it: its key's last response could not be shared. */
  isPass = false

  constructor (name: string, key: string, flights: Flights) {
    this.name = name
    this.key = key
    this.#flights = flights
  }

  get age (): Milliseconds {
    return performance.now() - this.#began
  }

  get isAlone (): boolean {
    return this.#followers === 0
  }

  /** Resolves when it lands. */
  async landed (): Promise<void> {
    await this.#landing.wait()
  }

  /** Resolves when the store has said who runs the handler. */
  async known (): Promise<void> {
    await this.#known.wait()
  }

  /** The landing; null where it doesn't come within this time. */
  async follow (time: Milliseconds): Promise<Landing | null> {
    this.#followers++
    if (this.#fill !== null && this.#followers === 1) this.#limitFill(this.#fill)
    return await within(Math.max(1, time), this.#landing.wait()).catch(() => null)
  }

  /**
   * This process runs the handler: the lease is renewed until the landing; after `waitTimeout`, as one that nobody is to
   * wait for. If the lease is lost, all followers are let go, though the handler has not answered. If the flight was
   * cancelled meanwhile, the lease is given back at once.
   */
  lead (leading: Leading): void {
    const { store, key, lease } = leading
    this.isPass = lease.isPass
    if (this.isLanded) {
      store.release(key, lease).catch(() => {})
      return
    }
    this.#leading = leading
    this.#known.come(undefined)
    this.#renewal = setInterval(() => { this.#renew(leading) }, LEASE_TIME / 3)
    this.#renewal.unref()
  }

  #renew ({ store, key, lease, waitTimeout }: Leading): void {
    const onLost = (): void => { this.#flights.land(this, { type: 'again' }) }
    if (this.age > LONGEST_RUN) return onLost()
    this.isPass ||= this.age > waitTimeout
    // A lease that is lost stays lost: the fill will be refused. Where the store doesn't answer, it may be held yet.
    store.renew(key, lease, this.isPass).then((isHeld) => { if (!isHeld) onLost() }, () => {})
  }

  /** The client has left: the handler's answer is welcome for a while, but nobody knows whether it will come. */
  limit (time: Milliseconds, giveUp: () => void): void {
    if (this.isLanded) return
    this.#limit = setTimeout(giveUp, Math.max(time, LEASE_TIME))
    this.#limit.unref()
  }

  /**
   * The answer was given to the store, which may hang: for so long followers wait for that, be they there already or to
   * come; 0: without limit. Where there are none no timer is needed.
   */
  filling (time: Milliseconds, letGo: () => void): void {
    if (time === 0 || this.isLanded) return
    this.#fill = { until: performance.now() + time, letGo }
    if (!this.isAlone) this.#limitFill(this.#fill)
  }

  #limitFill ({ until, letGo }: BegunFill): void {
    clearTimeout(this.#limit)
    // Sockets are read between timers and immediates.
    this.#limit = setTimeout(() => setImmediate(letGo), until - performance.now())
  }

  /** Another process runs it: asks for its end, less and less often, and never in step with others. */
  async poll (holder: () => Promise<'held' | 'pass' | 'none'>, longest: Milliseconds): Promise<Landing> {
    this.#known.come(undefined)
    const pauses = new Backoff(POLLS)
    while (this.age < longest && !this.isLanded) {
      await sleep(pauses.next())
      const held = await holder()
      if (held !== 'held') return { type: held === 'pass' ? 'pass' : 'again' }
    }
    return { type: 'pass' }
  }

  /** Lets everybody go though its handler has not answered, and gives the lease back. Rejects as the store does. */
  async cancel (): Promise<void> {
    if (this.isLanded || this.isAnswered) return
    const leading = this.#leading
    this.land({ type: 'pass' })
    await leading?.store.release(leading.key, leading.lease)
  }

  /** Lets everybody go. Does nothing the second time. */
  land (landing: Landing): void {
    this.isLanded = true
    this.#flights.landed(this)
    this.#stop()
    this.#known.come(undefined)
    this.#landing.come(landing)
  }

  /** It keeps nothing then: whoever still knows the flight would keep the lease and the store's work with it. */
  #stop (): void {
    this.#leading = null
    this.#fill = null
    clearInterval(this.#renewal)
    clearTimeout(this.#limit)
  }
}

/** The flights of this process, by the name of what they fill. */
export class Flights {
  readonly #open = new Map<string, Flight>()
  /** Also those that nobody joins any more. */
  readonly #aloft = new Set<Flight>()
  #areCancelled = false

  /** The flights that have not landed. */
  get aloft (): readonly Flight[] {
    return [...this.#aloft]
  }

  get areAloft (): boolean {
    return this.#aloft.size > 0
  }

  get size (): number {
    return this.#open.size
  }

  get (name: string): Flight | undefined {
    return this.#open.get(name)
  }

  open (name: string, key: string): Flight {
    const flight = new Flight(name, key, this)
    this.#aloft.add(flight)
    // By a lookup that was on its way when all were.
    if (this.#areCancelled) flight.land({ type: 'pass' })
    else this.#open.set(name, flight)
    return flight
  }

  /** From here on nobody joins it. */
  close (flight: Flight): void {
    if (this.#open.get(flight.name) === flight) this.#open.delete(flight.name)
  }

  /** Called by each flight when it lands. */
  landed (flight: Flight): void {
    this.#aloft.delete(flight)
  }

  land (flight: Flight, landing: Landing): void {
    this.close(flight)
    flight.land(landing)
  }

  /** Cancels all whose handlers have not answered, and will come yet: nothing will be stored any more. Never rejects. */
  async cancel (): Promise<void> {
    this.#areCancelled = true
    await Promise.allSettled([...this.#open.values()].map(async (flight) => await flight.cancel()))
  }

  /** The runs for these keys can't be stored any more: new requests need not wait for them. */
  forget (isGone: (key: string) => boolean): void {
    for (const [name, flight] of this.#open) if (isGone(flight.key)) this.#open.delete(name)
  }
}

/**
 * The name of the place that is filled: a key, or a variant of it. Keys are well-formed Unicode (key.ts), so none begins
 * like a variant's name.
 */
export function flightName (key: string, variant: string | null): string {
  return variant === null ? key : `\ud800${variant}:${key}`
}

// Work that a closing app waits for, and who wants the cache to be settled; most of it no request waits for.

export class Background {
  /** Counted, not listed: each fill is one, and few wait for all to end. */
  #pending = 0
  #waiting: Array<() => void> = []

  /** Nothing that `work` or `onError` throws goes further: nobody is there to hear it, and it would end the process. */
  run (work: () => Promise<void>, onError: (error: unknown) => unknown): void {
    this.#pending++
    this.#settle(work, onError)
  }

  /** Never rejects. */
  async #settle (work: () => Promise<void>, onError: (error: unknown) => unknown): Promise<void> {
    try {
      await work()
    } catch (error) {
      try {
        await onError(error)
      } catch {}
    }
    if (--this.#pending > 0) return
    for (const resolve of this.#waiting) resolve()
    this.#waiting = []
  }

  /** Work that somebody waits for, and those who wait for all as well. */
  async watch<T> (work: Promise<T>): Promise<T> {
    this.run(async () => { await work }, () => {})
    return await work
  }

  get isIdle (): boolean {
    return this.#pending === 0
  }

  /** Resolves when there is none; one may end in another: a refresh gives its lease back. */
  async idle (): Promise<void> {
    while (this.#pending > 0) await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
  }
}

// Waits until no fill, refresh or invalidation is running. A fill begins in its request's flight and ends in the background,
// with no turn of the event loop between flight and background. Refreshes and invalidations are background work all the
// time.

export interface Work { flights: Flights, background: Background }

/** Resolves when there is none; after this time rejects with FRC_DEADLINE, and says what there is. 0: no limit. */
export async function whenIdle ({ flights, background }: Work, time: Milliseconds): Promise<void> {
  const end = performance.now() + time
  for (;;) {
    const aloft = flights.aloft
    if (aloft.length === 0 && background.isIdle) return
    const done = Promise.all([...aloft.map(async (flight) => { await flight.landed() }), background.idle()])
    try {
      await within(time === 0 ? 0 : Math.max(1, end - performance.now()), done)
    } catch (error) {
      if (isLate(error)) throw unsettled(flights, time)
      throw error
    }
  }
}

function unsettled (flights: Flights, time: Milliseconds): RouteCacheError {
  const keys = flights.aloft.map(({ key }) => show(key))
  const what = keys.length === 0
    ? 'the store has not answered a fill, a refresh or an invalidation'
    : `handlers have not answered, or what they answered is not stored, for ${keys.join(', ')}`
  return new RouteCacheError('FRC_DEADLINE', `the cache is not settled after ${time} ms: ${what}`)
}
