// Values by name, in the order in which the names were last used. A Map has an order, too, but to find its first member is
// to walk past every one that was deleted in front of it: where the first ones are deleted all the time, as a full store
// does, that is most of the work. So the order is a list, and the Map only finds a place in it.

interface Place<V> {
  name: string
  value: V
  before: Place<V>
  behind: Place<V>
}

export class Recent<V> {
  readonly #places = new Map<string, Place<V>>()
  /** Behind the last one and in front of the first: the list is a ring. */
  #gap = gap<V>()

  get size (): number {
    return this.#places.size
  }

  /** Leaves the order as it is. */
  get (name: string): V | undefined {
    return this.#places.get(name)?.value
  }

  /** The same, and it is the last one used from here on. */
  use (name: string): V | undefined {
    const place = this.#places.get(name)
    if (place === undefined) return undefined
    if (place.behind !== this.#gap) {
      unlink(place)
      this.#append(place)
    }
    return place.value
  }

  /** As the last one used. */
  set (name: string, value: V): void {
    const place = this.#places.get(name)
    if (place !== undefined) {
      place.value = value
      this.use(name)
      return
    }
    const made = { name, value, before: this.#gap, behind: this.#gap }
    this.#places.set(name, made)
    this.#append(made)
  }

  #append (place: Place<V>): void {
    const last = this.#gap.before
    place.before = last
    place.behind = this.#gap
    last.behind = place
    this.#gap.before = place
  }

  /** Whether it was there. */
  delete (name: string): boolean {
    const place = this.#places.get(name)
    if (place === undefined) return false
    this.#places.delete(name)
    unlink(place)
    return true
  }

  /** The one that was used longest ago; undefined: there is none. */
  first (): readonly [name: string, value: V] | undefined {
    const { behind } = this.#gap
    return behind === this.#gap ? undefined : [behind.name, behind.value]
  }

  /** In any order. The one that was given last may be deleted meanwhile. */
  names (): IterableIterator<string> {
    return this.#places.keys()
  }

  clear (): void {
    this.#places.clear()
    this.#gap = gap()
  }
}

function gap<V> (): Place<V> {
  const place = { name: '' } as Place<V>
  place.before = place.behind = place
  return place
}

function unlink<V> ({ before, behind }: Place<V>): void {
  before.behind = behind
  behind.before = before
}
