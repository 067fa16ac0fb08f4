// All targets of one call, so that when it has returned nothing is left that was made before, of none of them. An entry may
// be made of others: its handler reads values that are cached, and these were made of values in turn. A page, a value and
// the call that names both, with a writer W and a reader F in another process, if they went one after the other:
//
//   1. W  commits the new row
//   2. W  the page's entry and lease go
//   3. F  misses the page, takes its lease; its handler is given the old value from the cache
//   4. W  the value goes; the call returns
//   5. F  fills the page under its lease: old for its whole life
//
// One server has all names, so one script does all of a call in one step: what begins before it has no lease any more, or
// an `asOf` below the tags' new generations; what begins behind it finds no old value. That is all there is to it.
//
// On a Cluster, unless there is but one key, or one prefix, and with more names than a server should do at once, it takes
// two:
//
//   first     every key's lease name is occupied, as by a quarantine, and its entry removed; every tag is held, so that
//             nothing is valid under it; every prefix likewise, by a record in the floor
//   second    when all of that is confirmed, and only then: the clock advances to c, tags and prefixes get the value c, and
//             the names are free again
//
// Between the two nothing of these targets can be read, and nothing be stored that will be valid: a key has no lease, and
// what carries a tag or is under a prefix has an `asOf` below c. What begins in the second step reads nothing that was made
// before it, however many levels of values lie between. One step alone, or the same twice, leaves a hole for each level: a
// value that was made between two raises of its tag is valid until the second, and the page that is made of it may have
// begun behind the raise of its own. Where Redis has lost a hold meanwhile, evicted it for example, both are done again; not
// that of a prefix where a new history has begun since, as nothing of before is valid by that.
//
// Names under a prefix are not known. So a record in the floor says below which `asOf` they are invalid; that makes the
// invalidation itself one more name, done at once, and their removal by SCAN, which follows, mere cleaning. The record goes
// when they are all gone: what had begun before c has lost its lease by then, or lies removed. On a Cluster a read may have
// had an old entry from one server before it was removed, and the floor from another one later, so there the record stays
// for longer than a read may take.
import { randomUUID } from 'node:crypto'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { newHistory, LONGEST_READ } from './floor.js'
import { writePrefixes, eachOnce, type PrefixGeneration, type Keys } from '../keys.js'
import { LEAST_LIFE, type Generations } from './generations.js'
import { ADVANCE, END_RECORD, HOLD_PREFIXES, INVALIDATE, SOFTEN } from './joint-scripts.js'
import type { KeyRemoval } from './key-removal.js'
import type { PrefixRemoval } from './prefix.js'
import type { RedisClient } from '../server/redis-client.js'
import type { Targets } from '../store.js'
import type { Write } from '../server/topology.js'

/** Keys and tags that one script does at once: some four microseconds each, while which a server does nothing else. */
export const AT_ONCE = 500
/** How long what is held stays so if its writer dies, and more for each name; too short, both steps are repeated. */
const LEAST_HOLD: Milliseconds = 5_000
const HOLD_PER_NAME: Milliseconds = 1
/** A removal of names that takes longer than this is not one. */
const LONGEST_SCAN: Milliseconds = 60 * 60_000
const MOST_ROUNDS = 5

interface JointParts {
  client: RedisClient
  keys: Keys
  write: Write
  now: () => Milliseconds
  writeDeadline: Milliseconds
  generations: Generations
  removal: KeyRemoval
  prefixes: PrefixRemoval
}

type Named = Omit<Targets, 'all'>

export class JointInvalidation {
  readonly #parts: JointParts
  readonly #floor: readonly string[]
  readonly #leastHold: Milliseconds
  #tidiedAt = 0

  constructor (parts: JointParts) {
    const { floor, clock, lastTag } = parts.keys
    this.#parts = parts
    this.#floor = [floor, clock, lastTag]
    this.#leastHold = Math.max(LEAST_HOLD, 5 * parts.writeDeadline)
  }

  /** The number of entries that went. `token`: of the quarantine that ends with it; default: of none. */
  async run (named: Named, token: string = randomUUID()): Promise<number> {
    const targets = onceEach(named)
    const { prefixes } = targets
    if (prefixes.length === 0) return await this.#begin(targets, token)
    try {
      let removed = await this.#begin(targets, token)
      for (const prefix of prefixes) removed += await this.#parts.prefixes.run(prefix)
      await this.#endRecord(token, this.#isCluster ? 2 * LONGEST_READ : 0)
      return removed
    } catch (error) {
      this.#endRecord(token, 0).catch(() => {})
      throw error
    }
  }

  async #begin (targets: Named, token: string): Promise<number> {
    return this.#isOneStep(targets) ? await this.#atOnce(targets, token) : await this.#inTwoSteps(targets, token)
  }

  /** Removes records whose writers died, told of what a read has found. */
  tidy (prefixes: readonly PrefixGeneration[]): void {
    const now = this.#parts.now()
    if (Math.abs(now - this.#tidiedAt) < LONGEST_READ || prefixes.every(({ end }) => end >= now)) return
    this.#tidiedAt = now
    // The server's time decides.
    this.#endRecord('', 0).catch(() => {})
  }

  /** Makes them stale instead; the number of entries under these keys. */
  async soften ({ keys, tags }: Pick<Named, 'keys' | 'tags'>): Promise<number> {
    const targets = onceEach({ keys, tags, prefixes: [] })
    const token = randomUUID()
    return this.#isOneStep(targets) ? await this.#softenAtOnce(targets, token) : await this.#softenInTwoSteps(targets, token)
  }

  get #isCluster (): boolean {
    return this.#parts.client.isCluster === true
  }

  #isOneStep ({ keys, tags, prefixes }: Named): boolean {
    const total = keys.length + tags.length + prefixes.length
    return this.#isCluster ? total === 1 && tags.length === 0 : total <= AT_ONCE
  }

  async #atOnce ({ keys, tags, prefixes }: Named, token: string): Promise<number> {
    const { client, write } = this.#parts
    const floor = tags.length > 0 || prefixes.length > 0 ? this.#floor : []
    const args = [tags.length, token, writePrefixes(prefixes), LONGEST_SCAN, newHistory(), LEAST_LIFE]
    const [removed] = await write(INVALIDATE.run(client, [...floor, ...this.#names(keys, tags)], args)) as unknown[]
    return Number(removed)
  }

  async #softenAtOnce ({ keys, tags }: Named, token: string): Promise<number> {
    const { client, write, now } = this.#parts
    const floor = tags.length > 0 ? [...this.#floor, this.#parts.keys.once(token)] : []
    const args = [tags.length, newHistory(), LEAST_LIFE, now()]
    return Number(await write(SOFTEN.run(client, [...floor, ...this.#names(keys, tags)], args)))
  }

  #names (keys: readonly string[], tags: readonly string[]): string[] {
    const names = this.#parts.keys
    this.#parts.generations.forget(tags)
    return [...tags.map((tag) => names.tag(tag)), ...keys.flatMap((key) => names.pairs(key))]
  }

  async #inTwoSteps ({ keys, tags, prefixes }: Named, token: string): Promise<number> {
    const { removal, generations } = this.#parts
    const time = this.#leastHold + HOLD_PER_NAME * (keys.length + tags.length)
    let history = ''
    const [before, after] = await repeated(async () => {
      const [held, , named] = await Promise.all([
        removal.quarantine(keys, token, time), generations.hold(tags, token, time), this.#holdPrefixes(prefixes, token)
      ])
      history = named
      return held
    }, async () => {
      const raise = async (): Promise<boolean> => {
        const { value, had } = await this.#advance(prefixes, token, history)
        return await generations.raise(tags, value, token) && had
      }
      const [freed, raised] = await Promise.all([removal.invalidate(keys, token), raise()])
      return { entries: freed.entries, had: raised && freed.had }
    })
    return before + after
  }

  async #softenInTwoSteps ({ keys, tags }: Named, token: string): Promise<number> {
    const { removal, generations } = this.#parts
    const time = this.#leastHold + HOLD_PER_NAME * (keys.length + tags.length)
    let former = ''
    const [softened] = await repeated(async () => {
      const [held] = await Promise.all([removal.soften(keys, token, time), generations.hold(tags, token, time)])
      return held
    }, async () => {
      const raise = async (): Promise<boolean> => {
        const { value, isAhead } = await this.#advance([], token)
        const softening = { value, token, former }
        former = value
        return await (isAhead ? generations.raise(tags, value, token) : generations.soften(tags, softening))
      }
      const [freed, raised] = await Promise.all([removal.soften(keys, token, 0), raise()])
      return { ...freed, had: raised && freed.had }
    })
    return softened
  }

  /** The history in which they are held. */
  async #holdPrefixes (prefixes: readonly string[], token: string): Promise<string> {
    if (prefixes.length === 0) return ''
    const { client, keys, write } = this.#parts
    const args = [token, writePrefixes(prefixes), this.#leastHold, newHistory()]
    return String(await write(HOLD_PREFIXES.run(client, [keys.floor], args)))
  }

  /** The clock's new value, which the prefixes have then. `history`: in which they were held. */
  async #advance (
    prefixes: readonly string[], token: string, history = ''
  ): Promise<{ value: string, had: boolean, isAhead: boolean }> {
    const { client, write } = this.#parts
    const args = [newHistory(), token, writePrefixes(prefixes), LONGEST_SCAN, history]
    const [value, had, ahead] = await write(ADVANCE.run(client, this.#floor, args)) as unknown[]
    return { value: String(value), had: Number(had) === 1, isAhead: Number(ahead) === 1 }
  }

  /** Nothing is left that it is about; on a Cluster it stays for a while, for reads that are under way. */
  async #endRecord (token: string, time: Milliseconds): Promise<void> {
    const { client, keys, write } = this.#parts
    await write(END_RECORD.run(client, [keys.floor], [token, time]))
  }
}

/** A target that is freed twice in the second step would be taken for lost the second time. */
function onceEach ({ keys, tags, prefixes }: Named): Named {
  return { keys: eachOnce(keys), tags: [...new Set(tags)], prefixes: [...new Set(prefixes)] }
}

/** Both steps, again where a hold had been lost by the second; the entries that each of them had. */
async function repeated (
  first: () => Promise<{ entries: number }>, second: () => Promise<{ entries: number, had: boolean }>
): Promise<[before: number, after: number]> {
  let [before, after] = [0, 0]
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    before += (await first()).entries
    const { entries, had } = await second()
    after += entries
    if (had) return [before, after]
  }
  throw new RouteCacheError('FRC_STORE', 'Redis kept losing what an invalidation holds; is it short of memory?')
}
