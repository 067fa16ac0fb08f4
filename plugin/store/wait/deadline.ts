// How long a command to the store is waited for. A command that was sent can't be called back: it goes on, and its late
// result is dropped, or undone.
//
// A timer that fires late says that this process was busy, and the answer may lie in a socket, unread. A write has time for
// that. A lookup's deadline is much shorter than this process may be busy, so it is waited for in slices, and a slice whose
// timer fired late doesn't count; but not for ever.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'

/** The time of day, in milliseconds since 1970: read here and nowhere else, so that tests can have another. */
export function wallClock (): Milliseconds {
  return Date.now()
}

const SLICES = 5
/** A timer this much too late tells of this process, not of the store. */
const LATE: Milliseconds = 10
/** Slices of a lookup that don't count: its client waits. */
const MOST_BUSY = 10

/** For one promise. */
export class Deadline {
  readonly #time: Milliseconds
  readonly #mostBusy: number
  readonly #longestSlice: Milliseconds
  #left: Milliseconds
  #busy = 0
  #state: 'waiting' | 'answered' | 'late' = 'answered'
  #began = 0
  #slice = 0
  #timer: NodeJS.Timeout | undefined
  #reject: (error: unknown) => void = () => {}

  /** `time` 0: no limit. `mostBusy`: so many slices of a busy process don't count; 0: all time counts. */
  constructor (time: Milliseconds, mostBusy = MOST_BUSY) {
    this.#time = this.#left = time
    this.#mostBusy = mostBusy
    this.#longestSlice = mostBusy === 0 ? time : time / SLICES
  }

  /** The process was busy for more slices than `mostBusy`. */
  get wasBusy (): boolean {
    return this.#busy > this.#mostBusy
  }

  /** How much is left for the next command; 0: there is no limit. */
  get left (): Milliseconds {
    return this.#time === 0 ? 0 : Math.max(1, this.#left)
  }

  /** The promise's outcome, or FRC_DEADLINE. `onLate` gets a result that came after that; a late failure is dropped. */
  wait<T> (promise: Promise<T>, onLate?: (result: T) => void): Promise<T> {
    if (this.#time === 0) return promise
    return new Promise((resolve, reject) => {
      this.#state = 'waiting'
      this.#reject = reject
      this.#begin()
      promise.then((result) => {
        if (this.#isInTime()) resolve(result)
        else onLate?.(result)
      }, (error: unknown) => {
        if (this.#isInTime()) reject(error)
      })
    })
  }

  /** No longer waited for: rejects with the error, if it is not settled yet. */
  end (error: unknown): void {
    if (this.#state !== 'waiting') return
    this.#state = 'late'
    clearTimeout(this.#timer)
    this.#reject(error)
  }

  #begin (): void {
    this.#began = performance.now()
    this.#slice = Math.min(this.#left, this.#longestSlice)
    // Sockets are read between timers and immediates.
    this.#timer = setTimeout(() => setImmediate(() => { this.#end() }), this.#slice)
  }

  #end (): void {
    if (this.#state !== 'waiting') return
    if (performance.now() - this.#began - this.#slice < LATE || ++this.#busy > this.#mostBusy) this.#left -= this.#slice
    if (this.#left > 0.5) return this.#begin()
    this.#state = 'late'
    this.#reject(new RouteCacheError('FRC_DEADLINE', `the store did not answer within ${this.#time} ms`))
  }

  #isInTime (): boolean {
    if (this.#state === 'late') return false
    this.#state = 'answered'
    clearTimeout(this.#timer)
    this.#left -= Math.min(this.#slice, performance.now() - this.#began)
    return true
  }
}

/** Waits for one command, all of whose time counts. */
export function within<T> (time: Milliseconds, promise: Promise<T>, onLate?: (result: T) => void): Promise<T> {
  return new Deadline(time, 0).wait(promise, onLate)
}

/** Several commands, each within a time, until none of them is waited for any more: their timers would keep the process. */
export class Deadlines {
  readonly #waiting = new Set<Deadline>()

  async within<T> (time: Milliseconds, promise: Promise<T>): Promise<T> {
    const deadline = new Deadline(time, 0)
    this.#waiting.add(deadline)
    try {
      return await deadline.wait(promise)
    } finally {
      this.#waiting.delete(deadline)
    }
  }

  /** Those that are waited for reject with this. Later ones are waited for. */
  end (error: unknown): void {
    for (const deadline of this.#waiting) deadline.end(error)
  }
}

/** Whether a promise was rejected because its time was over. */
export function isLate (error: unknown): boolean {
  return error instanceof RouteCacheError && error.code === 'FRC_DEADLINE'
}
