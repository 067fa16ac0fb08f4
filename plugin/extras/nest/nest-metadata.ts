// What Nest knows of an app, of its controllers and their methods, and where it keeps that.

/** As much of Nest's ApplicationConfig as is used here. */
export interface AppConfig {
  getGlobalInterceptors: () => unknown[]
  getGlobalRequestInterceptors: () => unknown[]
  getGlobalGuards: () => unknown[]
  getGlobalRequestGuards: () => unknown[]
  getVersioning: () => { type: number, header?: string, defaultVersion?: unknown } | undefined
}

/** reflect-metadata, which each Nest app loads. */
export const metadata = Reflect as unknown as {
  getMetadata: (key: unknown, target: object, name?: string) => unknown
  getOwnMetadata: (key: unknown, target: object) => unknown
  hasMetadata: (key: unknown, target: object) => boolean
  defineMetadata: (key: unknown, value: unknown, target: object) => void
  getMetadataKeys: (target: object) => unknown[]
}

/** The names under which Nest keeps what its decorators were given. */
export const NESTS = {
  path: 'path',
  method: 'method',
  host: 'host',
  version: '__version__',
  params: '__routeArguments__',
  headers: '__headers__',
  guards: '__guards__',
  interceptors: '__interceptors__',
  events: '__sse__',
  config: '__fastify_route_config__'
} as const

/** Where a route's config says whose method it has: not the option itself, as classes are of all apps of the process. */
export const OURS = Symbol('fastify-route-cache.method')

/** Nest's RequestMethod. */
export const GET = 0
export const ALL = 5
/** Nest's RouteParamtypes. */
export const HEADER_PARAM = 6
export const QUERY_PARAM = 4
/** The decorators of params that are each client's own. */
export const OF_THE_CLIENT: Readonly<Record<number, string>> = {
  6: '@Headers', 7: '@Session', 11: '@Ip', 14: '@Cookies', 15: '@SignedCookies'
}

/** Nest's VersioningType. */
export const BY = { uri: 0, header: 1, mediaType: 2 } as const
