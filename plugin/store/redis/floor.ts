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
// Before step 5, the client sends the commands again that R had sent before step 4. So an answer counts only if every server
// that may have given it had been known since before the question, and still is. All servers of a Cluster make one set of
// runs: a failover makes the whole cache cold, as generations that were lost may belong to entries of another server.
//
// A run ends where another server takes over, too. One that is promoted a second time has not been restarted, and may have
// missed all that the primary between has written, the name of its history as well. Each promotion gives the server's
// replication a new id, so that belongs to a run's name.
//
// A primary may be made a replica while its connections stay: sentinels end them, a person or a Cluster does not. So, once a
// second, a server that is asked is asked for its role beside the question, and both answers are waited for; and one that
// refuses a write as replicas do is not known any more.
//
// A read of generations reads the floor with them, although the entry was read with the floor before. Server E has the
// entry, F the floor, and T the generation of a tag that only the entry names:
//
//   1. T  comes back as it was before the tag was invalidated; R has seen it go
//   2. R  reads the entry and the floor   E and F are known: both say h1
//   3. R  is to ask T, which it does not know -> the floor names h2
//   4. R  reads the generation            it is the old one, but h2 stands beside it: not valid
import { createHash, randomBytes } from 'node:crypto'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { readFloor, type Keys, type FloorState } from '../keys.js'
import { listenTo } from '../server/client-events.js'
import { onRefusal, type RedisClient } from '../server/redis-client.js'
import { FLOOR } from './clock-scripts.js'
import { addressOf, infoOf, runOf, ownerOf, slotOf, topologyOf, hasReplicas, reignOf, type Write } from '../server/topology.js'
import type { Follower, Witness } from '../witness.js'
import { Backoff } from '../wait/backoff.js'

/** A history's name, random: as long as an entry has room for. */
export function newHistory (): string {
  return randomBytes(9).toString('base64url')
}

export class Floor implements Witness {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #now: () => Milliseconds
  readonly #trusting: boolean
  readonly #known: KnownServers
  readonly #rounds = new Rounds(async () => await this.#goRound())
  readonly #stopHeeding: () => void
  /** On a Cluster: the servers by their address. */
  #byAddress = new Map<string, RedisClient>()
  /** The servers of the last check, and their runs. */
  #servers: readonly RedisClient[] = []
  #runs = ''
  #checks = 0
  #checking: Promise<void> | null = null
  #follower: Follower | null = null

  constructor ({ client, keys, write, now, trusting }: {
    client: RedisClient, keys: Keys, write: Write, now: () => Milliseconds, trusting: boolean
  }) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#now = now
    this.#trusting = trusting
    this.#known = new KnownServers({ write, now, trusting, onLoss: () => { this.#rounds.hurry() } })
    // A Cluster's client does not say which server refused, so none is known any more.
    this.#stopHeeding = onRefusal(client, () => { this.#known.forgetAll() })
  }

  get servers (): string {
    return this.#servers.length > 0 && this.#servers.every((server) => this.#known.has(server)) ? this.#runs : ''
  }

  get isAlone (): boolean {
    return this.#known.isAnyAlone
  }

  sent (): () => string {
    const { servers } = this
    const { losses } = this.#known
    const isCluster = this.#client.isCluster === true
    if (!isCluster) this.#known.watch(this.#client)
    return () => {
      if (losses !== this.#known.losses) return ''
      // No connection was lost since: the server that is known now is the one that was asked.
      return servers !== '' || isCluster ? servers : this.servers || unnamed(losses)
    }
  }

  follow (follower: Follower): void {
    this.#follower = follower
  }

  watch (): void {
    this.#rounds.begin()
  }

  /** Before a question about these names: by which check all their servers are known. Checks where they are not. */
  begin (names: readonly string[]): number | Promise<number> {
    const servers = this.#knownOf(names, this.#checks)
    if (servers === null) return this.#beginKnown(names)
    this.#mustCount(names)
    for (const server of servers) this.#known.look(server)
    return this.#checks
  }

  async #beginKnown (names: readonly string[]): Promise<number> {
    await this.check()
    if (this.#knownOf(names, this.#checks) === null) {
      throw new RouteCacheError('FRC_STORE', 'the servers changed while they were asked who they are')
    }
    this.#mustCount(names)
    return this.#checks
  }

  /** With the answer: throws FRC_STORE where it may be of a server that was not known then. */
  end (names: readonly string[], since: number): void | Promise<void> {
    const servers = this.#knownOf(names, since)
    if (servers === null) throw new RouteCacheError('FRC_STORE', 'the servers changed while they were asked: another one answers, or one is no primary any more')
    const looks = this.#known.looks(servers)
    if (looks.length > 0) return Promise.all(looks).then(() => this.end(names, since))
    this.#mustCount(names)
  }

  /** The servers that have these names; null where one of them is not known since then. */
  #knownOf (names: readonly string[], since: number): RedisClient[] | null {
    const servers = this.#client.isCluster === true ? names.map((name) => this.serverOf(name)) : [this.#client]
    const areKnown = servers.every((server) => server !== undefined && this.#known.since(server) <= since)
    return areKnown ? servers as RedisClient[] : null
  }

  /** Throws FRC_STORE for what may be older than an invalidation of this process. The floor alone is not. */
  #mustCount (names: readonly string[]): void {
    if (names.length === 1 || this.#follower?.mayBeBehind !== true || !this.#follower.isBehind) return
    throw new RouteCacheError('FRC_STORE', 'another server has taken over, and was not told of the last invalidations yet')
  }

  /** On a Cluster: the connection to the primary that has this name, as far as it is known. */
  serverOf (name: string): RedisClient | undefined {
    return this.#byAddress.get(ownerOf(this.#client, slotOf(name)))
  }

  async #goRound (): Promise<Round> {
    if (this.#follower?.isKeeping !== true) return 'over'
    if (this.servers !== '') this.#servers.forEach((server) => { this.#known.look(server) })
    else if (this.#client.status !== 'ready') return 'away'
    // A server that hangs must not be piled up with questions.
    else if (this.#known.unanswered === 0) await this.check().catch(() => {})
    return this.servers === '' ? 'unknown' : 'known'
  }

  /** Asks all servers who they are, and begins a new history where the floor is for others, or not there. */
  async check (): Promise<void> {
    this.#checking ??= this.#check().finally(() => { this.#checking = null })
    await this.#checking
  }

  async #check (): Promise<void> {
    const { losses } = this.#known
    const ask: Write = async (question) => await this.#known.ask(question)
    const servers = this.#client.isCluster === true ? (await topologyOf(this.#client, ask)).servers : [this.#client]
    for (const server of servers) this.#known.watch(server)
    const lookedAt = this.#now()
    const infos = await Promise.all(servers.map(async (server) => await infoOf(ask(server.info()), this.#trusting)))
    const named = infos.map((info) => runOf(info, this.#trusting)).sort()
    const runs = createHash('sha256').update(named.join(',')).digest('base64url')
    const answering = this.#follower?.asking()
    const { isNew } = await this.#renew(runs)
    // A server that went meanwhile may be back as another.
    if (losses !== this.#known.losses) throw new RouteCacheError('FRC_STORE', 'a server went while it was asked who it is')
    this.#checks++
    this.#servers = servers
    this.#runs = runs
    this.#byAddress = new Map(servers.map((server) => [addressOf(server), server]))
    answering?.({ servers: runs, unnamed: unnamed(losses), isNew })
    for (const [i, server] of servers.entries()) this.#known.know(server, infos[i], { since: this.#checks, lookedAt })
  }

  /** The floor's present state; a new history where the floor or the clock is not there. */
  async renew (): Promise<FloorState> {
    return (await this.#renew(this.#runs)).state
  }

  async #renew (runs: string): Promise<{ state: FloorState, isNew: boolean }> {
    const names = [this.#keys.floor, this.#keys.clock, this.#keys.lastTag]
    const running = FLOOR.run(this.#client, names, [this.#trusting ? 'any' : runs, newHistory()])
    const [floor, isNew] = await this.#write(running) as unknown[]
    return { state: readFloor(String(floor)), isNew: Number(isNew) === 1 }
  }

  close (): void {
    this.#rounds.close()
    this.#stopHeeding()
    this.#known.close()
  }
}

/** A server that is not known yet, by how many were lost before it. */
function unnamed (losses: number): string {
  return `after ${losses}`
}

// The servers that are known to be who they were when they were asked: until a connection ends, they don't answer, say that
// they are others, or refuse a write as replicas do.

/** For so long a server is taken to be the same, in the same role. */
const RECHECK: Milliseconds = 1_000

interface Known {
  /** The number of a check. */
  since: number
  /** The id of its replication, new with each promotion to a primary. */
  reign: string
  hasReplicas: boolean
  lookedAt: Milliseconds
  /** While it is asked again. */
  looking: Promise<void> | null
}

interface KnownServersParts {
  write: Write
  now: () => Milliseconds
  /** A server that does not say who it is counts as the same. */
  trusting: boolean
  /** One is not known any more. */
  onLoss: () => void
}

class KnownServers {
  readonly #parts: KnownServersParts
  readonly #known = new Map<RedisClient, Known>()
  /** Each with the function that ends the watch. */
  readonly #watched = new Map<RedisClient, () => void>()
  /** Replications that have had replicas. */
  readonly #followed = new Set<string>()
  /** How often one was lost. */
  losses = 0
  /** Questions that were not answered yet, however late. */
  unanswered = 0

  constructor (parts: KnownServersParts) {
    this.#parts = parts
  }

  /** By which check; infinite where it is not known. */
  since (server: RedisClient): number {
    return this.#known.get(server)?.since ?? Infinity
  }

  has (server: RedisClient): boolean {
    return this.#known.has(server)
  }

  /** A server that had replicas has none. */
  get isAnyAlone (): boolean {
    return [...this.#known.values()].some(({ reign, hasReplicas }) => !hasReplicas && this.#followed.has(reign))
  }

  /** Asks who a server is. */
  async ask<T> (question: Promise<T>): Promise<T> {
    this.unanswered++
    const answered = (): void => { this.unanswered-- }
    question.then(answered, answered)
    return await this.#parts.write(question)
  }

  /** By its INFO. */
  know (server: RedisClient, info: unknown, { since, lookedAt }: Pick<Known, 'since' | 'lookedAt'>): void {
    const seen = this.#seen(info)
    const known = this.#known.get(server)
    // A known server stays known since then: answers under way count.
    if (known?.reign === seen.reign) Object.assign(known, seen, { lookedAt })
    else this.#known.set(server, { ...seen, since, lookedAt, looking: null })
  }

  #seen (info: unknown): Pick<Known, 'reign' | 'hasReplicas'> {
    const seen = { reign: reignOf(info), hasReplicas: hasReplicas(info) }
    if (seen.hasReplicas) this.#followed.add(seen.reign)
    return seen
  }

  /** Asks a known server again, once a second, whether it is the same primary; if not, it is not known any more. */
  look (server: RedisClient): void {
    const known = this.#known.get(server)!
    const now = this.#parts.now()
    if (Math.abs(now - known.lookedAt) < RECHECK) return
    known.lookedAt = now
    const forget = (): void => { this.forget(server) }
    known.looking = infoOf(this.ask(server.info('replication')), this.#parts.trusting)
      .then((info) => {
        const seen = this.#seen(info)
        if (seen.reign === known.reign) Object.assign(known, seen)
        else forget()
      })
      .catch(forget)
      .finally(() => { known.looking = null })
  }

  /** The questions to these servers that are under way. */
  looks (servers: readonly RedisClient[]): Promise<void>[] {
    return servers.map((server) => this.#known.get(server)?.looking ?? null).filter((looking) => looking !== null)
  }

  forget (server: RedisClient): void {
    this.losses++
    this.#known.delete(server)
    this.#parts.onLoss()
  }

  forgetAll (): void {
    for (const server of [...this.#known.keys()]) this.forget(server)
  }

  /** From here on it is forgotten when its connection ends. */
  watch (server: RedisClient): void {
    if (this.#watched.has(server)) return
    const forget = (): void => { this.forget(server) }
    const ends = [listenTo(server, 'close', forget), listenTo(server, 'end', forget)]
    this.#watched.set(server, () => { for (const end of ends) end() })
  }

  close (): void {
    for (const end of this.#watched.values()) end()
    this.#watched.clear()
    this.#known.clear()
  }
}

// Looks at the servers that no read causes: a process that only writes must notice, too, that its server was replaced. One
// at a time, once a second; sooner where a server was lost, until the new one answers.

/** The result of a round: nothing is left to look at; all servers are known, or not; the client is not connected. */
export type Round = 'over' | 'known' | 'unknown' | 'away'

const PAUSE: Milliseconds = 1_000

export class Rounds {
  readonly #look: () => Promise<Round>
  /** While a server is lost. */
  readonly #pauses = new Backoff({ first: 100, longest: PAUSE })
  #timer: NodeJS.Timeout | undefined
  #isLost = false
  #losses = 0
  #isLooking = false
  #isClosed = false

  /** `look` never rejects. */
  constructor (look: () => Promise<Round>) {
    this.#look = look
  }

  begin (): void {
    if (this.#timer !== undefined || this.#isLooking || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#go().catch(() => {})
    }, this.#isLost ? this.#pauses.next() : PAUSE)
    this.#timer.unref()
  }

  /** A server was lost: the next round comes soon, if one was to come. */
  hurry (): void {
    this.#losses++
    this.#isLost = true
    this.#pauses.reset()
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.begin()
  }

  close (): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  async #go (): Promise<void> {
    this.#isLooking = true
    const losses = this.#losses
    const round = await this.#look()
    this.#isLooking = false
    // If a server was lost while it was asked, the next round comes soon as well.
    if (losses === this.#losses && round !== 'unknown') this.#isLost = false
    if (round === 'away') {
      this.#isLost = true
      this.#pauses.reset()
    }
    if (round !== 'over') this.begin()
  }
}

// Plain reads of many names in one trip: one MGET; on a Cluster one pipeline of GETs for each server that has some of them.

/** A Cluster's servers may answer apart in time, but not for longer than the floor keeps what was invalidated by prefix. */
export const LONGEST_READ: Milliseconds = 1_000

/** The primary that has this name, as far as it is known. */
type ServerOf = (name: string) => RedisClient | undefined

/**
 * The values of these names. What is no string, a hash of somebody else for example, is as if it were not there. On a
 * Cluster without `serverOf`, or where a server has them no more, each name is asked for by itself: the client follows it.
 * Rejects with FRC_STORE where that took too long.
 */
export async function readAll (
  client: RedisClient, names: readonly string[], serverOf: ServerOf = () => undefined
): Promise<(Buffer | null)[]> {
  if (client.isCluster !== true) return await client.mgetBuffer(...names)
  const began = performance.now()
  const values: (Buffer | null)[] = []
  const places = new Map<RedisClient | undefined, number[]>()
  for (const [i, name] of names.entries()) {
    const server = serverOf(name)
    const group = places.get(server)
    if (group === undefined) places.set(server, [i])
    else group.push(i)
  }
  const readOne = async (i: number): Promise<void> => { values[i] = await client.getBuffer(names[i]!).catch(asMissing) }
  await Promise.all(Array.from(places, async ([server, group]) => {
    const pipeline = group.length > 1 ? server?.pipeline?.() : undefined
    if (pipeline === undefined) return await Promise.all(group.map(readOne))
    for (const i of group) pipeline.getBuffer(names[i]!)
    const replies = await pipeline.exec()
    const failed: number[] = []
    for (const [at, i] of group.entries()) {
      const [error, reply] = replies?.[at] ?? [new Error('no reply'), null]
      if (error === null) values[i] = reply as Buffer | null
      else if (isNoString(error)) values[i] = null
      else failed.push(i)
    }
    if (failed.length > 0) await Promise.all(failed.map(readOne))
  }))
  if (performance.now() - began < LONGEST_READ) return values
  throw new RouteCacheError('FRC_STORE', `the Cluster's servers took longer than ${LONGEST_READ} ms to answer one read`)
}

/** MGET does so by itself. */
function asMissing (error: unknown): null {
  if (isNoString(error)) return null
  throw error
}

function isNoString (error: unknown): boolean {
  return String((error as { message?: unknown } | null)?.message).startsWith('WRONGTYPE')
}
