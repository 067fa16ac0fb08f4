// A response that is being stored, or was, when something is said of it that comes too late: a tag that its entry does not
// have, so that invalidating the tag would not end it; or that it is not to be stored. Such a response is not kept: the
// store is not told of it, or its key is invalidated. With a handler H, which goes on behind `reply.send`, and a writer W:
//
//   1. H  reply.send('x')                the answer is captured, and on its way to the store with the tags named so far
//   2. H  reply.cacheTags('late')        its key is invalidated, if it has got there
//   3. W  invalidates the tag `late`     there is nothing that it would have to end
//
// Between 1 and 2 it may be served: nobody could know. So the log says that the call has to come earlier.
import { refuse, type Caller } from '../telling/caller.js'
import type { Milliseconds } from '../duration.js'

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

  #end (): void {
    const { key, caller, end } = this.#parts
    this.#state = 'gone'
    refuse(key, 'called-late', caller)
    this.#told?.()
    end()
  }
}
