// Who fills an entry again that was served stale: one request of our own for each key, over all processes. The lease
// decides, taken when the stale answer is on its way; nobody waits for it.
//
// Nothing is run twice where two processes have read the same stale entry:
//
//   1. A  reads the entry, stale, with the checksum c; answers
//   2. B  reads it, too; answers; takes the lease, runs the handler, fills: the checksum is d now, the lease is gone
//   3. A  asks who has the lease: nobody; takes it, if c is still there -> 'changed'
//
// What the handler answers may say that there is no such page any more: then the entry ends, in the step that gives the
// lease back (`end` in store.ts). Otherwise it would be served until its stale time is over.
//
// Where another process has the lease, or its last run could not be stored ('pass'), this one asks no more for a while: each
// stale answer would ask again.
import type { Refreshable, Right } from './claim.js'
import type { Milliseconds } from '../duration.js'
import { flightName, type Flights } from './flight.js'
import { Recent } from '../store/recent.js'
import type { Store, Taken } from '../store/store.js'

/** A lease that a dead process left lasts three times as long. */
const REST_TIME: Milliseconds = 1_000

export interface RefreshParts { store: Store, flights: Flights, now: () => Milliseconds }

export class Refreshes {
  readonly #store: Store
  readonly #flights: Flights
  readonly #now: () => Milliseconds
  /** Until when this process leaves them alone: the first to end comes first. */
  readonly #resting = new Recent<Milliseconds>()

  constructor ({ store, flights, now }: RefreshParts) {
    this.#store = store
    this.#flights = flights
    this.#now = now
  }

  /** The right to fill; null where it is somebody else's, or nobody's for a while. Rejects as the store does. */
  async take ({ key, selected, waitTimeout }: Refreshable): Promise<Right | null> {
    const { variant, marker, ground, bytes } = selected
    const name = flightName(key, variant)
    if (this.#flights.get(name) !== undefined || this.#isResting(name)) return null
    const flight = this.#flights.open(name, key)
    const land = (): void => { this.#flights.land(name, flight, { type: 'again' }) }
    let taken: Taken = 'pass'
    try {
      taken = await this.#takeLease(key, selected)
    } finally {
      if (typeof taken === 'string') {
        if (taken !== 'changed') this.#rest(name)
        land()
      }
    }
    if (typeof taken === 'string') return null
    const lease = taken
    flight.lead({
      renew: async (pass) => await this.#store.renew(key, lease, pass),
      giveBack: async () => await this.#store.release(key, lease),
      isPass: lease.isPass,
      waitTimeout,
      onLost: land
    })
    return { key, lease, marker, ground, flight, isOver: bytes != null }
  }

  /** Unlike a miss it leaves alone what is marked `pass`: that there is no new response hurts nobody yet. */
  async #takeLease (key: string, { variant, bytes, ground }: Refreshable['selected']): Promise<Taken> {
    const holder = await this.#store.holder(key, variant)
    if (holder !== 'none') return holder
    const missing = ground.tags.filter((_, i) => ground.generations[i] === null)
    return await this.#store.take(key, variant, { tags: ground.tags, missing, bytes, marker: null })
  }

  #rest (name: string): void {
    const now = this.#now()
    this.#resting.set(name, now + REST_TIME)
    for (;;) {
      const [other, until] = this.#resting.first()!
      if (until > now) break
      this.#resting.delete(other)
    }
  }

  #isResting (name: string): boolean {
    return (this.#resting.get(name) ?? 0) > this.#now()
  }
}
