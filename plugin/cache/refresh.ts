// A stale entry is filled again by one internal request for each key, over all processes. The lease decides which. It is
// taken when the stale response is on its way; nobody waits for it.
//
// Nothing is run twice where two processes have read the same stale entry:
//
//   1. A  reads the entry, stale, with the checksum c; answers
//   2. B  reads it, too; answers; takes the lease, runs the handler, fills: the checksum is d now, the lease is gone
//   3. A  asks who has the lease: nobody; takes it, if c is still there -> 'changed'
//
// The handler's answer may say that there is no such page any more: then the entry ends, in the step that gives the
// lease back (`end` in store.ts). Otherwise it would be served until its stale time is over.
//
// Where another process has the lease, or its last run could not be stored ('pass'), this one asks no more for a while:
// each stale answer would ask again.
import type { Refreshable, Right } from './claim.js'
import { flightName, type Flights } from './flight.js'
import type { Milliseconds } from '../duration.js'
import type { Entry } from '../entry/entry.js'
import { Recent } from '../store/recent.js'
import { PASS_TIME, type Store, type Taken } from '../store/store.js'

/** A lease that a dead process left lasts three times as long. */
const REST_TIME: Milliseconds = 1_000

interface RefreshParts { store: Store, flights: Flights, now: () => Milliseconds }

export class Refreshes {
  readonly #parts: RefreshParts
  /** Until when this process leaves them alone: the first to end comes first. */
  readonly #resting = new Recent<Milliseconds>()

  constructor (parts: RefreshParts) {
    this.#parts = parts
  }

  /** The right to fill; null where it is somebody else's, or nobody's for a while. Rejects as the store does. */
  async take ({ key, selected, waitTimeout }: Refreshable): Promise<Right | null> {
    const { store, flights } = this.#parts
    const { variant, marker, validity, bytes } = selected
    const name = flightName(key, variant)
    if (flights.get(name) !== undefined || this.#isResting(name)) return null
    const flight = flights.open(name, key)
    let lease: Taken = 'pass'
    try {
      lease = await this.#takeLease(key, selected)
    } finally {
      if (typeof lease === 'string') {
        if (lease !== 'changed') this.#rest(name)
        flights.land(flight, { type: 'again' })
      }
    }
    if (typeof lease === 'string') return null
    flight.lead({ store, key, lease, waitTimeout })
    return { key, lease, marker, validity, flight, isOccupied: bytes != null }
  }

  /** Unlike a miss, a refresh leaves a key alone that is marked `pass`: the stale entry is still good enough. */
  async #takeLease (key: string, { variant, bytes, validity }: Refreshable['selected']): Promise<Taken> {
    const holder = await this.#parts.store.holder(key, variant)
    if (holder !== 'none') return holder
    const missing = validity.tags.filter((_, i) => validity.generations[i] === null)
    return await this.#parts.store.take(key, variant, { tags: validity.tags, missing, bytes, marker: null })
  }

  #rest (name: string): void {
    const now = this.#parts.now()
    this.#resting.set(name, now + REST_TIME)
    for (;;) {
      const first = this.#resting.first()!
      if (first.value > now) break
      this.#resting.remove(first)
    }
  }

  #isResting (name: string): boolean {
    return (this.#resting.get(name) ?? 0) > this.#parts.now()
  }
}

// Handlers that failed lately, as this process saw it. Where a stale entry may stand in, nobody waits for such a handler:
// requests are answered at once, and it is tried behind them (refresh.ts).
//
// A run that failed leaves its lease as `pass`, for PASS_TIME: over all processes the handler is tried so often. A failure
// is remembered longer than that, or each time the first request after it would wait for the handler again:
//
//   1. A  misses; the handler fails; the entry stands in; remembered; the lease's name says `pass`
//   2. B  is answered at once; its refresh finds `pass`, and rests
//   3.    PASS_TIME is over
//   4. C  is answered at once; its refresh takes the lease; the handler fails again: from here on it is remembered anew

export const FAILURE_TIME: Milliseconds = 2 * PASS_TIME
/** The oldest go first. */
const MOST_FAILURES = 10_000

export class Failures {
  readonly #now: () => Milliseconds
  /** When each failed. */
  readonly #failed = new Recent<Milliseconds>()

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  get size (): number {
    return this.#failed.size
  }

  /** The handler that would have filled this has failed. */
  note (name: string): void {
    const now = this.#now()
    this.#failed.set(name, now)
    for (;;) {
      const first = this.#failed.first()!
      if (this.#failed.size <= MOST_FAILURES && now < first.value + FAILURE_TIME) break
      this.#failed.remove(first)
    }
  }

  /** The handler works again, though its answer is not stored. */
  forget (name: string): void {
    this.#failed.delete(name)
  }

  /** Whether it failed just now, and nobody has filled it since. */
  has (name: string, { storedAt }: Entry): boolean {
    const at = this.#failed.get(name)
    return at !== undefined && storedAt < at && this.#now() < at + FAILURE_TIME
  }
}
