// The one process that asks and judges: workers in closed loops, each reading most of the time and writing now and then.
// After a write, several readers at once want what it has invalidated, in different processes: the rush on a cold key.
import { setTimeout as delay } from 'node:timers/promises'
import type { Fleet } from './fleet.js'
import type { ReadPlan } from './forms.js'
import { History } from './history.js'
import { Random } from './random.js'
import type { ReadBody } from './reading.js'
import type { Settings } from './settings.js'
import { RUSH, type Workload, type WritePlan } from './workload.js'

/** How long the fills of the last requests may take until the sweep. */
const SETTLE = 150
/** What a tier may be behind other processes: a heartbeat's interval and its deadline, in milliseconds. */
const TOLERANCE = 1_000
/** A primary that was replaced is believed until its sentinels make it a replica, which these do in seconds. */
const BLIND_TOLERANCE = 15_000
const KEPT_CAUSES = 5
/** For how long a write is repeated that was refused. */
const INSISTENCE = 20_000

export interface Tally {
  reads: number
  writes: number
  hits: number
  /** Waited for another request's handler, and were given what it had answered. */
  collapsed: number
  bypasses: number
  /** Invalidations that had failed and were repeated. */
  retries: number
  /** The longest that a read waited for its answer, in milliseconds: nobody should wait for a lease that nobody uses. */
  slowestMs: number
  failed: number
  /** Why the first of them failed. */
  causes: string[]
}

export class Driver {
  readonly history: History
  readonly tally: Tally = {
    reads: 0, writes: 0, hits: 0, collapsed: 0, bypasses: 0, retries: 0, slowestMs: 0, failed: 0, causes: []
  }

  readonly #fleet: Fleet
  readonly #workload: Workload
  readonly #settings: Settings
  readonly #signal: AbortSignal

  constructor (fleet: Fleet, workload: Workload, { settings, signal }: { settings: Settings, signal: AbortSignal }) {
    this.history = new History(undefined, { staleTime: workload.staleTime, tolerance: toleranceOf(settings) })
    this.#fleet = fleet
    this.#workload = workload
    this.#settings = settings
    this.#signal = signal
  }

  /** Runs for the given time, and then reads everything once more, when no write is under way. */
  async run (): Promise<void> {
    const { seconds, concurrency } = this.#settings
    const until = performance.now() + seconds * 1000
    await Promise.all(Array.from({ length: concurrency }, async (_, worker) => await this.#work(worker, until)))
    await delay(SETTLE)
    const random = new Random(0)
    for (const plan of this.#workload.sweep()) if (!this.#signal.aborted) await this.#read(plan, random)
  }

  async #work (worker: number, until: number): Promise<void> {
    const { seed, writes, untilStale } = this.#settings
    const random = new Random(seed * 1009 + worker)
    while (performance.now() < until && !this.#signal.aborted) {
      if (untilStale && this.history.staleReads > 0) return
      // A write brings its rush of readers with it, which count as well.
      if (random.chance(writes / (1 - RUSH * writes))) await this.#writeAndRush(random)
      else await this.#read(this.#workload.read(random), random)
    }
  }

  async #writeAndRush (random: Random): Promise<void> {
    const plan = this.#workload.write(random)
    const process = random.below(this.#fleet.size)
    await this.#counting(async () => {
      this.tally.writes++
      const begun = this.history.begin()
      const path = pathOf(plan)
      const { status, body } = await this.#insist(plan, async () => await this.#fleet.ask(process, { path, json: plan }))
      if (status !== 200) throw new Error(`POST ${path}: ${status} ${body}`)
      const outcome = `${plan.way} ${JSON.stringify(plan.targets)}`
      const { versions, retries = 0 } = JSON.parse(body) as ReadBody
      this.tally.retries += retries
      this.history.wrote(begun, { process, outcome, versions })
    })
    const wanted = this.#workload.read(random, random.pick(plan.rows))
    await Promise.all(Array.from({ length: RUSH }, async () => await this.#read(wanted, random)))
  }

  /** A strict write that is refused has changed nothing, so it is tried again, as the answer says. */
  async #insist<T extends { status: number }> ({ way }: WritePlan, write: () => Promise<T>): Promise<T> {
    const until = performance.now() + INSISTENCE
    for (;;) {
      const answer = await write()
      if (way !== 'strict' || answer.status !== 503 || performance.now() > until) return answer
      this.tally.retries++
      await delay(20)
    }
  }

  async #read ({ path, headers }: ReadPlan, random: Random): Promise<void> {
    const process = random.below(this.#fleet.size)
    await this.#counting(async () => {
      this.tally.reads++
      const asked = performance.now()
      const begun = this.history.begin()
      const { status, body, cacheStatus } = await this.#fleet.ask(process, { path, headers })
      this.tally.slowestMs = Math.max(this.tally.slowestMs, Math.round(performance.now() - asked))
      if (status !== 200) throw new Error(`GET ${path}: ${status} ${body}`)
      const { versions, selected, process: source, parts = [] } = JSON.parse(body) as ReadBody
      const outcome = outcomeOf(cacheStatus)
      if (outcome === 'hit' || outcome === 'stale') this.tally.hits++
      if (outcome === 'collapsed') this.tally.collapsed++
      if (outcome === 'bypass') this.tally.bypasses++
      const sources = [source, ...parts].map((from) => `p${from}`).join(' < ')
      this.history.read(begun, { process, outcome: `${outcome} ${path} from ${sources}`, versions, isStale: outcome === 'stale' })
      const foreign = Object.entries(selected ?? {}).find(([name, value]) => headers[name] !== value)
      if (foreign !== undefined) throw new Error(`GET ${path} (${outcome}): another client's ${foreign.join(': ')}`)
    })
  }

  async #counting (work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.tally.failed++
      if (this.tally.causes.length < KEPT_CAUSES) this.tally.causes.push((error as Error).message)
    }
  }
}

function pathOf ({ way, rows: [row] }: WritePlan): string {
  if (way === 'prefixes') return `/write/prefixes/${row}`
  return way === 'declared' || way === 'strict' ? `/write/${way}` : '/write'
}

/** From our member of Cache-Status. */
function outcomeOf (cacheStatus: string): string {
  // What is stale has no time left.
  if (/;\s*hit;\s*ttl=(?:-|0\b)/.test(cacheStatus)) return 'stale'
  return /;\s*(hit|collapsed)\b/.exec(cacheStatus)?.[1] ?? /;\s*fwd=([a-z-]+)/.exec(cacheStatus)?.[1] ?? 'uncached'
}

function toleranceOf ({ memory, blind }: Settings): number | null {
  if (blind) return BLIND_TOLERANCE
  return memory ? TOLERANCE : null
}
