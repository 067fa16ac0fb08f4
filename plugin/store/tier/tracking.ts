// Whether the tier may be trusted. Each server that may answer tells what changed (tracked-server.ts), and a heartbeat every
// half second says that it still does. Copies are served only while each server's last heartbeat that came back was *sent*
// no longer ago than an interval and a deadline: so, whatever broke, none is served that was replaced before that. It needs
// no timer to be noticed; with R reading `user:1`, W elsewhere, and a network that lets nothing through to R any more:
//
//   1. R  heartbeat sent, and come back   whatever changed before it was told
//   2.    the network is cut              R's connections stay open
//   3. W  invalidates                     S's message is lost
//   4. R  is asked, in time               the old entry: the bound that is stated
//   5. R  is asked, later                 no heartbeat has come back since 1: R asks Redis
//
// A process that was busy is like one that was cut off, until its next heartbeat has come back; then the messages before it
// have come, too, and the copies are good again. Where a heartbeat is missed, or a connection breaks, all copies go.
//
// The servers' roles, which reads look at with each question (floor.ts), are not looked at for what comes from the tier.
// The guards: a server that was demoted refuses the heartbeat's write, one that has died or was replaced breaks a
// connection, and on a Cluster no reply is kept of a server that is not tracked:
//
//   1. R  tracks A and B; `user:1` lies on A
//   2. S  moves the slot to C, a new one  A drops its names, and R is told so
//   3. R  asks A, is sent on to C         the client connects to it: R does not trust the tier until C is tracked, too
//   4. W  invalidates on C                the message comes
import { randomBytes } from 'node:crypto'
import type { Milliseconds } from '../../duration.js'
import { Delays } from '../wait/delays.js'
import type { Keys } from '../keys.js'
import { listenTo } from '../server/client-events.js'
import { keyPrefixOf, mustBeTrackable, type RedisClient } from '../server/redis-client.js'
import { SLOTS, ownerOf, slotOf, primariesOf } from '../server/topology.js'
import type { TierStats } from '../store.js'
import { TrackedServer } from './tracked-server.js'

/** How often a heartbeat is sent. */
export const INTERVAL: Milliseconds = 500
/** How long it may take to come back; and how long connecting may. */
export const DEADLINE: Milliseconds = 500

interface TrackingParts {
  client: RedisClient
  keys: Keys
  /** Null: all of them. */
  onChange: (names: string[] | null) => void
  /** Told why the tier can't be trusted: once, until it is again. Never throws. */
  complain: (error: unknown) => void
  /** Told that all copies went, which were served until now. */
  onDrop?: (() => void) | undefined
}

export class Tracking {
  readonly #client: RedisClient
  readonly #onChange: TrackingParts['onChange']
  readonly #complain: TrackingParts['complain']
  readonly #onDrop: TrackingParts['onDrop']
  readonly #prefixes: readonly string[]
  readonly #beatPrefix: string
  readonly #servers = new Map<RedisClient, TrackedServer>()
  /** On a Cluster: addresses of the same. */
  #addresses = new Set<string>()
  readonly #delays = new Delays()
  #timer: NodeJS.Timeout | undefined
  #isUp = false
  #hasComplained = false
  #drops = 0
  /** When the oldest of the servers' last heartbeats was sent. */
  #confirmedAt = -Infinity
  readonly #changed = (): void => { this.#tick().catch(() => {}) }
  /** Of listening for a Cluster's servers. */
  #ends: Array<() => void> = []

  constructor ({ client, keys, onChange, complain, onDrop }: TrackingParts) {
    mustBeTrackable(client)
    this.#client = client
    this.#onChange = onChange
    this.#complain = complain
    this.#onDrop = onDrop
    this.#prefixes = keys.tracked
    // Heartbeats of this process only: others are not told of them.
    this.#beatPrefix = keys.beats(randomBytes(9).toString('base64url'))
  }

  /** Resolves when the servers were tried once. Never rejects; goes on trying until it is closed. */
  async begin (): Promise<void> {
    if (this.#timer !== undefined) return
    this.#timer = setInterval(this.#changed, INTERVAL).unref()
    if (this.#client.isCluster === true) {
      this.#ends = [listenTo(this.#client, '+node', this.#changed), listenTo(this.#client, '-node', this.#changed)]
    }
    await this.#tick()
  }

  /** Whether copies are true now, as far as that is stated. */
  get isLive (): boolean {
    return this.#isUp && performance.now() - this.#confirmedAt <= INTERVAL + DEADLINE
  }

  /** Whether what these names held can be kept: the server that answered tells of their changes. */
  covers (names: readonly string[]): boolean {
    if (!this.#isUp) return false
    return this.#client.isCluster !== true || names.every((name) => this.#addresses.has(ownerOf(this.#client, slotOf(name))))
  }

  get stats (): Pick<TierStats, 'isLive' | 'delay' | 'drops'> {
    return { isLive: this.isLive, delay: this.#delays.read(), drops: this.#drops }
  }

  /** Never rejects: what can't be tried now is tried again with the next heartbeat. */
  async #tick (): Promise<void> {
    try {
      this.#align()
      await Promise.all([...this.#servers.values()].map(async (server) => { await server.tick() }))
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail (error: unknown): void {
    this.#lose()
    if (this.#hasComplained) return
    this.#hasComplained = true
    this.#complain(error)
  }

  /** Tracks the servers that the client has now; where they are others, nothing is trusted until all of them are tracked. */
  #align (): void {
    const present = new Set(primariesOf(this.#client))
    for (const [client, server] of this.#servers) {
      if (present.has(client)) continue
      server.close()
      this.#servers.delete(client)
      this.#lose()
    }
    for (const client of present) {
      if (this.#servers.has(client)) continue
      this.#servers.set(client, this.#track(client))
      this.#lose()
    }
    this.#addresses = new Set([...present].map(addressOf))
  }

  #track (client: RedisClient): TrackedServer {
    return new TrackedServer({
      client,
      keyPrefix: keyPrefixOf(client),
      prefixes: this.#prefixes,
      beatPrefix: this.#beatPrefix,
      slotTag: this.#client.isCluster === true ? slotTags(this.#client, client) : () => '0',
      deadline: DEADLINE,
      onChange: this.#onChange,
      onBeat: (delay) => { this.#confirm(delay) },
      onDown: (error) => {
        // Only who is asked for a name is told that another server has it now.
        this.#client.refreshSlotsCache?.(() => {})
        this.#fail(error)
      }
    })
  }

  #confirm (delay: Milliseconds): void {
    this.#delays.add(delay)
    const servers = [...this.#servers.values()]
    this.#confirmedAt = Math.min(...servers.map(({ confirmedAt }) => confirmedAt))
    if (this.#isUp || !servers.every(({ isUp }) => isUp)) return
    // Reads that were sent before are not to be kept, either.
    this.#onChange(null)
    this.#isUp = true
    this.#hasComplained = false
  }

  #lose (): void {
    const wasUp = this.#isUp
    if (wasUp) this.#drops++
    this.#isUp = false
    this.#onChange(null)
    if (wasUp) this.#onDrop?.()
  }

  /** Ends its connections. */
  close (): void {
    clearInterval(this.#timer)
    for (const end of this.#ends) end()
    for (const server of this.#servers.values()) server.close()
    this.#servers.clear()
    this.#isUp = false
  }
}

/** Finds, again where slots have moved, what braces a name of this server needs. */
function slotTags (cluster: RedisClient, server: RedisClient): () => string | null {
  const address = addressOf(server)
  let number = 0
  return () => {
    for (let tries = 0; tries < SLOTS; tries++) {
      const tag = `{${number}}`
      if (ownerOf(cluster, slotOf(tag)) === address) return tag
      number = (number + 1) % (4 * SLOTS)
    }
    return null
  }
}

function addressOf ({ options }: RedisClient): string {
  const { host, port } = options as { host?: string, port?: number }
  return `${host}:${port}`
}
