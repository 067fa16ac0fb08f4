// The names in Redis, readable in redis-cli. For the prefix `shop` and the key `user:1`:
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
// Keys and tags contain no braces (key.ts), so a slot is that of the whole name, or of what stands in the braces.

/** No user's key contains a brace, so none ends like this. */
const VALUE = '{value}'

/** What the name of a key's list of variants ends with. */
const VARIANTS = 'variants'

/** Names the value that getOrSet keeps under a key, apart from the response under it: a key like others for the store. */
export function valueKey (key: string): string {
  return key + VALUE
}

/** What goes with a key: its response and its value. A value alone can be named as well. */
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

  /** What lists the variants of a key, the one first that was stored longest ago. */
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

  /** What the names begin with that a tier may hold: entries, variants and values, generations, the floor. None overlap. */
  get tracked (): string[] {
    return [`${this.#prefix}:`, `{${this.#prefix}:`, this.tag(''), this.floor]
  }

  /** What the names of a process' heartbeats begin with. */
  beats (process: string): string {
    return `${this.#prefix}#beat:${process}:`
  }

  /** What the names begin with of entries, variants and values of all keys that begin so. */
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

  /** The same as `entryPattern` for their variants, the lists of these, and values. */
  variantPattern (keyPrefix: string, before: string): string {
    return `${escapeGlob(`${before}{${this.entry(keyPrefix)}`)}*`
  }

  /** The same for the leases of both. */
  leasePattern (keyPrefix: string, before: string): string {
    return `${escapeGlob(`${before}lease:{${this.entry(keyPrefix)}`)}*`
  }
}

function escapeGlob (text: string): string {
  return text.replace(/[*?[\]\\^-]/g, '\\$&')
}
