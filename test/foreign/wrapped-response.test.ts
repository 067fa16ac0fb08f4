// Middleware that replaces methods of Node's response, in every way that it may be done: hits are what misses are, over a
// socket, and nothing is left hanging.
import type { FastifyInstance, FastifyReply } from 'fastify'
import { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import routeCache from '../../plugin/index.js'
import { call2 } from '../helpers/client.js'
import { loggingApp, settled, type CachedApp } from '../helpers/app.js'
import { answerOf, bytesOf, type Answer } from './connection.js'

type Raw = ServerResponse & Record<string, (...args: unknown[]) => unknown>
type Wrap = (raw: Raw, log: unknown[]) => void

/** A method's replacement as most are written: it knows what Fastify calls it with. */
function replace (name: string, own: (raw: Raw, args: unknown[], log: unknown[]) => unknown[] | undefined): Wrap {
  return (raw, log) => {
    const method = raw[name]!
    Object.assign(raw, {
      [name]: function (this: unknown, ...args: unknown[]) {
        const changed = own(raw, args, log)
        return changed === undefined ? undefined : method.apply(raw, changed)
      }
    })
  }
}

const WRAPS: Record<string, Wrap> = {
  'writeHead with an object': replace('writeHead', (raw, [status, fields]) => {
    for (const [name, value] of Object.entries(fields as object)) raw.setHeader(name, value as string)
    raw.setHeader('x-wrapped', 'yes')
    return [status]
  }),
  'writeHead that adds to its arguments': replace('writeHead', (_raw, [status, fields]) => [status, { ...fields as object, 'x-wrapped': 'yes' }]),
  'writeHead that looks at names': replace('writeHead', (_raw, [status, fields], log) => {
    log.push(Object.keys(fields as object).includes('content-type'))
    return [status, fields]
  }),
  'end that reads a text': replace('end', (_raw, [chunk, ...rest], log) => {
    log.push(Buffer.byteLength(chunk as string | null ?? ''))
    return [chunk, ...rest]
  }),
  'end that goes by its type': replace('end', (_raw, [chunk, ...rest], log) => {
    log.push([typeof chunk, chunk])
    return [chunk, ...rest]
  }),
  'end that replaces a text': replace('end', (raw, [chunk, ...rest]) => {
    if (typeof chunk !== 'string') return [chunk, ...rest]
    if (!raw.headersSent) raw.removeHeader('content-length')
    return [chunk.toUpperCase(), ...rest]
  }),
  'end that waits': (raw) => {
    const { end } = raw
    Object.assign(raw, { end: (...args: unknown[]) => { setImmediate(() => { Reflect.apply(end, raw, args) }) } })
  },
  'write and end, collected': (raw, log) => {
    const { write, end } = raw
    const parts: Buffer[] = []
    const add = (part: unknown, encoding: unknown): void => {
      if (part != null && typeof part !== 'function') parts.push(Buffer.from(part as string, typeof encoding === 'string' ? encoding as 'utf8' : 'utf8'))
    }
    Object.assign(raw, {
      write: (part: unknown, encoding: unknown, done: unknown) => {
        add(part, encoding)
        return write.call(raw, part as string, encoding as 'utf8', done as () => void)
      },
      end: (part: unknown, encoding: unknown, done: unknown) => {
        add(part, encoding)
        log.push(Buffer.concat(parts).toString())
        return end.call(raw, part, encoding as 'utf8', done as () => void)
      }
    })
  },
  setHeader: replace('setHeader', (_raw, [name, value], log) => {
    log.push(name)
    return [name, value]
  }),
  getHeaders: (raw) => {
    const { getHeaders } = raw
    Object.assign(raw, { getHeaders: () => ({ ...getHeaders.call(raw), 'x-seen': 'yes' }) })
  },
  getHeader: replace('getHeader', (_raw, args) => args),
  removeHeader: replace('removeHeader', (_raw, args) => args),
  flushHeaders: replace('flushHeaders', (_raw, args) => args),
  writeEarlyHints: replace('writeEarlyHints', (_raw, args) => args),
  addTrailers: replace('addTrailers', (_raw, args) => args),
  assignSocket: replace('assignSocket', (_raw, args) => args),
  _storeHeader: replace('_storeHeader', (_raw, [line, fields], log) => {
    log.push(Array.isArray(fields))
    return [line, fields]
  }),
  _send: replace('_send', (_raw, args, log) => {
    log.push(args.length)
    return args
  }),
  'a class of its own in between': (raw) => {
    const between = Object.create(ServerResponse.prototype) as Raw
    Object.setPrototypeOf(raw, between)
    Object.assign(between, {
      writeHead: function (this: Raw, status: number, fields: object) {
        for (const [name, value] of Object.entries(fields)) this.setHeader(name, value as string)
        return ServerResponse.prototype.writeHead.call(this, status)
      }
    })
  },
  'an accessor that gives the method': (raw) => {
    const { writeHead } = raw
    const own = function (status: unknown, fields: unknown): unknown {
      for (const [name, value] of Object.entries(fields as object)) raw.setHeader(name, value as string)
      return writeHead.call(raw, status as number)
    }
    Object.defineProperty(raw, 'writeHead', { get: () => own, configurable: true })
  }
}

const ROUTES = ['/text', '/json', '/bytes', '/big', '/empty', '/latin', '/gone', '/moved']

type How = (app: FastifyInstance, wrap: Wrap, log: unknown[]) => void

/** From where the methods are replaced. */
const HOWS: Record<string, How> = {
  'in onRequest': (app, wrap, log) => { app.addHook('onRequest', async (_request, reply) => { wrap(reply.raw as Raw, log) }) },
  'in preHandler': (app, wrap, log) => { app.addHook('preHandler', async (_request, reply) => { wrap(reply.raw as Raw, log) }) },
  'in onSend': (app, wrap, log) => {
    app.addHook('onSend', async (_request, reply, payload) => {
      wrap(reply.raw as Raw, log)
      return payload
    })
  },
  'by the server': (app, wrap, log) => { app.server.prependListener('request', (_request, raw) => { wrap(raw as Raw, log) }) }
}

function declare (app: FastifyInstance): void {
  const cache = { statuses: { 404: 60, 301: 60 } }
  app.get('/text', { cache }, async (_, reply) => reply.type('text/plain').send('gr\u00f6\u00dfer'))
  app.get('/json', { cache }, async () => ({ name: 'Zo\u00eb' }))
  app.get('/bytes', { cache }, async (_, reply) => reply.type('application/octet-stream').send(Buffer.from([0, 128, 255])))
  app.get('/big', { cache }, async (_, reply) => reply.type('text/plain').header('link', ['</a>', '</b>']).send('\u00e4'.repeat(20_000)))
  app.get('/empty', { cache }, async (_, reply) => reply.send())
  app.get('/latin', { cache }, async (_, reply) => reply.header('x-name', 'caf\u00e9').send('caf\u00e9'))
  app.get('/gone', { cache }, async (_, reply) => reply.code(404).send({ error: 'none' }))
  app.get('/moved', { cache }, async (_, reply) => reply.redirect('/text', 301))
}

type Setup = (app: FastifyInstance) => void

async function open (
  t: Test, isOurs: boolean, { setup, options }: { setup: Setup, options: object }
): Promise<FastifyInstance> {
  const { app, lines } = loggingApp(t, options)
  if (isOurs) await app.register(routeCache, { deadline: 30, writeDeadline: 30 })
  setup(Object.assign(app, { lines }))
  declare(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

function outcome ({ fields }: Answer): string {
  return /; (fwd=\w+|hit)/.exec(fields.find((field) => field.startsWith('cache-status')) ?? '')?.[1] ?? 'none'
}

/** Without the fields that ours adds. */
function othersOf ({ status, fields, body }: Answer): unknown {
  return { status, fields: fields.filter((field) => !/^(?:cache-status|age|date|etag):/.test(field)), body }
}

for (const [how, setup] of Object.entries(HOWS)) {
  t.test(`methods replaced ${how}`, async (t) => {
    for (const [name, wrap] of Object.entries(WRAPS)) {
      await compare(t, name, (log) => (app) => { setup(app, wrap, log) })
    }
  })
}

/** All routes, beside those of an app without ours. `setup` is given what the middleware logs. */
async function compare (t: Test, name: string, setup: (log: unknown[]) => Setup, options: object = {}): Promise<void> {
  const logs: [unknown[], unknown[]] = [[], []]
  const alone = await open(t, false, { setup: setup(logs[0]), options })
  const app = await open(t, true, { setup: setup(logs[1]), options })
  // What is of the class logs for both.
  const asked = async (of: FastifyInstance, path: string, log: unknown[]): Promise<{ answer: Answer, seen: unknown[] }> => {
    for (const one of logs) one.length = 0
    return { answer: await answerOf(of, path), seen: log.splice(0) }
  }
  for (const path of ROUTES) {
    const expected = await asked(alone, path, logs[0])
    for (const did of ['fwd=miss', 'hit', 'hit']) {
      const { answer, seen } = await asked(app, path, logs[1])
      await settled(app)
      t.strictSame([outcome(answer), othersOf(answer)], [did, othersOf(expected.answer)], `${name}: ${did} of ${path}`)
      t.strictSame(seen, expected.seen, `${name}: sees the same, ${did} of ${path}`)
    }
  }
  await Promise.all([alone.close(), app.close()])
}

t.test('methods of the class replaced when the process runs already', async (t) => {
  const { writeHead, end } = ServerResponse.prototype
  t.teardown(() => { Object.assign(ServerResponse.prototype, { writeHead, end }) })
  const logs: unknown[][] = []
  Object.assign(ServerResponse.prototype, {
    writeHead: function (this: ServerResponse, status: number, fields: object) {
      for (const [name, value] of Object.entries(fields)) this.setHeader(name, value as string)
      return writeHead.call(this, status)
    },
    end: function (this: ServerResponse, ...args: unknown[]) {
      for (const log of logs) log.push(args)
      return Reflect.apply(end, this, args)
    }
  })
  await compare(t, 'writeHead and end', (log) => () => { logs.push(log) })
})

t.test('a response behind a proxy', async (t) => {
  const proxied = (log: unknown[]): Setup => (app) => {
    app.addHook('onRequest', async (_request, reply) => {
      const { raw } = reply
      reply.raw = new Proxy(raw, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name, target)
          if (typeof value !== 'function') return value
          return (...args: unknown[]): unknown => {
            if (name === 'end') log.push(args[0])
            return Reflect.apply(value, target, args)
          }
        },
        set: (target, name, value) => Reflect.set(target, name, value, target)
      })
    })
  }
  await compare(t, 'proxy', proxied)
})

t.test("a response of the app's own class", async (t) => {
  const logs: unknown[][] = []
  class Logged extends ServerResponse {
    override end (...args: unknown[]): this {
      for (const log of logs) log.push(args)
      return Reflect.apply(super.end, this, args)
    }
  }
  await compare(t, 'class', (log) => () => { logs.push(log) }, { http: { ServerResponse: Logged } })
})

/** What HTTP/2's response has of the same. */
const WRAPS_OF_2 = ['writeHead with an object', 'end that goes by its type', 'end that replaces a text', 'write and end, collected', 'setHeader', 'getHeader']

t.test('methods replaced on a response of HTTP/2', async (t) => {
  for (const name of WRAPS_OF_2) {
    const logs: [unknown[], unknown[]] = [[], []]
    const setup = (log: unknown[]): Setup => (app) => { HOWS['in onRequest']!(app, WRAPS[name]!, log) }
    const alone = await open(t, false, { setup: setup(logs[0]), options: { http2: true } })
    const app = await open(t, true, { setup: setup(logs[1]), options: { http2: true } })
    for (const path of ROUTES) {
      const expected = await call2(alone, { path })
      const seen = logs[0].splice(0).length
      for (const did of ['fwd=miss', 'hit', 'hit']) {
        const { status, body, headers } = await call2(app, { path })
        await settled(app)
        t.match(headers, { 'cache-status': new RegExp(did), ...expected.headers['x-wrapped'] !== undefined && { 'x-wrapped': 'yes' } })
        t.strictSame({ status, body }, { status: expected.status, body: expected.body }, `${name}: ${did} of ${path}`)
        t.equal(headers['content-type'], expected.headers['content-type'])
        if (name.startsWith('end')) t.equal(logs[1].splice(0).length, seen)
      }
    }
  }
})

/** What a method does that fails once, on a hit. */
const FAILURES: Record<string, (reply: FastifyReply) => void> = {
  writeHead: ({ raw }) => { failOnce(raw, 'writeHead') },
  'writeHead behind Node\'s own': ({ raw }) => { failOnce(raw, 'writeHead', true) },
  end: ({ raw }) => { failOnce(raw, 'end') },
  'end of an answer that is bytes': ({ raw }) => { failOnce(raw, 'end') },
  header: (reply) => { failOnce(reply, 'header') }
}

function failOnce (on: object, name: string, isBehind = false): void {
  const method = Reflect.get(on, name) as (...args: unknown[]) => unknown
  let isFirst = true
  Object.assign(on, {
    [name]: (...args: unknown[]) => {
      if (!isFirst) return method.apply(on, args)
      isFirst = false
      if (isBehind) method.apply(on, args)
      throw new Error(`${name} failed`)
    }
  })
}

t.test('a hit whose sending fails has an end, and a log line', async (t) => {
  for (const [name, fail] of Object.entries(FAILURES)) {
    const setup: Setup = (app) => {
      app.addHook('onRequest', async (request, reply) => { if ('x-fail' in request.headers) fail(reply) })
    }
    const app = await open(t, true, { setup, options: {} }) as CachedApp
    const path = name.endsWith('bytes') ? '/bytes' : '/text'
    await answerOf(app, path)
    await settled(app)
    const bytes = await bytesOf(app, path, { fields: ['X-Fail: 1'] })
    // Where a head has been sent, no other can be.
    if (bytes !== '' && !bytes.startsWith('HTTP/1.1 200')) t.match(bytes, /^HTTP\/1\.1 500 [^]*failed/, `${name}: the error`)
    t.match(app.lines.filter(({ msg }) => msg === 'cache entry could not be sent').length, name === 'header' ? 1 : Number, name)
    t.equal(outcome(await answerOf(app, path)), 'hit', `${name}: the next one`)
  }
})
