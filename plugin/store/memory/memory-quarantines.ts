// Which names of this process are in quarantine, by whom, and until when.
import type { Milliseconds } from '../../duration.js'

export class Quarantines {
  readonly #now: () => Milliseconds
  readonly #names = new Map<string, Map<string, Milliseconds>>()

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  /** For so long from now; true where it was there until now, under the same token. */
  put (name: string, token: string, time: Milliseconds): boolean {
    const tokens = this.#names.get(name) ?? new Map<string, Milliseconds>()
    const had = (tokens.get(token) ?? 0) > this.#now()
    tokens.set(token, this.#now() + time)
    this.#names.set(name, tokens)
    return had
  }

  end (name: string, token: string): void {
    const tokens = this.#names.get(name)
    tokens?.delete(token)
    if (tokens?.size === 0) this.#names.delete(name)
  }

  /** 'over': it was on, and its time ran out since the last look. */
  look (name: string): 'on' | 'over' | 'none' {
    const tokens = this.#names.get(name)
    if (tokens === undefined) return 'none'
    for (const [token, until] of tokens) if (until <= this.#now()) tokens.delete(token)
    if (tokens.size > 0) return 'on'
    this.#names.delete(name)
    return 'over'
  }
}
