// Nest on its Fastify adapter. Nest runs guards, pipes and interceptors inside the handler that it gives to Fastify, so a
// hit ahead of the handler would pass them by: 403 while the cache is cold, 200 once it is warm. So on an app of Nest's a
// cached route is one that `fastify-route-cache/nest` has made, whose lookup waits until Nest comes to the controller's
// method; or it says that no guard matters. An app with another one does not start.
import { RouteCacheError, optionError } from '../errors.js'
import { own } from '../key/key.js'
import type { Warning } from '../checks/warnings.js'

/** The message of Nest's version strategy for a version that the strategy can't use. */
const NEST_VERSION = 'Version constraint should be a string or an array of strings.'

/** Since Nest 12 its adapter puts a function with this line around the handlers of paths with parameters. */
const NEST_PARAMS = /params\[name\] === ['"]['"] && name !== ['"]\*['"]/

/** Nest names its handlers so, `Items.list`, whatever a minifier makes of the code. */
const NEST_NAME = /^[^\s.]+\.[^\s.]+$/

/**
 * Whether a route's handler is the method of a Nest controller: Nest copies the method's metadata to it, which are kept by
 * reflect-metadata, a part of each Nest app. Those that are wrapped have none, and are known by their text or name.
 */
export function isNestHandler (handler: unknown): boolean {
  const { hasMetadata } = Reflect as { hasMetadata?: (name: string, target: object) => boolean }
  if (typeof hasMetadata !== 'function' || typeof handler !== 'function') return false
  if (['path', 'method'].every((name) => hasMetadata(name, handler))) return true
  return NEST_NAME.test(handler.name) || NEST_PARAMS.test(Function.prototype.toString.call(handler))
}

/** The names under which the decorators of `fastify-route-cache/nest` keep what they were given. */
const DECORATED = { '@Cached': 'fastify-route-cache:cached', '@Invalidates': 'fastify-route-cache:invalidates' } as const

/** Where a route's config names the decorator of its method: what Nest puts around the method hides that one's metadata. */
export const DECORATOR = Symbol.for('fastify-route-cache.decorator')

/** Throws FRC_OPTION for a method whose decorator nobody has read, as the app has the plugin without the module. */
export function refuseUnread (route: string, { handler, config }: { handler: unknown, config?: unknown }): void {
  const { getMetadata } = Reflect as { getMetadata?: (name: string, target: object) => unknown }
  if (typeof getMetadata !== 'function' || typeof handler !== 'function') return
  for (const [decorator, name] of Object.entries(DECORATED)) {
    const isNamed = (config as { [DECORATOR]?: unknown } | undefined)?.[DECORATOR] === decorator
    if (!isNamed && (getMetadata(name, handler) ?? false) === false) continue
    throw new RouteCacheError('FRC_OPTION', `route ${route}: ${decorator} has no effect, as this app has the plugin without the module, which reads ` +
      'decorators. Import RouteCacheModule.forRoot(options) of fastify-route-cache/nest in the root module, and leave the plugin\'s ' +
      'registration in main.ts out')
  }
}

/** Whether Nest's adapter made the Fastify instance with this `initialConfig`. */
export function isNestInstance (config: unknown): boolean {
  return [config, own(config, 'routerOptions')].some((options) => {
    const validate = own(own(own(options, 'constraints'), 'version'), 'validate')
    return typeof validate === 'function' && Function.prototype.toString.call(validate).includes(NEST_VERSION)
  })
}

/** A route's place under Nest. */
interface BehindGuards {
  /** The decorator that gives the option, and its method, in words. */
  place: string
  /** Something in front of it may know who asks, and its option says nothing of that; in words. Null: not so. */
  unsaid: string | null
  /** The query values that its method takes by name; `*`: the whole query. */
  query: readonly string[]
}

const behind = new WeakMap<object, BehindGuards>()

/** Says of a route's option that the route's handler takes its turn behind Nest's guards. */
export function putBehindGuards (option: object, place: BehindGuards): void {
  behind.set(option, place)
}

/** Null: nobody has said so. */
export function behindGuards (option: unknown): BehindGuards | null {
  return typeof option === 'object' && option !== null ? behind.get(option) ?? null : null
}

/** One for all of them: each goes past the cache. */
export function unsaidUsers (routes: ReadonlyMap<string, string>): Warning | null {
  if (routes.size === 0) return null
  const list = Array.from(routes, ([route, why]) => `${route} (${why})`)
  return {
    check: 'unsaid-user',
    route: null,
    concerned: [...routes.keys()],
    message: `not cached, as they may answer each client otherwise and don't say so: ${list.join(', ')}. Write @Cached({ shared: true }) where all who ` +
      'get through get the same, a throttler in front or not; @Cached({ identity: (request) => ... }) where responses differ by user; ' +
      '@Cached({ vary: [...] }) where they differ by a request header; or a key function'
  }
}

/** Templates of a method's @Invalidates, as they are written. */
interface NamedTemplates { keys: ReadonlyArray<{ written: string }>, tags: ReadonlyArray<{ written: string }> }

/**
 * In a template of a writer a name that is none of the path's is a query value. Where the body's was meant, nothing would be
 * invalidated, and nobody told: so a query value is named as one. Throws FRC_OPTION.
 */
export function refuseUnknownNames (route: string, { keys, tags }: NamedTemplates, params: readonly string[]): void {
  for (const { written } of [...keys, ...tags]) {
    for (const [, name] of written.matchAll(/\{([^{}]+)\}/g)) {
      if (params.includes(name!) || /^(?:query|params)\./.test(name!)) continue
      throw optionError(`route ${route}`, '@Invalidates', written, `{${name}} is no param of its path; write {query.…} for a query value, and a ` +
        'function for what the body or the answer says: @Invalidates((request, reply, payload) => ...)')
    }
  }
}

interface NestSite { isAwaited: boolean, policy: { route: string, skipsGuards: boolean } }

/** Throws FRC_OPTION for a cached route that would be served ahead of guards, as the app is Nest's. */
export function refuseUnderNest (cached: Iterable<NestSite>): void {
  const found = [...cached].find(({ isAwaited, policy }) => !isAwaited && !policy.skipsGuards)
  if (found === undefined) return
  throw new RouteCacheError('FRC_OPTION', `route ${found.policy.route}: its cache option can't be used under Nest. Nest's guards run inside the ` +
    'handler, which a hit does not run, so it would be served to everybody. Write @Cached() on the controller\'s method, and import ' +
    'RouteCacheModule: both are in fastify-route-cache/nest, whose hits come behind the guards. Or cache values, with app.cache.getOrSet. Or, ' +
    'if no guard, pipe or interceptor decides who may see the response, add guards: "skip"')
}
