// What the floor says: `<history>;<record>;<record>… <runs>`. A record names prefixes, and below which value of `asOf` the
// entries under them are invalid; the scripts that write it are in joint-scripts.ts.
import type { Milliseconds } from '../duration.js'
import { EPOCH_LENGTH } from './layout.js'

const HEAD_CHARACTERS = 100
const NONE: readonly PrefixGeneration[] = []

/** Of entries whose key begins so: what began before this value of the clock is invalid. */
export interface PrefixGeneration { prefix: string, value: number, end: Milliseconds }

export interface FloorState {
  /** '' where there is no floor. */
  history: string
  prefixes: readonly PrefixGeneration[]
}

/** Never throws: what is damaged is left out, and found when its writer looks for it. */
export function readFloor (floor: Buffer | string | null): FloorState {
  if (floor === null) return { history: '', prefixes: NONE }
  const text = floor.toString('latin1')
  const history = text.slice(0, EPOCH_LENGTH)
  if (text[EPOCH_LENGTH] !== ';') return { history, prefixes: NONE }
  const records = text.slice(EPOCH_LENGTH + 1, text.indexOf(' ')).split(';')
  return { history, prefixes: records.flatMap(readRecord) }
}

function readRecord (record: string): PrefixGeneration[] {
  const [value, end, , ...prefixes] = record.split(',')
  try {
    return prefixes.map((prefix) => ({ prefix: decodeURIComponent(prefix), value: Number(value), end: Number(end) }))
  } catch {
    return []
  }
}

/**
 * In a record: without the signs that stand between its parts. Each lookup reads it, and clients may make prefixes long: of
 * those the head is written, so that for as long as the record is there it is about others, too.
 */
export function writePrefixes (prefixes: readonly string[]): string {
  return [...new Set(prefixes.map(headOf))].map(encodeURIComponent).join(',')
}

function headOf (prefix: string): string {
  const head = prefix.slice(0, HEAD_CHARACTERS)
  // Half a pair has no encoding.
  return /[\ud800-\udbff]$/.test(head) ? head.slice(0, -1) : head
}

/** Below which `asOf` no entry under this key is valid; 0: none was invalidated by its prefix. */
export function leastOf (prefixes: readonly PrefixGeneration[], key: string): number {
  let least = 0
  for (const { prefix, value } of prefixes) if (value > least && key.startsWith(prefix)) least = value
  return least
}
