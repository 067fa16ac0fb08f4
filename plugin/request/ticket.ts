// What tells a request of our own from others, and what it is for: see own-request.ts.
import type { Arrival } from './arrival.js'
import type { Right, Spare } from '../cache/claim.js'
import type { Milliseconds } from '../duration.js'
import type { Examined } from './examination.js'
import type { CacheOutcome, End } from '../telling/outcome.js'

export type Why = Extract<CacheOutcome, { type: 'own' }>['why']

/** What a request of our own is for. */
export interface Ticket {
  why: Why
  /** Of a set: what the handler is taken to have answered. */
  value: unknown
  /** How long it is served; null: as the policy says. */
  life: Milliseconds | null
  /** Beside those of the policy. */
  tags: readonly string[]
  /** Of a refresh: how it comes. */
  arrival: Arrival | null
  /** There is a User-Agent among its headers. */
  hasAgent: boolean
  /** Of a refresh: the entry that was served. */
  present: Spare | null
  /** Null from when the request has taken it; and where it comes without. */
  right: Right | null
  /** The key of the right. */
  filling: string | null
  /** The request has come to our first hook. */
  isSeen: boolean
  /** And there to a cached route. */
  isRouted: boolean
  /** The path of the route as it was declared; null: there is none. */
  path: string | null
  /** The key that the route makes for it; null where that is not known. */
  key: string | null
  /** Of a warm-up: what has become of its lookup by now; null: there was none. */
  outcome: (() => CacheOutcome) | null
  /** Of an explanation: what its lookup would have found; null: it did not get so far. */
  examined: Examined | null
  /** Called once, with the end of the right to fill. */
  onEnd: (end: End) => void
  /** Gives back the right that the request has taken. */
  giveUp: () => void
}

/** Null: without a right to fill. */
export function openTicket (why: Why, right: Right | null): Ticket {
  return {
    why,
    value: undefined,
    life: null,
    tags: [],
    arrival: null,
    hasAgent: true,
    present: null,
    right,
    filling: right?.key ?? null,
    isSeen: false,
    isRouted: false,
    path: null,
    key: null,
    outcome: null,
    examined: null,
    onEnd: () => {},
    giveUp: () => {}
  }
}
