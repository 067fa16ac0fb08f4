// Two builds on one prefix: a former build ends the targets of one call one after the other, so a response that is made of a
// cached value may stay old. Nothing else tells that it runs: it is noticed by what it stores.
import type { Log } from '../telling/events.js'
import type { Milliseconds } from '../duration.js'
import type { Entry } from '../entry/entry.js'

export class FormerBuild {
  readonly #log: Log
  /** Entries from before this instant are left by a former build, as after any upgrade. */
  readonly #since: Milliseconds
  #isTold = false

  constructor (log: Log, since: Milliseconds) {
    this.#log = log
    this.#since = since
  }

  /** Logs, once, that a former build is at work, where this entry shows it. */
  notice ({ storedAt, isOfFormerBuild }: Entry): void {
    if (isOfFormerBuild !== true || this.#isTold || storedAt <= this.#since) return
    this.#isTold = true
    this.#log.warn({ storedAt: new Date(storedAt).toISOString() }, 'a former build of fastify-route-cache stores responses under ' +
      'this prefix, beside this one: of what it invalidates, responses that are made of cached values may stay old; ' +
      'stop it, or give this build a prefix of its own')
  }
}
