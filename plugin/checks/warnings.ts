// Likely mistakes in how an app uses the cache. Each is said once: in the log, by `cache.warnings`, `explain`
// and the dashboard. Nothing is refused, since the plugin can't be sure.
import type { Check } from '../options/checks.js'
import type { Log } from '../telling/events.js'

/** One finding. */
export interface Warning {
  check: Check
  /** The route: `GET /books`; null: the warning is about the whole app. */
  route: string | null
  /** The finding, and what to write instead. */
  message: string
}

/** More of them fill a log and help nobody. */
const MOST = 100

export class Warnings {
  readonly #quiet: ReadonlySet<string>
  readonly #list: Warning[] = []

  constructor (quiet: readonly string[]) {
    this.#quiet = new Set(quiet)
  }

  get list (): readonly Warning[] {
    return this.#list
  }

  hears (check: Check): boolean {
    return !this.#quiet.has(check) && this.#list.length < MOST
  }

  /** Says it, unless it is silenced or was said before. */
  say (log: Pick<Log, 'warn'>, warning: Warning): void {
    const { check, route, message } = warning
    if (!this.hears(check) || this.#list.some((one) => one.message === message)) return
    this.#list.push(warning)
    log.warn({ check, ...route !== null && { route } }, `fastify-route-cache: ${message}. (The plugin's option quiet: ["${check}"] silences this)`)
  }
}
