// The generations of tags in Redis, and the clock that they take their values from. Who reads and who writes in which order
// is what makes tags exact (the head of store.ts has the interleaving):
//
// - a miss creates what it finds missing with a *new* clock value, before it reads `asOf`;
// - an invalidation advances the clock first, and raises the generations to that value then;
// - a tag that only the response named may have no generation at the fill: then it counts as invalidated at the moment when
//   any tag was last invalidated.
//
// Where the value and the generation are not written in one step, an invalidation may come between, and its generation be
// lost: set then, the older value would make valid what it had dropped. So the name is reserved first: nothing is valid
// under a reservation, and an invalidation removes it. With a fill F and an invalidation W of the tag `users`:
//
//   1. F  the generation is missing, and reserved; asOf = 7
//   2. F  the last invalidation of any tag was 5
//   3. W  clock = 8, last = 8: no reservation is there any more
//   4. F  it is not 5 now, as its reservation has gone: the entry is not stored
//
// If W comes before step 1, step 2 reads its value. Every process that finds a reservation reads the value again and puts
// its own in place of the reservation; the first one counts. So nobody waits for a process that died.
//
// Nor are value and generation of an invalidation written in one step there: see joint-invalidation.ts. One that finds no
// generation leaves none, and the next miss creates it. With two invalidations V and W, and a fill F:
//
//   1. V  clock = 8
//   2. F  asOf = 8; reads the old row
//   3. W  commits the new row; clock = 9, generation(users) = 9, which is then evicted, or W found a quarantine that V ends
//   4. V  generation(users) = 8 would make F's entry valid
//
// An entry is stale from the instant that the clock shows. The clock never runs behind the server's time; it runs ahead if
// the server's time was wrong and has stepped back. That instant is then still to come, and a later reader could not tell:
// so the entry is dropped instead, until the time has caught up. Between the two steps, readers check this: see entry.ts.
import type { Milliseconds } from '../../duration.js'
import { randomUUID } from 'node:crypto'
import { newHistory, readAll } from './floor.js'
import { HOLD, QUARANTINE, isGeneration, readGeneration, type Keys } from '../keys.js'
import type { RedisClient } from '../server/redis-client.js'
import {
  CREATE, EXTEND, QUARANTINE_ANY_TAG, QUARANTINE_TAGS, RAISE, RESERVE, RESERVED, SETTLE, SOFTEN_TAG
} from './clock-scripts.js'
import { ADVANCE } from './joint-scripts.js'
import type { Script } from './script.js'
import { FIRST_LIFE, LEASE_TIME } from '../store.js'
import type { Write } from '../server/topology.js'

/** Tags that a script has at a time, or scripts that are sent at a time. */
const BATCH = 500
/**
 * How long a generation lives behind a hold, or a quarantine. These stood in its name, so its former life is lost, although
 * other processes may remember that life and not extend it. A generation that ends before its entries makes them invalid.
 */
export const LEAST_LIFE: Milliseconds = 24 * 60 * 60 * 1000
/** The number of tags whose remaining life is remembered: each fill would have to extend it otherwise. */
const MOST_REMEMBERED = 10_000

interface Softening { value: string, token: string, former: string }

export class Generations {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #now: () => Milliseconds
  readonly #livesUntil = new Map<string, Milliseconds>()

  constructor ({ client, keys, write, now }: { client: RedisClient, keys: Keys, write: Write, now: () => Milliseconds }) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#now = now
  }

  /** Creates those of these generations that are missing. */
  async create (tags: readonly string[]): Promise<void> {
    this.forget(tags)
    const { floor, clock, lastTag } = this.#keys
    const names = tags.map((tag) => this.#keys.tag(tag))
    const args = [newHistory(), FIRST_LIFE]
    if (this.#client.isCluster !== true) {
      await CREATE.run(this.#client, [floor, clock, lastTag, ...names], args)
      return
    }
    const reserved = await this.#reserve(names)
    await this.#settle(reserved, String(await CREATE.run(this.#client, [floor, clock, lastTag], args)))
  }

  /**
   * Advances the clock to the server's time, at least by one, and gives its value. Where nothing is invalidated for a while,
   * a quarantine that is over would otherwise count on: the last invalidation of a tag is set to its end.
   */
  async advance (): Promise<number> {
    const { floor, clock, lastTag } = this.#keys
    return Number(await CREATE.run(this.#client, [floor, clock, lastTag], [newHistory(), FIRST_LIFE]))
  }

  /** The values of these names then: a generation, a quarantine, or a reservation. */
  async #reserve (names: readonly string[]): Promise<Map<string, string>> {
    const reservation = `${RESERVED}${randomUUID()}`
    return new Map(await Promise.all(names.map(async (name) =>
      [name, String(await this.#write(RESERVE.run(this.#client, [name], [reservation, LEASE_TIME])))] as const)))
  }

  /** Puts the value, which was read behind the reservations, in their place; what is there then. */
  async #settle (reserved: ReadonlyMap<string, string>, value: string): Promise<string[]> {
    return await Promise.all([...reserved].map(async ([name, held]) => held.startsWith(RESERVED)
      ? String(await this.#write(SETTLE.run(this.#client, [name], [held, value, FIRST_LIFE])))
      : held))
  }

  /** Held until they are raised, for so long at most: nothing is valid under them. True where they were so until now. */
  async hold (tags: readonly string[], token: string, time: Milliseconds): Promise<boolean> {
    return await this.#occupy(tags, [token, time, HOLD])
  }

  /** Lets go of those that were held, invalidated as of this value of the clock; false where one was not held any more. */
  async raise (tags: readonly string[], value: string, token: string): Promise<boolean> {
    this.forget(tags)
    return await this.#each(RAISE, tags, [value, LEAST_LIFE, token])
  }

  /** The same, and what was stored under them before becomes stale. `former`: what this call had softened them to before. */
  async soften (tags: readonly string[], { value, token, former }: Softening): Promise<boolean> {
    this.forget(tags)
    return await this.#each(SOFTEN_TAG, tags, [value, LEAST_LIFE, token, former])
  }

  /** Nothing is valid under them for so long; true where that was so until now, under the same token. */
  async quarantine (tags: readonly string[], token: string, time: Milliseconds): Promise<boolean> {
    const had = await this.#occupy(tags, [token, time, QUARANTINE])
    const { floor, clock, lastTag } = this.#keys
    await this.#write(QUARANTINE_ANY_TAG.run(this.#client, [floor, clock, lastTag], [newHistory(), time]))
    return had
  }

  /** `args`: token, time, sign. */
  async #occupy (tags: readonly string[], args: ReadonlyArray<string | number>): Promise<boolean> {
    this.forget(tags)
    return await this.#each(QUARANTINE_TAGS, tags, args)
  }

  /** Whether the script says 1 of all: one by one on a Cluster, elsewhere many at a time. */
  async #each (script: Script, tags: readonly string[], args: ReadonlyArray<string | number>): Promise<boolean> {
    const names = tags.map((tag) => this.#keys.tag(tag))
    const size = this.#client.isCluster === true ? 1 : BATCH
    const lists = Array.from({ length: Math.ceil(names.length / size) }, (_, i) => names.slice(i * size, (i + 1) * size))
    const results: unknown[] = []
    for (let from = 0; from < lists.length; from += BATCH) {
      results.push(...await Promise.all(lists.slice(from, from + BATCH).map(async (list) =>
        await this.#write(script.run(this.#client, list, args)))))
    }
    return results.every((one) => Number(one) === 1)
  }

  /** For tags that only the response named: whether a response of this `asOf` is still valid under them. */
  async settle (tags: readonly string[], asOf: number): Promise<boolean> {
    if (tags.length === 0) return true
    const names = tags.map((tag) => this.#keys.tag(tag))
    const generations = await this.#values(names)
    const missing = tags.filter((_, i) => readGeneration(generations[i]!) === null)
    if (generations.some((generation) => isAbove(generation, asOf))) return false
    if (missing.length === 0) return true
    this.forget(tags)
    const reserved = await this.#reserve(missing.map((tag) => this.#keys.tag(tag)))
    const [last = ''] = await this.#values([this.#keys.lastTag])
    // Nobody knows when a tag was last invalidated: then it was after this handler had begun.
    if (!isGeneration(last)) {
      await this.#invalidate(tags)
      return false
    }
    // Perhaps it was invalidated since. `last` may be ahead of the clock: a quarantine sets it to the time of its own end.
    if (Number(last) > asOf) {
      await this.create(missing)
      return false
    }
    const settled = await this.#settle(reserved, last)
    return settled.every((generation) => readGeneration(generation) !== null && !isAbove(generation, asOf))
  }

  async #invalidate (tags: readonly string[]): Promise<void> {
    const { floor, clock, lastTag } = this.#keys
    const advancing = ADVANCE.run(this.#client, [floor, clock, lastTag], [newHistory(), '', '', 0])
    const [value] = await this.#write(advancing) as unknown[]
    await this.raise(tags, String(value), '')
  }

  /** Sees to it that generations outlive an entry with this life. Nobody needs to wait for it, or hear that it failed. */
  extend (tags: readonly string[], life: Milliseconds): void {
    const until = this.#now() + life
    for (const tag of tags) {
      if ((this.#livesUntil.get(tag) ?? 0) >= until) continue
      // With room, so that not every fill has to say it; but names of tags are not to stay long behind what they tag.
      const enough = Math.max(FIRST_LIFE, 2 * life)
      this.#remember(tag, this.#now() + enough)
      const args = [Math.ceil(enough), Math.ceil(Math.max(2 * FIRST_LIFE, 3 * life))]
      EXTEND.run(this.#client, [this.#keys.tag(tag)], args).catch(() => { this.#livesUntil.delete(tag) })
    }
  }

  /** Has those live on that a running handler needs, if it fills at all. Nobody needs to wait for it. */
  keep (tags: readonly string[]): void {
    for (const tag of tags) EXTEND.run(this.#client, [this.#keys.tag(tag)], [FIRST_LIFE, FIRST_LIFE]).catch(() => {})
  }

  /** A generation that is created anew does not live as long as the former one. */
  forget (tags: readonly string[]): void {
    for (const tag of tags) this.#livesUntil.delete(tag)
  }

  #remember (tag: string, until: Milliseconds): void {
    // A tag that is not remembered costs a command.
    if (this.#livesUntil.size >= MOST_REMEMBERED) this.#livesUntil.clear()
    this.#livesUntil.set(tag, until)
  }

  /** Strings, '' where there is nothing, in one trip. */
  async #values (names: readonly string[]): Promise<string[]> {
    return (await this.#write(readAll(this.#client, names))).map((value) => String(value ?? ''))
  }
}

/** Whether what began at `asOf` is dropped or stale by it. */
function isAbove (text: string, asOf: number): boolean {
  const generation = readGeneration(text)
  return generation !== null && Math.max(generation.dropped, generation.stale) > asOf
}
