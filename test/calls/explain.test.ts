// `cache.explain`: what would happen to a request and why, without its happening.
import type { FastifyReply, FastifyRequest } from 'fastify'
import t from 'tap'
import type { ExplainKeyOption, ExplainOption, Explanation } from '../../plugin/index.js'
import { assertHit, assertMiss, assertStale, faultyStore, recovered, settled } from '../../plugin/extras/testing/index.js'
import { BYPASS_WORDS, MISS_WORDS, REFUSAL_WORDS, STALE_WORDS, UNCACHED_WORDS } from '../../plugin/telling/reasons.js'
import { beyondLookup, cachedApp, gate, loggingApp, onEachStore, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

/** The same question as `inject` asks, and what nothing may have changed. */
async function explained (app: CachedApp, request: string | ExplainOption | ExplainKeyOption): Promise<Explanation> {
  const before = JSON.stringify(app.cache.stats())
  const explanation = await app.cache.explain(request)
  const after = JSON.parse(JSON.stringify(app.cache.stats()))
  // What the tier heard of from Redis meanwhile is not of our doing.
  if (JSON.stringify(after) !== before) throw new Error(`explaining has changed ${before} to ${JSON.stringify(after)}`)
  return explanation
}

const german = { 'accept-language': 'de' }

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })

  await t.test('a miss, then a hit: the route, its policy, the entry and its tags', async (t) => {
    let time = 0
    const app = await opened({ now: () => Date.UTC(2026, 0, 1) + time })
    let runs = 0
    app.get('/users/:id', { cache: { key: 'user:{id}', ttl: '10m', tags: ['users'] } }, async (request, reply) => {
      runs++
      reply.cacheTags('team:red')
      return { id: request.params }
    })
    const missing = await explained(app, '/users/7')
    t.match(missing, {
      outcome: 'miss',
      reason: 'absent',
      route: 'GET /users/:id',
      key: 'user:7',
      variant: null,
      entry: null,
      lease: 'none',
      policy: { ttl: '10m', tags: ['users'], shared: false, identity: false, vary: [], version: null, lookup: 'onRequest' }
    })
    t.strictSame(missing.tags.map(({ tag, state }) => [tag, state]), [['users', null]])
    t.equal(missing.text.split('\n')[0], `GET /users/7: miss, as ${MISS_WORDS.absent}`)
    t.equal(runs, 0)

    assertMiss(await app.inject('/users/7'))
    await settled(app)
    time = 12_000
    const hit = await explained(app, { url: '/users/7', method: 'get' })
    t.match(hit, {
      outcome: 'hit', reason: 'fresh', entry: { status: 200, age: 12, ttl: 588, size: 17, isValid: true }, lease: 'none'
    })
    t.strictSame(hit.tags.map(({ tag, state }) => [tag, state]), [['users', 'valid'], ['team:red', 'valid']])
    for (const { generation } of hit.tags) t.ok(generation! <= hit.entry!.asOf)
    t.equal(hit.text, [
      'GET /users/7: hit, as what is stored is fresh',
      'route GET /users/:id, key "user:7"',
      'policy: ttl 10m; tags users; lookup in onRequest',
      'entry: status 200, 17 bytes, stored 12 s ago, 588 s to live',
      'tag "users": not invalidated since the entry\'s handler began',
      'tag "team:red": not invalidated since the entry\'s handler began'
    ].join('\n'))
    t.match(await explained(app, { url: '/users/7', method: 'HEAD' }), { outcome: 'hit', text: /^HEAD \/users\/7: hit/ })
    t.match(await explained(app, { url: '/users/8', method: 'HEAD' }), { outcome: 'miss', text: /only GET fills/ })
    t.equal(runs, 1)
    assertHit(await app.inject('/users/7'))
  })

  await t.test('why an entry is not valid any more', async (t) => {
    const app = await opened()
    app.get('/:id', { cache: { key: '{id}', ttl: 10, tags: ['policy'] } }, async (_, reply) => {
      reply.cacheTags('own')
      return 'x'
    })
    const filled = async (): Promise<void> => { await app.inject('/k'); await settled(app) }
    for (const tag of ['policy', 'own']) {
      await filled()
      await app.cache.invalidate({ tags: [tag] })
      const { outcome, reason, entry, tags, text } = await explained(app, '/k')
      t.strictSame([outcome, reason, entry?.isValid], ['miss', 'tag', false], tag)
      const states = Object.fromEntries(tags.map(({ tag, state }) => [tag, state]))
      t.strictSame(states, { policy: 'valid', own: 'valid', [tag]: 'invalidated' })
      t.match(text, `tag "${tag}": invalidated since the entry's handler began`)
      assertMiss(await app.inject('/k'))
    }
    await filled()
    const working = gate()
    const mutating = app.cache.mutate({ tags: ['own'] }, working.wait)
    await working.reached
    t.match(await explained(app, '/k'), { reason: 'tag', tags: [{ state: 'valid' }, { tag: 'own', state: 'quarantine', generation: null }] })
    working.open()
    await mutating

    await filled()
    await app.cache.invalidate({ all: true })
    const after = await explained(app, '/k')
    t.equal(after.outcome, 'miss')
    // The in-process store has dropped it by then; Redis has it yet, of another history.
    t.equal(after.reason, app.cache.stats().store === 'redis' ? 'history' : 'absent')
    await filled()
    await app.cache.invalidate('k')
    t.match(await explained(app, '/k'), { outcome: 'miss', reason: 'absent', entry: null })
  })

  await t.test('stale, expired, and where the handler has failed', async (t) => {
    let time = 0
    let isDown = false
    const app = await opened({ now: () => Date.UTC(2026, 0, 1) + time })
    app.get('/swr', { cache: { key: 'swr', ttl: 10, staleWhileRevalidate: 20, staleIfError: 60, tags: ['t'] } }, async () => {
      if (isDown) throw new Error('down')
      return 'x'
    })
    await app.inject('/swr')
    await settled(app)
    time = 15_000
    t.match(await explained(app, '/swr'), {
      outcome: 'stale', reason: 'stale-while-revalidate', entry: { ttl: -5, isValid: true }, text: /stale since 5 s/
    })
    time = 31_000
    t.match(await explained(app, '/swr'), { outcome: 'miss', reason: 'expired' })
    isDown = true
    assertStale(await app.inject('/swr'), { reason: 'stale-if-error' })
    await settled(app)
    const failing = await explained(app, '/swr')
    t.match(failing, { outcome: 'stale', reason: 'stale-if-error' })
    t.ok(failing.text.includes(STALE_WORDS['stale-if-error']))

    isDown = false
    await app.cache.invalidate('swr')
    await app.inject('/swr')
    await settled(app)
    await app.cache.invalidate({ tags: ['t'] }, { soft: true })
    t.match(await explained(app, '/swr'), { outcome: 'stale', tags: [{ tag: 't', state: 'stale' }] })
  })

  await t.test('a key: what lies under it, whichever route or call it is of', async (t) => {
    let time = 0
    const app = await opened({ now: () => Date.UTC(2026, 0, 1) + time })
    app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 10, staleWhileRevalidate: 20, tags: ['users'] } }, async () => 'x')
    app.get('/hello', { cache: { key: 'hello', vary: ['accept-language'], ttl: 10 } }, async () => 'hello')
    const none = await explained(app, { key: 'user:7' })
    t.match(none, { outcome: 'miss', reason: 'absent', route: null, policy: null, key: 'user:7', entry: null, tags: [], lease: 'none' })
    t.equal(none.text, `key "user:7": miss, as ${MISS_WORDS.absent}`)

    await app.inject('/users/7')
    await app.inject({ url: '/hello', headers: german })
    await app.cache.getOrSet('rate', { ttl: 20, tags: ['rates'] }, () => 1.1)
    await settled(app)
    time = 4_000
    const hit = await explained(app, { key: 'user:7' })
    t.match(hit, { outcome: 'hit', reason: 'fresh', entry: { status: 200, age: 4, ttl: 6, isValid: true }, tags: [{ tag: 'users', state: 'valid' }] })
    t.equal(hit.text, [
      'key "user:7": hit, as what is stored is fresh',
      'entry: status 200, 1 bytes, stored 4 s ago, 6 s to live',
      'tag "users": not invalidated since the entry\'s handler began'
    ].join('\n'))
    t.match(await explained(app, { key: 'rate' }), {
      outcome: 'hit', key: 'rate', entry: { ttl: 16 }, tags: [{ tag: 'rates', state: 'valid' }], text: /^value under key "rate": hit/
    })
    t.match(await explained(app, { key: 'hello' }), {
      outcome: 'miss', variant: { members: ['accept-language'] }, text: /\nkey "hello", variant by accept-language$/
    })
    t.match(await explained(app, { key: 'hello', headers: { 'Accept-Language': 'de' } }), { outcome: 'hit', entry: { ttl: 6 } })

    time = 12_000
    t.match(await explained(app, { key: 'user:7' }), { outcome: 'stale', reason: 'stale-while-revalidate', entry: { ttl: -2 } })
    // The in-process store drops by this clock, Redis by its own.
    const reason = app.cache.stats().store === 'redis' ? 'expired' : 'absent'
    t.match(await explained(app, { key: 'hello', headers: german }), { outcome: 'miss', reason })
    await app.cache.invalidate({ tags: ['users'] })
    t.match(await explained(app, { key: 'user:7' }), {
      outcome: 'miss', reason: 'tag', entry: { isValid: false }, tags: [{ tag: 'users', state: 'invalidated' }]
    })
    await app.cache.invalidate('rate')
    t.match(await explained(app, { key: 'rate' }), { outcome: 'miss', reason: 'absent', text: /^key "rate": miss/ })

    for (const [option, message] of [
      [{ key: '' }, /a key is a non-empty string/],
      [{ key: 'a', url: '/b' }, /url is "\/b"; there is no such option beside key; there is: headers/],
      [{ key: 'a', headers: ['x'] }, /headers is \["x"\]; write \{ name: value \}/]
    ] as const) await t.rejects(app.cache.explain(option as never), { name: 'RouteCacheError', message })
    const { redis } = app.cache
    t.equal(redis === null, app.cache.stats().store === 'memory')
    if (redis !== null) t.equal(await redis.get('app-none'), null)
  })

  await t.test('why nothing is ever stored', async (t) => {
    const app = await opened()
    let field = 'no-store'
    app.get('/x', { cache: { key: 'x' } }, async (_, reply) => reply.header('cache-control', field).send('x'))
    const asked = async (): Promise<void> => { await app.inject('/x'); await settled(app) }
    t.notMatch((await explained(app, '/x')).text, 'not stored')
    await asked()
    field = 'private'
    await asked()
    await asked()
    const { refusals, text } = await explained(app, '/x')
    t.strictSame(refusals, { 'no-store': 1, private: 2 })
    t.strictSame(text.split('\n').slice(-2), [
      `not stored, 2 of the route's responses since the start: ${REFUSAL_WORDS.private}`,
      `not stored, 1 of the route's responses since the start: ${REFUSAL_WORDS['no-store']}`
    ])
    field = 'max-age=60'
    await asked()
    const hit = await explained(app, '/x')
    t.equal(hit.outcome, 'hit')
    t.notMatch(hit.text, 'not stored')
  })

  await t.test('variants: by vary, by identity, by what the response says', async (t) => {
    const app = await opened({ version: 'v1' })
    const user = async (request: object): Promise<void> => { Object.assign(request, { user: { name: 'ann' } }) }
    app.get('/vary', { cache: { key: 'vary', vary: ['Accept-Language'] } }, async () => 'x')
    app.get('/said', { cache: { key: 'said' } }, async (_, reply) => reply.header('vary', 'accept-language').send('x'))
    app.get('/me', {
      preHandler: user, cache: { key: 'me', identity: (request) => (request as unknown as { user: { name: string } }).user.name }
    }, async () => 'x')
    app.get('/taken', {
      preHandler: user,
      schema: { headers: { type: 'object', properties: {}, additionalProperties: false } },
      cache: { key: 'taken', shared: true, vary: ['accept-language'] }
    }, async () => 'x')
    for (const url of ['/vary', '/said', '/me']) {
      await app.inject({ url, headers: german })
      await settled(app)
      const own = await explained(app, { url, headers: { 'Accept-Language': 'de' } })
      t.match(own, { outcome: 'hit', key: url.slice(1) }, url)
      t.match(own.variant?.fingerprint, /^[\w-]{22}$/)
      const other = await explained(app, { url, headers: { 'accept-language': 'en' } })
      if (url === '/me') t.match(other, { outcome: 'hit', variant: { members: [':identity', ':version'] }, policy: { identity: true, lookup: 'handler' } })
      else t.match(other, { outcome: 'miss', reason: 'absent', variant: { members: [':version', 'accept-language'] } })
      t.match(own.text, url === '/me' ? /variant by identity, version/ : /variant by version, accept-language/)
    }
    await app.inject({ url: '/taken', headers: german })
    await settled(app)
    t.match(await explained(app, { url: '/taken', headers: german }), { outcome: 'hit' }, 'validation takes the field away')
    t.match(await explained(app, '/taken'), { outcome: 'miss' })
    const bare = await cachedApp(t)
    t.equal((await bare.cache.explain('/x')).variant, null)
  })

  await t.test('what was stored under another marker, or without what the policy tells apart', async (t) => {
    const app = await opened()
    app.get('/said', { cache: { key: 'said' } }, async (_, reply) => reply.header('vary', 'accept-language').send('x'))
    app.get('/plain', { cache: { key: () => 'shared-key' } }, async () => 'x')
    app.get('/vary', { cache: { key: () => 'shared-key', vary: ['accept-language'] } }, async () => 'x')
    const fill = async (url: string, headers = {}): Promise<void> => {
      await app.inject({ url, headers })
      await settled(app)
    }
    await fill('/said', german)
    await app.cache.invalidate('said')
    await fill('/said')
    t.match(await explained(app, { url: '/said', headers: german }), { outcome: 'miss', reason: 'absent', entry: null })
    await fill('/said', german)
    const { redis, prefix } = app.cache
    // Redis has evicted the list of variants, so they stay when their marker goes.
    await redis?.unlink(`{${prefix}:said}:variants`)
    await app.cache.invalidate('said')
    await fill('/said')
    const left = redis == null ? { reason: 'absent', entry: null } : { reason: 'epoch', entry: { isValid: false } }
    t.match(await explained(app, { url: '/said', headers: german }), { outcome: 'miss', ...left })
    await fill('/plain')
    t.match(await explained(app, '/vary'), { outcome: 'miss', reason: 'vary', entry: { isValid: false } })
    await fill('/said', german)
    t.match(await explained(app, { url: '/said', headers: german }), { outcome: 'hit' })
  })

  await t.test('who fills it now', async (t) => {
    const app = await opened()
    const running = gate()
    app.get('/', { cache: { key: 'k' } }, async (_, reply) => { await running.wait(); return reply.noCache().send('x') })
    const first = app.inject('/')
    await running.reached
    const held = /another request is filling it, and this one would wait/
    t.match(await explained(app, '/'), { outcome: 'miss', lease: 'held', text: held })
    running.open()
    await first
    await settled(app)
    t.match(await explained(app, '/'), { outcome: 'miss', lease: 'pass', text: /nobody waits for it/ })
  })

  await t.test('it takes no lease, and leaves no trace for who comes next', async () => {
    const app = await opened()
    const running = gate()
    app.get('/', { cache: { key: 'k' } }, async () => { await running.wait(); return 'x' })
    await Promise.all([explained(app, '/'), app.cache.explain('/')])
    const first = app.inject('/')
    await running.reached
    const second = app.inject('/')
    await beyondLookup(app)
    running.open()
    assertMiss(await first)
    assertHit(await second, { collapsed: true })
  })
})

t.test('what is no entry', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  const app = await cachedApp(t, { redis })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await redis.set('cache:k', 'not ours')
  t.match(await explained(app, '/'), { outcome: 'miss', reason: 'unreadable', entry: null })
  await redis.del('cache:k')
  const names = async (): Promise<string[]> => (await redis.keys('*')).sort()
  const before = await names()
  t.match(await explained(app, '/'), { outcome: 'miss', reason: 'absent' })
  t.strictSame(await names(), before)
})

t.test('why a request goes past the cache, in words', async (t) => {
  const app = await cachedApp(t)
  app.decorateRequest('cookies', { getter: () => ({}) })
  let runs = 0
  const handler = async (): Promise<string> => String(++runs)
  app.get('/', { cache: { key: 'k', when: (request) => request.headers['x-preview'] === undefined } }, handler)
  app.get('/number', {
    schema: { querystring: { type: 'object', properties: { n: { type: 'integer' } } } }, cache: { honourNoCache: true, ttl: () => 7 }
  }, handler)
  app.get('/throws', { cache: { key: () => { throw new Error('no such tenant') } } }, handler)
  app.addHook('onRequest', async (request) => { if (request.url === '/user') Object.assign(request, { user: { id: 1 } }) })
  app.get('/user', { cache: true }, handler)
  app.get('/shared', { cache: { shared: true, ttl: 5 } }, handler)
  const cases: Array<[url: string, headers: Record<string, string>, reason: keyof typeof BYPASS_WORDS, more?: RegExp]> = [
    ['/', { authorization: 'Bearer x' }, 'authorization', /say cache: \{ identity: .* or cache: \{ shared: true \}/],
    ['/', { cookie: 'a=b' }, 'cookie'],
    ['/user', {}, 'user'],
    ['/', { 'content-length': '2' }, 'content'],
    ['/number?n=x', {}, 'invalid'],
    ['/', { 'x-preview': '1' }, 'when'],
    ['/throws', {}, 'policy', /: no such tenant$/m]
  ]
  for (const [url, headers, reason, more = /^/] of cases) {
    const explanation = await explained(app, { url, headers })
    t.match(explanation, { outcome: 'bypass', reason, key: null, entry: null, tags: [], lease: null, text: more }, reason)
    t.ok(explanation.text.startsWith(`GET ${url}: bypass, as ${BYPASS_WORDS[reason]}`))
  }
  t.match(await explained(app, { url: '/shared', headers: { authorization: 'x' } }), { outcome: 'miss', policy: { shared: true, ttl: 5 } })
  t.match(await explained(app, { url: '/number?n=1', headers: { 'cache-control': 'no-cache' } }), {
    outcome: 'miss', reason: 'forced', policy: { ttl: 'function' }
  })
  t.match(await explained(app, '/'), { policy: { ttl: 60 } }, 'the plugin\'s where the route has none')
  app.cache.enabled = false
  t.match(await explained(app, '/'), { outcome: 'bypass', reason: 'disabled' })
  t.equal(runs, 0)
  t.strictSame(app.lines.filter(({ level }) => Number(level) > 30), [], 'the log is not told of it')
  app.cache.enabled = true
  await app.inject({ url: '/', headers: { authorization: 'x' } })
  t.equal(app.lines.filter(({ level }) => Number(level) > 30).length, 1, 'and is told when it happens')
})

t.test('what keeps the store from being asked', async (t) => {
  const store = faultyStore()
  const app = await cachedApp(t, { store, breakerThreshold: 2, deadline: '20ms', writeDeadline: '20ms' })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  store.fail()
  t.match(await app.cache.explain('/'), { outcome: 'bypass', reason: 'store', key: 'k', text: /the store failed.*: the store fails, as/ })
  store.hang()
  t.match(await app.cache.explain('/'), { outcome: 'bypass', reason: 'store' })
  await app.cache.invalidate('k').catch(() => {})
  t.match(await app.cache.explain('/'), { outcome: 'bypass', reason: 'journal' })
  store.mend()
  await recovered(app)
  store.fail()
  while (app.cache.stats().breaker === 'closed') await app.inject('/')
  t.match(await app.cache.explain('/'), { outcome: 'bypass', reason: 'breaker', key: 'k' })
  store.mend()
  await recovered(app)
  t.match(await app.cache.explain('/'), { outcome: 'miss' })
})

t.test('hooks run as they do for clients, and what answers ahead of the lookup is told', async (t) => {
  const app = await cachedApp(t)
  const outcomes: unknown[] = []
  let runs = 0
  const guard = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    outcomes.push(request.cacheOutcome)
    return 'x-passes' in request.headers ? undefined : await reply.code(401).send('who are you?')
  }
  const handler = async (): Promise<string> => String(++runs)
  app.get('/early', { onRequest: guard, cache: { key: 'early' } }, handler)
  app.get('/late', { preHandler: guard, cache: { key: 'late' } }, handler)
  app.get('/checked', {
    preHandler: async () => {}, schema: { querystring: { type: 'object', required: ['q'] } }, cache: { key: 'checked' }
  }, handler)
  for (const url of ['/early', '/late']) {
    t.match(await explained(app, url), { outcome: 'bypass', reason: 'answered', route: `GET ${url}`, policy: null, text: /\(with 401\)/ }, url)
    t.match(await explained(app, { url, headers: { 'x-passes': '1' } }), { outcome: 'miss', reason: 'absent', key: url.slice(1) })
  }
  t.match(await explained(app, '/checked'), { outcome: 'bypass', reason: 'answered', text: /\(with 400\)/ })
  t.strictSame(outcomes, Array(4).fill({ type: 'own', key: null, why: 'explain' }))
  t.equal(runs, 0)
})

t.test('what is not cached at all', async (t) => {
  const { app } = loggingApp(t)
  let runs = 0
  const handler = async (): Promise<string> => String(++runs)
  app.get('/earlier', handler)
  app.addHook('onRequest', async (request, reply) => {
    if (request.url === '/blocked') return await reply.code(403).send('no')
  })
  await app.register((await import('../../plugin/index.js')).default)
  app.get('/plain/:id', handler)
  app.post('/plain', handler)
  app.get('/blocked', { cache: true }, handler)
  const explain = async (request: string | ExplainOption): Promise<Explanation> => await app.cache.explain(request)
  const absent = { outcome: null, policy: null, key: null, variant: null, entry: null, lease: null }
  const nothing = { ...absent, tags: [], refusals: {}, warnings: [] }
  t.strictSame(await explain('/plain/7'), {
    ...nothing, reason: 'uncached', route: '/plain/:id', text: `GET /plain/7: not cached, as ${UNCACHED_WORDS.uncached}`
  })
  t.match(await explain('/earlier'), { ...nothing, reason: 'uncached', route: '/earlier' })
  t.match(await explain('/nothing'), { ...nothing, reason: 'not-found', route: null })
  const posted = /^POST \/plain: not cached, as only GET and HEAD/
  t.match(await explain({ url: '/plain', method: 'POST' }), { ...nothing, reason: 'method', text: posted })
  t.match(await explain('/blocked'), { ...nothing, reason: 'unseen', text: /\(with 403\)$/ })
  t.equal(runs, 0)
})

t.test('bad input, and an app that closes', async (t) => {
  const app = await cachedApp(t)
  const cases: Array<[request: unknown, message: RegExp]> = [
    [undefined, /^cache\.explain: request is undefined/],
    ['users', /^cache\.explain: request is "users"; it is a path/],
    [{ url: '/', body: 'x' }, /request\.body is "x"; there is no such option; there are: url, headers, method/],
    [{ url: '/', method: 7 }, /request\.method is 7/],
    [{ url: '/', headers: [] }, /request\.headers is \[\]/]
  ]
  for (const [request, message] of cases) {
    await t.rejects(app.cache.explain(request as string), { code: 'FRC_OPTION', message }, String(message))
  }
  await app.close()
  await t.rejects(app.cache.explain('/'), { code: 'FRC_ROUTE', message: /^cache\.explain: "GET \/" can't be explained/ })
})

t.test('a key by either name, as it was written or as it is shown, whatever signs it has', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    const { cache } = app
    const keyOf = ({ params }: { params: unknown }): string => (params as { key: string }).key
    app.get('/written/:key', { cache: { key: keyOf } }, async (request) => keyOf(request))
    const written = [
      'a%~b', 'a%<b', 'a%_<b', 'k%>', 'a%!D800', '{x}', 'a{value}', '#tag:users', '#floor', 'lease:{cache:a}', '{cache:a}:v:x', '%7B',
      '*', ' ', '__proto__'
    ]
    for (const key of written) {
      const url = `/written/${encodeURIComponent(key)}`
      await app.inject(url)
      await settled(app)
      const { key: stored } = await cache.explain(url)
      for (const name of [key, stored!]) {
        t.match(await cache.inspect(name), { status: 200 }, name)
        t.equal(String((await cache.get(name))?.body), key, name)
        t.match(await cache.explain({ key: name }), { outcome: 'hit', key: stored }, name)
      }
      t.equal(await cache.invalidate(key), 1, key)
      t.equal(await cache.inspect(key), null)
      await cache.getOrSet(key, {}, () => 'value')
      await settled(app)
      t.match(await cache.explain({ key }), { outcome: 'hit', key: stored, text: /^value under key/ })
      await cache.invalidate(key)
    }
    for (const key of ['a{b', 'a%<b']) await app.inject(`/written/${encodeURIComponent(key)}`)
    await settled(app)
    for (const [name, key] of [['a{b', 'a{b'], ['a%<b', 'a%<b'], ['a%_<b', 'a%<b']] as const) {
      t.equal(String((await cache.get(name))?.body), key, `${name}: what is written so comes before what is shown so`)
    }
  })
})
