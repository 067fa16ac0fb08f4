// The load's process: ../load.js.
import { AskedProcess } from './process.js'

export interface SteadyLoad {
  urls: readonly string[]
  /** Asked for by turns; or, with `fresh`, a new id each time, beginning with this. */
  ids?: readonly string[]
  fresh?: string
  connections: number
  seconds: number
  /** Requests, whatever time they take. Absent: `seconds` of them. */
  amount?: number
  headers?: Record<string, string>
  status?: number
  /** Whether bodies must be the very bytes. Default true. False: the same JSON. */
  exact?: boolean
}

export interface LoadResult {
  requests: number
  /** Seconds. */
  took: number
  /** Milliseconds. */
  p50: number
  p99: number
  /** Answers with another status or body than they must have, and one of them. */
  wrong: number
  example: string | undefined
  errors?: number
  timeouts?: number
  /** Of versioned ids, answer by answer: when it was asked for, and the version that came. */
  answers?: { began: number[], versions: number[] }
}

export class Load {
  readonly #process: AskedProcess

  private constructor (process: AskedProcess) {
    this.#process = process
  }

  static async start (): Promise<Load> {
    const { process } = await AskedProcess.start('load.js', [])
    return new Load(process)
  }

  async steady (load: SteadyLoad): Promise<LoadResult> {
    return await this.#process.ask({ task: 'steady', ...load }, load.amount === undefined ? load.seconds * 1000 + 60_000 : 600_000)
  }

  async burst (crowd: { urls: readonly string[], id: string, count: number, exact: boolean }): Promise<LoadResult> {
    return await this.#process.ask({ task: 'burst', ...crowd })
  }

  async stop (): Promise<void> {
    await this.#process.stop()
  }
}
