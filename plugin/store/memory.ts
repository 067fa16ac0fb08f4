// Entries in this process, bounded in bytes, the least recently used going first: a Map's order is that of insertion, so
// what is used is moved to its end. One process, one thread: each method is one step, and the contract holds by that.
import { randomUUID } from 'node:crypto'
import type { Bytes, Milliseconds } from '../duration.js'
import { FIRST_MARKER_TIME, LEASE_TIME, PASS_TIME, type Ask, type Fill, type FillResult, type Lease, type Reading, type Seen, type Store, type Taken } from './store.js'

interface Slot {
  bytes: Buffer
  until: Milliseconds
}

interface Held {
  key: string
  /** '' where nobody has the lease and nobody is to wait for it. */
  token: string
  isPass: boolean
  until: Milliseconds
}

/** Roughly what the Map and a Slot take beside key and bytes. */
const OVERHEAD: Bytes = 200
/** Of so many tags it is remembered when each was invalidated; of older ones, only when the last of them was. */
const MOST_GENERATIONS = 100_000

export class MemoryStore implements Store {
  readonly kind = 'memory'
  readonly #maxBytes: Bytes
  readonly #now: () => Milliseconds
  readonly #slots = new Map<string, Slot>()
  readonly #leases = new Map<string, Held>()
  /** The least lately invalidated ones first. */
  readonly #generations = new Map<string, number>()
  /** That of all tags that are not listed. */
  #oldest = 0
  #bytes: Bytes = 0
  #clock = 0
  #histories = 0

  constructor ({ maxBytes, now }: { maxBytes: Bytes, now: () => Milliseconds }) {
    this.#maxBytes = maxBytes
    this.#now = now
  }

  async connect (): Promise<void> {}

  async read ({ key, variant, tags }: Ask): Promise<Reading> {
    return {
      main: this.#get(key),
      varied: variant === null ? null : this.#get(nameOf(key, variant)),
      history: this.#history(),
      generations: tags.map((tag) => this.#generation(tag))
    }
  }

  async generations (tags: readonly string[]): Promise<Pick<Reading, 'history' | 'generations'>> {
    return { history: this.#history(), generations: tags.map((tag) => this.#generation(tag)) }
  }

  #generation (tag: string): number {
    return this.#generations.get(tag) ?? this.#oldest
  }

  /** As long as those in Redis. */
  #history (): string {
    return String(this.#histories).padStart(12, '0')
  }

  #get (name: string): Buffer | null {
    const slot = this.#slots.get(name)
    if (slot === undefined) return null
    this.#slots.delete(name)
    if (slot.until <= this.#now()) {
      this.#bytes -= cost(name, slot.bytes)
      return null
    }
    this.#slots.set(name, slot)
    return slot.bytes
  }

  async take (key: string, variant: string | null, { bytes, marker }: Seen): Promise<Taken> {
    const name = nameOf(key, variant)
    if (marker !== null) {
      if (this.#get(key) !== bytes) return 'changed'
      this.#put(key, { bytes: marker, until: this.#now() + FIRST_MARKER_TIME })
      this.#leases.delete(name)
      return await this.take(key, variant, { missing: [], bytes: undefined, marker: null })
    }
    const held = this.#leaseOf(name)
    if (held !== undefined && held.token !== '') return held.isPass ? 'pass' : 'held'
    if (bytes !== undefined && this.#get(name) !== bytes) return 'changed'
    const token = randomUUID()
    const isPass = held !== undefined
    this.#hold(name, { key, token, isPass, until: this.#now() + LEASE_TIME })
    return { token, asOf: this.#clock, variant, isPass }
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    const held = this.#leaseOf(nameOf(key, lease.variant))
    if (held?.token !== lease.token) return false
    held.until = this.#now() + LEASE_TIME
    held.isPass ||= pass
    lease.isPass ||= pass
    return true
  }

  async fill (key: string, lease: Lease, { bytes, life, varied, late }: Fill): Promise<FillResult> {
    const name = nameOf(key, lease.variant)
    if (this.#leaseOf(name)?.token !== lease.token) return 'lost'
    this.#leases.delete(name)
    if (late.some((tag) => this.#generation(tag) > lease.asOf)) return 'outdated'
    if (cost(key, bytes) > this.#maxBytes) return 'too-large'
    const until = this.#now() + life
    if (varied === null) {
      this.#put(key, { bytes, until })
    } else {
      const { variant, marker, under } = varied
      const present = this.#slots.get(key)
      if (under !== '' && epochOf(present?.bytes) !== under) return 'lost'
      this.#put(key, { bytes: marker, until: epochOf(marker) === under ? Math.max(until, present!.until) : until })
      this.#put(nameOf(key, variant), { bytes, until })
    }
    return 'stored'
  }

  /** Puts it in as the most recently used, and the least recently used ones out until all fit. */
  #put (name: string, slot: Slot): void {
    this.#drop(name)
    this.#slots.set(name, slot)
    this.#bytes += cost(name, slot.bytes)
    for (const oldest of this.#slots.keys()) {
      if (this.#bytes <= this.#maxBytes) break
      this.#drop(oldest)
    }
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    const name = nameOf(key, lease.variant)
    if (this.#leaseOf(name)?.token !== lease.token) return
    if (pass) this.#hold(name, { key, token: '', isPass: true, until: this.#now() + PASS_TIME })
    else this.#leases.delete(name)
  }

  /** Looks at two others each time, so that those of keys that nobody asks for again don't pile up. */
  #hold (name: string, held: Held): void {
    this.#leases.set(name, held)
    let looks = 0
    for (const [other, present] of this.#leases) {
      if (++looks > 2) break
      this.#leases.delete(other)
      if (present.until > this.#now()) this.#leases.set(other, present)
    }
  }

  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    const held = this.#leaseOf(nameOf(key, variant))
    if (held === undefined) return 'none'
    return held.isPass ? 'pass' : 'held'
  }

  /** One that has ended is gone. */
  #leaseOf (name: string): Held | undefined {
    const held = this.#leases.get(name)
    if (held === undefined || held.until > this.#now()) return held
    this.#leases.delete(name)
    return undefined
  }

  async invalidate (keys: readonly string[]): Promise<number> {
    return keys.filter((key) => {
      this.#leases.delete(key)
      return this.#drop(key)
    }).length
  }

  async invalidatePrefix (prefix: string): Promise<number> {
    for (const [name, { key }] of this.#leases) {
      if (key.startsWith(prefix)) this.#leases.delete(name)
    }
    // Variants have other names: without their markers they are not found any more, and go when they are the oldest.
    return await this.invalidate([...this.#slots.keys()].filter((name) => name.startsWith(prefix)))
  }

  async invalidateTags (tags: readonly string[]): Promise<void> {
    this.#clock++
    for (const tag of tags) {
      this.#generations.delete(tag)
      this.#generations.set(tag, this.#clock)
    }
    for (const [tag, generation] of this.#generations) {
      if (this.#generations.size <= MOST_GENERATIONS) break
      this.#generations.delete(tag)
      this.#oldest = Math.max(this.#oldest, generation)
    }
  }

  async invalidateAll (): Promise<void> {
    this.#histories++
    this.#slots.clear()
    this.#bytes = 0
  }

  close (): void {
    this.#slots.clear()
    this.#leases.clear()
    this.#bytes = 0
  }

  /** Removes an entry; whether there was one that had not ended. */
  #drop (key: string): boolean {
    const slot = this.#slots.get(key)
    if (slot === undefined) return false
    this.#slots.delete(key)
    this.#bytes -= cost(key, slot.bytes)
    return slot.until > this.#now()
  }
}

/** Keys are well-formed Unicode (key.ts), so none begins like a variant's name. */
function nameOf (key: string, variant: string | null): string {
  return variant === null ? key : `\ud800${variant}:${key}`
}

/** Of a marker's bytes: see codec.ts. */
function epochOf (marker: Buffer | undefined): string {
  return marker?.toString('latin1', 5, 17) ?? ''
}

/** Two bytes a character: what V8 takes at most. */
function cost (key: string, bytes: Buffer): Bytes {
  return key.length * 2 + bytes.length + OVERHEAD
}
