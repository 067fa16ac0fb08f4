// The names in Redis, readable in redis-cli, and the texts of the floor and of generations (entries: layout.ts). For the
// prefix `shop` and the key `user:1`:
//
//   shop:user:1           the entry
//   lease:{shop:user:1}   its lease: a Cluster hashes only what stands in the braces, so both are in one slot
//   {shop:user:1}:v:x     the variant with the fingerprint x; its lease is lease:{shop:user:1}:v:x
//   {shop:user:1}:variants  their list, a sorted set by when each was stored
//   {shop:user:1}:value   what getOrSet keeps under the key; its lease is lease:{shop:user:1}:value
//   shop#tag:users        the generation of the tag `users`; `#` can't follow the prefix in the name of an entry
//   shop#beat:x:{7}:1     heartbeats of the process x (tracking.ts)
//   shop#floor            the floor; in its slot {shop#floor}:clock, {shop#floor}:tags: when any tag was last invalidated,
//                         and {shop#floor}:once:x: that the command x was done
//
// Keys and tags contain no braces (plugin/key/key.ts), so a slot is that of the whole name, or of what stands in the braces.
import type { Milliseconds } from '../duration.js'
import { EPOCH_LENGTH } from './layout.js'

/** No user's key contains a brace, so none ends like this. */
const VALUE = '{value}'

/** The end of the name of a key's list of variants. */
const VARIANTS = 'variants'

/** Names the value that getOrSet keeps under a key, apart from the response under it: a key like others for the store. */
export function valueKey (key: string): string {
  return key + VALUE
}

/** The names that go with a key: its response and its value. A value alone can be named as well. */
export function withValue (key: string): string[] {
  return isValueKey(key) ? [key] : [key, valueKey(key)]
}

/** Each key once, and no value alone that goes with its key. */
export function eachOnce (keys: readonly string[]): string[] {
  const each = new Set(keys)
  return [...each].filter((key) => !isValueKey(key) || !each.has(responseKey(key)))
}

/** As the user has named it, whichever of the two it is. */
export function nameOf (key: string): string {
  return isValueKey(key) ? responseKey(key) : key
}

function isValueKey (key: string): boolean {
  return key.endsWith(VALUE)
}

function responseKey (key: string): string {
  return key.slice(0, -VALUE.length)
}

/** The names under one prefix. */
export class Keys {
  readonly floor: string
  readonly clock: string
  readonly lastTag: string
  readonly #prefix: string

  constructor (prefix: string) {
    this.floor = `${prefix}#floor`
    this.clock = `{${prefix}#floor}:clock`
    this.lastTag = `{${prefix}#floor}:tags`
    this.#prefix = prefix
  }

  entry (key: string): string {
    return isValueKey(key) ? `{${this.#prefix}:${responseKey(key)}}:value` : `${this.#prefix}:${key}`
  }

  variant (key: string, variant: string): string {
    return `{${this.#prefix}:${key}}:v:${variant}`
  }

  /** The list of a key's variants, the one first that was stored longest ago. */
  variants (key: string): string {
    return `{${this.#prefix}:${key}}:${VARIANTS}`
  }

  lease (key: string, variant: string | null = null): string {
    if (variant !== null) return `lease:${this.variant(key, variant)}`
    return isValueKey(key) ? `lease:${this.entry(key)}` : `lease:{${this.entry(key)}}`
  }

  /** Entries and their leases, in pairs: of the response and of the value under this key, all in one slot. */
  pairs (key: string): string[] {
    return withValue(key).flatMap((one) => [this.entry(one), this.lease(one)])
  }

  /** Tells for a while that a command was done, should the client send it twice. */
  once (token: string): string {
    return `{${this.floor}}:once:${token}`
  }

  tag (tag: string): string {
    return `${this.#prefix}#tag:${tag}`
  }

  /** The beginnings of names that a tier may hold: entries, variants and values, generations, the floor. None overlap. */
  get tracked (): string[] {
    return [`${this.#prefix}:`, `{${this.#prefix}:`, this.tag(''), this.floor]
  }

  /** The beginning of the names of a process' heartbeats. */
  beats (process: string): string {
    return `${this.#prefix}#beat:${process}:`
  }

  /** The beginnings of the names of entries, variants and values, for all keys with this prefix. */
  beginnings (keyPrefix: string): string[] {
    return [this.entry(keyPrefix), `{${this.entry(keyPrefix)}`]
  }

  /** SCAN's pattern for the entries whose key begins so; `before` is what the client puts in front of names. */
  entryPattern (keyPrefix: string, before: string): string {
    return `${escapeGlob(before + this.entry(keyPrefix))}*`
  }

  /** Whether this is a value's name, among those that `variantPattern` finds. */
  isValue (name: string): boolean {
    return name.endsWith('}:value')
  }

  /** Whether this is the name of a list of variants, among the same. */
  isVariants (name: string): boolean {
    return name.endsWith(`}:${VARIANTS}`)
  }

  /** As `entryPattern`, for variants, their lists, and values. */
  variantPattern (keyPrefix: string, before: string): string {
    return `${escapeGlob(`${before}{${this.entry(keyPrefix)}`)}*`
  }

  /** As `entryPattern`, for the leases of both. */
  leasePattern (keyPrefix: string, before: string): string {
    return `${escapeGlob(`${before}lease:{${this.entry(keyPrefix)}`)}*`
  }
}

function escapeGlob (text: string): string {
  return text.replace(/[*?[\]\\^-]/g, '\\$&')
}

// The floor's text: `<history>;<record>;<record>… <runs>`. A record names prefixes, and below which value of `asOf` the
// entries under them are invalid; the scripts that write it are in joint-scripts.ts.

/** A prefix in a record. */
const HEAD_CHARACTERS = 100
const NONE: readonly PrefixGeneration[] = []

/** Entries whose key has this prefix are invalid if their handler began before this value of the clock. */
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

// The value of a tag's name in Redis: its generation, `<dropped>` or `<dropped>~<stale>`; or that nothing is valid under it.

/** The beginning of a name's value in quarantine. */
export const QUARANTINE = '!'
/** The beginning of a tag's value while an invalidation of several targets holds it. */
export const HOLD = '#'

/** Before which value what carries the tag is dropped, and before which it is stale. */
export interface Generation { dropped: number, stale: number }

/**
 * Above every value in quarantine, and while it is held. Null: anything else that is no generation, a reservation for
 * example: then nothing is valid under it, either, and it may be created.
 */
export function readGeneration (text: string): Generation | null {
  if (text.startsWith(QUARANTINE) || text.startsWith(HOLD)) return { dropped: Infinity, stale: Infinity }
  const [, dropped, stale] = /^(\d+)(?:~(\d+))?$/.exec(text) ?? []
  return dropped === undefined ? null : { dropped: Number(dropped), stale: Number(stale ?? 0) }
}

/** A number, the clock's for example. */
export function isGeneration (text: string): boolean {
  return /^\d+$/.test(text)
}
