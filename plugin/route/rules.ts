// The routes that the plugin's option `routes` is about. The first rule whose path fits a route counts, as the routes
// and their own options are declared elsewhere, perhaps in other people's plugins. A route's own `cache` wins.
import { canonicalName, readPath } from '../key/key.js'
import type { RouteRule } from '../options/route-rules.js'
import type { PolicyRoute } from './policy.js'

/** A route, and its handler: the same for a GET and the HEAD that Fastify adds to it. */
interface RuledRoute extends PolicyRoute { handler: unknown }

/** A rule's option for a route, and the rule's place in the list. */
export interface Ruled { cache: RouteRule['cache'], place: string }

export class RouteRules {
  readonly #rules: ReadonlyArray<{ cache: RouteRule['cache'], paths: readonly Path[] }>
  readonly #used = new Set<Path>()
  /** The handlers of GETs that have their option of a rule. */
  readonly #gets = new Map<string, unknown>()

  constructor (rules: readonly RouteRule[]) {
    this.#rules = rules.map(({ path, cache }) => ({ cache, paths: [path].flat().map(pathOf) }))
  }

  /** `own`: the route's own option. Null: it has one, is none that can be cached, or has no rule. */
  ruleOf (route: RuledRoute, own: unknown): Ruled | null {
    if (this.#rules.length === 0) return null
    const methods = [route.method].flat()
    if (methods.some((method) => method !== 'GET' && method !== 'HEAD')) return null
    const found = this.#find(readPath(route.url).shape)
    if (found === null || own !== undefined) return null
    const name = canonicalName(route)
    if (methods.includes('GET')) this.#gets.set(name, route.handler)
    // A HEAD that somebody has declared is no twin of its GET.
    else if (!this.#gets.has(name) || this.#gets.get(name) !== route.handler) return null
    return found
  }

  #find (shape: string): Ruled | null {
    for (const [i, { cache, paths }] of this.#rules.entries()) {
      const path = paths.find((path) => fits(path, shape))
      if (path === undefined) continue
      this.#used.add(path)
      return { cache, place: `routes[${i}]` }
    }
    return null
  }

  /** The paths that no route has, or that others in front of them have taken. */
  get unused (): string[] {
    return this.#rules.flatMap(({ paths }) => paths.filter((path) => !this.#used.has(path)).map(({ written }) => written))
  }
}

interface Path { written: string, shape: string, isBeginning: boolean }

/** `/api/*` is for `/api`, too: that is how Fastify names a route `/` with the prefix `/api`. */
function fits ({ shape: wanted, isBeginning }: Path, shape: string): boolean {
  return isBeginning ? shape.startsWith(wanted) || `${shape}/` === wanted : shape === wanted
}

function pathOf (written: string): Path {
  const isBeginning = written.endsWith('*')
  return { written, shape: readPath(isBeginning ? written.slice(0, -1) : written).shape, isBeginning }
}
