// A stale entry that stands in for the answer of a handler that failed: RFC 5861 §4. The lookup found the entry, too stale
// to be served at once, and had the handler run; here the handler's answer is on its way out.
//
// An invalidation meanwhile does not keep the entry from being served. With a request R and a writer W:
//
//   1. R  begins; finds the entry, which is valid; its handler runs
//   2. W  writes the new row; invalidates; returns
//   3. R  its handler fails: the entry is served
//   4. S  begins; finds nothing: its handler runs, and what it answers is sent
//
// R began before 2 had returned, so that it may be served what was true at 1; S may not, and is not.
import type { ResponseCache } from '../cache/cache.js'
import type { Milliseconds } from '../duration.js'
import { useOf, type Entry } from '../entry/entry.js'
import { channels, tell } from '../telling/events.js'
import { isAnswered, keyToFill, refuseAnswer, secondsLeft, type Exchange } from './exchange.js'
import { nameAs } from './naming.js'
import { flightName } from '../cache/flight.js'
import { isError } from '../http/headers.js'

/** An answer on its way out, and whether it is too late for another: its client has left, or a head is sent. */
interface Leaving { status: number, isGone: boolean }

/** Whether this is an answer that a stale entry of this route stands in for, where there is one. */
export function mayBeRescued ({ outcome, site: { policy }, spare, departure }: Exchange, status: number): boolean {
  // A handler that stopped because its client has left has not failed.
  if (policy.rescue === null || !isError(status) || departure?.stopped === true) return false
  return spare !== null || (outcome.type === 'own' && outcome.why === 'refresh')
}

/** The entry that takes the place of this answer; null: none. Says in the exchange that it does. */
export function rescue (cache: ResponseCache, exchange: Exchange, { status, isGone }: Leaving): Entry | null {
  const key = keyToFill(exchange)
  if (key === null || !mayBeRescued(exchange, status)) return null
  const { request, spare, claim, caller: { counters, log, source: { instance, route } } } = exchange
  const isCaptured = isAnswered(exchange)
  cache.fail(nameOf(key, exchange), claim)
  const now = cache.now()
  if (spare === null || isGone || !maySend(cache, spare.entry, now)) return null
  // An answer that was captured before the failure is not stored either; one that was refused is counted already.
  if (!isCaptured || exchange.answer !== null) refuseAnswer(cache, exchange, isCaptured ? 'error' : 'status')
  const { entry } = spare
  // From here on it is this answer that leaves the chain.
  exchange.stage = 'captured'
  exchange.spare = null
  nameAs(exchange, entry)
  exchange.outcome = { type: 'stale', key, ttl: secondsLeft(entry, now), ifError: true, status }
  counters.rescued++
  if (channels.rescue.hasSubscribers) tell('rescue', instance, { route, request, key, status })
  log.debug({ key, status }, 'cache rescue')
  return entry
}

/**
 * The handler has answered with a response that is not stored: it has no such row any more, for example. From here on
 * requests get that answer, and not the entry that stood in while the handler failed.
 */
export function recover (cache: ResponseCache, exchange: Exchange, status: number): void {
  const key = keyToFill(exchange)
  if (key !== null && exchange.site.policy.rescue !== null && !isError(status)) cache.failures.forget(nameOf(key, exchange))
}

/** A handler that failed is remembered by the flight that it was to fill. */
function nameOf (key: string, { claim, spare }: Exchange): string {
  return flightName(key, (claim === null ? spare?.selected : claim.lease)?.variant ?? null)
}

/** By now the cache may be off, or have something to tell the store; and time has passed. */
function maySend (cache: ResponseCache, entry: Entry, now: Milliseconds): boolean {
  return cache.enabled && cache.invalidation.isTold && useOf(entry, now, { mayRescue: true, hasFailed: true }) !== null
}
