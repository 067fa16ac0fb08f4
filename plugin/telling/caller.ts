// The caller of the cache: counters and log of the route, and of the request, that the work is for.
import type { Milliseconds } from '../duration.js'
import { channels, tellFill, tellLookup, type Source } from './events.js'
import type { CacheOutcome, End, RefusalReason } from './outcome.js'
import { count, type Counters } from './stats.js'
import type { FillResult } from '../store/store.js'

/** The part of pino that is used here. */
export interface Log {
  debug: (details: object, message: string) => void
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

export interface Caller {
  counters: Counters
  log: Log
  /** The instance and the route that events name. */
  source: Source
  /** Called with the end of the right to fill; only the first call counts. */
  onEnd?: (end: End) => void
}

/** What a hit is told by; `began`: when its lookup did, 0: nobody listened. */
interface ToldHit { outcome: Extract<CacheOutcome, { type: 'hit' | 'stale' }>, began: Milliseconds }

/** Counts a hit, and says that there is one. `request`: null: a call of `getOrSet`. */
export function tellHit ({ counters, log, source }: Caller, request: object | null, { outcome, began }: ToldHit): void {
  counters.hits++
  if (outcome.type === 'stale') counters.stale++
  else if (outcome.collapsed) counters.collapsed++
  if (channels.lookup.hasSubscribers) tellLookup(source, request, { outcome, began })
  if (request !== null) log.debug({ key: outcome.key }, `cache ${outcome.type}`)
}

/** The reason for a refusal, by the store's result; null: stored. */
export const REFUSALS: Record<FillResult, RefusalReason | null> = {
  stored: null, crowded: null, lost: 'lease', outdated: 'outdated', 'too-large': 'size'
}

/** Says why a response was not stored, which the store was not asked about. */
export function refuse (key: string, reason: RefusalReason, caller: Caller): void {
  noteRefusal(key, reason, caller)
  if (channels.fill.hasSubscribers) tellFill(caller.source, key, { result: reason, bytes: 0, duration: null })
}

/** The same, in the statistics and the log only. */
export function noteRefusal (key: string, reason: RefusalReason, { counters, log, onEnd }: Caller): void {
  count(counters.refusals, reason)
  onEnd?.(reason)
  log.debug({ key, reason }, 'cache refused')
}
