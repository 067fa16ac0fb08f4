// Requests that the cache makes itself, of one of the app's cached GET routes: with no client, and through `app.inject`, so
// that they go the way of any other. What tells them from others is a ticket: a header with a random value that is taken
// for this one request and for no other. Our first hook takes it off and puts the ticket in its place; a value that is not
// known (forged, or used already) means nothing.
//
//   set       the value that somebody gave stands for the handler's: hooks behind ours, validation and handler don't run;
//             the response's schema, its serializer and the onSend chain do
//
// The right to fill that comes with the order is used up in any case: filled, or given back.
import { randomUUID } from 'node:crypto'
import type { ResponseCache } from './cache.js'
import type { Caller, End } from './caller.js'
import type { Right } from './claim.js'
import type { Milliseconds } from './duration.js'
import { RouteCacheError, show } from './errors.js'

/** Hooks that are registered before the plugin can see it, when it opens nothing any more. */
export const TICKET_HEADER = 'x-fastify-route-cache-ticket'
/** A request of ours that takes longer is given up: its lease keeps others from filling. */
export const LONGEST_OWN: Milliseconds = 60_000

type Fields = Record<string, string | string[] | undefined>

/** As much of `app.inject` as is used here. */
export type Inject = (request: {
  method: 'GET', url: string, headers: Fields, remoteAddress?: string, signal: AbortSignal
}) => Promise<{ statusCode: number }>

/** As much of node's request as our first hook sets right. */
export interface RawView {
  headers: Fields
  rawHeaders: string[]
}

/** What a request of our own is for. */
export interface Ticket {
  why: 'set'
  /** What the handler is taken to have answered. */
  value: unknown
  /** How long it is served; null: as the policy says. */
  life: Milliseconds | null
  /** Beside those of the policy. */
  tags: readonly string[]
  /** Null from when the request has taken it. */
  right: Right | null
  /** There is a User-Agent among its headers. */
  hasAgent: boolean
  /** The request has come to a cached route. */
  isRouted: boolean
  /** The key that the route makes for it; null where that is not known. */
  key: string | null
  /** Hears once what became of the right. */
  told: (end: End) => void
}

/** A value that stands for what the handler of this URL would have answered. */
export interface Rendering {
  url: string
  /** Beside Host, which is that of the URL, or localhost. Absent: none. */
  headers?: Fields
  value: unknown
  right: Right
  /** Default: as the policy says. */
  life?: Milliseconds | null
  /** Beside those of the policy. Default: none. */
  tags?: readonly string[]
  /** For what happens before there is a route. */
  caller: Caller
}

/** Under the right's key: stored; or not, and why. */
export type Rendered = { type: 'stored' } | { type: 'refused', reason: Exclude<End, 'stored'> }

interface Sent {
  end: End
  /** What the request was answered with; or why there was no answer. */
  result: { status: number } | { error: unknown }
}

export class OwnRequests {
  readonly #cache: ResponseCache
  readonly #inject: Inject
  readonly #open = new Map<string, Ticket>()

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
    const hasAgent = 'user-agent' in headers
    const ticket: Ticket = { why: 'set', value, life, tags, right, hasAgent, isRouted: false, key: null, told: () => {} }
    const { end, result } = await this.#send(ticket, { url, headers, caller })
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

  /** The ticket of this request, which nobody sees any more; null for every request of somebody else. */
  recognise (raw: RawView): Ticket | null {
    if (this.#open.size === 0) return null
    const id = String(raw.headers[TICKET_HEADER])
    const ticket = this.#open.get(id)
    if (ticket === undefined) return null
    this.#open.delete(id)
    // `inject` puts a User-Agent where there is none.
    for (const name of ticket.hasAgent ? [TICKET_HEADER] : [TICKET_HEADER, 'user-agent']) {
      delete raw.headers[name]
      raw.rawHeaders.splice(raw.rawHeaders.findIndex((field, i) => i % 2 === 0 && field === name), 2)
    }
    return ticket
  }

  /** Makes the request, and waits for its end. Never rejects. */
  async #send (ticket: Ticket, { url, headers, caller }: Pick<Rendering, 'url' | 'caller'> & { headers: Fields }): Promise<Sent> {
    const id = randomUUID()
    const ended = new Promise<End>((resolve) => { ticket.told = resolve })
    this.#open.set(id, ticket)
    const limit = new AbortController()
    const timer = setTimeout(() => { limit.abort() }, LONGEST_OWN)
    const result = await this.#inject({ method: 'GET', url, headers: { ...headers, [TICKET_HEADER]: id }, signal: limit.signal })
      .then(({ statusCode }) => ({ status: statusCode }), (error: unknown) => ({ error }))
    clearTimeout(timer)
    this.#open.delete(id)
    const { right } = ticket
    ticket.right = null
    // Something answered ahead of us.
    if (right !== null) this.#cache.abandon(right, { ...caller, told: ticket.told })
    return { end: await ended, result }
  }
}
