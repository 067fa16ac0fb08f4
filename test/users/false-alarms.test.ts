// What apps as users write them have to say so that nobody gets another's answer and everybody has hits: how many options
// are about users (`says`), and that there is no line in the log then. Demo and examples say no more than they did.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { readFile, readdir } from 'node:fs/promises'
import t from 'tap'
import type { CacheOptions, RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, settled } from '../helpers/app.js'

interface App {
  plugin?: RouteCacheOptions
  declare: (app: FastifyInstance) => unknown
  /** Requests, each with what a second one like it is answered; and by whom. */
  requests: Array<[url: string, headers: Record<string, string>, outcome: RegExp]>
  /** How many lines of it are about users. */
  says: number
  /** How many lines the log has, beside. */
  warns?: number
}

type Users = FastifyRequest & { user?: { id: string, tenant: string } }
const userOf = (request: FastifyRequest): { id: string, tenant: string } | undefined => (request as Users).user
const authenticate = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
  const token = request.headers.authorization ?? request.headers['x-api-key']
  if (token === undefined) return await reply.code(401).send('who are you?')
  Object.assign(request, { user: { id: String(token), tenant: 'acme' } })
}
const perUser: CacheOptions = { identity: (request) => userOf(request)?.id }
const forAll: CacheOptions = { shared: true }
const BROWSER = '_ga=GA1.1.1; _ga_AB12CD34EF=GS2.1; _fbp=fb.1.2; _gcl_au=1.1; _hjSessionUser_123=e30='
const HIT = /; hit;/
const OWN = /detail=(?:cookie|authorization)/

const APPS: Record<string, App> = {
  'a public API behind a CDN': {
    declare: (app) => {
      for (const path of ['/posts', '/posts/:id', '/tags', '/feed']) app.get(path, { cache: true }, async () => 'x')
    },
    requests: [
      ['/posts', {}, HIT],
      ['/posts/7', { cookie: '__cf_bm=a; _cfuvid=b; cf_clearance=c' }, HIT],
      ['/tags', { cookie: `${BROWSER}; AWSALB=a; AWSALBCORS=b`, 'x-forwarded-for': '192.0.2.1', 'cf-connecting-ip': '192.0.2.1' }, HIT],
      ['/feed', { 'x-request-id': '1', traceparent: '00-1-1-01', 'x-amzn-trace-id': 'Root=1', 'x-forwarded-proto': 'https' }, HIT]
    ],
    says: 0
  },
  'an API with tokens': {
    declare: (app) => {
      app.get('/prices', { onRequest: authenticate, cache: forAll }, async () => 'x')
      app.get('/me', { onRequest: authenticate, cache: perUser }, async (request) => userOf(request)?.id)
      app.get('/team', {
        onRequest: authenticate, cache: { identity: (request) => [userOf(request)?.tenant] }
      }, async (request) => userOf(request)?.tenant)
      app.get('/health', { cache: true }, async () => 'x')
    },
    requests: [
      ['/prices', { authorization: 'alice' }, HIT], ['/me', { authorization: 'alice' }, HIT], ['/me', { authorization: 'bob' }, HIT],
      ['/team', { authorization: 'bob' }, HIT], ['/health', {}, HIT]
    ],
    says: 3
  },
  'a site with sessions': {
    plugin: { cookies: ['sid'] },
    declare: (app) => {
      app.addHook('onRequest', async (request) => {
        const id = /(?:^|; )sid=(\w+)/.exec(request.headers.cookie ?? '')?.[1]
        Object.assign(request, { session: { cookie: {}, ...id !== undefined && { user: id } } })
      })
      const name = (request: FastifyRequest): string => (request as unknown as { session: { user?: string } }).session.user ?? ''
      for (const path of ['/', '/about', '/blog/:slug']) app.get(path, { cache: true }, async (request) => `hello ${name(request)}`)
      app.get('/account', { cache: { identity: name } }, async (request) => `hello ${name(request)}`)
    },
    requests: [
      ['/', {}, HIT], ['/about', { cookie: BROWSER }, HIT], ['/blog/x', { cookie: `${BROWSER}; theme=dark; cookieconsent=yes` }, HIT],
      ['/', { cookie: `${BROWSER}; sid=alice` }, OWN], ['/account', { cookie: 'sid=alice' }, HIT], ['/account', { cookie: 'sid=bob' }, HIT]
    ],
    says: 2
  },
  'an internal API with keys, in a mesh': {
    plugin: { credentials: ['!x-forwarded-client-cert'] },
    declare: (app) => {
      app.get('/rates', { preHandler: authenticate, cache: forAll }, async () => 'x')
      app.get('/orders', { preHandler: authenticate, cache: perUser }, async (request) => userOf(request)?.id)
      app.get('/catalogue', { cache: true }, async () => 'x')
      app.get('/by-key', { cache: { vary: ['x-api-key'] } }, async (request) => request.headers['x-api-key'])
    },
    requests: [
      ['/rates', { 'x-api-key': 'a' }, HIT], ['/orders', { 'x-api-key': 'a' }, HIT], ['/orders', { 'x-api-key': 'b' }, HIT],
      ['/catalogue', { 'x-forwarded-client-cert': 'By=spiffe://x' }, HIT], ['/by-key', { 'x-api-key': 'a' }, HIT]
    ],
    says: 4
  },
  // Its guards run within the handler that the adapter declares, so a hit has to name its user before them.
  'Nest-like': {
    declare: (app) => {
      type Run = (request: FastifyRequest) => unknown
      const guarded = (run: Run) => async (request: FastifyRequest, reply: FastifyReply) => {
        await authenticate(request, reply)
        return reply.sent ? reply : await run(request)
      }
      app.get('/cats', { cache: true }, async () => 'x')
      const cache: CacheOptions = { identity: ({ headers }) => headers.authorization }
      app.get('/profile', { cache }, guarded((request) => userOf(request)?.id))
      app.get('/unsaid', { cache: true }, guarded((request) => userOf(request)?.id))
    },
    requests: [
      ['/cats', {}, HIT], ['/cats', { cookie: BROWSER }, HIT], ['/profile', { authorization: 'alice' }, HIT],
      ['/profile', { authorization: 'bob' }, HIT], ['/unsaid', { authorization: 'alice' }, OWN]
    ],
    says: 1,
    // Of the route that says nothing.
    warns: 1
  }
}

const ABOUT_USERS = /\b(?:identity|shared|cookies|credentials|vary)\b/

for (const [name, { plugin, declare, requests, says, warns = 0 }] of Object.entries(APPS)) {
  t.test(name, async (t) => {
    const app = await cachedApp(t, plugin)
    let said = Object.keys(plugin ?? {}).length
    app.addHook('onRoute', ({ method, cache }) => {
      if (method !== 'GET' || typeof cache !== 'object') return
      said += Object.keys(cache).filter((option) => ABOUT_USERS.test(option)).length
    })
    declare(app)
    for (const [url, headers, outcome] of requests) {
      await app.inject({ url, headers })
      await settled(app)
      t.match((await app.inject({ url, headers })).headers['cache-status'], outcome, `${url} ${JSON.stringify(headers)}`)
      await settled(app)
    }
    const lines = app.lines.filter(({ level }) => Number(level) >= 40)
    t.equal(lines.length, warns, JSON.stringify(lines.map(({ msg }) => msg)))
    t.equal(said, says, 'options about users')
  })
}

/** By file: how many options about users it says. The others say none. */
const SAYS: Record<string, number> = { 'accounts.mjs': 2 }

t.test('the demo and the examples say nothing more about users', async (t) => {
  for (const folder of ['examples/', 'demo-app/', 'demo-app/routes/']) {
    for (const file of await readdir(new URL(`../../${folder}`, import.meta.url))) {
      if (!/\.(?:mjs|ts)$/.test(file)) continue
      const text = await readFile(new URL(`../../${folder}${file}`, import.meta.url), 'utf8')
      t.equal(text.match(/\b(?:identity|shared|cookies|credentials|vary): /g)?.length ?? 0, SAYS[file] ?? 0, folder + file)
    }
  }
})

t.test('a browser that has only cookies of analytics has hits, wherever the app reads cookies', async (t) => {
  const app = await cachedApp(t)
  app.decorateRequest('cookies', null)
  app.addHook('onRequest', async (request) => {
    Object.assign(request, { cookies: Object.fromEntries((request.headers.cookie ?? '').split('; ').map((pair) => pair.split('='))) })
  })
  app.get('/', { cache: true }, async () => 'x')
  const outcomes: string[] = []
  for (const cookie of [BROWSER, BROWSER.replaceAll('1', '2'), `${BROWSER}; sid=alice`]) {
    outcomes.push(String((await app.inject({ url: '/', headers: { cookie } })).headers['cache-status']).replace('fastify-route-cache; ', ''))
    await settled(app)
  }
  t.strictSame(outcomes, ['fwd=miss', 'hit; ttl=60', 'fwd=bypass; detail=cookie'])
})
