// Events of the cache's work, for subscribers: by Node's diagnostics channels, one for each event,
// called `fastify-route-cache:lookup` and so on. Each is told next to the counter that it belongs to.
//
// For a channel that nobody listens to nothing is made and nothing is measured: `hasSubscribers` is looked at first, also
// before a clock is read. So what began before somebody listened has no duration.
//
// A subscriber is called at once, in the middle of the work. Where it throws, no request hears of it: Node keeps the error
// and raises it as an uncaughtException in the next tick, which ends a process that has no handler for that.
import { channel, type Channel } from 'node:diagnostics_channel'
import type { Bytes, Milliseconds } from '../duration.js'
import type { CacheOutcome, End, RefusalReason } from './outcome.js'
import { nameOf } from '../store/keys.js'

/** One registration of the plugin: several apps may live in one process. */
export interface Instance {
  /** What `fastify.cache` is there: for comparing. */
  cache: object
  /** The prefix of its names in the store. */
  prefix: string
}

/** The instance and the route that an event is about. */
export interface Source {
  instance: Instance
  /** As declared: `GET /users/:id`. Null: a value of `getOrSet`, which has no route. */
  route: string | null
}

/** What those have that are about a route, or where `route` is null, about values of `getOrSet`. */
interface ToldOfRoute extends Instance {
  /** As declared, never as asked for: `GET /users/:id`. */
  route: string | null
}

/** What a request came to, at the end of its lookup; of a hit before it is sent. Once for each request of a cached route. */
export interface LookupEvent extends ToldOfRoute {
  /** The FastifyRequest; null: a call of `getOrSet`. */
  request: object | null
  outcome: Exclude<CacheOutcome, { type: 'own' }>
  /** From where the lookup stands to what it came to, waiting for others' handlers included. Null: there was none. */
  duration: Milliseconds | null
}

/** A miss whose handler failed, and that is answered with a stale entry instead. Behind its lookup's event. */
export interface RescueEvent extends ToldOfRoute {
  request: object
  key: string
  /** That the handler had answered with. */
  status: number
}

/** A run of the handler, when its answer enters the onSend chain, or of a `load` of `getOrSet`, when it is there. */
export interface HandlerEvent extends ToldOfRoute {
  /** Null: the request went past the cache. */
  key: string | null
  /** What had it run. */
  why: 'miss' | 'bypass' | 'refresh'
  /** Null: that of a `load`. */
  status: number | null
  /** From the end of the lookup on, so with body parsing and validation; of a `load` its own time. */
  duration: Milliseconds
}

/** A response, or a value, that was stored or not. */
export interface FillEvent extends ToldOfRoute {
  key: string
  result: 'stored' | RefusalReason
  /** Given to the store, all in all; 0: it was not stored. */
  bytes: Bytes
  /** From the answer to the store's, compression included. Null: the store was not asked. */
  duration: Milliseconds | null
}

/** An entry that was stale, or near its end, was to be filled again behind its answer, and that has ended. */
export interface RefreshEvent extends ToldOfRoute {
  key: string
  /** 'abandoned': there was no response. */
  result: End
  duration: Milliseconds
}

/** A call of `invalidate`, the end of a `mutate` or `set`, or what a route declares. */
export interface InvalidationEvent extends Instance {
  /** Entries become stale instead of going. */
  soft: boolean
  /** How many keys were named. */
  keys: number
  /** How many tags were named. */
  tags: number
  /** A prefix was named. */
  prefixed: boolean
  /** Everything was named. */
  all: boolean
  /** Entries that went, or became stale, by their keys or prefix; 0 where it failed. */
  entries: number
  duration: Milliseconds
  /** Why the store could not be told; null: it was. */
  error: unknown
}

/** The breaker has opened, or closed again. */
export interface BreakerEvent extends Instance {
  state: 'open' | 'closed'
  /** Why it opened; null: it closed. */
  error: unknown
  /** How long it was open; null: it opened. */
  duration: Milliseconds | null
}

/** The in-process tier was dropped whole, and serves nothing until Redis tells of changes again. */
export interface TierEvent extends Instance {
  state: 'dropped'
}

/** By the part of the channel's name behind `fastify-route-cache:`, what is published there. Not to be changed. */
export interface CacheEvents {
  lookup: LookupEvent
  rescue: RescueEvent
  handler: HandlerEvent
  fill: FillEvent
  refresh: RefreshEvent
  invalidation: InvalidationEvent
  breaker: BreakerEvent
  tier: TierEvent
}

export const channels: Readonly<Record<keyof CacheEvents, Channel>> = {
  lookup: channel('fastify-route-cache:lookup'),
  rescue: channel('fastify-route-cache:rescue'),
  handler: channel('fastify-route-cache:handler'),
  fill: channel('fastify-route-cache:fill'),
  refresh: channel('fastify-route-cache:refresh'),
  invalidation: channel('fastify-route-cache:invalidation'),
  breaker: channel('fastify-route-cache:breaker'),
  tier: channel('fastify-route-cache:tier')
}

/** The instant, if anybody listens; else 0. */
export function stamp ({ hasSubscribers }: Channel): Milliseconds {
  return hasSubscribers ? performance.now() : 0
}

/** Null: nobody listened when it began. */
export function since (began: Milliseconds): Milliseconds | null {
  return began === 0 ? null : performance.now() - began
}

/** The members of an event beside its instance. */
type Saying<Event extends keyof CacheEvents> = Omit<CacheEvents[Event], keyof Instance>

/** Callers look first whether anybody listens. */
export function tell<Event extends keyof CacheEvents> (event: Event, instance: Instance, saying: Saying<Event>): void {
  channels[event].publish({ ...instance, ...saying })
}

/** The same of a lookup, which is told for each hit. */
export function tellLookup (
  { instance: { cache, prefix }, route }: Source, request: object | null,
  { outcome, began }: { outcome: LookupEvent['outcome'], began: Milliseconds }
): void {
  const event: LookupEvent = { cache, prefix, route, request, outcome, duration: since(began) }
  channels.lookup.publish(event)
}

/** `key`: as the store has it. */
export function tellFill (
  { instance, route }: Source, key: string, filled: Pick<FillEvent, 'result' | 'bytes' | 'duration'>
): void {
  tell('fill', instance, { route, key: nameOf(key), ...filled })
}
