// Values by name, in the order in which the names were last used. A Map has an order, too, but to find its first member is
// to walk past every one that was deleted in front of it: where the first ones are deleted all the time, as a full store
// does, that is most of the work. So the order is a list, and the Map only finds a place in it.

/** A name's place in the order. A caller that keeps it need not search for the name: see `touch`. */
export interface ListPlace<V> {
  readonly name: string
  value: V
  before: ListPlace<V>
  behind: ListPlace<V>
  /** That of the list in which it stands; null: it was deleted. */
  gap: ListPlace<V> | null
}

export class Recent<V> {
  readonly #places = new Map<string, ListPlace<V>>()
  /** Behind the last one and in front of the first: the list is a ring. */
  readonly #gap = gap<V>()

  get size (): number {
    return this.#places.size
  }

  /** Leaves the order as it is. */
  get (name: string): V | undefined {
    return this.#places.get(name)?.value
  }

  /** The same, where it stands. */
  find (name: string): ListPlace<V> | undefined {
    return this.#places.get(name)
  }

  /** The value, and it is the last one used from here on. */
  use (name: string): V | undefined {
    const place = this.#places.get(name)
    if (place === undefined) return undefined
    this.touch(place)
    return place.value
  }

  /** Has it be the last one used; false where it is not there any more, be there another one of that name. */
  touch (place: ListPlace<V>): boolean {
    if (place.gap !== this.#gap) return false
    if (place.behind !== this.#gap) {
      unlink(place)
      this.#append(place)
    }
    return true
  }

  /** As the last one used. */
  set (name: string, value: V): void {
    const place = this.#places.get(name)
    if (place !== undefined) {
      place.value = value
      this.touch(place)
      return
    }
    this.add(name, value)
  }

  /** The same for a name that is not there. */
  add (name: string, value: V): void {
    const made = { name, value, before: this.#gap, behind: this.#gap, gap: this.#gap }
    this.#places.set(name, made)
    this.#append(made)
  }

  #append (place: ListPlace<V>): void {
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
    this.remove(place)
    return true
  }

  /** Deletes what stands in this place, which is there yet. */
  remove (place: ListPlace<V>): void {
    this.#places.delete(place.name)
    unlink(place)
    detach(place)
  }

  /** The one that was used longest ago; undefined: there is none. */
  first (): ListPlace<V> | undefined {
    const { behind } = this.#gap
    return behind === this.#gap ? undefined : behind
  }

  /** In any order. The one that was given last may be deleted meanwhile. */
  names (): IterableIterator<string> {
    return this.#places.keys()
  }

  clear (): void {
    for (const place of this.#places.values()) detach(place)
    this.#places.clear()
    detach(this.#gap)
  }
}

function gap<V> (): ListPlace<V> {
  const place = { name: '', gap: null } as unknown as ListPlace<V>
  detach(place)
  return place
}

function unlink<V> ({ before, behind }: ListPlace<V>): void {
  before.behind = behind
  behind.before = before
}

/** Whoever keeps a place that is gone would keep all those beside it otherwise, which are gone one day, too. */
function detach<V> (place: ListPlace<V>): void {
  place.before = place.behind = place
  place.gap = null
}
