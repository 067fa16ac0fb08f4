// The ways in which an app knows its user, one for each row of the table in docs/authenticated.md: how the app does it, how
// its users come, and what the route has to say for hits. ways.test.ts attacks each of them.
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import type { CacheOptions } from '../../plugin/index.js'
import type { Call } from '../helpers/client.js'

// Without their types, which say of every request in this repository that it has cookies, a session and a user.
const [cookie, jwt, session, secureSession] = ['cookie', 'jwt', 'session', 'secure-session'].map((name) =>
  createRequire(import.meta.url)(`@fastify/${name}`)) as [Package, Package, Package, Package]

type Package = FastifyPluginAsync<Record<string, unknown>>

/** Over which the requests come; `proxy`: HTTP/1 behind a proxy that the app trusts. */
export type Transport = 'HTTP/1' | 'HTTP/2' | 'proxy'

/** As much of a request as plugins put on it. */
export interface Visit {
  user: { name: string } | null
  account: { name: string } | null
  auth: { name: string } | null
  cookies: Record<string, string | undefined>
  session: { get: (name: string) => unknown, set: (name: string, value: unknown) => void }
  jwtVerify: () => Promise<void>
  raw: { user?: { name: string }, session?: Record<string, unknown>, cookies?: Record<string, string> }
}

export function visitOf (request: FastifyRequest): Visit {
  return request as unknown as Visit
}

export interface Way {
  /** As the table calls it. */
  name: string
  /** What Cache-Status says with `cache: true`; null: it can't be seen, so the route has to say something. */
  detail: string | null
  /** What the route has to say for hits; null: nothing. */
  cache: CacheOptions | null
  /** Under which it can't be seen, where that is not the default key. */
  leaky?: CacheOptions
  setUp?: (app: FastifyInstance) => unknown
  /** Of the server. */
  server?: object
  /** Hooks of the route. */
  route?: RouteShorthandOptions
  /** Who asks, as the handler knows it. */
  tells: (request: FastifyRequest) => unknown
  /** How this user asks. */
  visit: (user: string, site: { app: FastifyInstance, transport: Transport }) => Call | Promise<Call>
  /** Default: HTTP/1, HTTP/2, proxy. */
  over?: Transport[]
}

const SECRET = 'a secret that has at least thirty-two characters'
const field = (request: FastifyRequest, name: string): string | undefined => request.headers[name] as string | undefined
const byField = (name: string, before = '') => (user: string): Call => ({ headers: { [name]: before + user } })
const without = (text: string | undefined, before: string): string | undefined => text?.slice(before.length)

/** What libraries such as iron-session do: nobody but the handler knows of it. */
function cookieOf (request: FastifyRequest, name: string): string | undefined {
  return request.headers.cookie?.split('; ').find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1)
}

/** Logs in, and comes with the cookies that were set. */
async function loggedIn (user: string, { app }: { app: FastifyInstance }): Promise<Call> {
  const { cookies } = await app.inject({ method: 'POST', url: `/login/${user}` })
  return { headers: { cookie: cookies.map(({ name, value }) => `${name}=${encodeURIComponent(value)}`).join('; ') } }
}

function withLogin (app: FastifyInstance): void {
  app.post('/login/:name', async (request) => {
    visitOf(request).session.set('name', (request.params as { name: string }).name)
    return 'welcome'
  })
}

/** A hook of the app's that puts on the request, or on Node's, what the header says. */
function fromField (name: string, put: (request: Visit, user: string) => unknown): (app: FastifyInstance) => unknown {
  return (app) => app.addHook('onRequest', async (request) => {
    const user = field(request, name)
    if (user !== undefined) put(visitOf(request), user)
  })
}

/** As middie and @fastify/express run it: on Node's request. */
function middleware (run: (raw: FastifyRequest['raw'] & Visit['raw']) => void): (app: FastifyInstance) => unknown {
  return (app) => app.addHook('onRequest', (request, _, done) => {
    run(request.raw as FastifyRequest['raw'] & Visit['raw'])
    done()
  })
}

const current = new AsyncLocalStorage<{ user: string | undefined }>()
const inStorage = (app: FastifyInstance): unknown => app.addHook('onRequest', (request, _, done) => {
  current.run({ user: cookieOf(request, 'session') ?? field(request, 'x-partner') }, done)
})

/** An address of its own for each. */
const ADDRESSES: Record<string, string> = { alice: '192.0.2.1', bob: '192.0.2.2' }

/** A host of its own for each, as the client or the proxy says it. */
const byHost: Way['visit'] = (user, { transport }) => ({
  headers: { [transport === 'proxy' ? 'x-forwarded-host' : 'host']: `${user}.example` }
})
const tenantOf = (request: FastifyRequest): string => request.host.split('.')[0]!

const verify = async (request: FastifyRequest): Promise<void> => { await visitOf(request).jwtVerify() }
const tokenOf = (user: string, app: FastifyInstance): string =>
  (app as unknown as { jwt: { sign: (payload: object) => string } }).jwt.sign({ name: user })
const userName = (request: FastifyRequest): string => visitOf(request).user!.name
const byUser: CacheOptions = { identity: (request) => visitOf(request).user?.name }

const TOKENS: Way[] = [
  {
    name: '`@fastify/jwt`, in `Authorization`',
    detail: 'authorization',
    cache: byUser,
    setUp: (app) => app.register(jwt, { secret: SECRET }),
    route: { onRequest: verify },
    tells: userName,
    visit: (user, { app }) => ({ headers: { authorization: `Bearer ${tokenOf(user, app)}` } })
  },
  {
    name: '`@fastify/jwt`, in a cookie',
    detail: 'user',
    cache: byUser,
    setUp: async (app) => {
      await app.register(cookie)
      await app.register(jwt, { secret: SECRET, cookie: { cookieName: 'token', signed: false } })
    },
    route: { preHandler: verify },
    tells: userName,
    visit: (user, { app }) => ({ headers: { cookie: `token=${tokenOf(user, app)}` } })
  },
  {
    name: 'Basic',
    detail: 'authorization',
    cache: { vary: ['authorization'] },
    tells: (request) => Buffer.from(without(field(request, 'authorization'), 'Basic ')!, 'base64').toString().split(':')[0],
    visit: (user) => ({ headers: { authorization: `Basic ${Buffer.from(`${user}:secret`).toString('base64')}` } })
  },
  {
    name: 'Bearer tokens, looked up',
    detail: 'authorization',
    cache: byUser,
    setUp: fromField('authorization', (request, user) => { request.user = { name: without(user, 'Bearer ')! } }),
    tells: userName,
    visit: byField('authorization', 'Bearer ')
  },
  {
    name: 'an API key that the handler reads',
    detail: 'credential:x-api-key',
    cache: { vary: ['x-api-key'] },
    tells: (request) => field(request, 'x-api-key'),
    visit: byField('X-API-Key')
  },
  {
    name: 'an API key that a hook makes a `request.account` of',
    detail: 'user:account',
    cache: { identity: (request) => visitOf(request).account?.name },
    setUp: fromField('x-api-key', (request, user) => { request.account = { name: user } }),
    tells: (request) => visitOf(request).account!.name,
    visit: byField('x-api-key')
  },
  {
    name: 'a header field of your own',
    detail: 'credential:x-partner',
    leaky: { credentials: ['X-Partner'] },
    cache: { identity: (request) => field(request, 'x-partner') },
    tells: (request) => field(request, 'x-partner'),
    visit: byField('x-partner')
  },
  {
    name: '`?access_token=` and signed URLs, under a `key` without it',
    detail: 'query:access_token',
    leaky: { key: 'whole' },
    cache: { key: 'whole:{query.access_token}' },
    tells: (request) => (request.query as { access_token: string }).access_token,
    visit: (user) => ({ path: `/?access_token=${user}` })
  },
  {
    name: '`?token=` under the default key',
    detail: null,
    cache: null,
    tells: (request) => (request.query as { token: string }).token,
    visit: (user) => ({ path: `/?token=${user}` })
  },
  {
    name: 'a GraphQL context',
    detail: 'authorization',
    cache: { identity: (request) => without(field(request, 'authorization'), 'Bearer ') },
    // Mercurius' and Apollo's context is made in the handler.
    tells: (request) => ((context: { user: string | undefined }) => context.user)({ user: without(field(request, 'authorization'), 'Bearer ') }),
    visit: (user) => ({ path: '/?query=%7Bme%7Bname%7D%7D', headers: { authorization: `Bearer ${user}` } })
  }
]

const COOKIES: Way[] = [
  {
    name: 'cookies by `@fastify/cookie`',
    detail: 'cookie',
    cache: { identity: (request) => visitOf(request).cookies['visitor'] },
    setUp: (app) => app.register(cookie),
    tells: (request) => visitOf(request).cookies['visitor'],
    visit: (user) => ({ headers: { cookie: `_ga=GA1.1; visitor=${user}` } })
  },
  {
    name: 'cookies that a library reads by itself: iron-session, Better Auth, Auth.js',
    detail: 'cookie',
    cache: { identity: (request) => cookieOf(request, '__Host-session') },
    tells: (request) => cookieOf(request, '__Host-session'),
    visit: (user) => ({ headers: { cookie: `_ga=GA1.1; __Host-session=${user}` } })
  },
  {
    name: 'cookies in crumbs, as browsers send them over HTTP/2',
    detail: 'cookie',
    leaky: { cookies: ['session'] },
    cache: { cookies: ['session'], identity: (request) => cookieOf(request, 'session') },
    tells: (request) => cookieOf(request, 'session'),
    visit: (user) => ({ headers: { cookie: ['theme=dark', `session=${user}`, '_ga=GA1.1'] } })
  },
  {
    name: '`@fastify/session`',
    detail: 'cookie',
    cache: { identity: (request) => visitOf(request).session.get('name') as string },
    setUp: async (app) => {
      await app.register(cookie)
      await app.register(session, { secret: SECRET, cookie: { secure: false }, saveUninitialized: false, rolling: false })
      withLogin(app)
    },
    tells: (request) => visitOf(request).session.get('name'),
    visit: loggedIn
  },
  {
    name: '`@fastify/secure-session`',
    detail: 'cookie',
    cache: { identity: (request) => visitOf(request).session.get('name') as string },
    setUp: async (app) => {
      await app.register(secureSession, { key: Buffer.alloc(32, 1) })
      withLogin(app)
    },
    tells: (request) => visitOf(request).session.get('name'),
    visit: loggedIn
  },
  {
    name: 'a session whose id comes in a header field',
    detail: 'session',
    cache: { identity: (request) => visitOf(request).session.get('name') as string },
    setUp: fromField('x-sid', (request, user) => { Object.assign(request, { session: { name: user, get: () => user } }) }),
    tells: (request) => visitOf(request).session.get('name'),
    visit: byField('x-sid')
  },
  {
    name: "middleware's sessions: `request.raw.session` of express-session",
    detail: 'session:raw',
    cache: { identity: (request) => visitOf(request).raw.session!['name'] as string },
    setUp: middleware((raw) => { raw.session = { cookie: { path: '/' }, name: raw.headers['x-sid'] } }),
    tells: (request) => visitOf(request).raw.session!['name'],
    visit: byField('x-sid')
  },
  {
    name: "middleware's cookies: `request.raw.cookies` of cookie-parser",
    detail: 'cookie',
    cache: { identity: (request) => visitOf(request).raw.cookies!['visitor'] },
    setUp: middleware((raw) => {
      raw.cookies = { _ga: '1', visitor: String(raw.headers.cookie).replace(/^.*visitor=/, '') }
      delete raw.headers.cookie
    }),
    tells: (request) => visitOf(request).raw.cookies!['visitor'],
    visit: (user) => ({ headers: { cookie: `visitor=${user}` } })
  }
]

const functionOf = (request: FastifyRequest): (() => { userId: string | null }) =>
  (request as unknown as { auth: () => { userId: string | null } }).auth
const storeOf = (request: FastifyRequest): Map<string, string> =>
  (request as unknown as { requestContext: Map<string, string> }).requestContext
const localsOf = (raw: object): { user: string } => (raw as { res: { locals: { user: string } } }).res.locals
/** By server. */
const pagesOf = new WeakMap<object, WeakMap<FastifyRequest, { locals: { user: string } }>>()
const known = new WeakMap<FastifyRequest, string>()

const OBJECTS: Way[] = [
  {
    name: 'passport and the like: `request.user`',
    detail: 'user',
    cache: byUser,
    setUp: fromField('x-sid', (request, user) => { request.user = { name: user } }),
    tells: userName,
    visit: byField('x-sid')
  },
  {
    name: "middleware's users: `request.raw.user`",
    detail: 'user:raw',
    cache: { identity: (request) => visitOf(request).raw.user?.name },
    setUp: middleware((raw) => { raw.user = { name: String(raw.headers['x-sid']) } }),
    tells: (request) => visitOf(request).raw.user!.name,
    visit: byField('x-sid')
  },
  {
    name: '`@fastify/auth` and other chains of `preHandler` hooks',
    detail: 'user:auth',
    cache: { identity: (request) => visitOf(request).auth?.name },
    route: {
      preHandler: [
        async () => {},
        async (request) => { visitOf(request).auth = { name: field(request, 'x-sid')! } }
      ]
    },
    tells: (request) => visitOf(request).auth!.name,
    visit: byField('x-sid')
  },
  {
    name: "Clerk's and the like: a function `request.auth`, which everybody has",
    detail: 'user:auth',
    cache: { shared: true, identity: (request) => functionOf(request)().userId },
    setUp: (app) => app.addHook('onRequest', async (request) => {
      Object.assign(request, { auth: () => ({ userId: field(request, 'x-sid') ?? null }) })
    }),
    tells: (request) => functionOf(request)().userId,
    visit: byField('x-sid')
  },
  {
    name: 'an object for all that is known of a request: `request.state`, `ctx`, `@fastify/request-context`',
    detail: 'user:request-context-user',
    cache: { identity: (request) => storeOf(request).get('user') },
    setUp: (app) => app.addHook('onRequest', async (request) => {
      const known = new Map([['user', field(request, 'x-sid')!]])
      Object.assign(request, { requestContext: { getStore: () => known, get: (name: string) => known.get(name) } })
    }),
    tells: (request) => storeOf(request).get('user'),
    visit: byField('x-sid')
  },
  {
    name: 'what pages are made of: `reply.locals`, `reply.raw.locals`',
    detail: 'user:reply-locals-user',
    cache: { identity: (request) => field(request, 'x-sid') },
    setUp: (app) => {
      const pages = new WeakMap<FastifyRequest, { locals: { user: string } }>()
      pagesOf.set(app.server, pages)
      app.addHook('onRequest', async (request, reply) => {
        pages.set(request, Object.assign(reply, { locals: { user: field(request, 'x-sid')! } }))
      })
    },
    tells: (request) => pagesOf.get(request.server.server)!.get(request)!.locals.user,
    visit: byField('x-sid')
  },
  {
    name: "middleware's pages: `request.raw.res.locals` of Express",
    detail: 'user:raw-res-locals-user',
    cache: { identity: (request) => localsOf(request.raw).user },
    setUp: middleware((raw) => { Object.assign(raw, { res: { locals: { user: raw.headers['x-sid'] } } }) }),
    tells: (request) => localsOf(request.raw).user,
    visit: byField('x-sid')
  },
  {
    name: 'a user in a `WeakMap` of requests, by a cookie, a token or a key',
    detail: 'credential:x-api-key',
    cache: { identity: (request) => known.get(request) },
    setUp: (app) => app.addHook('onRequest', async (request) => { known.set(request, field(request, 'x-api-key')!) }),
    tells: (request) => known.get(request),
    visit: byField('x-api-key')
  },
  {
    name: 'a user in a `WeakMap` of requests, by anything else',
    detail: null,
    cache: { identity: (request) => known.get(request) },
    setUp: (app) => app.addHook('onRequest', async (request) => { known.set(request, field(request, 'x-partner')!) }),
    tells: (request) => known.get(request),
    visit: byField('x-partner')
  },
  {
    name: 'a user in `AsyncLocalStorage`, by a cookie, a token or a key',
    detail: 'cookie',
    cache: { identity: () => current.getStore()?.user },
    setUp: inStorage,
    tells: () => current.getStore()?.user,
    visit: (user) => ({ headers: { cookie: `session=${user}` } })
  },
  {
    name: 'a user in `AsyncLocalStorage`, or under a symbol, by anything else',
    detail: null,
    cache: { identity: () => current.getStore()?.user },
    setUp: inStorage,
    tells: () => current.getStore()?.user,
    visit: byField('x-partner')
  }
]

const AROUND: Way[] = [
  {
    name: "a tenant's header field: `X-Tenant-Id`, `X-Org-Id`, `X-Workspace-Id`",
    detail: 'credential:x-tenant-id',
    cache: { vary: ['x-tenant-id'] },
    tells: (request) => field(request, 'x-tenant-id'),
    visit: byField('X-Tenant-Id')
  },
  {
    name: 'a tenant that `rewriteUrl` takes off the path or the query',
    detail: null,
    cache: { key: (request) => request.originalUrl },
    server: { rewriteUrl: () => '/' },
    tells: ({ originalUrl }) => originalUrl.slice(1),
    visit: (user) => ({ path: `/${user}` })
  },
  {
    name: 'a country or a language that the client, or a CDN, names: `CF-IPCountry`, `Accept-Language`',
    detail: null,
    cache: { vary: ['cf-ipcountry'] },
    tells: (request) => field(request, 'cf-ipcountry'),
    visit: byField('CF-IPCountry')
  },
  {
    name: "an authenticating proxy's header: `X-Forwarded-User`, `Remote-User`",
    detail: 'credential:x-forwarded-user',
    cache: { identity: (request) => field(request, 'x-forwarded-user') },
    tells: (request) => field(request, 'x-forwarded-user'),
    visit: byField('X-Forwarded-User')
  },
  {
    name: 'a token that a proxy hands on: `Cf-Access-Jwt-Assertion`',
    detail: 'credential:cf-access-jwt-assertion',
    cache: { vary: ['cf-access-jwt-assertion'] },
    tells: (request) => field(request, 'cf-access-jwt-assertion'),
    visit: byField('cf-access-jwt-assertion')
  },
  {
    name: 'a client certificate that a proxy hands on',
    detail: 'credential:x-forwarded-client-cert',
    cache: { vary: ['x-forwarded-client-cert'] },
    tells: (request) => without(field(request, 'x-forwarded-client-cert'), 'Subject='),
    visit: byField('x-forwarded-client-cert', 'Subject=')
  },
  {
    name: 'a subdomain for each tenant',
    detail: null,
    cache: { vary: ['host'] },
    tells: tenantOf,
    visit: byHost
  },
  {
    name: 'a subdomain for each tenant, of whom a hook makes a `request.tenant`',
    detail: 'user:tenant',
    cache: { identity: (request) => request.host },
    setUp: (app) => app.addHook('onRequest', async (request) => { Object.assign(request, { tenant: { name: tenantOf(request) } }) }),
    tells: (request) => (request as unknown as { tenant: { name: string } }).tenant.name,
    visit: byHost
  },
  {
    name: 'a route for hosts of a pattern: `constraints: { host: /…/ }`',
    detail: null,
    cache: null,
    route: { constraints: { host: /.*/ } },
    tells: tenantOf,
    visit: byHost
  },
  {
    name: '`request.ip`',
    detail: null,
    cache: { identity: (request) => request.ip },
    tells: ({ ip }) => Object.keys(ADDRESSES).find((user) => ADDRESSES[user] === ip),
    visit: (user) => ({ headers: { 'x-forwarded-for': ADDRESSES[user]! } }),
    over: ['proxy']
  }
]

export const WAYS: readonly Way[] = [...TOKENS, ...COOKIES, ...OBJECTS, ...AROUND]
