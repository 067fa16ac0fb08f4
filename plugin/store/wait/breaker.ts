// Whether the store is worth asking. Closed, every lookup asks; after some failures or late answers the breaker asks the
// store itself, and opens where that fails, too. Open, no lookup asks: a request costs nothing until the store has answered
// a probe in time. Probes are the breaker's own, one at a time, so no request has to wait for one.
//
// This process may be what is slow: garbage collection, or a handler that computes. A lookup is patient with that
// (deadline.ts), but not for ever, as its request has a client; then it fails though the answer has long been there. So it
// is not lookups that open the breaker, but a probe, which is patient for longer:
//
//   1. R  asks; the process computes all the time; the answer lies in the socket
//   2. R  has been patient with that, and gives up: a failure
//   3.    enough of them: the probe is sent, and answered
//   4.    the breaker stays closed, and forgets the failures
import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds } from '../../duration.js'
import { Backoff } from './backoff.js'
import { Deadline, isLate } from './deadline.js'

/** For one failure to be forgotten, so many lookups must succeed: one failure in eleven is too many. */
const FORGIVING = 10
/** Slices. A process that is busy all the time can't tell: then the store has the benefit of the doubt. */
const MOST_BUSY = 50
const PAUSES = { first: 25, longest: 500 }
/** For a probe where lookups have no limit. */
const LONGEST_PROBE: Milliseconds = 1_000

export const REQUESTS_GO_ON = 'requests go to their handlers'

interface BreakerParts {
  /** Failures in a row that are too many; 0: it never opens. */
  threshold: number
  /** What a lookup may take; 0: no limit. */
  deadline: Milliseconds
  /** Asks the store for as little as tells that it works. */
  probe: () => Promise<unknown>
  /** Which store it is, and why it failed, for the log. */
  describe?: (error: unknown) => string
  /** The store's name with its address, for the log. */
  storeName?: string | undefined
  /** What is done while it is open, in words. Default: requests go to their handlers. */
  meanwhile?: string | undefined
  /** What there is to say when it closes, for the log. */
  past?: () => string
  /** Told when it opens, and why. */
  onOpen?: (error: unknown) => void
  /** Told when it closes again, and how long it was open. */
  onClose?: (time: Milliseconds) => void
  log: Record<'warn', (details: object, message: string) => void>
}

export class Breaker {
  readonly #parts: BreakerParts
  readonly #deadline: Milliseconds
  readonly #ended = new AbortController()
  #failures = 0
  #isProbing = false
  #openedAt: Milliseconds | null = null
  #hasOpened = false
  /** Nothing is to be asked of the store. */
  isOpen = false
  /** A lookup failed not long ago: those that succeed are to be told. */
  isDoubtful = false

  constructor (parts: BreakerParts) {
    this.#parts = parts
    this.#deadline = parts.deadline === 0 ? LONGEST_PROBE : parts.deadline
  }

  /** A lookup was answered in time. Where nothing is doubtful it changes nothing. */
  succeeded (): void {
    this.#failures = Math.max(0, this.#failures - 1 / FORGIVING)
    this.isDoubtful = this.#failures > 0
  }

  /** A lookup was not. */
  failed (): void {
    const { threshold } = this.#parts
    this.#failures++
    this.isDoubtful = true
    if (threshold === 0 || this.#failures < threshold || this.#isProbing || this.#ended.signal.aborted) return
    this.#isProbing = true
    this.#probeUntilClosed().finally(() => { this.#isProbing = false }).catch(() => {})
  }

  /** It could not be connected to, which was said: when it is there, that is said, too. */
  failedAtStart (): void {
    this.#awaitStart().catch(() => {})
  }

  async #awaitStart (): Promise<void> {
    const { signal } = this.#ended
    const began = performance.now()
    const pauses = new Backoff(PAUSES)
    for (;;) {
      await sleep(pauses.next(), undefined, { ref: false, signal })
      // It says so itself when it closes.
      if (this.#hasOpened) return
      const probe = this.#parts.probe()
      const failure = await this.#failureOf(probe)
      if (failure === null) return this.#hasOpened ? undefined : this.#sayBack(performance.now() - began)
      if (isLate(failure)) await this.#eventually(probe)
    }
  }

  /** For ever: no timer is left. */
  end (): void {
    this.#ended.abort()
  }

  async #probeUntilClosed (): Promise<void> {
    const pauses = new Backoff(PAUSES)
    while (!this.#ended.signal.aborted) {
      const probe = this.#parts.probe()
      const failure = await this.#failureOf(probe)
      if (failure === null) return this.#close()
      this.#open(failure)
      // A store that hangs must not be piled up with probes; when it answers at last it may be as it was before.
      if (isLate(failure) && await this.#eventually(probe)) pauses.reset()
      await sleep(pauses.next(), undefined, { ref: false, signal: this.#ended.signal }).catch(() => {})
    }
  }

  /** Why the probe failed; null where it was answered in time, or can't tell. Never rejects. */
  async #failureOf (probe: Promise<unknown>): Promise<unknown> {
    const deadline = new Deadline(this.#deadline, MOST_BUSY)
    try {
      await deadline.wait(probe)
      return null
    } catch (error) {
      return isLate(error) && deadline.wasBusy ? null : error ?? new Error('the probe failed')
    }
  }

  /** Whether it is answered at last: true as soon as it is; false where it fails, or the breaker ends before. */
  async #eventually (probe: Promise<unknown>): Promise<boolean> {
    const { signal } = this.#ended
    return await new Promise((resolve) => {
      const end = (): void => { resolve(false) }
      signal.addEventListener('abort', end)
      probe.then(() => { resolve(true) }, end).finally(() => { signal.removeEventListener('abort', end) })
    })
  }

  #open (error: unknown): void {
    if (this.#openedAt !== null) return
    this.#openedAt = performance.now()
    this.isOpen = this.#hasOpened = true
    this.#parts.onOpen?.(error)
    const { log, describe, meanwhile = REQUESTS_GO_ON } = this.#parts
    log.warn({ err: error }, `the cache does without its store${describe === undefined ? '' : `, ${describe(error)},`} which has failed too ` +
      `often: ${meanwhile}, until it answers again`)
  }

  #close (): void {
    this.#failures = 0
    this.isDoubtful = false
    if (this.#openedAt === null) return
    const time = performance.now() - this.#openedAt
    this.#openedAt = null
    this.isOpen = false
    this.#parts.onClose?.(time)
    this.#sayBack(time)
  }

  #sayBack (time: Milliseconds): void {
    const { log, storeName, past } = this.#parts
    const named = storeName === undefined ? '' : ` ${storeName},`
    log.warn({ time: Math.round(time) }, `the cache uses its store again,${named} after ${(time / 1000).toFixed(1)} s${past?.() ?? ''}`)
  }
}
