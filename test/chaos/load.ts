// Requests by the clock: each is sent when it is due, whatever has become of those before, and what it took is counted from
// the instant at which it was due. So a slow answer does not make the load smaller, nor a wait of this process shorter.
import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { History } from '../race/checker/history.js'
import { Random } from '../race/checker/random.js'
import type { Body, Written } from './app-config.js'
import { Samples, type Kind } from './samples.js'

export interface LoadOptions {
  url: string
  /** Requests a second. Default 250. */
  rate?: number
  seed?: number
}

export const DEFAULT_RATE = 250
const WRITES = 0.05
const UNCACHED = 0.05
const ROWS = 20
/** How often it looks for what is due, in milliseconds. */
const STEP = 2
/** An answer that takes longer is none. */
const PATIENCE = 10_000
const KEPT_CAUSES = 5
/** Where a machine keeps up, no more wait than came in so long, in milliseconds. */
const KEEPS_UP = 100
/** Fewer a second would say too little. */
const LEAST_FITTED = 60
const FIT_PAUSE = 500

interface Answer {
  status: number
  body: string
  cacheStatus: string
}

export class Load {
  readonly samples = new Samples()
  readonly history = new History()
  failed = 0
  /** Of those that failed, and nobody answered them. */
  hung = 0
  /** Why the first of them failed. */
  readonly causes: string[] = []
  /** Writes whose invalidation rejected, by its code. */
  readonly refusals: Record<string, number> = {}
  readonly #url: string
  #interval: number
  readonly #random: Random
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity })
  readonly #underWay = new Set<Promise<void>>()
  /** Of the database, which were answered. */
  readonly #runs = new Set<number>()
  #isOver = false
  #running: Promise<void> | null = null

  constructor ({ url, rate = DEFAULT_RATE, seed = 1 }: LoadOptions) {
    this.#url = url
    this.#interval = 1000 / rate
    this.#random = new Random(seed)
  }

  /** Halves the rate until the answers keep up with it: on a busy machine, more would only show its queue. */
  async fit (): Promise<void> {
    while (this.#underWay.size * this.#interval > KEEPS_UP && this.#interval * 2 <= 1_000 / LEAST_FITTED) {
      this.#interval *= 2
      await delay(FIT_PAUSE)
    }
  }

  start (): void {
    this.#isOver = false
    this.#running = this.#run()
  }

  /** Nothing more is sent; resolves when all was answered. */
  async stop (): Promise<void> {
    this.#isOver = true
    await this.#running
    await Promise.all(this.#underWay)
    this.#agent.destroy()
  }

  /** How many of the cached answers are older than the database, where nobody writes any more: so they would stay. */
  async outdated (): Promise<number> {
    const rows = Array.from({ length: ROWS }, (_, row) => row)
    const version = async (path: string): Promise<number> => (JSON.parse((await this.#ask('GET', path)).body) as Body).version
    const counts = await Promise.all(rows.map(async (row) => {
      const due = await version(`/uncached/${row}`)
      const seen = await Promise.all([version(`/row/${row}`), version(`/tagged/${row}`)])
      return seen.filter((one) => one < due).length
    }))
    this.#agent.destroy()
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async #run (): Promise<void> {
    for (let due = performance.now(); !this.#isOver;) {
      for (const now = performance.now(); due <= now; due += this.#interval) this.#send(due)
      await delay(STEP)
    }
  }

  #send (due: number): void {
    const chance = this.#random.next()
    const row = this.#random.below(ROWS)
    const sent = chance < WRITES ? this.#write(row) : this.#read(row, due, chance < WRITES + UNCACHED ? 'uncached' : 'cached')
    const counted = sent.catch((error: unknown) => {
      this.failed++
      if (this.causes.length < KEPT_CAUSES) this.causes.push((error as Error).message)
    })
    this.#underWay.add(counted)
    counted.finally(() => { this.#underWay.delete(counted) }).catch(() => {})
  }

  async #read (row: number, due: number, kind: Kind): Promise<void> {
    const path = `/${kind === 'uncached' ? kind : this.#random.chance(0.5) ? 'row' : 'tagged'}/${row}`
    const begun = this.history.begin()
    const sample = this.samples.begin(kind, due)
    let outcome = 'failed'
    try {
      const { status, body, cacheStatus } = await this.#ask('GET', path)
      if (status !== 200) throw new Error(`GET ${path}: ${status} ${body}`)
      const seen = JSON.parse(body) as Body
      outcome = outcomeOf(cacheStatus, kind, this.#runs.has(seen.run))
      this.#runs.add(seen.run)
      if (seen.row !== row) throw new Error(`GET ${path} (${outcome}): row ${seen.row}, which is another's`)
      this.history.read(begun, { process: 0, outcome: `${outcome} ${path}`, versions: { [row]: seen.version } })
    } finally {
      // Also what failed: who waits in vain waits.
      this.samples.end(sample, performance.now(), outcome)
    }
  }

  async #write (row: number): Promise<void> {
    const path = `/row/${row}`
    this.samples.writes++
    const begun = this.history.begin()
    const { status, body } = await this.#ask('POST', path)
    const { version, code } = JSON.parse(body) as Written & { code?: string }
    if (status === 503 && code !== undefined && code !== '') {
      this.refusals[code] = (this.refusals[code] ?? 0) + 1
      return
    }
    if (status !== 200) throw new Error(`POST ${path}: ${status} ${body}`)
    this.history.wrote(begun, { process: 0, outcome: 'write', versions: { [row]: version } })
  }

  async #ask (method: string, path: string): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      const fail = (error: Error): void => { reject(new Error(`${method} ${path}: ${error.message}`)) }
      const outgoing = request(`${this.#url}${path}`, { method, agent: this.#agent }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (chunk: string) => { body += chunk })
        response.on('error', fail).on('end', () => {
          clearTimeout(timer)
          resolve({ status: response.statusCode ?? 0, body, cacheStatus: String(response.headers['cache-status'] ?? '') })
        })
      })
      const timer = setTimeout(() => {
        this.hung++
        outgoing.destroy(new Error(`no answer within ${PATIENCE} ms`))
      }, PATIENCE)
      outgoing.on('error', (error) => {
        clearTimeout(timer)
        fail(error)
      })
      outgoing.end()
    })
  }
}

/**
 * From our member of Cache-Status: hit, collapsed, miss, or why the cache was passed. Of a cache that says nothing: a hit,
 * where another answer had the same run of the handler.
 */
function outcomeOf (cacheStatus: string, kind: Kind, isCopy: boolean): string {
  if (cacheStatus === '' && kind === 'cached') return isCopy ? 'hit' : 'miss'
  return /;\s*(hit|collapsed)\b/.exec(cacheStatus)?.[1] ?? /;\s*fwd=bypass;.*detail=([\w-]+)/.exec(cacheStatus)?.[1] ??
    /;\s*fwd=([\w-]+)/.exec(cacheStatus)?.[1] ?? 'uncached'
}
