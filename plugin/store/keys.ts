// The names in Redis, readable in redis-cli. For the prefix `shop` and the key `user:1`:
//
//   shop:user:1           the entry
//   lease:{shop:user:1}   its lease: a Cluster hashes only what stands in the braces, so both are in one slot
//   {shop:user:1}:v:x     the variant with the fingerprint x; its lease is lease:{shop:user:1}:v:x
//   shop#tag:users        the generation of the tag `users`; `#` can't follow the prefix in the name of an entry
//   shop#floor            the floor; in its slot {shop#floor}:clock, and {shop#floor}:tags: when any tag was last
//                         invalidated
//
// Keys and tags contain no braces (key.ts), so a slot is that of the whole name, or of what stands in the braces.

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
    return `${this.#prefix}:${key}`
  }

  variant (key: string, variant: string): string {
    return `{${this.#prefix}:${key}}:v:${variant}`
  }

  lease (key: string, variant: string | null = null): string {
    return variant === null ? `lease:{${this.#prefix}:${key}}` : `lease:${this.variant(key, variant)}`
  }

  tag (tag: string): string {
    return `${this.#prefix}#tag:${tag}`
  }

  /** SCAN's pattern for the entries whose key begins so; `before` is what the client puts in front of names. */
  entryPattern (keyPrefix: string, before: string): string {
    return `${escapeGlob(before + this.entry(keyPrefix))}*`
  }

  /** The same for their variants. */
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
