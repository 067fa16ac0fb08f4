// A child process that is asked over IPC, one answer a question.
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const START_DEADLINE = 20_000
const ANSWER_DEADLINE = 60_000
const LAST_WORDS = 4_000

interface Answer { call?: number, result?: unknown, error?: string }

export class AskedProcess {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>()
  #calls = 0
  #words = ''
  #ended = false
  readonly #end: Promise<void>

  private constructor (child: ChildProcess) {
    this.#child = child
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.#words = (this.#words + text).slice(-LAST_WORDS) })
    this.#end = new Promise((resolve) => {
      child.once('close', () => {
        this.#ended = true
        for (const { reject } of this.#waiting.values()) reject(new Error(this.#lastWords()))
        this.#waiting.clear()
        resolve()
      })
    })
  }

  /** Resolves with its first message. Rejects with what it said when it ends instead. `file` lies in bench/. */
  static async start<First> (
    file: string, args: readonly string[], options: { env?: Record<string, string>, execArgv?: readonly string[] } = {}
  ): Promise<{ process: AskedProcess, first: First }> {
    const child = fork(fileURLToPath(new URL(`../${file}`, import.meta.url)), args, {
      env: { ...process.env, NODE_ENV: 'production', ...options.env },
      execArgv: [...options.execArgv ?? []],
      serialization: 'advanced',
      // Standard output is the table's.
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    const asked = new AskedProcess(child)
    const first = new Promise<First>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${file} did not start within ${START_DEADLINE / 1000} s`)), START_DEADLINE)
      child.once('message', (message) => resolve(message as First))
      child.once('message', () => clearTimeout(timer))
      asked.#end.then(() => {
        clearTimeout(timer)
        reject(new Error(asked.#lastWords()))
      })
    })
    try {
      const message = await first
      child.on('message', (answer: Answer) => asked.#settle(answer))
      return { process: asked, first: message }
    } catch (error) {
      await asked.stop()
      throw error
    }
  }

  get pid (): number {
    return this.#child.pid!
  }

  async ask<Result> (question: Record<string, unknown>, deadline = ANSWER_DEADLINE): Promise<Result> {
    if (this.#ended) throw new Error(this.#lastWords())
    const call = ++this.#calls
    return await new Promise<Result>((resolve, reject) => {
      const timer = setTimeout(() => settled(() => reject(new Error(`no answer to ${JSON.stringify(question).slice(0, 80)}`))), deadline)
      const settled = (how: () => void): void => {
        clearTimeout(timer)
        this.#waiting.delete(call)
        how()
      }
      this.#waiting.set(call, {
        resolve: (result) => settled(() => resolve(result as Result)),
        reject: (error) => settled(() => reject(error))
      })
      this.#child.send({ ...question, call })
    })
  }

  async stop (): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGKILL')
    await this.#end
  }

  #settle ({ call, result, error }: Answer): void {
    const waiting = this.#waiting.get(call ?? 0)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error))
  }

  /** The line that says what went wrong, of all that Node prints about an error. */
  #lastWords (): string {
    const lines = this.#words.split('\n').map((line) => line.trim()).filter((line) => line !== '')
    return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? 'it ended without a word'
  }
}
