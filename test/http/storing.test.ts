// Which responses may be stored, and which of their fields: RFC 9111 §3.
import type { FastifyReply } from 'fastify'
import { get } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import t, { type Test } from 'tap'
import { onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { hold, overHttp, stored, unstored, type Row, type Rule, type Send, type Step } from './rule.js'

type Fields = Record<string, string | string[]>

const status = (code: number, fields: Fields = {}): Send => (reply) => reply.code(code).headers(fields).send('x')
const fields = (all: Fields): Send => (reply) => reply.headers(all).send('x')
const twice = (code: number, second: 'hit' | 'miss', expected: Fields = {}): Step[] =>
  [{ is: 'miss', status: code }, { is: second, status: code, fields: expected }]

/** The option is refused when the route is declared. */
function refusesOption (name: string, cache: object, method = 'GET'): Row {
  return {
    name,
    steps: [(app, t) => t.throws(() => app.route({ method, url: '/other', cache, handler: async () => 'x' }), { code: 'FRC_OPTION' })]
  }
}

/** The response breaks off in the middle; what is asked afterwards finds neither an entry nor a lease in the way. */
function breaksOff (name: string, body: () => unknown): Row {
  return {
    name,
    send: (reply, _, run) => run === 1 ? reply.send(body()) : reply.send('whole'),
    refused: { incomplete: 1 },
    steps: [
      async (app) => { await app.inject('/').catch(() => {}) },
      async (app) => await settled(app),
      { is: 'miss', body: 'whole' },
      { is: 'hit', body: 'whole' }
    ]
  }
}

async function * failing (): AsyncGenerator<string> {
  yield 'half'
  throw new Error('the source failed')
}

function destroyed (): Readable {
  const source = new PassThrough()
  source.write('half', () => source.destroy())
  return source
}

function failingWeb (): ReadableStream {
  let pulls = 0
  return new ReadableStream({
    pull: (controller) => pulls++ === 0 ? controller.enqueue(Buffer.from('half')) : controller.error(new Error('the source failed'))
  }, { highWaterMark: 0 })
}

/** Over a socket: the client reads the first bytes of a body that has not ended, and goes away. */
async function leaves (app: CachedApp, t: Test): Promise<void> {
  const source = new PassThrough()
  app.get('/left', { cache: { key: 'left' } }, (_, reply) => { reply.send(source) })
  const closed = new Promise((resolve) => source.once('close', resolve))
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const request = get(`${address}/left`, (response) => { response.once('data', () => { request.destroy() }) })
  request.on('error', () => {})
  source.write('half')
  await closed
  await settled(app)
  t.strictSame(app.cache.stats().routes['GET /left']!.refusals, { incomplete: 1 })
  t.equal(await app.cache.inspect('left'), null)
}

const METHODS: Rule = {
  rule: 'GET fills and is served, HEAD is served from it',
  rfc: 'RFC 9110 §9.3.1, §9.3.2',
  accepts: [
    stored('GET'),
    {
      name: "HEAD, answered from GET's entry",
      steps: [{ is: 'miss' }, { is: 'hit', method: 'HEAD', body: '', fields: { 'content-length': '5', 'content-type': /text/ } }]
    }
  ],
  rejects: [
    {
      name: 'HEAD as what fills',
      refused: { head: 1 },
      steps: [{ is: 'miss', method: 'HEAD' }, { is: 'miss', body: 'run 2' }]
    },
    {
      name: 'another method on the same path',
      prepare: (app) => { app.post('/', async () => 'posted') },
      steps: [{ is: 'miss' }, { is: 'none', method: 'POST', body: 'posted' }, { is: 'hit', body: 'run 1' }]
    },
    refusesOption('a policy on POST', {}, 'POST'),
    refusesOption('a policy on DELETE', {}, 'DELETE')
  ]
}

const STATUSES: Rule = {
  rule: '200 is stored, others where the policy says so, each with its own ttl',
  rfc: 'RFC 9111 §3, RFC 9110 §15.1',
  accepts: [
    stored('200'),
    {
      name: '404 by option, until its own ttl',
      cache: { ttl: 600, statuses: { 404: 30 } },
      send: status(404),
      steps: [...twice(404, 'hit'), { is: 'hit', status: 404, after: 29 }]
    },
    stored('301 by option, with its Location', status(301, { location: '/new' }), {
      cache: { statuses: { 301: '1h' } }, steps: twice(301, 'hit', { location: '/new' })
    }),
    stored('404 by option, thrown', () => { throw Object.assign(new Error('no'), { statusCode: 404 }) }, {
      cache: { statuses: { 404: 5 } }, steps: twice(404, 'hit')
    }),
    stored('204 by option', (reply) => reply.code(204).send(), {
      cache: { statuses: { 204: 5 } }, steps: [{ is: 'miss', status: 204 }, { is: 'hit', status: 204, body: '' }]
    })
  ],
  rejects: [
    unstored('an error that passes for a success', 'error', undefined, {
      prepare: (app) => { app.setErrorHandler(async (_, __, reply) => await reply.code(200).send('sorry')) },
      send: () => { throw new Error('no') }
    }),
    {
      name: '404 once its own ttl is over',
      cache: { ttl: 600, statuses: { 404: 30 } },
      send: status(404),
      steps: [...twice(404, 'hit'), { is: 'miss', status: 404, after: 30 }]
    },
    unstored('a status whose own ttl is 0', 'ttl', status(404), { cache: { statuses: { 404: 0 } }, steps: twice(404, 'miss') }),
    ...[201, 202, 204, 301, 302, 400, 404, 410, 500, 503].map((code) =>
      unstored(`${code} without the option`, 'status', status(code), { steps: twice(code, 'miss') }))
  ]
}

const FINAL: Rule = {
  rule: 'never a part (206), a 304 or a 1xx',
  rfc: 'RFC 9111 §3, §3.3, §4.3.3',
  accepts: [
    stored('203 by option', status(203), { cache: { statuses: { 203: 5 } }, steps: twice(203, 'hit') }),
    stored('599 by option', status(599), { cache: { statuses: { 599: 5 } }, steps: twice(599, 'hit') })
  ],
  rejects: [
    unstored('206 of the handler', 'status', status(206, { 'content-range': 'bytes 0-0/2' }), {
      steps: twice(206, 'miss', { 'content-range': 'bytes 0-0/2' })
    }),
    unstored('304 of the handler', 'status', (reply) => reply.code(304).send(), { steps: twice(304, 'miss') }),
    ...['100', '103', '199', '206', '304', '600', 'ok'].map((code) => refusesOption(`${code} as an option`, { statuses: { [code]: 5 } }))
  ]
}

/** A hook behind the handler, such as those of @fastify/cookie and @fastify/session. */
function writesCookie (app: CachedApp): void {
  app.addHook('onSend', async (_, reply) => { reply.header('set-cookie', 'sid=1') })
}

const COOKIES: Rule = {
  rule: 'a response that sets a cookie is not stored',
  rfc: 'RFC 9111 §7.3',
  accepts: [
    stored("beside a cookie that the request's own hook set", undefined, {
      prepare: (app) => {
        app.addHook('onRequest', async (request, reply) => { reply.header('set-cookie', `seen=${String(request.headers['x-n'])}`) })
      },
      steps: [
        { is: 'miss', headers: { 'x-n': '1' }, fields: { 'set-cookie': 'seen=1' } },
        { is: 'hit', headers: { 'x-n': '2' }, fields: { 'set-cookie': 'seen=2' } }
      ]
    })
  ],
  rejects: [
    unstored('a cookie of the handler', 'set-cookie', fields({ 'set-cookie': 'sid=1' })),
    unstored('two cookies', 'set-cookie', fields({ 'set-cookie': ['a=1', 'b=2'] })),
    unstored('a cookie that expires another', 'set-cookie', fields({ 'set-cookie': 'sid=; Max-Age=0' })),
    unstored('a cookie that a hook writes when the response goes out', 'set-cookie', undefined, { prepare: writesCookie }),
    unstored('a cookie of a response that is public', 'set-cookie', fields({ 'set-cookie': 'a=1', 'cache-control': 'public' }))
  ]
}

const control = (field: string | string[]): Send => fields({ 'cache-control': field })

const DIRECTIVES: Rule = {
  rule: 'no-store and private keep a response out',
  rfc: 'RFC 9111 §5.2.2.5, §5.2.2.7',
  accepts: [
    stored('public', control('public, max-age=5')),
    stored("the words in another directive's argument", control('ext="no-store, private"')),
    stored('directives that only begin so', control('no-store-ish, private-ish')),
    stored('max-age=1, which counts only with ttl: origin', control('max-age=1'), {
      steps: [{ is: 'miss' }, { is: 'hit', after: 30, fields: { 'cache-control': 'max-age=1' } }]
    })
  ],
  rejects: [
    unstored('no-store', 'no-store', control('no-store')),
    unstored('no-store in other letters, behind others', 'no-store', control('max-age=5 ,No-Store')),
    unstored('no-store with an argument', 'no-store', control('no-store="x"')),
    unstored('private', 'private', control('private')),
    unstored('private with a list of fields', 'private', control('max-age=5, private="x-user, x-b"')),
    unstored('private on a second line', 'private', control(['max-age=5', 'private'])),
    unstored('no-store that a hook of the app says', 'no-store', undefined, {
      prepare: (app) => { app.addHook('onRequest', async (_, reply) => { reply.header('cache-control', 'no-store') }) }
    })
  ]
}

const stream = (parts: string[], length?: number) => (reply: FastifyReply): unknown =>
  (length === undefined ? reply : reply.header('content-length', length)).send(Readable.from(parts))

const WHOLE: Rule = {
  rule: 'only a response that got through whole',
  rfc: 'RFC 9111 §3.3',
  accepts: [
    stored('a Node stream', stream(['a', 'b']), { steps: [{ is: 'miss', body: 'ab' }, { is: 'hit', body: 'ab' }] }),
    stored('a web stream', (reply) => reply.send(new Response('ab').body), {
      steps: [{ is: 'miss', body: 'ab' }, { is: 'hit', body: 'ab' }]
    }),
    stored('a Response object', (reply) => reply.send(new Response('ab', { headers: { 'x-a': '1' } })), {
      steps: [{ is: 'miss', body: 'ab' }, { is: 'hit', body: 'ab', fields: { 'x-a': '1' } }]
    }),
    stored('a stream as long as it said', stream(['a', 'b'], 2)),
    stored('a stream without a byte', stream([]), { steps: [{ is: 'miss', body: '' }, { is: 'hit', body: '' }] })
  ],
  rejects: [
    breaksOff('a stream that fails in the middle', () => Readable.from(failing())),
    breaksOff('a stream that is destroyed in the middle', destroyed),
    breaksOff('a web stream that fails in the middle', failingWeb),
    unstored('a stream shorter than it said', 'incomplete', stream(['a', 'b'], 3), { isInjected: true }),
    unstored('a stream longer than it said', 'incomplete', stream(['a', 'b'], 1), { isInjected: true }),
    { name: 'a stream whose client goes away', steps: [leaves] }
  ]
}

const LIMIT = { plugin: { maxBodyBytes: 10 } }

const SIZE: Rule = {
  rule: 'no body over the limit',
  rfc: 'RFC 9111 §3',
  accepts: [
    stored('a text at the limit, in bytes', (reply) => reply.send('ééééé'), LIMIT),
    stored('a stream at the limit', stream(['12345', '67890']), LIMIT)
  ],
  rejects: [
    unstored('a text over it, in bytes', 'size', (reply) => reply.send('ééééé!'), LIMIT),
    unstored('a Buffer over it', 'size', (reply) => reply.send(Buffer.alloc(11)), LIMIT),
    unstored('a stream over it, delivered whole', 'size', stream(['12345', '678901']), {
      ...LIMIT, steps: [{ is: 'miss', body: '12345678901' }, { is: 'miss', body: '12345678901' }]
    }),
    unstored('a stream that says that it is', 'size', stream(['12345', '678901'], 11), LIMIT)
  ]
}

const EVENTS: Rule = {
  rule: 'no event stream, which has no end',
  rfc: 'RFC 9111 §3.3, HTML §9.2',
  accepts: [stored('a stream of lines', (reply) => reply.type('application/x-ndjson').send(Readable.from(['{}\n'])))],
  rejects: [
    unstored('text/event-stream', 'payload', (reply) => reply.type('text/event-stream').send(Readable.from(['data: 1\n\n']))),
    unstored('with a parameter, in other letters', 'payload', (reply) =>
      reply.type('Text/Event-Stream; charset=utf-8').send(Readable.from(['data: 1\n\n']))),
    unstored('one that ended at once', 'payload', (reply) => reply.type('text/event-stream').send('data: 1\n\n'))
  ]
}

/** Stored, with exactly these fields. */
const keeps = (...names: string[]): Step => async (app, t) => {
  t.strictSame(Object.keys((await app.cache.inspect('k'))!.headers).sort(), ['content-type', 'etag', ...names].sort())
}

const CONNECTION: Rule = {
  rule: 'fields of the connection and Content-Length are not stored',
  rfc: 'RFC 9111 §3.1, RFC 9110 §7.6.1',
  accepts: [{
    name: 'end-to-end fields, also repeated and unknown ones',
    cache: { key: 'k' },
    send: fields({ link: ['<a>', '<b>'], 'x-a': '1', 'content-language': 'de', 'last-modified': 'x' }),
    steps: [
      { is: 'miss' }, keeps('link', 'x-a', 'content-language', 'last-modified'),
      { is: 'hit', fields: { link: ['<a>', '<b>'], 'x-a': '1', 'content-language': 'de', 'last-modified': 'x' } }
    ]
  }],
  rejects: [
    {
      name: "the connection's own",
      cache: { key: 'k' },
      send: fields({
        'keep-alive': 'timeout=5',
        te: 'trailers',
        upgrade: 'h2c',
        'proxy-authenticate': 'Basic',
        'proxy-authentication-info': 'a=1',
        'proxy-authorization': 'x',
        'proxy-connection': 'close'
      }),
      steps: [{ is: 'miss' }, keeps(), { is: 'hit', fields: { upgrade: null, te: null, 'proxy-authenticate': null } }]
    },
    {
      name: 'fields that Connection names',
      cache: { key: 'k' },
      send: fields({ connection: 'close, X-Hop', 'x-hop': '1', 'x-a': '1' }),
      steps: [{ is: 'miss' }, keeps('x-a'), { is: 'hit', fields: { 'x-hop': null, 'x-a': '1' } }]
    },
    {
      name: 'Content-Length, which is made anew',
      cache: { key: 'k' },
      send: (reply) => reply.header('content-length', 1).send('x'),
      steps: [{ is: 'miss' }, keeps(), { is: 'hit', fields: { 'content-length': '1' } }]
    }
  ]
}

/** In any order, and in any case. */
const BOTH = /^(?:origin, accept-language|accept-language, origin)$/i

/** What request ids, CORS and the like put on the reply before the lookup. */
function tags (app: CachedApp): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'x-id': request.headers['x-id'], 'x-b': 'hook', vary: 'Origin' })
  })
}

const OWN_FIELDS: Rule = {
  rule: "fields from before the lookup are the request's, not the entry's",
  rfc: 'RFC 9111 §3.1, §3.2',
  accepts: [{
    name: 'what the handler added to them or changed of them',
    cache: { key: 'k' },
    prepare: tags,
    send: (reply) => reply.headers({ 'x-b': 'handler', vary: 'Origin, Accept-Language', 'x-a': '1' }).send('x'),
    steps: [
      { is: 'miss', headers: { 'x-id': '1' } },
      async (app, t) => t.match(await app.cache.inspect('k'), { headers: { vary: /^accept-language$/i, 'x-b': 'handler', 'x-a': '1' } }),
      { is: 'hit', headers: { 'x-id': '2' }, fields: { 'x-b': 'handler', vary: BOTH } }
    ]
  }],
  rejects: [{
    name: 'what it left as it was',
    cache: { key: 'k' },
    prepare: tags,
    steps: [
      { is: 'miss', headers: { 'x-id': '1' }, fields: { 'x-id': '1' } },
      keeps(),
      { is: 'hit', headers: { 'x-id': '2' }, fields: { 'x-id': '2', vary: 'Origin' } }
    ]
  }]
}

await onEachStore(t, async (t, open) => {
  await hold(t, open, [
    METHODS, STATUSES, FINAL, COOKIES, DIRECTIVES, WHOLE, SIZE, EVENTS, CONNECTION, OWN_FIELDS
  ], t.name === 'redis' ? overHttp : undefined)
})
