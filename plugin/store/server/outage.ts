// A server that fails, in words for the log: which one, and why. A command that waits for a connection fails late, and
// without its cause; the cause is in the client's own error event. That is looked at without being a listener to it: a
// client to whose errors the app does not listen must go on saying so on stderr.
import { errorMonitor } from 'node:events'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError, withoutPasswords, withoutSecrets } from '../../errors.js'
import { listenTo } from './client-events.js'
import type { RedisClient } from './redis-client.js'
import { WITHOUT_INFO } from './topology.js'

const ONE_OF_CLUSTER = 'the server is one of a Cluster, and the client is for a single one: give the plugin new Cluster([{ host, port }]) of ' +
  'ioredis'

/** The meaning of the first word of a server's or the system's error, and the remedy. */
const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name of the host can\'t be looked up now',
  ETIMEDOUT: 'no answer from there',
  EHOSTUNREACH: 'no way to the host',
  ECONNRESET: 'the connection was cut',
  WRONGPASS: 'the password or the user name is wrong',
  NOAUTH: 'the server wants a password, and the client has none',
  NOPERM: 'the client\'s user lacks a right',
  OOM: 'the server is full, and evicts nothing: raise its maxmemory, or set its maxmemory-policy to allkeys-lru',
  READONLY: 'the server is a replica, which takes no writes: connect to its primary',
  MASTERDOWN: 'the server is a replica that has lost its primary',
  MISCONF: 'the server can\'t write its snapshot, and takes no writes until it can',
  NOREPLICAS: 'the server has fewer replicas than it wants (min-replicas-to-write)',
  LOADING: 'the server still reads its memory from disk',
  MOVED: ONE_OF_CLUSTER,
  CROSSSLOT: ONE_OF_CLUSTER,
  CLUSTERDOWN: 'the Cluster lacks slots, or can\'t reach enough primaries'
}

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
    const said = causeOf(error)
    if (said !== null) return said
    const isAway = this.#client !== null && this.#client.status !== 'ready'
    const last = isAway ? causeOf(this.#last) : null
    if (last !== null) return last
    if (isAway) return this.#last === null ? 'it is not connected' : `it is not connected: ${textOf(this.#last)}`
    if (!isLate(error)) return textOf(error)
    return this.#causeOfNode() ?? 'it did not answer in time'
  }

  #causeOfNode (): string | null {
    if (this.#ofNode === null || performance.now() - this.#ofNode.at > FRESH) return null
    const { error } = this.#ofNode
    const { address, port } = error as { address?: string, port?: number }
    return `its server ${address === undefined ? '' : `${address}:${port} `}can't be used: ${causeOf(error) ?? textOf(error)}`
  }
}

/** In words, by the first error of the chain that means something; null: none does. */
export function causeOf (error: unknown): string | null {
  for (let [one, depth] = [error, 0]; one != null && depth < 5; one = next(one), depth++) {
    const { code, message } = one as { code?: unknown, message?: unknown }
    const name = [String(code), .../\b[A-Z]{3,12}\b/.exec(String(message)) ?? []].find((name) => MEANINGS[name] !== undefined)
    if (name === undefined) continue
    const command = name === 'NOPERM' ? /'[\w|]+' command/.exec(String(message))?.[0] : undefined
    // Without it, nobody could tell a restart; topology.ts says the same of servers that don't know the command.
    const remedy = command === "'info' command" ? `; ${WITHOUT_INFO}` : ''
    return `${name}: ${MEANINGS[name]}${command === undefined ? '' : `, for the ${command}`}${remedy}`
  }
  return null
}

/** The error behind an error: one of several attempts, or that of the last node that a Cluster's client has tried. */
function next (error: object): unknown {
  const { cause, errors, lastNodeError } = error as { cause?: unknown, errors?: unknown, lastNodeError?: unknown }
  return cause ?? lastNodeError ?? (Array.isArray(errors) ? errors[0] : undefined)
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
