// What a request of a cached route asks for, by the policy: its key and its variant; or why it goes past the cache. At once,
// unless a function of the policy or a validator gives a promise.
import type { ResponseCache } from './cache.js'
import type { Caller } from './caller.js'
import { credentials, explain, identify, unpromised } from './credentials.js'
import type { RequestView, Site } from './exchange.js'
import { parseCacheControl } from './http/cache-control.js'
import { isForTheHandler } from './http/conditional.js'
import { isOriginForm } from './http/request-target.js'
import { fingerprint } from './http/vary.js'
import type { KeySource } from './key.js'
import { hasValidation, isThenable, validatedSource } from './key-source.js'
import type { BypassReason } from './outcome.js'
import { checkKey, policyFailed } from './policy.js'
import { IDENTITY, VERSION, type Selection } from './variant.js'

/** What is looked up. */
export interface Wanted {
  key: string
  selection: Selection
  /** What is there is not good enough for this client. */
  toRefresh: boolean
  /** Who asks; undefined: nobody in particular. */
  identity: string | undefined
}

export type Selecting = Wanted | { bypass: BypassReason }

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
  const { site, caller, request, headers } = selector
  const { policy } = site
  if (!cache.enabled) return { bypass: 'disabled' }
  if (isForTheHandler(headers)) return { bypass: 'conditional' }
  if (!isOriginForm(request.originalUrl)) return { bypass: 'target' }
  try {
    const identity = identify(policy, request)
    const reason = policy.shared || identity !== undefined ? null : credentials(request, headers)
    if (reason !== null) {
      explain(site, caller, reason)
      return { bypass: reason }
    }
    const made = policy.when === null ? sourced(selector, identity) : allowed(selector, identity, policy.when(request))
    return made instanceof Promise ? made.catch((error: unknown) => failed(selector, error)) : made
  } catch (error) {
    return failed(selector, error)
  }
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
function isValidated (site: Site, request: RequestView): boolean {
  site.isValidated ??= hasValidation(request)
  return site.isValidated
}

function keyed (selector: Selector, identity: string | undefined, source: KeySource | null): Made {
  if (source === null) return { bypass: 'invalid' }
  const { site: { policy, looksAtRequest }, request } = selector
  const seen = looksAtRequest ? seenWith(request, source) : request
  const key: unknown = policy.key(source, seen)
  const made = (key: unknown): Wanted => ({
    key: checkKey(key),
    selection: selectionOf(selector, { identity, tags: policy.tags(source, seen) }),
    toRefresh: asksForRefresh(selector.headers) && unpromised(policy.honourNoCache(request)) === true,
    identity
  })
  return isThenable(key) ? Promise.resolve(key).then(made) : made(key)
}

type Selects = Pick<Wanted, 'identity'> & Pick<Selection, 'tags'>

function selectionOf (selector: Selector, { identity, tags }: Selects): Selection {
  const { policy: { needs, version }, hint } = selector.site
  return {
    needs,
    hint,
    // The pseudo fields are set in any case: a header field may have any name.
    fingerprint: (members) =>
      fingerprint(members, { ...selector.headers, [IDENTITY]: identity, [VERSION]: version ?? undefined }),
    tags
  }
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
