// The place of a route's lookup, read from Fastify's list of the route's hooks when all are known.
//
// A hit that is sent in onRequest skips everything later, so it may only be sent there where nothing comes later that could
// be authentication: no hook in preParsing, preValidation or preHandler, and none behind ours in onRequest. Each lookup has
// a name of its own, by which its route is found. What can't be read counts as "there is one".
//
// Fastify tells of hooks where it prints routes. They are printed method by method: for all methods together the router is
// built anew, which throws where a version is no text. And the printer is given a function of ours for what it says of a
// route: the app's own (`buildPrettyMeta`) may be anything, and is not to be called because of us.
import type { FastifyInstance } from 'fastify'
import type { Site } from '../request/exchange.js'

/** Gives each lookup its place, now that all hooks are known. The validation of a route may move it later (hooks.ts). */
export function place (app: FastifyInstance, sites: ReadonlyMap<string, Site>): void {
  const { surroundings, error } = surroundingsOf(app)
  const unknown: string[] = []
  for (const [name, site] of sites) {
    const { isLast, ...seen } = surroundings.get(name) ?? UNKNOWN
    const { hook, route } = site.policy
    if (hook === null && !surroundings.has(name) && !unknown.includes(route)) unknown.push(route)
    site.place = !site.isAwaited && (hook === null ? isLast : hook === 'onRequest') ? 'onRequest' : 'handler'
    Object.assign(site, seen)
  }
  if (unknown.length === 0) return
  app.log.warn({ routes: unknown, ...error !== null && { err: error } }, 'fastify-route-cache: the hooks of these routes can\'t be read, ' +
    'so their lookups stand in front of their handlers, behind all hooks')
}

function surroundingsOf (app: FastifyInstance): { surroundings: ReadonlyMap<string, Surroundings>, error: unknown } {
  try {
    return { surroundings: readSurroundings(app), error: null }
  } catch (error) {
    return { surroundings: new Map(), error }
  }
}

/** The hooks around a route's lookup. */
interface Surroundings {
  /** Nothing that comes behind the lookup could refuse the request. */
  isLast: boolean
  /** There are onSend hooks of others, which see what is sent. */
  hasOthersOnSend: boolean
  /** None of them comes ahead of ours. */
  isFirstOnSend: boolean
  /** None of them comes behind ours. */
  isLastOnSend: boolean
}

/** The surroundings if the list can't be read. */
const UNKNOWN: Surroundings = {
  isLast: false, hasOthersOnSend: true, isFirstOnSend: false, isLastOnSend: false
}

/** The methods of routes that may be cached. */
const CACHED = ['GET', 'HEAD'] as const
const LATER_HOOKS = ['preParsing', 'preValidation', 'preHandler'] as const
const HOOKS = ['onRequest', ...LATER_HOOKS, 'onSend'] as const

/** The names of our own hooks of the instance, and of the last onSend hooks of routes. */
export const OUR_HOOKS = { arrival: 'routeCacheArrival', capture: 'routeCacheCapture', announce: 'routeCacheAnnounce' } as const

/** As much of an app as prints its routes. */
interface Printer { printRoutes: (options: object) => string }

/** A route as the printer has it: `store` is what Fastify keeps with it. */
interface PrintedRoute { store?: unknown }

/** The surroundings of each lookup, by its name. Throws if the routes can't be printed: a constraint may have no text. */
export function readSurroundings (app: Printer): Map<string, Surroundings> {
  const found = new Map<string, Surroundings>()
  const look = ({ store }: PrintedRoute): void => {
    const hooks = namesOf(store)
    const lookup = hooks?.onRequest.find((name) => name.startsWith('routeCacheLookup'))
    if (hooks !== null && lookup !== undefined) found.set(lookup, both(found.get(lookup), describe(lookup, hooks)))
  }
  for (const method of CACHED) app.printRoutes(printing(method, look))
  return found
}

/** Options of the printer, which puts the app's function in their `buildPrettyMeta`. */
function printing (method: string, look: (route: PrintedRoute) => void): object {
  const buildPrettyMeta = (route: PrintedRoute): object => {
    look(route)
    return {}
  }
  const options = { method, commonPrefix: false, includeMeta: [] }
  return Object.defineProperty(options, 'buildPrettyMeta', { get: () => buildPrettyMeta, set: () => {} })
}

type Names = Record<typeof HOOKS[number], readonly string[]>

/** The hooks' names; null where they are not where Fastify has them today. */
function namesOf (store: unknown): Names | null {
  if (typeof store !== 'object' || store === null) return null
  const names: Partial<Names> = {}
  for (const hook of HOOKS) {
    const functions = (store as Record<string, unknown>)[hook]
    if (functions !== null && !Array.isArray(functions)) return null
    names[hook] = (functions ?? []).map((one: { name?: unknown }) => String(one.name).replace(/^bound /, ''))
  }
  return names as Names
}

/** One route may stand under two paths. */
function both (one: Surroundings | undefined, other: Surroundings): Surroundings {
  if (one === undefined) return other
  return {
    isLast: one.isLast && other.isLast,
    hasOthersOnSend: one.hasOthersOnSend || other.hasOthersOnSend,
    isFirstOnSend: one.isFirstOnSend && other.isFirstOnSend,
    isLastOnSend: one.isLastOnSend && other.isLastOnSend
  }
}

function describe (lookup: string, hooks: Names): Surroundings {
  const ours: readonly string[] = Object.values(OUR_HOOKS)
  return {
    isLast: hooks.onRequest.at(-1) === lookup && LATER_HOOKS.every((hook) => hooks[hook].length === 0),
    hasOthersOnSend: hooks.onSend.some((name) => !ours.includes(name)),
    isFirstOnSend: hooks.onSend[0] === OUR_HOOKS.capture,
    isLastOnSend: hooks.onSend.at(-1) === OUR_HOOKS.announce
  }
}

/** The routes that are there, for a warning, in the printer's text; null where there are none. */
export function printedRoutes (app: Printer & { supportedMethods: readonly string[] }): string | null {
  try {
    const printed = app.supportedMethods.map((method) => app.printRoutes({ method, commonPrefix: false }).trim())
    return printed.filter((text) => text !== '' && text !== '(empty tree)').join('\n') || null
  } catch {
    return 'of a kind that can not be printed'
  }
}
