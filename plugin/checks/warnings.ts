// Likely mistakes in how an app uses the cache. Each is said once: in the log, by `cache.warnings`, `explain`
// and the dashboard. Nothing is refused, since the plugin can't be sure.
import type { Milliseconds } from '../duration.js'
import type { Check } from '../options/checks.js'
import type { Log, WorthFigures } from '../telling/events.js'
import { NestWords } from './nest-words.js'

/** One finding. */
export interface Warning {
  check: Check
  /** The route: `GET /books`; null: the warning is about the whole app. */
  route: string | null
  /** The cached routes whose responses are concerned, where `route` is one that writes. Absent: `route` itself. */
  concerned?: readonly string[]
  /** The finding, and what to write instead. */
  message: string
}

/** More of them fill a log and help nobody. */
const MOST = 100

/** Whether a finding is about this route. */
export function isAbout ({ route, concerned = [] }: Warning, name: string | null): boolean {
  return name !== null && (route === name || concerned.includes(name))
}

export class Warnings {
  readonly #quiet: ReadonlySet<string>
  readonly #list: Warning[] = []
  /** Routes of Nest controllers, if there are any. */
  readonly nest = new NestWords()

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
  say (log: Pick<Log, 'warn'>, said: Warning): void {
    const warning = { ...said, message: this.nest.of(said.message) }
    const { check, route, message } = warning
    if (!this.hears(check) || this.#list.some((one) => one.message === message)) return
    this.#list.push(warning)
    log.warn({ check, ...route !== null && { route } }, `fastify-route-cache: ${message}. (The plugin's option quiet: ["${check}"] silences this)`)
  }
}

/** The warning of a route whose cache costs more time than it saves. */
export function notWorthCaching (route: string, { measured, hitRate, lookup, handler, fill }: WorthFigures): Warning {
  const percent = Math.round(hitRate * 1000) / 10
  const message = `${route} is not worth caching: of ${measured} measured requests ${percent} % were hits. A lookup takes ${milliseconds(lookup)}, ` +
    `a fill ${milliseconds(fill)} of this process, and the handler ${milliseconds(handler)}. Leave the option cache out; or raise the part of hits, ` +
    'by a longer ttl, or a key with fewer values'
  return { check: 'not-worth-caching', route, message }
}

function milliseconds (time: Milliseconds): string {
  return `${time.toPrecision(2)} ms`
}
