// Where hooks, and middleware of other frameworks, put who asks: the names of the properties, on Fastify's request and on
// Node's. All are read for each request, so they stand in expressions: reads whose names are known cost a nanosecond each as
// long as they miss, a tenth of what a loop over names takes. Each expression is also the list of its names, which is found
// out once by having it read from an object that notes what it is asked for.

/** Anything that has properties. */
export type Owner = Readonly<Record<string, unknown>>

/**
 * The first user that there may be in these places; null or undefined: there is none. The two are read side by side, as V8
 * remembers for each read which kinds of objects it met: those of Fastify are many in an app with many contexts.
 */
export function anyUser (request: Owner, raw: Owner): unknown {
  return request.user ?? raw.user ?? request.account ?? raw.account ?? request.auth ?? raw.auth ??
    request.currentUser ?? raw.currentUser ?? request.principal ?? raw.principal ?? request.userId ?? raw.userId ??
    request.tenant ?? raw.tenant ?? request.tenantId ?? raw.tenantId ?? request.uid ?? raw.uid ??
    request.identity ?? raw.identity ?? request.claims ?? raw.claims ?? request.viewer ?? raw.viewer ??
    request.customer ?? raw.customer ?? request.member ?? raw.member ?? request.oidc ?? raw.oidc ??
    request.kauth ?? raw.kauth ?? request.authUser ?? raw.authUser ??
    request.authenticatedUser ?? raw.authenticatedUser ?? request.loggedInUser ?? raw.loggedInUser ??
    request.userInfo ?? raw.userInfo ?? request.username ?? raw.username ?? request.email ?? raw.email ??
    request.sub ?? raw.sub ?? request.subject ?? raw.subject ?? request.profile ?? raw.profile ??
    request.credentials ?? raw.credentials ?? request.role ?? raw.role ?? request.roles ?? raw.roles ??
    request.permissions ?? raw.permissions ?? request.scopes ?? raw.scopes ?? request.org ?? raw.org ??
    request.orgId ?? raw.orgId ?? request.organization ?? raw.organization ??
    request.organizationId ?? raw.organizationId ?? request.workspace ?? raw.workspace ??
    request.workspaceId ?? raw.workspaceId ?? request.accountId ?? raw.accountId ??
    request.customerId ?? raw.customerId ?? request.memberId ?? raw.memberId ?? request.apiKey ?? raw.apiKey ??
    request.actor ?? raw.actor ?? request.jwt ?? raw.jwt ?? request.jwtPayload ?? raw.jwtPayload ??
    request.token ?? raw.token ?? request.decoded ?? raw.decoded ?? request.decodedToken ?? raw.decodedToken ??
    request.authContext ?? raw.authContext ?? request.securityContext ?? raw.securityContext
}

/** Objects for all that hooks know of a request: of Express and @fastify/view, of Koa, of @fastify/request-context. */
export function anyScope (request: Owner, raw: Owner): unknown {
  return request.locals ?? raw.locals ?? request.state ?? raw.state ?? request.ctx ?? raw.ctx ??
    request.context ?? raw.context ?? request.requestContext ?? raw.requestContext
}

export const USER_NAMES = namesIn(anyUser)
export const SCOPE_NAMES = namesIn(anyScope)

/** Which properties it reads. */
function namesIn (read: (request: Owner, raw: Owner) => unknown): readonly string[] {
  const names = new Set<string>()
  read(noting(names), noting(names))
  return [...names]
}

/** Has nothing, and notes what it is asked for. */
function noting (names: Set<string>): Owner {
  return new Proxy({}, {
    get: (_, name) => {
      names.add(String(name))
      return undefined
    }
  })
}
