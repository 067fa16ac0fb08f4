// Which stored response a request gets, if any: by key, variant and who asks; and what makes it invalid. RFC 9111 §4.
import type { FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import t from 'tap'
import { onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { asked, hold, unstored, type Ask, type Outcome, type Row, type Rule, type Send, type Step } from './rule.js'

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

const BOTH = /^(?:accept-language, x-tenant|x-tenant, accept-language)$/i

const VARY_POLICY: Rule = {
  rule: "the policy's fields select, too, and are said to caches on the way",
  rfc: 'RFC 9111 §4.1, RFC 9110 §12.5.5',
  accepts: [
    {
      name: 'the same value',
      cache: { vary: ['X-Tenant'] },
      send: echo('x-tenant'),
      steps: by('x-tenant', ['a', 'miss', 'a 1'], ['b', 'miss', 'b 2'], ['a', 'hit', 'a 1'])
    },
    {
      name: "added to the handler's own, on miss and hit",
      cache: { vary: ['x-tenant'] },
      send: varies('Accept-Language'),
      steps: [{ is: 'miss', fields: { vary: BOTH } }, { is: 'hit', fields: { vary: BOTH } }]
    }
  ],
  rejects: [
    {
      name: 'another value',
      cache: { vary: ['x-tenant'] },
      send: echo('x-tenant'),
      steps: by('x-tenant', ['a', 'miss', 'a 1'], ['b', 'miss', 'b 2'])
    },
    {
      name: "another value of the handler's own",
      cache: { vary: ['x-tenant'] },
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

const forTheHandler = (name: string, headers: Headers, method: 'GET' | 'HEAD' = 'GET'): Row => ({
  name, steps: [{ is: 'miss' }, { is: 'bypass conditional', headers, method }, { is: 'hit', body: 'run 1' }], refused: {}
})

const PRECONDITIONS: Rule = {
  rule: 'ranges and preconditions on the present state are for the handler',
  rfc: 'RFC 9110 §14.2, §13.1.5, §13.1.1, §13.1.4',
  accepts: [
    asked('If-None-Match, which a cache can answer', { 'if-none-match': '"other"' }, { is: 'hit', body: 'run 1' }),
    asked('If-Modified-Since, which a cache can answer', { 'if-modified-since': 'Sun, 06 Nov 1994 08:49:37 GMT' }, { is: 'hit' })
  ],
  rejects: [
    forTheHandler('Range', { range: 'bytes=0-1' }),
    forTheHandler('Range of another unit', { range: 'lines=1-2' }),
    forTheHandler('If-Range', { 'if-range': '"a"' }),
    forTheHandler('If-Match', { 'if-match': '*' }),
    forTheHandler('If-Unmodified-Since', { 'if-unmodified-since': 'Sun, 06 Nov 1994 08:49:37 GMT' }),
    forTheHandler('If-Match beside If-None-Match', { 'if-match': '"a"', 'if-none-match': '*' }),
    forTheHandler('If-Match of a HEAD', { 'if-match': '*' }, 'HEAD')
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
    { name: 'a field with the very name that stands for it among the members', cache: byUser, send: echo('authorization'), steps: [...by('authorization', ['a', 'miss', 'a 1']), { is: 'miss', headers: { ':identity': 'a' }, body: 'undefined 2' }] }
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

const tenant = { headers: { type: 'object', required: ['x-tenant'], properties: { 'x-tenant': { type: 'integer' } } } }
/** Filled by a valid request, then asked by one that is not. */
const refusing = (name: string, valid: Ask, invalid: Ask, more: Partial<Row>): Row => ({
  name, steps: [{ ...valid, is: 'miss' }, { ...valid, is: 'hit' }, { status: 400, ...invalid }], ...more
})
const behind = (app: CachedApp): void => { app.addHook('preHandler', async () => {}) }
const TENANT: Ask = { is: 'miss', headers: { 'x-tenant': '1' } }

const INVALID: Rule = {
  rule: 'input that is not valid is never a hit',
  rfc: 'RFC 9110 §15.5.1',
  accepts: [
    { name: 'valid params, query and headers', path: '/:id', schema: { params: integers('id'), ...paged, ...tenant }, steps: [{ ...TENANT, url: '/7' }, { ...TENANT, is: 'hit', url: '/7?page=1' }] },
    { name: 'headers that are valid, though they differ', schema: tenant, steps: [TENANT, { is: 'hit', headers: { 'x-tenant': '2' } }] }
  ],
  rejects: [
    refusing('params', url('/7', 'miss'), url('/x', 'bypass invalid'), { path: '/:id', cache: { key: () => 'k' }, schema: { params: integers('id') } }),
    refusing('query', url('/?page=1', 'miss'), url('/?page=x', 'bypass invalid'), { cache: { key: 'k' }, schema: paged }),
    refusing('headers', TENANT, { is: 'bypass invalid', headers: { 'x-tenant': 'x' } }, { schema: tenant }),
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
        t.equal((await app.inject({ url: path, headers: { 'x-tenant': '1' } })).body, 'valid')
        await settled(app)
        t.match(await app.inject({ url: path, headers: { 'x-tenant': '1' } }), { body: 'valid', headers: { 'cache-status': /hit/ } })
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
    VARY, VARY_ANY, VARY_POLICY, ENCODINGS, PRECONDITIONS, ALONE, IDENTITY, KEYS, INVALID, LONG_KEYS, REFRESH, UNSAFE
  ])
})
