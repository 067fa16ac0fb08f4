// Who gets to the dashboard: its options, the guard on all that it serves, requests that other sites have made, and other
// plugins beside it.
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import fastify, { type FastifyInstance } from 'fastify'
import routeCache from 'fastify-route-cache'
import { dashboard, type Guard } from 'fastify-route-cache/dashboard'
import t, { type Test } from 'tap'
import { gate, settled } from '../helpers/app.js'
import { openSite, PROTECTION, type Site, type SiteOptions } from './dashboard-site.js'

const JSON_TYPE = { 'content-type': 'application/json' }

interface Served { method: string, url: string }

/** Everything that a dashboard of these options serves, with what Fastify adds to it. */
async function openServing (t: Test, options: SiteOptions = {}): Promise<{ site: Site, all: Served[] }> {
  const all: Served[] = []
  const site = await openSite(t, {
    ...options,
    before: async (app) => {
      app.addHook('onRoute', ({ method, url }) => { for (const one of [method].flat()) all.push({ method: one, url }) })
      await options.before?.(app)
    }
  })
  return { site, all }
}

async function startWith (options: object, { withCache = true } = {}): Promise<unknown> {
  const app = fastify()
  try {
    if (withCache) await app.register(routeCache)
    await app.register(dashboard, options as never)
    return null
  } catch (error) {
    return error
  } finally {
    await app.close()
  }
}

t.test('wrong options are named, and what would be right', async (t) => {
  const guard = (): boolean => true
  const wrong: Array<[object, RegExp]> = [
    [{}, /guard is undefined; whoever reaches the dashboard sees the cache and can invalidate it: say who may, guard: .*public: true/],
    [{ prefix: '/cache' }, /guard is undefined/],
    [{ public: false }, /guard is undefined/],
    [{ public: 'yes' }, /public is "yes"; it is true or false/],
    [{ public: 1, guard }, /public is 1; it is true or false/],
    [{ public: null }, /public is null; it is true or false/],
    [{ public: true, guard }, /public is true; there is a guard as well; leave out one/],
    [{ public: true, guard: null }, /public is true; there is a guard as well/],
    [{ guard: true }, /guard is true; it is a function \(request, reply\) that gives true/],
    [{ guard: null }, /guard is null; it is a function/],
    [{ guard: [guard] }, /guard is .*; it is a function/],
    [{ guard: (_request: object, _reply: object, done: () => void) => { done() } }, /guard is a function.*; a hook with a callback can't be one/],
    [{ guard, guards: guard }, /guards is a function.*; there is no such option; there are: cache, name, guard, public, interval, now/],
    [{ guard, interval: 0 }, /interval is 0; a duration is .*, above 0/],
    [{ guard, interval: '0s' }, /interval is "0s"; .*above 0/],
    [{ guard, interval: -1 }, /interval is -1;/],
    [{ guard, interval: 'often' }, /interval is "often";/],
    [{ guard, interval: 1e9 }, /interval is 1000000000;/],
    [{ guard, now: 5 }, /now is 5; it is a function that gives milliseconds/],
    [{ guard, name: '' }, /name is ""; it is a text/],
    [{ guard, cache: {} }, /cache is \{\}; .*another decorator/]
  ]
  for (const [options, message] of wrong) {
    t.match(await startWith(options), { code: 'FRC_OPTION', message }, String(message))
    t.match(await startWith(options), { message: /^fastify-route-cache\/dashboard: / })
  }
  t.match(await startWith({ guard }, { withCache: false }), { code: 'FRC_OPTION', message: /cache is undefined; .*register that first/ })
  for (const right of [{ guard }, { public: true }, { guard, public: false, prefix: '/x', name: 'x', interval: '1s', now: () => 1 }]) {
    t.equal(await startWith(right), null)
  }
})

t.test('only true lets through, on everything that is served', async (t) => {
  let answer: unknown
  let asked = 0
  const read: string[] = []
  const { site: { app }, all } = await openServing(t, {
    dashboard: { guard: () => { asked++; return answer } },
    before: (app) => { app.addHook('preParsing', async ({ url }) => { read.push(url) }) }
  })
  t.ok(all.some(({ method, url }) => method === 'HEAD' && url === '/cache/'))
  t.strictSame(all.filter(({ method }) => method === 'POST').map(({ url }) => url), ['/cache/api/explain', '/cache/api/invalidate'])
  t.ok(['', '/', '/dashboard.js', '/uPlot.js', '/api/overview'].every((path) => all.some(({ url }) => url === `/cache${path}`)))
  const ask = async ({ method, url }: Served): Promise<ReturnType<typeof app.inject>> => await app.inject({
    method: method as 'GET', url, ...method === 'POST' && { headers: JSON_TYPE, payload: url.endsWith('explain') ? '{"key":"x"}' : '{"target":"x"}' }
  })
  const answers = [undefined, false, null, 0, 1, 'true', {}, [true], Object(true), NaN, (): boolean => true]
  for (const one of [...answers, ...answers.map(async (one) => await Promise.resolve(one))]) {
    answer = one
    for (const served of all) {
      const { statusCode, headers, body } = await ask(served)
      const what = `${String(one)}: ${served.method} ${served.url}`
      if (statusCode !== 401) t.fail(`${what}: ${statusCode}`)
      t.match(headers, { ...PROTECTION, 'cache-control': 'no-store', 'www-authenticate': /^Guard realm=/ }, what)
      t.equal(body, served.method === 'HEAD' ? '' : 'The guard of this dashboard did not let you through.\n', what)
    }
  }
  t.equal(asked, all.length * answers.length * 2)
  t.strictSame(read, [], 'nothing of a body is read before')
  answer = Promise.resolve(true)
  for (const served of all) {
    const { statusCode } = await ask(served)
    t.equal(statusCode, served.url === '/cache' ? 302 : 200, `true: ${served.method} ${served.url}`)
  }
  t.equal(read.length, all.length, 'and there would have been')
})

t.test('paths that are nearly its own get nobody around the guard', async (t) => {
  for (const routerOptions of [{}, { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false }]) {
    const { get, app } = await openSite(t, { dashboard: { guard: () => false }, server: { routerOptions } })
    const paths = [
      '//', '/.', '/./', '/../cache/', '/%2e/', '/%2E%2E/cache', '/index.html', '/%64ashboard.js', '/dashboard%2Ejs',
      '/DASHBOARD.JS', '/dashboard.js/', '//dashboard.js', '/dashboard.js%00', '/dashboard.js?x', '/dashboard.js;x',
      '/public/dashboard.js', '/api', '/api/', '/api/overview/', '//api//overview', '/API/Overview',
      '/%61pi/overview', '/api/%6fverview', '/api/overview%20', '/api/../dashboard.js', '/nothing', '/package.json',
      '/../../package.json', '/%2e%2e%2fsettings.js', '/uPlot-LICENSE.txt'
    ]
    for (const path of paths) {
      const { statusCode, body } = await get(path)
      t.ok([401, 404].includes(statusCode), `${path}: ${statusCode}`)
      t.notMatch(body, /byId|processes|<html/, path)
    }
    for (const method of ['OPTIONS', 'PUT', 'DELETE', 'PATCH', 'HEAD'] as const) {
      for (const url of ['/cache/', '/cache/api/overview', '/cache/api/invalidate']) {
        const { statusCode } = await app.inject({ method, url })
        t.ok([401, 404].includes(statusCode), `${method} ${url}: ${statusCode}`)
      }
    }
  }
})

t.test('a guard that throws, or answers itself', async (t) => {
  const thrown = Object.assign(new Error('no such session'), { statusCode: 418 })
  const cases: Array<[name: string, guard: Guard, status: number, body: RegExp]> = [
    ['throws', () => { throw thrown }, 418, /no such session/],
    ['rejects', async () => await Promise.reject(thrown), 418, /no such session/],
    // eslint-disable-next-line no-throw-literal
    ['throws nothing', () => { throw undefined }, 500, /./],
    // eslint-disable-next-line prefer-promise-reject-errors
    ['rejects with true', async () => await Promise.reject(true), 500, /./],
    ['sends', (_request, reply) => { reply.code(403).send('not you') }, 403, /^not you$/],
    ['sends, and gives the reply', async (_request, reply) => await reply.code(403).send('not you'), 403, /^not you$/],
    ['sends, and gives true', (_request, reply) => { reply.code(403).send('not you'); return true }, 403, /^not you$/],
    ['redirects', (_request, reply) => reply.redirect('/login'), 302, /^$/],
    ['sends later', async (_request, reply) => { await Promise.resolve(); reply.code(429).send('slow down') }, 429, /^slow down$/],
    ['answers past Fastify', (_request, reply) => { reply.hijack(); reply.raw.end('mine'); return true }, 200, /^mine$/]
  ]
  for (const [name, guard, status, body] of cases) {
    const { app, get, post, lines } = await openSite(t, { dashboard: { guard } })
    await app.cache.getOrSet('kept', { ttl: 60 }, () => 1)
    for (const answer of [await get('/'), await get('/api/overview'), await post('/api/invalidate', { target: 'kept' })]) {
      t.equal(answer.statusCode, status, name)
      t.match(answer.body, body, name)
      t.notMatch(answer.body, /html|processes|entries/, name)
    }
    t.equal(app.cache.stats().invalidations, 0, name)
    t.strictSame(lines.filter(({ level }) => level === 40), [], `${name}: nothing to warn of`)
  }
})

t.test('a guard that gives undefined is spoken of once', async (t) => {
  const { get, lines } = await openSite(t, { dashboard: { guard: async () => {} } })
  for (let i = 0; i < 3; i++) t.equal((await get('/')).statusCode, 401)
  t.match(lines.filter(({ level }) => level === 40), [{ msg: /guard of the dashboard gave undefined.*returning true/ }])
  t.equal(lines.filter(({ level }) => level === 40).length, 1)
  const no = await openSite(t, { dashboard: { guard: () => false } })
  await no.get('/')
  t.strictSame(no.lines.filter(({ level }) => level === 40), [], 'false is meant')
})

t.test('what a guard says of how to do better stays', async (t) => {
  const { get } = await openSite(t, { dashboard: { guard: (_request, reply) => { reply.header('www-authenticate', 'Basic realm="x"'); return false } } })
  t.equal((await get('/')).headers['www-authenticate'], 'Basic realm="x"')
})

t.test('a request waits for a guard that takes its time', async (t) => {
  const door = gate()
  const { get } = await openSite(t, { dashboard: { guard: async () => { await door.wait(); return true } } })
  let isAnswered = false
  const answer = get('/api/overview').finally(() => { isAnswered = true })
  await door.reached
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(isAnswered)
  door.open()
  t.equal((await answer).statusCode, 200)
})

t.test('the guard sees the request and what hooks of the app have made of it', async (t) => {
  const { get } = await openSite(t, {
    before: (app) => {
      app.decorateRequest('user', null as unknown as object)
      app.addHook('onRequest', async (request) => { Object.assign(request, { user: { isAdmin: request.headers.authorization === 'me' } }) })
    },
    dashboard: { guard: (request) => (request as unknown as { user: { isAdmin: boolean } }).user.isAdmin }
  })
  t.equal((await get('/', { authorization: 'me' })).statusCode, 200)
  t.equal((await get('/', { authorization: 'you' })).statusCode, 401)
})

const HOST = 'shop.example'
const SITES: Array<[headers: Record<string, string>, isOwn: boolean]> = [
  [{}, true],
  [{ 'sec-fetch-site': 'same-origin' }, true],
  [{ 'sec-fetch-site': 'none' }, true],
  [{ 'sec-fetch-site': 'same-site' }, false],
  [{ 'sec-fetch-site': 'cross-site' }, false],
  [{ 'sec-fetch-site': 'cross-site', origin: `https://${HOST}` }, false],
  [{ 'sec-fetch-site': '' }, false],
  [{ 'sec-fetch-site': 'same-origin, cross-site' }, false],
  [{ origin: `https://${HOST}` }, true],
  [{ origin: `http://${HOST}` }, true],
  [{ origin: `https://${HOST}`, host: HOST.toUpperCase() }, true],
  [{ origin: `https://${HOST}`, host: `${HOST}:443` }, true],
  [{ origin: `http://${HOST}`, host: `${HOST}:80` }, true],
  [{ origin: `http://${HOST}`, host: `${HOST}:443` }, false],
  [{ origin: `https://${HOST}:8443`, host: `${HOST}:8443` }, true],
  [{ origin: `https://${HOST}:8443` }, false],
  [{ origin: 'https://[::1]:3000', host: '[::1]:3000' }, true],
  [{ origin: 'https://other.example' }, false],
  [{ origin: `https://${HOST}.other.example` }, false],
  [{ origin: `https://other${HOST}` }, false],
  [{ origin: `https://${HOST}@other.example` }, false],
  [{ origin: 'null' }, false],
  [{ origin: '' }, false],
  [{ origin: HOST }, false],
  [{ origin: `ftp://${HOST}` }, false],
  [{ origin: `chrome-extension://${HOST}` }, false],
  [{ origin: 'https://' }, false],
  [{ origin: `https://${HOST}`, host: '' }, false],
  [{ origin: `https://${HOST}`, host: `other.example/@${HOST}` }, false],
  [{ origin: 'https://other.example', 'x-forwarded-host': 'other.example' }, false]
]

t.test('what another site has asked for is not done', async (t) => {
  const { app, get, post } = await openSite(t, { dashboard: { guard: () => true } })
  for (const [headers, isOwn] of SITES) {
    await app.cache.getOrSet('kept', { ttl: 60 }, () => 1)
    await settled(app)
    const { invalidated } = app.cache.stats()
    const sent = { host: HOST, ...headers }
    const what = JSON.stringify(sent)
    const done = await post('/api/invalidate', { target: 'kept' }, sent)
    t.equal(done.statusCode, isOwn ? 200 : 403, what)
    t.match(done.headers, { ...PROTECTION, 'cache-control': 'no-store' })
    t.equal(app.cache.stats().invalidated, invalidated + Number(isOwn), `${what}: what was stored`)
    for (const path of ['overview?process=', 'explain']) {
      const answer = path === 'explain' ? await post('/api/explain', { key: 'kept' }, sent) : await get(`/api/${path}`, sent)
      t.equal(answer.statusCode, isOwn ? 200 : 403, `${path}: ${what}`)
      if (!isOwn) t.match(answer.json(), { message: /another site has asked for this/ })
    }
  }
})

t.test('behind a proxy that is trusted, the host is the one that it names', async (t) => {
  const { post } = await openSite(t, { server: { trustProxy: true }, dashboard: { guard: () => true } })
  const headers = { host: 'inside:3000', 'x-forwarded-host': HOST }
  t.equal((await post('/api/explain', { key: 'x' }, { ...headers, origin: `https://${HOST}` })).statusCode, 200)
  t.equal((await post('/api/explain', { key: 'x' }, { ...headers, origin: 'http://inside:3000' })).statusCode, 403)
})

/** Parsers that take anything, and JSON in a way of their own: not for the dashboard. */
function takeAll (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, _body, done) => { done(null, { target: 'kept', key: 'kept' }) })
  app.addContentTypeParser(['application/json', 'text/plain'], { parseAs: 'string' }, (_request, _body, done) => { done(null, { target: 'kept', key: 'kept' }) })
}

t.test('only JSON is taken, and not much of it', async (t) => {
  for (const before of [() => {}, takeAll]) {
    const { app, post } = await openSite(t, { before, server: { bodyLimit: 10_000_000 } })
    await app.cache.getOrSet('kept', { ttl: 60 }, () => 1)
    const cases: Array<[type: string, body: string, status: number]> = [
      ['text/plain', '{"target":"kept"}', 415],
      ['text/plain;application/json', '{"target":"kept"}', 415],
      ['application/x-www-form-urlencoded', 'target=kept', 415],
      ['multipart/form-data; boundary=x', '--x--', 415],
      ['application/jsonx', '{"target":"kept"}', 415],
      ['application/ld+json', '{"target":"kept"}', 415],
      ['', '{"target":"kept"}', 415],
      ['json', '{"target":"kept"}', 415],
      ['application/json', '{"target":', 400],
      ['application/json', '', 400],
      ['application/json', '{"target":"kept","__proto__":{"soft":true}}', 400],
      ['application/json', '{"target":"kept","constructor":{"prototype":{"soft":true}}}', 400],
      ['application/json', `{"target":"kept","x":"${'x'.repeat(65_536)}"}`, 413]
    ]
    for (const path of ['/api/invalidate', '/api/explain']) {
      for (const [type, body, status] of cases) {
        const { statusCode, headers } = await post(path, body, { 'content-type': type })
        t.equal(statusCode, status, `${path}: ${type} ${body.slice(0, 40)}`)
        t.match(headers, { ...PROTECTION, 'cache-control': 'no-store' }, `${path}: ${type}`)
      }
      // A form may be sent without a type, too.
      const { statusCode } = await app.inject({ method: 'POST', url: `/cache${path}` })
      t.equal(statusCode, 400)
    }
    t.equal(app.cache.stats().invalidations, 0)
    t.equal((await post('/api/invalidate', { target: 'kept' }, { 'content-type': 'Application/JSON; charset=utf-8' })).statusCode, 200)
    t.equal(app.cache.stats().invalidations, 1)
    t.equal(({} as { soft?: unknown }).soft, undefined)
  }
})

t.test('every answer protects itself', async (t) => {
  const { app, get, post } = await openSite(t)
  const { all } = await openServing(t)
  for (const { method, url } of all) {
    if (method === 'POST') continue
    const { headers } = await app.inject({ method: method as 'GET', url })
    const api = url.includes('/api/')
    t.match(headers, { ...PROTECTION, 'cache-control': api ? 'no-store' : 'no-cache' }, `${method} ${url}`)
    t.equal(headers['set-cookie'], undefined)
    t.equal(headers['access-control-allow-origin'], undefined)
  }
  const failing = await openSite(t, { dashboard: { cache: { ...broken() } as never } })
  for (const answer of [await post('/api/explain', {}), await post('/api/invalidate', {}), await failing.post('/api/explain', {}), await get('/api/overview')]) {
    t.match(answer.headers, { ...PROTECTION, 'cache-control': 'no-store' })
  }
  const { statusCode, body } = await failing.post('/api/explain', {})
  t.equal(statusCode, 500, 'what is no error of the cache is the app\'s')
  t.match(body, /broken/)
})

/** A cache that fails as none should. */
function broken (): object {
  const cache = { stats: () => ({ routes: {}, values: { bypasses: {} } }), prefix: 'x', redis: null, explain: async () => await Promise.reject(new Error('broken')) }
  return cache
}

t.test('beside cors that lets all sites read, helmet and compress', async (t) => {
  const { app, get, post } = await openSite(t, {
    before: async (app) => {
      await app.register(cors, { origin: true, credentials: true })
      await app.register(helmet)
      await app.register(compress, { threshold: 0 })
    }
  })
  const page = await get('/', { 'accept-encoding': 'gzip' })
  t.match(page.headers, { ...PROTECTION, 'content-encoding': 'gzip', 'x-frame-options': 'SAMEORIGIN' })
  t.match(page.headers['content-security-policy'], /frame-ancestors 'self'$/, 'the page\'s own policy')
  const plain = await get('/uPlot.js')
  t.ok(plain.body.length > 10_000)
  t.match((await get('/api/overview', { 'accept-encoding': 'gzip' })).headers, { 'content-encoding': 'gzip' })
  const foreign = { origin: 'https://other.example', host: HOST }
  await app.cache.getOrSet('kept', { ttl: 60 }, () => 1)
  for (const sent of [foreign, { ...foreign, 'sec-fetch-site': 'cross-site' }]) {
    const seen = await get('/api/overview', sent)
    t.equal(seen.statusCode, 403)
    t.notMatch(seen.body, /processes/)
    t.equal((await post('/api/invalidate', { target: 'kept' }, sent)).statusCode, 403)
    const asked = await app.inject({ method: 'OPTIONS', url: '/cache/api/invalidate', headers: { ...sent, 'access-control-request-method': 'POST' } })
    t.equal(asked.statusCode, 204, 'though cors would have let it')
  }
  t.equal(app.cache.stats().invalidations, 0)
})

t.test('in an app that serializes and fails in its own way', async (t) => {
  const { get, post } = await openSite(t, {
    before: (app) => {
      app.setSerializerCompiler(() => () => '"compiled"')
      app.setReplySerializer(() => '"app"')
      app.addHook('onRequest', async (_request, reply) => { reply.serializer(() => '"hook"') })
      app.setErrorHandler((error: Error, _request, reply) => { reply.code(599).send(Buffer.from(`mine: ${error.message}`)) })
      app.addHook('preSerialization', async () => ({ replaced: true }))
    }
  })
  t.match((await get('/api/overview')).json(), { name: 'shop', processes: [{ isThis: true }] })
  t.match((await get('/')).body, /^<!doctype html>/)
  t.match((await get('/dashboard.js')).body, /^\/\/ The page/)
  t.match((await post('/api/explain', { key: '' })).json(), { code: 'FRC_TARGET' })
  const { statusCode, body, headers } = await post('/api/explain', '{')
  t.equal(statusCode, 599)
  t.match(body, /^mine: /)
  t.match(headers, PROTECTION)
  const closed = await openSite(t, {
    dashboard: { guard: () => false },
    before: (app) => { app.addHook('onRequest', async (_request, reply) => { reply.serializer(() => 'hook') }) }
  })
  t.match((await closed.get('/')).body, /^The guard/)
})

t.test('where it is', async (t) => {
  const at = async (url: string, options: SiteOptions): Promise<[number, string | undefined]> => {
    const { app } = await openSite(t, options)
    const { statusCode, headers } = await app.inject(url)
    return [statusCode, headers.location]
  }
  const router = (routerOptions: object): SiteOptions => ({ server: { routerOptions } as object })
  t.strictSame(await at('/cache', {}), [302, './cache/'])
  t.strictSame(await at('/cache?x=https://other.example/', {}), [302, './cache/'])
  t.strictSame(await at('/cache/', {}), [200, undefined])
  t.strictSame(await at('/a/b/c', { dashboard: { prefix: '/a/b/c' } }), [302, './c/'])
  t.strictSame(await at('/a/b/c/api/overview', { dashboard: { prefix: '/a/b/c' } }), [200, undefined])
  t.strictSame(await at('/cache/', { dashboard: { prefix: '/cache/' } }), [200, undefined])
  t.strictSame(await at('/cache/dashboard.css', { dashboard: { prefix: '/cache/' } }), [200, undefined])
  t.strictSame(await at('/', { dashboard: { prefix: '' } }), [200, undefined])
  t.strictSame(await at('/uPlot.css', { dashboard: { prefix: '' } }), [200, undefined])
  t.strictSame(await at('/cache', router({ ignoreTrailingSlash: true })), [302, './cache/'])
  t.strictSame(await at('/cache/', router({ ignoreTrailingSlash: true })), [200, undefined])
  t.strictSame(await at('//cache', router({ ignoreDuplicateSlashes: true })), [302, './cache/'])
  t.strictSame(await at('/CACHE', router({ caseSensitive: false })), [302, './CACHE/'])
  // A proxy, or the app itself, may have put it elsewhere: what is sent is relative to where the browser sees it.
  const rewriteUrl = ({ url }: { url?: string | undefined }): string => String(url).replace(/^\/ops\/dash/, '/cache')
  t.strictSame(await at('/ops/dash', { server: { rewriteUrl } }), [302, './dash/'])
  t.strictSame(await at('/ops/dash/', { server: { rewriteUrl } }), [200, undefined])
  // A prefix with a parameter: what a client writes there leads to no other site.
  for (const [url, location] of [['/https:other.example', './https:other.example/'], ['/javascript:x', './javascript:x/'], ['/%5C%5Cother', './%5C%5Cother/']] as const) {
    t.strictSame(await at(url, { dashboard: { prefix: '/:tenant' } }), [302, location])
    t.equal(new URL(location, 'https://shop.example').origin, 'https://shop.example')
  }
})

t.test('in a context of its own, what is registered there and later counts as well', async (t) => {
  const app = fastify()
  t.teardown(async () => { await app.close() })
  await app.register(routeCache)
  await app.register(async (inner) => {
    inner.addHook('onRequest', async (request, reply) => { if (request.headers.cookie !== 'me') await reply.code(403).send('outer') })
    await inner.register(dashboard, { prefix: '/cache', public: true })
  }, { prefix: '/admin' })
  t.equal((await app.inject('/admin/cache/')).statusCode, 403)
  t.equal((await app.inject({ url: '/admin/cache/', headers: { cookie: 'me' } })).statusCode, 200)
  t.equal((await app.inject({ url: '/admin/cache', headers: { cookie: 'me' } })).headers.location, './cache/')
  t.equal((await app.inject('/cache/')).statusCode, 404)
})
