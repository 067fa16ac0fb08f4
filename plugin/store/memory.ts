// Entries in this process, bounded in bytes, the least recently used going first: a Map's order is that of insertion, so
// what is used is moved to its end. One process, one thread: each method is one step, and the contract holds by that.
import { randomUUID } from 'node:crypto'
import type { Bytes, Milliseconds } from '../duration.js'
import { LEASE_TIME, type Fill, type FillResult, type Lease, type Reading, type Store } from './store.js'

interface Slot {
  bytes: Buffer
  until: Milliseconds
}

interface Held {
  key: string
  token: string
  until: Milliseconds
}

/** Roughly what the Map and a Slot take beside key and bytes. */
const OVERHEAD: Bytes = 200

export class MemoryStore implements Store {
  readonly kind = 'memory'
  readonly #maxBytes: Bytes
  readonly #now: () => Milliseconds
  readonly #slots = new Map<string, Slot>()
  readonly #leases = new Map<string, Held>()
  #bytes: Bytes = 0
  #clock = 0

  constructor ({ maxBytes, now }: { maxBytes: Bytes, now: () => Milliseconds }) {
    this.#maxBytes = maxBytes
    this.#now = now
  }

  async connect (): Promise<void> {}

  async read (key: string, variant: string | null): Promise<Reading> {
    return [this.#get(key), variant === null ? null : this.#get(nameOf(key, variant))]
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

  async take (key: string, variant: string | null): Promise<Lease | null> {
    this.#endLeases()
    const name = nameOf(key, variant)
    if (this.#leases.has(name)) return null
    const token = randomUUID()
    this.#leases.set(name, { key, token, until: this.#now() + LEASE_TIME })
    return { token, asOf: this.#clock, variant }
  }

  async fill (key: string, lease: Lease, { bytes, life, varied }: Fill): Promise<FillResult> {
    this.#endLeases()
    const name = nameOf(key, lease.variant)
    if (this.#leases.get(name)?.token !== lease.token) return 'lost'
    this.#leases.delete(name)
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

  async release (key: string, lease: Lease): Promise<void> {
    const name = nameOf(key, lease.variant)
    if (this.#leases.get(name)?.token === lease.token) this.#leases.delete(name)
  }

  async invalidate (keys: readonly string[]): Promise<number> {
    this.#clock++
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

  /** All leases last equally long, so the oldest are at the front. */
  #endLeases (): void {
    const now = this.#now()
    for (const [key, { until }] of this.#leases) {
      if (until > now) break
      this.#leases.delete(key)
    }
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
