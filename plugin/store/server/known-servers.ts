// The servers that are known to be who they were when they were asked: until a connection ends, they don't answer, say that
// they are others, or refuse a write as replicas do.
import type { Milliseconds } from '../../duration.js'
import { listenTo } from './client-events.js'
import type { RedisClient } from './redis-client.js'
import { hasReplicas, reignOf, type Write } from './topology.js'
import { Backoff } from '../wait/backoff.js'

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

export interface KnownServersParts {
  write: Write
  now: () => Milliseconds
  /** One is not known any more. */
  onLoss: () => void
}

export class KnownServers {
  readonly #parts: KnownServersParts
  readonly #known = new Map<RedisClient, Known>()
  /** Each with what ends that. */
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

  /** One that had replicas has none. */
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
    // One that is known stays known since then: answers under way count.
    if (known?.reign === seen.reign) Object.assign(known, seen, { lookedAt })
    else this.#known.set(server, { since, lookedAt, looking: null, ...seen })
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
    known.looking = this.ask(server.info('replication'))
      .then((info) => {
        const seen = this.#seen(info)
        if (seen.reign === known.reign) Object.assign(known, seen)
        else forget()
      })
      .catch(forget)
      .finally(() => { known.looking = null })
  }

  /** What these are asked just now. */
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

/** What a round found: nothing is to be looked at any more; all servers are known, or not; the client is not connected. */
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
    // Where one was lost while it was asked, the next round comes soon as well.
    if (losses === this.#losses && round !== 'unknown') this.#isLost = false
    if (round === 'away') {
      this.#isLost = true
      this.#pauses.reset()
    }
    if (round !== 'over') this.begin()
  }
}
