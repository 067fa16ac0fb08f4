// The tier: copies of what Redis holds under our names (entries, markers, variants, values, generations, floor; neither
// leases nor names that hold nothing), so that a hit costs no trip. Pure: who tells it what changed is tracking.ts. A copy
// is true as long as nothing changed its name, and what changes a name drops its copy: Redis' tracking messages, from
// whomever, and at once what this process itself has written.
//
// Messages come over a connection of their own, so replies and messages may overtake each other. With two actors, R reading
// `user:1` and W writing it elsewhere:
//
//   1. R  asks for `user:1`               a ticket: the number of the last change that is known by now
//   2. S  answers R: the old entry        the reply is on its way
//   3. W  invalidates                     S tells R that `user:1` changed
//   4. R  is told                         change number 8, which is above the ticket: what was asked before it is spoiled
//   5. R  is answered                     the old entry serves this request, which began before; it is not kept
//
// With 5 before 4 the old copy is kept for as long as the message takes, and dropped by it: what other instances may be
// served by the measured delay. With 2 behind 3 the reply is new and the message old: then a good copy is dropped, no more.
//
// Nobody waits for the message about this process' own invalidation. W in this process:
//
//   1. R  asks for `user:1`
//   2. S  answers R: the old entry
//   3. W  invalidates, S has confirmed    the copy goes, and what R has asked for is spoiled, before W's promise resolves
//   4. R  is answered                     not kept: who asks from here on is answered by Redis
//
// If tracking begins or breaks, nobody knows of changes before, so every copy goes, and reads under way are spoiled:
//
//   1. R  asks for `user:1`               nothing tracks yet, or not any more
//   2. W  invalidates                     no message
//   3.    tracking is there again         R's question is from before
//   4. R  is answered: the old entry      not kept
//
// A copy is of one instant and the next one of another, but each is what Redis holds now, as far as its messages have come:
// so is what is put together of them, as if one read had asked for all. What is missing has everything asked for again.
import type { Bytes, Milliseconds } from '../../duration.js'
import { Recent, type ListPlace } from '../recent.js'

/** The copy of a name's value. All readers share it, so it never changes; decoded forms are kept with it. */
export interface Copy {
  readonly bytes: Buffer
  /** The decoded generation or floor; for an entry, the values that decided about it. */
  decoded?: unknown
}

/** A copy's place in the order: whoever keeps it knows whether the copy is still here without a search by name. */
export type CopyPlace = ListPlace<Kept>

/** The last change that was known when the read was sent: later changes spoil its answer. */
export type ChangeMark = number

interface TierParts {
  maxBytes: Bytes
  /** 0: copies stay until they are dropped or displaced. */
  maxAge: Milliseconds
  now: () => Milliseconds
  /** Whether a name is looked for here; by default all are. */
  isFor?: (name: string) => boolean
}

interface Kept extends Copy {
  decoded?: unknown
  keptAt: Milliseconds
}

/** So many changes are remembered by their names; what was asked for before the others is not kept. */
const MOST_CHANGES = 4_096
/** Roughly what Map, Kept, a Buffer with memory of its own, and what was made of it take. */
const OVERHEAD: Bytes = 1_100
/** A lone surrogate has no UTF-8: Redis is sent U+FFFD in its place. */
const LONE_SURROGATE = /\p{Surrogate}/u

export class Tier {
  readonly #maxBytes: Bytes
  readonly #maxAge: Milliseconds
  readonly #now: () => Milliseconds
  readonly #isFor: (name: string) => boolean
  readonly #copies = new Recent<Kept>()
  /** By name, the number of its last change. */
  readonly #changes = new Recent<number>()
  #changed = 0
  /** All reads that were sent before this change are spoiled, whatever their names. */
  #horizon = 0
  #bytes: Bytes = 0

  constructor ({ maxBytes, maxAge, now, isFor = () => true }: TierParts) {
    this.#maxBytes = maxBytes
    this.#maxAge = maxAge
    this.#now = now
    this.#isFor = isFor
  }

  get entries (): number {
    return this.#copies.size
  }

  get bytes (): Bytes {
    return this.#bytes
  }

  get (name: string, now = this.#now()): Copy | null {
    return this.find(name, now)?.value ?? null
  }

  /** The same, where it stands. */
  find (name: string, now: Milliseconds): CopyPlace | null {
    const place = this.#copies.find(name)
    return place !== undefined && this.stands(place, now) ? place : null
  }

  /** Whether the copy is still here, and not too old: then it was used now. */
  stands (place: CopyPlace, now: Milliseconds): boolean {
    if (!this.#copies.touch(place)) return false
    // A clock that steps back doesn't make it younger.
    if (this.#maxAge === 0 || Math.abs(now - place.value.keptAt) < this.#maxAge) return true
    this.#drop(place.name)
    return false
  }

  /** Before names are asked for. */
  sent (): ChangeMark {
    return this.#changed
  }

  /** Behind their answer, so that it can be kept; null: there is nothing. */
  answered (ticket: ChangeMark, names: readonly string[], values: readonly (Buffer | null)[]): void {
    if (ticket < this.#horizon) return
    for (const [i, name] of names.entries()) {
      if ((this.#changes.get(name) ?? 0) > ticket || !this.#isFor(name)) continue
      const value = values[i] ?? null
      if (value === null) this.#drop(name)
      else this.#keep(name, value)
    }
  }

  #keep (name: string, value: Buffer): void {
    const present = this.#copies.get(name)
    const keptAt = this.#now()
    if (present !== undefined && present.bytes.equals(value)) {
      // Its place in the order stays: the floor and generations come with each read.
      present.keptAt = keptAt
      this.#copies.use(name)
      return
    }
    this.#drop(name)
    const cost = costOf(name, value)
    if (cost > this.#maxBytes || LONE_SURROGATE.test(name)) return
    // The bytes are a part of a chunk from the socket, and would keep all of that chunk.
    this.#copies.add(name, { bytes: unshared(value), keptAt })
    this.#bytes += cost
    while (this.#bytes > this.#maxBytes) this.#remove(this.#copies.first()!)
  }

  #drop (name: string): void {
    const place = this.#copies.find(name)
    if (place !== undefined) this.#remove(place)
  }

  #remove (place: ListPlace<Kept>): void {
    this.#copies.remove(place)
    this.#bytes -= costOf(place.name, place.value.bytes)
  }

  /** These names have changed: drops their copies, and spoils reads under way. */
  change (names: readonly string[]): void {
    const change = ++this.#changed
    for (const name of names.map(asRedisHasIt)) {
      this.#drop(name)
      this.#changes.set(name, change)
    }
    while (this.#changes.size > MOST_CHANGES) {
      const oldest = this.#changes.first()!
      this.#changes.remove(oldest)
      this.#horizon = oldest.value
    }
  }

  /** All that begin with one of these changed. */
  changePrefixes (prefixes: readonly string[]): void {
    // Which names are asked for is not known: all of them are spoiled.
    this.#spoil()
    for (const name of this.#copies.names()) if (prefixes.some((prefix) => name.startsWith(prefix))) this.#drop(name)
  }

  /** Whatever it was, it may have changed. */
  changeAll (): void {
    this.#spoil()
    this.#copies.clear()
    this.#bytes = 0
  }

  #spoil (): void {
    this.#horizon = ++this.#changed
    this.#changes.clear()
  }
}

/** Messages have the name that Redis has; a tag's may be another one than ours, which is not kept. */
function asRedisHasIt (name: string): string {
  return LONE_SURROGATE.test(name) ? Buffer.from(name).toString() : name
}

/** With memory of its own: a part of a pool would keep all of it. */
function unshared (value: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(value.length)
  value.copy(copy)
  return copy
}

function costOf (name: string, { length }: Buffer): Bytes {
  return name.length * 2 + length + OVERHEAD
}
