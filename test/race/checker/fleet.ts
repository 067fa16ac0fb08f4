// The processes with the plugin, and how they are asked.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { forget, watch } from '../../helpers/watchdog.js'
import type { CacheStats, RouteStats } from '../../../plugin/index.js'

const ANSWER_DEADLINE = 60_000

export interface Answer {
  status: number
  body: string
  cacheStatus: string
}

export interface Question {
  path: string
  headers?: Record<string, string>
  /** Sent as JSON, by POST. */
  json?: unknown
}

/** What the processes' caches did, added up. */
export interface FleetStats {
  fills: number
  /** Fills that had lost their lease, or never had one, or were found to be old. */
  refused: number
  /** Entries that were found to be old when they were read. */
  outdated: number
  /** Hits of their tiers, and how often those were dropped. */
  tierHits: number
  drops: number
  /** Of their tracking messages, each the longest of all processes; null: there are no tiers. */
  delayMs: { p50: number, p99: number, max: number } | null
}

export class Fleet {
  readonly #children: ChildProcess[]
  readonly #urls: string[]
  readonly #agent = new Agent({ keepAlive: true })

  constructor (children: ChildProcess[], urls: string[]) {
    this.#children = children
    this.#urls = urls
  }

  get size (): number {
    return this.#urls.length
  }

  /** Asks one process, by its number from 0; rejects where there is no whole answer. */
  async ask (process: number, { path, headers = {}, json }: Question): Promise<Answer> {
    const body = json === undefined ? undefined : JSON.stringify(json)
    const method = body === undefined ? 'GET' : 'POST'
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    return await new Promise((resolve, reject) => {
      const outgoing = request(`${this.#urls[process]}${path}`, {
        method, agent: this.#agent, headers: { ...headers, ...type }, timeout: ANSWER_DEADLINE
      }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
        response.on('error', reject).on('end', () => resolve({
          status: response.statusCode ?? 0, body: text, cacheStatus: String(response.headers['cache-status'] ?? '')
        }))
      })
      outgoing.on('error', reject)
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${ANSWER_DEADLINE} ms`)))
      outgoing.end(body)
    })
  }

  async stats (): Promise<FleetStats> {
    const each = await Promise.all(this.#urls.map(async (_, process) => await this.ask(process, { path: '/stats' })))
    const stats = each.map(({ body }) => JSON.parse(body) as CacheStats)
    const totals = stats.map(({ total }) => total)
    const tiers = stats.flatMap(({ tier }) => tier ?? [])
    const delays = tiers.flatMap(({ delay }) => delay ?? [])
    const longest = (name: 'p50' | 'p99' | 'max'): number => Math.max(...delays.map((delay) => delay[name]))
    const sum = (count: (total: RouteStats) => number): number => totals.reduce((so, total) => so + count(total), 0)
    return {
      fills: sum(({ stores }) => stores),
      refused: sum(({ refusals }) => (refusals.lease ?? 0) + (refusals.outdated ?? 0)),
      outdated: sum(({ outdated }) => outdated),
      tierHits: tiers.reduce((so, { hits }) => so + hits, 0),
      drops: tiers.reduce((so, { drops }) => so + drops, 0),
      delayMs: delays.length === 0 ? null : { p50: longest('p50'), p99: longest('p99'), max: longest('max') }
    }
  }

  async stop (): Promise<void> {
    this.#agent.destroy()
    await Promise.all(this.#children.map(end))
  }
}

/** Forks so many of them, in turns, each with its number as `process` in its config; resolves when all listen. */
export async function startFleet (paths: readonly string[], processes: number, config: object): Promise<Fleet> {
  const children: ChildProcess[] = []
  try {
    const urls = await Promise.all(Array.from({ length: processes }, async (_, process) => {
      const child = launch(paths[process % paths.length] as string, { ...config, process })
      children.push(child)
      return await address(child)
    }))
    return new Fleet(children, urls)
  } catch (error) {
    await Promise.all(children.map(end))
    throw error
  }
}

/** Forks a module of the compiled app; it ends with this process at the latest. */
export function launch (path: string, config: object, execArgv: string[] = []): ChildProcess {
  // Without the loaders that this process was started with.
  const child = fork(path, [JSON.stringify(config)], { execArgv })
  if (child.pid !== undefined) {
    const { pid } = child
    watch(pid)
    child.once('exit', () => forget(pid))
  }
  return child
}

/** Where it listens: it says so first. */
export async function address (child: ChildProcess): Promise<string> {
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`a process of the app ended before it listened, with ${code ?? signal}; what it said stands above`)
  })
  const [url] = await Promise.race([once(child, 'message'), ended])
  return String(url)
}

/** Ends it with SIGKILL; resolves when it has ended. */
export async function end (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
