// Cache-Status is well-formed (RFC 9211, RFC 8941) for every outcome that there is.
import type { FastifyReply } from 'fastify'
import { parseList } from 'structured-headers'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { BypassReason, CacheOutcome, CacheOptions } from '../../plugin/index.js'
import { startRedis } from '../helpers/redis.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'

interface Case {
  cache?: CacheOptions
  headers?: Record<string, string>
  prepare?: (app: CachedApp) => void
  schema?: object
  url?: string
  /** Where that is more than the reason. */
  detail?: string
}

/** Every reason, or it does not compile. */
const BYPASSES: Record<Exclude<BypassReason, 'store' | 'breaker' | 'journal' | 'unsaid'>, Case> = {
  disabled: { prepare: (app) => { app.cache.enabled = false } },
  answered: { prepare: (app) => { app.addHook('onRequest', async (_, reply) => await reply.code(401).send('no')) } },
  authorization: { headers: { authorization: 'x' } },
  user: { prepare: (app) => { app.decorateRequest('user', { getter: () => ({ id: 1 }) }) } },
  session: { prepare: (app) => { app.decorateRequest('session', { getter: () => ({ name: 'alice' }) }) } },
  cookie: { headers: { cookie: 'a=1' } },
  credential: { headers: { 'x-api-key': 'x' }, detail: 'credential:x-api-key' },
  certificate: {
    prepare: (app) => {
      app.addHook('onRequest', async ({ raw }) => { Object.assign(raw.socket, { encrypted: true, getPeerX509Certificate: () => ({}) }) })
    }
  },
  query: { url: '/?access_token=x', detail: 'query:access_token' },
  content: { headers: { 'content-length': '2' } },
  upgrade: { headers: { connection: 'Upgrade', upgrade: 'websocket' } },
  target: { prepare: (app) => { app.addHook('onRequest', async ({ raw }) => { Object.assign(raw, { originalUrl: '/#x' }) }) } },
  invalid: { schema: { headers: { type: 'object', required: ['x-needed'] } } },
  when: { cache: { when: () => false } },
  policy: { cache: { key: () => '' } }
}

async function appOf ({ cache, prepare, schema }: Case, t: Test, options = {}): Promise<CachedApp> {
  const app = await cachedApp(t, options)
  prepare?.(app)
  app.get('/', { cache: { key: 'k', ttl: 60, ...cache }, ...schema === undefined ? {} : { schema } }, async () => 'x')
  return app
}

/** The members of the field, as a parser of structured fields reads them. */
async function members (app: CachedApp, headers: Record<string, string> = {}, url = '/'): Promise<[unknown, object][]> {
  const field = String((await app.inject({ url, headers })).headers['cache-status'])
  await settled(app)
  const plain = ([key, value]: [string, unknown]): [string, unknown] =>
    [key, typeof value === 'object' ? `token ${String(value)}` : value]
  return parseList(field).map(([name, parameters]) => [String(name), Object.fromEntries(Array.from(parameters, plain))])
}

const NAME = 'fastify-route-cache'

t.test('hit, miss, forced miss', async (t) => {
  const outcomes: CacheOutcome['type'][] = ['hit', 'miss', 'bypass']
  t.equal(outcomes.length, 3)
  const app = await appOf({ cache: { honourNoCache: true } }, t)
  t.strictSame(await members(app), [[NAME, { fwd: 'token miss' }]])
  t.strictSame(await members(app), [[NAME, { hit: true, ttl: 60 }]])
  t.strictSame(await members(app, { 'cache-control': 'no-cache' }), [[NAME, { fwd: 'token request' }]])
})

t.test('every reason to go past the cache', async (t) => {
  for (const [reason, one] of Object.entries(BYPASSES)) {
    const app = await appOf(one, t)
    t.strictSame(await members(app, one.headers, one.url), [[NAME, { fwd: 'token bypass', detail: `token ${one.detail ?? reason}` }]], reason)
  }
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client({ enableOfflineQueue: false, lazyConnect: true })
  await redis.connect()
  const app = await appOf({}, t, { redis, breakerThreshold: 1 })
  await app.ready()
  redis.disconnect()
  t.strictSame(await members(app), [[NAME, { fwd: 'token bypass', detail: 'token store' }]])
  // Its probe fails first.
  await turn()
  t.strictSame(await members(app), [[NAME, { fwd: 'token bypass', detail: 'token breaker' }]])
  await t.rejects(app.cache.invalidate('k'), { code: 'FRC_STORE' })
  t.strictSame(await members(app), [[NAME, { fwd: 'token bypass', detail: 'token journal' }]])
})

t.test('the key, only when asked, whatever is in it', async (t) => {
  const key = 'a"b\\c é 😀\n;,='
  const app = await appOf({ cache: { key: () => key } }, t, { cacheStatus: { key: true, name: 'edge' } })
  t.match(await members(app), [['edge', { fwd: 'token miss', key: 'a"b\\c %C3%A9 %F0%9F%98%80%0A;,=' }]])
  t.match(await members(app), [['edge', { hit: true, ttl: 60, key: /^a"b\\c/ }]])
})

t.test('behind the members of caches on the way to the handler', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => reply.header('cache-status', 'origin; hit; ttl=5').send('x'))
  t.strictSame(await members(app), [['origin', { hit: true, ttl: 5 }], [NAME, { fwd: 'token miss' }]])
  t.strictSame(await members(app), [['origin', { hit: true, ttl: 5 }], [NAME, { hit: true, ttl: 60 }]])
})

t.test('a miss says so, too, where the request or the policy is against it', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  app.get('/ttl', { cache: { key: 't', ttl: () => 'soon' } }, async () => 'x')
  const said = async (method: 'GET' | 'HEAD', url: string, headers = {}): Promise<unknown> => (await app.inject({ method, url, headers })).headers['cache-status']
  t.equal(await said('HEAD', '/'), 'fastify-route-cache; fwd=miss; detail=head')
  t.equal(await said('GET', '/', { range: 'bytes=1-1' }), 'fastify-route-cache; fwd=miss; detail=range')
  t.equal(await said('GET', '/ttl'), 'fastify-route-cache; fwd=miss; detail=policy')
  t.equal(await said('GET', '/'), 'fastify-route-cache; fwd=miss')
})

t.test('a miss says why its response is not stored, where that is known', async (t) => {
  const hooks: Record<string, (reply: FastifyReply) => unknown> = {
    '': (reply) => reply.send('x'),
    'set-cookie': (reply) => reply.header('set-cookie', 'a=b').send('x'),
    'no-store': (reply) => reply.header('cache-control', 'no-store').send('x'),
    status: (reply) => reply.code(404).send('x'),
    size: (reply) => reply.send('x'.repeat(200)),
    'no-cache-called': (reply) => reply.noCache().send('x'),
    vary: (reply) => reply.header('vary', '*').send('x'),
    header: (reply) => reply.send('by a hook')
  }
  for (const [reason, send] of Object.entries(hooks)) {
    const app = await cachedApp(t, { maxBodyBytes: 100 })
    if (reason === 'header') app.addHook('onSend', async (_request, reply) => { reply.header('set-cookie', 'hook=1') })
    let outcome: unknown
    app.addHook('onResponse', async (request) => { outcome = request.cacheOutcome })
    app.get('/', { cache: { key: 'k' } }, async (_request, reply) => await send(reply))
    const { headers } = await app.inject('/')
    const said = reason === 'header' ? 'set-cookie' : reason
    t.equal(headers['cache-status'], `fastify-route-cache; fwd=miss${said === '' ? '' : `; detail=${said}`}`)
    t.strictSame(outcome, { type: 'miss', key: 'k', forced: false, ...said !== '' && { refused: said } })
  }
})
