// The option `memory`: its type, which a cache without routes has, too. The check is in cache-settings.ts.
import type { Bytes, Duration } from '../duration.js'

/** The option `memory`. */
export interface TierOptions {
  /** The most that it holds, names and values; the least recently used go first. Bytes. Default 64 MiB. 0: nothing. */
  maxBytes?: Bytes | undefined
  /** How long a copy is kept at most. Default 60 seconds. 0: until it changes or has to make room. */
  maxAge?: Duration | undefined
}
