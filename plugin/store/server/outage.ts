// A server that fails, in words for the log: which one, and why. A command that waits for a connection fails late, and
// without its cause; the cause is in the client's own error event. That is looked at without being a listener to it: a
// client to whose errors the app does not listen must go on saying so on stderr.
import { errorMonitor } from 'node:events'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError, withoutPasswords, withoutSecrets } from '../../errors.js'
import { causeOf, causeOfState } from './causes.js'
import { listenTo } from './client-events.js'
import type { RedisClient } from './redis-client.js'

/** So long after the last error of a server of a Cluster a command that is late is one for it: clients try within 5 s. */
const FRESH: Milliseconds = 10_000

export class Outage {
  readonly #client: RedisClient | null
  /** The last error of its connection. */
  #last: unknown = null
  /** Of one server of a Cluster, whose client goes on with the others, and is ready. */
  #ofNode: { error: unknown, at: Milliseconds } | null = null
  readonly close: () => void = () => {}

  /** Null: entries live in this process. */
  constructor (client: RedisClient | null) {
    this.#client = client
    if (client === null) return
    const ends = [listenTo(client, errorMonitor, (error) => { this.#last = error })]
    if (client.isCluster === true) {
      ends.push(listenTo(client, 'node error', (error) => { this.#ofNode = { error, at: performance.now() } }))
    }
    this.close = () => { for (const end of ends) end() }
  }

  /** The server, with its address, never with a password. */
  get name (): string {
    return this.#client === null ? 'the in-process store' : `Redis ${addressOf(this.#client)}`
  }

  /** `Redis 127.0.0.1:6379 (ECONNREFUSED: nothing listens there)`. */
  describe (error: unknown): string {
    return `${this.name} (${this.#causeOf(error)})`
  }

  #causeOf (error: unknown): string {
    const client = this.#client
    const isAway = client !== null && client.status !== 'ready'
    // What a command says of a connection that is away is said by all: the connection's own error knows more.
    const last = isAway ? causeOf(this.#last) : null
    const said = causeOf(error)
    if (said !== null && (last === null || !isOfConnection(error))) {
      return isAway && isOfConnection(error) ? this.#away(client) : said
    }
    if (last !== null) return last
    if (isAway) return this.#away(client)
    if (!isLate(error)) return textOf(deepest(error))
    return this.#causeOfNode() ?? 'it did not answer in time'
  }

  #causeOfNode (): string | null {
    if (this.#ofNode === null || performance.now() - this.#ofNode.at > FRESH) return null
    const { error } = this.#ofNode
    const { address, port } = error as { address?: string, port?: number }
    return `its server ${address === undefined ? '' : `${address}:${port} `}can't be used: ${causeOf(error) ?? textOf(deepest(error))}`
  }

  #away (client: RedisClient): string {
    if (this.#last !== null) return `it is not connected: ${textOf(this.#last)}`
    const { tls } = client.options as { tls?: unknown }
    return causeOfState(client.status, tls !== undefined)
  }
}

/** The client's own word for each command while it has no connection. */
function isOfConnection (error: unknown): boolean {
  const text = String((error as { message?: unknown } | null)?.message)
  const { cause } = error as { cause?: unknown } ?? {}
  return /Connection is closed|max retries per request|client is closed|Redis is not connected/i.test(text) || (cause != null && isOfConnection(cause))
}

/** The error that others only say what they failed at because of. */
function deepest (error: unknown): unknown {
  const { cause, message } = (error ?? {}) as { cause?: unknown, message?: unknown }
  return cause != null && error instanceof RouteCacheError && /^\w+: \w+ failed\b/.test(String(message)) ? deepest(cause) : error
}

function isLate (error: unknown): boolean {
  return error instanceof RouteCacheError && error.code === 'FRC_DEADLINE'
}

function textOf (error: unknown): string {
  const { message } = withoutSecrets(error) as Partial<Error> | undefined ?? {}
  return error instanceof Error ? String(message).slice(0, 400) : 'it failed'
}

interface Place { host?: string, port?: number | string }
interface Addressed extends Place { path?: string | null, sentinels?: Place[], name?: string }

/** As the client was told; of a Cluster its first node. */
function addressOf (client: RedisClient): string {
  const { options, startupNodes } = client as { options?: Addressed, startupNodes?: ReadonlyArray<Place | string | number> }
  if (client.isCluster === true) return `Cluster at ${placeOf(startupNodes?.[0])}`
  if (Array.isArray(options?.sentinels)) return `${options.name ?? ''} by the sentinel ${placeOf(options.sentinels[0])}`
  return typeof options?.path === 'string' ? withoutPasswords(options.path) : placeOf(options)
}

function placeOf (node: Place | string | number | undefined): string {
  // A URL may have a password.
  if (typeof node === 'string') return node.replace(/^.*@/, '').replace(/^\w+:\/\//, '')
  if (typeof node === 'number') return `localhost:${node}`
  return `${(node?.host ?? 'localhost').replace(/^.*@/, '')}:${node?.port ?? 6379}`
}
