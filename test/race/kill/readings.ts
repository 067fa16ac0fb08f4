// All that is read of one row while its writer lives and dies. It is told in phases: a read belongs to the one in which it
// began, and where that phase knows the true version, it must give this one.
import { setTimeout as delay } from 'node:timers/promises'
import type { Fleet } from '../checker/fleet.js'
import type { Random } from '../checker/random.js'
import type { ReadBody } from './reader-process.js'

const LOOPS = 4
/** Milliseconds: the most that a handler takes once it has read, and that a reader waits before it asks again. */
const SLOW = 300
const PAUSE = 100

const ROUTES = ['row', 'tagged'] as const
type Route = typeof ROUTES[number]
interface Place { process: number, route: Route }

export interface StaleRead extends Place { row: number, version: number, truth: number, outcome: string }

/** What was counted in one round or more. */
export interface Tally {
  reads: number
  /** Of these, begun when the true version was settled. */
  checked: number
  hits: number
  stale: StaleRead[]
  /** Why requests, or whole rounds, failed. */
  failures: string[]
}

interface Phase {
  /** What a read that begins now must give; null: there may be two answers. */
  truth: number | null
  begun: number
  ended: number
  /** Where there were answers, and hits. */
  answered: Set<string>
  hits: Set<string>
}

const phaseOf = (truth: number | null): Phase => ({ truth, begun: 0, ended: 0, answered: new Set(), hits: new Set() })

export function emptyTally (): Tally {
  return { reads: 0, checked: 0, hits: 0, stale: [], failures: [] }
}

export class Readings {
  readonly tally = emptyTally()
  readonly #fleet: Fleet
  readonly #row: number
  readonly #random: Random
  readonly #places: Place[]
  readonly #phases: Phase[] = [phaseOf(null)]
  #under: Promise<unknown>[] = []
  #isOver = false

  constructor (fleet: Fleet, row: number, random: Random) {
    this.#fleet = fleet
    this.#row = row
    this.#random = random
    this.#places = Array.from({ length: fleet.size }, (_, process) => ROUTES.map((route) => ({ process, route }))).flat()
    this.#under = Array.from({ length: LOOPS }, async () => { while (!this.#isOver) await this.#readOne() })
  }

  get #phase (): Phase {
    return this.#phases.at(-1)!
  }

  /** From now on reads must give this version; null: nothing is known of them. */
  begin (truth: number | null): void {
    this.#phases.push(phaseOf(truth))
  }

  /** Whether so many reads of this phase have ended, and each route was answered in each process, with hits. */
  hasHits (least = 0): boolean {
    return this.#phase.ended >= least && this.#phase.hits.size === this.#places.length
  }

  /** Whether each route was answered in each process in this phase. */
  hasAnswers (): boolean {
    return this.#phase.answered.size === this.#places.length
  }

  /** Whether all that began in earlier phases has ended. */
  hasLeftBehind (): boolean {
    return this.#phases.slice(0, -1).every(({ begun, ended }) => begun === ended)
  }

  /** Reads everywhere, with handlers that take so long once they have read. */
  readSlowly (milliseconds: number): void {
    for (const place of this.#places) this.#under.push(this.#read(place, milliseconds))
  }

  async end (): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#under)
  }

  async #readOne (): Promise<void> {
    await this.#read(this.#random.pick(this.#places), this.#random.below(SLOW))
    await delay(this.#random.below(PAUSE))
  }

  async #read (place: Place, slow: number): Promise<void> {
    const phase = this.#phase
    phase.begun++
    try {
      await this.#ask(place, slow, phase)
    } catch (error) {
      this.tally.failures.push(`${place.route} of row ${this.#row}: ${(error as Error).message}`)
    }
    phase.ended++
  }

  async #ask (place: Place, slow: number, { truth, answered, hits }: Phase): Promise<void> {
    const { process, route } = place
    const path = `/${route}/${this.#row}`
    const { status, body, cacheStatus } = await this.#fleet.ask(process, { path, headers: { 'x-delay': String(slow) } })
    this.tally.reads++
    if (status !== 200) throw new Error(`status ${status}: ${body}`)
    answered.add(`${process} ${route}`)
    if (cacheStatus.includes('; hit')) {
      this.tally.hits++
      hits.add(`${process} ${route}`)
    }
    if (truth === null) return
    this.tally.checked++
    const { version } = JSON.parse(body) as ReadBody
    if (version !== truth) this.tally.stale.push({ ...place, row: this.#row, version, truth, outcome: cacheStatus })
  }
}
