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
// So whoever asks for generations asks for the floor with them, although it was asked with the entry before; here of servers
// E, F and T, which have the entry, the floor and the generation of its tag, that only the entry tells of:
//
//   1. T  comes back as it was before the tag was invalidated; R has seen it go
//   2. R  reads the entry and the floor   E and F are known: both say h1
//   3. R  is to ask T, which it does not know -> the floor names h2
//   4. R  reads the generation            it is the old one, but h2 stands beside it: not valid
import { createHash, randomBytes } from 'node:crypto'
import { RouteCacheError } from '../errors.js'
import type { Keys } from './keys.js'
import type { RedisClient } from './redis-client.js'
import { FLOOR } from './clock-scripts.js'
import { slotOf } from './slot.js'
import { topologyOf, type Write } from './topology.js'

/** A history's name, random: as long as an entry has room for. */
export function newHistory (): string {
  return randomBytes(9).toString('base64url')
}

/** The history that a floor names; '' where there is no floor. */
export function historyOf (floor: Buffer | string | null): string {
  return floor === null ? '' : floor.toString('latin1').slice(0, 12)
}

export class Floor {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #trusting: boolean
  /** The servers that are known, each since which check. */
  readonly #known = new Map<RedisClient, number>()
  readonly #watched = new Map<RedisClient, () => void>()
  /** On a Cluster: the same servers by their address. */
  #byAddress = new Map<string, RedisClient>()
  #checks = 0
  #losses = 0
  #runs = ''
  #checking: Promise<void> | null = null

  constructor ({ client, keys, write, trusting }: { client: RedisClient, keys: Keys, write: Write, trusting: boolean }) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#trusting = trusting
  }

  /** Before a question about these names: by which check all their servers are known. Checks where they are not. */
  begin (names: readonly string[]): number | Promise<number> {
    return this.#stands(names, this.#checks) ? this.#checks : this.#beginKnown(names)
  }

  async #beginKnown (names: readonly string[]): Promise<number> {
    await this.check()
    if (!this.#stands(names, this.#checks)) throw new RouteCacheError('FRC_STORE', 'the servers changed while they were asked who they are')
    return this.#checks
  }

  /** With the answer: throws FRC_STORE where it may be of a server that was not known then. */
  end (names: readonly string[], since: number): void {
    if (!this.#stands(names, since)) throw new RouteCacheError('FRC_STORE', 'the servers changed while they were asked')
  }

  #stands (names: readonly string[], since: number): boolean {
    if (this.#client.isCluster !== true) return (this.#known.get(this.#client) ?? Infinity) <= since
    return names.every((name) => {
      const server = this.#byAddress.get(this.#client.slots?.[slotOf(name)]?.[0] ?? '')
      return server !== undefined && (this.#known.get(server) ?? Infinity) <= since
    })
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
    const runs = await Promise.all(servers.map(async (server) => runOf(await this.#write(server.info()))))
    this.#runs = this.#trusting ? 'any' : createHash('sha256').update(runs.sort().join(',')).digest('base64url')
    await this.renew()
    // One that went meanwhile may be back as another.
    if (losses !== this.#losses) throw new RouteCacheError('FRC_STORE', 'a server went while it was asked who it is')
    this.#checks++
    this.#byAddress = new Map(servers.map((server) => [addressOf(server), server]))
    // A server that is known stays known since then: answers under way count.
    for (const server of servers) if (!this.#known.has(server)) this.#known.set(server, this.#checks)
  }

  /** The history of now; a new one where the floor or the clock is not there. */
  async renew (): Promise<string> {
    const names = [this.#keys.floor, this.#keys.clock, this.#keys.lastTag]
    const floor = await this.#write(FLOOR.run(this.#client, names, [this.#runs, newHistory()]))
    return historyOf(String(floor))
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
    const forget = (): void => {
      this.#losses++
      this.#known.delete(server)
    }
    server.on('close', forget)
    server.on('end', forget)
    this.#watched.set(server, forget)
  }
}

function addressOf ({ options }: RedisClient): string {
  const { host, port } = options as { host?: string, port?: number }
  return `${host}:${port}`
}

/** A server's run id is new with each start, and its replication's id with each promotion to a primary. */
function runOf (info: unknown): string {
  const text = String(info)
  const run = /^run_id:(\w+)/m.exec(text)?.[1]
  if (run === undefined) throw new RouteCacheError('FRC_STORE', 'INFO does not tell the server\'s run_id')
  // A Cluster's client may not know yet that it is none any more.
  if (/^role:(?:slave|replica)/m.test(text)) throw new RouteCacheError('FRC_STORE', 'the server is a replica: reads must go to primaries')
  return `${run} ${/^master_replid:(\w+)/m.exec(text)?.[1] ?? ''}`
}
