// Conditional requests that find nothing stored: the handler that fills the cache is asked for the whole, and each client
// gets the answer to its own question. RFC 9111 §4.3.2, RFC 9110 §13, §14.2.
import etag from '@fastify/etag'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import routeCache, { type CacheOptions, type RouteCacheOptions } from '../../plugin/index.js'
import { gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { call1, call2 } from '../helpers/client.js'
import { startRedis } from '../helpers/redis.js'
import { hold, overHttp, type Open, type Row, type Rule, type Send } from './rule.js'

const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
const BODY = 'the whole of it'

/** As `sendFile` of @fastify/static, an Express app or an upstream behind a proxy does it. */
const own: Send = (reply, { headers, raw }) => {
  reply.header('etag', '"a"').header('last-modified', DATE).header('x-own', '1')
  const asked = [headers['if-none-match'], raw.headers['if-none-match'], headers['if-modified-since']]
  return asked.some((field) => field !== undefined) ? reply.code(304).send() : reply.send(BODY)
}

const then = (name: string, headers: Record<string, string>, status: 200 | 304, more: Partial<Row> = {}): Row => ({
  name,
  send: own,
  steps: [
    { is: 'miss', headers, status, body: status === 304 ? '' : BODY, fields: { etag: '"a"' } },
    { is: 'hit', body: BODY }, { is: 'hit', headers, status }
  ],
  refused: {},
  ...more
})

/** Not stored, so the next one is on its own. */
const alone = (name: string, send: Send, refused: NonNullable<Row['refused']>, first: Row['steps'][number]): Row =>
  ({ name, send, refused, steps: [first] })
const MATCH = { 'If-None-Match': '"a"' }

const FILLING: Rule = {
  rule: 'a conditional request fills the cache with the whole answer, and is answered by its validators',
  rfc: 'RFC 9111 §4.3.2, RFC 9110 §13.2.2',
  accepts: [
    then('If-None-Match with its tag', MATCH, 304),
    then('with its tag among others, weak', { 'if-none-match': '"x", W/"a"' }, 304),
    then('*', { 'if-none-match': '*' }, 304),
    then('with another', { 'if-none-match': '"b"' }, 200),
    then('If-Modified-Since, its date', { 'if-modified-since': DATE }, 304),
    then('an older one', { 'if-modified-since': 'Sun, 06 Nov 1994 08:49:36 GMT' }, 200),
    then('what is no date', { 'if-modified-since': 'yesterday' }, 200),
    then('If-None-Match before If-Modified-Since', { 'if-none-match': '"b"', 'if-modified-since': DATE }, 200),
    then('with content of a hook, on the way out', MATCH, 304, { prepare: (app) => { app.addHook('onSend', async (_, reply) => { reply.header('x-hook', '1') }) } }),
    {
      name: 'fields of a 304 only, as a hit has them (§15.4.5)',
      send: own,
      steps: [
        { is: 'miss', headers: MATCH, status: 304, fields: { 'content-type': null, 'content-length': null, 'x-own': null, 'last-modified': null } },
        { is: 'hit', fields: { 'x-own': '1', 'last-modified': DATE } }
      ]
    },
    {
      name: 'the tag that is made where the handler gives none',
      send: (reply) => reply.send(BODY),
      steps: [{ is: 'miss', headers: { 'if-none-match': `W/"${createHash('sha1').update(BODY).digest('base64url')}"` }, status: 304, body: '' }, { is: 'hit', body: BODY }]
    },
    {
      name: 'behind hooks in front of the handler',
      send: own,
      prepare: (app) => { app.addHook('preHandler', async ({ headers }) => { if (headers['if-none-match'] === undefined) throw new Error('unseen') }) },
      steps: [{ is: 'miss', headers: MATCH, status: 304 }]
    },
    {
      name: 'a range that is all of it: 206',
      send: (reply) => reply.header('accept-ranges', 'bytes').send(BODY),
      steps: [
        { is: 'miss', headers: { range: 'bytes=0-' }, status: 206, body: BODY, fields: { 'content-range': 'bytes 0-14/15' } },
        { is: 'hit', body: BODY, fields: { 'content-range': null } }
      ]
    }
  ],
  rejects: [
    {
      name: "conditional: 'handler', whose 304 is not stored",
      cache: { conditional: 'handler' },
      send: own,
      refused: { status: 1 },
      steps: [{ is: 'miss', headers: MATCH, status: 304, fields: { 'x-own': '1' } }, { is: 'miss', body: BODY }]
    },
    {
      name: "conditional: 'handler', which is asked for the whole",
      cache: { conditional: 'handler' },
      send: (reply, { headers }) => reply.header('etag', '"a"').send(String(headers['if-none-match'])),
      steps: [{ is: 'miss', headers: MATCH, body: '"a"' }, { is: 'hit', headers: MATCH, status: 304 }]
    },
    {
      name: 'a HEAD, which fills nothing',
      send: own,
      refused: { head: 1 },
      steps: [{ is: 'miss', method: 'HEAD', headers: MATCH, status: 304 }, { is: 'miss', body: BODY }]
    },
    {
      name: "a bypass: somebody's own",
      send: own,
      steps: [{ is: 'bypass authorization', headers: { ...MATCH, authorization: 'x' }, status: 304 }]
    },
    alone('another status', (reply) => reply.code(404).header('etag', '"a"').send('none'), { status: 1 }, { is: 'miss', headers: MATCH, status: 404, body: 'none' }),
    alone('an error', () => { throw new Error('no') }, { status: 1 }, { is: 'miss', headers: { 'if-none-match': '*' }, status: 500 }),
    alone('a cookie: not stored, and not lost', (reply) => reply.header('etag', '"a"').header('set-cookie', 'a=1').header('x-own', '1').send(BODY), { 'set-cookie': 1 }, {
      is: 'miss', headers: MATCH, status: 304, body: '', fields: { 'set-cookie': 'a=1', 'x-own': '1', 'content-type': null, 'content-length': null }
    }),
    alone('no-store, with another tag', (reply) => reply.header('etag', '"b"').header('cache-control', 'no-store').send(BODY), { 'no-store': 1 }, {
      is: 'miss', headers: MATCH, status: 200, body: BODY
    })
  ]
}

await onEachStore(t, async (t, open) => {
  await hold(t, open, [FILLING], t.name === 'redis' ? overHttp : undefined)
  await t.test('what the handler sends is stored, whatever kind it is, and nobody has to read it', async (t) => { await kinds(t, open) })
  await t.test('invalidated while the handler runs: not stored', async (t) => { await invalidated(t, open) })
  await t.test('a body that is longer than may be stored, that fails, or that has no end in time', async (t) => { await streams(t, open) })
})

async function kinds (t: Test, open: Open): Promise<void> {
  const sends: Record<string, (reply: FastifyReply) => unknown> = {
    text: (reply) => reply.send(BODY),
    bytes: (reply) => reply.send(Buffer.from(BODY)),
    object: (reply) => reply.send({ a: 1 }),
    stream: (reply) => reply.send(Readable.from([BODY.slice(0, 4), BODY.slice(4)])),
    web: (reply) => reply.send(new Response(BODY).body),
    response: () => new Response(BODY, { headers: { etag: '"a"', 'x-own': '1' } }),
    nothing: (reply) => reply.send('')
  }
  for (const hasHook of [false, true]) {
    for (const [name, send] of Object.entries(sends)) {
      const app = await open({ prefix: `kinds-${hasHook}` })
      if (hasHook) app.addHook('onSend', async (_request, _reply, payload) => payload)
      let runs = 0
      app.get(`/${name}`, { cache: true }, async (_, reply) => {
        runs++
        return await send(name === 'response' ? reply : reply.header('etag', '"a"').type(name === 'object' ? 'application/json' : 'text/x'))
      })
      const first = await app.inject({ url: `/${name}`, headers: MATCH })
      t.strictSame([first.statusCode, first.body, first.headers['content-type'], first.headers.etag], [304, '', undefined, '"a"'], name)
      await settled(app)
      const second = await app.inject(`/${name}`)
      t.match(second.headers['cache-status'], /; hit/, name)
      t.equal(second.body, { object: '{"a":1}', nothing: '' }[name] ?? BODY, name)
      t.equal(runs, 1)
    }
  }
}

async function invalidated (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'invalidated' })
  const held = gate()
  let row = 'old'
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
    const read = row
    await held.wait()
    return reply.header('etag', `"${read}"`).send(read)
  })
  const asked = app.inject({ url: '/', headers: { 'if-none-match': '"old"' } })
  await held.reached
  row = 'new'
  await app.cache.invalidate('k')
  held.open()
  t.equal((await asked).statusCode, 304, 'it began before')
  await settled(app)
  t.match((await app.inject({ url: '/', headers: { 'if-none-match': '"old"' } })), { statusCode: 200, body: 'new' })
}

async function streams (t: Test, open: Open): Promise<void> {
  const sources: Record<string, () => Readable> = {
    '/long': () => Readable.from((function * () { for (;;) yield 'x'.repeat(4) })()),
    '/fails': () => Readable.from((function * () { yield 'x'; throw new Error('no') })())
  }
  for (const [url, source] of Object.entries(sources)) {
    const app = await open({ prefix: 'streams', maxBodyBytes: 10 })
    let stream: Readable | undefined
    app.get(url, { cache: true }, async (_, reply) => await reply.header('etag', '"a"').send(stream = source()))
    t.match(await app.inject({ url, headers: MATCH }), { statusCode: 304, body: '' }, url)
    await settled(app)
    t.equal(stream?.destroyed, true, `${url} is let go`)
    t.strictSame(app.cache.stats().total.refusals, { [url === '/long' ? 'size' : 'incomplete']: 1 })
  }
}

type Listening = RouteCacheOptions & { http2?: boolean }

/** An app that listens, on a store of its own. */
async function listening (t: Test, { http2 = false, ...options }: Listening): Promise<CachedApp> {
  const app = fastify({ ...http2 ? { http2: true } : {} } as never) as unknown as CachedApp
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { deadline: 30, writeDeadline: 30, ...options })
  return app
}

const CROWDS: Array<[name: string, count: number, headers: Record<string, string>]> = [
  ['If-None-Match', 20, MATCH], ['If-Modified-Since', 20, { 'if-modified-since': DATE }], ['If-None-Match: *', 20, { 'if-none-match': '*' }],
  ['Range: bytes=0-', 50, { range: 'bytes=0-' }], ['If-Match: *', 50, { 'if-match': '*' }], ['If-Match', 50, { 'if-match': '"x"' }],
  ['If-Range', 50, { 'if-range': 'x' }], ['If-Unmodified-Since', 50, { 'if-unmodified-since': DATE }]
]

t.test('crowds over the network: one run, whatever they ask', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const stores: Record<string, RouteCacheOptions> = { memory: {}, redis: { redis }, tier: { redis, memory: {} } }
  for (const [store, parts] of Object.entries(stores)) {
    for (const http2 of store === 'memory' ? [false, true] : [false]) {
      const call = http2 ? call2 : call1
      await t.test(`${store}, HTTP/${http2 ? 2 : 1}`, async (t) => {
        const app = await listening(t, { http2, prefix: `crowd-${http2}-${store}`, ...parts })
        let runs = 0
        let held = gate()
        app.get('/:name', { cache: true }, async (request, reply) => {
          runs++
          await held.wait()
          return await own(reply.header('accept-ranges', 'bytes'), request, runs)
        })
        await app.listen()
        for (const [i, [name, count, headers]] of CROWDS.entries()) {
          for (const others of [headers, {}]) {
            runs = 0
            held = gate()
            const path = `/${i}-${others === headers}`
            const first = call(app, { path, headers })
            await held.reached
            const rest = Array.from({ length: count - 1 }, async () => await call(app, { path, headers: others }))
            while (app.cache.stats().waiting < count - 1) await new Promise(setImmediate)
            held.open()
            const answers = await Promise.all([first, ...rest])
            t.equal(runs, 1, `${name}, ${count} requests: one run`)
            const expected = name === 'Range: bytes=0-' ? 206 : name.startsWith('If-None') || name === 'If-Modified-Since' ? 304 : 200
            t.ok(answers.every(({ status, body }, i) => status === (i === 0 || others === headers ? expected : 200) && body === (status === 304 ? '' : BODY)), name)
          }
        }
        runs = 0
        for (const [i, [name, count, headers]] of CROWDS.entries()) {
          await Promise.all(Array.from({ length: count }, async () => await call(app, { path: `/${i}-true`, headers })))
          t.equal(runs, 0, `${name}, on what is stored: none`)
        }
      })
    }
  }
})

t.test('a part that is asked for while the whole is made waits for that; one that is not, does not keep others waiting', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ prefix: 'parts' })
    let held = gate()
    const seen: unknown[] = []
    app.get('/:name', { cache: true }, async (request, reply) => {
      seen.push(request.headers.range)
      await held.wait()
      reply.header('accept-ranges', 'bytes')
      return request.headers.range === undefined ? reply.send(BODY) : reply.code(206).header('content-range', 'bytes 0-1/15').send('th')
    })
    const first = app.inject('/a')
    await held.reached
    const part = app.inject({ url: '/a', headers: { range: 'bytes=4-8' } })
    while (app.cache.stats().waiting < 1) await new Promise(setImmediate)
    held.open()
    t.match(await part, { statusCode: 206, body: 'whole', headers: { 'cache-status': /collapsed/ } })
    t.equal((await first).body, BODY)
    await settled(app)
    held = gate()
    const alone = app.inject({ url: '/b', headers: { range: 'bytes=0-1' } })
    await held.reached
    const other = app.inject('/b')
    held.open()
    t.match(await alone, { statusCode: 206, body: 'th' })
    t.equal((await other).body, BODY)
    await settled(app)
    t.match((await app.inject('/b')).body, BODY)
    t.strictSame(seen, [undefined, 'bytes=0-1', undefined])
    t.strictSame(app.cache.stats().total.refusals, { range: 1 })
  })
})

/** What each part of a request's way sees of `If-None-Match`. */
async function sights (t: Test, cache: CacheOptions, headers: object): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {}
  const note = (where: string, { headers, raw }: FastifyRequest): void => {
    const isListed = raw.rawHeaders.join('\n').includes('If-None-Match\n"a"')
    const all = [headers['if-none-match'], raw.headers['if-none-match'], raw.headersDistinct['if-none-match']?.[0], isListed ? '"a"' : undefined]
    seen[where] = new Set(all).size === 1 ? all[0] : all
  }
  const app = fastify() as unknown as CachedApp
  t.teardown(async () => { await app.close() })
  app.addHook('onSend', async (request) => { note('onSend, registered before', request) })
  await app.register(routeCache)
  for (const hook of ['onRequest', 'preHandler', 'preSerialization', 'onSend', 'onError', 'onResponse'] as const) {
    app.addHook(hook, async (request: FastifyRequest) => { note(hook, request) })
  }
  app.setErrorHandler(async (_, request, reply) => {
    note('error handler', request)
    return reply.code(500).send('no')
  })
  app.get('/', { cache }, async (request, reply) => {
    note('handler', request)
    if (request.headers['x-throw'] !== undefined) throw new Error('no')
    if (request.headers['x-hijack'] === undefined) return { a: 1 }
    reply.hijack()
    reply.raw.end('raw')
    return reply
  })
  await app.listen()
  await call1(app, { headers: { ...MATCH, ...headers } })
  await app.close()
  return seen
}

t.test('only the handler does not see the condition', async (t) => {
  const all = (more: object): object => ({ onRequest: '"a"', preHandler: '"a"', handler: undefined, onResponse: '"a"', ...more })
  const sent = { onSend: '"a"', 'onSend, registered before': '"a"' }
  for (const [headers, expected] of [
    [{}, { preSerialization: '"a"', ...sent }],
    [{ 'x-throw': '1' }, { onError: '"a"', 'error handler': '"a"', ...sent }],
    [{ 'x-hijack': '1' }, {}]
  ] as const) {
    for (const hook of ['onRequest', 'preHandler'] as const) {
      const seen = await sights(t, { hook }, headers)
      t.strictSame(seen, all(expected), `${hook} ${JSON.stringify(headers)}`)
    }
  }
  t.match(await sights(t, { conditional: 'handler' }, {}), { handler: '"a"' }, "conditional: 'handler'")
})

t.test('fields that are held elsewhere, and fields that nobody can change', async (t) => {
  await onEachStore(t, async (t, open) => {
    const ways: Record<string, { prepare: (request: FastifyRequest) => void, isSeen: boolean }> = {
      'a copy in place of the fields': { prepare: (request) => { request.headers = { ...request.headers, 'x-more': '1' } }, isSeen: false },
      'a proxy around them': { prepare: ({ raw }) => { raw.headers = new Proxy(raw.headers, {}) }, isSeen: false },
      'frozen fields': { prepare: ({ raw }) => { Object.freeze(raw.headers) }, isSeen: true },
      'a frozen list': { prepare: ({ raw }) => { Object.freeze(raw.rawHeaders) }, isSeen: true },
      'a getter in front of them': {
        prepare: (request) => { Object.defineProperty(request, 'headers', { value: { ...request.headers }, writable: false }) }, isSeen: true
      }
    }
    for (const [name, { prepare, isSeen }] of Object.entries(ways)) {
      const app = await open({ prefix: `held-${Object.keys(ways).indexOf(name)}` })
      app.addHook('onRequest', async (request) => { if (request.headers['x-plain'] === undefined) prepare(request) })
      const held = gate()
      let runs = 0
      app.get('/', { cache: true }, async (request, reply) => {
        if (++runs === 1) await held.wait()
        return await own(reply, request, runs)
      })
      const first = app.inject({ url: '/', headers: MATCH })
      await held.reached
      const others = Array.from({ length: 5 }, async () => await app.inject({ url: '/', headers: { 'x-plain': '1' } }))
      held.open()
      t.equal((await first).statusCode, 304, name)
      t.ok((await Promise.all(others)).every(({ body }) => body === BODY), name)
      t.equal(runs, isSeen ? 2 : 1, `${name}: others share one run`)
      await settled(app)
    }
  })
})

t.test('@fastify/etag, in both orders: one run, and each gets its 304', async (t) => {
  for (const isFirst of [false, true]) {
    const app = fastify()
    t.teardown(async () => { await app.close() })
    if (isFirst) await app.register(etag)
    await app.register(routeCache)
    if (!isFirst) await app.register(etag)
    let runs = 0
    app.get('/', { cache: true }, async () => {
      runs++
      return BODY
    })
    const tag = String((await app.inject('/')).headers.etag)
    await app.cache.invalidate({ all: true })
    runs = 0
    for (let i = 0; i < 3; i++) {
      const answer = await app.inject({ url: '/', headers: { 'if-none-match': tag } })
      t.match(answer, { statusCode: 304, body: '', headers: { etag: tag } }, `registered ${isFirst ? 'before' : 'behind'}`)
      await app.cache.settled()
    }
    t.equal(runs, isFirst ? 2 : 1, 'a hook ahead of ours is known by what it did once')
  }
})

t.test('a hook that fails behind the answer: its error, not a 304 or a part', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ prefix: 'failing' })
    app.addHook('onSend', async (request, reply) => { if (reply.statusCode < 500 && request.headers['x-fail'] !== undefined) throw new Error('hook') })
    app.get('/', { cache: true }, async (_, reply) => reply.header('etag', '"a"').header('accept-ranges', 'bytes').send(BODY))
    const fails = { 'x-fail': '1' }
    for (const headers of [{ ...MATCH, ...fails }, { range: 'bytes=0-', ...fails }]) {
      t.match(await app.inject({ url: '/', headers }), { statusCode: 500, body: /hook/, headers: { 'content-range': undefined } }, 'on a miss')
    }
    await settled(app)
    await app.inject('/')
    await settled(app)
    for (const headers of [{ ...MATCH, ...fails }, { range: 'bytes=0-1', ...fails }]) {
      t.match(await app.inject({ url: '/', headers }), { statusCode: 500, body: /hook/, headers: { 'content-range': undefined } }, 'on a hit')
    }
  })
})
