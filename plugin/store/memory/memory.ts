// Entries in this process, bounded in bytes, the least recently used going first. One process, one thread: each method is
// one step, and the contract holds by that.
import { randomUUID } from 'node:crypto'
import type { Bytes, Milliseconds } from '../../duration.js'
import {
  isAhead, FIRST_MARKER_TIME, LEASE_TIME, PASS_TIME, type Targets, type Ask, type Fill, type FillResult, type Lease,
  type Reader, type Reading, type Seen, type Seized, type Store, type Taken, type ValidityReading, type Varied,
  type Writing
} from '../store.js'
import { withValue } from '../keys.js'
import { epochOf, holdsMarker, madeStale, staleTime } from '../layout.js'
import { MemoryLeases } from './memory-leases.js'
import { Quarantines } from './memory-quarantines.js'
import { cost, slotName, type Slot } from './memory-slot.js'
import { MemoryTags } from './memory-tags.js'
import { Recent } from '../recent.js'

export class MemoryStore implements Store {
  readonly kind = 'memory'
  readonly tier = null
  readonly witness = null
  readonly #maxBytes: Bytes
  readonly #now: () => Milliseconds
  readonly #slots = new Recent<Slot>()
  readonly #leases: MemoryLeases
  readonly #quarantines: Quarantines
  readonly #tags: MemoryTags
  #bytes: Bytes = 0
  #history = historyOf(0)
  #histories = 0

  constructor ({ maxBytes, now }: { maxBytes: Bytes, now: () => Milliseconds }) {
    this.#maxBytes = maxBytes
    this.#now = now
    this.#leases = new MemoryLeases(now)
    this.#quarantines = new Quarantines(now)
    this.#tags = new MemoryTags(new Quarantines(now), now)
  }

  async connect (): Promise<void> {}

  async probe (): Promise<void> {}

  async read (ask: Ask): Promise<Reading> {
    return this.glance(ask)
  }

  glance ({ key, variant, tags }: Ask): Reading {
    const { generations, softened } = this.#tags.read(tags)
    return {
      clock: null,
      main: this.#get(key),
      varied: variant === null ? null : this.#get(slotName(key, variant)),
      history: this.#history,
      least: 0,
      generations,
      softened,
      isKept: true,
      isNear: true,
      token: null
    }
  }

  ask (ask: Ask, reader: Reader): void {
    reader.read(this.glance(ask), 0)
  }

  async generations (tags: readonly string[]): Promise<ValidityReading> {
    const { generations, softened } = this.#tags.read(tags)
    return { history: this.#history, least: 0, generations, softened }
  }

  #get (name: string): Buffer | null {
    const slot = this.#slots.use(name)
    if (slot === undefined) return null
    const now = this.#now()
    // Also where the time has stepped back since it was made stale: it is not known for how long it may be served yet.
    if (slot.until <= now || isAhead(slot.softenedAt ?? 0, now)) {
      this.#slots.delete(name)
      this.#bytes -= cost(name, slot.bytes)
      return null
    }
    return slot.bytes
  }

  async take (key: string, variant: string | null, { bytes, marker }: Seen): Promise<Taken> {
    const name = slotName(key, variant)
    // Under a marker that is still there no quarantine is on: it has removed it.
    if ((variant === null || marker !== null) && this.#quarantines.look(key) === 'on') return 'pass'
    if (marker !== null) {
      if (this.#get(key) !== bytes) return 'changed'
      this.#put(key, { bytes: marker, until: this.#now() + FIRST_MARKER_TIME })
      this.#leases.delete(name)
      return await this.take(key, variant, { tags: [], missing: [], bytes: undefined, marker: null })
    }
    const held = this.#leases.get(name)
    if (held !== undefined && held.token !== '') return held.isPass ? 'pass' : 'held'
    if (bytes !== undefined && this.#get(name) !== bytes) return 'changed'
    const token = randomUUID()
    const isPass = held !== undefined
    this.#leases.hold(name, { key, token, isPass, until: this.#now() + LEASE_TIME })
    return { token, asOf: this.#tags.clock, variant, isPass }
  }

  async seize (key: string): Promise<Seized | null> {
    if (this.#quarantines.look(key) === 'on') return null
    const token = randomUUID()
    this.#leases.hold(key, { key, token, isPass: false, until: this.#now() + LEASE_TIME })
    return { lease: { token, asOf: this.#tags.clock, variant: null, isPass: false }, history: this.#history }
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    const held = this.#leases.get(slotName(key, lease.variant))
    if (held?.token !== lease.token) return false
    held.until = this.#now() + LEASE_TIME
    held.isPass ||= pass
    lease.isPass ||= pass
    return true
  }

  async fill (key: string, lease: Lease, { bytes, life, varied, unreadTags }: Fill): Promise<FillResult> {
    const name = slotName(key, lease.variant)
    if (this.#leases.get(name)?.token !== lease.token) return 'lost'
    this.#leases.delete(name)
    if (this.#tags.areAbove(unreadTags, lease.asOf)) return 'outdated'
    if (cost(key, bytes) > this.#maxBytes) {
      // The entry under the name is the one that the fill was to take the place of.
      if (varied === null) this.#drop(key)
      return 'too-large'
    }
    const until = this.#now() + life
    if (varied === null) {
      this.#put(key, { bytes, until })
      return 'stored'
    }
    return this.#fillVariant(key, varied, { bytes, until })
  }

  #fillVariant (key: string, { variant, marker, under, most }: Varied, slot: Slot): FillResult {
    const present = this.#slots.get(key)
    if (under !== '' && epochOf(present?.bytes) !== under) return 'lost'
    const isSame = epochOf(marker) === under
    const variants = (isSame ? present!.variants : undefined) ?? new Recent()
    // Taken from the marker that goes now, as they are to stay.
    if (isSame) delete present!.variants
    this.#put(key, { bytes: marker, until: isSame ? Math.max(slot.until, present!.until) : slot.until, variants })
    const name = slotName(key, variant)
    this.#put(name, slot)
    variants.set(name, true)
    if (variants.size <= most) return 'stored'
    while (variants.size > most) {
      const [oldest] = variants.first()!
      variants.delete(oldest)
      this.#drop(oldest)
    }
    return 'crowded'
  }

  /** Puts it in as the most recently used, and the least recently used ones out until all fit. */
  #put (name: string, slot: Slot): void {
    this.#drop(name)
    this.#slots.set(name, slot)
    this.#bytes += cost(name, slot.bytes)
    while (this.#bytes > this.#maxBytes) this.#drop(this.#slots.first()![0])
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    const name = slotName(key, lease.variant)
    if (this.#leases.get(name)?.token !== lease.token) return
    if (pass) this.#leases.hold(name, { key, token: '', isPass: true, until: this.#now() + PASS_TIME })
    else this.#leases.delete(name)
  }

  async end (key: string, lease: Lease, epoch: string): Promise<void> {
    const name = slotName(key, lease.variant)
    if (this.#leases.get(name)?.token !== lease.token) return
    const present = this.#slots.get(key)
    const isEntry = lease.variant === null ? !holdsMarker(present?.bytes) : epochOf(present?.bytes) === epoch
    if (isEntry) this.#drop(name)
    if (isEntry && lease.variant !== null) present?.variants?.delete(name)
    await this.release(key, lease, true)
  }

  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    if (variant === null && this.#quarantines.look(key) === 'on') return 'pass'
    const held = this.#leases.get(slotName(key, variant))
    if (held === undefined) return 'none'
    return held.isPass ? 'pass' : 'held'
  }

  async quarantine ({ keys, tags }: Writing, token: string, time: Milliseconds): Promise<boolean> {
    const had = keys.flatMap(withValue).map((key) => this.#quarantines.put(key, token, time))
    this.#remove(keys.flatMap(withValue))
    return (tags.length === 0 || this.#tags.quarantine(tags, token, time)) && had.every(Boolean)
  }

  async invalidate ({ keys = [], tags = [], prefixes = [], all = false }: Partial<Targets>, token = ''): Promise<number> {
    if (all) {
      this.#beginHistory()
      return 0
    }
    const names = keys.flatMap(withValue)
    for (const key of names) this.#quarantines.end(key, token)
    if (tags.length > 0) {
      this.#tags.release(tags, token)
      this.#tags.invalidate(tags)
    }
    return this.#remove(names) + prefixes.reduce((sum, prefix) => sum + this.#removePrefix(prefix), 0)
  }

  async soften ({ keys, tags }: Writing): Promise<number> {
    if (tags.length > 0) this.#tags.soften(tags)
    return keys.flatMap(withValue).filter((key) => {
      this.#leases.delete(key)
      const slot = this.#slots.get(key)
      const time = slot === undefined ? null : staleTime(slot.bytes)
      if (slot === undefined || time === null) return this.#drop(key)
      // A copy: what was read may still be looked at.
      const now = this.#now()
      const until = Math.min(slot.until, now + time)
      if (time > 0) Object.assign(slot, { bytes: madeStale(slot.bytes, now), until, softenedAt: now })
      return true
    }).length
  }

  /** Entries with their leases; the number of entries. */
  #remove (keys: readonly string[]): number {
    return keys.filter((key) => {
      this.#leases.delete(key)
      return this.#drop(key)
    }).length
  }

  #removePrefix (prefix: string): number {
    this.#leases.deleteWhere((key) => key.startsWith(prefix))
    // Variants have other names: they go with their markers.
    return this.#remove([...this.#slots.names()].filter((name) => name.startsWith(prefix)))
  }

  #beginHistory (): void {
    this.#history = historyOf(++this.#histories)
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
    for (const variant of slot.variants?.names() ?? []) this.#drop(variant)
    return slot.until > this.#now()
  }
}

/** As long as those in Redis. */
function historyOf (count: number): string {
  return String(count).padStart(12, '0')
}
