// Routes that have hooks of their own in front of the handler, and don't say whom their responses are for: such a hook most
// likely finds out who asks, perhaps by means that the plugin does not know. That is said once, at start, and nothing is
// refused, as other plugins add hooks to routes, too. And how a hook of ours is put behind them.
import type { Log } from '../telling/events.js'
import { own } from '../key/key.js'
import type { Policy } from '../route/policy.js'

const HOOKS = ['onRequest', 'preValidation', 'preHandler'] as const

/** The route as the app has declared it, before hooks of ours are added. */
type HookedRoute = Partial<Record<typeof HOOKS[number], unknown>>

/** Whether hooks stand in front of its handler, and its policy does not say whether users are told apart. */
export function isUnsaid (route: HookedRoute, { shared, identity, written }: Policy): boolean {
  const vary = own(written, 'vary')
  const isSaid = shared || identity !== null || (Array.isArray(vary) && vary.length > 0)
  return !isSaid && HOOKS.some((name) => [route[name] ?? []].flat().length > 0)
}

/** One line for all of them. */
export function warnOfUnsaid (log: Pick<Log, 'warn'>, routes: readonly string[]): void {
  if (routes.length === 0) return
  log.warn({ routes }, 'fastify-route-cache: these cached routes have hooks of their own in front of the handler and don\'t say ' +
    'whom their responses are for. Write cache: { shared: true } where all who get through get the same, cache: { identity: (request) => ' +
    '... } where responses differ by user, or cache: { vary: [...] } where they differ by a request header')
}

/**
 * A copy with ours behind: the array is the user's, and Fastify puts the same one on the HEAD route. A null, or what else is
 * no hook, stays in it for Fastify to refuse.
 */
export function withHook<T> (theirs: T | T[] | undefined, ours: T): T[] {
  return theirs === undefined ? [ours] : [theirs, ours].flat() as T[]
}
