// The leases of this process, by the name of what they are for.
import type { Milliseconds } from '../../duration.js'
import { Recent, type ListPlace } from '../recent.js'
import { LEASE_TIME, PASS_TIME } from '../store.js'

export interface Held {
  key: string
  /** '' where nobody has the lease and nobody is to wait for it. */
  token: string
  isPass: boolean
  until: Milliseconds
}

export class MemoryLeases {
  readonly #now: () => Milliseconds
  readonly #names = new Recent<Held>()
  #tokens = 0

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  /** Another one each time: nobody beyond this store is told of it, so that it need not be hard to guess. */
  newToken (): string {
    return String(++this.#tokens)
  }

  /** A lease that has ended counts as gone; so does one that lasts longer than any may, as the clock has stepped back. */
  get (name: string): Held | undefined {
    return this.#find(name)?.value
  }

  #find (name: string): ListPlace<Held> | undefined {
    const place = this.#names.find(name)
    if (place === undefined || isOn(place.value, this.#now())) return place
    this.#names.remove(place)
    return undefined
  }

  /** Looks at two others each time, so that those of keys that nobody asks for again don't pile up. */
  hold (name: string, held: Held): void {
    this.#names.set(name, held)
    const now = this.#now()
    for (let looks = 0; looks < 2; looks++) {
      const first = this.#names.first()
      if (first === undefined) break
      if (isOn(first.value, now)) this.#names.touch(first)
      else this.#names.remove(first)
    }
  }

  /** Ends the lease; false: it is not held under this token. */
  end (name: string, token: string): boolean {
    const place = this.#find(name)
    if (place?.value.token !== token) return false
    this.#names.remove(place)
    return true
  }

  delete (name: string): void {
    this.#names.delete(name)
  }

  /** The leases of keys for which the function gives true. */
  deleteWhere (isGone: (key: string) => boolean): void {
    for (const name of this.#names.names()) if (isGone(this.#names.get(name)!.key)) this.#names.delete(name)
  }

  clear (): void {
    this.#names.clear()
  }
}

function isOn ({ token, until }: Held, now: Milliseconds): boolean {
  const left = until - now
  return left > 0 && left <= (token === '' ? PASS_TIME : LEASE_TIME)
}
