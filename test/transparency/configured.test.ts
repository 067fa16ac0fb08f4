// Apps that are configured, put together and answered in the ways that Fastify offers, each with an uncached twin: the same
// bytes, and the same hooks seen, on a miss and on a hit.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import t from 'tap'
import { WATCHES, compare, type Case } from './twin.js'

const cache = true
const echo = async ({ params, query, url, hostname, routeOptions }: FastifyRequest): Promise<unknown> =>
  ({ params, query, url, hostname, route: routeOptions.url })
const texts = async function * (): AsyncGenerator<string> { yield 'one '; yield 'two' }

const CASES: Record<string, Case> = {
  'the same routes under two prefixes': {
    build: async (app) => {
      const routes = async (scope: FastifyInstance, { name }: { name: string }): Promise<void> => {
        scope.get('/', { cache: { key: `${name}:list` } }, async () => ({ name }))
        scope.get('/:id', { cache: { key: `${name}:{id}` } }, echo)
        scope.get('/deep/:id', { cache }, echo)
      }
      for (const name of ['users', 'posts']) await app.register(routes, { prefix: `/${name}`, name })
    },
    visits: ['/users', '/users/', '/posts', '/users/1', '/posts/1', '/users/deep/1', '/posts/deep/1', '/none'],
    outcomes: ['hit', 'hit', 'hit', 'hit', 'hit', 'hit', 'hit', 'none']
  },
  'the plugin twice, in contexts beside each other': {
    ownCaching: true,
    build: async (app, caching) => {
      for (const name of ['a', 'b']) {
        await app.register(async (scope) => {
          await caching(scope, { prefix: name })
          scope.get('/x', { cache: { key: 'x' } }, echo)
        }, { prefix: `/${name}` })
      }
      app.get('/x', echo)
    },
    visits: ['/a/x', '/b/x', '/x'],
    outcomes: ['hit', 'hit', 'none']
  },
  'a prefix with a param': {
    build: async (app) => {
      await app.register(async (scope) => { scope.get('/x', { cache }, echo) }, { prefix: '/:tenant' })
    },
    visits: ['/a/x', '/b/x']
  },
  prefixTrailingSlash: {
    build: async (app) => {
      await app.register(async (scope) => {
        scope.get('/', { cache, prefixTrailingSlash: 'slash' }, echo)
      }, { prefix: '/p' })
      await app.register(async (scope) => {
        scope.get('/', { cache, prefixTrailingSlash: 'no-slash' }, echo)
      }, { prefix: '/q' })
    },
    visits: ['/p/', '/p', '/q', '/q/'],
    outcomes: ['hit', 'none', 'hit', 'none']
  },
  'constraints of host': {
    build: (app) => {
      for (const host of ['a.example', 'b.example']) {
        app.get('/', { cache, constraints: { host } }, async (request) => ({ host, hostname: request.hostname }))
      }
    },
    visits: [{ url: '/', headers: { host: 'a.example' } }, { url: '/', headers: { host: 'b.example' } }, '/'],
    outcomes: ['hit', 'hit', 'none']
  },
  'constraints of version': {
    build: (app) => {
      for (const version of ['1.0.0', '1.2.0', '2.0.0']) app.get('/', { cache, constraints: { version } }, async () => ({ version }))
    },
    visits: ['1.x', '1.0.0', '2.x', '3.x'].map((version) => ({ url: '/', headers: { 'accept-version': version } })),
    outcomes: ['hit', 'hit', 'hit', 'none']
  },
  'constraints of its own': {
    options: {
      constraints: {
        colour: {
          name: 'colour',
          storage: () => {
            const found: Record<string, unknown> = {}
            return { get: (key: string) => found[key] ?? null, set: (key: string, value: unknown) => { found[key] = value } }
          },
          validate: () => true,
          deriveConstraint: (request: { headers: Record<string, string> }) => request.headers['x-colour'],
          mustMatchWhenDerived: false
        }
      }
    } as object,
    build: (app) => {
      for (const colour of ['red', 'blue']) app.get('/', { cache, constraints: { colour } as Record<string, string> }, async () => ({ colour }))
    },
    visits: ['red', 'blue'].map((colour) => ({ url: '/', headers: { 'x-colour': colour } }))
  },
  'caseSensitive: false': {
    options: { routerOptions: { caseSensitive: false } },
    build: (app) => {
      app.get('/Items/:id', { cache }, async ({ params, routeOptions }) => [params, routeOptions.url])
      app.get('/keyed/:id', { cache: { key: 'keyed:{id}' } }, async ({ params }) => params)
    },
    visits: ['/items/A', '/ITEMS/a', '/Items/A', '/KEYED/x', '/keyed/X']
  },
  'ignoreTrailingSlash, ignoreDuplicateSlashes': {
    options: { routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true } },
    build: (app) => { app.get('/a/b', { cache }, async ({ routeOptions }) => routeOptions.url) },
    visits: ['/a/b', '/a/b/', '/a//b']
  },
  useSemicolonDelimiter: {
    options: { routerOptions: { useSemicolonDelimiter: true } as object },
    build: (app) => { app.get('/a', { cache }, async ({ query }) => query) },
    visits: ['/a;x=1', '/a?x=1', '/a;x=2']
  },
  rewriteUrl: {
    options: { rewriteUrl: ({ url }) => url!.replace('/old/', '/new/') },
    build: (app) => { app.get('/new/:id', { cache }, async ({ params, url }) => ({ params, url })) },
    visits: ['/old/1', '/new/1', '/new/2']
  },
  'a parser of the query': {
    options: { routerOptions: { querystringParser: (text) => ({ whole: text.split('').reverse().join('') }) } },
    build: (app) => { app.get('/', { cache }, async ({ query }) => query) },
    visits: ['/?a=1', '/?b=1', '/?a=1&b=2']
  },
  'a parser of the query, of its own class': {
    options: { routerOptions: { querystringParser: (text: string) => new URLSearchParams(text) as object } } as object,
    build: (app) => { app.get('/', { cache }, async ({ query }) => String(query)) },
    visits: ['/?a=1'],
    outcomes: ['bypass']
  },
  'exposeHeadRoutes: false': {
    options: { exposeHeadRoutes: false },
    build: (app) => {
      app.get('/', { cache }, echo)
      app.get('/with', { cache, exposeHeadRoute: true }, echo)
    },
    visits: ['/', { url: '/', method: 'HEAD' }, '/with', { url: '/with', method: 'HEAD' }],
    outcomes: ['hit', 'none', 'hit', 'hit']
  },
  'HEAD of its own': {
    build: (app) => {
      app.head('/', { cache: { key: 'h' } }, async (_, reply) => reply.header('x-a', 'b').send())
      app.route({ method: ['GET', 'HEAD'], url: '/both', cache: { key: 'both' }, handler: async () => 'text' })
    },
    visits: [{ url: '/', method: 'HEAD' }, '/both', { url: '/both', method: 'HEAD' }],
    outcomes: ['miss', 'hit', 'hit']
  },
  'wildcards, patterns, several params': {
    options: { routerOptions: { maxParamLength: 500 } },
    build: (app) => {
      app.get('/w/*', { cache }, echo)
      app.get('/r/:id(^\\d+)', { cache }, echo)
      app.get('/m/:a-:b', { cache }, echo)
      app.get('/o/:id?', { cache }, echo)
    },
    visits: ['/w/a/b', '/w/', '/r/12', '/r/x', '/m/1-2', '/m/1-2-3', '/o', '/o/1', '/w/%20%C3%A9?a=%2F', `/w/${'x'.repeat(400)}`],
    outcomes: ['hit', 'hit', 'hit', 'none', 'hit', 'hit', 'hit', 'hit', 'hit', 'hit']
  },
  'slashes of a wildcard, percent-encoded': {
    build: (app) => {
      app.get('/w/*', { cache }, echo)
      app.get('/:id/x/*', { cache }, echo)
      app.get('/q/*', { cache: { key: 'q:{*}:{query.a}' } }, async ({ params }) => params)
    },
    visits: [
      '/w/a/b/c', '/w/a%2Fb/c', '/w/a/b%2fc', '/w/a%2fb%2fc', '/w/a%252Fb/c', '/w/%2F', '/w//', '/w/a?b=%2F',
      '/a%2Fb/x/c', '/a/x/b/c', '/a/x/b%2Fc', '/q/a/b', '/q/a%2Fb', { url: '/w/a%2Fb/c', method: 'HEAD' }
    ]
  },
  trailers: {
    build: (app) => {
      app.get('/', { cache }, async (_, reply) => {
        reply.trailer('x-sum', async () => 'of the body')
        return 'text'
      })
      app.get('/stream', { cache }, async (_, reply) => {
        reply.trailer('x-sum', async () => 'of the body')
        return Readable.from(texts())
      })
      app.addHook('onRequest', async ({ url }, reply) => { if (url === '/hook') reply.trailer('x-hook', async () => 'a hook\'s') })
      app.get('/hook', { cache }, async () => 'text')
    },
    visits: [{ url: '/', headers: { te: 'trailers' } }, '/stream', '/hook'],
    outcomes: ['miss', 'miss', 'hit']
  },
  setReplySerializer: {
    build: (app) => {
      app.setReplySerializer((payload, status) => `${status}: ${JSON.stringify(payload)}`)
      app.get('/', { cache }, echo)
      app.get('/string', { cache }, async () => 'text')
      app.get('/typed', { cache }, async (_, reply) => reply.type('application/x-own').send({ a: 1 }))
    },
    visits: ['/', '/string', '/typed'],
    // Fastify does not serialize for such a type: it is an error.
    outcomes: ['hit', 'hit', 'miss']
  },
  'serializerCompiler, of a route and of the app': {
    build: (app) => {
      const schema = { response: { 200: { type: 'object', properties: { a: { type: 'string' } } } } }
      app.get('/own', { cache, schema, serializerCompiler: () => (data) => `own ${JSON.stringify(data)}` }, async () => ({ a: 1 }))
      app.get('/schema', { cache, schema }, async () => ({ a: 1, hidden: true }))
      app.register(async (scope) => {
        scope.setSerializerCompiler(() => (data) => `scope ${JSON.stringify(data)}`)
        scope.get('/scope', { cache, schema }, async () => ({ a: 1 }))
      })
    },
    visits: ['/own', '/schema', '/scope']
  },
  'reply.serializer, serialize, getSerializationFunction': {
    build: (app) => {
      app.get('/own', { cache }, async (_, reply) => reply.serializer((data: unknown) => `<${String(data)}>`).send({ toString: () => 'x' }))
      app.get('/bytes', { cache }, async (_, reply) => reply.serializer(() => Buffer.from([0, 1, 255]) as never).type('image/png').send({}))
      app.get('/by', { cache }, async (_, reply) => reply.serializeInput({ a: 1 }, { type: 'object', properties: { a: { type: 'string' } } }))
    },
    visits: ['/own', '/bytes', '/by']
  },
  preSerialization: {
    build: (app) => {
      app.addHook('preSerialization', async (_, __, payload) => ({ wrapped: payload }))
      app.get('/', { cache }, echo)
      app.get('/string', { cache }, async () => 'text')
    },
    visits: ['/', '/string']
  },
  'streams, generators, iterables': {
    build: (app) => {
      app.get('/readable', { cache }, async () => Readable.from(texts()))
      app.get('/generator', { cache }, async () => texts())
      app.get('/web', { cache }, async () => ReadableStream.from([Buffer.from('a'), Buffer.from('b')]))
      app.get('/typed', { cache }, async (_, reply) => reply.type('text/csv').send(Readable.from(texts())))
      app.get('/array', { cache }, async () => [1, 2])
      app.get('/bytes', { cache }, async () => new Uint8Array([1, 200]))
    },
    visits: ['/readable', '/generator', '/web', '/typed', '/array', '/bytes']
  },
  'Response objects': {
    build: (app) => {
      app.get('/text', { cache }, async () => new Response('text'))
      app.get('/json', { cache }, async () => Response.json({ a: 1 }, { headers: { 'x-a': 'b', vary: 'accept' } }))
      app.get('/bytes', { cache }, async () => new Response(Buffer.from([1, 255]), { headers: { 'content-type': 'image/png' } }))
      app.get('/empty', { cache }, async () => new Response(null, { status: 200 }))
      app.get('/cookie', { cache }, async () => new Response('a', { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2']] }))
      app.get('/missing', { cache: { statuses: { 404: 60 } } }, async () => new Response('none', { status: 404 }))
      app.get('/none', { cache: { statuses: { 204: 60 } } }, async () => new Response(null, { status: 204 }))
      app.get('/moved', { cache: { statuses: { 302: 60 } } }, async () => Response.redirect('http://a.example/', 302))
    },
    visits: ['/text', '/json', '/bytes', '/empty', '/cookie', '/missing', '/none', '/moved'],
    outcomes: ['hit', 'hit', 'hit', 'hit', 'miss', 'hit', 'hit', 'hit']
  },
  'a Response beside what is on the reply': {
    build: (app) => {
      app.addHook('onSend', async () => {})
      app.addHook('onRequest', async (_, reply) => { reply.header('vary', 'Origin').header('x-hook', 'a').header('x-both', 'b') })
      app.get('/status', { cache }, async (_, reply) => reply.code(201).send(new Response('text')))
      app.get('/field', { cache }, async (_, reply) => reply.header('x-b', 'c').send(new Response('text')))
      app.get('/hook', { cache }, async () => new Response('text', { headers: { 'x-both': 'c' } }))
    },
    visits: ['/status', '/field', '/hook'],
    outcomes: ['miss', 'miss', 'hit']
  },
  'errors, their handlers and what is not found': {
    build: (app) => {
      app.setErrorHandler(async (error: Error, _, reply) => reply.code(418).send({ said: error.message }))
      app.setNotFoundHandler(async ({ url }, reply) => reply.code(404).send({ none: url }))
      const statuses = { 404: 60, 418: 60, 500: 60 }
      app.get('/throws', { cache: { statuses } }, async () => { throw new Error('so it is') })
      app.get('/own', { cache: { statuses }, errorHandler: async (error, _, reply) => reply.code(500).send(`own ${error.message}`) },
        async () => { throw new Error('so it is') })
      app.get('/not-found', { cache: { statuses } }, (_: FastifyRequest, reply: FastifyReply) => { reply.callNotFound() })
      app.get('/redirect', { cache: { statuses: { 302: 60 } } }, async (_, reply) => reply.redirect('/other'))
    },
    untold: /^(onError|preHandler)/,
    visits: ['/throws', '/own', '/not-found', '/redirect', '/nowhere'],
    outcomes: ['hit', 'hit', 'hit', 'hit', 'none']
  },
  'validation, coercion, attached errors': {
    build: (app) => {
      const schema = { querystring: { type: 'object', properties: { n: { type: 'integer', default: 7 } } } }
      app.get('/', { cache, schema }, async ({ query }) => query)
      app.get('/attached', { cache, schema, attachValidation: true }, async ({ query, validationError }) =>
        ({ query, error: validationError?.message ?? null }))
      app.get('/formatted', { cache, schema, schemaErrorFormatter: () => new Error('formatted') }, async ({ query }) => query)
    },
    visits: ['/', '/?n=1', '/?n=x', '/attached?n=2', '/attached?n=x', '/formatted?n=x'],
    outcomes: ['hit', 'hit', 'bypass', 'hit', 'bypass', 'bypass']
  },
  handlerTimeout: {
    options: { handlerTimeout: 20_000 } as object,
    build: (app) => {
      app.get('/', { cache }, echo)
      app.get('/late', { cache: { waitTimeout: 0 }, handlerTimeout: 20 } as object, async (request) => {
        await new Promise<void>((resolve) => { request.raw.once('close', resolve); setTimeout(resolve, 200) })
        return 'late'
      })
    },
    visits: ['/', '/late'],
    outcomes: ['hit', 'miss']
  },
  'onTimeout, connectionTimeout': {
    options: { connectionTimeout: 20_000 },
    build: (app) => { app.get('/', { cache }, echo) },
    visits: ['/']
  },
  'onTimeout that fires': {
    options: { connectionTimeout: 250 },
    build: (app) => {
      app.get('/', { cache }, async (_, reply) => {
        await new Promise((resolve) => { reply.raw.once('close', resolve) })
        return 'late'
      })
    },
    // It may come in time for the next visit only.
    untold: /^onSend/,
    visits: ['/'],
    outcomes: ['none']
  },
  'early hints': {
    build: (app) => {
      const link = '</of-the-handler.css>; rel=preload'
      app.addHook('onRequest', async ({ url }, reply) => { if (url !== '/plain') reply.writeEarlyHints({ link: '</a.css>; rel=preload' }) })
      app.get('/reply', { cache }, async (_, reply) => {
        reply.writeEarlyHints({ link })
        return 'text'
      })
      app.get('/raw', { cache }, async (_, reply) => {
        reply.raw.writeEarlyHints({ link })
        return Readable.from(texts())
      })
      app.get('/plain', { cache }, async (_, reply) => {
        reply.writeEarlyHints({ link })
        return { a: 1 }
      })
    },
    visits: ['/reply', '/raw', '/plain', { url: '/reply', method: 'HEAD' }]
  },
  'request ids, loggers, proxies': {
    options: { requestIdHeader: 'x-id', trustProxy: true, genReqId: () => 'made' },
    build: (app) => {
      app.addHook('onSend', async (request, reply) => { reply.header('x-id', request.id) })
      app.get('/', { cache, logLevel: 'error' }, async ({ protocol }) => ({ protocol }))
    },
    visits: [{ url: '/', headers: { 'x-id': 'theirs' } }, '/']
  },
  'hooks that write': {
    build: (app) => {
      app.addHook('onRequest', async (_, reply) => { reply.header('x-a', 'before') })
      app.addHook('onSend', async (_, reply, payload) => {
        reply.header('x-b', 'behind').removeHeader('x-c')
        return typeof payload === 'string' ? payload.toUpperCase() : payload
      })
      app.get('/', { cache }, async (_, reply) => reply.header('x-c', 'handler').header('x-a', 'handler').send('text'))
      app.get('/reason', { cache }, async (_, reply) => {
        reply.raw.statusMessage = 'Fine'
        return 'text'
      })
    },
    visits: ['/', '/reason']
  },
  'heads of many kinds': {
    build: (app) => {
      app.get('/links', { cache }, async (_, reply) => reply.header('link', ['<a>', '<b>']).send('text'))
      app.get('/tagged', { cache }, async (_, reply) => reply.header('etag', '"a"').header('last-modified', 'Mon, 01 Jan 2024 00:00:00 GMT').send('a'))
      app.get('/typed', { cache }, async (_, reply) => reply.type('text/html').send('<b>'))
      app.get('/untyped', { cache }, async (_, reply) => reply.send(Buffer.from('a')))
      app.get('/utf8', { cache }, async (_, reply) => reply.header('x-a', 'caf\u00e9').send('caf\u00e9'))
    },
    visits: ['/links', '/tagged', '/typed', '/untyped', '/utf8', { url: '/tagged', headers: { 'if-none-match': '"b"' } }]
  },
  'several servers of one app': {
    host: 'localhost',
    build: (app) => { app.get('/:id', { cache }, async ({ params, query }) => ({ params, query })) },
    visits: ['/a', '/b?x=1']
  },
  'onRoute hooks that copy, freeze and wrap': {
    build: (app) => {
      app.addHook('onRoute', (route) => {
        const { handler } = route
        route.config = Object.freeze(JSON.parse(JSON.stringify(route.config ?? {})) as object)
        route.onSend = Object.freeze([route.onSend ?? []].flat()) as never
        route.handler = function (request, reply) { return handler.call(this, request, reply.header('x-wrapped', 'yes')) }
      })
      app.get('/', { cache, config: { a: 1 } as object, onSend: [] }, async ({ routeOptions }) => (routeOptions.config as { a?: number }).a)
    },
    visits: ['/', { url: '/', method: 'HEAD' }]
  },
  'what a reply can be given': {
    build: (app) => {
      app.setNotFoundHandler(async ({ url }, reply) => reply.code(404).send({ none: url }))
      const given: Record<string, unknown> = {
        undefined,
        null: null,
        empty: '',
        zero: 0,
        false: false,
        date: { at: new Date(0), gone: undefined },
        bytes: new Uint8Array([1, 0xff]),
        floats: new Float64Array([1.5]),
        view: new DataView(new ArrayBuffer(3)),
        buffer: new Uint8Array([1, 2]).buffer
      }
      for (const [name, value] of Object.entries(given)) app.get(`/${name}`, { cache }, async (_, reply) => reply.send(value))
      app.get('/elsewhere', { cache: { statuses: { 308: 60 } } }, async (_, reply) => reply.redirect('/x?y=\u00fc', 308))
      app.get('/none', { cache: { statuses: { 404: 60 } } }, (_, reply) => { reply.callNotFound() })
    },
    // Fastify runs hooks in front of the not-found handler once more.
    untold: /^preHandler/,
    visits: ['undefined', 'null', 'empty', 'zero', 'false', 'date', 'bytes', 'floats', 'view', 'elsewhere', 'none'].map((name) => `/${name}`),
  },
  'GET with a body': {
    build: (app) => {
      app.addContentTypeParser('text/x', { parseAs: 'string' }, (_, body, done) => { done(null, body) })
      app.get('/', { cache }, echo)
    },
    visits: ['/']
  }
}

for (const [name, one] of Object.entries(CASES)) {
  t.test(name, async (t) => {
    for (const watch of WATCHES) await t.test(watch, async (t) => { await compare(t, one, watch) })
  })
}
