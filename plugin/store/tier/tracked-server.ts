// One server that tells which of our names changed (CLIENT TRACKING in broadcast mode), over a connection of its own beside
// the client's, and the heartbeat that says whether it still does: a write of ours over the client's connection, whose
// message has to come over the other one. So it is one server that both are connected to, that takes writes (a primary that
// was demoted refuses them), and whose messages of all that came before the write have come, too.
// https://redis.io/docs/latest/develop/reference/client-side-caching/#broadcasting-mode
//
// In RESP2, as ioredis 6 drops such messages in RESP3; they come as messages of a channel. A connection that broke is not
// mended but followed by another: what it missed is lost either way.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { within } from '../wait/deadline.js'
import { listenTo } from '../server/client-events.js'
import { DISCONNECT_TIMEOUT, heeded, type RedisClient } from '../server/redis-client.js'

/** The name of these connections in CLIENT LIST. */
export const CONNECTION_NAME = 'fastify-route-cache-tracking'
const CHANNEL = '__redis__:invalidate'
/** The life of a heartbeat's name, which nobody reads. */
const LIFE: Milliseconds = 2_000

/** The methods of the second connection that are used here. */
interface Connection {
  connect (): Promise<unknown>
  disconnect (): void
  call (command: string, ...args: (string | number)[]): Promise<unknown>
  subscribe (channel: string): Promise<unknown>
  ping (): Promise<unknown>
  on (event: 'error' | 'close', listener: () => void): unknown
  on (event: 'messageBuffer', listener: (channel: Buffer, names: Buffer[] | null) => void): unknown
}

/** The method of a client that is used here beside those of RedisClient. */
interface Trackable extends RedisClient {
  duplicate (options: object): Connection
}

interface TrackedServerParts {
  client: RedisClient
  /** The prefix that the client puts before names. */
  keyPrefix: string
  /** The beginnings of names whose changes are tracked, as we write them. */
  prefixes: readonly string[]
  /** The beginning of heartbeats' names, and of no others. */
  beatPrefix: string
  /** The rest of a heartbeat's name that this server has; null: it has none, so it is only asked whether it answers. */
  slotTag: () => string | null
  /** How long connecting, and a heartbeat's message, may take. */
  deadline: Milliseconds
  /** Null: all of them. */
  onChange: (names: string[] | null) => void
  /** A heartbeat has come back, after so long. */
  onBeat: (delay: Milliseconds) => void
  onDown: (error: unknown) => void
}

export class TrackedServer {
  /** When the last heartbeat was sent that has come back, by performance.now(): no message from before is missing. */
  confirmedAt = -Infinity
  readonly #parts: TrackedServerParts
  readonly #client: Trackable
  #state: 'down' | 'opening' | 'up' | 'closed' = 'down'
  #connection: Connection | null = null
  #beats = 0
  #awaited: { name: string, come: () => void } | null = null
  readonly #stopHearing: () => void

  constructor (parts: TrackedServerParts) {
    this.#parts = parts
    this.#client = parts.client as Trackable
    // The next connection may lead to another server.
    this.#stopHearing = listenTo(this.#client, 'close', () => {
      this.#fall(new RouteCacheError('FRC_STORE', 'the client\'s connection broke'))
    })
  }

  get isUp (): boolean {
    return this.#state === 'up'
  }

  /** Connects where there is no connection; sends a heartbeat where none is under way. Never rejects. */
  async tick (): Promise<void> {
    if (this.#awaited !== null || this.#state === 'opening' || this.#state === 'closed') return
    const isNew = this.#state === 'down'
    try {
      if (isNew) this.#open()
    } catch (error) {
      return this.#fall(error)
    }
    const connection = this.#connection
    try {
      if (connection === null) throw new RouteCacheError('FRC_STORE', `the client is not connected ("${this.#client.status}")`)
      if (isNew) await within(this.#parts.deadline, this.#track(connection))
      await this.#beat(connection)
    } catch (error) {
      if (this.#connection === connection) this.#fall(error)
    }
  }

  #open (): void {
    const { status } = this.#client
    // 'wait' is a lazy one, which connects with its first command: the heartbeat.
    if (status !== 'ready' && status !== 'wait') return
    const connection = this.#client.duplicate({
      protocol: 2,
      keyPrefix: '',
      connectionName: CONNECTION_NAME,
      lazyConnect: true,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      failoverDetector: false,
      disconnectTimeout: DISCONNECT_TIMEOUT,
      monitor: false,
      retryStrategy: null,
      sentinelRetryStrategy: null
    })
    this.#state = 'opening'
    this.#connection = connection
    // 'close' follows where it matters.
    connection.on('error', () => {})
    connection.on('close', () => {
      if (this.#connection === connection) this.#fall(new RouteCacheError('FRC_STORE', 'the tracking connection broke'))
    })
    connection.on('messageBuffer', (_channel, names) => { if (this.#connection === connection) this.#heard(names) })
  }

  async #track (connection: Connection): Promise<void> {
    const { keyPrefix, prefixes, beatPrefix } = this.#parts
    await connection.connect()
    const id = Number(await connection.call('CLIENT', 'ID'))
    const tracked = [...prefixes, beatPrefix].flatMap((prefix) => ['PREFIX', keyPrefix + prefix])
    await connection.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...tracked)
    await connection.subscribe(CHANNEL)
  }

  async #beat (connection: Connection): Promise<void> {
    const sentAt = performance.now()
    await within(this.#parts.deadline, this.#sendBeat(connection))
    if (this.#connection !== connection) return
    this.#state = 'up'
    this.confirmedAt = sentAt
    this.#parts.onBeat(performance.now() - sentAt)
  }

  async #sendBeat (connection: Connection): Promise<void> {
    const tag = this.#parts.slotTag()
    if (tag === null) {
      await connection.ping()
      return
    }
    // Each has another name, as the one before is told of once more when it expires.
    const name = `${this.#parts.beatPrefix}${tag}:${++this.#beats}`
    const come = new Promise<void>((resolve) => { this.#awaited = { name, come: resolve } })
    try {
      await Promise.all([heeded(this.#client, this.#client.set(name, '', 'PX', LIFE)), come])
    } finally {
      if (this.#awaited?.name === name) this.#awaited = null
    }
  }

  #heard (names: Buffer[] | null): void {
    const { keyPrefix, beatPrefix, onChange } = this.#parts
    if (!Array.isArray(names)) return onChange(null)
    const changed: string[] = []
    for (const bytes of names) {
      const name = bytes.toString().slice(keyPrefix.length)
      if (!name.startsWith(beatPrefix)) changed.push(name)
      else if (name === this.#awaited?.name) this.#awaited.come()
    }
    if (changed.length > 0) onChange(changed)
  }

  #fall (error: unknown): void {
    if (this.#state === 'closed') return
    this.#disconnect()
    this.#state = 'down'
    this.#parts.onDown(error)
  }

  #disconnect (): void {
    const connection = this.#connection
    this.#connection = null
    this.#awaited = null
    this.confirmedAt = -Infinity
    connection?.disconnect()
  }

  close (): void {
    this.#state = 'closed'
    this.#stopHearing()
    this.#disconnect()
  }
}
