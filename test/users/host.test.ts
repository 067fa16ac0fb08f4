// `host` means what `request.host` says, under any protocol and behind a proxy that the app trusts; and a route for hosts of
// a pattern tells apart the hosts that matched.
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import routeCache, { type CacheOptions } from '../../plugin/index.js'
import { gate, settled } from '../helpers/app.js'
import { call1, call2 } from '../helpers/client.js'
import { until } from '../helpers/until.js'

const RECIPES: Record<string, CacheOptions> = {
  "vary: ['host']": { key: 'page', vary: ['host'] },
  "vary: ['Host']": { key: 'page', vary: ['Host'] },
  'identity: (request) => request.host': { key: 'page', identity: ({ host }) => host }
}

async function open (t: Test, options: object, declare: (app: FastifyInstance) => unknown): Promise<FastifyInstance> {
  const app = fastify(options)
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { deadline: 30, writeDeadline: 30 })
  declare(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

const page = async ({ host }: FastifyRequest): Promise<string> => `<a href="https://${host}/">`

/** How a tenant's requests come: what says its host, and what else is there. */
const WAYS: Array<[name: string, options: object, call: typeof call1, headers: (host: string) => Record<string, string>]> = [
  ['HTTP/1', {}, call1, (host) => ({ host })],
  ['HTTP/2', { http2: true }, call2, (host) => ({ host })],
  ['a trusted proxy', { trustProxy: true }, call1, (host) => ({ host: 'app.internal', 'x-forwarded-host': host })],
  ['two of them', { trustProxy: true }, call1, (host) => ({ host: 'app.internal', 'x-forwarded-host': `edge.example, ${host}` })],
  ['a trusted address', { trustProxy: '127.0.0.1' }, call1, (host) => ({ host: 'app.internal', 'x-forwarded-host': host })],
  ['a proxy over HTTP/2', { trustProxy: true, http2: true }, call2, (host) => ({ host: 'app.internal', 'x-forwarded-host': host })]
]

t.test('tenants get their own, by each recipe, however their host is said', async (t) => {
  for (const [name, options, call, headersOf] of WAYS) {
    for (const [recipe, cache] of Object.entries(RECIPES)) {
      const app = await open(t, options, (app) => { app.get('/', { cache }, page) })
      for (const status of [/fwd=miss/, /; hit;/]) {
        for (const host of ['a.example', 'b.example', 'a.example:8080']) {
          const headers = headersOf(host)
          t.match(await call(app, { headers }), { body: `<a href="https://${host}/">`, headers: { 'cache-status': status } }, `${name}, ${recipe}`)
          await settled(app)
        }
      }
      t.equal((await call(app, { method: 'HEAD', headers: headersOf('longer.example') })).headers['content-length'], '34', `${name}: HEAD`)
      const { headers: { etag } } = await call(app, { headers: headersOf('a.example') })
      t.equal((await call(app, { headers: { ...headersOf('c.example'), 'if-none-match': etag! } })).status, 200, `${name}: 304`)
    }
  }
})

t.test('a proxy that is not trusted says nothing', async (t) => {
  const app = await open(t, { trustProxy: '192.0.2.1' }, (app) => { app.get('/', { cache: RECIPES["vary: ['host']"]! }, page) })
  for (const forwarded of ['a.example', 'b.example']) {
    t.equal((await call1(app, { headers: { host: 'app.example', 'x-forwarded-host': forwarded } })).body, '<a href="https://app.example/">')
    await settled(app)
  }
  t.equal(app.cache.stats().total.hits, 1)
})

t.test('a Vary: Host of the handler\'s means the same', async (t) => {
  for (const [name, options, call, headersOf] of WAYS) {
    const app = await open(t, options, (app) => {
      app.get('/', { cache: { key: 'page' } }, async (request, reply) => reply.header('vary', 'Host').send(await page(request)))
    })
    for (const status of [/fwd=miss/, /; hit;/]) {
      for (const host of ['a.example', 'b.example']) {
        t.match(await call(app, { headers: headersOf(host) }), { body: `<a href="https://${host}/">`, headers: { 'cache-status': status } }, name)
        await settled(app)
      }
    }
  }
})

/** Whether the proxy is trusted is known by its address, which a closed socket does not have any more. */
t.test('a response that is stored when its client has left is under the host that it was for', async (t) => {
  const { wait, open: finish, reached } = gate()
  const app = await open(t, { trustProxy: '127.0.0.1' }, (app) => {
    app.get('/', { cache: { key: 'page' } }, async (request, reply) => {
      await wait()
      // Not `request.host`: Node remembers an address that was asked for.
      return reply.header('vary', 'Host').send(String(request.headers['x-forwarded-host'] ?? request.headers.host))
    })
  })
  const { port } = new URL(app.listeningOrigin)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: b.example\r\nX-Forwarded-Host: a.example\r\n\r\n')
  await reached
  socket.destroy()
  const connections = async (): Promise<number> =>
    await new Promise((resolve) => app.server.getConnections((_, n) => { resolve(n) }))
  await until(async () => await connections() === 0, 'the connection is still there')
  finish()
  await settled(app)
  t.equal((await call1(app, { headers: { host: 'b.example' } })).body, 'b.example')
})

t.test('a stream, too', async (t) => {
  const app = await open(t, { trustProxy: true }, (app) => {
    app.get('/', { cache: { key: 'page' } }, async (request, reply) => reply.header('vary', 'Host').send(Readable.from([await page(request)])))
  })
  for (const host of ['a.example', 'b.example', 'a.example', 'b.example']) {
    t.equal((await call1(app, { headers: { host: 'x', 'x-forwarded-host': host } })).body, `<a href="https://${host}/">`)
    await settled(app)
  }
  t.equal(app.cache.stats().total.hits, 2)
})

t.test('a refresh is for the host of the request that caused it, a warm-up for the one that it names', async (t) => {
  for (const [name, options, call, headersOf] of WAYS) {
    let now = 1_000_000
    let runs = 0
    const app = fastify(options)
    t.teardown(async () => { await app.close() })
    await app.register(routeCache, { now: () => now, deadline: 30, writeDeadline: 30 })
    app.get('/', { cache: { key: 'page', vary: ['host'], ttl: 10, staleWhileRevalidate: 60 } }, async (request) => `${++runs} ${request.host}`)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const get = async (host: string): Promise<string> => {
      const { body } = await call(app, { headers: headersOf(host) })
      await app.cache.settled()
      return body
    }
    t.strictSame([await get('a.example'), await get('b.example')], ['1 a.example', '2 b.example'], name)
    now += 20_000
    t.strictSame([await get('a.example'), await get('b.example')], ['1 a.example', '2 b.example'], `${name}: stale`)
    t.strictSame([await get('a.example'), await get('b.example')], ['3 a.example', '4 b.example'], `${name}: refreshed`)
    if (name !== 'HTTP/1') continue
    await app.cache.warm([{ url: '/', headers: { host: 'c.example' } }])
    t.equal(await get('c.example'), '5 c.example')
    t.equal(runs, 5)
  }
})

t.test('a route for hosts of a pattern tells apart those that matched', async (t) => {
  const policies: Array<true | CacheOptions> = [true, { key: 'page' }, { key: () => 'page' }, { key: 'page', shared: true }]
  for (const [name, options, call, headersOf] of WAYS) {
    for (const cache of policies) {
      const app = await open(t, options, (app) => {
        app.get('/', { cache, constraints: { host: /^(?:a|b|app)\.(?:example|internal)$/ } }, page)
      })
      for (const status of [/fwd=miss/, /; hit;/]) {
        for (const host of ['a.example', 'b.example']) {
          t.match(await call(app, { headers: headersOf(host) }), { body: `<a href="https://${host}/">`, headers: { 'cache-status': status } }, name)
          await settled(app)
        }
      }
    }
  }
})

t.test('and by what the router looked at, where the handler reads that', async (t) => {
  const app = await open(t, { trustProxy: true }, (app) => {
    app.get('/', { cache: true, constraints: { host: /example$/ } }, async ({ headers }) => headers.host)
  })
  for (const host of ['a.example', 'b.example']) {
    t.equal((await call1(app, { headers: { host, 'x-forwarded-host': 'same' } })).body, host)
    await settled(app)
  }
})

t.test('who is logged in at a tenant counts with vary, and has to be named with identity', async (t) => {
  const userOf = ({ headers }: FastifyRequest): string => String(headers.authorization ?? 'nobody')
  const app = await open(t, {}, (app) => {
    app.get('/vary', { cache: { vary: ['host'] } }, async (request) => userOf(request))
    app.get('/identity', { cache: { identity: (request) => [request.host, userOf(request)] } }, async (request) => userOf(request))
  })
  for (const path of ['/vary', '/identity']) {
    for (const authorization of ['alice', 'bob']) {
      t.equal((await call1(app, { path, headers: { host: 'a.example', authorization } })).body, authorization)
      await settled(app)
    }
  }
})
