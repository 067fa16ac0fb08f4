// A primary, its replicas, and the sentinels that watch them: what a managed Redis without Cluster mostly is.
import { Redis, type RedisOptions } from 'ioredis'
import { startRedis, type RedisServer } from './redis-instance.js'
import { until } from './until.js'

/** What the sentinels call the group. */
const NAME = 'shop'
/**
 * In milliseconds. They would tell each other news every 2 s, ask replicas who they are every 10 s, wait four times the
 * first until they correct a server's role, and do nothing for 30 s after this machine was busy for 2. A first ping after a
 * second is too late where a second without an answer means down; but a replica that was heard of five such periods ago is
 * not promoted, and then they ask it once a second.
 */
const HASTE = { 'PUBLISH-PERIOD': 200, 'INFO-PERIOD': 500, 'PING-PERIOD': 400, 'ASK-PERIOD': 200, 'TILT-PERIOD': 500 }
const LOG_LINES = 20
const READY_DEADLINE = 30_000
const REPLACED_DEADLINE = 40_000

export interface SentinelShape {
  /** Default: 1. */
  replicas?: number
  /** Default: 3. */
  sentinels?: number
  /** Milliseconds until a silent server counts as down. Default: 1000. */
  downAfter?: number
  /** Appended to the command line of the primary and of each replica. */
  args?: string[]
}

/** What a client has to be told, in this process or another. */
export interface SentinelAddress {
  sentinels: Array<{ host: string, port: number }>
  name: string
}

/** A group of redis-servers with sentinels: `startSentinel()` makes it. */
export class RedisSentinel {
  /** The first was the primary at the start. */
  readonly servers: readonly RedisServer[]
  readonly sentinels: readonly RedisServer[]
  readonly #clients = new Set<Redis>()

  constructor (servers: readonly RedisServer[], sentinels: readonly RedisServer[]) {
    this.servers = servers
    this.sentinels = sentinels
  }

  get address (): SentinelAddress {
    return { sentinels: this.sentinels.map(({ host, port }) => ({ host, port })), name: NAME }
  }

  /** A client for the test's own use, which finds the primary by the sentinels; closed by `stop()`. */
  client (options: Omit<RedisOptions, 'replyMapping'> = {}): Redis {
    const client = new Redis({ ...this.address, ...options })
    client.on('error', () => {})
    this.#clients.add(client)
    return client
  }

  /** The one that all running sentinels say is the primary; undefined while they disagree. */
  async primary (): Promise<RedisServer | undefined> {
    const running = this.sentinels.filter(isRunning)
    const addresses = await Promise.all(running.map(async (sentinel) =>
      String(await sentinel.ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME))))
    const [first] = addresses
    if (addresses.some((address) => address !== first)) return undefined
    return this.servers.find(({ host, port }) => `${host},${port}` === first)
  }

  /** Resolves once all sentinels say that another one is the primary, and it is. */
  async replaced (old: RedisServer): Promise<RedisServer> {
    let primary: RedisServer | undefined
    await until(async () => {
      primary = await this.primary()
      return primary !== undefined && primary !== old && await isPrimary(primary)
    }, async () => `a replica takes over from port ${old.port}\n${await this.#logs()}`, REPLACED_DEADLINE)
    return primary!
  }

  /** Has a replica take over while the primary runs. The old one goes on as a primary until the sentinels correct it. */
  async handOver (): Promise<void> {
    await this.sentinels[0]!.ask('SENTINEL', 'FAILOVER', NAME)
  }

  /** Resolves once all sentinels agree, all know each other, and all running replicas are in sync. */
  async ready (): Promise<void> {
    let problem = 'nobody was asked'
    await until(async () => {
      problem = await this.#problem() ?? ''
      return problem === ''
    }, async () => `the sentinels are ready: ${problem}\n${await this.#logs()}`, READY_DEADLINE)
  }

  /** Resolves once all running replicas have what the primary has now. */
  async synced (): Promise<void> {
    const primary = await this.primary()
    if (primary === undefined) throw new Error('the sentinels disagree on the primary')
    const replicas = this.servers.filter((server) => server !== primary && isRunning(server)).length
    const client = primary.client()
    try {
      // WAIT is about what its own connection has written.
      await client.set('synced', '')
      await until(async () => await client.wait(replicas, 1_000) >= replicas, 'the replicas have everything')
    } finally {
      client.disconnect()
    }
  }

  async stop (): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    this.#clients.clear()
    await Promise.all([...this.sentinels, ...this.servers].map(async (server) => { await server.stop() }))
  }

  /** What the sentinels said last. */
  async #logs (): Promise<string> {
    const logs = await Promise.all(this.sentinels.map(async (sentinel) => await sentinel.log()))
    return logs.map((log) => log.trim().split('\n').slice(-LOG_LINES).join('\n')).join('\n\n')
  }

  async #problem (): Promise<string | undefined> {
    const primary = await this.primary()
    if (primary === undefined) return 'they disagree on the primary'
    if (!isRunning(primary) || !await isPrimary(primary)) return `the one on port ${primary.port} is no primary`
    const replicas = this.servers.filter((server) => server !== primary && isRunning(server))
    for (const replica of replicas) {
      if (!await follows(replica, primary)) return `the replica on port ${replica.port} is not in sync`
    }
    const due = `a master, ${this.sentinels.length - 1} others, ${replicas.length} replicas`
    for (const sentinel of this.sentinels.filter(isRunning)) {
      const seen = await seenBy(sentinel)
      if (seen !== due) return `the one on port ${sentinel.port} sees ${seen}, not ${due}`
    }
  }
}

/** Starts such a group of the test's own, ready to be used; `stop()` it in a teardown. */
export async function startSentinel (shape: SentinelShape = {}): Promise<RedisSentinel> {
  const { replicas = 1, sentinels = 3 } = shape
  const started: RedisServer[] = []
  const keep = async (start: Promise<RedisServer>): Promise<RedisServer> => {
    const server = await start
    started.push(server)
    return server
  }
  try {
    const servers = [await keep(startServer(shape))]
    for (let i = 0; i < replicas; i++) servers.push(await keep(startServer(shape, servers[0])))
    const watchers = await Promise.all(Array.from({ length: sentinels }, async () =>
      await keep(startWatcher(servers[0]!, shape))))
    const group = new RedisSentinel(servers, watchers)
    await group.ready()
    return group
  } catch (error) {
    await Promise.all(started.map(async (server) => { await server.stop() }))
    throw error
  }
}

/** With a file, so that it remembers being told to follow another one. */
async function startServer ({ args = [] }: SentinelShape, primary?: RedisServer): Promise<RedisServer> {
  const config = primary === undefined ? [] : [`replicaof ${primary.host} ${primary.port}`]
  return await startRedis({ config, args: ['--repl-diskless-sync-delay', '0', ...args] })
}

async function startWatcher ({ host, port }: RedisServer, shape: SentinelShape): Promise<RedisServer> {
  const { sentinels = 3, downAfter = 1_000 } = shape
  const quorum = Math.floor(sentinels / 2) + 1
  const sentinel = await startRedis({
    sentinel: true,
    config: [
      `sentinel monitor ${NAME} ${host} ${port} ${quorum}`,
      `sentinel down-after-milliseconds ${NAME} ${downAfter}`,
      // After an election that nobody won, the next one comes after twice this.
      `sentinel failover-timeout ${NAME} 3000`,
      `sentinel parallel-syncs ${NAME} 1`
    ]
  })
  await sentinel.ask('SENTINEL', 'DEBUG', ...Object.entries(HASTE).flat())
  return sentinel
}

export async function isPrimary (server: RedisServer): Promise<boolean> {
  return String(await server.ask('INFO', 'replication')).includes('role:master')
}

async function follows (replica: RedisServer, { port }: RedisServer): Promise<boolean> {
  const info = String(await replica.ask('INFO', 'replication'))
  return info.includes('role:slave') && info.includes('master_link_status:up') && info.includes(`master_port:${port}\r`)
}

function isRunning (server: RedisServer): boolean {
  return server.pid !== undefined
}

async function seenBy (sentinel: RedisServer): Promise<string> {
  const master = fieldsOf(await sentinel.ask('SENTINEL', 'MASTER', NAME))
  const replicas = (await sentinel.ask('SENTINEL', 'REPLICAS', NAME) as unknown[]).map(fieldsOf)
  const good = replicas.filter((one) => one.get('flags') === 'slave' && one.get('master-link-status') === 'ok')
  return `a ${master.get('flags')}, ${master.get('num-other-sentinels')} others, ${good.length} replicas`
}

/** Name, value, name, value, … */
function fieldsOf (list: unknown): Map<string, string> {
  const words = (list as unknown[]).map(String)
  return new Map(words.flatMap((word, i) => i % 2 === 0 ? [[word, words[i + 1] ?? ''] as const] : []))
}
