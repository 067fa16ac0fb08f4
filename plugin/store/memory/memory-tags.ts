// The clock and the generations of tags in this process. No generation is ever lost. Tags that were not invalidated for long
// share one: the newest of those that are not kept one by one.
import type { Milliseconds } from '../../duration.js'
import { isAhead, type ValidityReading } from '../store.js'
import type { Generation } from '../keys.js'
import type { Quarantines } from './memory-quarantines.js'
import { Recent } from '../recent.js'

/** The number of tags whose last invalidation is remembered each by itself; older ones share the instant of their last. */
const MOST_GENERATIONS = 100_000

export class MemoryTags {
  readonly #quarantines: Quarantines
  readonly #generations = new Recent<Generation>()
  /** That of all tags that are not listed: what one of them had made stale is dropped, as it is not known when that was. */
  readonly #oldest: Generation = { dropped: 0, stale: 0 }
  readonly #now: () => Milliseconds
  #clock = 0

  constructor (quarantines: Quarantines, now: () => Milliseconds) {
    this.#quarantines = quarantines
    this.#now = now
  }

  get clock (): number {
    return this.#clock
  }

  read (tags: readonly string[]): Omit<ValidityReading, 'history' | 'least'> {
    // Each hit and miss asks: arrays that grow take room for many more.
    const generations = new Array<number>(tags.length)
    const softened = new Array<number>(tags.length)
    for (let i = 0; i < tags.length; i++) {
      const { dropped, stale } = this.#generation(tags[i]!)
      generations[i] = dropped
      softened[i] = stale
    }
    return { generations, softened }
  }

  /** Whether what began at `asOf` is dropped or stale by one of these. */
  areAbove (tags: readonly string[], asOf: number): boolean {
    return tags.some((tag) => {
      const { dropped, stale } = this.#generation(tag)
      return Math.max(dropped, stale) > asOf
    })
  }

  invalidate (tags: readonly string[]): void {
    this.#tick()
    for (const tag of tags) this.#set(tag, { dropped: this.#clock, stale: 0 })
    this.#bound()
  }

  /** Entries stored under them before become stale; if the clock is ahead of the time they go: see generations.ts. */
  soften (tags: readonly string[]): void {
    this.#tick()
    if (isAhead(this.#clock / 1000, this.#now())) return this.invalidate(tags)
    // Each once: what is softened again is dropped.
    for (const tag of new Set(tags)) {
      const { dropped, stale } = this.#listed(tag)
      this.#set(tag, { dropped: Math.max(dropped, stale), stale: this.#clock })
    }
    this.#bound()
  }

  quarantine (tags: readonly string[], token: string, time: Milliseconds): boolean {
    const had = tags.map((tag) => this.#quarantines.put(tag, token, time))
    // A fill that begins until the quarantine ends has to be older than that end.
    this.invalidate(tags)
    return had.every(Boolean)
  }

  release (tags: readonly string[], token: string): void {
    for (const tag of tags) this.#quarantines.end(tag, token)
  }

  /** As in Redis: it only grows, and tells the time in µs. */
  #tick (): void {
    this.#clock = Math.max(this.#clock + 1, this.#now() * 1000)
  }

  #generation (tag: string): Generation {
    const state = this.#quarantines.look(tag)
    if (state === 'on') return { dropped: Infinity, stale: Infinity }
    // Nobody has ended it: its time ran out.
    if (state === 'over') this.invalidate([tag])
    const listed = this.#listed(tag)
    const { stale } = listed
    if (stale === 0 || !isAhead(stale / 1000, this.#now())) return listed
    // The time has stepped back since: when that instant comes it must not be taken for the one that was meant.
    const dropped = { dropped: stale, stale: 0 }
    this.#set(tag, dropped)
    return dropped
  }

  #listed (tag: string): Generation {
    return this.#generations.get(tag) ?? this.#oldest
  }

  #set (tag: string, generation: Generation): void {
    this.#generations.set(tag, generation)
  }

  #bound (): void {
    while (this.#generations.size > MOST_GENERATIONS) {
      const oldest = this.#generations.first()!
      const { dropped, stale } = oldest.value
      this.#generations.remove(oldest)
      this.#oldest.dropped = Math.max(this.#oldest.dropped, dropped, stale)
    }
  }
}
