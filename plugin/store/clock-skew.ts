// Instants of one clock, judged by another: Redis' logical clock, or another host's, by this process' time.
import type { Milliseconds } from '../duration.js'

/**
 * By how much an instant may be ahead of this process' time and still count. Hosts that keep their time (NTP) are apart by
 * milliseconds; what is ahead by more comes of a clock that is, or was, wrong, and says nothing of when something happened.
 * What is made stale may be served for this much longer than it should be, at most.
 */
export const MOST_SKEW: Milliseconds = 1_000

/** Whether the instant lies so far ahead that nobody knows when it was. */
export function isAhead (instant: Milliseconds, now: Milliseconds): boolean {
  return instant > now + MOST_SKEW
}
