// Clients of node-redis 5 or later (the package `redis`), `createClient()` and `createCluster()`, in the form that the
// plugin uses (redis-client.ts). Only public methods of the package are called, and none of its types is imported.
//
// The promises rest on three facts, which hold for both packages: the commands of one connection are sent, and answered, in
// the order in which they were given; no answer of a connection comes after the event that says that it has ended; and a
// command that was sent is not answered by another server. node-redis rejects commands that were under way when their
// connection broke, and sends none of them again.
//
// Sentinels and pools of node-redis have several connections, and no event that says that one of them has ended. So an
// answer could come of a server that was replaced meanwhile (floor.ts), and they are refused.
import { errorMonitor } from 'node:events'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import type { RedisClient } from './redis-client.js'
import { SLOTS, slotOf } from './topology.js'

/** A client of node-redis 5 or later: `createClient()` or `createCluster()` of the package `redis`. */
export interface NodeRedisClient {
  readonly isOpen: boolean
  sendCommand (...args: never[]): Promise<unknown>
  on (...args: never[]): unknown
  off (...args: never[]): unknown
}

type Argument = string | Buffer
/** The types of replies, by the byte that begins them in RESP. */
type TypeMapping = Record<number, unknown>
interface CommandOptions { typeMapping: TypeMapping, timeout: undefined }

type Listener = (...values: unknown[]) => void
interface Emitter {
  on (event: string | symbol, listener: Listener): unknown
  off (event: string | symbol, listener: Listener): unknown
}

interface Single extends Emitter {
  isOpen: boolean
  isReady: boolean
  options?: { socket?: { host?: string, port?: number, path?: string }, keyPrefix?: string }
  sendCommand (args: readonly Argument[], options: CommandOptions): Promise<unknown>
  duplicate (options: object): Duplicate
}

/** The connection of a tier (tracked-server.ts). */
interface Duplicate extends Single {
  connect (): Promise<unknown>
  destroy (): void
  subscribe (channel: string, listener: Listener, asBuffers: true): Promise<unknown>
}

interface Node { id: string, host: string, port: number, address: string, client?: Single }

type ClusterSend = (
  name: string | undefined, isReadonly: boolean, args: readonly Argument[], options: CommandOptions
) => Promise<unknown>

interface Cluster extends Emitter {
  isOpen: boolean
  isReady?: boolean
  masters: readonly Node[]
  slots: ReadonlyArray<{ master: Node } | undefined>
  nodeClient (node: Node): Promise<Single>
  sendCommand: ClusterSend
}

/** Whatever types the app's client maps, the plugin has texts and numbers. No time limit: the plugin's own are shorter. */
const TEXTS: CommandOptions = { typeMapping: {}, timeout: undefined }
const BLOB_STRING = '$'.charCodeAt(0)
const BYTES: CommandOptions = { typeMapping: { [BLOB_STRING]: Buffer }, timeout: undefined }

/** Whether this is a client of node-redis, of any kind. */
export function isNodeRedis (value: unknown): value is NodeRedisClient {
  const client = (typeof value === 'object' ? value : null) as Record<string, unknown> | null
  return typeof client?.['isOpen'] === 'boolean' && typeof client['sendCommand'] === 'function' && typeof client['on'] === 'function'
}

/** By the app's client: plugins that share a client share what listens to it (client-events.ts). */
const adapted = new WeakMap<object, RedisClient>()

/** The client in the plugin's form, one for each. Throws FRC_OPTION where exact invalidation could not be kept with it. */
export function fromNodeRedis (value: NodeRedisClient): RedisClient {
  const client = value as unknown as Single & Cluster & Kind
  const known = adapted.get(client)
  if (known !== undefined) return known
  const isCluster = typeof client.nodeClient === 'function'
  if (typeof client.withTypeMapping !== 'function') throw unfit('is of node-redis 4 or older, which has no type mapping; it is of 5 or later')
  if (!isCluster && typeof client.isPubSubActive !== 'boolean') {
    throw unfit('is a pool or a sentinel of node-redis, which does not tell when one of its connections ends, so that an old server could be ' +
      'taken for a new one; give the plugin createClient() or createCluster(), or for sentinels new Redis({ sentinels }) of ioredis')
  }
  const keyPrefix = client.options?.keyPrefix ?? client._keyPrefix ?? ''
  if (keyPrefix !== '') {
    throw unfit(`has keyPrefix "${keyPrefix}", which node-redis does not put before the names of commands that are sent as such; give the ` +
      'plugin a client without it, and use its own prefix option')
  }
  return adaptedBy(client, () => isCluster ? new ClusterClient(client) : new SingleClient(client, placeOf(client)))
}

/** Tells which kind of client it is. */
interface Kind { withTypeMapping?: unknown, isPubSubActive?: unknown, _keyPrefix?: string }

function unfit (reason: string): RouteCacheError {
  return new RouteCacheError('FRC_OPTION', `redis: the client ${reason}`)
}

function adaptedBy (client: object, adapt: () => RedisClient): RedisClient {
  const known = adapted.get(client)
  if (known !== undefined) return known
  const made = adapt()
  adapted.set(client, made)
  return made
}

interface Place { host?: string, port?: number, path?: string }

function placeOf ({ options }: Single): Place {
  const { host = 'localhost', port = 6379, path } = options?.socket ?? {}
  return path === undefined ? { host, port } : { path }
}

function textsOf (args: ReadonlyArray<Argument | number>): Argument[] {
  return args.map((value) => typeof value === 'number' ? String(value) : value)
}

/** The client's events, by the names that ioredis has for them. */
const EVENTS = {
  // The last two come with a connection that is not made again.
  close: ['reconnecting', 'end', errorMonitor],
  end: ['end'],
  [errorMonitor]: [errorMonitor]
} as const
const CLUSTER_EVENTS = {
  close: ['disconnect'],
  end: ['disconnect'],
  '+node': ['node-ready'],
  '-node': ['node-disconnect'],
  'node error': ['node-error'],
  [errorMonitor]: [errorMonitor]
} as const

/** The commands that the plugin uses, of one connection and of a Cluster. */
abstract class Commands<Name extends string | symbol> {
  abstract readonly status: string
  readonly #emitter: Emitter
  readonly #events: Readonly<Record<Name, ReadonlyArray<string | symbol>>>

  constructor (emitter: Emitter, events: Readonly<Record<Name, ReadonlyArray<string | symbol>>>) {
    this.#emitter = emitter
    this.#events = events
  }

  /** `name`: the first of the command, by which a Cluster finds the server. */
  protected abstract send (name: string | undefined, args: Argument[], options?: CommandOptions): Promise<unknown>

  async ping (): Promise<unknown> {
    return await this.send(undefined, ['PING'])
  }

  async getBuffer (name: string): Promise<Buffer | null> {
    return await this.send(name, ['GET', name], BYTES) as Buffer | null
  }

  async mgetBuffer (...names: string[]): Promise<(Buffer | null)[]> {
    return await this.send(names[0], ['MGET', ...names], BYTES) as (Buffer | null)[]
  }

  async get (name: string): Promise<string | null> {
    return await this.send(name, ['GET', name]) as string | null
  }

  async set (name: string, value: string, unit: 'PX', life: Milliseconds, ...only: string[]): Promise<string | null> {
    return await this.send(name, ['SET', name, value, unit, String(life), ...only]) as string | null
  }

  async pttl (name: string): Promise<number> {
    return Number(await this.send(name, ['PTTL', name]))
  }

  async unlink (...names: string[]): Promise<number> {
    return Number(await this.send(names[0], ['UNLINK', ...names]))
  }

  async info (...sections: string[]): Promise<string> {
    return String(await this.send(undefined, ['INFO', ...sections]))
  }

  async wait (replicas: number, time: Milliseconds): Promise<number> {
    return Number(await this.send(undefined, ['WAIT', String(replicas), String(time)]))
  }

  async eval (script: string, keys: number, ...args: Array<Argument | number>): Promise<unknown> {
    return await this.send(keys > 0 ? String(args[0]) : undefined, ['EVAL', script, String(keys), ...textsOf(args)])
  }

  async evalsha (sha: string, keys: number, ...args: Array<Argument | number>): Promise<unknown> {
    return await this.send(keys > 0 ? String(args[0]) : undefined, ['EVALSHA', sha, String(keys), ...textsOf(args)])
  }

  on (event: Name, listener: Listener): void {
    for (const name of this.#events[event] ?? []) this.#emitter.on(name, listener)
  }

  off (event: Name, listener: Listener): void {
    for (const name of this.#events[event] ?? []) this.#emitter.off(name, listener)
  }
}

class SingleClient extends Commands<keyof typeof EVENTS> implements RedisClient {
  readonly options: Place
  readonly #client: Single

  constructor (client: Single, place: Place) {
    super(client, EVENTS)
    this.#client = client
    this.options = place
  }

  get status (): string {
    return statusOf(this.#client)
  }

  protected async send (_name: string | undefined, args: Argument[], options = TEXTS): Promise<unknown> {
    return await this.#client.sendCommand(args, options)
  }

  async scan (cursor: string, ...rest: [match: 'MATCH', pattern: string, count: 'COUNT', size: number]): Promise<[string, string[]]> {
    return await this.send(undefined, ['SCAN', cursor, ...textsOf(rest)]) as [string, string[]]
  }

  async cluster (command: 'NODES' | 'SLOTS'): Promise<unknown> {
    return await this.send(undefined, ['CLUSTER', command])
  }

  pipeline (): Pipeline {
    return new Pipeline(this)
  }

  /** A connection of the tier's. It is not made again when it breaks. */
  duplicate ({ connectionName }: { connectionName: string }): TrackingConnection {
    const { socket } = this.#client.options ?? {}
    return new TrackingConnection(this.#client.duplicate({
      RESP: 2,
      name: connectionName,
      socket: { ...socket, reconnectStrategy: false },
      disableOfflineQueue: true,
      clientSideCache: undefined,
      emitInvalidate: undefined,
      maintNotifications: 'disabled'
    }))
  }
}

/** Commands that are given in one turn of the event loop leave together by themselves. */
class Pipeline {
  readonly #client: RedisClient
  readonly #names: string[] = []

  constructor (client: RedisClient) {
    this.#client = client
  }

  getBuffer (name: string): void {
    this.#names.push(name)
  }

  async exec (): Promise<Array<[error: Error | null, reply: unknown]>> {
    return await Promise.all(this.#names.map(async (name): Promise<[Error | null, unknown]> => {
      try {
        return [null, await this.#client.getBuffer(name)]
      } catch (error) {
        return [error as Error, null]
      }
    }))
  }
}

/** With the methods that a connection of ioredis has for it. */
class TrackingConnection {
  readonly #client: Duplicate
  #heard: Listener = () => {}

  constructor (client: Duplicate) {
    this.#client = client
  }

  async connect (): Promise<void> {
    await this.#client.connect()
  }

  disconnect (): void {
    // Former versions throw where it is closed already.
    try {
      this.#client.destroy()
    } catch {}
  }

  async call (...args: Array<string | number>): Promise<unknown> {
    return await this.#client.sendCommand(textsOf(args), TEXTS)
  }

  async subscribe (channel: string): Promise<unknown> {
    return await this.#client.subscribe(channel, (names) => { this.#heard(channel, names) }, true)
  }

  async ping (): Promise<unknown> {
    return await this.call('PING')
  }

  on (event: 'error' | 'close' | 'messageBuffer', listener: Listener): void {
    if (event === 'messageBuffer') this.#heard = listener
    // Each error ends it: it is not connected again.
    else for (const name of event === 'error' ? ['error'] : ['end', 'error']) this.#client.on(name, listener)
  }
}

class ClusterClient extends Commands<keyof typeof CLUSTER_EVENTS> implements RedisClient {
  readonly isCluster = true
  readonly options = {}
  readonly #cluster: Cluster

  constructor (cluster: Cluster) {
    super(cluster, CLUSTER_EVENTS)
    this.#cluster = cluster
  }

  get status (): string {
    const { isOpen, isReady = isOpen } = this.#cluster
    return statusOf({ isOpen, isReady })
  }

  /** For the log: as far as it has found servers. */
  get startupNodes (): Place[] {
    return this.#cluster.masters.map(({ host, port }) => ({ host, port }))
  }

  protected async send (name: string | undefined, args: Argument[], options = TEXTS): Promise<unknown> {
    return await this.#cluster.sendCommand(name, false, args, options)
  }

  ownerOf (slot: number): string | undefined {
    return this.#cluster.slots[slot]?.master.address
  }

  /** Those that it is connected to, or is about to be. */
  nodes (): RedisClient[] {
    return this.#cluster.masters.flatMap(({ client, host, port }) => {
      return client === undefined ? [] : [adaptedBy(client, () => new SingleClient(client, { host, port }))]
    })
  }

  refreshSlotsCache (callback: (error?: Error | null) => void): void {
    this.#refresh().then(() => { callback() }, callback)
  }

  /**
   * The client reads its slots anew when a server sends it elsewhere. So where a server knows another owner of a slot than
   * the client does, the client is made to ask the one that it knows.
   */
  async #refresh (): Promise<void> {
    const { masters, slots } = this.#cluster
    const connecting = await Promise.allSettled(masters.map(async (node) => await this.#cluster.nodeClient(node)))
    const clients = connecting.flatMap((one) => one.status === 'fulfilled' && one.value.isReady ? [one.value] : [])
    for (const client of clients) {
      const ranges = await client.sendCommand(['CLUSTER', 'SLOTS'], TEXTS) as Array<[number, number, [string, number, string]]>
      const moved = ranges.find(([first, , [, , id]]) => slots[first]?.master.id !== id)
      if (moved === undefined) continue
      const [slot] = moved
      // One that does not answer can't send it elsewhere; the client finds out by itself, some seconds later.
      if (slots[slot]?.master.client?.isReady === true) await this.send(nameIn(slot), ['EXISTS', nameIn(slot)])
      return
    }
  }
}

function statusOf ({ isOpen, isReady }: { isOpen: boolean, isReady: boolean }): string {
  if (isReady) return 'ready'
  return isOpen ? 'reconnecting' : 'end'
}

/** A name that has its place in this slot. */
function nameIn (slot: number): string {
  for (let number = 0; number < 100 * SLOTS; number++) {
    if (slotOf(`{${number}}`) === slot) return `{${number}}`
  }
  return ''
}
