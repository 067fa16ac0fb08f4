// Which tags a key's last response had that only the handler knew: read together with the entry, their generations cost
// no second trip. A hint and no more: what it does not know is read then.

const MOST_KEYS = 10_000
const NONE: readonly string[] = []

export class TagMemory {
  readonly #tags = new Map<string, readonly string[]>()

  of (key: string): readonly string[] {
    return this.#tags.get(key) ?? NONE
  }

  /** The least lately remembered ones go first. */
  remember (key: string, tags: readonly string[]): void {
    this.#tags.delete(key)
    if (tags.length === 0) return
    this.#tags.set(key, tags)
    if (this.#tags.size > MOST_KEYS) this.#tags.delete(this.#tags.keys().next().value!)
  }
}
