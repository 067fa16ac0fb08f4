// A response that is being stored, or was, of which something is said that came too late for it: a tag that its entry has not,
// so that nothing would end it by that; or that it is not to be stored. Then it is not kept: what the store was not told yet it
// is not told, and what it was told is invalidated. With the handler H, which goes on when it has called `reply.send`:
//
//   1. H  reply.send('x')                the answer is captured, and on its way to be stored with the tags named so far
//   2. H  reply.cacheTags('late')
//   3. W  invalidates the tag `late`     has no entry to end: that of 1 goes, if it has got there, by its key
//
// Between 1 and 3 it may be served, as nobody knows of 2 yet; so the route is told to say it earlier.
import { refuse, type Caller } from './caller.js'
import type { Milliseconds } from './duration.js'

export interface KeptParts {
  key: string
  caller: Caller
  /** When nobody is served it any more. */
  until: Milliseconds
  now: () => Milliseconds
  /** Invalidates its key. Nobody waits for it; it never rejects. */
  end: () => void
}

export class Kept {
  /** Those of its entry. */
  readonly tags: readonly string[]
  readonly #parts: KeptParts
  #state: 'here' | 'sent' | 'stored' | 'gone' = 'here'
  /** Hears that it was not kept for what was said. */
  #told: (() => void) | null = null

  constructor (tags: readonly string[], parts: KeptParts) {
    this.tags = tags
    this.#parts = parts
  }

  /** It is not to be kept; `told` hears if it would have been. Only the first call counts. */
  giveUp (told: () => void): void {
    const { until, now } = this.#parts
    if (this.#told !== null || this.#state === 'gone' || now() >= until) return
    this.#told = told
    if (this.#state === 'stored') this.#end()
  }

  /** Before the store is told of it: whether it is to be. */
  send (): boolean {
    const { key, caller } = this.#parts
    if (this.#told === null) {
      this.#state = 'sent'
      return true
    }
    this.#state = 'gone'
    refuse(key, 'called-late', caller)
    this.#told()
    return false
  }

  /** The store has it, or nobody knows, where it was sent at all: whether it is kept. */
  stored (): boolean {
    if (this.#state === 'sent') this.#state = 'stored'
    if (this.#told === null) return true
    if (this.#state === 'stored') this.#end()
    return false
  }

  /** The store has not taken it. */
  refused (): void {
    this.#state = 'gone'
  }

  #end (): void {
    const { key, caller, end } = this.#parts
    this.#state = 'gone'
    refuse(key, 'called-late', caller)
    this.#told?.()
    end()
  }
}
