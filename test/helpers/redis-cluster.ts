// A private Redis Cluster, put together with the commands that redis-cli would send.
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type ClusterOptions, type Redis } from 'ioredis'
import { startRedis, type RedisServer } from './redis-instance.js'
import { until } from './until.js'

const slots = 16_384
const joinDeadline = 30_000
const pollInterval = 20

export interface ClusterShape {
  /** Default: 3. */
  primaries?: number
  /** For each primary. Default: 0. */
  replicas?: number
  /** Milliseconds until a silent node counts as failing. Default: 5000, so that a loaded machine doesn't trip it. */
  nodeTimeout?: number
  /** Appended to the command line of every node. */
  args?: string[]
}

/** ioredis' own, less what would change the type of every reply. */
export type ClusterClientOptions = Omit<ClusterOptions, 'redisOptions'> & {
  redisOptions?: Omit<NonNullable<ClusterOptions['redisOptions']>, 'replyMapping'>
}

/** Some redis-servers that are one cluster: `startCluster()` makes it. The primaries come first in every list. */
export class RedisCluster {
  readonly servers: readonly RedisServer[]
  readonly #clients = new Set<Cluster>()

  constructor (servers: RedisServer[]) {
    this.servers = servers
  }

  get urls (): string[] {
    return this.servers.map((server) => server.url)
  }

  get nodes (): Array<{ host: string, port: number }> {
    return this.servers.map(({ host, port }) => ({ host, port }))
  }

  /** A client for the test's own use, closed by `stop()`; it asks one of `servers` where the slots are. */
  client (options: ClusterClientOptions = {}, servers: readonly RedisServer[] = this.servers): Cluster {
    const client = new Cluster(servers.map(({ host, port }) => ({ host, port })), options)
    client.on('error', () => {})
    this.#clients.add(client)
    return client
  }

  /** Resolves once every running node says that the cluster is well and knows all the others. */
  async ready (): Promise<void> {
    const running = this.servers.filter((server) => server.pid !== undefined)
    const unready = new Map(running.map((server) => [server, 'has not been asked']))
    const deadline = performance.now() + joinDeadline
    while (unready.size > 0) {
      for (const server of unready.keys()) {
        const problem = await problemOf(server, this.servers.length)
        if (problem === undefined) unready.delete(server)
        else unready.set(server, problem)
      }
      if (unready.size > 0 && performance.now() > deadline) throw new Error(await describe(unready))
      if (unready.size > 0) await delay(pollInterval)
    }
  }

  async stop (): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    this.#clients.clear()
    await Promise.all(this.servers.map((server) => server.stop()))
  }
}

/** Starts a cluster of the test's own, ready to be used; `stop()` it in a teardown. */
export async function startCluster (shape: ClusterShape = {}): Promise<RedisCluster> {
  const { primaries = 3, replicas = 0, nodeTimeout = 5000 } = shape
  const args = ['--cluster-node-timeout', `${nodeTimeout}`, ...(shape.args ?? [])]
  const starts = Array.from({ length: primaries * (1 + replicas) }, () => startRedis({ cluster: true, args }))
  const started = await Promise.allSettled(starts)
  const servers = started.flatMap((start) => start.status === 'fulfilled' ? [start.value] : [])
  const cluster = new RedisCluster(servers)
  try {
    const failed = started.find((start) => start.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    await join(cluster, primaries)
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

async function join (cluster: RedisCluster, primaries: number): Promise<void> {
  const clients = cluster.servers.map((server) => server.client())
  try {
    await assign(clients.slice(0, primaries))
    await introduce(cluster.servers, clients)
    await follow(clients, primaries)
    await cluster.ready()
  } finally {
    for (const client of clients) client.disconnect()
  }
}

// Each primary gets its share of the slots, and an epoch of its own: equal ones would have to be settled by vote.
async function assign (primaries: Redis[]): Promise<void> {
  for (const [index, client] of primaries.entries()) {
    const first = Math.floor(index * slots / primaries.length)
    const last = Math.floor((index + 1) * slots / primaries.length) - 1
    await client.call('CLUSTER', 'ADDSLOTSRANGE', first, last)
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
  }
}

// Everyone meets everyone: gossip alone would take longer to spread the word.
async function introduce (servers: readonly RedisServer[], clients: Redis[]): Promise<void> {
  for (const client of clients) {
    for (const { host, port, busPort } of servers) await client.call('CLUSTER', 'MEET', host, port, busPort)
  }
}

async function follow (clients: Redis[], primaries: number): Promise<void> {
  for (const [index, replica] of clients.entries()) {
    const primary = clients[index % primaries]
    if (index < primaries || primary === undefined) continue
    const id = String(await primary.call('CLUSTER', 'MYID'))
    await until(async () => String(await replica.call('CLUSTER', 'NODES')).includes(id),
      'the nodes of the cluster get to know each other', joinDeadline)
    await replica.call('CLUSTER', 'REPLICATE', id)
  }
}

async function problemOf (server: RedisServer, size: number): Promise<string | undefined> {
  const client = server.client()
  try {
    const info = String(await client.call('CLUSTER', 'INFO'))
    const wanted = ['cluster_state:ok', `cluster_slots_ok:${slots}`, `cluster_known_nodes:${size}`]
    const missing = wanted.find((line) => !info.includes(`${line}\r\n`))
    if (missing !== undefined) return `does not say ${missing} but:\n${info}`
    // A node that is still shaking hands is known, but not yet by its name.
    const nodes = String(await client.call('CLUSTER', 'NODES'))
    if (/handshake|noaddr|fail/.test(nodes)) return `sees:\n${nodes}`
    const replication = String(await client.call('INFO', 'replication'))
    return replication.includes('master_link_status:down') ? 'has no link to its primary' : undefined
  } finally {
    client.disconnect()
  }
}

async function describe (unready: Map<RedisServer, string>): Promise<string> {
  const lines = [...unready].map(([server, problem]) => `the node on port ${server.port} ${problem}`)
  const [first] = unready.keys()
  const tail = (await first?.log())?.trim().split('\n').slice(-10).join('\n')
  return `the cluster is not ready after ${joinDeadline} ms: ${lines.join('\n')}\nthe end of its log:\n${tail}`
}
