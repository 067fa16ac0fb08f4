// What a request of a cached route asks for, by the policy: its key and its variant; or why it goes past the cache. At once,
// unless a function of the policy or a validator gives a promise.
import type { ResponseCache } from '../cache/cache.js'
import { IDENTITY, MATCHED_HOST, VERSION, type Selection } from '../cache/variant.js'
import { parseCacheControl } from '../http/cache-control.js'
import { RouteCacheError, show } from '../errors.js'
import { fingerprint, type RequestFields } from '../http/headers.js'
import { hasContent, isOriginForm, asksForUpgrade } from '../http/request.js'
import { boundKey, keyless, type KeySource } from '../key/key.js'
import { Keyless, copyPlain, kindOf } from '../key/plain-data.js'
import { isThenable } from '../key/thenable.js'
import type { RequestView, Site, Exchange } from './exchange.js'
import { runAhead, type Validate } from './remembered-validation.js'
import { policyFailed, type Policy } from '../route/policy.js'
import type { Caller } from '../telling/caller.js'
import type { BypassReason, RefusalReason } from '../telling/outcome.js'
import { identify, unpromised } from '../users/identity.js'
import {
  credentialsIn, lackedBy, hasChangedSession, type UserMark, type MarkedRequest, type MarkReason
} from '../users/user-marks.js'

/** What is looked up. */
export interface Wanted {
  key: string
  selection: Selection
  /** What is there is not good enough for this client. */
  toRefresh: boolean
  /** Who asks; undefined: nobody in particular. */
  identity: string | undefined
}

/** Why it goes past the cache; `mark`: of a request that is somebody's own, by what that is seen. */
export interface Bypassed { bypass: BypassReason, mark?: UserMark }

export type Selecting = Wanted | Bypassed

/** Who selects: the request, and its headers as they came. */
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

/** Of a request that is somebody's own. */
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
  // It is not waited for where a mark is found first, nor where it fails to be made of another query.
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
    fingerprint: (members) => fingerprint(members, {
      ...selector.headers,
      // Under any protocol, and behind a proxy that the app trusts, that of `request.host`.
      host,
      // The pseudo fields are set in any case: a header field may have any name.
      [MATCHED_HOST]: matchedHost(selector.headers),
      [IDENTITY]: identity,
      [VERSION]: version ?? undefined
    }),
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

// Params and query as the handler will see them: validated, so coerced and with defaults. `/users/7` and `/users/007`, or
// `?page=1` and its default, are then one key; and what the validation refuses has none.

export type ValidatedPart = typeof PARTS[number]

/** As much of a request as is needed to validate it. */
export interface Validated extends KeySource {
  headers: unknown
  getValidationFunction: (part: ValidatedPart) => Validate | undefined
}

/**
 * For a lookup ahead of the validation: on copies, one part after the other until one is refused, as Fastify does it. Null
 * where the request is not valid; a promise as validators give.
 */
export function validatedSource (request: Validated): KeySource | null | Promise<KeySource | null> {
  return validatedFrom(request, PARTS, { params: request.params, query: request.query })
}

type Sourcing = KeySource | null | Promise<KeySource | null>

function validatedFrom (request: Validated, parts: readonly ValidatedPart[], made: KeySource): Sourcing {
  const [part, ...later] = parts
  if (part === undefined) return made
  const validate = request.getValidationFunction(part)
  if (validate === undefined) return validatedFrom(request, later, made)
  const complete = (value: unknown): Sourcing =>
    value === INVALID ? null : validatedFrom(request, later, withPart(made, part, value))
  const value = validated(validate, ...inputOf(request, part))
  return value instanceof Promise ? value.then(complete) : complete(value)
}

/** The input, and a copy of it. */
function inputOf (request: Validated, part: ValidatedPart): [unknown, unknown] {
  if (part === 'headers') return [request.headers, { ...request.headers as object }]
  const scope = part === 'params' ? part : 'query'
  return [request[scope], copyOf(request, scope)]
}

/** Headers are no part of it. */
function withPart ({ params, query }: KeySource, part: ValidatedPart, value: unknown): KeySource {
  return { params: part === 'params' ? value : params, query: part === 'querystring' ? value : query }
}

/** Those for which the route has a validation. */
export function validatedParts (request: Pick<Validated, 'getValidationFunction'>): ValidatedPart[] {
  return PARTS.filter((part) => request.getValidationFunction(part) !== undefined)
}

const PARTS = ['params', 'querystring', 'headers'] as const
const INVALID = Symbol('invalid')

/** Throws FRC_KEY for what can't be copied: a validation would change the request's own. */
function copyOf (source: KeySource, scope: 'params' | 'query'): unknown {
  const part = source[scope]
  const copy = copyPlain(part)
  if (copy !== part || typeof part !== 'object' || part === null) return copy
  throw keyless(new Keyless(kindOf(part)), scope)
}

/** Params and query as they are by now, for later: a validation changes them in place. */
export function copySource ({ params, query }: KeySource): KeySource {
  return { params: copyPlain(params), query: copyPlain(query) }
}

/** As Fastify does it: false, or a result with an error, refuses; a result with a value replaces the input. */
function validated (validate: Validate, input: unknown, copy: unknown): unknown {
  const result = runAhead(validate, input, copy)
  // Fastify takes what an async validator gives for passed or failed, and no more.
  if (isThenable(result)) return Promise.resolve(result).then((passed) => passed === false ? INVALID : copy, () => INVALID)
  if (result === false) return INVALID
  if (typeof result !== 'object' || result === null) return copy
  if ('error' in result && result.error) return INVALID
  return 'value' in result ? result.value : copy
}

// Whether a response is for whoever asked at the lookup, and what the log says of requests that are somebody's own.

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
