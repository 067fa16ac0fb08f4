// Nest on its Fastify adapter. Nest runs guards, pipes and interceptors inside the handler that it gives to Fastify, so a
// hit would pass them by: 403 while the cache is cold, 200 once it is warm. No option of a route can say that such a check
// is there, so on an app of Nest's no route is cached: one with a cached route does not start.
import { RouteCacheError } from '../errors.js'
import { own } from '../key/key.js'

/** The message of Nest's version strategy for a version that the strategy can't use. */
const NEST_VERSION = 'Version constraint should be a string or an array of strings.'

/** Since Nest 12 its adapter puts a function with this line around the handlers of paths with parameters. */
const NEST_PARAMS = /params\[name\] === ['"]['"] && name !== ['"]\*['"]/

/**
 * Whether a route's handler is the method of a Nest controller: Nest copies the method's metadata to it, which are kept by
 * reflect-metadata, a part of each Nest app. Those that are wrapped have none, and are known by their text.
 */
export function isNestHandler (handler: unknown): boolean {
  const { hasMetadata } = Reflect as { hasMetadata?: (name: string, target: object) => boolean }
  if (typeof hasMetadata !== 'function' || typeof handler !== 'function') return false
  if (['path', 'method'].every((name) => hasMetadata(name, handler))) return true
  return NEST_PARAMS.test(Function.prototype.toString.call(handler))
}

/** Whether Nest's adapter made the Fastify instance with this `initialConfig`. */
export function isNestInstance (config: unknown): boolean {
  return [config, own(config, 'routerOptions')].some((options) => {
    const validate = own(own(own(options, 'constraints'), 'version'), 'validate')
    return typeof validate === 'function' && Function.prototype.toString.call(validate).includes(NEST_VERSION)
  })
}

/** Throws FRC_OPTION where there is a cached route, as the app is Nest's. */
export function refuseUnderNest (cached: Iterable<{ policy: { route: string } }>): void {
  const [first] = cached
  if (first === undefined) return
  throw new RouteCacheError('FRC_OPTION', `route ${first.policy.route}: its cache option can't be used under Nest. Nest's guards run inside the ` +
    'handler, which a hit does not run, so it would be served to everybody. Cache values instead, in an interceptor or a ' +
    'service, with app.cache.getOrSet: Nest runs interceptors behind its guards')
}
