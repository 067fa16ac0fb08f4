// Nobody is served ahead of authentication, and nobody gets what is somebody else's.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import routeCache from '../../plugin/index.js'
import { readSurroundings } from '../../plugin/fastify/placement.js'
import { cachedApp, gate, loggingApp, settled, type CachedApp } from '../helpers/app.js'

const STAGES = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const
const PLACES = ['app', 'parent', 'own context', 'route'] as const
type Stage = typeof STAGES[number]
type Place = typeof PLACES[number]

/** A hook for any stage; the 401 is sent where it stands. */
async function authenticate (request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (request.headers['x-pass'] === undefined) return await reply.code(401).send('who are you?')
}

const HANDLER = async (): Promise<string> => 'secret'

/** The cached route, guarded at one stage, at one place, by a hook that is added before the route or after it. */
async function guarded (app: CachedApp, stage: Stage, { place, after }: { place: Place, after: boolean }): Promise<void> {
  const add = (instance: FastifyInstance, where: Place, when: boolean): void => {
    if (place === where && after === when) instance.addHook(stage as 'onRequest', authenticate)
  }
  add(app, 'app', false)
  await app.register(async (parent) => {
    add(parent, 'parent', false)
    await parent.register(async (own) => {
      add(own, 'own context', false)
      own.get('/secret', { cache: { key: 'secret' }, ...place === 'route' ? { [stage]: authenticate } : {} }, HANDLER)
      add(own, 'own context', true)
    })
    add(parent, 'parent', true)
  })
  add(app, 'app', true)
}

async function isGuarded (t: Test, app: CachedApp, name: string): Promise<void> {
  const known = { 'x-pass': '1' }
  t.equal((await app.inject({ url: '/secret', headers: known })).body, 'secret', name)
  await settled(app)
  const hit = await app.inject({ url: '/secret', headers: known })
  t.match([hit.body, hit.headers['cache-status']], ['secret', /; hit;/], name)
  for (const headers of [{}, { 'if-none-match': '*' }]) {
    const refused = await app.inject({ url: '/secret', headers })
    t.match([refused.statusCode, refused.body], [401, 'who are you?'], name)
  }
  const head = await app.inject({ method: 'HEAD', url: '/secret' })
  t.equal(head.statusCode, 401, name)
}

t.test('a hit comes after authentication, wherever that is', async (t) => {
  for (const stage of STAGES) {
    for (const place of PLACES) {
      for (const after of place === 'route' ? [false] : [false, true]) {
        const app = await cachedApp(t)
        await guarded(app, stage, { place, after })
        await isGuarded(t, app, `${stage} of ${place}, added ${after ? 'after' : 'before'}`)
      }
    }
  }
})

t.test("authentication that another plugin's onRoute appends", async (t) => {
  for (const stage of STAGES) {
    for (const after of [false, true]) {
      const app = await cachedApp(t)
      await app.register(async (context) => {
        const append = (): void => {
          context.addHook('onRoute', (route) => { route[stage] = [route[stage] ?? [], authenticate].flat() as never })
        }
        if (!after) append()
        await context.register(async (inner) => {
          if (after) inner.addHook('onRoute', (route) => { route[stage] = [route[stage] ?? [], authenticate].flat() as never })
          inner.get('/secret', { cache: { key: 'secret' } }, HANDLER)
        })
      })
      await isGuarded(t, app, `${stage}, the hook ${after ? 'inside' : 'outside'}`)
    }
  }
})

t.test('every response of a cached route says what the cache did, also where it was not asked', async (t) => {
  const app = await cachedApp(t)
  app.get('/secret', {
    cache: { key: 'secret' },
    schema: { querystring: { type: 'object', properties: { page: { type: 'integer' } } } },
    preHandler: authenticate
  }, HANDLER)
  const answered = 'fastify-route-cache; fwd=bypass; detail=answered'
  t.match(await app.inject('/secret'), { statusCode: 401, headers: { 'cache-status': answered } })
  t.match(await app.inject('/secret?page=x'), { statusCode: 400, headers: { 'cache-status': answered } })
  t.strictSame(app.cache.stats().total.bypasses, { answered: 2 })
})

t.test('handlers of every kind work behind the lookup', async (t) => {
  const app = await cachedApp(t)
  const preHandler = async (): Promise<void> => {}
  app.get('/async', { cache: { key: 'async' }, preHandler }, async () => 'x')
  app.get('/returns', { cache: { key: 'returns' }, preHandler }, () => 'x')
  app.get('/sends', { cache: { key: 'sends' }, preHandler }, (_, reply) => { setImmediate(() => reply.send('x')) })
  app.get('/both', { cache: { key: 'both' }, preHandler }, async (_, reply) => await reply.send('x'))
  app.get('/this', { cache: { key: 'this' }, preHandler }, function () { return this.hasDecorator('cache') ? 'x' : '' })
  for (const path of ['/async', '/returns', '/sends', '/both', '/this']) {
    t.equal((await app.inject(path)).body, 'x', path)
    await settled(app)
    t.match(await app.inject(path), { body: 'x', headers: { 'cache-status': /hit/ } }, path)
  }
  app.cache.stats()
  const other = await cachedApp(t)
  other.get('/throws', { cache: { key: 'throws' }, preHandler }, () => { throw new Error('one') })
  other.get('/rejects', { cache: { key: 'rejects' }, preHandler }, async () => { throw new Error('two') })
  t.match((await other.inject('/throws')).json(), { statusCode: 500, message: 'one' })
  t.match((await other.inject('/rejects')).json(), { statusCode: 500, message: 'two' })
})

t.test("a request that is somebody's own goes past the cache", async (t) => {
  const app = await cachedApp(t)
  app.decorateRequest('user', null)
  app.addHook('onRequest', async (request) => {
    if (request.headers['x-user'] !== undefined) (request as { user?: unknown }).user = { name: request.headers['x-user'] }
  })
  app.get('/', { cache: { key: 'k' } }, async (request) => {
    if (request.headers['x-late'] !== undefined) (request as { user?: unknown }).user = { name: 'late' }
    return (request as { user?: { name: string } }).user?.name ?? 'nobody'
  })
  const get = async (headers: Record<string, string>): Promise<[string, unknown]> => {
    const response = await app.inject({ url: '/', headers })
    return [response.body, response.headers['cache-status']]
  }
  t.strictSame(await get({ 'x-user': 'alice' }), ['alice', 'fastify-route-cache; fwd=bypass; detail=user'])
  t.strictSame(await get({ 'x-late': '1' }), ['late', 'fastify-route-cache; fwd=miss; detail=credentials'])
  t.strictSame(app.cache.stats().total.refusals, { credentials: 1 })
  t.match(await get({}), ['nobody', /miss/])
  await settled(app)
  t.match(await get({ cookie: '_ga=1' }), ['nobody', /hit/], 'a cookie that nobody has a reason to read')
  t.match(await get({ cookie: 'theme=dark' }), ['nobody', /detail=cookie/], 'a cookie that a library may read by itself')

  const reading = await cachedApp(t)
  reading.decorateRequest('cookies', null)
  reading.get('/', { cache: { key: 'k' } }, async () => 'x')
  t.equal((await reading.inject({ url: '/', headers: { cookie: 'sid=1' } })).headers['cache-status'],
    'fastify-route-cache; fwd=bypass; detail=cookie')
})

t.test('a cookie keeps a response out, whoever writes it and when', async (t) => {
  const app = await cachedApp(t)
  app.get('/flushed', { cache: { key: 'flushed' } }, async () => 'x')
  app.get('/pushed', {
    cache: { key: 'pushed' },
    onRequest: async (_, reply) => { reply.header('set-cookie', ['a=1', 'b=2']) }
  }, async (_, reply) => reply.header('set-cookie', 'sid=alice').send('x'))
  // What @fastify/cookie does: the cookies that the handler set are written when the response goes out.
  app.addHook('onSend', async (request, reply) => { if (request.url === '/flushed') reply.header('set-cookie', 'sid=alice') })
  for (const path of ['/flushed', '/pushed']) {
    await app.inject(path)
    await settled(app)
    t.equal(await app.cache.inspect(path.slice(1)), null, path)
  }
  t.strictSame(app.cache.stats().total.refusals, { 'set-cookie': 2 })
})

t.test("what the app's hooks say of a response counts", async (t) => {
  for (const [headers, refused] of [
    [{ 'cache-control': 'private, no-store' }, { 'no-store': 1 }],
    [{ vary: '*' }, { vary: 1 }],
    [{ vary: 'Origin' }, {}]
  ] as const) {
    const app = await cachedApp(t)
    app.addHook('onRequest', async (_, reply) => { reply.headers(headers) })
    app.get('/', { cache: { key: 'k' } }, async (_, reply) => reply.headers('cache-control' in headers ? headers : {}).send('x'))
    await app.inject('/')
    await settled(app)
    t.strictSame(app.cache.stats().total.refusals, refused, JSON.stringify(headers))
  }
})

t.test('noCache() in a hook before the lookup', async (t) => {
  const app = await cachedApp(t)
  app.addHook('onRequest', async (request, reply) => { if (request.headers['x-preview'] !== undefined) reply.noCache() })
  app.get('/', { cache: { key: 'k' } }, async (request) => request.headers['x-preview'] ?? 'public')
  t.equal((await app.inject({ url: '/', headers: { 'x-preview': 'draft' } })).body, 'draft')
  await settled(app)
  t.equal((await app.inject('/')).body, 'public')
  t.strictSame(app.cache.stats().total.refusals, { 'no-cache-called': 1 })
})

t.test('an answer that stands in for an error is not stored, whatever its status', async (t) => {
  const app = await cachedApp(t)
  app.setErrorHandler(async (_, __, reply) => reply.code(200).send('sorry'))
  app.get('/error', { cache: { key: 'error' } }, async () => { throw new Error('no') })
  for (const times of [1, 2]) {
    t.match(await app.inject('/error'), { statusCode: 200, body: 'sorry' })
    t.strictSame(app.cache.stats().total.refusals, { error: times })
  }
})

t.test('an onSend hook that fails: its error is what is not stored', async (t) => {
  const app = await cachedApp(t)
  let fails = true
  app.addHook('onSend', async () => { if (fails) throw new Error('no') })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  t.equal((await app.inject('/')).statusCode, 500)
  t.strictSame(app.cache.stats().total.refusals, { error: 1 })
  fails = false
  t.equal((await app.inject('/')).body, 'x')
})

t.test('onSend hooks get what the handler sent: a string, or bytes', async (t) => {
  const app = await cachedApp(t)
  const kinds: string[] = []
  app.addHook('onSend', async (_, __, payload) => { kinds.push(Buffer.isBuffer(payload) ? 'bytes' : typeof payload) })
  app.get('/text', { cache: { key: 'text' } }, async () => ({ a: 'é' }))
  app.get('/bytes', { cache: { key: 'bytes' } }, async () => Buffer.from('x'))
  for (const path of ['/text', '/text', '/bytes', '/bytes']) {
    await app.inject(path)
    await settled(app)
  }
  t.strictSame(kinds, ['string', 'string', 'bytes', 'bytes'])
})

t.test('a time-out answers during the lookup: it stays a 503, and the lease is given back', async (t) => {
  const app = await cachedApp(t)
  const key = gate()
  const sent = gate()
  app.addHook('onSend', async () => { sent.open() })
  app.get('/', { handlerTimeout: 20, cache: { key: async () => { await key.wait(); return 'k' } } }, async () => 'x')
  const response = app.inject('/')
  await sent.wait()
  key.open()
  const answered = 'fastify-route-cache; fwd=bypass; detail=answered'
  t.match(await response, { statusCode: 503, headers: { 'cache-status': answered } })
  t.match(app.cache.stats().total, { misses: 0, bypasses: { answered: 1 } })
})

t.test('the root of a prefixed context can have a key, with and without a slash', async (t) => {
  const app = await cachedApp(t)
  app.register(async (context) => { context.get('/', { cache: { key: 'home' } }, async () => 'x') }, { prefix: '/v1' })
  t.match((await app.inject('/v1')).headers['cache-status'], /miss/)
  await settled(app)
  t.match((await app.inject('/v1/')).headers['cache-status'], /hit/)
  t.match((await app.inject({ method: 'HEAD', url: '/v1/' })).headers['cache-status'], /hit/)
})

const NO_HOOKS = { preParsing: null, preValidation: null, preHandler: null, onSend: null }

t.test('the lookup stands in onRequest where nothing comes behind it, else in front of the handler', async (t) => {
  const app = await cachedApp(t)
  const hook = async (): Promise<void> => {}
  const around = async (): Promise<unknown[]> => {
    await app.ready()
    return [...readSurroundings(app).values()]
  }
  app.get('/a', { exposeHeadRoute: false, cache: { key: 'a' }, onRequest: hook }, HANDLER)
  app.get('/b/:id', { exposeHeadRoute: false, cache: { key: 'b' }, preHandler: hook, onSend: hook }, HANDLER)
  const constraints = { version: '1.0.0' }
  app.get('/c/*', { exposeHeadRoute: false, cache: { key: 'c' }, onSend: hook, constraints }, HANDLER)
  app.get('/d', { exposeHeadRoute: false }, HANDLER)
  t.strictSame((await around()).map((one) => JSON.stringify(one)).sort(), [
    { isLast: false, hasOthersOnSend: true, isFirstOnSend: true, isLastOnSend: true },
    { isLast: true, hasOthersOnSend: false, isFirstOnSend: true, isLastOnSend: true },
    { isLast: true, hasOthersOnSend: true, isFirstOnSend: true, isLastOnSend: true }
  ].map((one) => JSON.stringify(one)))
  const printer = (store: object): object => ({
    printRoutes: (options: { buildPrettyMeta: (route: object) => void }) => { options.buildPrettyMeta({ store }) }
  })
  const lookup = { name: 'bound routeCacheLookup-1' }
  for (const store of [{ onRequest: [lookup] }, { ...NO_HOOKS, onRequest: [lookup], preHandler: undefined }, {}]) {
    t.strictSame(readSurroundings(printer(store) as typeof app), new Map(), 'what can not be read is not there')
  }
  t.equal(readSurroundings(printer({ ...NO_HOOKS, onRequest: [lookup] }) as typeof app).size, 1)
})

t.test('guards in sibling contexts that each register the plugin', async (t) => {
  const { app } = loggingApp(t)
  await app.register(async (context) => {
    await context.register(routeCache, { prefix: 'a' })
    context.get('/secret', { cache: true, exposeHeadRoute: false, preHandler: authenticate }, HANDLER)
  })
  await app.register(async (context) => {
    await context.register(routeCache, { prefix: 'b' })
    context.get('/z', { cache: true, exposeHeadRoute: false }, HANDLER)
  })
  for (const token of [{ 'x-pass': '1' }, { 'x-pass': '1' }]) {
    t.equal((await app.inject({ url: '/secret', headers: token })).body, 'secret')
  }
  t.equal((await app.inject('/secret')).statusCode, 401)
})

t.test('a guard whose name can not be read in one line', async (t) => {
  for (const name of ['auth\u2028x', 'auth\nx', '"]\n• (x']) {
    const app = await cachedApp(t)
    const guard: typeof authenticate = async (request, reply) => await authenticate(request, reply)
    app.get('/secret', { cache: { key: 'secret' }, preHandler: Object.defineProperty(guard, 'name', { value: name }) }, HANDLER)
    await isGuarded(t, app, JSON.stringify(name))
  }
})

t.test('an identity that is no identity goes past the cache, and nothing is unhandled', async (t) => {
  const identities: unknown[] = [
    async () => 'x', async () => { throw new Error('no') }, () => ({ id: 1 }), () => NaN, () => true, () => Symbol('x')
  ]
  for (const identity of identities) {
    const app = await cachedApp(t)
    app.get('/', { cache: { key: 'k', identity: identity as () => string } }, HANDLER)
    for (const times of [1, 2]) {
      const response = await app.inject({ url: '/', headers: { authorization: String(times) } })
      t.match(response.headers['cache-status'], /fwd=bypass; detail=policy/)
    }
  }
})

t.test('headers count as they came, whatever the validation or the handler takes away', async (t) => {
  const app = await cachedApp(t)
  const headers = { type: 'object', properties: { 'x-kept': { type: 'string' } }, additionalProperties: false }
  for (const [path, preHandler] of [['/late', async () => {}], ['/early', undefined]] as const) {
    app.get(path, { cache: { key: path }, schema: { headers }, ...preHandler === undefined ? {} : { preHandler } }, HANDLER)
  }
  for (const path of ['/late', '/early']) {
    await app.inject(path)
    await settled(app)
    t.match((await app.inject({ url: path, headers: { authorization: 'x' } })).headers['cache-status'], /detail=authorization/)
    t.match((await app.inject({ url: path, headers: { 'if-match': '*', range: 'bytes=0-1' } })).headers['cache-status'], /; hit/)
    t.equal((await app.inject({ url: path, headers: { 'if-none-match': '*' } })).statusCode, 304)
  }
})

t.test('headers count as they came: the variant of a first fill', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async (request, reply) => {
    const tenant = request.headers['x-edition']
    delete request.headers['x-edition']
    return await reply.header('vary', 'x-edition').send(`tenant ${tenant}`)
  })
  for (const [headers, body, outcome] of [
    [{ 'x-edition': 'A' }, 'tenant A', /miss/], [{}, 'tenant undefined', /miss/], [{ 'x-edition': 'A' }, 'tenant A', /hit/]
  ] as const) {
    t.match(await app.inject({ url: '/', headers }), { body, headers: { 'cache-status': outcome } })
    await settled(app)
  }
})

t.test('an async validator passes or fails, and changes no key', async (t) => {
  const app = await cachedApp(t)
  app.setValidatorCompiler(() => (async (input: { user?: string }) => {
    if (input.user === 'nobody') throw new Error('no')
    return { value: { user: 'x' }, error: undefined }
  }) as never)
  const handler = async (request: FastifyRequest): Promise<string> => (request.query as { user: string }).user
  app.get('/', { schema: { querystring: {} }, cache: { key: 'u:{query.user}' } }, handler)
  for (const user of ['alice', 'bob']) {
    t.equal((await app.inject(`/?user=${user}`)).body, user)
    await settled(app)
  }
  t.equal((await app.inject('/?user=nobody')).statusCode, 400)
  t.strictSame(app.cache.stats().total.bypasses, { invalid: 1 })
})

t.test('a key function sees validated values, wherever the lookup stands', async (t) => {
  const app = await cachedApp(t)
  const params = { type: 'object', properties: { id: { type: 'integer' } } }
  app.get('/u/:id', { schema: { params }, cache: { key: ({ params }) => `u:${(params as { id: number }).id}` } }, HANDLER)
  await app.inject('/u/007')
  await settled(app)
  t.equal(await app.cache.invalidate('u:7'), 1)
})

/** What rejected, and nobody waited for, while this test runs. */
function lostIn (t: Test): unknown[] {
  const lost: unknown[] = []
  const note = (error: unknown): void => { lost.push(error) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  return lost
}

t.test('an answer that is wanted at once, and comes as a promise, does not end the process when it rejects', async (t) => {
  const lost = lostIn(t)
  const gone = async (): Promise<never> => await Promise.reject(new Error('no answer'))
  const app = await cachedApp(t)
  for (const option of ['honourNoCache', 'identity', 'tags']) app.get(`/${option}`, { cache: { key: option, [option]: gone } as object }, HANDLER)
  // In an app of its own, as each request of that is somebody's.
  const marked = await cachedApp(t)
  marked.decorateRequest('claims', { getter: gone } as never)
  marked.get('/claims', { cache: true }, HANDLER)
  for (const [url, one] of [['/honourNoCache', app], ['/identity', app], ['/tags', app], ['/claims', marked]] as const) {
    for (let i = 0; i < 2; i++) {
      t.equal((await one.inject({ url, headers: { 'cache-control': 'no-cache' } })).body, 'secret', url)
      await new Promise(setImmediate)
    }
  }
  t.strictSame(lost, [])
})

t.test('a key that comes as a promise, and that nobody waits for, does not end the process when it rejects', async (t) => {
  const lost = lostIn(t)
  const app = await cachedApp(t)
  const gone = async (): Promise<string> => await Promise.reject(new Error('no key'))
  app.get('/rejects', { cache: { key: gone } }, HANDLER)
  let calls = 0
  // The first is for the request itself, those that follow for one with another credential.
  app.get('/throws', {
    cache: {
      key: () => {
        if (++calls === 3) throw new Error('at once')
        return gone()
      }
    }
  }, HANDLER)
  const credentials = ['token', 'sig', 'signature', 'api_key', 'access_token', 'password']
  for (const url of ['/rejects', '/throws']) {
    for (const count of [0, 1, 2, credentials.length]) {
      calls = 0
      const query = credentials.slice(0, count).map((name) => `${name}=x`).join('&')
      t.equal((await app.inject(`${url}?${query}`)).body, 'secret', `${url}, ${count} credentials`)
      await new Promise(setImmediate)
    }
  }
  t.strictSame(lost, [])
})
