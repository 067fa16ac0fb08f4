// The leases of this process, by the name of what they are for.
import type { Milliseconds } from '../../duration.js'
import { Recent } from '../recent.js'
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

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  /** A lease that has ended counts as gone; so does one that lasts longer than any may, as the clock has stepped back. */
  get (name: string): Held | undefined {
    const held = this.#names.get(name)
    if (held === undefined || isOn(held, this.#now())) return held
    this.#names.delete(name)
    return undefined
  }

  /** Looks at two others each time, so that those of keys that nobody asks for again don't pile up. */
  hold (name: string, held: Held): void {
    this.#names.set(name, held)
    const now = this.#now()
    for (let looks = 0; looks < 2; looks++) {
      const first = this.#names.first()
      if (first === undefined) break
      const [other, present] = first
      if (isOn(present, now)) this.#names.use(other)
      else this.#names.delete(other)
    }
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
