// Who asks the cache: the counters and the log of the route and the request that it is for.
import type { BypassReason, RefusalReason } from './outcome.js'
import { count, type Counters } from './stats.js'
import type { FillResult } from './store/store.js'

/** As much of pino as is used here. */
export interface Log {
  debug: (details: object, message: string) => void
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

export interface Caller {
  counters: Counters
  log: Log
  /** Hears what became of the right to fill; what it hears first is it. */
  told?: (end: End) => void
}

/** What becomes of a right to fill; 'abandoned': there was no response. */
export type End = 'stored' | 'abandoned' | RefusalReason | BypassReason

/** Why the store took it or not; null: it did. */
export const REFUSALS: Record<FillResult, RefusalReason | null> = {
  stored: null, lost: 'lease', outdated: 'outdated', 'too-large': 'size'
}

/** Says why a response was not stored, in the statistics and the log. */
export function refuse (key: string, reason: RefusalReason, { counters, log, told }: Caller): void {
  count(counters.refusals, reason)
  told?.(reason)
  log.debug({ key, reason }, 'cache refused')
}
