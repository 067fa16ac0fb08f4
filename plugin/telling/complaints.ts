// Failures of the store, as the log has them: an outage concerns each request, and must not fill the log.
import type { Log } from './caller.js'
import type { Milliseconds } from '../duration.js'

const PAUSE: Milliseconds = 10_000

interface Told { at: Milliseconds, untold: number }

export class Complaints {
  readonly #now: () => Milliseconds
  readonly #told = new Map<string, Told>()

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  /** Logs it, the same message at most once in ten seconds, with how many there were between; the others at level debug. */
  warn (log: Log, message: string, details: object): void {
    const now = this.#now()
    const told = this.#told.get(message)
    if (told !== undefined && Math.abs(now - told.at) < PAUSE) {
      told.untold++
      return log.debug(details, message)
    }
    this.#told.set(message, { at: now, untold: 0 })
    log.warn(told === undefined || told.untold === 0 ? details : { ...details, untold: told.untold }, message)
  }
}
