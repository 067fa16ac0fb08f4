// The way to a Redis, or a Cluster of two, for the model: every command waits for its turn before the server does it, and,
// where replies come late, once more before its reply arrives. No order is kept among commands that are under way, also of
// one connection: more interleavings than there can be.
//
// A server may come back with an older memory. A connection notices that when it next does something: it closes, and what
// it had not heard of is sent again, as ioredis does. A connection may be cut, too, when the server has done a command and
// before its reply came: then the server does it twice, with anything between.
import { EventEmitter } from 'node:events'
import { createHash } from 'node:crypto'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { SLOTS, slotOf } from '../../../plugin/store/server/topology.js'
import { scriptOf, textOf, type Argument, type Data } from './data.js'

/** Who says whose turn it is. */
export interface World {
  step: (label: string) => Promise<void>
  say: (line: string) => void
  /** Whether the connection is cut before the reply to this comes: then it is sent again behind so many steps. */
  cut: (label: string) => number | null
  after: (steps: number) => Promise<void>
  /** Hears what a script was given, and gave. */
  done: (done: Done) => void
  repliesComeLate: boolean
}

export interface Done { script: string, keys: readonly string[], args: readonly string[], reply: unknown }

interface Server { port: number, run: number, isHere: (slot: number) => boolean }

export class Network {
  readonly #data: Data
  readonly #isCluster: boolean
  readonly #world: World
  readonly #servers: Server[]

  constructor ({ data, isCluster, world }: { data: Data, isCluster: boolean, world: World }) {
    this.#data = data
    this.#isCluster = isCluster
    this.#world = world
    this.#servers = isCluster
      ? [{ port: 1, run: 1, isHere: (slot) => slot < SLOTS / 2 }, { port: 2, run: 1, isHere: (slot) => slot >= SLOTS / 2 }]
      : [{ port: 1, run: 1, isHere: () => true }]
  }

  get size (): number {
    return this.#servers.length
  }

  /** The server starts again, with what it had saved. */
  restart (index: number, saved: ReturnType<Data['copy']>): void {
    const server = this.#servers[index]!
    server.run++
    this.#data.restore(saved, server.isHere)
  }

  /** The connections of one process. */
  client (process: string): RedisClient {
    const connections = this.#servers.map((server) => new Connection(server, process, this.#world))
    const to = (name: string): Connection => connections.find(({ server }) => server.isHere(slotOf(name)))!
    const data = this.#data
    const nodes = connections.map((connection) => nodeOf(connection, data))
    const bytes = (name: string): Buffer | null => {
      const text = data.get(name)
      return text === null ? null : Buffer.from(text, 'latin1')
    }
    const script = async (sha: string, keys: number, args: Argument[]): Promise<unknown> => {
      const names = args.slice(0, keys).map(String)
      return await to(names[0]!).do(`${scriptOf(sha)} ${names[0]!}`, () => {
        if (new Set(names.map(slotOf)).size > 1 && this.#isCluster) throw new Error(`CROSSSLOT ${names.join(' ')}`)
        const reply = data.run(sha, names, args.slice(keys))
        if (reply === undefined) throw new Error('NOSCRIPT the model does not know it')
        this.#world.done({ script: scriptOf(sha), keys: names, args: args.slice(keys).map(textOf), reply })
        return reply
      })
    }
    const unlink = async (...names: string[]): Promise<number> =>
      await to(names[0]!).do(`UNLINK ${names.join(' ')}`, () => data.unlink(...names))
    const client: Partial<RedisClient> = {
      getBuffer: async (name) => await to(name).do(`GET ${name}`, () => bytes(name)),
      mgetBuffer: async (...names) => await to(names[0]!).do(`MGET ${names.join(' ')}`, () => names.map(bytes)),
      get: async (name) => await to(name).do(`GET ${name}`, () => data.get(name)),
      set: async (name: string, value: string, _unit: 'PX', life: number) => await to(name).do(`TAKE AHEAD ${name}`, () => {
        const present = data.get(name)
        if (present === null) data.set(name, value, life)
        return present
      }),
      pttl: async (name) => await to(name).do(`PTTL ${name}`, () => data.pttl(name)),
      unlink,
      evalsha: async (sha, keys, ...args) => await script(sha, keys, args),
      eval: async (text, keys, ...args) => await script(createHash('sha1').update(text).digest('hex'), keys, args)
    }
    if (!this.#isCluster) return Object.assign(nodes[0]!, client)
    const ping = async (): Promise<unknown> => await nodes[0]!.ping()
    return { ...client, status: 'ready', isCluster: true, options: {}, ping, nodes: () => nodes, slots: ADDRESSES } as RedisClient
  }
}

/** By slot. */
const ADDRESSES = Array.from({ length: SLOTS }, (_, slot) => [slot < SLOTS / 2 ? 'h:1' : 'h:2'])

/** A connection, as the client of a single server. */
function nodeOf (connection: Connection, data: Data): RedisClient {
  const { server } = connection
  return Object.assign(connection.events, {
    status: 'ready',
    options: { host: 'h', port: server.port },
    ping: async () => await connection.do('PING', () => 'PONG'),
    info: async () => await connection.do('INFO', () => `role:master\nrun_id:r${server.port}x${server.run}\n`),
    cluster: async () => await connection.do('CLUSTER NODES', () =>
      `n${server.port} h:${server.port}@1 myself,master - 0 0 1 connected ${server.port === 1 ? '0-8191' : '8192-16383'}`),
    scan: async (cursor: string, _match: 'MATCH', pattern: string) =>
      await connection.do(`SCAN ${cursor} ${pattern}`, () => data.scan(cursor, pattern, server.isHere))
  }) as unknown as RedisClient
}

class Connection {
  readonly events = new EventEmitter()
  readonly server: Server
  readonly #process: string
  readonly #world: World
  #run: number
  #cuts = 0

  constructor (server: Server, process: string, world: World) {
    this.server = server
    this.#process = process
    this.#world = world
    this.#run = server.run
    this.events.setMaxListeners(0)
  }

  /** Has the server do it, when it is its turn; again where the reply was lost. */
  async do<T> (label: string, work: () => T): Promise<T> {
    for (;;) {
      await this.#world.step(`${this.#process} ${label}`)
      if (this.#run !== this.server.run) {
        this.#world.say(`${this.#process}: connection to server ${this.server.port} closed, and open again`)
        this.#run = this.server.run
        this.events.emit('close')
      }
      const [run, cuts] = [this.#run, this.#cuts]
      const reply = work()
      const steps = this.#world.cut(`${this.#process} ${label}`)
      if (steps !== null) await this.#cut(label, steps)
      else if (this.#world.repliesComeLate) await this.#world.step(`${this.#process} reply to ${label}`)
      if (run === this.#run && cuts === this.#cuts) return reply
    }
  }

  /** All else that waits for its reply is sent again, too. */
  async #cut (label: string, steps: number): Promise<void> {
    this.#cuts++
    this.#world.say(`${this.#process}: connection to server ${this.server.port} cut before the reply to ${label}, and open again`)
    this.events.emit('close')
    await this.#world.after(steps)
  }
}
