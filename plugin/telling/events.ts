// Events of the cache's work, for subscribers: by Node's diagnostics channels, one for each event,
// called `fastify-route-cache:lookup` and so on. Each is told next to the counter that it belongs to.
//
// For a channel that nobody listens to nothing is made and nothing is measured: `hasSubscribers` is looked at first, also
// before a clock is read. So an event that began before somebody listened has no duration. (Only the requests that `Worth`
// measures, below, are timed all the same.)
//
// A subscriber is called at once, in the middle of the work. Where it throws, no request hears of it: Node keeps the error
// and raises it as an uncaughtException in the next tick, which ends a process that has no handler for that.
import { channel, type Channel } from 'node:diagnostics_channel'
import type { Bytes, Milliseconds } from '../duration.js'
import type { CacheOutcome, End, RefusalReason } from './outcome.js'
import { nameOf } from '../store/keys.js'
import { count, type Counters } from './stats.js'
import type { FillResult } from '../store/store.js'
import { show, withoutSecrets } from '../errors.js'

/** One registration of the plugin: several apps may live in one process. */
export interface Instance {
  /** The app's `fastify.cache`: for comparing. */
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

/** The members of events about a route, or if `route` is null, about values of `getOrSet`. */
interface ToldOfRoute extends Instance {
  /** As declared, never as asked for: `GET /users/:id`. */
  route: string | null
}

/** A request's outcome, at the end of its lookup; for a hit before it is sent. Once for each request of a cached route. */
interface LookupEvent extends ToldOfRoute {
  /** The FastifyRequest; null: a call of `getOrSet`. */
  request: object | null
  outcome: Exclude<CacheOutcome, { type: 'own' }>
  /** From the begin of the lookup to its outcome, waiting for others' handlers included. Null: there was no lookup. */
  duration: Milliseconds | null
}

/** A miss whose handler failed, and that is answered with a stale entry instead. Behind its lookup's event. */
interface RescueEvent extends ToldOfRoute {
  request: object
  key: string
  /** That the handler had answered with. */
  status: number
}

/** A run of the handler, when its answer enters the onSend chain, or of a `load` of `getOrSet`, when it is there. */
interface HandlerEvent extends ToldOfRoute {
  /** Null: the request went past the cache. */
  key: string | null
  /** The reason for the run. */
  why: 'miss' | 'bypass' | 'refresh'
  /** Null: that of a `load`. */
  status: number | null
  /** From the end of the lookup on, so with body parsing and validation; of a `load` its own time. */
  duration: Milliseconds
}

/** A response, or a value, that was stored or not. */
interface FillEvent extends ToldOfRoute {
  key: string
  result: 'stored' | RefusalReason
  /** Given to the store, all in all; 0: it was not stored. */
  bytes: Bytes
  /** From the answer to the store's, compression included. Null: the store was not asked. */
  duration: Milliseconds | null
}

/** An entry that was stale, or near its end, was to be filled again behind its answer, and that has ended. */
interface RefreshEvent extends ToldOfRoute {
  key: string
  /** 'abandoned': there was no response. */
  result: End
  duration: Milliseconds
}

/** A call of `invalidate`, the end of a `mutate` or `set`, or what a route declares. */
interface InvalidationEvent extends Instance {
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
interface BreakerEvent extends Instance {
  state: 'open' | 'closed'
  /** Why it opened; null: it closed. */
  error: unknown
  /** How long it was open; null: it opened. */
  duration: Milliseconds | null
}

/** The in-process tier was dropped whole, and serves nothing until Redis tells of changes again. */
interface TierEvent extends Instance {
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
  channels[event].publish(Object.assign({}, instance, saying))
}

/** Publishes a lookup, which every hit does. */
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
  tell('fill', instance, { route, key: nameOf(key), result: filled.result, bytes: filled.bytes, duration: filled.duration })
}

// The caller of the cache: counters and log of the route, and of the request, that the work is for.

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

/** The values of a hit's event; `began`: when its lookup began, 0: nobody listened. */
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

// The app's logger, as the plugin writes to it: a line that fails is lost, an outage does not fill the log, and no line has
// a password.

/**
 * Most lines are written where no promise of a request waits for them: after a response, by a timer, in a listener. A logger
 * that throws there (a serializer that can't read our error, a destination that is closed), or whose promise rejects, would
 * end the process, or leave a client without its response. Here the line is lost.
 */
export class HarmlessLog implements Log {
  readonly #log: Log

  constructor (log: Log) {
    this.#log = log
  }

  debug (details: object, message: string): void {
    this.#write('debug', details, message)
  }

  info (details: object, message: string): void {
    this.#write('info', details, message)
  }

  warn (details: object, message: string): void {
    this.#write('warn', details, message)
  }

  error (details: object, message: string): void {
    this.#write('error', details, message)
  }

  #write (level: keyof Log, details: object, message: string): void {
    try {
      const told = 'err' in details ? { ...details, err: withoutSecrets(details.err) } : details
      const written: unknown = this.#log[level](told, message)
      if (written instanceof Promise) written.catch(sayOnce)
    } catch (error) {
      sayOnce(error)
    }
  }
}

let isSaid = false

/** There is no log to say it in, and each line may fail. */
function sayOnce (error: unknown): void {
  if (isSaid) return
  isSaid = true
  const reason = error instanceof Error ? error.message : show(error)
  process.emitWarning(`The logger of an app failed, so what fastify-route-cache had to say is lost: ${reason}`)
}

/** In the plugin's options: where the plugin writes, if the app's own logger is off and its framework has another. */
export const STAND_IN = Symbol('fastify-route-cache.stand-in')

const standIns = new WeakMap<object, Log>()

/** What requests of this cache say goes to this log. */
export function speakThrough (cache: object, log: Log): void {
  standIns.set(cache, log)
}

/** The log of a request of this cache; `log`: the request's own. */
export function harmlessLogOf (cache: object, log: Log): HarmlessLog {
  return new HarmlessLog(standIns.get(cache) ?? log)
}

const PAUSE: Milliseconds = 10_000

interface Told { since: Milliseconds, at: Milliseconds, times: number, untold: number }

/** An outage concerns each request, and must not fill the log. */
export class Complaints {
  readonly #now: () => Milliseconds
  readonly #told = new Map<string, Told>()

  readonly #describe: ((error: unknown) => string) | null

  readonly #store: string

  /**
   * `describe`: which store failed, and why; for messages with an error. `store`: which one, for what tells an end. Default
   * of both: messages are as they are.
   */
  constructor (now: () => Milliseconds, describe?: (error: unknown) => string, store?: string) {
    this.#now = now
    this.#store = store === undefined ? '' : `, ${store},`
    this.#describe = describe ?? null
  }

  /** Logs one message at most once in ten seconds, with the number of those in between, which are logged at level debug. */
  warn (log: Log, message: string, details: object): void {
    const now = this.#now()
    const told = this.#told.get(message)
    if (told !== undefined) told.times++
    if (told !== undefined && Math.abs(now - told.at) < PAUSE) {
      told.untold++
      return log.debug(details, message)
    }
    this.#told.set(message, { since: told?.since ?? now, times: told?.times ?? 1, at: now, untold: 0 })
    const words = this.#describe !== null && 'err' in details ? `${message}: ${this.#describe(details.err)}` : message
    log.warn(told === undefined || told.untold === 0 ? details : { ...details, untold: told.untold }, words)
  }

  /** Something was said whose end was not. */
  get areOpen (): boolean {
    return this.#told.size > 0
  }

  /** The trouble of this message is over: says so, as loud as the message, if it was said. */
  end (log: Log, message: string, words: string): void {
    const told = this.#told.get(message)
    if (told === undefined) return
    this.#told.delete(message)
    const time = Math.abs(this.#now() - told.since)
    log.warn({ time, failed: told.times }, `${words}${this.#store === '' ? ',' : this.#store} after ${(time / 1000).toFixed(1)} s; ${told.times} failed meanwhile`)
  }

  /** The end of this was said otherwise. */
  forget (message: string): void {
    this.#told.delete(message)
  }
}

// Whether a route's cache saves more time than it costs, measured in a part of its requests. The cost: lookups, and the part
// of each fill that this process does at once. The gain: the handler's time, with each hit.

/** Means of the route's last measured requests. */
export interface WorthFigures {
  /** How many requests were measured. */
  measured: number
  /** The part of them that were hits, 0 to 1. */
  hitRate: number
  lookup: Milliseconds
  handler: Milliseconds
  fill: Milliseconds
}

/** Of so many requests one is measured, which one by chance: requests often come in a pattern. */
const SAMPLED = 16
/** Measured lookups between two judgments. */
const JUDGED = 64
/** Judgments in a row that find a loss before it is told: a cache that has just started has few hits. */
const LOSSES = 2
/** Measured handlers without which there is no judgment. */
const LEAST_HANDLERS = 16

export class Worth {
  /** False: nobody wants to know, so nothing is measured. */
  readonly isOn: boolean
  readonly #onLoss: (figures: WorthFigures) => void
  readonly #random: () => number
  readonly #lookups = new Mean()
  readonly #hits = new Mean()
  readonly #handlers = new Mean()
  readonly #fills = new Mean()
  #untilNext: number
  #measured = 0
  #losses = 0

  /** `onLoss`: called once, if the cache costs more than it saves. */
  constructor (onLoss: (figures: WorthFigures) => void, random: () => number, isOn = true) {
    this.isOn = isOn
    this.#onLoss = onLoss
    this.#random = random
    this.#untilNext = isOn ? this.#pause() : Infinity
  }

  /** The instant, if this request is measured; else 0. */
  begin (): Milliseconds {
    if (--this.#untilNext > 0) return 0
    this.#untilNext = this.#pause()
    return performance.now()
  }

  #pause (): number {
    return Math.ceil(this.#random() * 2 * SAMPLED)
  }

  lookedUp (time: Milliseconds, isHit: boolean): void {
    this.#lookups.add(time)
    this.#hits.add(isHit ? 1 : 0)
    if (++this.#measured % JUDGED === 0) this.#judge()
  }

  answered (time: Milliseconds): void {
    this.#handlers.add(time)
  }

  filled (time: Milliseconds): void {
    this.#fills.add(time)
  }

  #judge (): void {
    if (this.#losses >= LOSSES || this.#handlers.count < LEAST_HANDLERS) return
    const hitRate = this.#hits.value
    const cost = this.#lookups.value + (1 - hitRate) * this.#fills.value
    this.#losses = cost > hitRate * this.#handlers.value ? this.#losses + 1 : 0
    if (this.#losses < LOSSES) return
    const times = { lookup: this.#lookups.value, handler: this.#handlers.value, fill: this.#fills.value }
    this.#onLoss({ ...times, measured: this.#measured, hitRate })
  }
}

/** The mean of the last values: old ones weigh less and less. */
class Mean {
  #sum = 0
  count = 0

  get value (): number {
    return this.count === 0 ? 0 : this.#sum / this.count
  }

  add (value: number): void {
    this.#sum += value
    if (++this.count < MOST_COUNTED) return
    this.#sum /= 2
    this.count /= 2
  }
}

const MOST_COUNTED = 1_024
