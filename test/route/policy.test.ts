// A wrong `cache` option throws where the route is declared, and says what would be right.
import t from 'tap'
import { compilePolicy } from '../../plugin/route/policy.js'
import { cachedApp } from '../helpers/app.js'

const wrong: [cache: unknown, message: RegExp, url?: string][] = [
  [{ ttl: -1 }, /^route GET \/things\/:id: cache\.ttl is -1; a duration is a number of seconds, or a string with a unit/],
  [{ ttl: 'soon' }, /cache\.ttl is "soon"; a duration/],
  [{ ttl: '10' }, /cache\.ttl is "10"; a duration/],
  [{ ttl: '-10s' }, /cache\.ttl is "-10s"; a duration/],
  [{ ttl: NaN }, /cache\.ttl is NaN; a duration/],
  [{ ttl: Infinity }, /cache\.ttl is Infinity; a duration/],
  [{ ttl: {} }, /cache\.ttl is \{\}; a duration/],
  [{ ttl: null }, /cache\.ttl is null; a duration/],
  [{ ttl: 'x'.repeat(200) }, /cache\.ttl is "x+\.\.\.; a duration/],
  [{ key: 'user:{nope}' }, /cache\.key is "user:\{nope\}"; the path has no param "nope" \(it has: id\); for a query value write \{query\.nope\}/],
  [{ key: 'user:{params.nope}' }, /the path has no param "nope" \(it has: id\)$/],
  [{ key: 'user:{params.nope}' }, /the path has no param "nope" \(it has: none\)$/, '/things'],
  [{ key: 'user:{id' }, /cache\.key: key template "user:\{id": a brace has no partner/],
  [{ key: '' }, /cache\.key is ""; write a template/],
  [{ key: 7 }, /cache\.key is 7; write a template/],
  [{ tttl: 1 }, /cache\.tttl is 1; there is no such option; there are: key, query, ignoreQuery, tags, ttl, staleWhileRevalidate, staleIfError, earlyRefresh, statuses, vary, /],
  [{ staleWhileRevalidate: 'a while' }, /cache\.staleWhileRevalidate is "a while"; a duration is .*; 0 serves nothing stale/],
  [{ staleIfError: 'a while' }, /cache\.staleIfError is "a while"; a duration is .*; 0 serves nothing stale/],
  [{ staleIfError: -1 }, /cache\.staleIfError is -1; a duration/],
  [{ earlyRefresh: 10 }, /cache\.earlyRefresh is 10; it is true or false/],
  [{ maxBodyBytes: '1mb' }, /cache\.maxBodyBytes is "1mb"; it is a number of bytes/],
  [{ maxBodyBytes: -1 }, /cache\.maxBodyBytes is -1; it is a number of bytes/],
  [{ when: true }, /cache\.when is true; it is a function/],
  [{ storeIf: 'yes' }, /cache\.storeIf is "yes"; it is a function/],
  [{ statuses: [404] }, /cache\.statuses is \[404\]; write the ttl of each status/],
  [{ statuses: { 206: 5 } }, /cache\.statuses\.206 is 5; a status is from 200 to 599, and neither 206 nor 304/],
  [{ statuses: { 304: 5 } }, /cache\.statuses\.304 is 5/],
  [{ statuses: { 100: 5 } }, /cache\.statuses\.100 is 5/],
  [{ statuses: { 404: 'soon' } }, /cache\.statuses\.404 is "soon"; a duration/],
  [{ vary: 'accept' }, /cache\.vary is "accept"; write the names of request headers/],
  [{ vary: ['*'] }, /cache\.vary is \["\*"\]; write the names/],
  [{ vary: [':identity'] }, /cache\.vary is \[":identity"\]; write the names/],
  [{ identity: 'me' }, /cache\.identity is "me"; it is a function/],
  [{ shared: 1 }, /cache\.shared is 1; it is true or false/],
  [{ hook: 'onSend' }, /cache\.hook is "onSend"; it is "onRequest" or "preHandler"/],
  [{ honourNoCache: 'yes' }, /cache\.honourNoCache is "yes"; it is a function/],
  [{ cdnCacheControl: 'yes' }, /cache\.cdnCacheControl is "yes"; it is true or false/],
  [{ cacheControl: 'a\nb' }, /cache\.cacheControl is "a\\nb"; it is the value of a Cache-Control header/],
  [{ compress: 'br' }, /cache\.compress is "br"; it is true or false, or \{ threshold \}/],
  [{ compress: null }, /cache\.compress is null; it is true or false/],
  [{ compress: { from: 1 } }, /cache\.compress is \{"from":1\}; it is true or false, or \{ threshold \}/],
  [{ compress: { threshold: '1kb' } }, /cache\.compress\.threshold is "1kb"; it is a number of bytes/],
  [{ compress: { threshold: -1 } }, /cache\.compress\.threshold is -1; it is a number of bytes/],
  [[], /cache is \[\]; write cache: true, or cache: \{ key, ttl \}/],
  ['10m', /cache is "10m"; write cache: true/],
  [60, /cache is 60; write cache: true/],
  [null, /cache is null; write cache: true/]
]

t.test('wrong options', async (t) => {
  const app = await cachedApp(t)
  for (const [cache, message, url = '/things/:id'] of wrong) {
    t.throws(() => app.get(url, { cache: cache as boolean }, async () => 'x'), { code: 'FRC_OPTION', message }, String(message))
  }
  t.throws(() => app.post('/things', { cache: true }, async () => 'x'), {
    code: 'FRC_OPTION', message: /^route POST \/things: cache is true; only GET and HEAD routes can be cached/
  })
  t.throws(() => app.route({ method: ['GET', 'PUT'], url: '/both', cache: { ttl: 1 }, handler: async () => 'x' }), { code: 'FRC_OPTION' })
})

t.test('a plain name means the param, then the query that the schema declares, or any where the path has no params', async (t) => {
  const key = (url: string, template: string, schema?: object): unknown =>
    compilePolicy({ method: 'GET', url, schema }, { key: template }, { ttl: 1, waitTimeout: 1, maxVariants: 1, version: null }).key({ params: { id: 'p' }, query: { id: 'q', page: '2' } }, {})
  t.equal(key('/x/:id', 'x:{id}'), 'x:p')
  t.equal(key('/x', 'x:{id}'), 'x:q')
  t.equal(key('/x/:id', 'x:{query.id}'), 'x:q')
  t.equal(key('/x/:id', 'x:{id}:{page}', { querystring: { type: 'object', properties: { page: {} } } }), 'x:p:2')
  t.equal(key('/x/:id', 'x:{id}:{page}', { querystring: { page: { type: 'integer' } } }), 'x:p:2')
  t.equal(key('/x/:id', 'x:{id}:{query.none}'), 'x:p:%-')
})

t.test('two routes with the same keys are refused, a route and its HEAD are not', async (t) => {
  const app = await cachedApp(t)
  app.get('/users/:id', { cache: { key: 'user:{id}' } }, async () => 'x')
  t.throws(() => app.get('/people/:name', { cache: { key: 'user:{name}' } }, async () => 'x'), {
    code: 'FRC_KEY_TAKEN', message: /^route GET \/people\/:name: .* as that of GET \/users\/:id/
  })
  t.throws(() => app.get('/users/:id', { constraints: { version: '2.0.0' }, cache: { key: 'user:{id}' } }, async () => 'x'), {
    code: 'FRC_KEY_TAKEN'
  })
  app.get('/people/:name', { cache: { key: 'person:{name}' } }, async () => 'x')
})

t.test('routes of one path that differ in a constraint have default keys of their own', async (t) => {
  const app = await cachedApp(t)
  for (const version of ['1.0.0', '2.0.0']) {
    app.get('/x', { constraints: { version }, cache: true }, async () => version)
  }
  for (const version of ['1.0.0', '2.0.0', '1.0.0']) {
    t.equal((await app.inject({ url: '/x', headers: { 'accept-version': version } })).body, version)
  }
  t.strictSame(Object.keys(app.cache.stats().routes), ['GET /x@version=1.0.0', 'GET /x@version=2.0.0'])
})

t.test('cache: true takes all defaults, cache: false is no cache', async (t) => {
  const app = await cachedApp(t)
  app.get('/on/:id', { cache: true }, async () => 'x')
  app.get('/off', { cache: false }, async () => 'x')
  await app.inject('/on/7?b=2&a=1')
  t.match((await app.inject('/on/7?a=1&b=2')).headers['cache-status'], /hit; ttl=60/)
  t.equal((await app.inject('/off')).headers['cache-status'], undefined)
  t.match(await app.cache.inspect('/on/:id;id=7?a=1&b=2'), { status: 200 })
})
