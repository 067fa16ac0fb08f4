// A hit over a socket is the same whether the plugin is alone or not: the second app has an onSend hook that does nothing,
// and it is shown payloads such as the handler sent.
import type { FastifyInstance, FastifyReply } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import t from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { onEachStore, settled, type CachedApp } from '../helpers/app.js'

/** What came over a connection of its own, as it came. */
async function raw (app: FastifyInstance, path: string, { method = 'GET', fields = [] }: Asked = {}): Promise<string> {
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => { answer += chunk })
  socket.write([`${method} ${path} HTTP/1.1`, 'Host: h', 'Connection: close', ...fields, '', ''].join('\r\n'))
  await once(socket, 'close')
  return answer
}

interface Asked { method?: string, fields?: string[] }
interface Answer { status: string, fields: string[], body: string }

/** Fields in the order of their names. */
function parse (answer: string): Answer {
  const end = answer.indexOf('\r\n\r\n')
  const [status = '', ...fields] = answer.slice(0, end).split('\r\n')
  const named = fields.map((field) => field.replace(/^[^:]*/, (name) => name.toLowerCase()))
  return { status, fields: named.sort(), body: answer.slice(end + 4) }
}

const BIG = 'ä'.repeat(20_000)
const PAYLOADS: Record<string, (reply: FastifyReply) => unknown> = {
  json: () => ({ id: 1, name: 'Zoë' }),
  text: (reply) => reply.type('text/plain; charset=utf-8').send('größer'),
  bytes: (reply) => reply.type('application/octet-stream').send(Buffer.from([0, 128, 255, 10, 13])),
  untyped: (reply) => reply.send(Buffer.from([1, 2, 3])),
  big: (reply) => reply.type('text/plain; charset=utf-8').send(BIG),
  empty: (reply) => reply.send(),
  'no-text': (reply) => reply.type('text/plain').send(''),
  'not-found': (reply) => reply.code(404).send({ error: 'none' }),
  moved: (reply) => reply.code(301).header('location', '/json').send(),
  'no-content': (reply) => reply.code(204).send(),
  links: (reply) => reply.header('link', ['</a>; rel=a', '</b>; rel=b']).send('x'),
  latin: (reply) => reply.header('x-name', 'caf\u00e9').send('café'),
  dated: (reply) => reply.header('date', 'Sun, 22 Nov 2026 08:00:00 GMT').header('age', '5').send('x'),
  relayed: (reply) => reply.header('cache-status', 'origin; hit').send('x'),
  varying: (reply) => reply.header('vary', 'accept-language').send('x'),
  modified: (reply) => reply.header('last-modified', 'Sun, 22 Nov 2026 08:00:00 GMT').header('etag', '"one"').send('x')
}
let opened = 0

type Make = (options?: RouteCacheOptions) => Promise<CachedApp>

async function open (make: Make, options: RouteCacheOptions): Promise<CachedApp[]> {
  return await Promise.all(['alone', 'hooked'].map(async (way) => {
    const app = await make({ prefix: `${way}-${++opened}`, now: () => Date.UTC(2026, 10, 23), ...options })
    if (way === 'hooked') app.addHook('onSend', async (_request, _reply, payload) => payload)
    const cache = { key: '{name}', ttl: 60, statuses: { 404: 60, 301: 60, 204: 60 }, tags: ['all'] }
    app.get('/:name', { cache }, async (request, reply) => await PAYLOADS[(request.params as { name: string }).name]!(reply))
    await app.listen({ port: 0, host: '127.0.0.1' })
    for (const name of Object.keys(PAYLOADS)) await raw(app, `/${name}`)
    await settled(app)
    // By what it varies a route knows when it has read it.
    await raw(app, '/varying')
    return app
  }))
}

t.test('a hit is the same where the plugin is alone, and beside an onSend hook', async (t) => {
  await onEachStore(t, async (t, make) => {
    for (const options of [{}, { xCache: true, cacheStatus: { name: 'ours', key: true } }, { cacheStatus: false as const }]) {
      const [alone, hooked] = await open(make, options) as [CachedApp, CachedApp]
      for (const name of Object.keys(PAYLOADS)) {
        const asked: Asked[] = [
          {}, { method: 'HEAD' }, { fields: ['If-None-Match: *'] }, { fields: ['If-None-Match: "other"'] },
          { method: 'HEAD', fields: ['If-None-Match: W/"one"'] }, { fields: ['If-Modified-Since: Sun, 22 Nov 2026 09:00:00 GMT'] }
        ]
        for (const one of asked) {
          const answer = parse(await raw(alone, `/${name}`, one))
          const other = parse(await raw(hooked, `/${name}`, one))
          t.strictSame(answer, other, `${name}, ${JSON.stringify(one)}`)
        }
      }
      const hits = 6 * Object.keys(PAYLOADS).length + 1
      for (const app of [alone, hooked]) t.match(app.cache.stats().total, { hits, errors: 0 })
    }
  })
})

t.test('what others put on the reply is sent with a hit, and they see the hit', async (t) => {
  await onEachStore(t, async (t, make) => {
    const outcomes: unknown[] = []
    const cases: Record<string, (app: CachedApp) => void> = {
      header: (app) => { app.addHook('onRequest', async (_request, reply) => { reply.header('x-mine', 'yes') }) },
      'raw header': (app) => { app.addHook('onRequest', async (_request, reply) => { reply.raw.setHeader('x-mine', 'yes') }) },
      trailer: (app) => {
        app.addHook('onRequest', async (_request, reply) => { reply.trailer('x-mine', async () => 'yes') })
      },
      response: (app) => {
        app.addHook('onResponse', async (request, reply) => {
          outcomes.push([request.cacheOutcome?.type, reply.getHeader('x-own')])
        })
      }
    }
    for (const [name, hook] of Object.entries(cases)) {
      const app = await make({ prefix: name.replace(' ', '-') })
      hook(app)
      app.get('/', { cache: { key: 'x' } }, async (_request, reply) => reply.header('x-own', 'own').send('x'))
      await app.listen({ port: 0, host: '127.0.0.1' })
      await raw(app, '/')
      await settled(app)
      const answer = await raw(app, '/')
      t.match(answer, /cache-status: fastify-route-cache; hit/)
      if (name !== 'response') t.match(answer, /x-mine: yes/, name)
    }
    t.strictSame(outcomes, [['miss', 'own'], ['hit', 'own']])
  })
})

t.test('what became of a hit is known behind it, and its connection is kept', async (t) => {
  await onEachStore(t, async (t, make) => {
    const app = await make()
    const seen: unknown[] = []
    app.get('/', { cache: { key: 'x' } }, async () => 'x')
    app.addHook('onRequest', async (request, reply) => {
      reply.raw.once('finish', () => { seen.push(request.cacheOutcome?.type, reply.sent) })
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/`
    await (await fetch(url)).text()
    await settled(app)
    for (let i = 0; i < 3; i++) t.equal(await (await fetch(url)).text(), 'x')
    t.strictSame(seen, ['miss', true, 'hit', true, 'hit', true, 'hit', true])
  })
})

t.test('what is said of an entry is of the instant, also where many ask for it', async (t) => {
  await onEachStore(t, async (t, make) => {
    const stored = Date.UTC(2026, 10, 23)
    let now = stored
    const app = await make({ now: () => now })
    const cache = { key: 'x', ttl: '60500ms', compress: true }
    app.get('/', { cache }, async (_request, reply) => reply.type('text/plain').send('long enough '.repeat(200)))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const bodies = [parse(await raw(app, '/')).body.length]
    await settled(app)
    for (const after of [0, 1, 499, 500, 501, 999, 1_000, 1_499, 1_500, 30_000, 30_000, 29_000]) {
      now = stored + after
      const age = Math.floor(after / 1000)
      const ttl = Math.ceil((60_500 - after) / 1000)
      const asked = ['', '', 'Accept-Encoding: gzip', 'Accept-Encoding: br', 'If-None-Match: *', '']
      const answers = await Promise.all(asked.map(async (field) => parse(await raw(app, '/', { fields: field === '' ? [] : [field] }))))
      const said = answers.map(({ status, fields }) => [
        status.split(' ')[1], ...fields.filter((field) => /^(age|cache-status|content-encoding):/.test(field))
      ])
      const [own, status] = [`age: ${age}`, `cache-status: fastify-route-cache; hit; ttl=${ttl}`]
      t.strictSame(said, asked.map((field) => {
        const coding = /: (gzip|br)$/.exec(field)?.[1]
        return [field.startsWith('If') ? '304' : '200', own, status, ...coding === undefined ? [] : [`content-encoding: ${coding}`]]
      }), `after ${after} ms`)
      for (const { fields, body, status } of answers) {
        t.equal(fields.find((field) => field.startsWith('content-length:')), status.includes('304') ? undefined : `content-length: ${body.length}`)
      }
      bodies.push(answers[0]!.body.length, answers.at(-1)!.body.length)
    }
    t.equal(new Set(bodies).size, 1)
  })
})
