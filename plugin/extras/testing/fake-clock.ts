// A wall clock that stands still until it is told to go on: for the plugin's option `now`.
import { DURATION_FORMS, toMilliseconds, type Duration, type Milliseconds } from '../../duration.js'
import { optionError } from '../../errors.js'

/** A clock for the plugin's option `now`. Timers, and with them deadlines, go by the real one. */
export interface FakeClock {
  /** The instant, in milliseconds since 1970. Needs no `this`. */
  now: () => Milliseconds
  /**
   * Goes on by that; gives the instant then.
   * @throws RouteCacheError FRC_OPTION where it is no duration
   */
  advance: (time: Duration) => Milliseconds
  /**
   * Sets the clock to that instant, which may be earlier: a `Date`, its text, or milliseconds since 1970.
   * @throws RouteCacheError FRC_OPTION where it is no instant
   */
  set: (instant: Date | string | number) => void
}

/** The clock begins at the same instant on every run, so that `Date` fields are the same. */
const START = '2026-01-01T00:00:00Z'

/**
 * A clock that stands still at `start`: `const clock = fakeClock(); routeCache({ now: clock.now }); clock.advance('5m')`.
 * Default: the first instant of 2026.
 * @throws RouteCacheError FRC_OPTION where `start` is no instant
 */
export function fakeClock (start: Date | string | number = START): FakeClock {
  let instant = instantOf('start', start)
  return {
    now: () => instant,
    advance: (time) => {
      const length = toMilliseconds(time)
      if (length === undefined) throw optionError('fakeClock', 'advance', time, DURATION_FORMS)
      return (instant += length)
    },
    set: (to) => { instant = instantOf('set', to) }
  }
}

function instantOf (name: string, value: Date | string | number): Milliseconds {
  const instant = typeof value === 'number' ? value : new Date(value).getTime()
  if (!Number.isFinite(instant)) {
    throw optionError('fakeClock', name, value, 'it is a Date, a text such as "2026-01-31T12:00:00Z", or milliseconds since 1970')
  }
  return instant
}
