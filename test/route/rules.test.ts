// The plugin's option `routes`: which routes have which option, and what is said of a path that no route has.
import t from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, type CachedApp } from '../helpers/app.js'

const ok = async (): Promise<string> => 'ok'

async function declared (t: Parameters<typeof cachedApp>[0], routes: RouteCacheOptions['routes']): Promise<CachedApp> {
  const app = await cachedApp(t, { routes: routes! })
  await app.register(async (api) => {
    for (const url of ['/', '/me', '/books', '/books/:id', '/books/:id/pages/:page', '/files/*']) api.get(url, ok)
    api.get('/own', { cache: { ttl: 5 } }, ok)
    api.get('/never', { cache: false }, ok)
    api.route({ method: ['GET', 'HEAD'], url: '/both', handler: ok })
    api.route({ method: ['GET', 'POST'], url: '/mixed', handler: ok })
    api.post('/books', ok)
    api.route({ method: 'HEAD', url: '/head', handler: async (_request, reply) => await reply.send() })
  }, { prefix: '/api' })
  app.get('/other', ok)
  await app.ready()
  return app
}

/** How each of these is answered: its ttl, or '-' where there is no Cache-Status. */
async function ttls (app: CachedApp, urls: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const url of urls) {
    const { policy } = await app.cache.explain(url)
    found.push(policy === null ? '-' : String(policy.ttl))
  }
  return found
}

const URLS = ['/api/', '/api/me', '/api/books', '/api/books/7', '/api/books/7/pages/1', '/api/files/a/b', '/api/own', '/api/never', '/api/both',
  '/api/mixed', '/other']

t.test('the first rule that fits, and the route\'s own option before it', async (t) => {
  const app = await declared(t, [
    { path: ['/api/me', '/api/files/*'], cache: false },
    { path: '/api/books/:isbn', cache: { key: 'book:{id}', ttl: 1 } },
    { path: '/api/books*', cache: { ttl: 2 } },
    { path: '/api/*', cache: { ttl: 3 } },
    { path: '/other', cache: true }
  ])
  t.strictSame(await ttls(app, URLS), ['3', '-', '2', '1', '2', '-', '5', '-', '3', '-', '60'])
  t.equal((await app.cache.explain('/api/books/7')).key, 'book:7')
  t.strictSame(app.cache.warnings, [])
  await app.inject('/api/both')
  await app.cache.settled()
  t.match((await app.inject({ method: 'HEAD', url: '/api/books' })).headers['cache-status'], /fwd=miss/, 'the HEAD of a GET')
  t.equal((await app.inject({ method: 'POST', url: '/api/books' })).headers['cache-status'], undefined)
  t.equal((await app.inject({ method: 'HEAD', url: '/api/head' })).headers['cache-status'], undefined, 'a HEAD of its own')
})

t.test('a path that no route has, or that others have taken, is said', async (t) => {
  const app = await declared(t, [
    { path: ['/apii/*', '/api/*'], cache: true }, { path: '/api/books', cache: true }, { path: '*', cache: true }, { path: '/x', cache: false }
  ])
  t.match(app.cache.warnings.map(({ check, message }) => `${check} ${message}`), [
    /^unused-rule the plugin's option routes has the path "\/apii\/\*", which gives no route its options/, /"\/api\/books"/, /"\/x"/
  ])
  t.equal(app.cache.warnings.length, 3)
  t.strictSame(await ttls(app, ['/other']), ['60'])
})

t.test('what is wrong is refused', async (t) => {
  const wrong: Array<[routes: unknown, message: RegExp]> = [
    [{}, /routes is \{\}; it is a list: write \{ path/],
    [['/api/*'], /routes\[0\] is "\/api\/\*"; write \{ path/],
    [[{ cache: true }], /routes\[0\]\.path is undefined; write/],
    [[{ path: 'api/*', cache: true }], /routes\[0\]\.path is "api\/\*"/],
    [[{ path: [], cache: true }], /routes\[0\]\.path is \[\]/],
    [[{ path: '/a/*/b', cache: true }], /routes\[0\]\.path is "\/a\/\*\/b"/],
    [[{ path: '/a' }], /routes\[0\]\.cache is undefined; write true or options/],
    [[{ path: '/a', cache: null }], /routes\[0\]\.cache is null/],
    [[{ path: '/a', cache: true, ttl: 5 }], /routes\[0\]\.ttl is 5; there is no such option/]
  ]
  for (const [routes, message] of wrong) await t.rejects(cachedApp(t, { routes: routes as never }), { code: 'FRC_OPTION', message })
  const app = await cachedApp(t, { routes: [{ path: '/a/*', cache: { ttl: 'soon' as never } }] })
  t.throws(() => app.get('/a/b', ok), {
    code: 'FRC_OPTION', message: /route GET \/a\/b: cache\.ttl is "soon".*\(the plugin's option routes\[0\] gives this route its options\)$/
  })
})

t.test('config.routeCache is the route\'s own option, where it has no cache', async (t) => {
  const app = await cachedApp(t, { routes: [{ path: '/ruled', cache: { ttl: 3 } }, { path: '/unruled', cache: { ttl: 3 } }], invalidateUnsafe: false })
  let n = 0
  const count = async (): Promise<string> => `run ${++n}`
  app.get('/book/:id', { config: { routeCache: { key: 'book:{id}', ttl: 7, tags: ['books'] } } }, count)
  app.put('/book/:id', { config: { routeCache: { invalidates: ['book:{id}'] } } }, ok)
  app.get('/all', { config: { routeCache: true } }, ok)
  app.get('/ruled', { config: { routeCache: { ttl: 8 } } }, ok)
  app.get('/unruled', { config: { routeCache: false } }, ok)
  app.get('/off', { cache: false, config: { routeCache: { ttl: 8 } } }, ok)
  app.get('/absent', { cache: { ttl: 9 }, config: { routeCache: undefined as never } }, ok)
  app.get('/inherited', { config: Object.create({ routeCache: { ttl: 8 } }) }, ok)
  t.strictSame(await ttls(app, ['/book/1', '/all', '/ruled', '/unruled', '/off', '/absent', '/inherited']),
    ['7', '60', '8', '-', '-', '9', '-'])
  t.equal((await app.inject('/book/1')).body, 'run 1')
  await app.cache.settled()
  t.match((await app.inject('/book/1')).headers['cache-status'], /; hit; ttl=7/)
  t.match((await app.inject({ method: 'HEAD', url: '/book/1' })).headers['cache-status'], /; hit; ttl=7/, 'the HEAD that Fastify adds')
  await app.inject({ method: 'PUT', url: '/book/1' })
  t.equal((await app.inject('/book/1')).body, 'run 2')
  t.strictSame(app.cache.warnings, [])
})

t.test('an option in two places, or a wrong one, is refused where the route is declared', async (t) => {
  const app = await cachedApp(t)
  for (const [cache, inConfig] of [[true, true], [{ ttl: 1 }, { ttl: 2 }], [true, false], [{ ttl: 1 }, null]]) {
    t.throws(() => app.get('/two', { cache, config: { routeCache: inConfig } } as object, ok),
      { code: 'FRC_OPTION', message: /^route GET \/two: config\.routeCache is .*the route has cache: .* leave one out/ })
  }
  t.throws(() => app.post('/two', { cache: { invalidates: ['a'] }, config: { routeCache: { invalidates: ['b'] } } }, ok), { code: 'FRC_OPTION' })
  for (const [method, option, message] of [
    ['GET', { tll: 1 }, /route GET \/wrong: cache\.tll is 1; there is no such option/],
    ['GET', 'yes', /cache is "yes"; write cache: true/],
    ['GET', null, /cache is null/],
    ['POST', true, /only GET and HEAD routes can be cached/],
    ['POST', { invalidates: [] }, /cache\.invalidates is \[\]/]
  ] as const) {
    t.throws(() => app.route({ method, url: '/wrong', config: { routeCache: option as never }, handler: ok }),
      { code: 'FRC_OPTION', message: new RegExp(`${message.source}.*\\(its config\\.routeCache gives this route its options\\)$`) })
  }
})
