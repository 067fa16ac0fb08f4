// A name's value in the in-process store, and its cost in bytes. layout.ts describes the bytes.
import type { Bytes, Milliseconds } from '../../duration.js'
import type { Recent } from '../recent.js'

export interface Slot {
  bytes: Buffer
  until: Milliseconds
  /** For a marker: the names of its variants, the one first that was stored longest ago. They go with the marker. */
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

/** Two bytes a character: what V8 takes at most. */
export function cost (key: string, bytes: Buffer): Bytes {
  return key.length * 2 + bytes.length + OVERHEAD
}
