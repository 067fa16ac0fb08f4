// Work that a closing app waits for, and who wants the cache to be settled; most of it no request waits for.
import type { Flights } from './flight.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError, show } from '../errors.js'
import { isLate, within } from '../store/wait/deadline.js'

export class Background {
  readonly #pending = new Set<Promise<void>>()

  /** Nothing that `work` or `onError` throws goes further: nobody is there to hear it, and it would end the process. */
  run (work: () => Promise<void>, onError: (error: unknown) => void): void {
    const done = work().catch(onError).catch(() => {}).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }

  /** Work that somebody waits for, and those who wait for all as well. */
  async watch<T> (work: Promise<T>): Promise<T> {
    this.run(async () => { await work }, () => {})
    return await work
  }

  get isIdle (): boolean {
    return this.#pending.size === 0
  }

  /** Resolves when there is none; one may end in another: a refresh gives its lease back. */
  async idle (): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }
}

// Waits until no fill, refresh or invalidation is running. A fill begins in its request's flight and ends in the background,
// with no turn of the event loop between the two. Refreshes and invalidations are background work all the time.

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
