// Plugins that tell who asks: what is somebody's own is nobody else's, neither cookie nor body.
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, LightMyRequestResponse } from 'fastify'
import { createRequire } from 'node:module'
import t, { type Test } from 'tap'
import type { CacheOptions } from '../../plugin/index.js'
import { fetch, inBothOrders, outcome, sideBySide, type Order, type Theirs } from './orders.js'

// Without their types, which say of every request in this repository that it has cookies, a session and a user, and
// contradict each other.
const [cookie, jwt, session, secureSession] = ['cookie', 'jwt', 'session', 'secure-session'].map((name) =>
  createRequire(import.meta.url)(`@fastify/${name}`)) as [Package, Package, Package, Package]

type Package = FastifyPluginAsync<Record<string, unknown>>

/** What a request has of these packages; of a session, what both packages' have. */
interface Visit {
  cookies: Record<string, string | undefined>
  session: { get: (name: string) => unknown, set: (name: string, value: unknown) => void }
  user: { name: string } | null
  jwtVerify: () => Promise<void>
}

function visitOf (request: FastifyRequest): Visit {
  return request as unknown as Visit
}

interface CookieReply { setCookie: (name: string, value: string) => unknown, clearCookie: (name: string) => unknown }

function cookieReply (reply: FastifyReply): CookieReply {
  return reply as unknown as CookieReply
}

const SECRET = 'a secret that has at least thirty-two characters'

/** The response's cookies, each as `name=value`, as the client sends it back. */
function cookiesOf ({ headers }: LightMyRequestResponse): string[] {
  return [headers['set-cookie'] ?? []].flat().map((field) => field.split(';')[0]!)
}

type Setting = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/** Sets a cookie for the visitor that the request names; for one who is not named, none. */
const setVisitor: Setting = async (request, reply) => {
  const visitor = request.headers['x-visitor']
  if (visitor !== undefined) cookieReply(reply).setCookie('visitor', String(visitor))
}

/** Who sets the cookie: added to the app, and to the route. */
const SETTERS: Record<string, { app?: (app: FastifyInstance) => unknown, route?: object, handler?: Setting }> = {
  'the handler': { handler: setVisitor },
  'the handler, which takes it away': {
    handler: async (request, reply) => {
      if (request.headers['x-visitor'] !== undefined) cookieReply(reply).clearCookie('visitor')
    }
  },
  'an onRequest hook': { app: (app) => app.addHook('onRequest', setVisitor) },
  'a preHandler hook': { app: (app) => app.addHook('preHandler', setVisitor) },
  'an onSend hook': { app: (app) => app.addHook('onSend', setVisitor) },
  'an onSend hook of the route': { route: { onSend: setVisitor } },
  "an onSend hook that another plugin's onRoute adds": {
    app: (app) => app.addHook('onRoute', (route) => { route.onSend = [route.onSend ?? [], setVisitor].flat() })
  }
}

t.test('@fastify/cookie', async (t) => {
  for (const [name, setter] of Object.entries(SETTERS)) {
    for (const cache of [{ key: 'k' }, { key: 'k', shared: true }]) {
      await inBothOrders(t, `${name}${'shared' in cache ? ', shared' : ''}: no cookie is kept`, async (t, order) => {
        const app = await sideBySide(t, order, async (app) => await app.register(cookie))
        setter.app?.(app)
        app.get('/', { cache, ...setter.route }, async (request, reply) => {
          await setter.handler?.(request, reply)
          return `for ${request.headers['x-visitor'] ?? 'all'}`
        })
        await noCookieKept(t, app, setter.handler !== undefined)
      })
    }
  }
  await inBothOrders(t, 'who sends a cookie gets their own, others what is for all', byCookie)
})

async function noCookieKept (t: Test, app: FastifyInstance, isHandler: boolean): Promise<void> {
  const get = async (visitor?: string): Promise<LightMyRequestResponse> =>
    await fetch(app, { url: '/', headers: visitor === undefined ? {} : { 'x-visitor': visitor } })
  for (const visitor of ['alice', 'bob']) {
    const response = await get(visitor)
    t.strictSame([response.body, response.cookies.length], [`for ${visitor}`, 1])
    t.match(cookiesOf(response)[0], new RegExp(`^visitor=(${visitor})?$`))
    t.equal(await app.cache.inspect('k'), null, 'nothing is stored')
  }
  t.strictSame(app.cache.stats().total.refusals, { 'set-cookie': 2 })
  // One who gets no cookie leaves an entry, with which hooks go on setting theirs.
  for (const status of ['fwd=miss', 'hit']) {
    const response = await get()
    t.strictSame([outcome(response), response.body, response.cookies], [status, 'for all', []])
  }
  if (isHandler) return
  t.strictSame(cookiesOf(await get('carol')), ['visitor=carol'], 'set by a hook, on a hit')
  t.strictSame((await get()).cookies, [])
}

async function byCookie (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, async (app) => await app.register(cookie))
  app.get('/', { cache: { key: 'k' } }, async (request) => `for ${visitOf(request).cookies['visitor'] ?? 'all'}`)
  for (const [visitor, status] of [
    ['alice', 'fwd=bypass; detail=cookie'], [undefined, 'fwd=miss'], ['bob', 'fwd=bypass; detail=cookie'], [undefined, 'hit']
  ] as const) {
    const response = await fetch(app, { url: '/', headers: visitor === undefined ? {} : { cookie: `visitor=${visitor}` } })
    t.strictSame([outcome(response), response.body], [status, `for ${visitor ?? 'all'}`])
  }
}

/** Where a client's token is: in which header field, after what. */
interface Token { options: Record<string, unknown>, field: string, before: string, refusal: 400 | 401 }

const TOKENS: Record<string, Token> = {
  'Authorization header': { options: {}, field: 'authorization', before: 'Bearer ', refusal: 401 },
  cookie: {
    options: { cookie: { cookieName: 'token', signed: false } }, field: 'cookie', before: 'token=', refusal: 401
  },
  'a header field of its own': {
    options: { verify: { extractToken: (request: FastifyRequest) => request.headers['x-pass'] } },
    field: 'x-pass',
    before: '',
    refusal: 400
  }
}

const VERIFIERS = ['onRequest', 'preValidation', 'preHandler', 'handler'] as const
type Verifier = typeof VERIFIERS[number]

type Get = (user?: string) => Promise<LightMyRequestResponse>

interface Guard { token: Token, verifier: Verifier, cache: CacheOptions, body?: string }

interface Guarded { app: FastifyInstance, get: Get }

/** An app that says who asks (or always the same), and how its users ask. */
async function guarded (t: Test, order: Order, { token, verifier, cache, body }: Guard): Promise<Guarded> {
  const app = await sideBySide(t, order, async (app) => {
    await app.register(cookie)
    await app.register(jwt, { secret: SECRET, ...token.options })
  })
  const verify = async (request: FastifyRequest): Promise<void> => { await visitOf(request).jwtVerify() }
  app.get('/', { cache, ...verifier === 'handler' ? {} : { [verifier]: verify } }, async (request) => {
    if (verifier === 'handler') await verify(request)
    return body ?? `for ${nameOf(request)}`
  })
  await app.ready()
  const { jwt: signer } = app as unknown as { jwt: { sign: (payload: object) => string } }
  const get: Get = async (user) => await fetch(app, {
    url: '/', headers: user === undefined ? {} : { [token.field]: token.before + signer.sign({ name: user }) }
  })
  return { app, get }
}

/** The name in the token, once that is verified. */
function nameOf (request: FastifyRequest): string | undefined {
  return visitOf(request).user?.name
}

t.test('@fastify/jwt', async (t) => {
  for (const [name, token] of Object.entries(TOKENS)) {
    for (const verifier of VERIFIERS) {
      const where = `${name}, verified in ${verifier}`
      await inBothOrders(t, `${where}: by default past the cache`, (t, order) => pastTheCache(t, order, { token, verifier }))
      await inBothOrders(t, `${where}: identity`, (t, order) => perUser(t, order, { token, verifier }))
      if (verifier === 'handler') continue
      await inBothOrders(t, `${where}: shared`, (t, order) => sharedByUsers(t, order, { token, verifier }))
    }
  }
})

type Case = Pick<Guard, 'token' | 'verifier'>

async function pastTheCache (t: Test, order: Order, kind: Case): Promise<void> {
  const { app, get } = await guarded(t, order, { ...kind, cache: { key: 'k' } })
  for (const user of ['alice', 'bob', 'alice']) {
    const response = await get(user)
    t.strictSame([response.statusCode, response.body], [200, `for ${user}`])
    t.notMatch(outcome(response), 'hit')
    t.equal(await app.cache.inspect('k'), null)
  }
  t.equal((await get()).statusCode, kind.token.refusal)
  const { bypasses, refusals } = app.cache.stats().total
  // A token that only the handler knows how to find is seen when it has found it.
  if (kind.verifier === 'handler' && kind.token.field === 'x-pass') t.equal(refusals.credentials, 3)
  else t.equal((bypasses.authorization ?? 0) + (bypasses.user ?? 0) + (bypasses.cookie ?? 0), 3)
}

async function perUser (t: Test, order: Order, kind: Case): Promise<void> {
  const { app, get } = await guarded(t, order, { ...kind, cache: { key: 'k', identity: nameOf } })
  const seen: string[] = []
  for (const user of ['alice', 'bob', 'alice', 'bob']) {
    const response = await get(user)
    t.equal(response.body, `for ${user}`)
    seen.push(outcome(response))
    t.equal((await get()).statusCode, kind.token.refusal)
  }
  // Who asks must be known when the cache is asked: one who is found out later is never served from it.
  if (kind.verifier === 'handler') t.notMatch(seen.join(), 'hit')
  else t.strictSame(seen, ['fwd=miss', 'fwd=miss', 'hit', 'hit'])
  await app.cache.invalidate('k')
  for (const user of ['alice', 'bob']) t.notMatch(outcome(await get(user)), 'hit')
}

async function sharedByUsers (t: Test, order: Order, kind: Case): Promise<void> {
  const { get } = await guarded(t, order, { ...kind, cache: { key: 'k', shared: true }, body: 'for members' })
  for (const [user, status] of [['alice', 'fwd=miss'], ['bob', 'hit'], ['alice', 'hit']] as const) {
    const response = await get(user)
    t.strictSame([outcome(response), response.body], [status, 'for members'])
    t.equal((await get()).statusCode, kind.token.refusal)
  }
}

function withSession (options: Record<string, unknown>): Theirs {
  return async (app) => {
    await app.register(cookie)
    await app.register(session, { secret: SECRET, cookie: { secure: false }, ...options })
  }
}

const withSecureSession: Theirs = async (app) => await app.register(secureSession, { key: Buffer.alloc(32, 1) })

t.test('@fastify/session', async (t) => {
  await ownSessions(t, withSession({ saveUninitialized: false, rolling: false }))
  await inBothOrders(t, 'a session for everybody, sent again each time', cookieEachTime)
  for (const own of WHOSE_COOKIE) {
    await inBothOrders(t, `whose response sets a cookie: ${JSON.stringify(own.options)}`, (t, order) => whoseCookie(t, order, own))
  }
  await inBothOrders(t, 'a session whose cookie is kept back, as the connection is not secure', cookieKeptBack)
})

t.test('@fastify/secure-session', async (t) => {
  await ownSessions(t, withSecureSession)
})

async function ownSessions (t: Test, theirs: Theirs): Promise<void> {
  for (const shared of [false, true]) {
    const name = `a session that the handler opens${shared ? ', shared' : ''}`
    await inBothOrders(t, name, (t, order) => opened(t, order, { theirs, shared }))
  }
  await inBothOrders(t, 'a session that a hook opens', (t, order) => openedByHook(t, order, theirs))
  await inBothOrders(t, 'a session that the handler reads', (t, order) => read(t, order, { theirs, cache: { key: 'k' } }))
  await inBothOrders(t, 'identity from the session', async (t, order) => {
    const identity = (request: FastifyRequest): string => visitOf(request).session.get('name') as string
    await read(t, order, { theirs, cache: { key: 'k', identity } })
  })
}

async function opened (t: Test, order: Order, { theirs, shared }: { theirs: Theirs, shared: boolean }): Promise<void> {
  const app = await sideBySide(t, order, theirs)
  app.get('/', { cache: { key: 'k', shared } }, async (request) => {
    visitOf(request).session.set('name', request.headers['x-visitor'])
    return `hello ${request.headers['x-visitor']}`
  })
  const cookies: string[] = []
  for (const visitor of ['alice', 'bob', 'alice']) {
    const response = await fetch(app, { url: '/', headers: { 'x-visitor': visitor } })
    t.equal(response.body, `hello ${visitor}`)
    cookies.push(...cookiesOf(response))
    t.equal(await app.cache.inspect('k'), null)
  }
  t.equal(new Set(cookies).size, 3, 'each their own')
  t.equal(app.cache.stats().total.stores, 0)
}

/** Each gets their own cookie from the hook; such a request goes past the cache, as its session was changed. */
async function openedByHook (t: Test, order: Order, theirs: Theirs): Promise<void> {
  const app = await sideBySide(t, order, theirs)
  app.addHook('onRequest', async (request) => {
    if (request.headers['x-visitor'] !== undefined) visitOf(request).session.set('name', request.headers['x-visitor'])
  })
  app.get('/', { cache: { key: 'k' } }, async () => 'for all')
  const cookies: string[] = []
  const own = 'fwd=bypass; detail=session'
  for (const [visitor, status, count] of [
    ['alice', own, 1], [undefined, 'fwd=miss', 0], ['bob', own, 1], ['carol', own, 1], [undefined, 'hit', 0]
  ] as const) {
    const response = await fetch(app, { url: '/', headers: visitor === undefined ? {} : { 'x-visitor': visitor } })
    t.strictSame([outcome(response), response.body, response.cookies.length], [status, 'for all', count])
    cookies.push(...cookiesOf(response))
  }
  t.equal(new Set(cookies).size, 3)
}

async function read (t: Test, order: Order, { theirs, cache }: { theirs: Theirs, cache: CacheOptions }): Promise<void> {
  const app = await sideBySide(t, order, theirs)
  app.post('/login/:name', async (request) => {
    visitOf(request).session.set('name', (request.params as { name: string }).name)
    return 'welcome'
  })
  app.get('/', { cache }, async (request) => `for ${String(visitOf(request).session.get('name') ?? 'strangers')}`)
  const jar = new Map<string, string>()
  for (const name of ['alice', 'bob']) {
    jar.set(name, cookiesOf(await fetch(app, { method: 'POST', url: `/login/${name}` })).join('; '))
  }
  const own = cache.identity === undefined
    ? { first: 'fwd=bypass; detail=cookie', next: 'fwd=bypass; detail=cookie' }
    : { first: 'fwd=miss', next: 'hit' }
  for (const [name, status] of [
    ['alice', own.first], [undefined, 'fwd=miss'], ['bob', own.first],
    [undefined, 'hit'], ['alice', own.next], ['bob', own.next]
  ] as const) {
    const response = await fetch(app, { url: '/', headers: name === undefined ? {} : { cookie: jar.get(name)! } })
    t.strictSame([outcome(response), response.body], [status, `for ${name ?? 'strangers'}`])
    t.strictSame(response.cookies, [])
  }
}

/** As @fastify/session does it by default: nothing can be stored, as each response has somebody's cookie. */
async function cookieEachTime (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, withSession({}))
  app.get('/', { cache: { key: 'k', shared: true } }, async () => 'for all')
  const first = await fetch(app)
  const own = cookiesOf(first).join()
  const again = await fetch(app, { url: '/', headers: { cookie: own } })
  t.strictSame(cookiesOf(again), [own])
  const other = await fetch(app)
  t.not(cookiesOf(other).join(), own)
  t.strictSame([first, again, other].map(did), ['fwd=miss', 'fwd=miss', 'fwd=miss'])
  t.strictSame(app.cache.stats().total.refusals, { 'set-cookie': 3 })
}

/** Whose responses set a cookie, and so are not stored: of those who bring no session, of those who do. */
const WHOSE_COOKIE = [
  { options: { rolling: true, saveUninitialized: true }, stranger: true, user: true },
  { options: { rolling: false, saveUninitialized: true }, stranger: true, user: false },
  { options: { rolling: true, saveUninitialized: false }, stranger: false, user: true },
  { options: { rolling: false, saveUninitialized: false }, stranger: false, user: false }
]

async function whoseCookie (t: Test, order: Order, { options, ...sets }: typeof WHOSE_COOKIE[number]): Promise<void> {
  const app = await sideBySide(t, order, withSession(options))
  app.get('/', { cache: { key: 'k', shared: true } }, async () => 'for all')
  app.post('/login', async (request) => visitOf(request).session.set('name', 'alice'))
  const cookie = cookiesOf(await fetch(app, { method: 'POST', url: '/login' })).join('; ')
  for (const who of ['stranger', 'user'] as const) {
    const headers = who === 'user' ? { cookie } : {}
    const responses = [await fetch(app, { url: '/', headers }), await fetch(app, { url: '/', headers })]
    t.strictSame(responses.map(({ cookies }) => cookies.length), sets[who] ? [1, 1] : [0, 0], who)
    t.strictSame(responses.map(did), ['fwd=miss', sets[who] ? 'fwd=miss' : 'hit'], who)
    await app.cache.invalidate('k')
  }
}

/** There is no cookie then that would keep the response out, but the answer is to the one who opened the session. */
async function cookieKeptBack (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, withSession({ cookie: { secure: true }, saveUninitialized: false }))
  app.get('/', { cache: { key: 'k' } }, async (request) => {
    const visitor = request.headers['x-visitor']
    if (visitor !== undefined) visitOf(request).session.set('name', visitor)
    return `for ${String(visitOf(request).session.get('name') ?? 'strangers')}`
  })
  for (const visitor of ['alice', 'bob']) {
    const response = await fetch(app, { url: '/', headers: { 'x-visitor': visitor } })
    t.strictSame([response.body, response.cookies], [`for ${visitor}`, []])
    t.equal(await app.cache.inspect('k'), null)
  }
  // Who opens none can have what is stored.
  for (const status of ['fwd=miss', 'hit']) {
    const response = await fetch(app)
    t.strictSame([outcome(response), response.body], [status, 'for strangers'])
  }
}

/** Only where the session's hook comes before our last one is its cookie known when the header leaves. */
function did (response: LightMyRequestResponse): string {
  return outcome(response).replace('; detail=set-cookie', '')
}
