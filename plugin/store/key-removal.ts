// Keys that are made untrue in Redis by their names: entry and lease go together, of the response and of the value under a
// key, which are in one slot. With a quarantine the lease's name stays occupied, so that until its end no lease can be taken
// and no fill can land: see the head of store.ts.
import type { Milliseconds } from '../duration.js'
import type { Keys } from './keys.js'
import type { RedisClient } from './redis-client.js'
import { INVALIDATE, QUARANTINE_KEY, SOFTEN_KEY } from './scripts.js'
import type { Script } from './script.js'
import type { Write } from './topology.js'

/** Keys that are sent at a time. */
const BATCH = 500

export class KeyRemoval {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #now: () => Milliseconds

  constructor ({ client, keys, write, now }: { client: RedisClient, keys: Keys, write: Write, now: () => Milliseconds }) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#now = now
  }

  /** The number of entries that went. `token`: of the quarantine that ends with it; '': of none. */
  async invalidate (keys: readonly string[], token: string): Promise<number> {
    const removed = await this.#each(keys, INVALIDATE, [token])
    return removed.reduce((sum, n) => sum + n, 0)
  }

  /** The number of entries that became stale, or went. */
  async soften (keys: readonly string[]): Promise<number> {
    const softened = await this.#each(keys, SOFTEN_KEY, [this.#now()])
    return softened.reduce((sum, n) => sum + n, 0)
  }

  /** For so long from now; true where they had been in quarantine until now, under the same token. */
  async quarantine (keys: readonly string[], token: string, time: Milliseconds): Promise<boolean> {
    const had = await this.#each(keys, QUARANTINE_KEY, [token, time])
    return had.every((one) => one === 1)
  }

  async #each (keys: readonly string[], script: Script, args: readonly (string | number)[]): Promise<number[]> {
    const results: unknown[] = []
    for (let from = 0; from < keys.length; from += BATCH) {
      results.push(...await Promise.all(keys.slice(from, from + BATCH).map(async (key) =>
        await this.#write(script.run(this.#client, this.#keys.pairs(key), args)))))
    }
    // A number, or its text: a client may be set to give texts.
    return results.map(Number)
  }
}
