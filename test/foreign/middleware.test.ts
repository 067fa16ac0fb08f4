// The middlewares that are used most, through @fastify/middie and @fastify/express: hits are what misses are, byte for
// byte, and the middlewares see the same; what they add for one client is nobody else's.
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { loggingApp } from '../helpers/app.js'
import routeCache from '../../plugin/index.js'
import { bytesOf } from './connection.js'

type Next = (error?: unknown) => void
type Middleware = (request: IncomingMessage & Record<string, unknown>, response: ServerResponse, next: Next) => void
interface Using { use: ((path: string, middleware: Middleware) => unknown) & ((middleware: Middleware) => unknown) }
type Make = (log: unknown[]) => Middleware[]

const load = createRequire(import.meta.url)
const make = (name: string): ((...options: unknown[]) => Middleware) => load(name) as never
const onHeaders = load('on-headers') as (response: ServerResponse, listener: (this: ServerResponse) => void) => void

const SESSION = { secret: 'a secret of the test', resave: false }

/** Without its warning that it is in memory. */
function sessions (options: object): Middleware {
  const session = load('express-session') as ((options: object) => Middleware) & { Store: new () => object }
  class Kept extends session.Store {
    readonly #kept = new Map<string, unknown>()
    get (id: string, done: (error: null, session: unknown) => void): void { done(null, this.#kept.get(id) ?? null) }
    set (id: string, value: unknown, done: () => void): void {
      this.#kept.set(id, value)
      done()
    }

    destroy (id: string, done: () => void): void {
      this.#kept.delete(id)
      done()
    }
  }
  return session({ ...SESSION, store: new Kept(), ...options })
}

const MIDDLEWARES: Record<string, Make> = {
  morgan: (log) => [make('morgan')(':method :url :status :res[content-length] :res[content-type]', { stream: { write: (line: string) => { log.push(line) } } })],
  'morgan, at once': (log) => [make('morgan')(':method :url', { immediate: true, stream: { write: (line: string) => { log.push(line) } } })],
  'response-time': () => [make('response-time')({ digits: 0 })],
  compression: () => [make('compression')({ threshold: 0 })],
  'compression from 1 kB': () => [make('compression')()],
  'express-session': () => [sessions({ saveUninitialized: false })],
  helmet: () => [(load('helmet') as () => Middleware)()],
  'on-headers': (log) => [(_request, response, next) => {
    onHeaders(response, function () {
      log.push([this.statusCode, this.getHeader('content-type'), this.getHeader('content-length')])
      this.setHeader('x-own', 'yes')
      this.removeHeader('x-powered-by')
    })
    next()
  }],
  'on-headers, which changes the status': () => [(_request, response, next) => {
    onHeaders(response, function () { this.statusCode = 203 })
    next()
  }],
  'res.on(finish)': (log) => [(_request, response, next) => {
    response.on('finish', () => { log.push(['finish', response.statusCode, response.headersSent, response.writableEnded]) })
    response.on('close', () => { log.push('close') })
    next()
  }],
  'all but compression': (log) => ['morgan', 'response-time', 'express-session', 'helmet', 'on-headers'].flatMap((name) => MIDDLEWARES[name]!(log)),
  'all of them': (log) => [...MIDDLEWARES['all but compression']!(log), ...MIDDLEWARES['compression']!(log)]
}

/** Those that are tried. Through @fastify/express compression sends nothing, ours or not: it hears of no head. */
const TRIED: Record<Adapter, (name: string) => boolean> = {
  middie: () => true,
  express: (name) => !name.startsWith('compression') && name !== 'all of them',
  'middie in preHandler': (name) => name === 'all of them',
  'middie in onSend': (name) => name === 'all but compression'
}

const PATHS = ['/text', '/json', '/bytes', '/big', '/stream', '/empty', '/latin', '/gone']

function declare (app: FastifyInstance): void {
  const cache = { statuses: { 404: 60 } }
  app.get('/text', { cache }, async (_, reply) => reply.type('text/plain').header('x-powered-by', 'us').send('gr\u00f6\u00dfer'))
  app.get('/json', { cache }, async () => ({ name: 'Zo\u00eb' }))
  app.get('/bytes', { cache }, async (_, reply) => reply.send(Buffer.from([0, 128, 255])))
  app.get('/big', { cache }, async (_, reply) => reply.type('text/html').send('\u00e4'.repeat(20_000)))
  app.get('/stream', { cache }, async (_, reply) => reply.type('text/plain').header('content-length', '6').send(Readable.from(['abc', 'def'])))
  app.get('/empty', { cache }, async (_, reply) => reply.send())
  app.get('/latin', { cache }, async (_, reply) => reply.header('x-name', 'caf\u00e9').send('caf\u00e9'))
  app.get('/gone', { cache }, async (_, reply) => reply.code(404).send({ error: 'none' }))
}

const ADAPTERS = ['middie', 'express', 'middie in preHandler', 'middie in onSend'] as const
type Adapter = typeof ADAPTERS[number]

interface Parts { adapter?: Adapter, order: 'alone' | 'ours first' | 'theirs first', middlewares: Middleware[] }

async function open (t: Test, { adapter = 'middie', order, middlewares }: Parts, routes: (app: FastifyInstance) => void = declare): Promise<FastifyInstance> {
  const { app } = loggingApp(t)
  const ours = async (): Promise<void> => { await app.register(routeCache, { deadline: 30 }) }
  if (order === 'ours first') await ours()
  const [name, hook] = adapter.split(' in ')
  await app.register(load(`@fastify/${name}`) as FastifyPluginAsync<Record<string, unknown>>, { ...hook !== undefined && { hook } })
  for (const middleware of middlewares) (app as unknown as Using).use(middleware)
  if (order === 'theirs first') await ours()
  routes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

/** Without the fields that ours adds, and times; of a stream the length is not known, of its entry it is. */
function without (answer: string): string {
  const [head = '', ...rest] = answer.split('\r\n\r\n')
  const fields = head.split('\r\n').filter((line) => !/^(?:date|age|etag|cache-status|x-response-time):/i.test(line))
  return [fields.map((line) => line.replace(/^[^:]*:/, (name) => name.toLowerCase())).sort().join('\n'), ...rest].join('\n\n')
}

/** The fields that the middlewares add, and how often each is there. */
function named (answer: string): string[] {
  return [...answer.toLowerCase().matchAll(/^(?:x-response-time|x-own|content-security-policy):/gm)].map(([name]) => name).sort()
}

for (const adapter of ADAPTERS) {
  t.test(`through ${adapter}`, async (t) => {
    for (const [name, middlewares] of Object.entries(MIDDLEWARES).filter(([name]) => TRIED[adapter](name))) {
      for (const order of ['theirs first', 'ours first'] as const) {
        const logs: [unknown[], unknown[]] = [[], []]
        const alone = await open(t, { adapter, order: 'alone', middlewares: middlewares(logs[0]) })
        const app = await open(t, { adapter, order, middlewares: middlewares(logs[1]) })
        for (const path of PATHS) {
          for (const fields of [[], ['Accept-Encoding: gzip']]) {
            const expected = await bytesOf(alone, path, { fields })
            const seen = logs[0].splice(0)
            for (const did of [/fwd=miss|; hit/, /; hit/, /; hit/]) {
              const answer = await bytesOf(app, path, { fields })
              await app.cache.settled()
              const what = `${name}, ${order}, ${path}, ${fields[0] ?? 'plain'}`
              t.match(answer, did, what)
              t.equal(without(answer), without(expected), what)
              t.strictSame(named(answer), named(expected), what)
              t.strictSame(logs[1].splice(0), seen, `${what}: sees the same`)
            }
          }
        }
        await Promise.all([alone.close(), app.close()])
      }
    }
  })
}

/** What a middleware may say of the response when its head is written. */
const LATE: Record<string, { middleware: Middleware, refusal: string | null }> = {
  'a cookie, by on-headers': {
    middleware: (_request, response, next) => {
      onHeaders(response, function () { this.setHeader('set-cookie', 'user=1') })
      next()
    },
    refusal: 'set-cookie'
  },
  'a cookie, in the arguments of writeHead': {
    middleware: (_request, response, next) => {
      const { writeHead } = response
      const add = (status: number, fields: object): unknown =>
        Reflect.apply(writeHead, response, [status, { ...fields, 'Set-Cookie': ['a=1', 'b=2'] }])
      Object.assign(response, { writeHead: add })
      next()
    },
    refusal: 'set-cookie'
  },
  'a cookie, in end': {
    middleware: (_request, response, next) => {
      const { writeHead, end } = response
      let head: unknown[] = []
      response.writeHead = (...args: unknown[]) => {
        head = args
        return response
      }
      response.end = (...args: unknown[]) => {
        response.appendHeader('set-cookie', 'user=1')
        Reflect.apply(writeHead, response, head)
        return Reflect.apply(end, response, args)
      }
      next()
    },
    refusal: 'set-cookie'
  },
  'a cookie more': {
    middleware: (_request, response, next) => {
      response.setHeader('set-cookie', 'first=1')
      onHeaders(response, function () { this.appendHeader('set-cookie', 'second=1') })
      next()
    },
    refusal: 'set-cookie'
  },
  "a session of everybody's": { middleware: sessions({ saveUninitialized: true }), refusal: 'set-cookie' },
  private: {
    middleware: (_request, response, next) => {
      onHeaders(response, function () { this.setHeader('cache-control', 'private') })
      next()
    },
    refusal: 'private'
  },
  'Vary: *': {
    middleware: (_request, response, next) => {
      onHeaders(response, function () { this.setHeader('vary', '*') })
      next()
    },
    refusal: 'vary'
  },
  'a cookie that was there before the lookup, and is each request\'s own': {
    middleware: (_request, response, next) => {
      response.setHeader('set-cookie', 'own=1')
      onHeaders(response, function () { this.setHeader('x-own', '1') })
      next()
    },
    refusal: null
  },
  public: {
    middleware: (_request, response, next) => {
      onHeaders(response, function () { this.setHeader('cache-control', 'public, max-age=5') })
      next()
    },
    refusal: null
  }
}

t.test('what is said of a response when its head is written counts', async (t) => {
  for (const adapter of ['middie', 'express'] as const) {
    for (const order of ['theirs first', 'ours first'] as const) {
      for (const [name, { middleware, refusal }] of Object.entries(LATE)) {
        const app = await open(t, { adapter, order, middlewares: [middleware] })
        for (const path of ['/text', '/bytes', '/stream']) {
          for (const did of ['fwd=miss', refusal === null ? '; hit' : 'fwd=miss']) {
            t.match(await bytesOf(app, path), did, `${name}, ${adapter}, ${order}, ${path}`)
            await app.cache.settled()
          }
        }
        const { refusals, stores } = app.cache.stats().total
        t.strictSame([refusals, stores], refusal === null ? [{}, 3] : [{ [refusal]: 6 }, 0], `${name}, ${order}`)
        await app.close()
      }
    }
  }
})

t.test('a target that middleware has rewritten, and a body that it has read', async (t) => {
  const rewriting: Middleware = (request, _response, next) => {
    const [, language, path] = /^\/(de|en)(\/.*)$/.exec(request.url!) ?? []
    if (path !== undefined) Object.assign(request, { url: path, language })
    next()
  }
  const reading: Middleware = (request, _response, next) => {
    let body = ''
    request.setEncoding('utf8').on('data', (part: string) => { body += part }).on('end', () => {
      Object.assign(request, { body })
      next()
    })
  }
  const routes = (app: FastifyInstance): void => {
    app.get('/:language/page', { cache: { tags: ['page'] } }, async ({ url, originalUrl, raw, query }) =>
      [url, originalUrl, (raw as { body?: string }).body, query])
    app.post('/page', { cache: { invalidates: [{ tags: ['page'] }] } as object }, async ({ raw }) => (raw as { body?: string }).body)
  }
  for (const adapter of ['middie', 'express'] as const) {
    const alone = await open(t, { adapter, order: 'alone', middlewares: [rewriting, reading] }, routes)
    const app = await open(t, { adapter, order: 'ours first', middlewares: [rewriting, reading] }, routes)
    for (const path of ['/de/page', '/en/page', '/de/page?a=1', '/de/page?a=2']) {
      const expected = without(await bytesOf(alone, path))
      for (const did of ['fwd=miss', '; hit']) {
        const answer = await bytesOf(app, path)
        await app.cache.settled()
        t.match(answer, did, `${adapter} ${path}`)
        t.equal(without(answer), expected, `${adapter} ${path}`)
      }
    }
  }
})
