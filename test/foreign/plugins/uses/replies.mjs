// Plugins that put something on replies, or change how bodies leave.
import acceptsSerializer from '@fastify/accepts-serializer'
import caching from '@fastify/caching'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import etag from '@fastify/etag'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import sensible from '@fastify/sensible'
import view from '@fastify/view'
import underPressure from '@fastify/under-pressure'
import ejs from 'ejs'

const items = Array.from({ length: 200 }, (_, id) => ({ id, name: `item ${id}` }))

export default [
  {
    plugin: '@fastify/cors',
    register: async (app) => { await app.register(cors, { origin: ['https://shop.example', 'https://blog.example'], credentials: true }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => ({ hello: 'cors' })) },
    requests: [{ headers: { origin: 'https://shop.example' } }, {}, { headers: { origin: 'https://blog.example' } }],
    outcomes: ['miss', 'hit', 'hit', 'hit', 'hit', 'hit']
  },
  {
    plugin: '@fastify/helmet',
    register: async (app) => { await app.register(helmet) },
    routes: (app, cache) => { app.get('/', { cache }, async (request, reply) => reply.type('text/html').send('<p>hello')) },
    requests: [{}]
  },
  {
    plugin: '@fastify/rate-limit',
    register: async (app) => { await app.register(rateLimit, { max: 3, timeWindow: '1 hour' }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'hello') },
    requests: [{}, {}],
    // The fourth of the hour.
    outcomes: ['miss', 'hit', 'hit', 'bypass']
  },
  {
    plugin: '@fastify/compress',
    register: async (app) => { await app.register(compress) },
    routes: (app, cache) => { app.get('/', { cache }, async () => items) },
    requests: [{ headers: { 'accept-encoding': 'gzip' } }, {}, { headers: { 'accept-encoding': 'br' } }],
    outcomes: ['miss', 'hit', 'hit', 'hit', 'hit', 'hit']
  },
  {
    plugin: '@fastify/etag',
    register: async (app) => { await app.register(etag) },
    routes: (app, cache) => { app.get('/', { cache }, async () => ({ hello: 'etag' })) },
    requests: [{}, { headers: { 'if-none-match': '"no"' } }],
    outcomes: ['miss', 'hit', 'hit', 'hit']
  },
  {
    plugin: '@fastify/caching',
    decorator: 'routeCache',
    register: async (app) => { await app.register(caching, { privacy: 'public', expiresIn: 300 }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => ({ hello: 'caching' })) },
    requests: [{}]
  },
  {
    plugin: '@fastify/sensible',
    register: async (app) => { await app.register(sensible) },
    routes: (app, cache) => {
      app.get('/', { cache }, async (request, reply) => {
        reply.vary('Accept-Language')
        return { hello: request.headers['accept-language'] ?? 'nobody' }
      })
      app.get('/gone', { cache }, async (request, reply) => reply.notFound('it went'))
    },
    requests: [{}, { headers: { 'accept-language': 'de' } }, { url: '/gone' }],
    outcomes: ['miss', 'miss', 'miss', 'hit', 'hit', 'miss']
  },
  {
    plugin: '@fastify/view',
    register: async (app) => { await app.register(view, { engine: { ejs }, root: new URL('files/', import.meta.url).pathname }) },
    routes: (app, cache) => { app.get('/:name', { cache }, async (request, reply) => reply.view('hello.ejs', request.params)) },
    requests: [{ url: '/ada' }, { url: '/bob' }]
  },
  {
    plugin: '@fastify/under-pressure',
    register: async (app) => { await app.register(underPressure, { maxEventLoopDelay: 0, exposeStatusRoute: '/status' }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'under no pressure') },
    requests: [{}, { url: '/status' }],
    outcomes: ['miss', 'none', 'hit', 'none']
  },
  {
    plugin: '@fastify/accepts-serializer',
    register: async (app) => {
      const serializers = [{ regex: /^application\/yaml$/, serializer: (body) => `name: ${body.name}\n` }]
      await app.register(acceptsSerializer, { serializers, default: 'application/yaml' })
      app.addHook('onSend', async (request, reply, payload) => payload)
    },
    routes: (app, cache) => { app.get('/', { cache }, async (request, reply) => reply.header('vary', 'accept').send({ name: 'x' })) },
    requests: [{ headers: { accept: 'application/yaml' } }]
  }
]
