// What a stored response is served as: how long, with which fields, and when 304 says it all. RFC 9111 §4.2, RFC 9110 §13.
import fastify, { type FastifyReply } from 'fastify'
import t from 'tap'
import routeCache from '../../plugin/index.js'
import { onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { START, asked, hold, overHttp, stored, unstored, type Ask, type Row, type Rule, type Send, type Step } from './rule.js'

type Fields = Record<string, string | string[]>

const sends = (all: Fields): Send => (reply, _, run) => reply.headers(all).send(`run ${run}`)
const date = (seconds: number): string => new Date(START + seconds * 1000).toUTCString()
const ttl = (seconds: number): string => `fastify-route-cache; hit; ttl=${seconds}`

/** Served for so many seconds, and not for one more. */
const lasts = (name: string, seconds: number, all: Fields, more: Partial<Row> = {}): Row => ({
  name,
  cache: { ttl: 'origin' },
  send: sends(all),
  steps: [
    { is: 'miss' },
    { is: 'hit', fields: { 'cache-status': ttl(seconds) } },
    { is: 'hit', after: seconds - 1, body: 'run 1' },
    { is: 'miss', after: 1 }
  ],
  ...more
})
const silent = (name: string, all: Fields, more: Partial<Row> = {}): Row =>
  unstored(name, 'ttl', sends(all), { cache: { ttl: 'origin' }, ...more })

const LIFETIME: Rule = {
  rule: "ttl: 'origin': s-maxage, then max-age, then Expires less Date, each less Age",
  rfc: 'RFC 9111 §4.2.1, §4.2.3',
  accepts: [
    lasts('max-age', 10, { 'cache-control': 'max-age=10' }),
    lasts('s-maxage before max-age', 20, { 'cache-control': 'max-age=10, s-maxage=20' }),
    lasts('max-age before Expires', 10, { 'cache-control': 'max-age=10', expires: date(99), date: date(0) }),
    lasts('Expires less Date', 15, { expires: date(25), date: date(10) }),
    lasts('Expires less now, without a Date', 25, { expires: date(25) }),
    lasts('less the Age it came with', 6, { 'cache-control': 'max-age=10', age: '4' }),
    lasts('Expires less Age', 11, { expires: date(15), date: date(0), age: '4' }),
    lasts('an argument in quotes, in other letters', 10, { 'cache-control': 'Max-Age="10"' }),
    lasts('the first of two', 10, { 'cache-control': 'max-age=10, max-age=20' }),
    lasts('must-revalidate, as long as it is fresh', 10, { 'cache-control': 'max-age=10, must-revalidate' }),
    lasts('the first member of a list of Ages (§5.1)', 6, { 'cache-control': 'max-age=10', age: '4, 2' }),
    lasts('an Age that is none (§5.1)', 10, { 'cache-control': 'max-age=10', age: '-4' }),
    lasts('less what its Date is ago', 4, { 'cache-control': 'max-age=10', date: date(-6) }),
    lasts('less the larger of Age and what its Date is ago', 3, { 'cache-control': 'max-age=10', date: date(-6), age: '7' }),
    lasts('a Date that lies ahead', 10, { 'cache-control': 'max-age=10', date: date(60) }),
    lasts('Expires in a year of two digits (RFC 9110 §5.6.7)', 10, { expires: 'Sunday, 01-Nov-26 12:00:10 GMT' })
  ],
  rejects: [
    silent('a response that says nothing: no heuristics (§4.2.2)', { 'last-modified': date(-9999) }),
    silent('public alone', { 'cache-control': 'public' }),
    silent('max-age=0', { 'cache-control': 'max-age=0' }),
    silent('s-maxage=0 before max-age', { 'cache-control': 's-maxage=0, max-age=10' }),
    silent('no-cache (§5.2.2.4)', { 'cache-control': 'no-cache, max-age=10' }),
    silent('no-cache of some fields, which may be read so', { 'cache-control': 'no-cache="set-cookie, x-a", max-age=10' }),
    silent('an Age as high as its lifetime', { 'cache-control': 'max-age=10', age: '10' }),
    silent('Expires: 0 (§5.3)', { expires: '0' }),
    silent('Expires: -1 (§5.3)', { expires: '-1' }),
    silent('Expires in the past', { expires: date(-1) }),
    silent('Expires in a year of two digits, 77 (RFC 9110 §5.6.7)', { expires: 'Tuesday, 01-Nov-77 12:00:00 GMT' }),
    silent('a Date two hours old beside an hour', { 'cache-control': 'max-age=3600', date: date(-7200) }),
    silent('Expires an hour behind its Date, which is two hours old', { expires: date(-3600), date: date(-7200) }),
    silent('a Date as old as its lifetime', { 'cache-control': 's-maxage=10', date: date(-10) }),
    silent('Expires before its Date', { expires: date(10), date: date(20) }),
    silent('Expires beside a max-age that is none', { 'cache-control': 'max-age=soon', expires: date(20) }),
    silent('a negative max-age', { 'cache-control': 'max-age=-5' }),
    silent('a max-age with a fraction', { 'cache-control': 'max-age=1.5' }),
    silent('a max-age without an argument', { 'cache-control': 'max-age' }),
    lasts('max-age, where the route has a ttl of its own', 60, { 'cache-control': 'max-age=10' }, { cache: { ttl: 60 } })
  ]
}

const tagged = (etag: string, more: Partial<Row> = {}): Partial<Row> => ({ send: sends({ etag }), ...more })
const match = (name: string, etag: string, list: string, more: Partial<Row> = {}): Row =>
  asked(name, { 'if-none-match': list }, { is: 'hit', status: 304, body: '' }, tagged(etag, more))
const differ = (name: string, etag: string, list: string, more: Partial<Row> = {}): Row =>
  asked(name, { 'if-none-match': list }, { is: 'hit', status: 200, body: 'run 1' }, tagged(etag, more))

const NONE_MATCH: Rule = {
  rule: 'If-None-Match: 304 where one of the tags is that of the entry, by weak comparison',
  rfc: 'RFC 9110 §13.1.2, §8.8.3.2',
  accepts: [
    match('the same', '"a"', '"a"'),
    match('weak against strong', '"a"', 'W/"a"'),
    match('strong against weak', 'W/"a"', '"a"'),
    match('weak against weak', 'W/"a"', 'W/"a"'),
    match('one of a list', '"a"', '"x", W/"a","y"'),
    match('one with a comma inside, of a list', '"a,b"', '"x", "a,b"'),
    match('the empty tag', '""', '""'),
    match('*', '"a"', '*'),
    match('* with spaces around it', '"a"', ' * '),
    asked('a HEAD', { 'if-none-match': '"a"' }, { is: 'hit', method: 'HEAD', status: 304 }, tagged('"a"')),
    asked('* without any validator', { 'if-none-match': '*' }, { is: 'hit', status: 304 }, { send: (reply) => reply.send('') })
  ],
  rejects: [
    differ('another', '"a"', '"b"'),
    differ('other letters', '"a"', '"A"'),
    differ('no quotes', '"a"', 'a'),
    differ('a part of one', '"a"', '"a,b"'),
    differ('what stands between two others', '", "', '"x", "y"'),
    differ('a weak mark in small letters', '"a"', 'w/"b"'),
    differ('an empty list', '"a"', ''),
    asked('a tag, where the entry has none', { 'if-none-match': '""' }, { is: 'hit', status: 200 }, { send: (reply) => reply.send('') }),
    asked('an entry that is no 200', { 'if-none-match': '"a"' }, { is: 'hit', status: 404 }, {
      cache: { statuses: { 404: 5 } },
      send: (reply) => reply.code(404).header('etag', '"a"').send('x'),
      steps: [{ is: 'miss', status: 404 }, { is: 'hit', status: 404, headers: { 'if-none-match': '"a"' }, body: 'x' }]
    })
  ]
}

const since = (name: string, field: string, status: 200 | 304, last: string | null = date(0), more: Fields = {}): Row =>
  asked(name, { 'if-modified-since': field }, { is: 'hit', status }, {
    send: sends({ ...last === null ? {} : { 'last-modified': last }, ...more })
  })

const MODIFIED_SINCE: Rule = {
  rule: 'If-Modified-Since: 304 where the entry is not newer',
  rfc: 'RFC 9110 §13.1.3, §5.6.7',
  accepts: [
    since('the same instant', date(0), 304),
    since('a later one', date(1), 304),
    since('in the form of RFC 850', 'Sunday, 01-Nov-26 12:00:00 GMT', 304),
    since('in the form of asctime', 'Sun Nov  1 12:00:00 2026', 304),
    since('beside an ETag, which was not asked for', date(0), 304, date(0), { etag: '"a"' })
  ],
  rejects: [
    since('an earlier one', date(-1), 200),
    since('an entry that does not say', date(0), 200, null),
    since('an entry that says nonsense', date(0), 200, 'yesterday'),
    since('no date', 'tomorrow', 200),
    since('a form that is none of the three', '2026-11-01T12:00:00Z', 200),
    since('a date in another zone', 'Sun, 01 Nov 2026 14:00:00 +0200', 200),
    since('a day without a year', 'Sunday, 7', 200)
  ]
}

const both = (name: string, tag: string, at: number, status: 200 | 304): Row =>
  asked(name, { 'if-none-match': tag, 'if-modified-since': date(at) }, { is: 'hit', status }, {
    send: sends({ etag: '"a"', 'last-modified': date(0) })
  })

const PRECEDENCE: Rule = {
  rule: 'If-None-Match counts, If-Modified-Since beside it does not',
  rfc: 'RFC 9110 §13.2.2',
  accepts: [both('the tag says the same, the date does not', '"a"', -1, 304), both('both say so', '"a"', 0, 304)],
  rejects: [
    both('the tag says another, the date the same', '"b"', 0, 200),
    both('the tag is nonsense, the date the same', 'nonsense', 0, 200)
  ]
}

const WEAK = /^W\/"[\w-]{27}"$/
const again: Step[] = [
  { is: 'miss' },
  async (app, t) => {
    const { headers } = await app.inject('/')
    const known = await app.inject({ url: '/', headers: { 'if-none-match': String(headers.etag) } })
    t.strictSame([known.statusCode, known.body, known.headers.etag], [304, '', headers.etag])
  }
]

const GENERATED: Rule = {
  rule: 'a response without an ETag gets a weak one, of its bytes',
  rfc: 'RFC 9110 §8.8.1, §8.8.3',
  accepts: [
    stored('on miss and hit', undefined, { steps: [{ is: 'miss', fields: { etag: WEAK } }, { is: 'hit', fields: { etag: WEAK } }] }),
    { name: 'which the client can ask with', steps: again },
    { name: 'also for a stream', send: (reply) => reply.send(new Response('ab').body), steps: again },
    { name: "beside the handler's Last-Modified", send: sends({ 'last-modified': date(0) }), steps: again },
    {
      name: 'another for other bytes of the same key',
      send: (reply, request) => reply.header('vary', 'x-a').send(`for ${String(request.headers['x-a'])}`),
      steps: [
        { is: 'miss', headers: { 'x-a': '1' } },
        async (app, t) => {
          const { headers: { etag } } = await app.inject({ url: '/', headers: { 'x-a': '1' } })
          const other = await app.inject({ url: '/', headers: { 'x-a': '2' } })
          t.not(other.headers.etag, etag)
        }
      ]
    }
  ],
  rejects: [
    { name: "the handler's own stays", send: sends({ etag: '"own"' }), steps: [{ is: 'miss', fields: { etag: '"own"' } }, { is: 'hit', fields: { etag: '"own"' } }] },
    { name: 'no bytes, no tag', send: (reply) => reply.send(''), steps: [{ is: 'miss', fields: { etag: null } }, { is: 'hit', fields: { etag: null } }] },
    {
      name: 'another status than 200',
      cache: { statuses: { 404: 5 } },
      send: (reply) => reply.code(404).send('x'),
      steps: [{ is: 'miss', status: 404, fields: { etag: null } }, { is: 'hit', status: 404, fields: { etag: null } }]
    }
  ]
}

const META: Fields = {
  'cache-control': 'max-age=5',
  'content-location': '/x',
  date: date(-5),
  etag: '"a"',
  expires: date(99),
  vary: 'accept',
  'cdn-cache-control': 'max-age=9'
}
const OTHERS: Fields = { 'content-type': 'text/x', 'content-language': 'de', 'last-modified': date(0), link: '<a>', 'x-a': '1' }
const gone = Object.fromEntries([...Object.keys(OTHERS), 'content-length'].map((name) => [name, null]))
const notModified = (fields: NonNullable<Ask['fields']>, more: Partial<Row> = {}): Partial<Row> => ({
  send: sends({ ...META, ...OTHERS }),
  steps: [{ is: 'miss' }, { is: 'hit', after: 2, headers: { 'if-none-match': '"a"' }, status: 304, body: '', fields }],
  ...more
})

const FIELDS_OF_304: Rule = {
  rule: 'a 304 has the fields that a 200 would have had, as far as they are metadata of the cache',
  rfc: 'RFC 9110 §15.4.5, RFC 9111 §5.1',
  accepts: [
    { name: 'Cache-Control, Content-Location, Date, ETag, Expires, Vary, and an Age', steps: [], ...notModified({ ...META, age: '2' }) },
    {
      name: "what the request's own hooks set",
      steps: [],
      ...notModified({ 'x-id': '1' }, { prepare: (app) => { app.addHook('onRequest', async (_, reply) => { reply.header('x-id', '1') }) } })
    }
  ],
  rejects: [{ name: 'what describes the bytes, or is of another kind', steps: [], ...notModified(gone) }]
}

const AGE: Rule = {
  rule: 'Age: what it came with, and how long it is here; never negative',
  rfc: 'RFC 9111 §5.1, §4.2.3',
  accepts: [
    { name: 'grows with the clock, in whole seconds', steps: [{ is: 'miss', fields: { age: null } }, { is: 'hit', fields: { age: '0' } }, { is: 'hit', after: 1.9, fields: { age: '1' } }, { is: 'hit', after: 40, fields: { age: '41' } }] },
    { name: 'adds to what it came with', send: sends({ age: '4' }), steps: [{ is: 'miss', fields: { age: '4' } }, { is: 'hit', after: 2, fields: { age: '6' } }] },
    asked('on a 304', { 'if-none-match': '*' }, { is: 'hit', after: 2, status: 304, fields: { age: '2' } })
  ],
  rejects: [
    asked('a clock that went back: not negative', {}, { is: 'hit', after: -100, fields: { age: '0' } }),
    asked('an Age that is none', {}, { is: 'hit', after: 2, fields: { age: '2' } }, { send: sends({ age: 'old' }) }),
    asked('an Age beyond all bounds', {}, { is: 'hit', fields: { age: String(2 ** 31) } }, { send: sends({ age: '9'.repeat(30) }) })
  ]
}

const DATE: Rule = {
  rule: 'Date of a hit: when it was made',
  rfc: 'RFC 9110 §6.6.1, RFC 9111 §4.2.3',
  accepts: [
    asked('the instant of storing', {}, { is: 'hit', after: 30, fields: { date: date(0) } }),
    asked('on a 304', { 'if-none-match': '*' }, { is: 'hit', after: 30, status: 304, fields: { date: date(0) } })
  ],
  rejects: [asked("the handler's own stays", {}, { is: 'hit', after: 30, fields: { date: date(-60) } }, { send: sends({ date: date(-60) }) })]
}

/** What @fastify/cookie and @fastify/session do. */
function writesCookie (app: CachedApp): void {
  app.addHook('onSend', async (_, reply) => { reply.header('set-cookie', 'sid=1') })
}

const adds = { cache: { cacheControl: 'public, max-age=5' } }
const plain = (status: number, field: string | null): Ask => ({ is: 'miss', status, fields: { 'cache-control': field } })

const DOWNSTREAM: Rule = {
  rule: "downstream Cache-Control is the handler's own; one is added only when asked, and only to what may be stored",
  rfc: 'RFC 9111 §5.2.2',
  accepts: [
    stored('cacheControl, where the handler says nothing', undefined, {
      ...adds, steps: [plain(200, 'public, max-age=5'), { is: 'hit', fields: { 'cache-control': 'public, max-age=5' } }]
    }),
    asked('on a 304', { 'if-none-match': '*' }, { is: 'hit', status: 304, fields: { 'cache-control': 'public, max-age=5' } }, adds),
    stored('one that keeps others from storing does not keep us', undefined, { cache: { cacheControl: 'no-store' } }),
    stored('one for browsers only does not keep us', undefined, { cache: { cacheControl: 'private, max-age=5' } })
  ],
  rejects: [
    { name: 'none by default', steps: [{ is: 'miss', fields: { 'cache-control': null } }, { is: 'hit', fields: { 'cache-control': null } }] },
    { name: "the handler's own stays", ...adds, send: sends({ 'cache-control': 'max-age=1' }), steps: [plain(200, 'max-age=1'), { is: 'hit', fields: { 'cache-control': 'max-age=1' } }] },
    { name: 'an error', ...adds, send: (reply) => reply.code(500).send('x'), steps: [plain(500, null)] },
    { name: 'an error that was thrown', ...adds, send: () => { throw new Error('no') }, steps: [plain(500, null)] },
    { name: 'a response with a cookie', ...adds, send: sends({ 'set-cookie': 'sid=1' }), steps: [plain(200, null)] },
    { name: 'a response to which a hook adds a cookie on its way out', ...adds, prepare: writesCookie, steps: [plain(200, null)] },
    {
      name: 'a response to which a hook behind ours adds a cookie',
      ...adds,
      prepare: (app) => {
        app.addHook('onRoute', (route) => {
          route.onSend = [route.onSend ?? [], async (_: unknown, reply: FastifyReply) => { reply.header('set-cookie', 'sid=1') }].flat()
        })
      },
      steps: [plain(200, null)]
    },
    { name: 'noCache()', ...adds, send: (reply) => reply.noCache().send('x'), steps: [plain(200, null)] },
    {
      name: "an answer that turned out to be somebody's own",
      ...adds,
      send: (reply, request) => {
        Object.assign(request, { user: { name: 'late' } })
        return reply.send('for late only')
      },
      steps: [plain(200, null)]
    },
    { name: "a bypass, which is somebody's own", ...adds, steps: [{ is: 'bypass authorization', headers: { authorization: 'x' }, fields: { 'cache-control': null } }] },
    silent("ttl: 'origin' is about what the handler says, not about what we add", {}, { cache: { ttl: 'origin', cacheControl: 'max-age=5' } })
  ]
}

const CACHE_STATUS: Rule = {
  rule: 'Cache-Status says what the cache did, under the name and with the key that were asked for',
  rfc: 'RFC 9211 §2',
  accepts: [
    { name: 'hit and miss', steps: [{ is: 'miss', fields: { 'cache-status': 'fastify-route-cache; fwd=miss' } }, { is: 'hit', fields: { 'cache-status': ttl(60) } }] },
    { name: 'a bypass with its reason', steps: [{ is: 'bypass authorization', headers: { authorization: 'x' }, fields: { 'cache-status': 'fastify-route-cache; fwd=bypass; detail=authorization' } }] },
    { name: 'a forced refresh', cache: { honourNoCache: true }, steps: [{ is: 'refresh', headers: { pragma: 'no-cache' }, fields: { 'cache-status': 'fastify-route-cache; fwd=request' } }] },
    { name: 'another name', plugin: { cacheStatus: { name: 'Edge' } }, steps: [{ is: 'miss', fields: { 'cache-status': 'Edge; fwd=miss' } }, { is: 'hit', fields: { 'cache-status': 'Edge; hit; ttl=60' } }] },
    {
      name: 'the key, as a string',
      plugin: { cacheStatus: { key: true } },
      cache: { key: () => 'a "b" \\ é' },
      steps: ['fwd=miss', 'hit; ttl=60'].map((what) => async (app, t) => {
        const { headers } = await app.inject('/')
        await settled(app)
        t.equal(headers['cache-status'], `fastify-route-cache; ${what}; key="a \\"b\\" \\\\ %C3%A9"`)
      })
    },
    {
      name: 'behind a cache that the handler itself went through',
      send: sends({ 'cache-status': 'Upstream; hit' }),
      steps: [{ is: 'miss', fields: { 'cache-status': 'Upstream; hit, fastify-route-cache; fwd=miss' } }]
    }
  ],
  rejects: [
    { name: 'false: no such field', plugin: { cacheStatus: false }, steps: [{ is: 'none', body: 'run 1' }, { is: 'none', body: 'run 1' }] },
    { name: 'no key unless asked', cache: { key: 'secret' }, steps: [{ is: 'miss', fields: { 'cache-status': /^(?!.*secret)/ } }] },
    { name: 'no key of a bypass', plugin: { cacheStatus: { key: true } }, steps: [{ is: 'bypass authorization', headers: { authorization: 'x' }, fields: { 'cache-status': /^(?!.*key=)/ } }] },
    { name: 'a route that is not cached', prepare: (app) => { app.get('/plain', async () => 'x') }, steps: [{ is: 'none', url: '/plain' }] },
    {
      name: 'a name that is no token',
      steps: ['', 'a b', 'a,b', '1a', 'a;b', 'ä'].map((name) => async (_, t) => {
        await t.rejects(async () => await fastify().register(routeCache, { cacheStatus: { name } }), { code: 'FRC_OPTION' }, name)
      })
    }
  ]
}

const X_CACHE: Rule = {
  rule: 'X-Cache: HIT or MISS, when asked',
  rfc: 'no RFC',
  accepts: [{
    name: 'xCache: true',
    plugin: { xCache: true },
    steps: [
      { is: 'miss', fields: { 'x-cache': 'MISS' } }, { is: 'hit', fields: { 'x-cache': 'HIT' } },
      { is: 'hit', status: 304, headers: { 'if-none-match': '*' }, fields: { 'x-cache': 'HIT' } },
      { is: 'bypass authorization', headers: { authorization: 'x' }, fields: { 'x-cache': 'MISS' } }
    ]
  }],
  rejects: [{ name: 'by default', steps: [{ is: 'miss', fields: { 'x-cache': null } }, { is: 'hit', fields: { 'x-cache': null } }] }]
}

await onEachStore(t, async (t, open) => {
  await hold(t, open, [
    LIFETIME, NONE_MATCH, MODIFIED_SINCE, PRECEDENCE, GENERATED, FIELDS_OF_304, AGE, DATE, DOWNSTREAM,
    CACHE_STATUS, X_CACHE
  ], t.name === 'redis' ? overHttp : undefined)
})

t.test('a hook that writes into the bytes that it is given changes this answer, and nothing that is kept', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ prefix: 'written' })
    // Twice is not once: each answer must begin with what the handler sent.
    app.addHook('onSend', async (_request, _reply, payload) => {
      if (Buffer.isBuffer(payload)) for (const [i, byte] of payload.entries()) payload[i] = byte + 1
      return payload
    })
    app.get('/', { cache: { key: 'x' } }, async (_request, reply) => reply.type('application/octet-stream').send(Buffer.from('HAL')))
    // From the third on, an entry of Redis is one that was decoded before.
    for (let i = 0; i < 5; i++) {
      t.equal((await app.inject('/')).body, 'IBM')
      await settled(app)
      t.equal(String((await app.cache.get('x'))?.body), 'HAL')
    }
    t.equal(app.cache.stats().total.hits, 4)
    t.strictSame((await Promise.all(['/', '/', '/'].map(async (url) => await app.inject(url)))).map(({ body }) => body), ['IBM', 'IBM', 'IBM'])
  })
})
