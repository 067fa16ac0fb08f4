// The generations of tags in Redis, and the clock that they take their values from. Who reads and who writes in which order
// is what makes tags exact (the head of store.ts has the interleaving):
//
// - a miss creates what it finds missing with a *new* clock value, before it reads `asOf`;
// - an invalidation advances the clock first, and raises the generations to that value then;
// - a tag that only the response named, whose generation is missing when it is filled, counts as invalidated when any tag
//   was last. That value is read before the generation is set and again behind it, for this race of a fill F and an
//   invalidation W of the tag `users`, whose generation Redis evicts at once:
//
//     1. F  the generation is missing; the last invalidation of any tag was 5; asOf = 7
//     2. W  clock = 8, last = 8, generation(users) = 8; evicted
//     3. F  sets generation(users) = 5, as it is missing; an entry with asOf 7 would be valid under it
//     4. F  last is 8 now, not 5: the generation is raised to 8, and the entry is not stored
import type { Milliseconds } from '../duration.js'
import { newHistory } from './floor.js'
import type { Keys } from './keys.js'
import type { RedisClient } from './redis-client.js'
import { CREATE, EXTEND, INVALIDATE_TAGS, RAISE } from './scripts.js'
import type { Write } from './topology.js'

/** A generation lives at least so long, and as long as the entries that are stored under it. */
const LEAST_LIFE: Milliseconds = 24 * 60 * 60 * 1000
/** Of so many tags it is remembered until when they live: each fill would have to say it again otherwise. */
const MOST_REMEMBERED = 10_000

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
    this.#forget(tags)
    const { floor, clock } = this.#keys
    const names = tags.map((tag) => this.#keys.tag(tag))
    const args = [newHistory(), LEAST_LIFE]
    if (this.#client.isCluster !== true) {
      await CREATE.run(this.#client, [floor, clock, ...names], args)
      return
    }
    const value = String(await CREATE.run(this.#client, [floor, clock], args))
    await Promise.all(names.map(async (name) => await this.#client.set(name, value, 'PX', LEAST_LIFE, 'NX')))
  }

  async invalidate (tags: readonly string[]): Promise<void> {
    this.#forget(tags)
    const { floor, clock, lastTag } = this.#keys
    const names = tags.map((tag) => this.#keys.tag(tag))
    const args = [newHistory(), LEAST_LIFE]
    if (this.#client.isCluster !== true) {
      await this.#write(INVALIDATE_TAGS.run(this.#client, [floor, clock, lastTag, ...names], args))
      return
    }
    const value = String(await this.#write(INVALIDATE_TAGS.run(this.#client, [floor, clock, lastTag], args)))
    await this.#raise(names, value)
  }

  async #raise (names: readonly string[], value: string): Promise<void> {
    await Promise.all(names.map(async (name) => await this.#write(RAISE.run(this.#client, [name], [value, LEAST_LIFE]))))
  }

  /** For tags that only the response named: whether a response of this `asOf` is still valid under them. */
  async settle (tags: readonly string[], asOf: number): Promise<boolean> {
    if (tags.length === 0) return true
    const names = tags.map((tag) => this.#keys.tag(tag))
    const [last, ...generations] = await this.#values([this.#keys.lastTag, ...names])
    const missing = names.filter((_, i) => generations[i] === null)
    if (generations.some((generation) => Number(generation) > asOf)) return false
    if (missing.length === 0) return true
    this.#forget(tags)
    // Nobody knows when a tag was last invalidated: then it was after this handler had begun.
    if (last == null) {
      await this.invalidate(tags)
      return false
    }
    const isNew = await Promise.all(missing.map(async (name) =>
      await this.#write(this.#client.set(name, last, 'PX', LEAST_LIFE, 'NX')) !== null))
    const [since, ...present] = await this.#values([this.#keys.lastTag, ...missing])
    if (since !== last) {
      await this.#raise(missing.filter((_, i) => isNew[i]), since ?? String(Number.MAX_SAFE_INTEGER))
      return false
    }
    return present.every((generation) => generation !== null && Number(generation) <= asOf)
  }

  /** Sees to it that generations outlive an entry with this life. Nobody needs to wait for it, or hear that it failed. */
  extend (tags: readonly string[], life: Milliseconds): void {
    const until = this.#now() + life
    for (const tag of tags) {
      if ((this.#livesUntil.get(tag) ?? 0) >= until) continue
      const time = Math.max(LEAST_LIFE, 2 * life)
      this.#remember(tag, this.#now() + time)
      EXTEND.run(this.#client, [this.#keys.tag(tag)], [time]).catch(() => { this.#livesUntil.delete(tag) })
    }
  }

  /** What is created anew does not live as long as it did. */
  #forget (tags: readonly string[]): void {
    for (const tag of tags) this.#livesUntil.delete(tag)
  }

  #remember (tag: string, until: Milliseconds): void {
    if (this.#livesUntil.size >= MOST_REMEMBERED) this.#livesUntil.delete(this.#livesUntil.keys().next().value!)
    this.#livesUntil.set(tag, until)
  }

  /** Strings, in one trip. */
  async #values (names: readonly string[]): Promise<(string | null)[]> {
    const values = await this.#write(readAll(this.#client, names))
    return values.map((value) => (value === null ? null : String(value)))
  }
}

/** The values of these names, in one trip: on a Cluster each from its own server. */
export async function readAll (client: RedisClient, names: readonly string[]): Promise<(Buffer | null)[]> {
  if (client.isCluster !== true) return await client.mgetBuffer(...names)
  return await Promise.all(names.map(async (name) => await client.getBuffer(name)))
}
