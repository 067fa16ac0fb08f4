// The tier in front of Redis: what lookups find in it, which reads are kept in it, and what this process' own writes drop.
// Only a fresh hit of a route is served from it: whatever else a lookup turns out to be, it is asked of Redis, with all its
// names; so are the values of getOrSet, which are not kept.
import type { Bytes, Milliseconds } from '../../duration.js'
import { leastOf, readFloor, readGeneration, withValue, type FloorState, type Generation, type Keys } from '../keys.js'
import type { RedisClient } from '../server/redis-client.js'
import type { Targets, Ask, Reading, TierStats, ValidityReading, Writing } from '../store.js'
import { Tier, type Copy, type CopyPlace, type ChangeMark } from './tier.js'
import { Tracking } from './tracking.js'

export interface TierLimits {
  maxBytes: Bytes
  /** 0: copies stay until they are dropped or displaced. */
  maxAge: Milliseconds
}

interface TieredParts {
  client: RedisClient
  keys: Keys
  limits: TierLimits
  now: () => Milliseconds
  /** Told why the tier is not used any more. */
  complain: (error: unknown) => void
  /** Told that it was dropped whole. */
  onDrop?: (() => void) | undefined
}

/** The values that decide about entries with these tags, as long as all the copies that they were made of stand. */
interface Decided {
  tags: readonly string[]
  /** The places of the floor, and of the generation of each tag. */
  by: readonly CopyPlace[]
  floor: FloorState
  generations: ValidityReading['generations']
  softened: ValidityReading['softened']
}

const NONE: readonly never[] = []

export class Tiered {
  readonly #keys: Keys
  readonly #tier: Tier
  readonly #tracking: Tracking
  readonly #now: () => Milliseconds
  #hits = 0
  #last: Ask | null = null
  /** Shared by the entries of a route whose tags are always the same. */
  #latest: Decided | null = null

  constructor ({ client, keys, limits, now, complain, onDrop }: TieredParts) {
    this.#keys = keys
    this.#now = now
    this.#tier = new Tier({ ...limits, now, isFor: (name) => !keys.isValue(name) && name !== keys.clock })
    const onChange = (names: string[] | null): void => {
      if (names === null) this.#tier.changeAll()
      else this.#tier.change(names)
    }
    this.#tracking = new Tracking({ client, keys, onChange, complain, onDrop })
  }

  /** Resolves when the servers were tried once. Never rejects. */
  async begin (): Promise<void> {
    await this.#tracking.begin()
  }

  get stats (): TierStats {
    const { entries, bytes } = this.#tier
    const { isLive, delay, drops } = this.#tracking.stats
    return { entries, bytes, hits: this.#hits, isLive, delay, drops }
  }

  /** The values that decide, if all of them are at hand. `varied` is null if it is not at hand: there may be one. */
  glance (ask: Ask): Reading | null {
    if (!this.#tracking.isLive) return null
    const { key, variant, tags } = ask
    const now = this.#now()
    const main = this.#tier.find(this.#keys.entry(key), now)
    const decided = main === null ? null : this.#decidedFor(main, tags, now)
    if (main === null || decided === null) return null
    const { floor: { history, prefixes }, generations, softened } = decided
    this.#hits++
    this.#last = ask
    return {
      clock: null,
      main: main.value.bytes,
      varied: variant === null ? null : this.#tier.get(this.#keys.variant(key, variant), now)?.bytes ?? null,
      history,
      least: prefixes.length === 0 ? 0 : leastOf(prefixes, key),
      generations,
      softened,
      isKept: true,
      isNear: true,
      token: null
    }
  }

  /** The values that decided last time are kept with the entry's copy, so that no other name is built and searched for. */
  #decidedFor ({ value: copy }: CopyPlace, tags: readonly string[], now: Milliseconds): Decided | null {
    const former = copy.decoded as Decided | undefined
    if (former !== undefined && this.#stands(former, tags, now)) return former
    if (this.#latest === null || !this.#stands(this.#latest, tags, now)) this.#latest = this.#decide(tags, now)
    if (this.#latest !== null) copy.decoded = this.#latest
    return this.#latest
  }

  #stands (decided: Decided, tags: readonly string[], now: Milliseconds): boolean {
    if (!areSame(decided.tags, tags)) return false
    for (const place of decided.by) if (!this.#tier.stands(place, now)) return false
    return true
  }

  #decide (tags: readonly string[], now: Milliseconds): Decided | null {
    const by = [this.#keys.floor, ...tags.map((tag) => this.#keys.tag(tag))].map((name) => this.#tier.find(name, now))
    if (by.includes(null)) return null
    const [floor, ...places] = by as CopyPlace[]
    const generations = places.map(({ value }) => generationOf(value))
    return {
      tags,
      by: by as CopyPlace[],
      floor: (floor!.value.decoded ??= readFloor(floor!.value.bytes)) as FloorState,
      generations: generations.length === 0 ? NONE : generations.map((generation) => generation?.dropped ?? null),
      softened: generations.length === 0 ? NONE : generations.map((generation) => generation?.stale ?? 0)
    }
  }

  /** Redis is asked now: the copy at hand was no hit. */
  missed (ask: Ask): void {
    if (ask === this.#last) this.#hits--
    this.#last = null
  }

  /** Before names are asked of Redis. */
  sent (): ChangeMark {
    return this.#tier.sent()
  }

  /** Behind their answer, so that it can be kept. */
  answered (ticket: ChangeMark, names: readonly string[], values: readonly (Buffer | null)[]): void {
    if (this.#tracking.covers(names)) this.#tier.answered(ticket, names, values)
  }

  /** This process has written this: it is not served from here any more, nor kept of what is asked for already. */
  write ({ keys, tags }: Writing): void {
    const names = keys.flatMap(withValue).map((key) => this.#keys.entry(key))
    this.#tier.change([...names, ...tags.map((tag) => this.#keys.tag(tag))])
  }

  /** Drops the copy of an entry, or of a variant together with its marker. */
  fill (key: string, variant: string | null): void {
    this.#tier.change([this.#keys.entry(key), ...variant === null ? [] : [this.#keys.variant(key, variant)]])
  }

  /** Drops the copies of invalidated targets. */
  invalidate ({ keys, tags, prefixes, all }: Targets): void {
    if (all) return this.writeAll()
    this.write({ keys, tags })
    if (prefixes.length > 0) this.#tier.changePrefixes(prefixes.flatMap((prefix) => this.#keys.beginnings(prefix)))
  }

  /** Drops everything. */
  writeAll (): void {
    this.#tier.changeAll()
  }

  close (): void {
    this.#tracking.close()
    this.#tier.changeAll()
  }
}

function generationOf (copy: Copy): Generation | null {
  if (copy.decoded === undefined) copy.decoded = readGeneration(copy.bytes.toString('latin1'))
  return copy.decoded as Generation | null
}

function areSame (tags: readonly string[], others: readonly string[]): boolean {
  if (tags === others) return true
  if (tags.length !== others.length) return false
  for (let i = 0; i < tags.length; i++) if (tags[i] !== others[i]) return false
  return true
}
