// A promise that somebody waits for only so long. What it waited for goes on: a command that was sent can't be called back.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'

/** Whether this is what a promise rejects with that was not waited for any longer. */
export function isLate (error: unknown): boolean {
  return error instanceof RouteCacheError && error.code === 'FRC_DEADLINE'
}

/**
 * The promise's outcome, or FRC_DEADLINE after `time`. 0: no limit. `onLate` gets a result that came after that, to undo
 * what nobody will use; a late failure is dropped.
 */
export function within<T> (time: Milliseconds, promise: Promise<T>, onLate?: (result: T) => void): Promise<T> {
  if (time === 0) return promise
  return new Promise((resolve, reject) => {
    let state: 'waiting' | 'answered' | 'late' = 'waiting'
    const giveUp = (): void => {
      if (state === 'answered') return
      state = 'late'
      reject(new RouteCacheError('FRC_DEADLINE', `the store did not answer within ${time} ms`))
    }
    // The timer may fire because this process was busy while the answer lies in the socket: sockets are read between
    // timers and immediates, so they have their turn first.
    const timer = setTimeout(() => setImmediate(giveUp), time)
    promise.then((result) => {
      if (state === 'late') return onLate?.(result)
      state = 'answered'
      clearTimeout(timer)
      resolve(result)
    }, (error: unknown) => {
      state = 'answered'
      clearTimeout(timer)
      reject(error)
    })
  })
}
