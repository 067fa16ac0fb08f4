// Keys that are made untrue in Redis by their names: entry and lease go together, of the response and of the value under a
// key, which are in one slot. With a quarantine the lease's name stays occupied, so that until its end no lease can be taken
// and no fill can land: see the head of store.ts.
import type { Milliseconds } from '../../duration.js'
import type { Keys } from '../keys.js'
import type { RedisClient } from '../server/redis-client.js'
import { INVALIDATE } from './joint-scripts.js'
import { QUARANTINE_KEY, SOFTEN_KEY } from './scripts.js'
import type { Script } from './script.js'
import type { Write } from '../server/topology.js'

/** Scripts that are sent at a time; and keys that one of them has where one server has all: some four microseconds each. */
const BATCH = 500
const KEYS_OF_A_SCRIPT = 100

/** How many entries went, or became stale; and whether all keys had been in quarantine until now, under the token. */
interface Removed { entries: number, had: boolean }

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

  /** `token`: of the quarantine that ends with it. */
  async invalidate (keys: readonly string[], token: string): Promise<Removed> {
    return await this.#each(keys, INVALIDATE, [0, token, '', 0, '', 0])
  }

  /** Makes entries stale; for so long nobody gets their leases. 0: that is over, if it was so under this token. */
  async soften (keys: readonly string[], token: string, time: Milliseconds): Promise<Removed> {
    return await this.#each(keys, SOFTEN_KEY, [this.#now(), token, time])
  }

  /** For so long from now. */
  async quarantine (keys: readonly string[], token: string, time: Milliseconds): Promise<Removed> {
    return await this.#each(keys, QUARANTINE_KEY, [token, time])
  }

  async #each (keys: readonly string[], script: Script, args: ReadonlyArray<string | number>): Promise<Removed> {
    const sum: Removed = { entries: 0, had: true }
    const size = this.#client.isCluster === true ? 1 : KEYS_OF_A_SCRIPT
    const names = Array.from({ length: Math.ceil(keys.length / size) }, (_, i) =>
      keys.slice(i * size, (i + 1) * size).flatMap((key) => this.#keys.pairs(key)))
    for (let from = 0; from < names.length; from += BATCH) {
      const replies = await Promise.all(names.slice(from, from + BATCH).map(async (pairs) =>
        await this.#write(script.run(this.#client, pairs, args)))) as unknown[][]
      for (const [entries, had] of replies) {
        // A number, or its text: a client may be set to give texts.
        sum.entries += Number(entries)
        sum.had &&= Number(had) === 1
      }
    }
    return sum
  }
}
