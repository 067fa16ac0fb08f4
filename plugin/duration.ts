// The one place where durations are converted: seconds and strings outside, milliseconds inside.
import ms, { type StringValue } from 'ms'

/** A length of time in seconds. */
export type Seconds = number
/** A length of time in milliseconds. */
export type Milliseconds = number
/** A size in bytes. */
export type Bytes = number
/** A length of time: seconds as a number, or a number with its unit as a string: `'250ms'`, `'90s'`, `'10m'`, `'1 day'`. */
export type Duration = Seconds | (string & {})

/** Node's timers go off at once beyond that. */
export const LONGEST_TIMER: Milliseconds = 2 ** 31 - 1

export const DURATION_FORMS = 'a duration is a number of seconds, or a string with a unit such as "90s", "10m" or "1h"'

/** The duration in milliseconds; undefined where it isn't one: not finite, negative, without a unit, or not understood. */
export function toMilliseconds (duration: unknown): Milliseconds | undefined {
  const value = typeof duration === 'number' ? duration * 1000 : parse(duration)
  if (value === undefined || !(value >= 0) || value > Number.MAX_SAFE_INTEGER) return undefined
  return Math.round(value)
}

function parse (duration: unknown): Milliseconds | undefined {
  // A bare "10" is milliseconds to the parser and seconds to its reader, so it is neither; longer strings make it throw.
  if (typeof duration !== 'string' || duration.length > 100 || !/[a-z]/i.test(duration)) return undefined
  return ms(duration.trim() as StringValue) as Milliseconds | undefined
}
