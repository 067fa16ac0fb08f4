// What a fault has to do with: what stands behind the apps, how much time there is, and where it says what it did.
import { setTimeout as delay } from 'node:timers/promises'
import { RedisServer } from '../../helpers/redis.js'
import type { Backend, TestRedis } from './backend.js'
import type { History } from './history.js'
import type { Random } from './random.js'

/** Something bad that happens in the middle of a run. Gives what it did, counted; it ends soon after the scene is over. */
export type Fault = (scene: Scene) => Promise<Record<string, number>>

export interface SceneParts {
  backend: Backend
  history: History
  random: Random
  seconds: number
  signal: AbortSignal
}

export class Scene {
  readonly random: Random
  readonly #backend: Backend
  readonly #history: History
  readonly #until: number
  readonly #signal: AbortSignal

  constructor ({ backend, history, random, seconds, signal }: SceneParts) {
    this.random = random
    this.#backend = backend
    this.#history = history
    this.#until = performance.now() + seconds * 1000
    this.#signal = signal
  }

  get redis (): TestRedis {
    return this.#backend.redis
  }

  get servers (): readonly RedisServer[] {
    return this.redis instanceof RedisServer ? [this.redis] : this.redis.servers
  }

  get isOver (): boolean {
    return performance.now() >= this.#until || this.#signal.aborted
  }

  /** Lets the load go on for so many milliseconds. */
  async wait (least: number, most = least): Promise<void> {
    await delay(least + this.random.below(most - least + 1))
  }

  /** Into the history of every row. */
  note (what: string): void {
    this.#history.note(what)
  }
}
