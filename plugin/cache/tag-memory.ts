// Which tags a key's last response had that only the handler knew: read together with the entry, their generations cost
// no second trip. A hint and no more: what it does not know is read then.

const MOST_KEYS = 10_000
const NONE: readonly string[] = []

export class TagMemory {
  /** Two halves: to find the oldest in one map is to walk past all that were removed from it. */
  #late = new Map<string, readonly string[]>()
  #early = new Map<string, readonly string[]>()

  of (key: string): readonly string[] {
    return this.#late.get(key) ?? this.#early.get(key) ?? NONE
  }

  /** Those that were remembered long ago go first, many at a time. */
  remember (key: string, tags: readonly string[]): void {
    this.#late.delete(key)
    this.#early.delete(key)
    if (tags.length === 0) return
    this.#late.set(key, tags)
    if (this.#late.size < MOST_KEYS / 2) return
    this.#early = this.#late
    this.#late = new Map()
  }
}
