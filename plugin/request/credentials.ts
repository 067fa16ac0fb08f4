// Whether a response is for whoever asked at the lookup, and what the log says of requests that are somebody's own.
import type { Caller } from '../telling/caller.js'
import type { Exchange } from './exchange.js'
import type { RequestFields } from '../http/headers.js'
import { identify } from '../users/identity.js'
import type { RefusalReason } from '../telling/outcome.js'
import { policyFailed, type Policy } from '../route/policy.js'
import { hasChangedSession, type MarkedRequest, type MarkReason, type UserMark } from '../users/user-marks.js'

/** Who asks, by the policy's identity, and with which headers. */
interface Asking { identity: string | undefined, headers: RequestFields }

/** What tells that the request is somebody's own; null: nothing does, or the route says what is to become of it. */
export function markOf (policy: Policy, request: MarkedRequest, { identity, headers }: Asking): UserMark | null {
  return policy.shared || identity !== undefined ? null : policy.marking(request, headers)
}

/**
 * Why a response is not stored where the request has become somebody else's since the lookup: by a session that the handler
 * opened, a user that it looked up. It belongs neither under the key nor under the variant that the lookup was for.
 */
export function refusedAsOwn (exchange: Exchange): Extract<RefusalReason, 'credentials' | 'policy'> | null {
  const { site, caller, identity } = exchange
  try {
    if (site.policy.shared) return null
    if (identify(site.policy, exchange.request) !== identity) return 'credentials'
    const mark = laterMark(exchange)
    if (mark === null) return null
    warnOfMark(site, caller, mark)
    return 'credentials'
  } catch (error) {
    policyFailed(site.policy, caller, error)
    return 'policy'
  }
}

function laterMark ({ site: { policy }, request, identity, headers }: Exchange): UserMark | null {
  if (hasChangedSession(request)) return CHANGED_SESSION
  // The handler, or a hook behind the lookup, may have set headers, too.
  return markOf(policy, request, { identity, headers }) ?? markOf(policy, request, { identity, headers: request.headers })
}

const CHANGED_SESSION: UserMark = { reason: 'session', detail: 'session', words: 'a session that is opened or changed' }

interface Explained { policy: Policy, isExplained: boolean }

/** Once per route, unless the app has named the very mark: what to do so that these requests are served from the cache. */
export function warnOfMark (site: Explained, { log }: Caller, { reason, detail, words }: UserMark): void {
  if (site.isExplained || (reason === 'cookie' && site.policy.namesCookies)) return
  site.isExplained = true
  log.warn({ route: site.policy.route, mark: detail }, `requests with ${words} go past the cache of this route: say what tells ` +
    `users apart, cache: { identity: (request) => ... }, or that all may get the same, cache: { shared: true }${WAYS[reason] ?? ''}`)
}

/** What else may be meant. */
const WAYS: Partial<Record<MarkReason, string>> = {
  cookie: "; or which cookies count, cache: { cookies: ['session'] }",
  credential: '; or that it selects the response, cache: { vary: [...] }',
  query: '; or put it in the key'
}
