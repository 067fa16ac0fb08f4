// What the in-process store keeps under a name: what it is called, what it costs, and what its bytes say.
import type { Bytes, Milliseconds } from '../../duration.js'
import type { Recent } from '../recent.js'

export interface Slot {
  bytes: Buffer
  until: Milliseconds
  /** Of a marker: the names of its variants, the one first that was stored longest ago. They go with it. */
  variants?: Recent<true>
  /** When the entry was made stale; absent: it was not. */
  softenedAt?: Milliseconds
}

/** Roughly what Map, Slot, a Buffer with memory of its own, and what was made of it take beside key and bytes. */
const OVERHEAD: Bytes = 1_100

/** Keys are well-formed Unicode (key.ts), so none begins like a variant's name. */
export function slotName (key: string, variant: string | null): string {
  return variant === null ? key : `\ud800${variant}:${key}`
}

/** For how long an entry may be served stale, by its bytes; 0: it was made so. Null: not at all. See codec.ts. */
export function staleTime (bytes: Buffer): Milliseconds | null {
  if (bytes.length < 47 || bytes[0] !== 5) return null
  if (bytes.readDoubleBE(15) !== 0) return 0
  const time = Math.max(bytes.readDoubleBE(31), bytes.readDoubleBE(39)) - bytes.readDoubleBE(23)
  return time > 0 ? time : null
}

export function madeStale (bytes: Buffer, now: Milliseconds): Buffer {
  const copy = Buffer.from(bytes)
  copy.writeDoubleBE(now, 15)
  return copy
}

/** See codec.ts. */
export function holdsMarker (bytes: Buffer | undefined): boolean {
  return (bytes?.[0] ?? 0) >= 128
}

/** Of a marker's bytes: see codec.ts. */
export function epochOf (marker: Buffer | undefined): string {
  return marker?.toString('latin1', 5, 17) ?? ''
}

/** Two bytes a character: what V8 takes at most. */
export function cost (key: string, bytes: Buffer): Bytes {
  return key.length * 2 + bytes.length + OVERHEAD
}
