// Handlers that answer past Fastify, with reply.hijack() or on reply.raw: that is not stored, in part or whole, and nobody
// waits for it longer than it takes to notice.
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { createRequire } from 'node:module'
import { get } from 'node:http'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import routeCache, { type RouteCacheOptions } from '../../plugin/index.js'
import { gate, loggingApp, onEachStore } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until as untilAsked } from '../helpers/until.js'
import { bytesOf } from './connection.js'

const sse = createRequire(import.meta.url)('@fastify/sse') as FastifyPluginAsync<Record<string, unknown>>

const until = async (holds: () => boolean): Promise<void> => { await untilAsked(async () => holds(), String(holds)) }

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

const later = async (): Promise<void> => { await new Promise((resolve) => { setTimeout(resolve, 30) }) }
const never = async (): Promise<never> => await new Promise(() => {})

/** Each has begun an answer, and does not end it. */
const OPEN: Record<string, Handler> = {
  'hijack, then a head': (_, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  },
  'hijack, and nothing yet': (_, reply) => { reply.hijack() },
  'hijack behind an await': async (_, reply) => {
    await later()
    reply.hijack()
    await never()
  },
  'hijack by a timer': (_, reply) => { setTimeout(() => { reply.hijack() }, 200) },
  'hijack, then bytes on the socket': async (request, reply) => {
    reply.hijack()
    request.raw.socket.write('HTTP/1.1 200 OK\r\n\r\nfirst')
  },
  'a head': async (_, reply) => {
    reply.raw.writeHead(200)
    await never()
  },
  'a head behind an await': async (_, reply) => {
    await later()
    reply.raw.writeHead(200).write('x')
    await never()
  },
  'bytes, which have a head made': async (_, reply) => {
    reply.raw.write('x')
    await never()
  },
  'bytes, with a callback': (_, reply) => { reply.raw.write('x', 'utf8', () => {}) },
  flushHeaders: async (_, reply) => {
    reply.raw.setHeader('x-own', '1')
    reply.raw.flushHeaders()
    await never()
  },
  'a source piped into it': (_, reply) => {
    new Readable({ read () { if (this.readableLength === 0) setImmediate(() => { this.push('x') }) } }).pipe(reply.raw)
  }
}

const WAIT = { waitTimeout: '5m' as const }

/** A client that reads, and leaves with the test. */
function visit (t: Test, app: FastifyInstance, headers = {}): void {
  const request = get(`${app.listeningOrigin}/`, { headers, agent: false }, (response) => { response.on('error', () => {}).resume() })
  request.on('error', () => {})
  t.teardown(() => { request.destroy() })
}

type Setup = (app: FastifyInstance) => void

async function listening (t: Test, open: () => Promise<FastifyInstance>, setup: Setup): Promise<FastifyInstance> {
  const app = await open()
  setup(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  // Before the app waits for its connections.
  t.teardown(() => { app.server.closeAllConnections() })
  return app
}

for (const [place, hooks] of [['in onRequest', {}], ['in front of the handler', { preHandler: async () => {} }]] as const) {
  t.test(`others don't wait for an answer past Fastify, the lookup ${place}`, async (t) => {
    await onEachStore(t, async (t, open) => {
      for (const [name, handler] of Object.entries(OPEN)) {
        await t.test(name, async (t) => {
          let runs = 0
          const make = async (): Promise<FastifyInstance> => await open({ ...WAIT, prefix: name.replaceAll(/\W/g, '') })
          const app = await listening(t, make, (app) => {
            app.get('/', { cache: { key: 'k', shared: true }, ...hooks }, function (request, reply) {
              runs++
              return handler(request, reply)
            })
          })
          for (let i = 0; i < 3; i++) visit(t, app)
          await until(() => runs === 3)
          t.equal(app.cache.stats().waiting, 0)
          await until(() => app.cache.stats().flights === 0)
          const { hits, stores, refusals } = app.cache.stats().total
          t.strictSame({ hits, stores, reasons: Object.keys(refusals) }, { hits: 0, stores: 0, reasons: ['raw'] })
        })
      }
    })
  })
}

t.test('nor do those of another process', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  let runs = 0
  const make = (options: RouteCacheOptions) => async (): Promise<FastifyInstance> => {
    const { app } = loggingApp(t)
    await app.register(routeCache, { deadline: 30, ...WAIT, ...options })
    return app
  }
  const setup = (app: FastifyInstance): void => {
    app.get('/', { cache: { key: 'k' } }, (_, reply) => {
      runs++
      setTimeout(() => { reply.hijack() }, 100)
    })
  }
  const apps = await Promise.all([1, 2].map(async () => await listening(t, make({ redis: server.client() }), setup)))
  for (const app of apps) visit(t, app)
  await until(() => runs === 2)
  t.pass('both handlers run')
})

interface Talking { sse?: { send: (message: object) => Promise<void>, keepAlive: () => void } }

t.test('@fastify/sse beside pages on one path', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await listening(t, async () => {
      const app = await open({ ...WAIT })
      await app.register(sse)
      return app
    }, (app) => {
      let streams = 0
      let pages = 0
      app.decorate('counts', () => [streams, pages])
      const handler = async (_: FastifyRequest, reply: Talking): Promise<unknown> => {
        if (reply.sse === undefined) return `page ${++pages}`
        streams++
        reply.sse.keepAlive()
        await reply.sse.send({ data: 'x' })
        return await never()
      }
      app.get('/', { cache: { key: 'k', vary: ['accept'] }, sse: 'dual' } as object, handler as Handler)
    })
    const counts = (app as unknown as { counts: () => number[] }).counts
    for (let i = 0; i < 3; i++) visit(t, app, { accept: 'text/event-stream' })
    await until(() => counts()[0] === 3)
    const url = `${app.listeningOrigin}/`
    t.equal(await (await fetch(url)).text(), 'page 1')
    await until(() => app.cache.stats().total.stores === 1)
    t.equal(await (await fetch(url)).text(), 'page 1')
    t.strictSame(counts(), [3, 1])
  })
})

t.test('where the answer comes through Fastify in the end, others get it', async (t) => {
  await onEachStore(t, async (t, open) => {
    const { wait, reached, open: letGo } = gate()
    let runs = 0
    const app = await listening(t, async () => await open({ ...WAIT }), (app) => {
      app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
        runs++
        reply.raw.setHeader('x-own', '1')
        reply.raw.writeEarlyHints({ link: '</a>; rel=preload' })
        await wait()
        return 'x'
      })
    })
    const answers = [fetch(`${app.listeningOrigin}/`), fetch(`${app.listeningOrigin}/`)]
    await reached
    await until(() => app.cache.stats().waiting === 1)
    // Longer than it takes to notice what is past Fastify.
    await later()
    t.equal(runs, 1)
    letGo()
    for (const answer of answers) t.match([(await answer).headers.get('x-own'), await (await answer).text()], ['1', 'x'])
    t.equal(runs, 1)
  })
})

const stream = (): Readable => Readable.from(['from the ', 'stream'])

/** A head, or bytes, and then an answer through Fastify, which sends it with a warning. */
const BEFORE_SEND: Record<string, Handler> = {
  'a private head': (_, reply) => {
    reply.raw.writeHead(200, { 'cache-control': 'private', 'x-own': '1' })
    return reply.send(stream())
  },
  'a head with a cookie': async (_, reply) => {
    reply.raw.writeHead(200, { 'set-cookie': 'user=1' })
    return await reply.send(stream())
  },
  'another status': (_, reply) => {
    reply.raw.writeHead(203)
    return reply.send(stream())
  },
  bytes: (_, reply) => {
    reply.raw.write('before ')
    return reply.send(stream())
  },
  'a head behind an await': async (_, reply) => {
    reply.raw.writeHead(200, { 'x-own': '1' })
    await later()
    return await reply.send(stream())
  },
  flushHeaders: (_, reply) => {
    reply.header('x-lost', '1').raw.setHeader('x-own', '1')
    reply.raw.flushHeaders()
    return reply.send(stream())
  },
  'a head, then a stream of the web': (_, reply) => {
    reply.raw.writeHead(200, { 'x-own': '1' })
    return reply.send(new Response('web').body)
  }
}

/** Who writes a head in a hook, the handler not knowing of it. */
const IN_HOOKS: Record<string, (app: FastifyInstance) => void> = {
  'a head in onRequest': (app) => { app.addHook('onRequest', async (_, reply) => { reply.raw.writeHead(200, { 'x-own': '1' }) }) },
  'a head in preHandler': (app) => { app.addHook('preHandler', async (_, reply) => { reply.raw.writeHead(200, { 'x-own': '1' }) }) },
  'a head in onSend': (app) => {
    app.addHook('onSend', async (_, reply, payload) => {
      reply.raw.writeHead(200, { 'x-own': '1' })
      return payload
    })
  }
}

/** What has not begun an answer. */
const NO_ANSWER: Record<string, Handler> = {
  'fields on the raw response': (_, reply) => {
    reply.raw.setHeader('x-own', '1')
    reply.raw.setHeader('x-gone', '1')
    reply.raw.removeHeader('x-gone')
    return reply.send('x')
  },
  'several values, appended': (_, reply) => {
    reply.raw.appendHeader('x-own', '1')
    reply.raw.appendHeader('x-own', '2')
    return reply.send('x')
  },
  'its status': (_, reply) => {
    reply.raw.statusCode = 203
    return reply.send('x')
  }
}

interface Case { hooks?: Setup, outcomes: RegExp[] }

async function sameAsAlone (t: Test, handler: Handler, { hooks = () => {}, outcomes }: Case): Promise<FastifyInstance> {
  const setup = (app: FastifyInstance): void => {
    hooks(app)
    app.get('/', { cache: { key: 'k', shared: true, statuses: { 203: 60 } } }, handler)
  }
  const alone = await listening(t, async () => loggingApp(t).app, setup)
  const app = await listening(t, async () => {
    const { app } = loggingApp(t)
    await app.register(routeCache, { deadline: 30 })
    return app
  }, setup)
  const expected = without(await bytesOf(alone, '/'))
  for (const outcome of outcomes) {
    const answer = await bytesOf(app, '/')
    await app.cache.settled()
    // The head that was sent raw has no place for it.
    if (/cache-status/.test(answer)) t.match(answer, outcome)
    t.equal(without(answer), expected)
  }
  return app
}

function without (answer: string): string {
  const [head = '', ...rest] = answer.split('\r\n\r\n')
  const fields = head.split('\r\n').filter((line) => !/^(?:date|age|etag|cache-status):/i.test(line))
  // Of an entry the length is known.
  return [fields.sort().join('\n'), ...rest].join('\n\n')
}

t.test('a head or bytes that are sent before the answer: it is not stored', async (t) => {
  for (const [name, handler] of Object.entries(BEFORE_SEND)) {
    await t.test(name, async (t) => {
      const app = await sameAsAlone(t, handler, { outcomes: [/fwd=miss/, /fwd=miss/, /fwd=miss/] })
      t.match(app.cache.stats().total, { hits: 0, stores: 0 })
      t.strictSame(app.cache.stats().total.refusals, { raw: app.cache.stats().total.misses })
    })
  }
  for (const [name, hooks] of Object.entries(IN_HOOKS)) {
    await t.test(name, async (t) => {
      const outcomes = [/fwd=(?:miss|bypass)/, /fwd=(?:miss|bypass)/]
      const app = await sameAsAlone(t, (_, reply) => reply.send(stream()), { hooks, outcomes })
      t.match(app.cache.stats().total, { hits: 0, stores: 0 })
    })
  }
})

t.test('what begins no answer is stored as ever', async (t) => {
  for (const [name, handler] of Object.entries(NO_ANSWER)) {
    await t.test(name, async (t) => { await sameAsAlone(t, handler, { outcomes: [/fwd=miss/, /; hit/, /; hit/] }) })
  }
})
