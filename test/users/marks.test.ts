// What is a mark of a user and what is none, in the places where apps put one; asked at the lookup, and again at the fill.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { CREDENTIAL_HEADERS, type CacheOptions, type RouteCacheOptions } from '../../plugin/index.js'
import { USER_NAMES } from '../../plugin/users/identity.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'

type Headers = Record<string, string | string[]>

interface Setting {
  plugin?: RouteCacheOptions
  cache?: true | CacheOptions
  prepare?: (app: CachedApp) => unknown
  handler?: (request: FastifyRequest, reply: FastifyReply) => unknown
}

async function open (t: Test, { plugin, cache = true, prepare, handler = () => 'x' }: Setting): Promise<CachedApp> {
  const app = await cachedApp(t, plugin)
  await prepare?.(app)
  app.get('/', { cache }, async (request, reply) => await handler(request, reply))
  return app
}

/** What the cache did for the second of two such requests: `hit`, or why not. */
async function said (app: CachedApp, headers: Headers = {}, url = '/'): Promise<string> {
  let field = ''
  for (let i = 0; i < 2; i++) {
    field = String((await app.inject({ url, headers: headers as Record<string, string> })).headers['cache-status'])
    await settled(app)
  }
  return /hit/.test(field) ? 'hit' : field.split(/detail=|; /).at(-1)!
}

/** By a hook. */
const put = (what: object) => (app: CachedApp) => app.addHook('onRequest', async (request) => { Object.assign(request, what) })
const putRaw = (what: object) => (app: CachedApp) => app.addHook('onRequest', async ({ raw }) => { Object.assign(raw, what) })

class Principal {
  readonly #name = 'alice'
  get name (): string { return this.#name }
}

const TENANTS = [
  'x-tenant', 'x-tenant-id', 'x-org', 'x-org-id', 'x-organization', 'x-organization-id', 'x-workspace', 'x-workspace-id', 'x-account', 'x-account-id',
  'x-customer', 'x-customer-id', 'x-company-id', 'x-team-id', 'x-member-id', 'x-role', 'x-roles', 'x-user', 'x-user-id', 'session-id', 'x-csrf-token'
]

t.test('header fields: each of the list with a value, however it is written', async (t) => {
  const app = await open(t, {})
  t.ok(CREDENTIAL_HEADERS.length > 80 && Object.isFrozen(CREDENTIAL_HEADERS))
  // Names that apps give to a tenant and a session, which a list that is only compared with itself could lose.
  for (const name of TENANTS) t.ok(CREDENTIAL_HEADERS.includes(name), name)
  for (const name of CREDENTIAL_HEADERS) t.equal(await said(app, { [name.toUpperCase()]: 'alice' }), `credential:${name}`)
  for (const value of ['', ' ', '""', '(null)', '-']) t.equal(await said(app, { 'x-forwarded-user': value }), 'hit', `nobody: ${value}`)
  // Node shows the first of two Authorization fields only.
  for (const value of ['', ' ', '""', '(null)', '-']) t.equal(await said(app, { authorization: value }), 'authorization', `somebody: ${value}`)
  t.equal(await said(app, { 'x-forwarded-user': ['', 'alice'] }), 'credential:x-forwarded-user')
  t.equal(await said(app, { 'x-requested-with': 'alice', 'user-agent': 'alice', 'x-request-id': 'alice' }), 'hit')
  const renamed = await open(t, { prepare: (app) => app.addHook('onRequest', async (request) => { request.headers = { 'X-Api-Key': 'alice' } }) })
  t.equal(await said(renamed), 'credential:x-api-key', 'a hook that writes names in capitals')
})

t.test('header fields: the option', async (t) => {
  const app = await open(t, { plugin: { credentials: ['X-Partner'] } })
  t.equal(await said(app, { 'x-partner': 'a' }), 'credential:x-partner')
  t.equal(await said(app, { 'x-api-key': 'a' }), 'credential:x-api-key')
  const both = await open(t, { plugin: { credentials: ['x-partner', '!x-session-id'] }, cache: { credentials: ['!x-partner', 'x-shop'] } })
  t.strictSame(await Promise.all([{ 'x-session-id': 'a' }].map(async (headers) => await said(both, headers))), ['hit'])
  t.equal(await said(both, { 'x-partner': 'a' }), 'hit')
  t.equal(await said(both, { 'x-shop': 'a' }), 'credential:x-shop')
  const varied = await open(t, { cache: { vary: ['X-API-Key', 'authorization', 'Cookie'] } })
  for (const name of ['x-api-key', 'authorization', 'cookie']) {
    t.equal(await said(varied, { [name]: 'alice' }), 'hit', `${name}, which selects the response`)
    t.match((await varied.inject({ url: '/', headers: { [name]: 'bob' } })).headers['cache-status'], /fwd=miss/)
  }
  for (const credentials of [['!x-api'], ['!authorization'], ['cookie'], ['Authorization'], ['a b'], [''], [7], 'x-partner']) {
    await t.rejects(cachedApp(t, { credentials: credentials as string[] }), { code: 'FRC_OPTION', message: /CREDENTIAL_HEADERS/ })
  }
})

const ANALYTICS = '_ga=GA1.2.3; _ga_AB12CD34EF=GS2.1; _gid=1; __utmz=1; _gcl_au=1; _fbp=fb.1; _pk_id.1.1fff=a; _hjSessionUser_123=a; ' +
  '__cf_bm=a; cf_clearance=a; AWSALB=a; Hm_lvt_0123456789abcdef0123456789abcdef=1; visid_incap_12=a; _clck=1'

t.test('cookies: all but those of analytics', async (t) => {
  const app = await open(t, {})
  for (const cookie of [ANALYTICS, '', '; ;', '_ga=1,2', ' _ga = 1 ;']) t.equal(await said(app, { cookie }), 'hit', cookie)
  for (const cookie of [
    'a=1', 'session', '=x', 'session=', '_ga=1; session=a', 'session=a; _ga=1', '_ga=1;session=a', '_ga=1, session=a', '_ga=1,session=a',
    '_gallery_session=a', '_gate=1', '_ga_session=a', '__utm_session=a', '_pk_login=a', 'CF_Authorization=a', '_GA=1', 'x_ga=1',
    '__Host-_ga=1', '_hjSession_=1', 'optimizelyEndUserId=1', 'ph_phc_x_posthog=a', 'lang=de', '_ga\t; s=1', `${ANALYTICS}; s=1`
  ]) t.equal(await said(app, { cookie }), 'cookie', cookie)
  t.equal(await said(app, { cookie: ['_ga=1', 'session=a'] }), 'cookie')
  t.equal(await said(app, { cookie: ['_ga=1', '_gid=a'] }), 'hit')
})

t.test('cookies: those that count, by the plugin and by the route', async (t) => {
  const app = await open(t, { plugin: { cookies: ['session', 'lang', 'sb-*'] } })
  for (const cookie of [
    'session=a', '_ga=1; lang=de', '__Host-session=a', '__Secure-session=a', 'session.0=a', 'session.1=b', 'session_2=a', 'session__12=a',
    'session1=a', '__Secure-session.0=a', 'sb-x-auth-token=a', 'sb-=a', 'theme=1; session=a'
  ]) t.equal(await said(app, { cookie }), 'cookie', cookie)
  for (const cookie of ['theme=dark', 'sessions=a', 'xsession=a', 'Session=a', 'session.a=1', ANALYTICS]) t.equal(await said(app, { cookie }), 'hit', cookie)
  const route = await open(t, { plugin: { cookies: ['session'] }, cache: { cookies: ['__Host-cart'] } })
  t.equal(await said(route, { cookie: 'session=a' }), 'hit')
  t.equal(await said(route, { cookie: 'cart=a' }), 'cookie')
  t.equal(await said(await open(t, { cache: { cookies: [] } }), { cookie: 'session=a' }), 'hit')
  t.equal(await said(await open(t, { cache: { cookies: ['*'] } }), { cookie: '_ga=a' }), 'cookie')
  t.equal(await said(await open(t, { cache: { cookies: ['_ga'] } }), { cookie: '_ga=a' }), 'cookie')
  for (const cookies of ['session', [''], ['a b'], [7], ['a;b']]) {
    await t.rejects(open(t, { cache: { cookies: cookies as string[] } }), { code: 'FRC_OPTION', message: /names of the cookies/ })
  }
})

/** In each of these places. */
const USER_PLACES = [
  'user', 'account', 'auth', 'currentUser', 'principal', 'userId', 'tenant', 'tenantId', 'uid', 'identity', 'claims',
  'viewer', 'customer', 'member', 'oidc', 'kauth', 'authUser', 'authenticatedUser', 'loggedInUser', 'userInfo',
  'username', 'email', 'sub', 'subject', 'profile', 'credentials', 'role', 'roles', 'permissions', 'scopes', 'org',
  'orgId', 'organization', 'organizationId', 'workspace', 'workspaceId', 'accountId', 'customerId', 'memberId', 'apiKey',
  'actor', 'jwt', 'jwtPayload', 'token', 'decoded', 'decodedToken', 'authContext', 'securityContext'
]
t.strictSame(USER_NAMES, USER_PLACES, 'all names that are read')
const RAW_PLACES = [...USER_PLACES, 'ntlm']
const USERS = [
  { name: 'alice' }, 'alice', 7, 0, 7n, true, NaN, Symbol('alice'), ['alice'], new Principal(), new Map([['a', 1]]), new Set(['a']),
  () => 'alice', { [Symbol('name')]: 'alice' }, Object.defineProperty({}, 'name', { value: 'alice', enumerable: false }), Promise.resolve('alice')
]
const NOBODIES = [undefined, null, false, '', {}, Object.create(null), [], new Map(), new Set()]

t.test('what hooks put on the request: somebody, or nothing', async (t) => {
  for (const [places, place] of [[USER_PLACES, put], [RAW_PLACES, putRaw]] as const) {
    for (const name of places) {
      for (const user of name === 'user' ? USERS : USERS.slice(0, 2)) {
        t.match(await said(await open(t, { prepare: place({ [name]: user }) })), /^user/, `${name}: ${String(user)}`)
      }
      for (const nobody of name === 'user' ? NOBODIES : NOBODIES.slice(0, 6)) {
        t.equal(await said(await open(t, { prepare: place({ [name]: nobody }) })), 'hit', `${name}: nobody`)
      }
    }
  }
})

t.test('a getter, a method, one that throws, one that gives a promise that rejects', async (t) => {
  const decorated = (getter: () => unknown) => (app: CachedApp) => app.decorateRequest('user', { getter } as never)
  t.equal(await said(await open(t, { prepare: decorated(() => ({ name: 'alice' })) })), 'user')
  t.equal(await said(await open(t, { prepare: decorated(() => null) })), 'hit')
  t.equal(await said(await open(t, { prepare: decorated(() => { throw new Error('who?') }) })), 'policy')
  t.equal(await said(await open(t, { prepare: decorated(async () => { throw new Error('who?') }) })), 'user')
  t.equal(await said(await open(t, { prepare: (app) => app.decorateRequest('auth', () => 'alice') })), 'hit')
})

class Opaque { readonly #name = 'alice'; name (): string { return this.#name } }
class Collection {
  constructor (readonly content: Record<string, string>) { Object.defineProperty(this, 'content', { enumerable: false }) }
}
class Sized extends Collection { get size (): number { return Object.keys(this.content).length } }
class Iterated extends Collection { [Symbol.iterator] (): Iterator<string> { return Object.keys(this.content).values() } }
class Shown extends Collection { toJSON (): object { return this.content } }
class Asked extends Collection { isEmpty (): boolean { return Object.keys(this.content).length === 0 } }
class Populated extends Collection { get isPopulated (): boolean { return Object.keys(this.content).length > 0 } }
const KINDS = [Sized, Iterated, Shown, Asked, Populated]
const iron = (data: object): object =>
  Object.defineProperties(data, { save: { value: async () => {} }, destroy: { value: () => {} } })
/** What they have is behind a closure, a getter, a private field, or in a collection. */
const HIDDEN = [
  new Opaque(), { get: () => 'alice' }, { get: () => 'alice', set: () => {} }, { user: () => 'alice' }, Promise.resolve({}),
  () => 'alice', Object.create(null, { get: { value: () => 'alice' } }), iron({ name: 'alice' }),
  Object.create({ get user () { return 'alice' } }),
  ...KINDS.map((Kind) => new Kind({ name: 'alice' }))
]
/** These say that there is nothing in them, or show it. */
const EMPTY = [iron({}), ...KINDS.map((Kind) => new Kind({}))]

t.test('sessions: what came with one, or was put there; not the empty one that everybody has', async (t) => {
  const secure = (data: object, changed = false): object => ({ changed, deleted: false, data: () => data })
  for (const place of [put, putRaw]) {
    for (const session of [
      { name: 'alice' }, { cookie: {}, name: 'alice' }, { cookie: {}, passport: { user: 7 } }, secure({ name: 'alice' }), secure({}, true),
      { isChanged: true }, 'alice', new Map([['name', 'alice']]), ...HIDDEN
    ]) t.match(await said(await open(t, { prepare: place({ session }) })), /^session/, JSON.stringify(session))
    for (const session of [
      null, '', {}, { cookie: {} }, { cookie: {}, passport: {} }, { cookie: {}, flash: [] }, secure({}), new Map(), ...EMPTY
    ]) t.equal(await said(await open(t, { prepare: place({ session }) })), 'hit', JSON.stringify(session))
  }
})

/** Where hooks keep all that they know of a request. */
const SCOPES: Record<string, (what: object) => (app: CachedApp) => unknown> = {
  ...Object.fromEntries(['locals', 'state', 'ctx', 'context', 'requestContext'].flatMap((name) => [
    [name, (what: object) => put({ [name]: what })], [`raw-${name}`, (what: object) => putRaw({ [name]: what })]
  ])),
  'request-context': (what) => put({ requestContext: { getStore: () => what, get: () => {} } }),
  'reply-locals': (what) => (app) => app.addHook('onRequest', async (_, reply) => { Object.assign(reply, { locals: what }) }),
  'reply-raw-locals': (what) => (app) => app.addHook('preHandler', async (_, reply) => { Object.assign(reply.raw, { locals: what }) }),
  'raw-res-locals': (what) => putRaw({ res: { locals: what } })
}

t.test('objects for all that is known of a request: somebody in them, or what is no user', async (t) => {
  for (const [place, prepare] of Object.entries(SCOPES)) {
    for (const known of [
      { user: { name: 'alice' } }, { userId: 7 }, { session: { name: 'alice' } }, { claims: { sub: 'a' } },
      new Map([['user', 'alice']]),
      { user: () => 'alice' }, { get user () { return 'alice' } }
    ]) t.match(await said(await open(t, { prepare: prepare(known) })), /^user:[a-z-]+$/, place)
    for (const known of [{}, null, { user: null, session: { cookie: {} } }, { requestId: 'a', start: 7, title: 'x' }, new Map([['id', 'a']]), 'x']) {
      t.equal(await said(await open(t, { prepare: prepare(known as object) })), 'hit', `${place}: nobody`)
    }
  }
  t.equal(await said(await open(t, { prepare: SCOPES['reply-locals']!({ userId: 7 }) })), 'user:reply-locals-user-id')
  const late = await open(t, { handler: (_, reply) => { Object.assign(reply, { locals: { user: 'alice' } }); return 'for alice' } })
  t.match(await said(late), 'credentials', 'of a handler that renders a page')
  t.equal(late.cache.stats().total.stores, 0)
})

t.test('a function that is put on the request knows who asks, as Clerk\'s; a decorator is one of all requests', async (t) => {
  for (const place of [put, putRaw]) t.match(await said(await open(t, { prepare: place({ auth: () => ({ userId: 'alice' }) }) })), /^user/)
  t.equal(await said(await open(t, { prepare: (app) => app.decorateRequest('user', function () { return 'alice' }) })), 'hit')
})

t.test('parsed cookies are those of the header field, whoever has parsed them', async (t) => {
  for (const prepare of [put({ cookies: { _ga: '1', sid: 'a' } }), putRaw({ cookies: { sid: 'a' } }), putRaw({ signedCookies: { sid: 'a' } })]) {
    t.equal(await said(await open(t, { prepare })), 'cookie')
    t.equal(await said(await open(t, { prepare, cache: { cookies: ['lang'] } })), 'hit')
  }
  for (const cookies of [{}, null, { _ga: '1' }]) t.equal(await said(await open(t, { prepare: putRaw({ cookies }) })), 'hit')
})

t.test('credentials in the query: marks where the key lacks their value', async (t) => {
  const lacking: Array<true | CacheOptions> = [
    { key: 'k' }, { key: 'k:{query.page}' }, { key: () => 'k' }, { key: async () => 'k' }, { key: ({ url }) => url.split('?')[0]! },
    { key: ({ query }) => `k:${(query as { access_token: string }).access_token.slice(0, 8)}` }
  ]
  for (const cache of lacking) {
    const app = await open(t, { cache })
    t.equal(await said(app, {}, '/?access_token=eyJhbGciOi.alice'), 'query:access_token')
    t.equal(app.cache.stats().total.stores, 0)
  }
  const having: Array<true | CacheOptions> = [
    true, { key: 'k:{access_token}' }, { key: ({ url }) => url }, { key: async ({ query }) => `k:${JSON.stringify(query)}` }, { shared: true, key: 'k' },
    { key: 'k', identity: ({ query }) => (query as { access_token: string }).access_token }
  ]
  for (const cache of having) t.equal(await said(await open(t, { cache }), {}, '/?access_token=alice'), 'hit')
  const app = await open(t, { cache: { key: 'k' } })
  for (const query of [
    'token=a', 'api_key=a', 'apiKey=a', 'API-Key=a', 'sig=a', 'signature=a', 'a=1&token=a', 'access%5Ftoken=a', 'token[]=a', 'X-Amz-Signature=a',
    'jwt=a', 'sid=1', 'a=1;token=b', 'token[0]=a', 'token[x]=a', 'token%5B0%5D=a', 'auth[user]=a', 'credentials[token]=a', 'user.token=a',
    'oauth_token=a', 'oauth_signature=a', 'private_token=a', 'reset_token=a', 'resetToken=a', 'access_key=a', 'SAMLResponse=a', 'passwd=a', 'pwd=a',
    'otp=a', 'ssid=a', 'wstoken=a', 'hdnts=a', 'client_assertion=a', 'client_secret=a', '%zz=1&%74oke%6e=a', '%ff=1&t%6Fken=a', 'a%=1&token=a'
  ]) t.match(await said(app, {}, `/?${query}`), /^query:/, query)
  for (const query of ['', 'page=2', 'token=', 'token', 'tokens=1', 'design=a', 'q=token', 'monkey=1', 'tokens[0]=1', 'design[a]=1', 'utm_source=key',
    '%zz=1', '%ff=1', '%=%', 'passage=1', 'assertions=1']) {
    t.equal(await said(app, {}, `/?${query}`), 'hit', query)
  }
})

t.test('a credential that the validation takes away is in no key', async (t) => {
  const app = await cachedApp(t)
  const querystring = { type: 'object', properties: { page: { type: 'integer' } }, additionalProperties: false }
  const seen: unknown[] = []
  app.addHook('onRequest', async (request) => { seen.push((request.query as { token?: string }).token) })
  app.get('/', { schema: { querystring }, cache: true }, async () => `for ${String(seen.at(-1))}`)
  app.get('/late', { schema: { querystring }, cache: true, preHandler: async () => {} }, async () => `for ${String(seen.at(-1))}`)
  for (const path of ['/', '/late']) {
    for (const user of ['alice', 'bob']) t.equal((await app.inject(`${path}?token=${user}`)).body, `for ${user}`)
    t.match((await app.inject(`${path}?page=1&token=a`)).headers['cache-status'], /detail=query:token/)
  }
})

t.test('many credentials cost no more than some', async (t) => {
  let made = 0
  const app = await open(t, { cache: { key: () => { made++; return 'k' } } })
  const many = Array.from({ length: 300 }, (_, i) => `token${'_'.repeat(i % 50)}=${i}`).join('&')
  t.equal(await said(app, {}, `/?${many}`), 'query:token')
  t.ok(made < 40, `${made} keys for two requests`)
})

/** Whoever is found out after the lookup: by the handler, its stream, or an onSend hook before or behind ours. */
const LATE: Record<string, Setting> = {
  'the handler': { handler: (request) => { Object.assign(request, { user: { name: 'alice' } }); return 'for alice' } },
  'the handler, on Node\'s request': { handler: ({ raw }) => { Object.assign(raw, { user: { name: 'alice' } }); return 'for alice' } },
  'the handler, in a header': { handler: (request) => { request.headers['x-user-id'] = 'alice'; return 'for alice' } },
  'the handler, by a session': { handler: (request) => { Object.assign(request, { session: { name: 'alice' } }); return 'for alice' } },
  'the handler, by a session of middleware': { handler: ({ raw }) => { Object.assign(raw, { session: { isChanged: true } }); return 'for alice' } },
  'its stream': {
    handler: (request) => Readable.from((async function * () {
      yield 'for '
      Object.assign(request, { user: { name: 'alice' } })
      yield 'alice'
    })())
  },
  'an onSend hook': {
    prepare: (app) => app.addHook('onSend', async (request) => { Object.assign(request, { session: { changed: true } }); return 'for alice' })
  },
  'an identity that is known late': {
    cache: { key: 'k', identity: (request) => (request as { user?: string }).user },
    handler: (request) => { Object.assign(request, { user: 'alice' }); return 'for alice' }
  }
}

t.test('who is found out after the lookup: nothing is stored, and the log says so', async (t) => {
  for (const [name, setting] of Object.entries(LATE)) {
    const app = await open(t, setting)
    for (let i = 0; i < 2; i++) {
      const response = await app.inject('/')
      await settled(app)
      t.match([response.body, response.headers['cache-status']], ['for alice', /fwd=miss/], name)
    }
    t.strictSame(app.cache.stats().total.refusals, { credentials: 2 }, name)
    if (!name.includes('identity')) t.equal(warnings(app).length, 1, `${name}: once`)
  }
  const route = await cachedApp(t)
  route.get('/', { cache: true, onSend: async (request) => { Object.assign(request, { user: { name: 'alice' } }) } }, async () => 'x')
  t.match(await said(route), 'credentials', 'an onSend hook of the route')
  t.strictSame(route.cache.stats().total.refusals, { credentials: 2 })
})

t.test('a refresh and a warm-up whose hooks find somebody store nothing', async (t) => {
  let now = 1_000_000
  let user: string | null = null
  const app = await open(t, {
    plugin: { now: () => now },
    cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60 },
    prepare: (app) => app.addHook('onRequest', async (request) => { Object.assign(request, { account: user }) }),
    handler: () => user ?? 'nobody'
  })
  t.equal(await said(app), 'hit')
  now += 20_000
  t.equal((await app.inject('/')).body, 'nobody')
  await app.cache.settled()
  user = 'alice'
  t.match(await app.cache.warm(['/']), { bypassed: 1, stored: 0 })
  now += 20_000
  t.match(await app.inject('/'), { body: 'alice', headers: { 'cache-status': /detail=user:account/ } })
  user = null
  t.equal((await app.inject('/')).body, 'nobody')
})

function warnings (app: CachedApp): unknown[] {
  return app.lines.filter(({ level }) => Number(level) >= 40).map(({ msg }) => msg)
}

t.test('explain, the log and Cache-Status name the mark, and say what to write', async (t) => {
  for (const [headers, url, detail, words, way] of [
    [{ 'x-api-key': 'a' }, '/', 'credential:x-api-key', 'the header field x-api-key', /vary: \[\.\.\.\]/],
    [{ cookie: '_ga=1; sid=a' }, '/', 'cookie', 'the cookie "sid"', /cookies: \['session'\]/],
    [{}, '/?api_key=a', 'query:api_key', 'api_key in the query', /put it in the key/],
    [{ authorization: 'x' }, '/', 'authorization', 'an Authorization header', /identity/]
  ] as const) {
    const app = await open(t, { cache: { key: 'k' } })
    const { text, outcome, reason } = await app.cache.explain({ url, headers })
    t.match({ text, outcome, reason }, { text: words, outcome: 'bypass', reason: detail.split(':')[0]! })
    t.match(text, way)
    t.strictSame(warnings(app), [], 'an explanation is not logged')
    t.equal(await said(app, headers, url), detail)
    t.equal(warnings(app).length, 1, 'once per route')
    t.match(warnings(app)[0], new RegExp(`^requests with ${words} go past the cache of this route: say what tells users apart`))
    t.match(warnings(app)[0], way)
    t.match(app.lines.find(({ msg }) => msg === 'cache bypass'), { reason: detail.split(':')[0], mark: words })
    t.strictSame(app.cache.stats().total.bypasses, { [detail.split(':')[0]!]: 2 })
  }
})

t.test('a cookie\'s name is the client\'s: it stands in no header, and shortened in the log', async (t) => {
  const app = await open(t, {})
  const name = `a"\\\x01${'x'.repeat(9000)}`
  t.equal(await said(app, { cookie: `${name}=1` }), 'cookie')
  t.ok(String(warnings(app)[0]).length < 500)
})

t.test('at start: routes with hooks of their own that do not say whom their responses are for', async (t) => {
  const hook = async (): Promise<void> => {}
  const app = await cachedApp(t)
  app.addHook('onRequest', hook)
  const said: Record<string, [object, CacheOptions | true]> = {
    '/unsaid-1': [{ onRequest: hook }, true],
    '/unsaid-2': [{ preValidation: [hook] }, { key: 'two' }],
    '/unsaid-3': [{ preHandler: [hook, hook] }, { vary: [] }],
    '/said-1': [{ onRequest: hook }, { shared: true }],
    '/said-2': [{ preHandler: hook }, { identity: () => 'x' }],
    '/said-3': [{ preHandler: hook }, { vary: ['x-api-key'] }],
    '/none': [{}, true],
    '/empty': [{ preHandler: [] }, true],
    '/later': [{ onSend: hook, preSerialization: hook }, true]
  }
  for (const [url, [hooks, cache]] of Object.entries(said)) app.get(url, { ...hooks, cache }, async () => 'x')
  app.get('/uncached', { preHandler: hook }, async () => 'x')
  await app.ready()
  const [line, ...others] = app.lines.filter(({ level }) => Number(level) >= 40)
  t.strictSame(others, [])
  t.strictSame(line!['routes'], ['GET /unsaid-1', 'GET /unsaid-2', 'GET /unsaid-3'])
  t.match(line!['msg'], /shared: true .*identity: .*vary/)
})
