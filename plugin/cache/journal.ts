// Invalidations that the store could not be told of yet. They are kept and told again and again until the store has them
// all, and before that this process serves nothing from the cache. With a write W, requests R, and a store that is away for
// a while:
//
//   1. W  writes the new row; invalidate('user:1') -> rejects, and the key is kept here
//   2. R  begins, with the store back and the old entry still in it: goes past the cache
//   3.    the key is told: the entry and the lease of a fill that is still under way are gone
//   4. R  begins: a miss, and what it reads is stored
//
// Told late, an invalidation drops more than it would have, never less. But what is kept while it is told is told again:
//
//   1.    `user:1` is told
//   2. F  takes the lease, reads the row
//   3. W  writes the row; invalidate('user:1') -> rejects, and is kept
//   4.    the store answers 1: of the write in 3 it knows nothing
import type { Log } from '../telling/caller.js'
import { NO_TARGETS, type Targets } from './claim.js'
import type { Milliseconds } from '../duration.js'
import { Backoff } from '../store/wait/backoff.js'
import { within } from '../store/wait/deadline.js'
import { apart, together } from '../key/target.js'

const EVERYTHING: Targets = { ...NO_TARGETS, all: true }
const ITS_NAME = nameOf(EVERYTHING)

export interface JournalParts {
  tell: (targets: Targets) => Promise<unknown>
  log: Log
  /** Of more, everything is invalidated instead. */
  most: number
}

export class Journal {
  readonly #tell: JournalParts['tell']
  readonly #log: Log
  readonly #most: number
  /** Each by its name. Kept again it is another object, so that it outlives what is being told. */
  readonly #kept = new Map<string, Targets>()
  /** How many of them are told again: these have a limit of their own. */
  #repeated = 0
  readonly #pauses = new Backoff({ first: 100, longest: 2_000 })
  /** Whether the timer is due after the shortest pause. */
  #isSoon = false
  #timer: NodeJS.Timeout | undefined
  #replay: Promise<void> | null = null
  #isClosed = false

  constructor ({ tell, log, most }: JournalParts) {
    this.#tell = tell
    this.#log = log
    this.#most = most
  }

  get size (): number {
    return this.#kept.size
  }

  get isEmpty (): boolean {
    return this.#kept.size === 0
  }

  /** Keeps what the store could not be told of, because of this error. */
  keep (targets: Targets, error: unknown): void {
    const wasEmpty = this.isEmpty
    for (const one of apart(targets)) this.#kept.set(nameOf(one), one)
    if (this.isEmpty) return
    if (this.#kept.size > this.#most + this.#repeated || this.#kept.has(ITS_NAME)) {
      this.#kept.clear()
      this.#kept.set(ITS_NAME, { ...EVERYTHING })
    }
    if (wasEmpty) {
      this.#log.error({ err: error, journal: this.size }, 'the cache could not be told of an invalidation: it is kept, and ' +
        'nothing is served from the cache until it is told')
    }
    this.#schedule()
  }

  /** Keeps what another server confirmed than the one that answers now, however much it is; it is told at once. */
  again (list: readonly Targets[]): void {
    const each = list.flatMap(apart)
    for (const one of each) this.#kept.set(nameOf(one), one)
    if (this.#repeated === 0) {
      this.#log.warn({ journal: this.size }, 'another Redis server answers than the one that confirmed the last invalidations: ' +
        'it is told of them again, and nothing is served from the cache until then')
    }
    this.#repeated += each.length
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#schedule(true)
  }

  /** The store has just answered: what is kept is told soon, however long the pauses have become. */
  hurry (): void {
    this.#pauses.reset()
    if (this.#timer === undefined || this.#isSoon) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#schedule()
  }

  /** Tries once more, for so long at most; what is then left is lost. Never rejects. */
  async close (time: Milliseconds): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await within(time, this.#finish()).catch(() => {})
    if (this.isEmpty) return
    this.#log.error({ journal: this.size }, 'the cache closes with invalidations that could not be told: what they were to ' +
      'end may be served by others until its ttl is over')
  }

  async #finish (): Promise<void> {
    await this.#replay
    if (!this.isEmpty) await this.#tellAll()
  }

  #schedule (isAtOnce = false): void {
    if (this.isEmpty || this.#isClosed || this.#timer !== undefined || this.#replay !== null) return
    this.#isSoon = isAtOnce || this.#pauses.isReset
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#replay = this.#tellAll().finally(() => {
        this.#replay = null
        this.#schedule()
      })
    }, isAtOnce ? 0 : this.#pauses.next())
    this.#timer.unref()
  }

  /** Tells all that is kept by now. Never rejects. */
  async #tellAll (): Promise<void> {
    const told = [...this.#kept]
    const all = told.map(([, targets]) => targets)
    try {
      // One alone: a store that hangs must not be piled up with all of them each time. It is among all of them again, as
      // what was made of it may have been stored meanwhile.
      if (all.length > 1) await this.#tell(all[0]!)
      await this.#tell(together(all))
    } catch (error) {
      return this.#log.debug({ err: error, journal: this.size }, 'cache journal could not be told')
    }
    for (const [name, targets] of told) if (this.#kept.get(name) === targets) this.#kept.delete(name)
    this.#pauses.reset()
    if (!this.isEmpty) return
    this.#repeated = 0
    this.#log.info({ told: told.length }, 'the cache was told of all invalidations, and serves again')
  }
}

/** The same for the same target. */
function nameOf (target: Targets): string {
  return JSON.stringify(target)
}
