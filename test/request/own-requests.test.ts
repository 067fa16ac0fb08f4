// Requests that the cache makes itself: a value stands for what a route's handler would have answered, and is stored as that
// route would have sent it.
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import t from 'tap'
import type { ResponseCache } from '../../plugin/cache/cache.js'
import type { Right } from '../../plugin/cache/claim.js'
import routeCache from '../../plugin/index.js'
import { TICKET_HEADER, type OwnRequests, type Rendered } from '../../plugin/request/own-request.js'
import { REGISTERED } from '../../plugin/fastify/plugin.js'
import { Stats, type Counters } from '../../plugin/telling/stats.js'
import { gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

const SOURCE = { instance: { cache: {}, prefix: '' }, route: 'set' }
const HIT = /^fastify-route-cache; hit; ttl=/
const MISS = 'fastify-route-cache; fwd=miss'

interface Inside { cache: ResponseCache, own: OwnRequests }

function inside (app: FastifyInstance): Inside & { counters: Counters } {
  return { ...(app as unknown as Record<symbol, Inside>)[REGISTERED]!, counters: new Stats('memory', 0).route('set') }
}

/** The right to fill the key, whatever is there. */
async function rightTo (app: FastifyInstance, key: string): Promise<Right> {
  const { cache, counters } = inside(app)
  const selection = { needs: [], hint: { members: [] }, fingerprint: () => '', tags: [], maxVariants: 1 }
  const may = { mayBeStale: false, mayRescue: false, mayBeEarly: false }
  const question = { key, selection, toFill: true, toRefresh: true, ...may, waitTimeout: 0 }
  const found = await cache.lookup(question, { counters, log: app.log, source: SOURCE })
  if (found.type !== 'miss' || found.claim === null) throw new Error(`there is no right to fill ${key}`)
  return found.claim
}

async function render (app: FastifyInstance, key: string, { url, value, right }: {
  url: string, value: unknown, right?: Right
}): Promise<Rendered> {
  const { own, counters } = inside(app)
  const caller = { counters, log: app.log, source: SOURCE }
  return await own.render({ url, value, right: right ?? await rightTo(app, key), caller })
}

const CITY = {
  response: { 200: { type: 'object', properties: { id: { type: 'integer' }, name: { type: 'string' } }, required: ['id'] } },
  params: { type: 'object', properties: { id: { type: 'integer' } } }
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })

  await t.test('what is stored is what the route would have sent for the value', async (t) => {
    for (const place of ['onRequest', 'handler']) {
      const app = await opened()
      const seen: FastifyRequest[] = []
      let runs = 0
      app.addHook('onRequest', async (_, reply) => { reply.header('x-request', 'of this request') })
      app.addHook('preSerialization', async (_, __, payload) => ({ ...payload as object, name: 'Zoë' }))
      app.addHook('onSend', async (request, reply, payload) => {
        seen.push(request)
        reply.header('x-sent', String(payload).length)
        return payload
      })
      // Would refuse everything: they are not asked about a value of the app's own.
      const guard = async (request: FastifyRequest): Promise<void> => {
        if (request.headers['x-guest'] === undefined) throw new Error('who are you?')
      }
      app.get('/cities/:id', {
        schema: CITY,
        cache: { key: 'city:{id}', tags: ['cities'], ttl: 30 },
        ...place === 'handler' ? { preHandler: guard } : { onRequest: guard }
      }, async () => {
        runs++
        return { id: 7, secret: 'x' }
      })
      t.strictSame(await render(app, 'city:7', { url: '/cities/7', value: { id: 7, secret: 'x' } }), { type: 'stored' })
      t.equal(runs, 0)
      t.strictSame([TICKET_HEADER, 'user-agent'].filter((name) => name in seen[0]!.headers), [])
      t.strictSame(seen[0]!.raw.rawHeaders.map(String), ['host', 'localhost:80'])
      t.strictSame(seen[0]!.cacheOutcome, { type: 'own', key: 'city:7', why: 'set' })

      const headers = { 'x-guest': '1' }
      const set = await app.inject({ url: '/cities/007', headers })
      t.equal(set.headers['cache-status'], 'fastify-route-cache; hit; ttl=30')
      t.equal((await app.inject('/cities/7')).statusCode, 500, 'a guard of clients it stays')
      await app.cache.invalidate({ tags: ['cities'] })
      const miss = await app.inject({ url: '/cities/7', headers })
      t.equal(miss.headers['cache-status'], MISS, 'it had the tags of the policy')
      await settled(app)
      const filled = await app.inject({ url: '/cities/7', headers })
      t.equal(runs, 1)
      t.equal(set.body, '{"id":7,"name":"Zoë"}')
      for (const answer of [set, filled]) delete (answer.headers as Record<string, unknown>).date
      t.strictSame([set.statusCode, set.headers, set.body], [filled.statusCode, filled.headers, filled.body])
      t.match(app.cache.stats().total, { sets: 1, stores: 2, misses: 1, hits: 2, bypasses: { answered: 1 } })
    }
  })

  await t.test('values of each kind', async (t) => {
    const app = await opened()
    app.get('/:kind', { cache: { key: 'kind:{kind}' } }, async () => 'of the handler')
    const values: Record<string, [value: unknown, body: string, type: string | undefined]> = {
      text: ['text', 'text', 'text/plain; charset=utf-8'],
      bytes: [Buffer.from('bytes'), 'bytes', 'application/octet-stream'],
      number: [7, '7', 'application/json; charset=utf-8'],
      null: [null, 'null', 'application/json; charset=utf-8'],
      stream: [Readable.from(['a ', 'stream']), 'a stream', undefined],
      nothing: [undefined, '', undefined]
    }
    for (const [kind, [value, body, type]] of Object.entries(values)) {
      t.strictSame(await render(app, `kind:${kind}`, { url: `/${kind}`, value }), { type: 'stored' }, kind)
      const hit = await app.inject(`/${kind}`)
      t.match(hit.headers['cache-status'], HIT)
      t.strictSame([hit.body, hit.headers['content-type']], [body, type])
    }
  })

  await t.test('a route that makes another key, and one that is not cached', async (t) => {
    const app = await opened()
    let runs = 0
    const handler = async (): Promise<string> => String(++runs)
    app.get('/cities/:id', { cache: { key: 'city:{id}' } }, handler)
    app.get('/plain', handler)
    app.post('/posted', handler)
    await t.rejects(render(app, 'city:7', { url: '/cities/8', value: 'x' }), {
      code: 'FRC_ROUTE', message: 'the value for the key "city:7" can\'t be sent through GET "/cities/8": that route\'s key for it is "city:8"'
    })
    for (const url of ['/plain', '/nothing', '/posted']) {
      await t.rejects(render(app, 'city:7', { url, value: 'x' }), { code: 'FRC_ROUTE', message: /no route with a cache option/ }, url)
    }
    t.equal(runs, 0)
    t.equal((await app.inject('/cities/7')).headers['cache-status'], MISS, 'nothing was stored')
    await settled(app)
    t.match((await app.inject('/cities/7')).headers['cache-status'], HIT, 'and the lease was given back')
  })

  await t.test('a hook that was registered before the plugin, and answers', async (t) => {
    const app = fastify()
    t.teardown(async () => { await app.close() })
    app.addHook('onRequest', async (_, reply) => await reply.code(401).send('who are you?'))
    await app.register(routeCache)
    app.get('/', { cache: { key: 'k' } }, async () => 'x')
    await t.rejects(render(app, 'k', { url: '/', value: 'x' }), { code: 'FRC_ROUTE', message: /answered it with 401$/ })
  })

  await t.test('what is refused, and the lease is given back', async (t) => {
    const cases: Record<string, [route: object, reason: string, counted?: string]> = {
      identity: [{ cache: { identity: () => 'ann' } }, 'vary'],
      vary: [{ cache: { vary: ['accept-language'] } }, 'vary'],
      when: [{ cache: { when: () => false } }, 'when', 'diverted'],
      policy: [{ cache: { tags: () => { throw new Error('no') } } }, 'policy', 'diverted'],
      invalid: [{ schema: { querystring: { type: 'object', required: ['q'] } } }, 'invalid', 'diverted'],
      'store-if': [{ cache: { storeIf: () => false } }, 'store-if'],
      ttl: [{ cache: { ttl: 0 } }, 'ttl'],
      status: [{ preSerialization: async () => { throw new Error('no') } }, 'status'],
      serializer: [{ schema: { response: { 200: CITY.response[200] } } }, 'status']
    }
    for (const [name, [route, reason, counted]] of Object.entries(cases)) {
      const app = await opened()
      const own = (route as { cache?: object }).cache
      app.get('/', { ...route, cache: { key: 'k', ...own } }, async () => 'x')
      t.strictSame(await render(app, 'k', { url: '/', value: { name: 'no id' } }), { type: 'refused', reason }, name)
      t.strictSame(app.cache.stats().total.refusals, { [counted ?? reason]: 1 })
      await rightTo(app, 'k')
    }
  })

  await t.test('one response stands for those of a version, and for a field that only the response tells of', async (t) => {
    const app = await opened({ version: 'v1' })
    app.get('/', { cache: { key: 'k' } }, async () => 'of the handler')
    t.strictSame(await render(app, 'k', { url: '/', value: 'x' }), { type: 'stored' })
    t.match(await app.inject('/'), { body: 'x', headers: { 'cache-status': HIT } })

    const varying = await opened()
    varying.get('/', {
      cache: { key: 'k' },
      onSend: async (_, reply, payload) => { reply.header('vary', 'accept-language'); return payload },
      preSerialization: async (_, reply, payload) => { reply.header('vary', 'accept-language'); return payload }
    }, async () => ({ of: 'the handler' }))
    t.strictSame(await render(varying, 'k', { url: '/', value: { a: 1 } }), { type: 'stored' })
    t.match(await varying.inject('/'), { body: '{"a":1}', headers: { 'cache-status': HIT } })
    const german = await varying.inject({ url: '/', headers: { 'accept-language': 'de' } })
    t.match(german, { body: '{"of":"the handler"}', headers: { 'cache-status': MISS } }, 'others get their own')
  })

  await t.test('an invalidation while the value is on its way', async (t) => {
    const app = await opened()
    const held = gate()
    app.get('/', {
      cache: { key: 'k' }, preSerialization: async (_, __, payload) => { await held.wait(); return payload }
    }, async () => ({ of: 'the handler' }))
    const rendering = render(app, 'k', { url: '/', value: { a: 1 } })
    await held.reached
    await app.cache.invalidate('k')
    held.open()
    t.strictSame(await rendering, { type: 'refused', reason: 'lease' })
    t.equal((await app.inject('/')).headers['cache-status'], MISS)
  })

  await t.test('a ticket that is forged, or used already, means nothing', async (t) => {
    const app = await opened()
    const held = gate()
    const seen: unknown[] = []
    let ticket: unknown
    app.get('/', {
      cache: { key: 'k', waitTimeout: 0 },
      onRequest: async (request) => { seen.push(request.headers[TICKET_HEADER]) },
      preSerialization: async (_, __, payload) => { await held.wait(); return payload }
    }, async () => ({ of: 'the handler' }))
    const { own } = inside(app)
    const recognise = own.recognise.bind(own)
    own.recognise = (raw) => {
      ticket ??= raw.headers[TICKET_HEADER]
      return recognise(raw)
    }
    const rendering = render(app, 'k', { url: '/', value: { a: 1 } })
    await held.reached
    t.match(ticket, /^[0-9a-f-]{36}$/)
    const forged = [ticket, String(ticket).replace(/^./, (c) => c === '0' ? '1' : '0'), '', 'undefined', '__proto__']
    const answers = forged.map(async (value) => await ask(app, String(value)))
    while (app.cache.stats().total.misses < forged.length) await new Promise(setImmediate)
    held.open()
    for (const { body, headers } of await Promise.all(answers)) {
      t.equal(body, '{"of":"the handler"}')
      t.equal(headers['cache-status'], MISS)
    }
    t.strictSame(seen, forged.map(String), 'it stays what it is: a header of the client\'s')
    t.strictSame(await rendering, { type: 'stored' })
  })
})

async function ask (app: CachedApp, ticket: string): Promise<{ body: string, headers: Record<string, unknown> }> {
  return await app.inject({ url: '/', headers: { [TICKET_HEADER]: ticket } })
}
