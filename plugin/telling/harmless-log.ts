// The app's logger, as the plugin calls it. Most lines are written where no request's own promises end: behind an answer,
// by a timer, in a listener. There a logger that throws (a serializer that can't read our error, a destination that is
// closed), or whose promise rejects, would end the process, or leave a client without its answer. Here it loses the line.
import type { Log } from './caller.js'
import { show } from '../errors.js'

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
