// Which stored response a request gets, if any: by key, variant and who asks; and what makes it invalid. RFC 9111 §4.
import type { FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import t from 'tap'
import { onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { asked, hold, overHttp, unstored, type Ask, type Outcome, type Row, type Rule, type Send, type Step } from './rule.js'

type Headers = Record<string, string>

/** Says what the handler saw of these request fields. */
const echo = (...names: string[]) => (reply: FastifyReply, request: FastifyRequest, run: number): unknown =>
  reply.send(`${names.map((name) => String(request.headers[name])).join(' ')} ${run}`)

const varies = (vary: string | string[], ...names: string[]): Send => (reply, request, run) =>
  echo(...names)(reply.header('vary', vary), request, run)

/** Requests that differ in one field, and what becomes of each. */
const by = (name: string, ...each: [value: string, is: Outcome, body: string][]): Step[] =>
  each.map(([value, is, body]) => ({ is, body, headers: { [name]: value } }))

/** What @fastify/jwt, passport and the like do. */
function knowsUsers (app: CachedApp): void {
  app.decorateRequest('user', null)
  app.addHook('onRequest', async (request) => {
    const name = request.headers['x-user']
    if (name !== undefined) Object.assign(request, { user: { name } })
  })
}

/** What @fastify/cookie does, as far as it matters here. */
function readsCookies (app: CachedApp): void {
  app.decorateRequest('cookies', null)
}

const VARY: Rule = {
  rule: 'the fields of Vary select among variants',
  rfc: 'RFC 9111 §4.1',
  accepts: [
    {
      name: 'each language its own, again and again',
      send: varies('Accept-Language', 'accept-language'),
      steps: by('accept-language', ['de', 'miss', 'de 1'], ['en', 'miss', 'en 2'], ['de', 'hit', 'de 1'], ['en', 'hit', 'en 2'])
    },
    {
      name: 'white space around commas makes no difference',
      send: varies('accept-language', 'accept-language'),
      steps: by('accept-language', ['de,en', 'miss', 'de,en 1'], [' de ,  en', 'hit', 'de,en 1'])
    },
    {
      name: 'nor do letters of languages, white space around weights, or empty members (RFC 9110 §8.5.1, §12.4.2, §5.6.1.2)',
      send: varies('accept-language', 'accept-language'),
      steps: by('accept-language', ['de-CH, de;q=0.8', 'miss', 'de-CH, de;q=0.8 1'], ['DE-ch,de ; Q=0.8', 'hit', 'de-CH, de;q=0.8 1'],
        [',de-ch,, de;q=0.8,', 'hit', 'de-CH, de;q=0.8 1'])
    },
    {
      name: 'nor of charsets, nor white space around parameters of media types',
      send: varies('accept-charset, accept', 'accept'),
      steps: [
        { is: 'miss', headers: { 'accept-charset': 'UTF-8', accept: 'text/html;level=1' } },
        { is: 'hit', headers: { 'accept-charset': 'utf-8', accept: 'text/html ; level=1' } }
      ]
    },
    {
      name: 'a field that is not named makes no difference',
      send: varies('accept-language', 'accept-language'),
      steps: by('user-agent', ['a', 'miss', 'undefined 1'], ['b', 'hit', 'undefined 1'])
    },
    {
      name: 'two fields on two lines',
      send: varies(['X-A', 'x-b'], 'x-a', 'x-b'),
      steps: [
        { is: 'miss', headers: { 'x-a': '1', 'x-b': '1' } },
        { is: 'miss', headers: { 'x-a': '1', 'x-b': '2' } },
        { is: 'hit', headers: { 'x-a': '1', 'x-b': '1' }, body: '1 1 1' }
      ]
    },
    {
      name: 'absent is a value too',
      send: varies('x-a', 'x-a'),
      steps: [{ is: 'miss' }, { is: 'hit', body: 'undefined 1' }]
    }
  ],
  rejects: [
    {
      name: 'another value, an empty one, none',
      send: varies('x-a', 'x-a'),
      steps: [...by('x-a', ['1', 'miss', '1 1'], ['2', 'miss', '2 2'], ['', 'miss', ' 3']), { is: 'miss', body: 'undefined 4' }]
    },
    {
      name: 'other languages, another order, another weight',
      send: varies('accept-language', 'accept-language'),
      steps: by('accept-language', ['de, en', 'miss', 'de, en 1'], ['en, de', 'miss', 'en, de 2'], ['de, en;q=0.5', 'miss', 'de, en;q=0.5 3'])
    },
    {
      name: 'letters, in fields that are no lists of languages or charsets',
      send: varies('x-a, accept', 'x-a'),
      steps: [
        ...by('x-a', ['a', 'miss', 'a 1'], ['A', 'miss', 'A 2'], ['a ; b', 'miss', 'a ; b 3'], ['a;b', 'miss', 'a;b 4']),
        { is: 'miss', headers: { 'x-a': 'a', accept: 'text/html;v=A' } }, { is: 'miss', headers: { 'x-a': 'a', accept: 'text/html;v=a' } }
      ]
    },
    {
      name: 'values that would run into each other',
      send: varies('x-a, x-b', 'x-a', 'x-b'),
      steps: [
        { is: 'miss', headers: { 'x-a': '1,x-b', 'x-b': '2' } },
        { is: 'miss', headers: { 'x-a': '1', 'x-b': 'x-b,2' } }
      ]
    },
    {
      name: 'any variant, once their key is invalidated',
      cache: { key: 'k' },
      send: varies('x-a', 'x-a'),
      steps: [
        ...by('x-a', ['1', 'miss', '1 1'], ['2', 'miss', '2 2']),
        async (app, t) => t.equal(await app.cache.invalidate('k'), 1),
        ...by('x-a', ['1', 'miss', '1 3'], ['2', 'miss', '2 4'])
      ]
    }
  ]
}

const VARY_ANY: Rule = {
  rule: 'Vary: * selects nothing',
  rfc: 'RFC 9111 §4.1',
  accepts: [{ name: 'a field of any other name', send: varies('x-star', 'x-star'), steps: [{ is: 'miss' }, { is: 'hit' }] }],
  rejects: [
    unstored('*', 'vary', varies('*')),
    unstored('among others', 'vary', varies('accept, *')),
    unstored('on a second line', 'vary', varies(['accept', '*'])),
    unstored('of a hook', 'vary', undefined, {
      prepare: (app) => { app.addHook('onRequest', async (_, reply) => { reply.header('vary', '*') }) }
    })
  ]
}

const BOTH = /^(?:accept-language, x-edition|x-edition, accept-language)$/i

const VARY_POLICY: Rule = {
  rule: "the policy's fields select, too, and are said to caches on the way",
  rfc: 'RFC 9111 §4.1, RFC 9110 §12.5.5',
  accepts: [
    {
      name: 'the same value',
      cache: { vary: ['X-Edition'] },
      send: echo('x-edition'),
      steps: by('x-edition', ['a', 'miss', 'a 1'], ['b', 'miss', 'b 2'], ['a', 'hit', 'a 1'])
    },
    {
      name: "added to the handler's own, on miss and hit",
      cache: { vary: ['x-edition'] },
      send: varies('Accept-Language'),
      steps: [{ is: 'miss', fields: { vary: BOTH } }, { is: 'hit', fields: { vary: BOTH } }]
    }
  ],
  rejects: [
    {
      name: 'another value',
      cache: { vary: ['x-edition'] },
      send: echo('x-edition'),
      steps: by('x-edition', ['a', 'miss', 'a 1'], ['b', 'miss', 'b 2'])
    },
    {
      name: "another value of the handler's own",
      cache: { vary: ['x-edition'] },
      send: varies('x-a', 'x-a'),
      steps: by('x-a', ['1', 'miss', '1 1'], ['2', 'miss', '2 2'])
    }
  ]
}

const codings = (...each: [field: string, is: Outcome, run: string][]): Step[] =>
  each.map(([field, is, body]) => ({ is, body, headers: { 'accept-encoding': field } }))

const ENCODINGS: Rule = {
  rule: 'Accept-Encoding counts as the set of codings that the client takes',
  rfc: 'RFC 9110 §12.5.3',
  accepts: [
    {
      name: 'order, weights, letters and refused codings make no difference',
      cache: { vary: ['accept-encoding'] },
      steps: codings(
        ['gzip, deflate, br', 'miss', 'run 1'], ['br;q=1.0, gzip;q=0.8, deflate', 'hit', 'run 1'],
        ['BR,GZIP,Deflate', 'hit', 'run 1'], ['gzip, deflate, br, zstd;q=0', 'hit', 'run 1']
      )
    },
    {
      name: "also where the Vary is the handler's",
      send: (reply, _, run) => reply.header('vary', 'Accept-Encoding').send(`run ${run}`),
      steps: codings(['gzip, br', 'miss', 'run 1'], ['br, gzip', 'hit', 'run 1'])
    }
  ],
  rejects: [{
    name: 'other sets',
    cache: { vary: ['accept-encoding'] },
    steps: codings(
      ['gzip, br', 'miss', 'run 1'], ['gzip', 'miss', 'run 2'], ['gzip, br;q=0', 'hit', 'run 2'],
      ['identity;q=0, gzip', 'miss', 'run 3'], ['*;q=0, gzip', 'miss', 'run 4'], ['', 'miss', 'run 5']
    )
  }]
}

const RANGED = { send: (reply: FastifyReply): unknown => reply.header('accept-ranges', 'bytes').header('etag', '"a"').send('0123456789') }
const part = (name: string, headers: Headers, body: string, range: string, more: Partial<Row> = {}): Row =>
  asked(name, headers, { is: 'hit', status: 206, body, fields: { 'content-range': range, etag: '"a"' } }, { ...RANGED, ...more })
const whole = (name: string, headers: Headers, more: Partial<Row> = {}): Row =>
  asked(name, headers, { is: 'hit', status: 200, body: '0123456789', fields: { 'content-range': null } }, { ...RANGED, ...more })
const last = 'Sun, 06 Nov 1994 08:49:37 GMT'
const dated = { send: (reply: FastifyReply): unknown => RANGED.send(reply.header('last-modified', last)) }

const RANGES: Rule = {
  rule: 'one range of a stored 200 is served as 206, where the handler said Accept-Ranges: bytes; else all of it',
  rfc: 'RFC 9110 §14.2, §14.1.2, §13.1.5',
  accepts: [
    part('first to last', { range: 'bytes=2-4' }, '234', 'bytes 2-4/10'),
    part('the first byte', { range: 'bytes=0-0' }, '0', 'bytes 0-0/10'),
    part('from one on', { range: 'bytes=7-' }, '789', 'bytes 7-9/10'),
    part('the last ones', { range: 'bytes=-2' }, '89', 'bytes 8-9/10'),
    part('more than there are', { range: 'bytes=8-99' }, '89', 'bytes 8-9/10'),
    part('more of the last ones than there are', { range: 'bytes=-99' }, '0123456789', 'bytes 0-9/10'),
    part('all', { range: 'bytes=0-' }, '0123456789', 'bytes 0-9/10'),
    part('a unit in other letters (§14.1)', { range: 'Bytes=0-1' }, '01', 'bytes 0-1/10'),
    part('a list of one, with empty members', { range: 'bytes=, 0-1,' }, '01', 'bytes 0-1/10'),
    part('numbers beyond all bounds', { range: `bytes=0-${'9'.repeat(400)}` }, '0123456789', 'bytes 0-9/10'),
    part('Accept-Ranges as a list, in other letters', { range: 'bytes=0-1' }, '01', 'bytes 0-1/10', {
      send: (reply) => reply.header('accept-ranges', 'lines, Bytes').header('etag', '"a"').send('0123456789')
    }),
    part('If-Range with its very tag', { range: 'bytes=0-1', 'if-range': '"a"' }, '01', 'bytes 0-1/10'),
    part('If-Range with its very date', { range: 'bytes=0-1', 'if-range': last }, '01', 'bytes 0-1/10', dated),
    part('other conditions, that are not for a cache', { range: 'bytes=0-1', 'if-match': '"x"' }, '01', 'bytes 0-1/10'),
    asked('none of it: 416 (§15.5.17)', { range: 'bytes=10-' }, {
      is: 'hit', status: 416, body: '', fields: { 'content-range': 'bytes */10', 'content-type': null }
    }, RANGED),
    asked('no bytes at all', { range: 'bytes=-0' }, { is: 'hit', status: 416, body: '' }, RANGED)
  ],
  rejects: [
    whole('Accept-Ranges: none', { range: 'bytes=0-1' }, {
      send: (reply) => reply.header('accept-ranges', 'none').send('0123456789')
    }),
    whole('no Accept-Ranges', { range: 'bytes=0-1' }, { send: (reply) => reply.send('0123456789') }),
    whole('two ranges', { range: 'bytes=0-1,4-5' }),
    whole('another unit', { range: 'lines=1-2' }),
    whole('a last one before the first', { range: 'bytes=4-2' }),
    whole('no range', { range: 'bytes=' }),
    whole('no numbers', { range: 'bytes=a-b' }),
    whole('a negative one', { range: 'bytes=--1' }),
    whole('white space within', { range: 'bytes=0 -1' }),
    whole('no field at all', { range: '' }),
    whole('If-Range with another tag', { range: 'bytes=0-1', 'if-range': '"b"' }),
    whole('If-Range with a weak tag, which is never the same', { range: 'bytes=0-1', 'if-range': 'W/"a"' }, {
      send: (reply) => reply.header('accept-ranges', 'bytes').header('etag', 'W/"a"').send('0123456789')
    }),
    whole('If-Range with another date', { range: 'bytes=0-1', 'if-range': 'Sun, 06 Nov 1994 08:49:38 GMT' }, dated),
    whole('If-Range with what is no date', { range: 'bytes=0-1', 'if-range': 'soon' }, dated),
    asked('a HEAD (§14.2)', { range: 'bytes=0-1' }, { is: 'hit', method: 'HEAD', fields: { 'content-length': '10', 'content-range': null } }, RANGED),
    asked('what the client has already', { range: 'bytes=0-1', 'if-none-match': '"a"' }, { is: 'hit', status: 304, body: '' }, RANGED),
    asked('of another status than 200', { range: 'bytes=0-1' }, { is: 'hit', status: 404 }, {
      cache: { statuses: { 404: 5 } },
      send: (reply) => reply.code(404).header('accept-ranges', 'bytes').send('0123456789'),
      steps: [{ is: 'miss', status: 404 }, { is: 'hit', status: 404, headers: { range: 'bytes=0-1' }, body: '0123456789' }]
    }),
    asked('of nothing', { range: 'bytes=0-1' }, { is: 'hit', status: 200, body: '' }, {
      send: (reply) => reply.header('accept-ranges', 'bytes').send('')
    })
  ]
}

const encodes = (coding: string, more: Headers = {}): Partial<Row> => ({
  send: (reply, _, run) => reply.headers({ 'content-encoding': coding, ...more }).send(`run ${run}`)
})

const ENCODED: Rule = {
  rule: 'a body in a coding without Vary counts as one that varies by Accept-Encoding: nobody gets it who does not take the coding',
  rfc: 'RFC 9110 §8.4, §12.5.3, RFC 9111 §4.1',
  accepts: [
    {
      name: 'who takes the same codings, and is told',
      ...encodes('gzip'),
      steps: [
        { is: 'miss', headers: { 'accept-encoding': 'gzip, br' }, fields: { vary: 'accept-encoding' } },
        { is: 'hit', headers: { 'accept-encoding': 'br, gzip' }, body: 'run 1', fields: { vary: 'accept-encoding' } }
      ]
    },
    {
      name: 'identity, which is no coding',
      ...encodes('identity'),
      steps: [{ is: 'miss', headers: { 'accept-encoding': 'gzip' } }, { is: 'hit', fields: { vary: null } }]
    },
    {
      name: 'a Vary of its own stays',
      ...encodes('gzip', { vary: 'Accept-Encoding' }),
      steps: [{ is: 'miss', headers: { 'accept-encoding': 'gzip' }, fields: { vary: 'Accept-Encoding' } }]
    },
    {
      name: 'beside what else it varies by',
      ...encodes('gzip', { vary: 'accept-language' }),
      steps: [{ is: 'miss', fields: { vary: 'accept-language, accept-encoding' } }]
    }
  ],
  rejects: [
    {
      name: 'who takes it not, and who says nothing',
      ...encodes('gzip'),
      steps: [
        { is: 'miss', headers: { 'accept-encoding': 'gzip' } }, { is: 'miss', headers: { 'accept-encoding': 'identity' }, body: 'run 2' },
        { is: 'miss', headers: { 'accept-encoding': 'gzip;q=0' }, body: 'run 3' }, { is: 'miss', body: 'run 4' }, { is: 'hit', body: 'run 4' }
      ]
    },
    {
      name: 'of two codings, one after the other',
      ...encodes('gzip, br'),
      steps: [{ is: 'miss', headers: { 'accept-encoding': 'gzip, br' } }, { is: 'miss', headers: { 'accept-encoding': 'gzip' } }]
    }
  ]
}

const CONTENT: Rule = {
  rule: 'a GET with content goes past the cache',
  rfc: 'RFC 9110 §9.3.1',
  accepts: [asked('content of no length', { 'content-length': '0' }, { is: 'hit' })],
  rejects: [
    { name: 'its length says so', steps: [{ is: 'miss' }, { is: 'bypass content', headers: { 'content-length': '2' }, body: 'run 2' }, { is: 'hit', body: 'run 1' }], refused: {} },
    { name: 'in chunks', steps: [{ is: 'bypass content', headers: { 'transfer-encoding': 'chunked' } }, { is: 'miss' }] },
    { name: 'a HEAD', steps: [{ is: 'miss' }, { is: 'bypass content', method: 'HEAD', headers: { 'content-length': '2' } }] }
  ]
}

/** Stored, then asked so: the entry, as if the field were not there. */
const ignored = (name: string, headers: Headers, method: 'GET' | 'HEAD' = 'GET'): Row => asked(name, headers, { is: 'hit', method, status: 200 })
/** The handler runs for all, and does not see what was asked. */
const unseen = (name: string, headers: Headers): Row => ({
  name,
  send: (reply, { headers: seen, raw }, run) => Object.keys(headers).some((field) => field in seen || field in raw.headers ||
    raw.rawHeaders.some((name) => name.toLowerCase() === field))
    ? reply.code(412).send('seen')
    : reply.send(`run ${run}`),
  steps: [{ is: 'miss', headers, body: 'run 1' }, { is: 'hit', headers, body: 'run 1' }, { is: 'hit', body: 'run 1' }],
  refused: {}
})
/** The handler sees it, and what it answers is not stored. */
const forTheHandler = (name: string, headers: Headers): Row => ({
  name,
  send: (reply, request) => reply.send(String(request.headers.range)),
  steps: [{ is: 'miss', headers, body: headers.range! }, { is: 'miss', headers, body: headers.range! }, { is: 'miss', body: 'undefined' }],
  refused: { range: 2 }
})

const PRECONDITIONS: Rule = {
  rule: 'no field makes a request go past what is stored: preconditions are not applicable to a cache',
  rfc: 'RFC 9111 §4.3.2, RFC 9110 §13.1.1, §13.1.4, §13.1.5',
  accepts: [
    asked('If-None-Match, which a cache can answer', { 'if-none-match': '"other"' }, { is: 'hit', body: 'run 1' }),
    asked('If-Modified-Since, which a cache can answer', { 'if-modified-since': last }, { is: 'hit' }),
    ignored('If-Match: *', { 'if-match': '*' }),
    ignored('If-Match with another tag', { 'if-match': '"x"' }),
    ignored('If-Match of a HEAD', { 'if-match': '*' }, 'HEAD'),
    ignored('If-Unmodified-Since', { 'if-unmodified-since': last }),
    ignored('If-Unmodified-Since that is no date', { 'if-unmodified-since': 'soon' }),
    ignored('If-Modified-Since that is no date', { 'if-modified-since': 'soon' }),
    ignored('If-Range without a Range', { 'if-range': 'x' }),
    ignored('Range, where the handler serves none', { range: 'bytes=0-1' }),
    ignored('Range of another unit', { range: 'lines=1-2' }),
    asked('If-Match beside If-None-Match', { 'if-match': '"x"', 'if-none-match': '*' }, { is: 'hit', status: 304 }),
    unseen('on a miss, If-Match', { 'if-match': '"x"' }),
    unseen('on a miss, If-Unmodified-Since', { 'if-unmodified-since': last }),
    unseen('on a miss, If-Range without a Range', { 'if-range': 'x' }),
    unseen('on a miss, If-None-Match', { 'if-none-match': '"x"' }),
    unseen('on a miss, If-Modified-Since', { 'if-modified-since': last }),
    unseen('on a miss, a Range that is all of it', { range: 'bytes=0-' }),
    unseen('on a miss, a Range that is none', { range: 'bytes=x' })
  ],
  rejects: [
    forTheHandler('on a miss, a Range', { range: 'bytes=0-1' }),
    forTheHandler('on a miss, two', { range: 'bytes=0-1,3-4' }),
    forTheHandler('on a miss, the last bytes', { range: 'bytes=-5' }),
    forTheHandler('on a miss, another unit, which the handler may know', { range: 'lines=1-2' })
  ]
}

/** Two requests with the same field, and one by somebody who has none. */
const gets = (name: string, first: Outcome, second: Outcome): Step[] => [
  { is: first, headers: { [name]: 'alice' }, body: 'alice 1' },
  { is: second, headers: { [name]: 'bob' }, body: second === 'hit' ? 'alice 1' : 'bob 2' }
]

const ALONE: Rule = {
  rule: "a request that is somebody's own goes past the cache",
  rfc: 'RFC 9111 §3.5, §7.3',
  accepts: [
    { name: 'with Authorization, where the policy says shared', cache: { shared: true }, send: echo('authorization'), steps: gets('authorization', 'miss', 'hit') },
    { name: 'with a user, where it says shared', cache: { shared: true }, prepare: knowsUsers, send: echo('x-user'), steps: gets('x-user', 'miss', 'hit') },
    { name: 'with cookies, where it says shared', cache: { shared: true }, prepare: readsCookies, send: echo('cookie'), steps: gets('cookie', 'miss', 'hit') },
    {
      name: "with cookies of analytics, and of nobody's else",
      steps: [{ is: 'miss', headers: { cookie: '_ga=GA1.1.1; _ga_AB12CD34EF=GS2.1' } }, { is: 'hit', headers: { cookie: '_ga=GA1.1.2' } }]
    },
    { name: 'nobody in particular, beside users', prepare: knowsUsers, send: echo('x-user'), steps: [{ is: 'miss' }, { is: 'hit' }] }
  ],
  rejects: [
    { name: 'Authorization', send: echo('authorization'), steps: gets('authorization', 'bypass authorization', 'bypass authorization') },
    { name: 'Authorization, for what is there already', steps: [{ is: 'miss' }, { is: 'bypass authorization', headers: { authorization: 'x' }, body: 'run 2' }] },
    {
      name: 'Authorization, though the response is public',
      send: (reply, request, run) => echo('authorization')(reply.header('cache-control', 'public'), request, run),
      steps: gets('authorization', 'bypass authorization', 'bypass authorization')
    },
    { name: 'a user', prepare: knowsUsers, send: echo('x-user'), steps: gets('x-user', 'bypass user', 'bypass user') },
    { name: 'cookies that the app reads by itself', send: echo('cookie'), steps: gets('cookie', 'bypass cookie', 'bypass cookie') },
    { name: 'cookies that the app can read', prepare: readsCookies, send: echo('cookie'), steps: gets('cookie', 'bypass cookie', 'bypass cookie') },
    {
      name: 'a session that the app can read',
      prepare: (app) => { app.decorateRequest('session', null) },
      send: echo('cookie'),
      steps: gets('cookie', 'bypass cookie', 'bypass cookie')
    },
    unstored('a user whom only the handler found out', 'credentials', (reply, request) => {
      Object.assign(request, { user: { name: 'late' } })
      return reply.send('late')
    })
  ]
}

const byUser = { identity: ({ headers }: { headers: object }) => (headers as Headers)['x-user'] ?? (headers as Headers).authorization }

const IDENTITY: Rule = {
  rule: 'where the policy names an identity, each has entries of their own',
  rfc: 'RFC 9111 §3.5',
  accepts: [
    { name: 'the same user again', cache: byUser, prepare: knowsUsers, send: echo('x-user'), steps: by('x-user', ['alice', 'miss', 'alice 1'], ['bob', 'miss', 'bob 2'], ['alice', 'hit', 'alice 1']) },
    { name: 'the same Authorization again', cache: byUser, send: echo('authorization'), steps: by('authorization', ['a', 'miss', 'a 1'], ['a', 'hit', 'a 1']) },
    { name: 'nobody in particular', cache: byUser, steps: [{ is: 'miss' }, { is: 'hit' }] }
  ],
  rejects: [
    { name: 'another user', cache: byUser, prepare: knowsUsers, send: echo('x-user'), steps: by('x-user', ['alice', 'miss', 'alice 1'], ['bob', 'miss', 'bob 2']) },
    { name: 'somebody whom it does not name, with credentials', cache: { identity: () => null }, send: echo('authorization'), steps: gets('authorization', 'bypass authorization', 'bypass authorization') },
    { name: 'a user who gets what nobody in particular got', cache: byUser, prepare: knowsUsers, send: echo('x-user'), steps: [{ is: 'miss' }, ...by('x-user', ['alice', 'miss', 'alice 2'])] },
    { name: 'a field of the request that is named like it', cache: byUser, send: echo('authorization'), steps: [...by('authorization', ['a', 'miss', 'a 1']), { is: 'miss', headers: { identity: 'a' } }] },
    { name: 'a field with the very name that stands for it among the members', isInjected: true, cache: byUser, send: echo('authorization'), steps: [...by('authorization', ['a', 'miss', 'a 1']), { is: 'miss', headers: { ':identity': 'a' }, body: 'undefined 2' }] }
  ]
}

const integers = (...names: string[]): object => ({
  type: 'object', properties: Object.fromEntries(names.map((name) => [name, { type: 'integer', minimum: 0 }]))
})
const paged = { querystring: { type: 'object', properties: { page: { type: 'integer', default: 1 } } } }
const url = (path: string, is: Outcome, more: Partial<Ask> = {}): Ask => ({ url: path, is, ...more })

const KEYS: Rule = {
  rule: 'the key is made of validated params and query, and of nothing else',
  rfc: 'RFC 9111 §2, §4',
  accepts: [
    { name: '/users/7 and /users/007', path: '/users/:id', schema: { params: integers('id') }, steps: [url('/users/7', 'miss'), url('/users/007', 'hit')] },
    { name: 'the same by a template', path: '/users/:id', cache: { key: 'user:{id}' }, schema: { params: integers('id') }, steps: [url('/users/007', 'miss'), url('/users/7', 'hit')] },
    { name: '?page=1 and its default', schema: paged, steps: [url('/?page=1', 'miss'), url('/', 'hit'), url('/?page=01', 'hit')] },
    { name: '?page=1 and its default, behind a preHandler', schema: paged, prepare: (app) => { app.addHook('preHandler', async () => {}) }, steps: [url('/?page=1', 'miss'), url('/', 'hit')] },
    { name: 'the order of the query', steps: [url('/?a=1&b=2', 'miss'), url('/?b=2&a=1', 'hit')] },
    { name: 'a query that a template does not name', path: '/users/:id', cache: { key: 'user:{id}' }, steps: [url('/users/7', 'miss'), url('/users/7?utm=x', 'hit')] },
    { name: 'header fields and a body, which select nothing', steps: [{ is: 'miss' }, { is: 'hit', headers: { 'x-forwarded-host': 'evil', host: 'evil' } }] }
  ],
  rejects: [
    { name: 'another param', path: '/users/:id', schema: { params: integers('id') }, steps: [url('/users/7', 'miss'), url('/users/8', 'miss')] },
    { name: '/users/7 and /users/007 without a schema', path: '/users/:id', steps: [url('/users/7', 'miss'), url('/users/007', 'miss')] },
    { name: 'another page', schema: paged, steps: [url('/', 'miss'), url('/?page=2', 'miss')] },
    { name: 'another query', steps: [url('/', 'miss'), url('/?a=', 'miss'), url('/?a=1', 'miss'), url('/?a=1&a=2', 'miss'), url('/?a=1,2', 'miss')] },
    { name: 'values that would run into each other', cache: { key: '{query.a}:{query.b}' }, steps: [url('/?a=1:2&b=3', 'miss'), url('/?a=1&b=2:3', 'miss'), url('/?a=1%3A2&b=3', 'hit')] },
    { name: 'values that look like names of ours', cache: { key: 'k:{query.a}' }, steps: [url('/?a=%25-', 'miss'), url('/', 'miss'), url('/?a=%7Bx%7D', 'miss'), url('/?a=%257Bx%257D', 'miss')] }
  ]
}

const tenant = { headers: { type: 'object', required: ['x-edition'], properties: { 'x-edition': { type: 'integer' } } } }
/** Filled by a valid request, then asked by one that is not. */
const refusing = (name: string, valid: Ask, invalid: Ask, more: Partial<Row>): Row => ({
  name, steps: [{ ...valid, is: 'miss' }, { ...valid, is: 'hit' }, { status: 400, ...invalid }], ...more
})
const behind = (app: CachedApp): void => { app.addHook('preHandler', async () => {}) }
const TENANT: Ask = { is: 'miss', headers: { 'x-edition': '1' } }

const INVALID: Rule = {
  rule: 'input that is not valid is never a hit',
  rfc: 'RFC 9110 §15.5.1',
  accepts: [
    { name: 'valid params, query and headers', path: '/:id', schema: { params: integers('id'), ...paged, ...tenant }, steps: [{ ...TENANT, url: '/7' }, { ...TENANT, is: 'hit', url: '/7?page=1' }] },
    { name: 'headers that are valid, though they differ', schema: tenant, steps: [TENANT, { is: 'hit', headers: { 'x-edition': '2' } }] }
  ],
  rejects: [
    refusing('params', url('/7', 'miss'), url('/x', 'bypass invalid'), { path: '/:id', cache: { key: () => 'k' }, schema: { params: integers('id') } }),
    refusing('query', url('/?page=1', 'miss'), url('/?page=x', 'bypass invalid'), { cache: { key: 'k' }, schema: paged }),
    refusing('headers', TENANT, { is: 'bypass invalid', headers: { 'x-edition': 'x' } }, { schema: tenant }),
    refusing('headers that are missing', TENANT, { is: 'bypass invalid' }, { schema: tenant }),
    refusing('headers, behind a preHandler', TENANT, { is: 'bypass answered' }, { schema: tenant, prepare: behind }),
    refusing('a HEAD', TENANT, { is: 'bypass invalid', method: 'HEAD' }, { schema: tenant }),
    refusing('a conditional request', TENANT, { is: 'bypass invalid', headers: { 'if-none-match': '*' } }, { schema: tenant })
  ]
}

/** Routes whose handler is told that the input is not valid: what it then says is not what it says to others. */
function attached (app: CachedApp): void {
  for (const [path, hooks] of [['/early', {}], ['/late', { preHandler: async () => {} }]] as const) {
    app.get(path, { cache: { key: path }, attachValidation: true, schema: tenant, ...hooks }, async (request) =>
      request.validationError === undefined ? 'valid' : 'not valid')
  }
}

for (const path of ['/early', '/late']) {
  INVALID.rejects.push({
    name: `input that the handler itself refuses (attachValidation), ${path.slice(1)} lookup`,
    prepare: attached,
    path: '/other',
    steps: [
      async (app, t) => {
        t.equal((await app.inject({ url: path, headers: { 'x-edition': '1' } })).body, 'valid')
        await settled(app)
        t.match(await app.inject({ url: path, headers: { 'x-edition': '1' } }), { body: 'valid', headers: { 'cache-status': /hit/ } })
        t.match(await app.inject(path), { body: 'not valid', headers: { 'cache-status': /bypass; detail=invalid/ } })
      }
    ]
  })
}

const LONG = 'x'.repeat(2000)

const LONG_KEYS: Rule = {
  rule: 'a long key is hashed, its head stays readable',
  rfc: 'RFC 9111 §2, §7.1',
  accepts: [
    {
      name: 'the same long key, and its invalidation by key',
      cache: { key: 'search:{query.q}' },
      steps: [
        url(`/?q=${LONG}`, 'miss'), url(`/?q=${LONG}`, 'hit'),
        async (app, t) => t.equal(await app.cache.invalidate(app.cache.key('search:{query.q}', { q: LONG })), 1),
        url(`/?q=${LONG}`, 'miss')
      ]
    },
    {
      name: 'invalidation by the prefix of its head',
      cache: { key: 'search:{query.q}' },
      steps: [
        url(`/?q=${LONG}`, 'miss'),
        async (app, t) => t.equal(await app.cache.invalidate({ prefix: 'search:xxx' }), 1),
        url(`/?q=${LONG}`, 'miss')
      ]
    },
    {
      name: 'a bounded name, with the head as it was',
      plugin: { cacheStatus: { key: true } },
      steps: [url(`/?q=${LONG}`, 'miss', { fields: { 'cache-status': /; key="\/\?q=x{800,900}%~[\w-]{43}"$/ } })]
    }
  ],
  rejects: [
    { name: 'one that differs only behind the head', steps: [url(`/?q=${LONG}a`, 'miss'), url(`/?q=${LONG}b`, 'miss')] },
    {
      name: 'another prefix, however long',
      cache: { key: 'search:{query.q}' },
      steps: [
        url(`/?q=${LONG}`, 'miss'),
        async (app, t) => { t.equal(await app.cache.invalidate({ prefix: `other:${LONG}` }), 0) }
      ]
    }
  ]
}

const NO_CACHE = { 'cache-control': 'no-cache' }
const trusted = { honourNoCache: (request: FastifyRequest) => request.headers['x-trusted'] === '1' }

const REFRESH: Rule = {
  rule: "a client's no-cache is ignored, unless the policy lets it through",
  rfc: 'RFC 9111 §5.2.1.4, §5.4',
  accepts: [
    asked('honourNoCache: a refresh', NO_CACHE, { is: 'refresh', body: 'run 2' }, { cache: { honourNoCache: true } }),
    {
      name: 'what it stored is served to the others',
      cache: { honourNoCache: true },
      steps: [{ is: 'miss' }, { is: 'refresh', headers: NO_CACHE }, { is: 'hit', body: 'run 2' }]
    },
    asked('in other letters, among others', { 'cache-control': 'max-age=0, No-Cache' }, { is: 'refresh' }, { cache: { honourNoCache: true } }),
    asked('Pragma, where there is no Cache-Control', { pragma: 'no-cache' }, { is: 'refresh' }, { cache: { honourNoCache: true } }),
    asked('those whom the function trusts', { ...NO_CACHE, 'x-trusted': '1' }, { is: 'refresh' }, { cache: trusted })
  ],
  rejects: [
    asked('by default', NO_CACHE, { is: 'hit', body: 'run 1' }),
    asked('Pragma by default', { pragma: 'no-cache' }, { is: 'hit' }),
    asked('no-store and max-age=0 by default', { 'cache-control': 'no-store, max-age=0' }, { is: 'hit' }),
    asked('those whom the function does not trust', NO_CACHE, { is: 'hit' }, { cache: trusted }),
    asked('Pragma beside a Cache-Control', { pragma: 'no-cache', 'cache-control': 'max-stale' }, { is: 'hit' }, { cache: { honourNoCache: true } }),
    asked("the word in another directive's argument", { 'cache-control': 'ext="no-cache"' }, { is: 'hit' }, { cache: { honourNoCache: true } }),
    asked('a directive that only begins so', { 'cache-control': 'no-cache-ish' }, { is: 'hit' }, { cache: { honourNoCache: true } })
  ]
}

/** An item at /items/:id, cached, and a way to change it that is answered so. */
const changed = (name: string, method: HTTPMethods, code: number, after: Outcome, more: Partial<Row> = {}): Row => ({
  name,
  path: '/items/:id',
  plugin: { invalidateUnsafe: true },
  prepare: (app) => { app.route({ method, url: '/items/:id', handler: async (_, reply) => reply.code(code).send() }) },
  steps: [url('/items/7', 'miss'), url('/items/7', 'none', { method, status: code }), url('/items/7', after)],
  ...more
})

interface Unsafe { url: string, schema?: object, constraints?: Record<string, string> }

/** The same, answered 200, where the routes or the URLs differ: first the unsafe route, then the URLs of GET and PUT. */
const changedAt = (
  name: string, unsafe: Unsafe, { get, put, is }: { get: string, put?: string, is: Outcome }, more: Partial<Row> = {}
): Row => changed(name, 'PUT', 200, is, {
  prepare: (app) => { app.put(unsafe.url, unsafe, async () => 'changed') },
  steps: [url(get, 'miss'), url(get, 'hit'), url(put ?? get, 'none', { method: 'PUT' }), url(get, is)],
  ...more
})

/** GET in a context that validates in a way of its own, and declared before the PUT. */
async function validatesItsOwnWay (app: CachedApp): Promise<void> {
  await app.register(async (app) => {
    app.setValidatorCompiler(() => (input: object) => ({
      value: Object.fromEntries(Object.entries(input).map(([name, value]) => [name, String(value).toLowerCase()]))
    }))
    app.get('/own/:name', { cache: true, schema: { params: {} } }, async () => 'by its own name')
  })
  app.put('/own/:id', async () => 'changed')
}

const ITEM = { url: '/items/:id' }

const UNSAFE: Rule = {
  rule: 'an unsafe method that succeeds invalidates what is stored for the same URL',
  rfc: 'RFC 9111 §4.4',
  accepts: [
    changed('PUT, 200', 'PUT', 200, 'miss'),
    changed('POST, 201', 'POST', 201, 'miss'),
    changed('PATCH, 204', 'PATCH', 204, 'miss'),
    changed('DELETE, 303', 'DELETE', 303, 'miss'),
    changed('all variants', 'PUT', 200, 'miss', { cache: { vary: ['x-a'] } }),
    changedAt("a param that GET's schema coerces", ITEM, { get: '/items/7', put: '/items/007', is: 'miss' }, { schema: { params: integers('id') } }),
    changedAt("a param that only the unsafe route's schema coerces", { ...ITEM, schema: { params: integers('id') } }, { get: '/items/007', is: 'miss' }),
    changedAt("a query that GET's schema fills in", ITEM, { get: '/items/7?page=1', put: '/items/7', is: 'miss' }, { schema: paged }),
    changedAt("a query that GET's schema, under its other name, fills in", ITEM, { get: '/items/7?page=1', put: '/items/7', is: 'miss' }, { schema: { query: paged.querystring } as never }),
    changedAt("a query that only the unsafe route's schema fills in", { ...ITEM, schema: paged }, { get: '/items/7', is: 'miss' }),
    changedAt('a schema with an $id', ITEM, { get: '/items/7', put: '/items/007', is: 'miss' }, { schema: { params: { $id: 'item', ...integers('id') } } }),
    changedAt('a param of another name', { url: '/items/:itemId' }, { get: '/items/7', is: 'miss' }),
    changedAt('params whose names are the other way round', { url: '/:b/of/:a' }, { get: '/7/of/8', is: 'miss' }, { path: '/:a/of/:b' }),
    changedAt('a param of another name, with a pattern, coerced', { url: '/items/:itemId' }, { get: '/items/7', put: '/items/007', is: 'miss' }, { path: '/items/:id(^\\d+$)', schema: { params: integers('id') } }),
    changedAt('a param that GET may lack', ITEM, { get: '/items/7', is: 'miss' }, { path: '/items/:name?' }),
    changedAt('a wildcard', { url: '/files/*' }, { get: '/files/a/b', is: 'miss' }, { path: '/files/*' }),
    changedAt('every query of its path', ITEM, { get: '/items/7?x=1', put: '/items/7', is: 'miss' }),
    changedAt('its path without a query, by a URL that has one', ITEM, { get: '/items/7', put: '/items/7?x=1', is: 'miss' }),
    changedAt('another query of its path', ITEM, { get: '/items/7?a=1&b=2', put: '/items/7?b=3', is: 'miss' }),
    changedAt('another page', ITEM, { get: '/items/7?page=2', put: '/items/7', is: 'miss' }, { schema: paged }),
    changedAt("a URL whose query GET's schema refuses", ITEM, { get: '/items/7?page=2', put: '/items/7?page=x', is: 'miss' }, { schema: paged }),
    changedAt('every query of a path without params', { url: '/list' }, { get: '/list?x=1', put: '/list', is: 'miss' }, { path: '/list' }),
    changed('an answer of a hook in front of the handler', 'PUT', 200, 'miss', {
      prepare: (app) => { app.put('/items/:id', { preHandler: async (_, reply) => await reply.send('by a hook') }, async () => 'never') }
    }),
    changed('with what the route declares itself', 'PUT', 200, 'miss', {
      prepare: (app) => {
        app.get('/other', { cache: { key: 'other' } }, async () => 'other')
        app.put('/items/:id', { cache: { invalidates: ['other'] } }, async () => 'changed')
      },
      steps: [
        url('/items/7?x=1', 'miss'), url('/other', 'miss'), url('/items/7', 'none', { method: 'PUT' }), url('/items/7?x=1', 'miss'), url('/other', 'miss')
      ]
    }),
    changed('with what it declares strictly', 'PUT', 200, 'miss', {
      prepare: (app) => { app.put('/items/:id', { cache: { invalidates: ['other'], onError: 'fail' } }, async () => 'changed') }
    }),
    {
      name: 'a GET of another context, declared first, with a validator compiler of its own',
      path: '/other',
      plugin: { invalidateUnsafe: true },
      prepare: validatesItsOwnWay,
      steps: [url('/own/ada', 'miss'), url('/own/ada', 'hit'), url('/own/ADA', 'none', { method: 'PUT' }), url('/own/ada', 'miss')]
    }
  ],
  rejects: [
    changed('404', 'DELETE', 404, 'hit'),
    changed('500', 'PUT', 500, 'hit'),
    changed('a safe method', 'OPTIONS', 204, 'hit'),
    changed('a route with a key of its own', 'PUT', 200, 'hit', {
      cache: { key: 'item:{id}' },
      steps: [
        url('/items/7', 'miss'), url('/items/7', 'none', { method: 'PUT' }), url('/items/7', 'hit'),
        (app, t) => t.notOk(app.lines.some(({ msg }) => msg === 'cache invalidated'), 'the store is not told of any key')
      ]
    }),
    changed('without the option', 'PUT', 200, 'hit', { plugin: {} }),
    changed('another URL', 'PUT', 200, 'hit', {
      steps: [url('/items/7', 'miss'), url('/items/8', 'none', { method: 'PUT' }), url('/items/7', 'hit')]
    }),
    changedAt('another URL, the param of another name', { url: '/items/:itemId' }, { get: '/items/7', put: '/items/8', is: 'hit' }),
    changedAt('a path that only begins so', ITEM, { get: '/items/77?x=1', put: '/items/7', is: 'hit' }),
    changedAt('what comes behind a query that looks like a path', ITEM, { get: '/items/8?x=/items/7', put: '/items/7', is: 'hit' }),
    changedAt('what GET refuses', ITEM, { get: '/items/7', put: '/items/x', is: 'hit' }, { schema: { params: integers('id') } }),
    changedAt('a path of another shape', { url: '/items/:id/parts' }, { get: '/items/7', put: '/items/7/parts', is: 'hit' }),
    changedAt('another version of the route', { ...ITEM, constraints: { host: 'other' } }, { get: '/items/7', is: 'hit' }, {
      steps: [url('/items/7', 'miss'), url('/items/7', 'none', { method: 'PUT', headers: { host: 'other' } }), url('/items/7', 'hit')]
    }),
    // A limit: whose URL it is the router knows, and does not tell.
    changedAt('a path that spells out what is a param of GET', { url: '/items/first' }, { get: '/items/first', is: 'hit' })
  ]
}

await onEachStore(t, async (t, open) => {
  await hold(t, open, [
    VARY, VARY_ANY, VARY_POLICY, ENCODINGS, PRECONDITIONS, RANGES, ENCODED, CONTENT, ALONE, IDENTITY, KEYS, INVALID,
    LONG_KEYS, REFRESH, UNSAFE
  ], t.name === 'redis' ? overHttp : undefined)
})
