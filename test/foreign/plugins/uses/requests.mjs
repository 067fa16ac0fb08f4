// Plugins that put something on requests, or read their bodies.
import auth from '@fastify/auth'
import cookie from '@fastify/cookie'
import env from '@fastify/env'
import express from '@fastify/express'
import formbody from '@fastify/formbody'
import jwt from '@fastify/jwt'
import middie from '@fastify/middie'
import multipart from '@fastify/multipart'
import requestContext from '@fastify/request-context'
import session from '@fastify/session'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import rTracer from 'cls-rtracer'
import rawBody from 'fastify-raw-body'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import i18next from 'i18next'
import i18nextMiddleware from 'i18next-http-middleware'
import { createHmac } from 'node:crypto'
import Type from 'typebox'
import { z } from 'zod'

const SECRET = 'a secret of more than thirty-two characters'

function tokenOf (name) {
  const parts = [{ alg: 'HS256', typ: 'JWT' }, { name, iat: 1_700_000_000 }]
  const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`
}

const bearer = (token) => ({ authorization: `Bearer ${token}` })
const FORM = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=1&b=2' }

export default [
  {
    plugin: '@fastify/formbody',
    register: async (app) => { await app.register(formbody) },
    routes: (app, cache) => {
      app.get('/', { cache }, async (request) => request.query)
      app.post('/', async (request) => request.body)
    },
    requests: [{ url: '/?a=1' }, FORM],
    outcomes: ['miss', 'none', 'hit', 'none']
  },
  {
    plugin: '@fastify/multipart',
    register: async (app) => { await app.register(multipart) },
    routes: (app, cache) => {
      app.get('/', { cache }, async (request) => ({ isMultipart: request.isMultipart() }))
      app.post('/', async (request) => (await (await request.file()).toBuffer()).toString())
    },
    requests: [{}, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      body: '--x\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n'
    }],
    outcomes: ['miss', 'none', 'hit', 'none']
  },
  {
    plugin: '@fastify/cookie',
    register: async (app) => { await app.register(cookie) },
    routes: (app, cache) => {
      app.get('/', { cache: cache && { identity: (request) => request.cookies.visitor } }, async (request) => request.cookies)
      app.get('/set', { cache }, async (request, reply) => reply.setCookie('visitor', 'ada').send('set'))
    },
    requests: [{}, { headers: { cookie: 'visitor=ada' } }, { headers: { cookie: 'visitor=bob' } }, { url: '/set' }],
    outcomes: ['miss', 'miss', 'miss', 'miss', 'hit', 'hit', 'hit', 'miss']
  },
  {
    plugin: '@fastify/jwt',
    register: async (app) => { await app.register(jwt, { secret: SECRET }) },
    routes: (app, cache) => {
      const onRequest = async (request) => { await request.jwtVerify() }
      const identity = (request) => request.user?.name
      app.get('/', { onRequest, cache: cache && { identity } }, async (request) => request.user)
    },
    requests: [{ headers: bearer(tokenOf('ada')) }, { headers: bearer(tokenOf('bob')) }, { headers: bearer('forged') }, {}],
    outcomes: ['miss', 'miss', 'bypass', 'bypass', 'hit', 'hit', 'bypass', 'bypass']
  },
  {
    plugin: '@fastify/auth',
    register: async (app) => { await app.register(auth) },
    routes: (app, cache) => {
      const known = async (request) => { if (request.headers['x-api-key'] !== 'k') throw new Error('who are you?') }
      app.get('/', { preHandler: app.auth([known]), cache: cache && { shared: true } }, async () => 'for members')
    },
    requests: [{ headers: { 'x-api-key': 'k' } }, {}],
    outcomes: ['miss', 'bypass', 'hit', 'bypass']
  },
  {
    plugin: '@fastify/session',
    register: async (app) => {
      await app.register(cookie)
      await app.register(session, { secret: SECRET, saveUninitialized: false, cookie: { secure: false } })
    },
    routes: (app, cache) => { app.get('/', { cache }, async (request) => ({ user: request.session.get('user') ?? null })) },
    requests: [{}]
  },
  {
    plugin: '@fastify/env',
    register: async (app) => { await app.register(env, { schema: { type: 'object', properties: { SHOP: { type: 'string', default: 'shop' } } }, data: {} }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => ({ shop: app.config.SHOP })) },
    requests: [{}]
  },
  {
    plugin: '@fastify/request-context',
    register: async (app) => { await app.register(requestContext, { defaultStoreValues: { seen: 'nobody' } }) },
    routes: (app, cache) => {
      app.addHook('onSend', async (request, reply) => { reply.header('x-seen', request.requestContext.get('seen')) })
      app.addHook('onRequest', async (request) => { request.requestContext.set('seen', request.headers['x-name'] ?? 'nobody') })
      app.get('/', { cache }, async () => 'hello')
    },
    requests: [{ headers: { 'x-name': 'ada' } }, { headers: { 'x-name': 'bob' } }],
    outcomes: ['miss', 'hit', 'hit', 'hit']
  },
  {
    plugin: '@fastify/middie',
    register: async (app) => {
      await app.register(middie)
      app.use((req, res, next) => {
        res.setHeader('x-middleware', req.url)
        next()
      })
    },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'behind a middleware') },
    requests: [{}]
  },
  {
    plugin: '@fastify/express',
    register: async (app) => {
      await app.register(express)
      app.use((req, res, next) => {
        res.set('x-express', req.path)
        next()
      })
    },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'behind Express') },
    requests: [{}]
  },
  {
    plugin: 'i18next-http-middleware',
    register: async (app) => {
      const i18n = i18next.createInstance()
      const resources = { en: { translation: { hello: 'hello' } }, de: { translation: { hello: 'hallo' } } }
      await i18n.use(i18nextMiddleware.LanguageDetector).init({ resources, fallbackLng: 'en', preload: ['en', 'de'] })
      await app.register(i18nextMiddleware.plugin, { i18next: i18n })
    },
    routes: (app, cache) => {
      app.get('/', { cache }, async (request, reply) => {
        reply.header('vary', 'accept-language')
        return request.t('hello')
      })
    },
    requests: [{ headers: { 'accept-language': 'de' } }, { headers: { 'accept-language': 'en' } }]
  },
  {
    plugin: 'cls-rtracer',
    register: async (app) => { await app.register(rTracer.fastifyPlugin, { useHeader: true, echoHeader: true }) },
    routes: (app, cache) => { app.get('/', { cache }, async () => 'traced') },
    requests: [{ headers: { 'x-request-id': 'one' } }, { headers: { 'x-request-id': 'two' } }],
    outcomes: ['miss', 'hit', 'hit', 'hit']
  },
  {
    plugin: 'fastify-raw-body',
    register: async (app) => { await app.register(rawBody) },
    routes: (app, cache) => {
      app.get('/', { cache }, async (request) => ({ hasRawBody: request.rawBody !== undefined }))
      app.post('/', async (request) => request.rawBody)
    },
    requests: [{}, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{ "a": 1 }' }],
    outcomes: ['miss', 'none', 'hit', 'none']
  },
  {
    plugin: 'fastify-type-provider-zod',
    register: async (app) => {
      app.setValidatorCompiler(validatorCompiler)
      app.setSerializerCompiler(serializerCompiler)
    },
    routes: (app, cache) => {
      const querystring = z.object({ n: z.coerce.number().default(1) })
      const schema = { querystring, response: { 200: z.object({ n: z.number() }) } }
      app.get('/', { schema, cache }, async (request) => ({ n: request.query.n, hidden: true }))
    },
    requests: [{ url: '/?n=2' }, { url: '/' }, { url: '/?n=x' }],
    outcomes: ['miss', 'miss', 'bypass', 'hit', 'hit', 'bypass']
  },
  {
    plugin: '@fastify/type-provider-typebox',
    register: async (app) => { app.setValidatorCompiler(TypeBoxValidatorCompiler) },
    routes: (app, cache) => {
      const querystring = Type.Object({ name: Type.String({ minLength: 2 }) })
      const schema = { querystring, response: { 200: Type.Object({ name: Type.String() }) } }
      app.get('/', { schema, cache }, async (request) => ({ name: request.query.name, hidden: true }))
    },
    requests: [{ url: '/?name=ada' }, { url: '/?name=a' }],
    outcomes: ['miss', 'bypass', 'hit', 'bypass']
  }
]
