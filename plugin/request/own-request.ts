// Requests that the cache makes itself, of one of the app's cached GET routes: with no client, and through `app.inject`, so
// that they go the way of any other. They are recognised by a ticket: a header with a random value that is taken
// for this one request and for no other. Our first hook takes it off and puts the ticket in its place; a value that is not
// known (forged, or used already) means nothing.
//
//   set       the value that somebody gave stands for the handler's: hooks behind ours, validation and handler don't run;
//             the response's schema, its serializer and the onSend chain do
//   refresh   comes as the request came that was served stale, from the same address; every hook and the handler run
//   warm      (warm.ts) as a client's, but it is no client's: the handler runs only where its answer can be stored
//   explain   (explain.ts) ends where the lookup stands: the hooks before it run, the handler does not
//
// The right to fill that comes with a set or a refresh is used up in any case: filled, or given back.
import { randomUUID } from 'node:crypto'
import type { LookResult, ResponseCache } from '../cache/cache.js'
import type { Question, Refreshable, Right, Spare } from '../cache/claim.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError, show } from '../errors.js'
import { CONDITIONS } from '../http/request.js'
import { refuse, channels, since, stamp, tell, type Caller } from '../telling/events.js'
import type { BypassReason, End, CacheOutcome } from '../telling/outcome.js'
import type { Counters } from '../telling/stats.js'
import type { Entry } from '../entry/entry.js'
import type { Policy } from '../route/policy.js'
import type { UserMark } from '../users/identity.js'

/** Hooks that are registered before the plugin see this header. Its value is used up once our first hook has read it. */
export const TICKET_HEADER = 'x-fastify-route-cache-ticket'
export type Fields = Record<string, string | string[] | undefined>

/** As much of `app.inject` as is used here. */
export type Inject = (request: {
  method: 'GET' | 'HEAD', url: string, headers: Fields, remoteAddress?: string, signal: AbortSignal
}) => Promise<{ statusCode: number }>

/** A value in place of the answer of this URL's handler. */
interface Rendering {
  url: string
  /** Beside Host, which is that of the URL, or localhost. Absent: none. */
  headers?: Fields
  value: unknown
  right: Right
  /** Default: as the policy says. */
  life?: Milliseconds | null
  /** Beside those of the policy. Default: none. */
  tags?: readonly string[]
  /** For failures before there is a route. */
  caller: Caller
}

/** Under the right's key: stored; or not, and why. */
export type Rendered = { type: 'stored' } | { type: 'refused', reason: Exclude<End, 'stored'> }

export interface Order {
  /** Default: GET. */
  method?: 'GET' | 'HEAD'
  url: string
  headers: Fields
  remoteAddress?: string
  /** Gives it up. */
  signal?: AbortSignal | undefined
}

/** The status of the answer; or why there was no answer. */
export type Result = { status: number } | { error: unknown, isGivenUp: boolean }

interface Sent { end: End, result: Result }

/** Fastify's error for an internal request while the app closes: it still answers the requests that it has. */
const CLOSING = 'FST_ERR_REOPENED_CLOSE_SERVER'

/** Ends of a refresh that are no failure: the entry was invalidated meanwhile, the app closes, or a page is gone. */
const EXPECTED_ENDS: readonly End[] = ['stored', 'replaced', 'lease', 'outdated', 'disabled']

/** The entry that was served. */
function presentIn ({ selected }: Refreshable): Spare | null {
  return selected.entry === null ? null : { entry: selected.entry, selected }
}

export class OwnRequests {
  readonly #cache: ResponseCache
  readonly #inject: Inject
  /** Tickets whose requests have not come to our first hook. */
  readonly open = new Map<string, Ticket>()
  /** How to give up each request that is under way. */
  readonly #giveUps = new Set<() => void>()
  /** A request that takes longer is given up: its lease keeps others from filling. */
  longest: Milliseconds = 60_000
  #isClosed = false

  constructor (cache: ResponseCache, inject: Inject) {
    this.#cache = cache
    this.#inject = inject
  }

  /**
   * Stores what the GET route of this URL would have sent, had its handler given this value. Refused also where one
   * response can't stand for all: where the policy has an `identity` or a `vary`.
   * @throws RouteCacheError FRC_ROUTE where the URL leads to no cached route, or to one that makes another key
   */
  async render ({ url, headers = {}, value, right, life = null, tags = [], caller }: Rendering): Promise<Rendered> {
    const { key } = right
    const ticket = { ...openTicket('set', right), value, life, tags, hasAgent: 'user-agent' in headers }
    const { end, result } = await this.#send(ticket, { url, headers }, caller)
    if (end === 'disabled') return { type: 'refused', reason: end }
    const what = `the value for the key ${show(key)} can't be sent through GET ${show(url)}`
    if ('error' in result && end === 'abandoned') {
      throw new RouteCacheError('FRC_ROUTE', `${what}: ${(result.error as Error).message}`, { cause: result.error })
    }
    if (!ticket.isRouted) {
      throw new RouteCacheError('FRC_ROUTE', `${what}: that is no route with a cache option, or a hook that was registered ` +
        `before the plugin answered it${'status' in result ? ` with ${result.status}` : ''}`)
    }
    if (ticket.key !== null && ticket.key !== key) {
      throw new RouteCacheError('FRC_ROUTE', `${what}: that route's key for it is ${show(ticket.key)}`)
    }
    return end === 'stored' ? { type: 'stored' } : { type: 'refused', reason: end }
  }

  /** Has an entry that was served stale filled again, by a request that comes as that one came. Nobody waits for it. */
  refresh (stale: Refreshable, arrival: Arrival, caller: Caller): void {
    this.#cache.refresh(stale, caller, async (right) => {
      const { target: url, headers, socket: { remoteAddress } } = arrival
      // A router that looks at the host finds it there. Without an address, that of a Unix socket, it is not ours.
      const host = headers.host ?? headers[':authority'] ?? ''
      const order = { url, headers: { ...headers, host }, remoteAddress: String(remoteAddress || 'unknown') }
      const began = stamp(channels.refresh)
      const { end } = await this.#send({ ...openTicket('refresh', right), arrival, present: presentIn(stale) }, order, caller)
      if (!EXPECTED_ENDS.includes(end)) caller.log.warn({ key: stale.key, reason: end }, 'cache refresh failed')
      const { source: { instance, route } } = caller
      const duration = since(began)
      if (duration !== null) tell('refresh', instance, { route, key: stale.key, result: end, duration })
    })
  }

  /** The ticket of this request, which nobody sees any more; null for every request of somebody else. */
  recognise (raw: RawView): Ticket | null {
    const id = String(raw.headers[TICKET_HEADER])
    const ticket = this.open.get(id)
    if (ticket === undefined) return null
    this.open.delete(id)
    ticket.isSeen = true
    if (ticket.arrival !== null) comeAs(raw, ticket.arrival)
    // `inject` puts a User-Agent where there is none.
    else takeOff(raw, ticket.hasAgent ? [TICKET_HEADER] : [TICKET_HEADER, 'user-agent'])
    return ticket
  }

  /** Gives up those that have not ended: their limits would keep a process alive whose app is closed. */
  close (): void {
    this.#isClosed = true
    for (const giveUp of this.#giveUps) giveUp()
  }

  /** Whether there was no answer as the app is closing. */
  isClosing (result: Result): boolean {
    if ('status' in result) return false
    return (this.#isClosed && result.isGivenUp) || (result.error as { code?: unknown } | null)?.code === CLOSING
  }

  /** Makes the request that the ticket is for, and waits for its answer. Never rejects. */
  async make (ticket: Ticket, order: Order): Promise<Result> {
    const { signal: left, headers, method = 'GET' } = order
    const id = randomUUID()
    this.open.set(id, ticket)
    const limit = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let giveUp!: () => void
    const limited = new Promise<Result>((resolve) => {
      giveUp = () => {
        limit.abort()
        ticket.giveUp()
        resolve({ error: limit.signal.reason, isGivenUp: true })
      }
      timer = setTimeout(giveUp, this.longest)
    })
    this.#giveUps.add(giveUp)
    left?.addEventListener('abort', giveUp)
    const result = await Promise.race([limited, this.#inject({
      ...order, method, headers: { ...headers, [TICKET_HEADER]: id }, signal: limit.signal
    }).then(({ statusCode }) => ({ status: statusCode }), (error: unknown) => ({ error, isGivenUp: limit.signal.aborted }))])
    clearTimeout(timer)
    left?.removeEventListener('abort', giveUp)
    this.#giveUps.delete(giveUp)
    this.open.delete(id)
    return result
  }

  /** The same, and waits for the end of the ticket's right to fill. */
  async #send (ticket: Ticket, order: Order, caller: Caller): Promise<Sent> {
    const ended = new Promise<End>((resolve) => { ticket.onEnd = resolve })
    const result = await this.make(ticket, order)
    const { right, why } = ticket
    ticket.right = null
    if (right !== null) {
      // Something answered ahead of us; or nothing did, as the app is closing: then others may go on at once.
      const teller = { ...caller, onEnd: ticket.onEnd }
      if (why === 'refresh') refuse(right.key, this.isClosing(result) ? 'disabled' : 'diverted', teller)
      else if (this.isClosing(result)) ticket.onEnd('disabled')
      this.#cache.abandon(right, teller, why === 'refresh' && ('status' in result || result.isGivenUp))
    }
    return { end: await ended, result }
  }
}

export type Why = Extract<CacheOutcome, { type: 'own' }>['why']

/** The purpose of an internal request, and what it needs and finds. */
export interface Ticket {
  why: Why
  /** For a set: the value in place of the handler's answer. */
  value: unknown
  /** How long it is served; null: as the policy says. */
  life: Milliseconds | null
  /** Beside those of the policy. */
  tags: readonly string[]
  /** For a refresh: how the first request came. */
  arrival: Arrival | null
  /** There is a User-Agent among its headers. */
  hasAgent: boolean
  /** For a refresh: the entry that was served. */
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
  /** For a warm-up: the outcome of its lookup by now; null: there was no lookup. */
  outcome: (() => CacheOutcome) | null
  /** For an explanation: the examined lookup; null: the request did not get so far. */
  examined: Examined | null
  /** Called once, with the end of the right to fill. */
  onEnd: (end: End) => void
  /** Gives back the right that the request has taken. */
  giveUp: () => void
}

/** The examined lookup of a request that is explained. */
export interface Examined {
  /** Null: a key was asked for, whatever route it is of. */
  site: { policy: Policy, place: 'onRequest' | 'handler', counters: Counters } | null
  isHead: boolean
  now: Milliseconds
  /** Why the request goes past the cache; null: it is looked up. */
  bypass: BypassReason | null
  /** The mark by which the request is somebody's own; null: there is none, or it was not looked for. */
  mark: UserMark | null
  /** Thrown by a function of the policy, or by the store. */
  error: unknown
  /** Null where the policy has no key for it. */
  wanted: Pick<Question, 'key' | 'selection' | 'toRefresh'> | null
  /** Null where it was not looked for. */
  look: LookResult | null
  /** The entry that lies there, be it valid or not. */
  present: Entry | null
  /** The key's handler failed just now. */
  hasFailed: boolean
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

// How a request came, before anybody's hook changed it, so that a request of our own can come the same way: its URL, its
// header fields, and what its socket says of the client. Kept while it is answered: a client that leaves takes its address
// along.

/** As much of node's request as is looked at, and set, here. */
interface RawView {
  url?: string | undefined
  originalUrl?: string
  headers: Fields
  rawHeaders: string[]
  socket: object
}

export interface Arrival {
  /** As the client sent it. */
  target: string
  /** As the app has rewritten it, and the same where it has not. */
  url: string
  originalUrl: string | undefined
  headers: Fields
  rawHeaders: readonly string[]
  socket: Partial<Record<typeof OF_THE_SOCKET[number], unknown>>
}

/** `encrypted` makes https of it, `authorized` is that of a client's certificate. */
const OF_THE_SOCKET = [
  'remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'encrypted', 'authorized'
] as const

/** Conditions and ranges are the client's own, and there is no body. */
const OF_THE_CLIENT: readonly string[] = [...CONDITIONS, 'content-length', 'transfer-encoding']

export function arrivalOf (raw: RawView): Arrival {
  const headers: Fields = {}
  for (const [name, value] of Object.entries(raw.headers)) {
    if (value !== undefined && !OF_THE_CLIENT.includes(name)) headers[name] = value
  }
  const socket: Arrival['socket'] = {}
  for (const name of OF_THE_SOCKET) socket[name] = (raw.socket as Arrival['socket'])[name]
  const url = raw.url ?? '/'
  return {
    target: raw.originalUrl ?? url,
    url,
    originalUrl: raw.originalUrl,
    headers,
    rawHeaders: fieldsOf(raw.rawHeaders, (name) => !OF_THE_CLIENT.includes(name)),
    socket
  }
}

/** Makes a request look as the other one looked when it arrived. */
function comeAs (raw: RawView, { url, originalUrl, headers, rawHeaders, socket }: Arrival): void {
  raw.url = url
  if (originalUrl !== undefined) raw.originalUrl = originalUrl
  raw.headers = { ...headers }
  raw.rawHeaders = [...rawHeaders]
  Object.assign(raw.socket, socket)
}

/** Takes fields off a request, as if they had not been there. */
function takeOff (raw: RawView, names: readonly string[]): void {
  for (const name of names) delete raw.headers[name]
  raw.rawHeaders = fieldsOf(raw.rawHeaders, (name) => !names.includes(name))
}

/** The fields of these pairs of name and value. */
function fieldsOf (rawHeaders: readonly string[], isWanted: (name: string) => boolean): string[] {
  return rawHeaders.filter((_, i) => isWanted(rawHeaders[i - i % 2]!.toLowerCase()))
}
