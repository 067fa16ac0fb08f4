// Who asks, and whether what they get may be anybody's: P5. Looked at when the lookup is done, and again at the fill.
import type { Caller } from './caller.js'
import { RouteCacheError, show } from './errors.js'
import type { RequestFields } from './http/vary.js'
import type { Policy } from './policy.js'

/** Who asks; undefined where the policy doesn't tell users apart, or nobody in particular asks. */
export function identify ({ identity }: Policy, request: object): string | undefined {
  const name = unpromised(identity?.(request))
  if (name == null || name === '') return undefined
  // Any other value has a text that all users share, such as "[object Promise]" or "NaN".
  if (typeof name === 'string' || Number.isSafeInteger(name)) return String(name)
  throw new RouteCacheError('FRC_OPTION', `cache.identity gave ${show(name)}; it must give a string, at once`)
}

/** A promise that nobody waits for must not end the process when it rejects. */
export function unpromised (value: unknown): unknown {
  if (value instanceof Promise) value.catch(() => {})
  return value
}

/** Who asked, when the lookup was done, and with which headers. */
interface Asked {
  identity: string | undefined
  headers: RequestFields
}

/**
 * Whether the request has become somebody else's since the lookup: a session that the handler opened, a user that it looked
 * up. Its response then belongs neither under the key nor under the variant that the lookup was for.
 */
export function hasChangedHands (policy: Policy, request: object, { identity, headers }: Asked): boolean {
  if (policy.shared) return false
  const present = identify(policy, request)
  if (present !== identity || usesSession(request)) return true
  return present === undefined && credentials(request, headers) !== null
}

/** Whether the handler wrote to the session, as @fastify/secure-session and @fastify/session tell. */
function usesSession (request: object): boolean {
  const { session } = request as { session?: { changed?: unknown, isModified?: () => unknown } | null }
  if (typeof session !== 'object' || session === null) return false
  return session.changed === true || (typeof session.isModified === 'function' && session.isModified() === true)
}

/** What tells that the request is somebody's own, so that its response must not be another's: RFC 9111 §3.5, §7.3. */
export function credentials (request: object, headers: RequestFields): Credentials | null {
  if (headers.authorization !== undefined) return 'authorization'
  // What @fastify/jwt and passport set, from cookies too.
  if ((request as { user?: unknown }).user != null) return 'user'
  // Cookies that the app has no way to read don't select anything.
  if (headers.cookie !== undefined && ('cookies' in request || 'session' in request)) return 'cookie'
  return null
}

type Credentials = keyof typeof CREDENTIALS

const CREDENTIALS = { authorization: 'Authorization', user: 'a request.user', cookie: 'cookies that the app can read' } as const

/** Once per route: what to do so that these requests are served from the cache. */
export function explain (site: { policy: Policy, isExplained: boolean }, { log }: Caller, reason: Credentials): void {
  if (site.isExplained) return
  site.isExplained = true
  log.warn({ route: site.policy.route }, `requests with ${CREDENTIALS[reason]} go past the cache of this route: say what tells ` +
    'users apart, cache: { identity: (request) => ... }, or that all may get the same, cache: { shared: true }')
}
