// Entries in this process, bounded in bytes, the least recently used going first: a Map's order is that of insertion, so
// what is used is moved to its end. One process, one thread: each method is one step, and the contract holds by that.
import { randomUUID } from 'node:crypto'
import type { Bytes, Milliseconds } from '../duration.js'
import { LEASE_TIME, type FillResult, type Lease, type Store } from './store.js'

interface Slot {
  bytes: Buffer
  until: Milliseconds
}

interface Held {
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

  async read (key: string): Promise<Buffer | null> {
    const slot = this.#slots.get(key)
    if (slot === undefined) return null
    this.#slots.delete(key)
    if (slot.until <= this.#now()) {
      this.#bytes -= cost(key, slot.bytes)
      return null
    }
    this.#slots.set(key, slot)
    return slot.bytes
  }

  async take (key: string): Promise<Lease | null> {
    this.#endLeases()
    if (this.#leases.has(key)) return null
    const token = randomUUID()
    this.#leases.set(key, { token, until: this.#now() + LEASE_TIME })
    return { token, asOf: this.#clock }
  }

  async fill (key: string, lease: Lease, { bytes, life }: { bytes: Buffer, life: Milliseconds }): Promise<FillResult> {
    this.#endLeases()
    if (this.#leases.get(key)?.token !== lease.token) return 'lost'
    this.#leases.delete(key)
    if (cost(key, bytes) > this.#maxBytes) return 'too-large'
    this.#drop(key)
    this.#slots.set(key, { bytes, until: this.#now() + life })
    this.#bytes += cost(key, bytes)
    for (const oldest of this.#slots.keys()) {
      if (this.#bytes <= this.#maxBytes) break
      this.#drop(oldest)
    }
    return 'stored'
  }

  async release (key: string, lease: Lease): Promise<void> {
    if (this.#leases.get(key)?.token === lease.token) this.#leases.delete(key)
  }

  async invalidate (keys: readonly string[]): Promise<number> {
    this.#clock++
    return keys.filter((key) => {
      this.#leases.delete(key)
      return this.#drop(key)
    }).length
  }

  async invalidatePrefix (prefix: string): Promise<number> {
    for (const key of this.#leases.keys()) {
      if (key.startsWith(prefix)) this.#leases.delete(key)
    }
    return await this.invalidate([...this.#slots.keys()].filter((key) => key.startsWith(prefix)))
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

/** Two bytes a character: what V8 takes at most. */
function cost (key: string, bytes: Buffer): Bytes {
  return key.length * 2 + bytes.length + OVERHEAD
}
