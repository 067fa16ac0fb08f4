// The app's logger, as the plugin writes to it: a line that fails is lost, and an outage does not fill the log.
import type { Log } from './caller.js'
import { show } from '../errors.js'
import type { Milliseconds } from '../duration.js'

/**
 * Most lines are written where no promise of a request waits for them: after a response, by a timer, in a listener. A logger
 * that throws there (a serializer that can't read our error, a destination that is closed), or whose promise rejects, would
 * end the process, or leave a client without its response. Here the line is lost.
 */
export class HarmlessLog implements Log {
  readonly #log: Log

  constructor (log: Log) {
    this.#log = log
  }

  debug (details: object, message: string): void {
    this.#write('debug', details, message)
  }

  info (details: object, message: string): void {
    this.#write('info', details, message)
  }

  warn (details: object, message: string): void {
    this.#write('warn', details, message)
  }

  error (details: object, message: string): void {
    this.#write('error', details, message)
  }

  #write (level: keyof Log, details: object, message: string): void {
    try {
      const written: unknown = this.#log[level](details, message)
      if (written instanceof Promise) written.catch(sayOnce)
    } catch (error) {
      sayOnce(error)
    }
  }
}

let isSaid = false

/** There is no log to say it in, and each line may fail. */
function sayOnce (error: unknown): void {
  if (isSaid) return
  isSaid = true
  const reason = error instanceof Error ? error.message : show(error)
  process.emitWarning(`The logger of an app failed, so what fastify-route-cache had to say is lost: ${reason}`)
}

const PAUSE: Milliseconds = 10_000

interface Told { at: Milliseconds, untold: number }

/** An outage concerns each request, and must not fill the log. */
export class Complaints {
  readonly #now: () => Milliseconds
  readonly #told = new Map<string, Told>()

  constructor (now: () => Milliseconds) {
    this.#now = now
  }

  /** Logs one message at most once in ten seconds, with the number of those in between, which are logged at level debug. */
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
