// Plugins that declare routes of their own, hand requests on, or look at those of others. `declares`: an onRoute hook ahead
// of both gives their routes the option `cache`, as an app would do it; where theirs is registered first, these routes are
// there before ours can see them, and stay uncached.
import autoload from '@fastify/autoload'
import awsLambda from '@fastify/aws-lambda'
import proxy from '@fastify/http-proxy'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import replyFrom from '@fastify/reply-from'
import fastifyStatic from '@fastify/static'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import websocket from '@fastify/websocket'
import { InMemorySpanExporter, BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import fastify from 'fastify'
import metrics from 'fastify-metrics'
import mercurius from 'mercurius'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'

const files = fileURLToPath(new URL('files/', import.meta.url))
const GRAPHQL = { url: `/graphql?query=${encodeURIComponent('{ add(x: 2, y: 3) }')}` }

/** A server behind the one that is tried, closed with it. */
async function upstreamOf (app) {
  const upstream = fastify()
  upstream.get('/hello', async (request, reply) => reply.header('x-upstream', 'yes').send({ hello: request.query.name ?? 'you' }))
  await upstream.listen({ port: 0, host: '127.0.0.1' })
  app.addHook('onClose', async () => { await upstream.close() })
  return upstream.listeningOrigin
}

/** Opens a socket, sends a word, and answers with the word that comes back. */
async function wordBack (origin) {
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/`)
  return await new Promise((resolve, reject) => {
    socket.on('error', reject).on('open', () => socket.send('word')).on('message', (data) => {
      resolve({ status: 101, headers: {}, body: String(data) })
      socket.close()
    })
  })
}

export default [
  {
    plugin: '@fastify/static',
    declares: true,
    register: async (app) => { await app.register(fastifyStatic, { root: files, prefix: '/files/' }) },
    routes: (app, cache) => { app.get('/page', { cache }, async (request, reply) => reply.sendFile('page.html')) },
    requests: [{ url: '/page' }, { url: '/files/page.html' }, { url: '/files/none.html' }, { url: '/page', headers: { range: 'bytes=0-4' } }],
    outcomes: {
      'ours first': ['miss', 'miss', 'miss', 'hit', 'hit', 'hit', 'miss', 'hit'],
      'theirs first': ['miss', 'none', 'none', 'hit', 'hit', 'none', 'none', 'hit']
    }
  },
  {
    plugin: '@fastify/swagger',
    register: async (app) => { await app.register(swagger, { openapi: { info: { title: 'shop', version: '1' } } }) },
    routes: (app, cache) => {
      app.get('/', { cache, schema: { response: { 200: { type: 'object', properties: { a: { type: 'number' } } } } } }, async () => ({ a: 1, b: 2 }))
      app.get('/openapi', { cache }, async () => app.swagger())
    },
    requests: [{}, { url: '/openapi' }]
  },
  {
    plugin: '@fastify/swagger-ui',
    declares: true,
    register: async (app) => {
      await app.register(swagger)
      await app.register(swaggerUi)
    },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'documented') },
    requests: [{}, { url: '/documentation/json' }, { url: '/documentation/static/index.css' }],
    outcomes: {
      'ours first': ['miss', 'miss', 'miss', 'hit', 'hit', 'hit'],
      'theirs first': ['miss', 'none', 'none', 'hit', 'none', 'none']
    }
  },
  {
    plugin: '@fastify/reply-from',
    register: async (app) => { await app.register(replyFrom, { base: await upstreamOf(app) }) },
    routes: (app, cache) => { app.get('/', { cache }, (request, reply) => reply.from('/hello')) },
    requests: [{ url: '/' }, { url: '/?name=ada' }]
  },
  {
    plugin: '@fastify/http-proxy',
    declares: true,
    register: async (app) => { await app.register(proxy, { upstream: await upstreamOf(app), prefix: '/api', httpMethods: ['GET'] }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'no proxy') },
    requests: [{}, { url: '/api/hello?name=ada' }],
    outcomes: { 'ours first': ['miss', 'miss', 'hit', 'hit'], 'theirs first': ['miss', 'none', 'hit', 'none'] }
  },
  {
    plugin: '@fastify/websocket',
    register: async (app) => { await app.register(websocket) },
    routes: (app, cache) => {
      const wsHandler = (socket) => { socket.on('message', (data) => socket.send(`${data} back`)) }
      app.route({ method: 'GET', url: '/', cache, wsHandler, handler: async () => 'no socket' })
    },
    requests: [{}, wordBack],
    outcomes: ['miss', 'none', 'hit', 'none']
  },
  {
    plugin: '@fastify/autoload',
    register: async (app) => { await app.register(autoload, { dir: `${files}plugins` }) },
    routes: async (app, cache) => { await app.register(autoload, { dir: `${files}routes`, options: { cache } }) },
    requests: [{ url: '/users/7' }]
  },
  {
    plugin: '@fastify/otel',
    register: async (app) => {
      const exporter = new InMemorySpanExporter()
      const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
      const instrumentation = new FastifyOtelInstrumentation()
      instrumentation.setTracerProvider(tracerProvider)
      await app.register(instrumentation.plugin())
      app.get('/spans', async () => exporter.getFinishedSpans().filter(({ name }) => name === 'request').length)
    },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'traced') },
    requests: [{}, { url: '/spans' }],
    outcomes: ['miss', 'none', 'hit', 'none']
  },
  {
    plugin: 'fastify-metrics',
    register: async (app) => { await app.register(metrics.default ?? metrics, { endpoint: '/metrics', clearRegisterOnInit: true, defaultMetrics: { enabled: false } }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'measured') },
    requests: [{}],
    after: async (app) => {
      const text = await (await fetch(`${app.listeningOrigin}/metrics`)).text()
      return text.split('\n').filter((line) => /^http_request_duration_seconds_count/.test(line))
    }
  },
  {
    plugin: '@fastify/aws-lambda',
    register: async () => {},
    routes: (app, cache) => {
      app.get('/', { cache }, async (request) => ({ hello: request.query.name ?? 'you' }))
      app.decorate('lambda', awsLambda(app, { decorateRequest: false }))
    },
    requests: [(origin, app) => lambda(app, 'ada'), (origin, app) => lambda(app, 'bob')]
  },
  {
    plugin: 'mercurius',
    declares: true,
    register: async (app) => {
      const resolvers = { Query: { add: async (_, { x, y }) => x + y } }
      await app.register(mercurius, { schema: 'type Query { add(x: Int, y: Int): Int }', resolvers })
    },
    routes: (app, cache) => {
      app.get('/', { cache }, async (request, reply) => await reply.graphql('{ add(x: 1, y: 1) }'))
    },
    requests: [{}, GRAPHQL],
    outcomes: { 'ours first': ['miss', 'miss', 'hit', 'hit'], 'theirs first': ['miss', 'none', 'hit', 'none'] }
  }
]

async function lambda (app, name) {
  const { statusCode, headers, body } = await app.lambda({ httpMethod: 'GET', path: '/', queryStringParameters: { name }, headers: {} }, {})
  const { date, ...others } = headers
  return { status: statusCode, headers: others, body }
}
