// Stale while it is refreshed: served at once, and one request of the cache's own behind it, as the one that caused it.
import { once as event } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import routeCache, { type CacheOptions, type CacheStats, type RouteCacheOptions } from '../../plugin/index.js'
import type { OwnRequests } from '../../plugin/request/own-request.js'
import { REGISTERED } from '../../plugin/fastify/plugin.js'
import { PASS_TIME } from '../../plugin/store/store.js'
import { cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

const MISS = 'fastify-route-cache; fwd=miss'
const STALE = /^fastify-route-cache; hit; ttl=-\d+$/
const FRESH = 'fastify-route-cache; hit; ttl=10'

type Handler = (request: FastifyRequest, reply: FastifyReply, run: number) => unknown

/** Leases of the in-process store end by it, too: while a run is held, less than 3 seconds may pass. */
interface Clock { now: () => number, pass: (seconds: number) => void }

/** A clock that stands still. */
function clock (): Clock {
  let now = 1_700_000_000_000
  return { now: () => now, pass: (seconds) => { now += seconds * 1000 } }
}

interface Route { runs: () => number, gates: ReturnType<typeof gate>[] }

/** A route that is fresh for 10 seconds and stale for 60 more; each run but the first is held at a gate of its own. */
function cached (app: FastifyInstance, handler: Handler = (_, __, run) => `run ${run}`, cache: CacheOptions = {}): Route {
  const gates = Array.from({ length: 5 }, gate)
  let runs = 0
  gates[0]!.open()
  app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60, ...cache } }, async (request, reply) => {
    const run = ++runs
    await gates[run - 1]!.wait()
    return await handler(request, reply, run)
  })
  return { runs: () => runs, gates }
}

/** Some turns and round trips to the store: what could have got on without anybody's help has. */
async function later (app: FastifyInstance): Promise<void> {
  for (let i = 0; i < 10; i++) {
    await app.cache.inspect('nothing')
    await turn()
  }
}

async function * breakingOff (): AsyncGenerator<string> {
  yield 'the first half, and then '
  throw new Error('no')
}

function total (app: FastifyInstance): CacheStats['total'] {
  return app.cache.stats().total
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options: RouteCacheOptions = {}): Promise<CachedApp & Clock> => {
    const time = clock()
    return Object.assign(await open({ prefix: `app-${++apps}`, now: time.now, ...options }), time)
  }

  await t.test('stale is served at once, while one run of the handler makes a new one', async (t) => {
    const app = await opened()
    const { runs, gates } = cached(app)
    const outcomes: unknown[] = []
    app.addHook('onResponse', async (request) => { outcomes.push(request.cacheOutcome) })
    const miss = await app.inject('/')
    await settled(app)
    app.pass(15)
    const stale = await app.inject('/')
    t.equal(stale.headers['cache-status'], 'fastify-route-cache; hit; ttl=-5')
    t.match(stale, { body: 'run 1', statusCode: 200, headers: { age: '15', etag: miss.headers.etag } })
    await gates[1]!.reached
    for (let i = 0; i < 5; i++) t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
    await later(app)
    t.equal(runs(), 2, 'no other one is begun meanwhile')
    gates[1]!.open()
    await settled(app)
    t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': FRESH, age: '0' } })
    t.match(total(app), { hits: 7, stale: 6, misses: 1, hitRate: 7 / 8, bypasses: {} })
    t.match(total(app), { refreshes: 1, stores: 2, refusals: {}, errors: 0 })
    t.match(outcomes, [
      { type: 'miss' }, ...Array(6).fill({ type: 'stale', key: 'k', ttl: -5 }), { type: 'own', key: 'k', why: 'refresh' }, { type: 'hit' }
    ])
  })

  await t.test('from its time on it is stale, and dead at its end', async (t) => {
    const app = await opened()
    const { gates } = cached(app)
    await app.inject('/')
    await settled(app)
    app.pass(10)
    t.equal((await app.inject('/')).headers['cache-status'], 'fastify-route-cache; hit; ttl=0')
    await gates[1]!.reached
    gates[1]!.open()
    await settled(app)
    app.pass(69.999)
    t.equal((await app.inject('/')).headers['cache-status'], 'fastify-route-cache; hit; ttl=-60')
    await gates[2]!.reached
    app.pass(0.001)
    const waiting = app.inject('/')
    await later(app)
    gates[2]!.open()
    t.match(await waiting, { body: 'run 3', headers: { 'cache-status': /; fwd=miss; collapsed; ttl=10$/ } }, 'it waits for the run')
    app.pass(70)
    gates[3]!.open()
    t.match(await app.inject('/'), { body: 'run 4', headers: { 'cache-status': MISS } })
  })

  await t.test('without the option, and with 0, nothing is served stale', async (t) => {
    for (const option of [{}, { staleWhileRevalidate: 0 }]) {
      const app = await opened()
      let runs = 0
      app.get('/', { cache: { key: 'k', ttl: 10, ...option } }, async () => `run ${++runs}`)
      await app.inject('/')
      await settled(app)
      app.pass(10)
      t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': MISS } })
    }
  })

  await t.test('HEAD and conditional requests', async (t) => {
    const app = await opened({ xCache: true })
    const seen: unknown[] = []
    const { gates } = cached(app, (request) => {
      seen.push([request.method, request.headers['if-none-match'], request.headers['if-modified-since'], request.headers['x-mine']])
      return 'x'
    })
    const { etag } = (await app.inject('/')).headers
    await settled(app)
    app.pass(15)
    const head = await app.inject({ method: 'HEAD', url: '/', headers: { 'x-mine': '1' } })
    t.match(head, { statusCode: 200, body: '', headers: { 'cache-status': STALE, 'content-length': '1', 'x-cache': 'HIT' } })
    await gates[1]!.reached
    gates[1]!.open()
    await settled(app)
    app.pass(15)
    const conditions = { 'if-none-match': String(etag), 'if-modified-since': new Date(app.now()).toUTCString() }
    const answer = await app.inject({ url: '/', headers: { ...conditions, 'x-mine': '2' } })
    t.match(answer, { statusCode: 304, body: '', headers: { 'cache-status': STALE, etag: String(etag), age: '15' } })
    await gates[2]!.reached
    gates[2]!.open()
    await settled(app)
    t.strictSame(seen.slice(1), [['GET', undefined, undefined, '1'], ['GET', undefined, undefined, '2']])
    t.match(await app.inject({ url: '/', headers: conditions }), { statusCode: 304, headers: { 'cache-status': FRESH } })
  })

  await t.test('who forces a refresh gets it', async (t) => {
    const app = await opened()
    const { gates } = cached(app, undefined, { honourNoCache: true })
    await app.inject('/')
    await settled(app)
    app.pass(15)
    gates[1]!.open()
    t.match(await app.inject({ url: '/', headers: { 'cache-control': 'no-cache' } }), {
      body: 'run 2', headers: { 'cache-status': 'fastify-route-cache; fwd=request' }
    })
  })

  const failing: Record<string, [handler: Handler, refusals: object]> = {
    throws: [() => { throw new Error('no') }, { status: 1 }],
    'answers 429': [(_, reply) => reply.code(429).send('x'), { status: 1 }],
    'answers 503': [(_, reply) => reply.code(503).send('x'), { status: 1 }],
    hijacks: [(_, reply) => { reply.hijack(); reply.raw.end('x') }, {}],
    'breaks off': [(_, reply) => reply.send(Readable.from(breakingOff())), { incomplete: 1 }],
    'closes the socket': [(_, reply) => { reply.raw.destroy(); return new Promise(() => {}) }, {}]
  }
  for (const [name, [handler, refusals]] of Object.entries(failing)) {
    await t.test(`a run that ${name} leaves what is there, and is not tried again for a while`, async (t) => {
      const app = await opened()
      const { runs, gates } = cached(app, (request, reply, run) => run === 2 ? handler(request, reply, run) : `run ${run}`)
      for (const each of gates) each.open()
      await app.inject('/')
      await settled(app)
      app.pass(15)
      t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
      await gates[1]!.reached
      while (!app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed'))) await turn()
      t.match(total(app), { stale: 1, refreshes: 1, stores: 1, refusals })
      // Beyond what this process remembers: the store tells.
      for (let i = 0; i < 3; i++) {
        app.pass(2)
        t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
        await later(app)
      }
      t.equal(runs(), 2)
      if (app.cache.stats().store === 'redis') return
      app.pass(PASS_TIME / 1000)
      t.equal((await app.inject('/')).body, 'run 1')
      await gates[2]!.reached
      while ((await app.inject('/')).body !== 'run 3') await turn()
      t.match(total(app), { refreshes: 2, stores: 2 })
    })
  }

  const replacing: Record<string, [handler: Handler, status?: number]> = {
    ...Object.fromEntries([301, 302, 307, 308, 400, 403, 404, 405, 410, 451].map((status) =>
      [`answers ${status}`, [(_, reply) => reply.code(status).send('x'), status] satisfies [Handler, number]])),
    'throws a 404': [() => { throw Object.assign(new Error('x'), { statusCode: 404 }) }, 404],
    'calls callNotFound': [(_, reply) => { reply.callNotFound() }, 404],
    'gives a Response of 410': [() => new Response('x', { status: 410 }), 410],
    'says private': [(_, reply) => reply.header('cache-control', 'private').send('x')],
    'says no-store': [(_, reply) => reply.header('cache-control', 'no-store').send('x')],
    'says Vary: *': [(_, reply) => reply.header('vary', '*').send('x')],
    'sets a cookie': [(_, reply) => reply.header('set-cookie', 'a=1').send('x')],
    'calls noCache': [(_, reply) => reply.noCache().send('x')],
    'sends more than is stored': [(_, reply) => reply.send(Readable.from(['x'.repeat(600), 'x'.repeat(600)]))]
  }
  for (const [name, [handler, status = 200]] of Object.entries(replacing)) {
    await t.test(`a run that ${name} ends what is there: RFC 9111 §4.3.3`, async (t) => {
      const app = await opened({ maxBodyBytes: 1000 })
      const { runs, gates } = cached(app, (request, reply, run) => run === 1 ? 'run 1' : handler(request, reply, run))
      for (const each of gates) each.open()
      await app.inject('/')
      await settled(app)
      app.pass(15)
      t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
      await gates[1]!.reached
      await app.cache.settled()
      t.match(await app.inject('/'), { statusCode: status, headers: { 'cache-status': MISS } }, 'who comes now gets what the handler says')
      t.equal(runs(), 3)
      t.match(total(app), { refreshes: 1, stores: 1, errors: 0 })
      t.notOk(app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed')), 'that is no failure')
    })
  }

  for (const status of [401, 407, 408, 412, 416, 421, 425, 429, 431, 500, 501, 502, 503, 504]) {
    await t.test(`a run that answers ${status} leaves what is there`, async (t) => {
      const app = await opened()
      const { gates } = cached(app, (_, reply, run) => run === 1 ? 'run 1' : reply.code(status).send('x'))
      for (const each of gates) each.open()
      await app.inject('/')
      await settled(app)
      app.pass(15)
      for (let i = 0; i < 2; i++) {
        t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
        await gates[1]!.reached
        await app.cache.settled()
      }
    })
  }

  for (const [place, cache] of [['onRequest', {}], ['preHandler', {}], ['preHandler', { hook: 'onRequest' }]] as const) {
    await t.test(`a hook in front of the handler (${place}, ${JSON.stringify(cache)}) ends nothing, whatever it answers`, async (t) => {
      const app = await opened()
      let isOpen = true
      app.addHook(place as 'onRequest', async (request, reply) => {
        if (!isOpen && request.cacheOutcome?.type === 'own') return await reply.code(404).send('too many')
      })
      const { runs } = cached(app, undefined, cache)
      await app.inject('/')
      await settled(app)
      app.pass(15)
      isOpen = false
      for (let i = 0; i < 2; i++) {
        t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
        await app.cache.settled()
      }
      t.equal(runs(), 1)
    })
  }

  await t.test('a miss whose handler says that the page is gone ends what would stand in for it', async (t) => {
    const app = await opened()
    const { gates } = cached(app, (_, reply, run) => run === 1 ? 'run 1' : reply.code(run === 2 ? 404 : 503).send('x'),
      { staleWhileRevalidate: 0, staleIfError: 60 })
    for (const each of gates) each.open()
    await app.inject('/')
    await settled(app)
    app.pass(15)
    t.match(await app.inject('/'), { statusCode: 404, headers: { 'cache-status': MISS } })
    await app.cache.settled()
    t.match(await app.inject('/'), { statusCode: 503, headers: { 'cache-status': MISS } })
  })

  await t.test('of several variants only the one ends whose handler says so', async (t) => {
    const app = await opened()
    let isGone = false
    app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60, vary: ['x-a'] } }, async (request, reply) =>
      isGone && request.headers['x-a'] === '1' ? await reply.code(410).send('gone') : String(request.headers['x-a']))
    const ask = async (a: string): Promise<unknown> => {
      const { statusCode, headers } = await app.inject({ url: '/', headers: { 'x-a': a } })
      await app.cache.settled()
      return [statusCode, STALE.test(String(headers['cache-status'])) ? 'stale' : headers['cache-status']]
    }
    for (const a of ['1', '2']) await ask(a)
    app.pass(15)
    isGone = true
    t.strictSame([await ask('1'), await ask('1'), await ask('2'), await ask('2')], [[200, 'stale'], [410, `${MISS}; detail=status`], [200, 'stale'], [200, FRESH]])
  })

  await t.test('the page is back before the handler has said that it was gone: the new one stays', async (t) => {
    const app = await opened()
    let [row, run] = ['old', 0]
    const slow = gate()
    app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60 } }, async (_, reply) => {
      if (++run !== 2) return row
      await slow.wait()
      return await reply.code(404).send('gone')
    })
    await app.inject('/')
    await settled(app)
    app.pass(12)
    t.equal((await app.inject('/')).body, 'old')
    await slow.reached
    row = 'new'
    await app.cache.invalidate('k')
    t.equal((await app.inject('/')).body, 'new')
    slow.open()
    await app.cache.settled()
    t.match(await app.inject('/'), { body: 'new', headers: { 'cache-status': FRESH } })
  })

  await t.test('who is refused by then, or is somebody else, stores nothing', async (t) => {
    for (const [name, answer] of Object.entries({
      hook: (_: FastifyRequest, reply: FastifyReply) => reply.code(401).send('who are you?'),
      identity: (request: FastifyRequest) => { (request as { who?: string }).who = 'eve' },
      user: (request: FastifyRequest) => { delete (request as { who?: string }).who }
    })) {
      const app = await opened()
      let isLate = false
      app.addHook('preValidation', async (request, reply) => {
        (request as { who?: string }).who = 'ann'
        if (isLate && request.cacheOutcome?.type === 'own') return answer(request, reply)
      })
      const { runs } = cached(app, (_, __, run) => `run ${run}`, { identity: (request) => (request as { who?: string }).who })
      await app.inject('/')
      await settled(app)
      app.pass(15)
      isLate = true
      t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } }, name)
      while (!app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed'))) await turn()
      t.equal(runs(), 1, 'the handler is not run')
      t.match(total(app), { refreshes: 1, stores: 1, refusals: { diverted: 1 }, bypasses: {} })
      t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
    }
  })

  for (const target of ['k', { tags: ['t'] }, { tags: ['own'] }, { prefix: 'k' }, { all: true }] as const) {
    await t.test(`invalidated while it is refreshed, nothing older is served: ${JSON.stringify(target)}`, async (t) => {
      const app = await opened()
      let row = 'old'
      const gates = [gate(), gate(), gate()]
      let runs = 0
      gates[0]!.open()
      app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60, tags: ['t'] } }, async (_, reply) => {
        const read = row
        await gates[runs++]!.wait()
        reply.cacheTags('own')
        return read
      })
      await app.inject('/')
      await settled(app)
      app.pass(15)
      t.equal((await app.inject('/')).body, 'old')
      await gates[1]!.reached
      row = 'new'
      await app.cache.invalidate(target)
      gates[2]!.open()
      const next = app.inject('/')
      await later(app)
      gates[1]!.open()
      t.match(await next, { body: 'new' })
      await settled(app)
      t.match(await app.inject('/'), { body: 'new', headers: { 'cache-status': FRESH } })
      t.equal(app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed')), false, 'that is no failure')
    })
  }

  await t.test('a tag that is invalidated while it is stale', async (t) => {
    const app = await opened()
    const { gates } = cached(app, (_, reply, run) => { reply.cacheTags('late'); return `run ${run}` }, { tags: ['t'] })
    for (const each of gates) each.open()
    for (const [run, tag] of [[2, 't'], [3, 'late']] as const) {
      await app.inject('/')
      await settled(app)
      app.pass(15)
      await app.cache.invalidate({ tags: [tag] })
      t.match(await app.inject('/'), { body: `run ${run}`, headers: { 'cache-status': MISS } })
      await settled(app)
    }
  })

  await t.test('each variant is refreshed by a request of its own', async (t) => {
    const app = await opened()
    const runs: string[] = []
    app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60, identity: (request) => String(request.headers['x-user']) } },
      async (request, reply) => {
        reply.header('vary', 'accept-language')
        const body = `${String(request.headers['x-user'])} ${String(request.headers['accept-language'])}`
        runs.push(body)
        return `${body} ${runs.length}`
      })
    const users = [['ann', 'de'], ['ann', 'en'], ['bob', 'de']] as const
    const ask = async (user: string, language: string): Promise<string> => {
      const { body, headers } = await app.inject({ url: '/', headers: { 'x-user': user, 'accept-language': language } })
      await settled(app)
      return `${body} ${STALE.test(String(headers['cache-status'])) ? 'stale' : ''}`
    }
    for (const [user, language] of users) await ask(user, language)
    app.pass(15)
    const before = runs.length
    for (const [i, [user, language]] of users.entries()) {
      t.match(await ask(user, language), /^(ann|bob) (de|en) \d stale$/)
      while (runs.length < before + i + 1) await turn()
      await settled(app)
      t.equal(await ask(user, language), `${user} ${language} ${before + i + 1} `)
    }
    t.strictSame(runs.slice(before), ['ann de', 'ann en', 'bob de'])
  })

  await t.test("with ttl: 'origin' the handler's own directives count", async (t) => {
    const fields: Array<[cacheControl: string, status: unknown, option?: CacheOptions]> = [
      ['max-age=10, stale-while-revalidate=60', STALE],
      ['max-age=10', MISS],
      ['max-age=10', STALE, { staleWhileRevalidate: 60 }],
      ['max-age=10, stale-while-revalidate=60', MISS, { staleWhileRevalidate: 0 }],
      ['max-age=10, stale-while-revalidate=2', MISS, { staleWhileRevalidate: 60 }],
      ['max-age=10, stale-while-revalidate=60, must-revalidate', MISS],
      ['max-age=10, stale-while-revalidate=60, proxy-revalidate', MISS],
      ['s-maxage=10, stale-while-revalidate=60', MISS],
      ['max-age=10, s-maxage=10', MISS, { staleWhileRevalidate: 60 }],
      ['max-age=10', STALE, { ttl: 10, staleWhileRevalidate: 60 }],
      ['max-age=10, must-revalidate', MISS, { ttl: 10, staleWhileRevalidate: 60 }]
    ]
    for (const [cacheControl, status, option] of fields) {
      const app = await opened()
      app.get('/', { cache: { key: 'k', ttl: 'origin', ...option } }, async (_, reply) => reply.header('cache-control', cacheControl).send('x'))
      await app.inject('/')
      await settled(app)
      app.pass(9)
      t.match((await app.inject('/')).headers['cache-status'], /; hit; ttl=1$/)
      app.pass(6)
      t.match((await app.inject('/')).headers['cache-status'], status, `${cacheControl} ${JSON.stringify(option ?? {})}`)
    }
  })

  await t.test('a stream, and hooks behind ours', async (t) => {
    const app = await opened()
    app.addHook('onRoute', (route) => {
      route.onSend = [route.onSend ?? [], async (_: unknown, reply: FastifyReply, payload: unknown) => {
        reply.header('x-behind', '1')
        return payload
      }].flat()
    })
    const { gates } = cached(app, (_, __, run) => run % 2 === 0 ? Readable.from(['run ', String(run)]) : `run ${run}`)
    for (const each of gates) each.open()
    await app.inject('/')
    await settled(app)
    for (const run of [1, 2, 3]) {
      app.pass(15)
      t.match(await app.inject('/'), { body: `run ${run}`, headers: { 'cache-status': STALE, 'x-behind': '1' } })
      await gates[run]!.reached
      await settled(app)
    }
    t.match(total(app), { refreshes: 3, stores: 4 })
  })

  await t.test('a run that hangs is given up', async (t) => {
    const app = await opened()
    const { gates } = cached(app)
    const { own } = (app as unknown as Record<symbol, { own: OwnRequests }>)[REGISTERED]!
    await app.inject('/')
    await settled(app)
    app.pass(15)
    own.longest = 50
    await app.inject('/')
    await gates[1]!.reached
    while (!app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed'))) await turn()
    gates[1]!.open()
    await settled(app)
    t.match(total(app), { refreshes: 1, stores: 1, refusals: { lease: 1 } }, 'what it answers then comes too late')
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
  })

  await t.test('a closing app waits for the run', async (t) => {
    const app = await opened()
    const { runs, gates } = cached(app)
    await app.inject('/')
    await settled(app)
    app.pass(15)
    await app.inject('/')
    await gates[1]!.reached
    let isClosed = false
    const closing = app.close().then(() => { isClosed = true })
    for (let i = 0; i < 20; i++) await turn()
    t.equal(isClosed, false)
    gates[1]!.open()
    await closing
    t.equal(runs(), 2)
    t.match(total(app), { refreshes: 1, refusals: { disabled: 1 }, errors: 0 })
  })
})

t.test('many stale answers of several processes: one run', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const time = clock()
  const all = await Promise.all(Array.from({ length: 3 }, async () => {
    const redis = server.client()
    await redis.ping()
    return await cachedApp(t, { redis, now: time.now })
  }))
  const routes = all.map((app) => cached(app))
  const runs = (): number => routes.reduce((sum, route) => sum + route.runs(), 0)
  await all[0]!.inject('/')
  await settled(all[0]!)
  for (const { gates } of routes) gates[0] = gates[1]!
  time.pass(15)
  const answers = await Promise.all(all.flatMap((app) => Array.from({ length: 20 }, async () => await app.inject('/'))))
  t.equal(answers.length, 60)
  t.ok(answers.every(({ body, headers }) => body === 'run 1' && STALE.test(String(headers['cache-status']))))
  await Promise.race(routes.map(async ({ gates }) => { await gates[1]!.reached }))
  time.pass(2)
  for (const app of all) t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': STALE } })
  for (const app of all) await later(app)
  t.equal(runs(), 2)
  for (const { gates } of routes) gates[1]!.open()
  for (const app of all) await settled(app)
  const bodies = (await Promise.all(all.map(async (app) => await app.inject('/')))).map(({ body, headers }) => [body, headers['cache-status']])
  t.strictSame(new Set(bodies.map(([body]) => body)).size, 1)
  t.ok(bodies.every(([, status]) => status === FRESH))
  t.equal(runs(), 2)
  t.equal(all.reduce((sum, app) => sum + total(app).refreshes, 0), 1)
})

t.test('two processes that have read the same stale entry', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const time = clock()
  const lease = gate()
  const asked: string[] = []
  const [redis, other] = [server.client(), server.client()]
  await Promise.all([redis.ping(), other.ping()])
  // Looks who has the lease; and then, before it takes it, waits at the gate.
  const slow = new Proxy(other, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return async (...args: unknown[]) => {
        const isOfLease = args.some((arg) => String(arg).startsWith('lease:{cache:k}'))
        // With who has it goes for how long: one trip.
        if (isOfLease && name !== 'pttl') asked.push(String(name))
        if (isOfLease && name === 'evalsha') await lease.wait()
        return await (method as (...all: unknown[]) => unknown).apply(target, args)
      }
    }
  })
  const [a, b] = [await cachedApp(t, { redis, now: time.now }), await cachedApp(t, { redis: slow, now: time.now })]
  const [first, second] = [cached(a), cached(b)]
  const third = gate()
  for (const { gates } of [first, second]) for (const each of gates) each.open()
  first.gates[2] = third
  await a.inject('/')
  await settled(a)
  time.pass(15)
  t.equal((await b.inject('/')).body, 'run 1')
  await lease.reached
  for (let i = 0; i < 5; i++) t.equal((await b.inject('/')).body, 'run 1')
  await later(b)
  t.strictSame(asked, ['get', 'evalsha'], 'while it is about to, it does not ask again')
  await a.inject('/')
  await first.gates[1]!.reached
  await settled(a)
  t.equal((await b.inject('/')).body, 'run 2')
  lease.open()
  await later(b)
  t.equal(second.runs(), 0, 'there is a new one')
  t.equal(total(b).refreshes, 0)

  time.pass(15)
  await a.inject('/')
  await third.reached
  asked.length = 0
  for (let i = 0; i < 5; i++) {
    t.match(await b.inject('/'), { body: 'run 2', headers: { 'cache-status': STALE } })
    await later(b)
  }
  t.strictSame(asked, ['get'], 'where another has it, it asks once')
  time.pass(1)
  await b.inject('/')
  await later(b)
  t.strictSame(asked, ['get', 'get'], 'in a second')
  third.open()
  await settled(a)
  t.match(await b.inject('/'), { body: 'run 3', headers: { 'cache-status': FRESH } })
})

t.test('a policy that serves nothing stale does not serve what another stored', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const time = clock()
  const [a, b] = [await cachedApp(t, { redis, now: time.now }), await cachedApp(t, { redis, now: time.now })]
  cached(a)
  cached(b, () => 'of b', { staleWhileRevalidate: 0 })
  await a.inject('/')
  await settled(a)
  time.pass(9)
  t.equal((await b.inject('/')).body, 'run 1')
  time.pass(1)
  t.match(await b.inject('/'), { body: 'of b', headers: { 'cache-status': MISS } })
})

t.test('a client without an address', async (t) => {
  const time = clock()
  const app = fastify()
  t.teardown(async () => { await app.close() })
  const ahead: unknown[] = []
  const seen: unknown[] = []
  app.addHook('onRequest', async (request) => { ahead.push(request.ip) })
  await app.register(routeCache, { now: time.now })
  app.addHook('onRequest', async (request) => { seen.push(request.ip) })
  const { gates } = cached(app)
  gates[1]!.open()
  // Not in the checkout, whose path may be long: a socket's takes some hundred characters at most.
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-'))
  t.teardown(async () => { await rm(folder, { recursive: true }) })
  const path = join(folder, 'socket')
  await app.listen({ path })
  const ask = async (): Promise<void> => {
    const asked = httpRequest({ socketPath: path, path: '/', agent: false })
    asked.end()
    const [response] = await event(asked, 'response') as [IncomingMessage]
    response.resume()
    await event(response, 'end')
  }
  await ask()
  await settled(app)
  time.pass(15)
  await ask()
  await gates[1]!.reached
  await settled(app)
  t.strictSame(seen, [undefined, undefined, undefined])
  t.strictSame(ahead, [undefined, undefined, 'unknown'], 'at least not ours')
})

t.test('the run comes as the request came that caused it, whose client is gone', async (t) => {
  const time = clock()
  const seen: object[] = []
  const app = fastify({
    trustProxy: '127.0.0.1',
    rewriteUrl: (request) => request.url!.replace('/public', ''),
    // As a server with TLS tells it.
    serverFactory: (handler) => createServer((request, response) => {
      ;(request.socket as { encrypted?: boolean }).encrypted = true
      request.headers['x-geo'] = 'put there ahead of the app'
      handler(request, response)
    })
  })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { now: time.now })
  const once: unknown[] = []
  app.addHook('onRequest', async (request) => {
    once.push(request.headers['x-once'])
    delete request.headers['x-once']
  })
  const second = gate()
  app.get('/shops/:shop', {
    schema: { querystring: { type: 'object', properties: { page: { type: 'integer' } } } },
    cache: { key: 'shop:{shop}', ttl: 10, staleWhileRevalidate: 60, shared: true },
    onRequest: async (request) => {
      const headers = { ...request.headers }
      const { ip, ips, host, protocol, url, originalUrl, method, query, params } = request
      const { remoteAddress, encrypted } = request.socket as { remoteAddress?: string, encrypted?: boolean }
      const raw = request.raw.rawHeaders.length
      const address = { ip, ips, host, protocol, remoteAddress, encrypted }
      seen.push({ headers, raw, ...address, url, originalUrl, method, params, query: { ...query as object } })
    }
  }, async () => {
    if (seen.length > 2) await second.wait()
    return `run ${seen.length}`
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const headers = {
    authorization: 'Bearer of-ann',
    cookie: 'a=1; b=2',
    'x-forwarded-for': '192.0.2.7',
    'x-forwarded-host': 'shop.example',
    'x-once': 'taken away by a hook',
    'x-twice': ['one', 'two'],
    'if-none-match': '"other"'
  }
  const ask = async (t: Test): Promise<string> => {
    const asked = httpRequest({ port, host: '127.0.0.1', path: '/public/shops/7?page=3&q=%C3%A4', headers, agent: false })
    asked.end()
    const [response] = await event(asked, 'response') as [IncomingMessage]
    let body = ''
    for await (const chunk of response) body += String(chunk)
    asked.destroy()
    t.equal(response.statusCode, 200)
    return `${body}; ${String(response.headers['cache-status'])}`
  }
  t.equal(await ask(t), 'run 1; fastify-route-cache; fwd=miss')
  await settled(app)
  time.pass(15)
  t.match(await ask(t), /^run 1; fastify-route-cache; hit; ttl=-5$/)
  await second.reached
  await new Promise<void>((resolve) => { app.server.closeAllConnections(); app.server.getConnections(() => { resolve() }) })
  second.open()
  await settled(app)
  t.match(await ask(t), /^run 3; fastify-route-cache; hit; ttl=10$/)
  const [, cause, run] = seen as Array<{ headers: Record<string, unknown>, raw: number }>
  t.match(cause, {
    ip: '192.0.2.7', host: 'shop.example', protocol: 'https', url: '/shops/7?page=3&q=%C3%A4', originalUrl: '/public/shops/7?page=3&q=%C3%A4'
  })
  t.equal(cause!.headers['x-geo'], 'put there ahead of the app')
  const { 'if-none-match': _, ...expected } = cause!.headers
  t.strictSame(run, { ...cause, headers: expected, raw: cause!.raw - 2 })
  t.strictSame(once, Array(4).fill('taken away by a hook'))
})
