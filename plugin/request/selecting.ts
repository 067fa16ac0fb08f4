// The key and variant that a request of a cached route selects, by the policy; or why it goes past the cache. At once,
// unless a function of the policy or a validator gives a promise.
import type { ResponseCache } from '../cache/cache.js'
import { IDENTITY, MATCHED_HOST, VERSION } from '../cache/lookup.js'
import type { Selection } from '../cache/claim.js'
import { parseCacheControl, fingerprint, type RequestFields } from '../http/headers.js'
import { RouteCacheError, show } from '../errors.js'
import { hasContent, isOriginForm, asksForUpgrade } from '../http/request.js'
import { boundKey, isThenable, type KeySource } from '../key/key.js'
import type { RequestView, Site, Exchange } from './exchange.js'
import { validatedParts, validatedSource } from './validation.js'
import { policyFailed, type Policy } from '../route/policy.js'
import type { Caller } from '../telling/events.js'
import type { BypassReason, RefusalReason } from '../telling/outcome.js'
import {
  identify, unpromised, credentialsIn, lackedBy, hasChangedSession, type UserMark, type MarkedRequest, type MarkReason
} from '../users/identity.js'

/** The key and selection that are looked up. */
export interface Wanted {
  key: string
  selection: Selection
  /** A stored entry is not good enough for this client. */
  toRefresh: boolean
  /** The user who asks; undefined: nobody in particular. */
  identity: string | undefined
}

/** Why a request goes past the cache; `mark`: what shows that the request is somebody's own. */
interface Bypassed { bypass: BypassReason, mark?: UserMark }

export type Selecting = Wanted | Bypassed

/** The request that selects, and its headers as they came. */
export interface Selector {
  site: Site
  caller: Caller
  request: RequestView
  /** May be replaced by a copy that lasts: validation takes some away. */
  headers: RequestView['headers']
}

/** Never throws or rejects. */
export function select (cache: ResponseCache, selector: Selector): Selecting | Promise<Selecting> {
  const { site, request, headers } = selector
  const { policy } = site
  if (!cache.enabled) return { bypass: 'disabled' }
  if (asksForUpgrade(headers)) return { bypass: 'upgrade' }
  if (hasContent(headers, request.raw)) return { bypass: 'content' }
  if (!isOriginForm(request.originalUrl)) return { bypass: 'target' }
  if (site.isUnsaid) return { bypass: 'unsaid' }
  try {
    const identity = identify(policy, request)
    const mark = markOf(policy, request, { identity, headers })
    if (mark !== null) return ownOf(selector, mark)
    const made = policy.when === null ? sourced(selector, identity) : allowed(selector, identity, policy.when(request))
    return made instanceof Promise ? made.catch((error: unknown) => failed(selector, error)) : made
  } catch (error) {
    return failed(selector, error)
  }
}

/** The bypass of a request that is somebody's own. */
function ownOf ({ site, caller }: Selector, mark: UserMark): Bypassed {
  warnOfMark(site, caller, mark)
  return { bypass: mark.reason, mark }
}

function failed ({ site, caller }: Selector, error: unknown): Selecting {
  policyFailed(site.policy, caller, error)
  return { bypass: 'policy' }
}

type Made = Selecting | Promise<Selecting>

function allowed (selector: Selector, identity: string | undefined, answer: unknown): Made {
  if (isThenable(answer)) return Promise.resolve(answer).then((isAllowed) => allowed(selector, identity, Boolean(isAllowed)))
  return answer ? sourced(selector, identity) : { bypass: 'when' }
}

function sourced (selector: Selector, identity: string | undefined): Made {
  const { site, request } = selector
  // In front of the handler the request is validated already, and was refused unless the handler wants to see to that.
  const isInvalid = (request as { validationError?: unknown }).validationError != null
  if (site.place !== 'onRequest') return keyed(selector, identity, isInvalid ? null : request)
  const source = isValidated(site, request) ? validatedSource(request) : request
  if (source instanceof Promise) return source.then((source) => keyed(selector, identity, source))
  return keyed(selector, identity, source)
}

/** Whether the route has a validation of what selects; that is known when the app is ready. */
export function isValidated (site: Site, request: RequestView): boolean {
  site.validated ??= validatedParts(request)
  return site.validated.length > 0
}

function keyed (selector: Selector, identity: string | undefined, source: KeySource | null): Made {
  if (source === null) return { bypass: 'invalid' }
  const { site: { policy, looksAtRequest }, request } = selector
  const seen = looksAtRequest ? seenWith(request, source) : request
  // Nobody awaits the key's promise if a mark of a user is found first, or if no key can be made of the changed query.
  const key = unpromised(policy.key(source, seen))
  const made = (key: unknown): Wanted => ({
    key: checkKey(key),
    selection: selectionOf(selector, { identity, tags: policy.tags(source, seen) }),
    toRefresh: asksForRefresh(selector.headers) && unpromised(policy.honourNoCache(request)) === true,
    identity
  })
  const whole = (): Made => isThenable(key) ? Promise.resolve(key).then(made) : made(key)
  const judged = (mark: UserMark | null): Made => mark === null ? whole() : ownOf(selector, mark)
  const mark = identity === undefined ? queryMark(selector, source, key) : null
  return mark instanceof Promise ? mark.then(judged) : judged(mark)
}

/** The key that a policy gives, as it is stored. Throws FRC_KEY where it is not a non-empty string. */
function checkKey (key: unknown): string {
  if (typeof key === 'string' && key !== '') return boundKey(key)
  throw new RouteCacheError('FRC_KEY', `a key is a non-empty string, not ${show(key)}`)
}

type QueryMark = UserMark | null

/** A credential in the query that the key lacks. */
function queryMark (
  { site: { policy }, request }: Selector, source: KeySource, key: unknown
): QueryMark | Promise<QueryMark> {
  if (policy.shared) return null
  const found = credentialsIn(request)
  if (found.length === 0) return null
  const make = ({ params, query }: KeySource, changed: (url: string) => string): unknown => {
    // Few keys are made of the URL, and it may be long.
    const url = { get: () => changed(request.url) }
    const originalUrl = { get: () => changed(request.originalUrl) }
    const seen = { params: { value: params }, query: { value: query }, url, originalUrl }
    return unpromised(policy.key({ params, query }, Object.create(request, seen)))
  }
  return lackedBy(found, { source, key, make })
}

type Selects = Pick<Wanted, 'identity'> & Pick<Selection, 'tags'>

function selectionOf (selector: Selector, { identity, tags }: Selects): Selection {
  const { site: { policy: { needs, version, maxVariants }, hint }, request } = selector
  // Read now: when the response is stored, the socket may be gone that says whether a proxy is trusted.
  const host = request.host || undefined
  return {
    needs,
    hint,
    fingerprint: (members) => fingerprint(members, Object.assign({}, selector.headers, {
      // Under any protocol, and behind a proxy that the app trusts, that of `request.host`.
      host,
      // The pseudo fields are set in any case: a header field may have any name.
      [MATCHED_HOST]: matchedHost(selector.headers),
      [IDENTITY]: identity,
      [VERSION]: version ?? undefined
    })),
    tags,
    maxVariants
  }
}

/** As Fastify's router reads it. */
function matchedHost (headers: RequestView['headers']): RequestView['headers'][string] {
  return headers['host'] || headers[':authority']
}

/** The request with params and query as the handler will see them, for a key function. */
function seenWith (request: RequestView, { params, query }: KeySource): RequestView {
  if (params === request.params && query === request.query) return request
  return Object.create(request, { params: { value: params }, query: { value: query } }) as RequestView
}

/** RFC 9111 §5.2.1.4, §5.4: `no-cache`, or where there is no Cache-Control, the old Pragma. */
function asksForRefresh (headers: RequestView['headers']): boolean {
  const field = headers['cache-control'] ?? headers.pragma
  return field !== undefined && parseCacheControl(String(field)).has('no-cache')
}

// Whether a response is for whoever asked at the lookup, and what the log says of requests that are somebody's own.

/** The user who asks, by the policy's identity, and the request's headers. */
interface Asking { identity: string | undefined, headers: RequestFields }

/** The mark that shows that the request is somebody's own; null: none, or the route decides about such requests. */
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
function warnOfMark (site: Explained, { log }: Caller, { reason, detail, words }: UserMark): void {
  if (site.isExplained || (reason === 'cookie' && site.policy.namesCookies)) return
  site.isExplained = true
  const advice = site.policy.identity === null
    ? 'say what tells users apart, cache: { identity: (request) => ... }, or that all may get the same, cache: { shared: true }'
    : 'its identity gave undefined for them, which says that nobody in particular asks: have it give what tells these users apart'
  log.warn({ route: site.policy.route, mark: detail }, `requests with ${words} go past the cache of this route: ${advice}${WAYS[reason] ?? ''}`)
}

/** Advice if something else may be meant. */
const WAYS: Partial<Record<MarkReason, string>> = {
  cookie: "; or which cookies count, cache: { cookies: ['session'] }",
  credential: '; or that it selects the response, cache: { vary: [...] }',
  query: '; or put it in the key'
}
