// A writer as its killer sees it.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { end, launch } from '../checker/fleet.js'
import { STEPS, type Step } from './step.js'

export class Writer {
  readonly #child: ChildProcess
  /** What it says next. */
  #word: Promise<unknown>

  constructor (path: string, config: object) {
    this.#child = launch(path, config)
    this.#word = this.#next()
  }

  /** Leads it to this step; at each one before it waits for `between`. */
  async reach (step: Step, between: (at: Step) => Promise<void>): Promise<void> {
    await this.#isAt('ready')
    for (const next of STEPS) {
      this.#go()
      await this.#isAt(next)
      if (next === step) return
      await between(next)
    }
  }

  /** Kills it with SIGKILL; resolves when it is gone. */
  async kill (): Promise<void> {
    await end(this.#child)
  }

  #go (): void {
    this.#word = this.#next()
    this.#child.send('go')
  }

  async #isAt (step: string): Promise<void> {
    const word = await this.#word
    if (word !== step) throw new Error(`the writer should be at "${step}", and says ${String(word)}`)
  }

  #next (): Promise<unknown> {
    const left = once(this.#child, 'exit').then(([code, signal]) => `that it ended, with ${code ?? signal}`)
    return Promise.race([once(this.#child, 'message').then(([word]) => word as unknown), left])
  }
}
