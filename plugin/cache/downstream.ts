// Caches in front of the app (a CDN, Varnish) hear of an invalidation by a function of the app's, `onInvalidate`. It is
// called when the store has confirmed, never before: a cache in front that is purged earlier asks the app again, and is
// given the old entry, for its own ttl.
//
//   1. W  writes the row; invalidate      the store confirms: no entry is left
//   2. W  onInvalidate -> purge           the copy in front goes
//   3. R  asks the cache in front         a miss there, and here: the new row
//
// Not exact: a response that was on its way to the cache in front between 1 and 2 may get there behind 2, and stays for its
// ttl there. docs/in-front.md says how that is bounded.
//
// Whoever invalidates waits for it, for a bounded time, and is told where it fails. The invalidation in the store stands by
// then, so the journal is not concerned, and nobody tries again. One that the store is told of later, by the journal, is
// followed by its call then: nobody waits for that any more, so a failure is in the log.
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { isNothing } from '../key/target.js'
import { namesOfTargets } from '../key/surrogate.js'
import type { OnInvalidate } from '../options/on-invalidate.js'
import { nameOf } from '../store/keys.js'
import { within } from '../store/wait/deadline.js'
import type { Log } from '../telling/events.js'
import type { Targets } from './claim.js'
import type { Background } from './flight.js'

interface DownstreamParts {
  /** The app's function; null: nobody is to be told. */
  call: OnInvalidate | null
  /** How long it is waited for; 0: without limit. */
  timeout: Milliseconds
  /** Under which the names of responses are. */
  prefix: string
  log: Log
  background: Background
}

export class Downstream {
  readonly #parts: DownstreamParts
  readonly #pending = new Set<Promise<void>>()

  constructor (parts: DownstreamParts) {
    this.#parts = parts
  }

  /** Resolves when the app's function has done its work. Rejects with FRC_ON_INVALIDATE where it fails, which is logged. */
  async tell (targets: Targets, soft = false): Promise<void> {
    const { call, background } = this.#parts
    if (call === null || isNothing(targets)) return
    const work = this.#call(call, targets, soft)
    this.#pending.add(work)
    try {
      await background.watch(work)
    } finally {
      this.#pending.delete(work)
    }
  }

  /** The same, where nobody waits any more. Never throws. */
  tellLate (targets: Targets): void {
    this.tell(targets).catch(() => {}) // the log has it
  }

  async #call (call: OnInvalidate, { keys: stored, tags, prefixes, all }: Targets, soft: boolean): Promise<void> {
    const { timeout, prefix, log } = this.#parts
    const over = new AbortController()
    const keys = [...new Set(stored.map(nameOf))]
    const surrogateKeys = namesOfTargets(prefix, { keys, tags, prefixes, all })
    const invalidated = { keys, tags, prefixes, all, soft, surrogateKeys, signal: over.signal }
    let hasEnded = false
    // It may throw at once.
    const told = async (): Promise<void> => {
      try {
        await call(invalidated)
      } finally {
        hasEnded = true
      }
    }
    try {
      await within(timeout, told())
    } catch (error) {
      over.abort()
      const why = hasEnded ? 'failed' : `did not end within ${timeout} ms`
      const message = `the invalidation is done here, but onInvalidate ${why}: caches in front may serve what they have`
      log.error({ err: error, surrogateKeys }, message)
      // A client may be answered with it: it names no keys.
      throw new RouteCacheError('FRC_ON_INVALIDATE', message, { cause: error })
    }
  }

  /** Resolves when no call is under way. */
  async idle (): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending)
  }
}

/** The store was told; only caches in front were not. */
export function isOfDownstream (error: unknown): boolean {
  return error instanceof RouteCacheError && error.code === 'FRC_ON_INVALIDATE'
}
