// The tier in front of Redis: what lookups find in it, which reads are kept in it, and what this process' own writes drop.
// Only a fresh hit of a route is served from it: whatever else a lookup turns out to be, it is asked of Redis, with all its
// names; so are the values of getOrSet, which are not kept.
import type { Bytes, Milliseconds } from '../../duration.js'
import { leastOf, readFloor, readGeneration, withValue, type FloorState, type Generation, type Keys } from '../keys.js'
import type { RedisClient } from '../server/redis-client.js'
import type { Targets, Ask, Reading, TierStats, Writing } from '../store.js'
import { Tier, type Copy, type ChangeMark } from './tier.js'
import { Tracking } from './tracking.js'

export interface TierLimits {
  maxBytes: Bytes
  /** 0: copies stay until they are dropped or displaced. */
  maxAge: Milliseconds
}

export interface TieredParts {
  client: RedisClient
  keys: Keys
  limits: TierLimits
  now: () => Milliseconds
  /** Told why the tier is not used any more. */
  complain: (error: unknown) => void
  /** Told that it was dropped whole. */
  onDrop?: (() => void) | undefined
}

const NONE: readonly never[] = []

export class Tiered {
  readonly #keys: Keys
  readonly #tier: Tier
  readonly #tracking: Tracking
  readonly #now: () => Milliseconds
  #hits = 0
  #last: Ask | null = null

  constructor ({ client, keys, limits, now, complain, onDrop }: TieredParts) {
    this.#keys = keys
    this.#now = now
    this.#tier = new Tier({ ...limits, now, isFor: (name) => !keys.isValue(name) })
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

  /** What decides, if all of it is at hand. `varied` is null where it is not: perhaps there is one. */
  glance (ask: Ask): Reading | null {
    if (!this.#tracking.isLive) return null
    const { key, variant, tags } = ask
    const keys = this.#keys
    const now = this.#now()
    const main = this.#tier.get(keys.entry(key), now)
    const floor = main === null ? null : this.#tier.get(keys.floor, now)
    if (main === null || floor === null) return null
    const generations = tags.length === 0 ? NONE : this.#generations(tags, now)
    if (generations === null) return null
    const { history, prefixes } = (floor.decoded ??= readFloor(floor.bytes)) as FloorState
    this.#hits++
    this.#last = ask
    return {
      main: main.bytes,
      varied: variant === null ? null : this.#tier.get(keys.variant(key, variant), now)?.bytes ?? null,
      history,
      least: prefixes.length === 0 ? 0 : leastOf(prefixes, key),
      generations: generations.length === 0 ? NONE : generations.map((generation) => generation?.dropped ?? null),
      softened: generations.length === 0 ? NONE : generations.map((generation) => generation?.stale ?? 0),
      isKept: true,
      isNear: true
    }
  }

  /** It is asked of Redis now: what was glanced at was no hit. */
  missed (ask: Ask): void {
    if (ask === this.#last) this.#hits--
    this.#last = null
  }

  #generations (tags: readonly string[], now: Milliseconds): Array<Generation | null> | null {
    const generations: Array<Generation | null> = []
    for (const tag of tags) {
      const copy = this.#tier.get(this.#keys.tag(tag), now)
      if (copy === null) return null
      generations.push(generationOf(copy))
    }
    return generations
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

  /** The same of an entry, of a variant together with its marker. */
  fill (key: string, variant: string | null): void {
    this.#tier.change([this.#keys.entry(key), ...variant === null ? [] : [this.#keys.variant(key, variant)]])
  }

  /** The same of what was invalidated. */
  invalidate ({ keys, tags, prefixes, all }: Targets): void {
    if (all) return this.writeAll()
    this.write({ keys, tags })
    if (prefixes.length > 0) this.#tier.changePrefixes(prefixes.flatMap((prefix) => this.#keys.beginnings(prefix)))
  }

  /** The same of everything. */
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
