// Whose memory answers. A server may come back with an older one: restarted from a snapshot, or a replica that was promoted
// before it had all writes. What was invalidated lies there again, and no key can tell. So every entry carries the history
// that the floor named when its handler was about to run, the floor names the runs of the servers that it is for, and
// there is a new history where these are not the servers that run now. With two actors, R reading and S the server:
//
//   1. R  fill('user:1')                 stored with history h1, which the floor names
//   2. S  SAVE
//   3. R  invalidate('user:1')           returned
//   4. S  killed, and restarted from the snapshot: `user:1` and the floor of h1 are there again
//   5. R  'ready'                        before the first read: S has another run id -> the floor names h2
//   6. R  read('user:1')                 the entry has h1: not valid
//
// What R had sent before 4 is sent again by the client, before 5. So an answer counts only if every server that may have
// given it had been known since before the question, and still is. All servers of a Cluster make one set of runs: a
// failover makes the whole cache cold, as generations that were lost may belong to entries of another server.
//
// A run ends where another server takes over, too. One that is promoted a second time has not been restarted, and may have
// missed all that the primary between has written, the name of its history as well. Each promotion gives the server's
// replication a new id, so that belongs to a run's name.
//
// A primary may be made a replica while its connections stay: sentinels end them, a person or a Cluster does not. So, once a
// second, a server that is asked is asked for its role beside the question, and both answers are waited for.
//
// Whoever asks for generations asks for the floor with them, although it was asked with the entry before; here of servers E,
// F and T, which have the entry, the floor and the generation of its tag, that only the entry tells of:
//
//   1. T  comes back as it was before the tag was invalidated; R has seen it go
//   2. R  reads the entry and the floor   E and F are known: both say h1
//   3. R  is to ask T, which it does not know -> the floor names h2
//   4. R  reads the generation            it is the old one, but h2 stands beside it: not valid
import { createHash, randomBytes } from 'node:crypto'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import type { Keys } from './keys.js'
import type { RedisClient } from './redis-client.js'
import { FLOOR } from './clock-scripts.js'
import { readFloor, type FloorState } from './floor-text.js'
import { slotOf } from './slot.js'
import { topologyOf, type Write } from './topology.js'

/** So long a server is taken to be what it was. */
const RECHECK: Milliseconds = 1_000

interface Known {
  /** The number of a check. */
  since: number
  /** The id of its replication, new with each promotion to a primary. */
  reign: string
  lookedAt: Milliseconds
  /** While it is asked again. */
  looking: Promise<void> | null
}

/** A history's name, random: as long as an entry has room for. */
export function newHistory (): string {
  return randomBytes(9).toString('base64url')
}

export class Floor {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #now: () => Milliseconds
  readonly #trusting: boolean
  readonly #known = new Map<RedisClient, Known>()
  readonly #watched = new Map<RedisClient, () => void>()
  /** On a Cluster: the same servers by their address. */
  #byAddress = new Map<string, RedisClient>()
  #checks = 0
  #losses = 0
  #runs = ''
  #checking: Promise<void> | null = null

  constructor ({ client, keys, write, now, trusting }: {
    client: RedisClient, keys: Keys, write: Write, now: () => Milliseconds, trusting: boolean
  }) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#now = now
    this.#trusting = trusting
  }

  /** Before a question about these names: by which check all their servers are known. Checks where they are not. */
  begin (names: readonly string[]): number | Promise<number> {
    const servers = this.#knownOf(names, this.#checks)
    if (servers === null) return this.#beginKnown(names)
    for (const server of servers) this.#look(server)
    return this.#checks
  }

  async #beginKnown (names: readonly string[]): Promise<number> {
    await this.check()
    if (this.#knownOf(names, this.#checks) === null) throw new RouteCacheError('FRC_STORE', 'the servers changed while they were asked who they are')
    return this.#checks
  }

  /** With the answer: throws FRC_STORE where it may be of a server that was not known then. */
  end (names: readonly string[], since: number): void | Promise<void> {
    const servers = this.#knownOf(names, since)
    if (servers === null) throw new RouteCacheError('FRC_STORE', 'the servers changed while they were asked')
    const looking = servers.map((server) => this.#known.get(server)!.looking).filter((look) => look !== null)
    if (looking.length > 0) return Promise.all(looking).then(() => this.end(names, since))
  }

  /** The servers that have these names; null where one of them is not known since then. */
  #knownOf (names: readonly string[], since: number): RedisClient[] | null {
    const servers = this.#client.isCluster === true ? names.map((name) => this.serverOf(name)) : [this.#client]
    const areKnown = servers.every((server) => server !== undefined && (this.#known.get(server)?.since ?? Infinity) <= since)
    return areKnown ? servers as RedisClient[] : null
  }

  /** On a Cluster: the connection to the primary that has this name, as far as it is known. */
  serverOf (name: string): RedisClient | undefined {
    return this.#byAddress.get(this.#client.slots?.[slotOf(name)]?.[0] ?? '')
  }

  /** Asks a server again, now and then, whether it is what it was; if not, it is not known any more. */
  #look (server: RedisClient): void {
    const known = this.#known.get(server)!
    if (Math.abs(this.#now() - known.lookedAt) < RECHECK) return
    known.lookedAt = this.#now()
    const forget = (): void => { this.#forget(server) }
    known.looking = this.#write(server.info('replication'))
      .then((info) => { if (reignOf(info) !== known.reign) forget() })
      .catch(forget)
      .finally(() => { known.looking = null })
  }

  /** Asks all servers who they are, and begins a new history where the floor is for others, or not there. */
  async check (): Promise<void> {
    this.#checking ??= this.#check().finally(() => { this.#checking = null })
    await this.#checking
  }

  async #check (): Promise<void> {
    const losses = this.#losses
    const servers = this.#client.isCluster === true ? (await topologyOf(this.#client, this.#write)).servers : [this.#client]
    for (const server of servers) this.#watch(server)
    const lookedAt = this.#now()
    const infos = await Promise.all(servers.map(async (server) => await this.#write(server.info())))
    const runs = infos.map(runOf).sort().join(',')
    this.#runs = this.#trusting ? 'any' : createHash('sha256').update(runs).digest('base64url')
    await this.renew()
    // One that went meanwhile may be back as another.
    if (losses !== this.#losses) throw new RouteCacheError('FRC_STORE', 'a server went while it was asked who it is')
    this.#checks++
    this.#byAddress = new Map(servers.map((server) => [addressOf(server), server]))
    for (const [i, server] of servers.entries()) this.#know(server, reignOf(infos[i]), lookedAt)
  }

  #know (server: RedisClient, reign: string, lookedAt: Milliseconds): void {
    const known = this.#known.get(server)
    // One that is known stays known since then: answers under way count.
    if (known?.reign === reign) known.lookedAt = lookedAt
    else this.#known.set(server, { since: this.#checks, reign, lookedAt, looking: null })
  }

  #forget (server: RedisClient): void {
    this.#losses++
    this.#known.delete(server)
  }

  /** What it says now; a new history where the floor or the clock is not there. */
  async renew (): Promise<FloorState> {
    const names = [this.#keys.floor, this.#keys.clock, this.#keys.lastTag]
    const floor = await this.#write(FLOOR.run(this.#client, names, [this.#runs, newHistory()]))
    return readFloor(String(floor))
  }

  close (): void {
    for (const [server, forget] of this.#watched) {
      server.off('close', forget)
      server.off('end', forget)
    }
    this.#watched.clear()
    this.#known.clear()
  }

  #watch (server: RedisClient): void {
    if (this.#watched.has(server)) return
    const forget = (): void => { this.#forget(server) }
    server.on('close', forget)
    server.on('end', forget)
    this.#watched.set(server, forget)
  }
}

function addressOf ({ options }: RedisClient): string {
  const { host, port } = options as { host?: string, port?: number }
  return `${host}:${port}`
}

/** A server's run id is new with each start. */
function runOf (info: unknown): string {
  const run = /^run_id:(\w+)/m.exec(String(info))?.[1]
  if (run === undefined) throw new RouteCacheError('FRC_STORE', 'INFO does not tell the server\'s run_id')
  return `${run} ${reignOf(info)}`
}

function reignOf (info: unknown): string {
  const text = String(info)
  // A Cluster's client may not know yet that it is none any more.
  if (/^role:(?:slave|replica)/m.test(text)) throw new RouteCacheError('FRC_STORE', 'the server is a replica: reads must go to primaries')
  return /^master_replid:(\w+)/m.exec(text)?.[1] ?? ''
}
