// What is stored, what goes past the cache, and what is said about it: header, statistics, log.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import t from 'tap'
import type { CacheOptions, CacheStats } from '../../plugin/index.js'
import { cachedApp, gate, onEachStore, settled } from '../helpers/app.js'

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

interface Row {
  name: string
  cache?: CacheOptions
  handler: Handler
  refused: keyof CacheStats['total']['refusals'] | null
}

const ok: Handler = async () => 'x'

const rows: Row[] = [
  { name: 'a plain 200', handler: ok, refused: null },
  { name: 'public and a max-age', handler: async (_, reply) => reply.header('cache-control', 'public, max-age=5').send('x'), refused: null },
  { name: 'an extension that looks like no-store', handler: async (_, reply) => reply.header('cache-control', 'x="no-store"').send('x'), refused: null },
  { name: '201', handler: async (_, reply) => reply.code(201).send('x'), refused: 'status' },
  { name: '204', handler: async (_, reply) => reply.code(204).send(), refused: 'status' },
  { name: '206', handler: async (_, reply) => reply.code(206).send('x'), refused: 'status' },
  { name: '302', handler: async (_, reply) => reply.redirect('/x'), refused: 'status' },
  { name: '404', handler: async (_, reply) => reply.code(404).send('x'), refused: 'status' },
  { name: 'an error', handler: async () => { throw new Error('no') }, refused: 'status' },
  {
    name: 'an error with a status that the policy stores',
    cache: { statuses: { 404: 30 } },
    handler: async () => { throw Object.assign(new Error('no'), { statusCode: 404 }) },
    refused: null
  },
  {
    name: 'an error with another status',
    cache: { statuses: { 404: 30 }, cacheControl: 'public, max-age=5' },
    handler: async () => { throw new Error('no') },
    refused: 'status'
  },
  { name: 'a cookie', handler: async (_, reply) => reply.header('set-cookie', 'a=1').send('x'), refused: 'set-cookie' },
  { name: 'no-store', handler: async (_, reply) => reply.header('cache-control', 'No-Store').send('x'), refused: 'no-store' },
  { name: 'private', handler: async (_, reply) => reply.header('cache-control', 'max-age=5, private="x-user"').send('x'), refused: 'private' },
  { name: 'two fields', handler: async (_, reply) => reply.header('cache-control', ['max-age=5', 'private']).send('x'), refused: 'private' },
  { name: 'Vary: *', handler: async (_, reply) => reply.header('vary', 'accept, *').send('x'), refused: 'vary' },
  { name: 'a stream', handler: async (_, reply) => reply.send(Readable.from(['a', 'b'])), refused: null },
  { name: 'an event stream', handler: async (_, reply) => reply.type('text/event-stream').send(Readable.from(['a'])), refused: 'payload' },
  { name: 'nothing', handler: async (_, reply) => reply.send(), refused: null },
  { name: 'a body over the limit', handler: async () => 'é'.repeat(501), refused: 'size' },
  { name: 'a body at the limit', handler: async () => 'é'.repeat(500), refused: null },
  { name: 'noCache()', handler: async (_, reply) => reply.noCache().send('x'), refused: 'no-cache-called' },
  { name: 'storeIf says no', cache: { storeIf: (reply) => reply.getHeader('x') === 1 }, handler: ok, refused: 'store-if' },
  { name: 'storeIf says yes', cache: { storeIf: (reply) => reply.statusCode === 200 }, handler: ok, refused: null },
  { name: 'ttl 0', cache: { ttl: 0 }, handler: ok, refused: 'ttl' },
  { name: 'a ttl function that gives 0', cache: { ttl: () => 0 }, handler: ok, refused: 'ttl' },
  { name: 'a ttl function that gives nonsense', cache: { ttl: () => 'soon' }, handler: ok, refused: 'policy' },
  { name: 'a ttl function that throws', cache: { ttl: () => { throw new Error('no') } }, handler: ok, refused: 'policy' },
  { name: 'a ttl function that gives a promise', cache: { ttl: (async () => 5) as unknown as () => number }, handler: ok, refused: 'policy' },
  { name: 'storeIf rejects', cache: { storeIf: (async () => { throw new Error('no') }) as unknown as () => boolean }, handler: ok, refused: 'policy' },
  { name: 'storeIf throws', cache: { storeIf: () => { throw new Error('no') } }, handler: ok, refused: 'policy' }
]

await onEachStore(t, async (t, open) => {
  for (const [i, { name, cache, handler, refused }] of rows.entries()) {
    await t.test(`${name}: ${refused ?? 'stored'}`, async (t) => {
      const app = await open({ maxBodyBytes: 1000 })
      app.get('/', { cache: { key: `row:${i}`, ...cache } }, handler as () => unknown)
      const first = await app.inject('/')
      t.equal(first.headers['cache-status'], `fastify-route-cache; fwd=miss${refused === null ? '' : `; detail=${refused}`}`)
      await settled(app)
      const { refusals, stores } = app.cache.stats().total
      t.strictSame(refusals, refused === null ? {} : { [refused]: 1 })
      t.equal(stores, refused === null ? 1 : 0)
      t.equal(await app.cache.inspect(`row:${i}`) === null, refused !== null)
      const second = await app.inject('/')
      t.equal(/; hit;/.test(String(second.headers['cache-status'])), refused === null)
      t.equal(second.body, first.body)
      const line = app.lines.find(({ msg }) => msg === (refused === null ? 'cache stored' : 'cache refused'))
      t.match(line, { level: 20, key: `row:${i}`, ...(refused === null ? {} : { reason: refused }) })
      if (refused !== null) {
        await settled(app)
        t.strictSame(app.cache.stats().total.refusals, { [refused]: 2 }, 'the lease was given back, or it would say "lease"')
      }
    })
  }
})

t.test('what goes past the cache: neither looked up nor stored', async (t) => {
  const bypasses: [name: string, cache: CacheOptions, headers: Record<string, string>, reason: string, errors: number][] = [
    ['authorization', {}, { authorization: 'Bearer x' }, 'authorization', 0],
    ['when', { when: (request) => request.headers['x-skip'] === undefined }, { 'x-skip': '1' }, 'when', 0],
    ['async when', { when: async () => false }, {}, 'when', 0],
    ['when throws', { when: () => { throw new Error('no') } }, {}, 'policy', 1],
    ['key throws', { key: () => { throw new Error('no') } }, {}, 'policy', 1],
    ['key rejects', { key: async () => { throw new Error('no') } }, {}, 'policy', 1],
    ['key gives no string', { key: () => undefined as unknown as string }, {}, 'policy', 1],
    ['key is empty', { key: () => '' }, {}, 'policy', 1]
  ]
  for (const [name, cache, headers, reason, errors] of bypasses) {
    const app = await cachedApp(t)
    app.get('/', { cache }, ok as () => unknown)
    for (const times of [1, 2]) {
      const response = await app.inject({ url: '/', headers })
      t.equal(response.statusCode, 200, name)
      t.equal(response.headers['cache-status'], `fastify-route-cache; fwd=bypass; detail=${reason}`, name)
      const expected = { hits: 0, misses: 0, stores: 0, bypasses: { [reason]: times }, errors: errors * times }
      t.match(app.cache.stats().total, expected, name)
    }
    t.equal(app.lines.filter(({ msg }) => msg === 'cache bypass').length, 2)
  }
})

t.test('what the request itself brought along is not stored', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: true }, async (_, reply) => reply.header('x-handler', 'h').header('x-changed', 'by handler').send('x'))
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request', request.headers['x-id'] as string).header('set-cookie', 'mine=1').header('x-changed', 'by hook')
  })
  await app.inject({ url: '/', headers: { 'x-id': 'one' } })
  await settled(app)
  const hit = await app.inject({ url: '/', headers: { 'x-id': 'two' } })
  t.match(hit.headers, { 'cache-status': /hit/, 'x-request': 'two', 'x-handler': 'h', 'x-changed': 'by handler', 'set-cookie': 'mine=1' })
  const key = '/'
  t.strictSame(Object.keys((await app.cache.inspect(key))!.headers).sort(), ['content-type', 'etag', 'x-changed', 'x-handler'])
})

t.test('switched off: nothing is looked up or stored', async (t) => {
  const app = await cachedApp(t)
  let runs = 0
  app.get('/', { cache: { key: 'k' } }, async () => ++runs)
  await app.inject('/')
  await settled(app)
  app.cache.enabled = false
  t.equal((await app.inject('/')).headers['cache-status'], 'fastify-route-cache; fwd=bypass; detail=disabled')
  t.equal(await app.cache.invalidate('k'), 1, 'invalidations work')
  app.cache.enabled = true
  t.equal((await app.inject('/')).body, '3')
  t.throws(() => { app.cache.enabled = 'no' as unknown as boolean }, { code: 'FRC_OPTION' })
})

t.test('switched off while the handler runs: not stored', async (t) => {
  const app = await cachedApp(t)
  const handler = gate()
  app.get('/', { cache: { key: 'k' } }, async () => { await handler.wait(); return 'x' })
  const response = app.inject('/')
  await handler.reached
  app.cache.enabled = false
  handler.open()
  await response
  t.strictSame(app.cache.stats().total.refusals, { disabled: 1 })
})

t.test('a response that is written past Fastify gives its lease back', async (t) => {
  const app = await cachedApp(t)
  let hijack = true
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
    if (!hijack) return 'x'
    reply.hijack()
    reply.raw.end('raw')
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  t.equal(await (await fetch(address)).text(), 'raw')
  hijack = false
  t.equal(await (await fetch(address)).text(), 'x')
  const { stores, refusals } = app.cache.stats().total
  t.strictSame({ stores, refusals }, { stores: 1, refusals: { raw: 1 } })
})
