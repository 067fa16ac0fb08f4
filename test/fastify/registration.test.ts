// Registering: what the options must be, which client is used, what the decorators are, and what is refused.
import fastifyRedis from '@fastify/redis'
import type { RouteOptions } from 'fastify'
import t from 'tap'
import routeCache, { RouteCacheError, type RouteCache } from '../../plugin/index.js'
import { loggingApp, settled } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

const NO_REDIS = /no Redis client given or found/

t.test('wrong options throw, and say what would be right', async (t) => {
  const wrong: [options: Record<string, unknown>, message: RegExp][] = [
    [{ prefix: '' }, /^fastify-route-cache: prefix is ""; it has letters, digits, "_" and "-" only$/],
    [{ prefix: 'a:b' }, /prefix is "a:b"/],
    [{ prefix: 'a{b}' }, /prefix is "a\{b\}"/],
    [{ redis: {} }, /redis is \{\}; it is an ioredis client/],
    [{ redis: 'redis://127.0.0.1' }, /redis is "redis:\/\/127\.0\.0\.1"; it is an ioredis client/],
    [{ ttl: -1 }, /ttl is -1; a duration is/],
    [{ deadline: '50' }, /deadline is "50"; a duration is/],
    [{ writeDeadline: null }, /writeDeadline is null; a duration is/],
    [{ decorator: '' }, /decorator is ""; it is the name of a decorator/],
    [{ enabled: 1 }, /enabled is 1; it is true or false/],
    [{ maxBodyBytes: '1mb' }, /maxBodyBytes is "1mb"; it is a number of bytes/],
    [{ maxStoreBytes: -1 }, /maxStoreBytes is -1; it is a number of bytes/],
    [{ memory: true }, /memory is true; it is false, or \{ maxBytes, maxAge \}/],
    [{ memory: null }, /memory is null; it is false, or/],
    [{ memory: { maxByte: 5 } }, /memory is \{"maxByte":5\}; it is false, or \{ maxBytes, maxAge \}/],
    [{ memory: { maxBytes: '1mb' } }, /memory\.maxBytes is "1mb"; it is a number of bytes/],
    [{ memory: { maxAge: -1 } }, /memory\.maxAge is -1; a duration is/],
    [{ memory: {} }, /memory is .*; it is a tier in front of Redis, and no Redis client was given or found: .* leave it out/],
    [{ now: 5 }, /now is 5; it is a function/],
    [{ random: 0.5 }, /random is 0\.5; it is a function that gives numbers from 0 to 1/],
    [{ jitter: -0.1 }, /jitter is -0\.1; it is a number from 0 to 1: the part of a ttl by which it is shortened at most/],
    [{ jitter: 1.1 }, /jitter is 1\.1; it is a number from 0 to 1/],
    [{ jitter: NaN }, /jitter is NaN; it is a number from 0 to 1/],
    [{ jitter: '10%' }, /jitter is "10%"; it is a number from 0 to 1/],
    [{ tttl: 5 }, /tttl is 5; there is no such option; there are: prefix, redis, ttl, /],
    [{ namespace: 'x' }, /namespace is "x"; register @fastify\/redis with it first/]
  ]
  for (const [options, message] of wrong) {
    const { app } = loggingApp(t)
    await t.rejects(async () => { await app.register(routeCache, options) }, { code: 'FRC_OPTION', message }, String(message))
  }
})

t.test('where the decorator is taken it refuses, and another name helps', async (t) => {
  const taken = { name: "somebody else's" } as unknown as RouteCache
  const { app } = loggingApp(t)
  app.decorate('cache', taken)
  await t.rejects(async () => { await app.register(routeCache) }, {
    code: 'FRC_DECORATOR_TAKEN', message: /fastify\.cache is taken, usually by @fastify\/caching; .*decorator: 'routeCache'/
  })
  const { app: other } = loggingApp(t)
  other.decorate('cache', taken)
  await other.register(routeCache, { decorator: 'routeCache' })
  t.equal((other as unknown as { routeCache: { key: (template: string) => string } }).routeCache.key('k'), 'k')
})

t.test('twice in one context is refused, in two contexts it is not', async (t) => {
  const { app } = loggingApp(t)
  await app.register(routeCache)
  await t.rejects(async () => { await app.register(routeCache, { decorator: 'other' }) }, RouteCacheError)

  const { app: parent } = loggingApp(t)
  for (const prefix of ['one', 'two']) {
    parent.register(async (child) => {
      await child.register(routeCache, { prefix })
      child.get(`/${prefix}`, { cache: { key: 'k' } }, async () => prefix)
    })
  }
  for (const url of ['/one', '/two', '/one']) t.equal((await parent.inject(url)).body, url.slice(1))
})

t.test('without a client: in this process, and the log says so once', async (t) => {
  const { app, lines } = loggingApp(t)
  await app.register(routeCache)
  await app.ready()
  t.equal(app.cache.stats().store, 'memory')
  t.equal(lines.filter(({ level, msg }) => level === 30 && NO_REDIS.test(String(msg))).length, 1)
})

t.test('with @fastify/redis: found by itself, by namespace, and never closed', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()

  await t.test('fastify.redis', async (t) => {
    const { app, lines } = loggingApp(t)
    await app.register(fastifyRedis, { client })
    await app.register(routeCache, { prefix: 'shop', deadline: 30 })
    app.get('/', { cache: { key: 'user:1', ttl: 600 } }, async () => 'x')
    await app.inject('/')
    await settled(app)
    t.equal(app.cache.stats().store, 'redis')
    t.notOk(lines.some(({ msg }) => NO_REDIS.test(String(msg))))
    t.strictSame(await client.keys('shop:*'), ['shop:user:1'])
    await app.close()
    t.equal(await client.ping(), 'PONG', 'the client is still open')
  })

  await t.test('a namespace', async (t) => {
    const { app } = loggingApp(t)
    await app.register(fastifyRedis, { client, namespace: 'main' })
    await t.rejects(async () => { await app.register(routeCache) }, {
      code: 'FRC_OPTION', message: /namespace is undefined; fastify\.redis has the namespaces main: name one of them/
    })
    const { app: other } = loggingApp(t)
    await other.register(fastifyRedis, { client, namespace: 'main' })
    await other.register(routeCache, { namespace: 'main' })
    t.equal(other.cache.stats().store, 'redis')
  })

  await t.test('both a client and a namespace', async (t) => {
    const { app } = loggingApp(t)
    await t.rejects(async () => { await app.register(routeCache, { redis: client, namespace: 'main' }) }, { code: 'FRC_OPTION' })
  })
})

t.test('what is no client says what it lacks', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const without = (...names: string[]): object =>
    Object.create(server.client(), Object.fromEntries(names.map((name) => [name, { value: undefined }])))
  // Like ioredis-mock, and a wrapper of an app's own.
  const mock = without('status')
  const other = without('status', 'getBuffer', 'mgetBuffer')

  for (const [redis, message] of [
    [mock, /it lacks status; it is an ioredis client, .*ioredis-mock is none: .*scripts .* In tests leave redis out/],
    [other, /it lacks status, getBuffer, mgetBuffer; it is an ioredis client, such as app\.redis of @fastify\/redis, or one of node-redis 5 or later(?:; or write \{ url: "redis:.*)?$/]
  ] as const) {
    const { app } = loggingApp(t)
    await t.rejects(async () => { await app.register(routeCache, { redis } as object) }, { code: 'FRC_OPTION', message })
    const { app: second } = loggingApp(t)
    second.decorate('redis', redis as never)
    await t.rejects(async () => { await second.register(routeCache) }, { code: 'FRC_OPTION', message }, 'found as fastify.redis')
    const { app: third } = loggingApp(t)
    third.decorate('redis', { main: redis } as never)
    await t.rejects(async () => { await third.register(routeCache, { namespace: 'main' }) }, { code: 'FRC_OPTION', message }, 'by namespace')
  }
})

t.test('routes that were declared before are named in a warning', async (t) => {
  const { app, lines } = loggingApp(t)
  app.register(routeCache) // not awaited: the plugin loads after the route below
  app.get('/early', { cache: true }, async () => 'x')
  t.equal((await app.inject('/early')).headers['cache-status'], undefined)
  t.match(lines.find(({ msg }) => String(msg).includes('declared before')), {
    level: 40, routes: /early/, msg: /await app\.register\(routeCache\)/
  })
  const { app: orderly, lines: none } = loggingApp(t)
  await orderly.register(routeCache)
  orderly.get('/', { cache: true }, async () => 'x')
  await orderly.ready()
  t.strictSame(none.filter(({ level }) => Number(level) >= 40), [])
})

t.test('a key that leaves out what the path tells apart is named in a warning', async (t) => {
  const { app, lines } = loggingApp(t)
  await app.register(routeCache)
  const declared = (url: string, cache: object, schema = {}): unknown => {
    const before = lines.length
    app.get(url, { cache, schema }, async () => 'x')
    return lines.slice(before).find(({ level }) => level === 40)?.msg
  }
  t.equal(declared('/users/:id', { key: 'user:id' }), 'route GET /users/:id: cache.key "user:id" names none of the path\'s params (id), ' +
    'so all of them share one response; write for example "user:id:{id}", or a function where that is meant: key: () => "user:id"')
  const query = { querystring: { type: 'object', properties: { page: { type: 'integer' } } } }
  t.match(declared('/lists/:name/items/:id', { key: 'items:{page}' }, query), 'names none of the path\'s params (name, id)')
  t.match(declared('/q/:id', { key: 'q:{query.id}' }), 'names none')
  for (const [url, cache] of [
    ['/a/:id', { key: 'a:{id}' }], ['/b/:name/:id', { key: 'b:{name}' }], ['/c/:id', { key: () => 'c' }], ['/d', { key: 'd' }],
    ['/e/*', { key: 'e' }], ['/f/:id', { ttl: 5 }], ['/g/:id', { key: 'g:{params.id}' }]
  ] as const) t.equal(declared(url, cache), undefined, url)
})

t.test('what is no hook is refused by Fastify, with the plugin as without', async (t) => {
  for (const plugins of [[], [routeCache]]) {
    for (const cache of [true, { invalidates: ['x'] }]) {
      const { app } = loggingApp(t)
      for (const plugin of plugins) await app.register(plugin, { invalidateUnsafe: true })
      const method = cache === true ? 'GET' : 'POST'
      for (const hook of ['onRequest', 'onSend']) {
        for (const value of [null, [undefined], 'x']) {
          const route = { method, url: '/', cache, [hook]: value, handler: async () => 'x' } as unknown as RouteOptions
          t.throws(() => app.route(route), { message: new RegExp(`^${hook} hook should be a function, instead got `) })
        }
      }
    }
  }
})

t.test('its function, called and not awaited: routes of the same turn are cached', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  for (const options of [{}, { redis }]) {
    const { app } = loggingApp(t)
    const call = routeCache as unknown as (app: object, options: object) => Promise<void>
    const calling = call(app, { ...options, deadline: 30 })
    app.get('/', { cache: true }, async () => 'x')
    await calling
    t.match((await app.inject('/')).headers['cache-status'], /fwd=miss/)
  }
})
