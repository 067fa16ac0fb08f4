// A subject that runs: its process or processes, its Redis, and what was learnt about its answers before it is measured.
import type { Redis } from 'ioredis'
import { startRedis, type RedisServer } from '../../test/helpers/redis.js'
import { AskedProcess } from './process.js'
import type { Subject } from './subjects.js'
import { cpuSeconds, redisUsage, type RedisUsage } from './usage.js'

/** So that what misses leave behind stays small. */
const REDIS_ARGS = ['--maxmemory', '512mb', '--maxmemory-policy', 'allkeys-lru']

export interface Usage { cpu: number, runs: number, redis: RedisUsage | null }

export class Server {
  readonly subject: Subject
  readonly urls: readonly string[]
  readonly redis: Redis | null
  /** Where it is no package. */
  readonly version: string | undefined
  readonly #processes: readonly AskedProcess[]
  readonly #pids: readonly number[]
  readonly #redisServer: RedisServer | null

  private constructor (subject: Subject, redis: RedisServer | null, started: readonly Started[]) {
    this.subject = subject
    this.#redisServer = redis
    this.redis = redis === null ? null : redis.client()
    this.#processes = started.map(({ process }) => process)
    this.#pids = started.flatMap(({ process, first }) => [process.pid, ...first.pids])
    this.version = started[0]?.first.version
    this.urls = started.map(({ first }) => first.url)
  }

  /** Rejects with what it said where it refuses to start. */
  static async start (subject: Subject, options: StartOptions = {}): Promise<Server> {
    const { processes = 1, execArgv = [], redisArgs = REDIS_ARGS } = options
    const redis = subject.redis ? await startRedis({ args: [...redisArgs] }) : null
    const started: Started[] = []
    try {
      const args = subject.variant === undefined ? [] : [subject.variant]
      const env = redis === null ? {} : { REDIS_URL: redis.url }
      for (let i = 0; i < processes; i++) {
        started.push(await AskedProcess.start<First>(`subjects/${subject.file}`, args, { env, execArgv }))
      }
      return new Server(subject, redis, started)
    } catch (error) {
      await Promise.all(started.map(async ({ process }) => await process.stop()))
      await redis?.stop()
      throw error
    }
  }

  /** Of all its processes together. */
  async usage (): Promise<Usage> {
    const [redis, runs] = await Promise.all([this.redis === null ? null : redisUsage(this.redis), this.runs()])
    return { cpu: this.#pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0), runs, redis }
  }

  async runs (): Promise<number> {
    const counts = await Promise.all(this.#processes.map(async (process) => await process.ask<number>({ ask: 'runs' })))
    return counts.reduce((sum, n) => sum + n, 0)
  }

  /** Writes a new version and invalidates, in its first process. `at`: when that had returned. */
  async invalidate (id: string): Promise<Invalidation> {
    return await this.#processes[0]!.ask({ ask: 'invalidate', id })
  }

  /** After a collection, where it was started with --expose-gc. Bytes. */
  async memory (): Promise<{ rss: number, heapUsed: number, external: number }> {
    return await this.#processes[0]!.ask({ ask: 'memory' })
  }

  async stop (): Promise<void> {
    // What it has started itself.
    if (this.#pids.length > this.#processes.length) {
      await Promise.all(this.#processes.map(async (process) => await process.ask({ ask: 'stop' }, 5000).catch(() => {})))
    }
    await Promise.all(this.#processes.map(async (process) => await process.stop()))
    await this.#redisServer?.stop()
  }
}

export interface Invalidation { version: number, at: number, took: number }
interface First { url: string, pids: readonly number[], version?: string }
interface Started { process: AskedProcess, first: First }
interface StartOptions { processes?: number, execArgv?: readonly string[], redisArgs?: readonly string[] }
