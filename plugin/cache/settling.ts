// When what the cache has in hand is done. A fill begins in its request's flight and ends in the background, with no turn
// between the two; a refresh is in the background all the time; an invalidation, too, though its caller waits for it.
import type { Background } from './background.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError, show } from '../errors.js'
import type { Flights } from './flight.js'
import { isLate, within } from '../store/wait/deadline.js'

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
