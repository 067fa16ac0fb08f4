// A stale entry stands in for a handler that fails: RFC 5861 §4. First for who waited for it, then, for a while, at once.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { ResponseCache } from '../../plugin/cache/cache.js'
import type { Entry } from '../../plugin/entry/entry.js'
import { FAILURE_TIME, Failures } from '../../plugin/cache/refresh.js'
import type { CacheOptions, CacheStats, RouteCacheOptions } from '../../plugin/index.js'
import { REGISTERED } from '../../plugin/fastify/plugin.js'
import { PASS_TIME } from '../../plugin/store/store.js'
import { beyondLookup, gate, onEachStore, send, settled, type CachedApp } from '../helpers/app.js'

const AT_ONCE = /^fastify-route-cache; hit; ttl=-\d+; detail=stale-if-error$/
const FRESH = 'fastify-route-cache; hit; ttl=10'

type Handler = (request: FastifyRequest, reply: FastifyReply, run: number) => unknown

interface Clock { pass: (seconds: number) => void }

interface Route { runs: () => number, gates: ReturnType<typeof gate>[] }

/** A route whose first run succeeds, fresh for 10 seconds and good for 60 more where the others fail. */
function cached (app: FastifyInstance, handler: Handler, cache: CacheOptions = {}): Route {
  const gates = Array.from({ length: 6 }, gate)
  let runs = 0
  for (const each of gates) each.open()
  app.get('/', {
    cache: { key: 'k', ttl: 10, staleIfError: 60, ...cache }, ...cache.key === 'slow' && { handlerTimeout: 30 }
  }, async (request, reply) => {
    const run = ++runs
    await gates[run - 1]?.wait()
    if (run > 1) return await handler(request, reply, run)
    return reply.header('x-of-the-entry', '1').type('text/x-entry').send('run 1')
  })
  return { runs: () => runs, gates }
}

const fails: Handler = () => { throw new Error('the database is away') }
const unavailable: Handler = (_, reply) => reply.code(503).send('down')

function total (app: FastifyInstance): CacheStats['total'] {
  return app.cache.stats().total
}

function insideOf (app: FastifyInstance): ResponseCache {
  return (app as unknown as Record<symbol, { cache: ResponseCache }>)[REGISTERED]!.cache
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options: RouteCacheOptions = {}): Promise<CachedApp & Clock> => {
    let now = 1_700_000_000_000
    const app = await open({ prefix: `app-${++apps}`, now: () => now, ...options })
    return Object.assign(app, { pass: (seconds: number) => { now += seconds * 1000 } })
  }

  const streams: Array<{ destroyed: boolean }> = []
  const errors: Record<string, [handler: Handler, status: number, cache?: CacheOptions]> = {
    throws: [fails, 500],
    'answers 500': [(_, reply) => reply.code(500).send({ error: 'x' }), 500],
    'answers 502': [(_, reply) => reply.code(502).send(Buffer.from('x')), 502],
    'answers 503 of its own type, tagged and cached elsewhere': [(_, reply) => reply.code(503).type('text/html')
      .headers({ etag: '"of the error"', 'retry-after': '9', 'content-length': '1', 'cache-status': 'other; fwd=miss' }).send('x'), 503],
    'answers 504 with a stream': [(_, reply) => {
      const stream = new Readable({ read () {} })
      streams.push(stream)
      return reply.code(504).send(stream)
    }, 504],
    'answers 502 with a web stream': [(_, reply) => {
      const state = { destroyed: false }
      streams.push(state)
      return reply.code(502).send(new ReadableStream({ cancel () { state.destroyed = true } }))
    }, 502],
    'answers with a Response': [async () => new Response('down', { status: 503, headers: { 'x-failed': '1' } }), 503],
    'answers with a stream that fails before its first byte': [(_, reply) =>
      reply.send(new Readable({ read () { this.destroy(new Error('no row')) } })), 500],
    'has an error that is answered with 503': [async () => { throw Object.assign(new Error('x'), { statusCode: 503 }) }, 503],
    'takes too long': [async () => await new Promise(() => {}), 503, { key: 'slow' }]
  }
  for (const [name, [handler, status, cache]] of Object.entries(errors)) {
    await t.test(`a handler that ${name}`, async (t) => {
      const app = await opened()
      const outcomes: unknown[] = []
      app.addHook('onResponse', async (request) => { outcomes.push(request.cacheOutcome) })
      cached(app, (request, reply, run) => handler(request, reply.header('x-failed', '1'), run), cache)
      const first = await app.inject('/')
      await settled(app)
      app.pass(15)
      const answer = await app.inject('/')
      t.match(answer, { statusCode: 200, body: 'run 1', headers: { age: '15', 'content-length': '5', 'x-of-the-entry': '1' } })
      for (const field of ['content-type', 'etag']) t.equal(answer.headers[field], first.headers[field])
      for (const field of ['x-failed', 'retry-after']) t.notOk(field in answer.headers)
      t.equal(answer.headers['cache-status'], `fastify-route-cache; fwd=stale; fwd-status=${status}; ttl=-5; detail=stale-if-error`)
      t.strictSame(outcomes[1], { type: 'stale', key: cache?.key ?? 'k', ttl: -5, ifError: true, status })
      await settled(app)
      t.match(total(app), { hits: 0, misses: 2, rescued: 1, stores: 1, errors: 0, hitRate: 0 })
      t.ok(streams.every(({ destroyed }) => destroyed), 'what is not sent is let go')
      t.notOk(app.lines.some(({ level, msg }) => Number(level) >= 40 && /^cache/.test(String(msg))))
    })
  }

  const others: Record<string, [handler: Handler, status: number]> = {
    'answers 404': [(_, reply) => reply.code(404).send('x'), 404],
    'answers 501': [(_, reply) => reply.code(501).send('x'), 501],
    'answers 429': [async () => { throw Object.assign(new Error('x'), { statusCode: 429 }) }, 429],
    'answers what may not be stored': [(_, reply) => reply.header('cache-control', 'no-store').send('x'), 200],
    hijacks: [(_, reply) => { reply.hijack(); reply.raw.writeHead(503).end('x') }, 503]
  }
  for (const [name, [handler, status]] of Object.entries(others)) {
    await t.test(`a handler that ${name} has its answer sent`, async (t) => {
      const app = await opened()
      cached(app, handler)
      await app.inject('/')
      await settled(app)
      app.pass(15)
      t.match(await app.inject('/'), { statusCode: status, body: 'x' })
      t.equal(total(app).rescued, 0)
    })
  }

  await t.test('without the option, with 0, and of what another has stored with it', async (t) => {
    for (const option of [{}, { staleIfError: undefined }, { staleIfError: 0 }]) {
      const app = await opened()
      cached(app, fails, { staleIfError: undefined, ...option } as CacheOptions)
      await app.inject('/')
      await settled(app)
      app.pass(15)
      t.match(await app.inject('/'), { statusCode: 500, headers: { 'cache-status': /^fastify-route-cache; fwd=miss(?:; detail=status)?$/ } })
    }
  })

  await t.test('a database that is away: stale for everybody until the window ends, then the error', async (t) => {
    const app = await opened()
    const { runs } = cached(app, fails)
    await app.inject('/')
    await settled(app)
    app.pass(10)
    let asked = 0
    for (let second = 10; second < 70; second += 2) {
      const answers = await Promise.all(Array.from({ length: 4 }, async () => await app.inject('/')))
      for (const { statusCode, body } of answers) if (statusCode === 200 && body === 'run 1') asked++
      // A refresh that is tried behind them fails, too.
      await beyondLookup(app)
      app.pass(2)
    }
    t.equal(asked, 30 * 4)
    // The store in Redis keeps to its own clock: there the time between two tries is not that of the others.
    if (app.cache.stats().store === 'memory') {
      t.match(total(app), { misses: 2, rescued: 1, stale: 119, errors: 0 }, 'four waited for one run, and nobody for another')
      t.equal(runs(), 1 + 60_000 / PASS_TIME)
    }
    for (let i = 0; i < 3; i++) t.match(await app.inject('/'), { statusCode: 500, body: /the database is away/ })
  })

  await t.test('nobody waits for a handler that failed just now, until it has answered', async (t) => {
    const app = await opened()
    const { runs, gates } = cached(app, (request, reply, run) => run === 2 ? fails(request, reply, run) : `run ${run}`)
    const third = gates[2] = gate()
    await app.inject('/')
    await settled(app)
    app.pass(15)
    t.match((await app.inject('/')).headers['cache-status'], /fwd-status=500/)
    for (let i = 0; i < 3; i++) {
      t.match(await app.inject('/'), { statusCode: 200, body: 'run 1', headers: { 'cache-status': AT_ONCE } })
      t.match(await app.inject({ method: 'HEAD', url: '/' }), { statusCode: 200, headers: { 'cache-status': AT_ONCE } })
      await beyondLookup(app)
    }
    t.equal(runs(), 2, 'it is left alone')
    t.match(total(app), { rescued: 1, stale: 6, hits: 6, refreshes: 0 })
    // The store keeps others off by its own clock.
    if (app.cache.stats().store === 'redis') return
    app.pass(PASS_TIME / 1000)
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
    await third.reached
    for (let i = 0; i < 3; i++) t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
    third.open()
    await settled(app)
    t.match(await app.inject('/'), { body: 'run 3', headers: { 'cache-status': FRESH } })
    app.pass(10)
    t.match(await app.inject('/'), { body: 'run 4', headers: { 'cache-status': /fwd=miss/ } }, 'it is not remembered any more')
    t.equal(runs(), 4)
  })

  await t.test('a handler that answers what is not stored fails no more', async (t) => {
    const app = await opened()
    let status = 503
    cached(app, (_, reply) => reply.code(status).send('x'), { staleWhileRevalidate: 5 })
    await app.inject('/')
    await settled(app)
    app.pass(17)
    await app.inject('/')
    t.match((await app.inject('/')).headers['cache-status'], AT_ONCE)
    // The store keeps others off by its own clock.
    if (app.cache.stats().store === 'redis') return
    status = 404
    app.pass(PASS_TIME / 1000)
    t.match((await app.inject('/')).headers['cache-status'], AT_ONCE)
    while (total(app).refreshes === 0) await turn()
    await settled(app)
    t.match(await app.inject('/'), { statusCode: 404, headers: { 'cache-status': /^fastify-route-cache; fwd=miss(?:; detail=status)?$/ } })
  })

  await t.test('a failure is remembered for some time', async (t) => {
    const app = await opened()
    const { runs } = cached(app, fails)
    await app.inject('/')
    await settled(app)
    app.pass(15)
    await app.inject('/')
    app.pass(FAILURE_TIME / 1000)
    t.match((await app.inject('/')).headers['cache-status'], /fwd-status=500/)
    t.equal(runs(), 3)
  })

  await t.test('who waits for a run that fails gets what it has, or runs its own', async (t) => {
    const app = await opened()
    const { runs, gates } = cached(app, fails)
    gates[1] = gate()
    await app.inject('/')
    await settled(app)
    app.pass(15)
    const leading = app.inject('/')
    await gates[1].reached
    const following = Array.from({ length: 20 }, async () => await app.inject('/'))
    await beyondLookup(app)
    gates[1].open()
    t.match(await leading, { body: 'run 1', headers: { 'cache-status': /; fwd=stale; fwd-status=500; ttl=-5; detail=stale-if-error$/ } })
    for (const answer of await Promise.all(following)) t.match(answer, { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
    t.equal(runs(), 2)
    t.match(total(app), { misses: 2, rescued: 1, stale: 20 })
  })

  await t.test('where there is no entry each runs its own handler, and gets its error', async (t) => {
    const app = await opened()
    const held = gate()
    let runs = 0
    app.get('/', { cache: { key: 'k', staleIfError: 60 } }, async () => {
      if (++runs === 1) await held.wait()
      throw new Error('no')
    })
    const leading = app.inject('/')
    await held.reached
    const following = app.inject('/')
    await beyondLookup(app)
    held.open()
    t.strictSame([(await leading).statusCode, (await following).statusCode, runs], [500, 500, 2])
  })

  await t.test('without the right to fill, too', async (t) => {
    const app = await opened()
    const { gates, runs } = cached(app, unavailable, { waitTimeout: 0 })
    gates[1] = gates[2] = gate()
    await app.inject('/')
    await settled(app)
    app.pass(15)
    const both = [app.inject('/'), app.inject('/')]
    while (runs() < 3) await turn()
    gates[1].open()
    for (const answer of await Promise.all(both)) t.match(answer, { body: 'run 1', headers: { 'cache-status': /fwd-status=503/ } })
    await settled(app)
    t.match(total(app), { rescued: 2, stores: 1 })
  })

  await t.test('HEAD, conditional requests and X-Cache', async (t) => {
    const app = await opened({ xCache: true })
    cached(app, unavailable)
    const { etag } = (await app.inject('/')).headers
    await settled(app)
    app.pass(15)
    t.match(await app.inject({ method: 'HEAD', url: '/' }), {
      statusCode: 200, body: '', headers: { 'content-length': '5', 'cache-status': /fwd-status=503/, 'x-cache': 'HIT' }
    })
    app.pass(FAILURE_TIME / 1000)
    const answer = await app.inject({ url: '/', headers: { 'if-none-match': String(etag) } })
    t.match(answer, { statusCode: 304, body: '', headers: { etag: String(etag), 'cache-status': /fwd-status=503/ } })
    for (const field of ['content-type', 'content-length', 'x-of-the-entry']) t.notOk(field in answer.headers)
  })

  await t.test("what the request's hooks set stays, and what the failed answer set goes", async (t) => {
    const app = await opened()
    let asked = 0
    app.addHook('onRequest', async (_, reply) => {
      reply.headers({ 'x-request': String(++asked), vary: 'Origin', 'set-cookie': 'hook=1', 'content-type': 'text/x-hook' })
      reply.raw.setHeader('x-raw', 'before')
    })
    const kinds: string[] = []
    app.addHook('onSend', async (_, reply, payload) => {
      kinds.push(typeof payload)
      reply.header('x-behind', '1')
    })
    app.get('/', { cache: { key: 'k', ttl: 10, staleIfError: 60 } }, async (_, reply) => {
      if (asked === 1) return reply.header('vary', 'Origin, Accept').removeHeader('set-cookie').send('run 1')
      reply.raw.setHeader('x-raw-too', 'after')
      reply.removeHeader('x-request')
      return reply.code(503).headers({ vary: '*', 'set-cookie': 'failed=1' }).send('x')
    })
    await app.inject('/')
    await settled(app)
    app.pass(15)
    const answer = await app.inject('/')
    t.match(answer, {
      statusCode: 200, body: 'run 1', headers: { 'x-request': '2', vary: 'Origin, Accept', 'x-raw': 'before', 'x-behind': '1', 'content-type': 'text/x-hook' }
    })
    t.strictSame([answer.headers['set-cookie']].flat(), ['hook=1'])
    t.notOk('x-raw-too' in answer.headers)
    t.strictSame(kinds, ['string', 'string'], 'hooks behind ours get the like of what the handler sent')
  })

  await t.test('a hook that fails on its way out, and one that fails on the entry, too', async (t) => {
    const app = await opened()
    let failures = 0
    app.addHook('onSend', async () => { if (failures-- > 0) throw new Error('the hook') })
    cached(app, () => 'run 2')
    await app.inject('/')
    await settled(app)
    app.pass(15)
    failures = 1
    t.match(await app.inject('/'), { statusCode: 200, body: 'run 1', headers: { 'cache-status': /fwd-status=500/ } })
    await settled(app)
    app.pass(FAILURE_TIME / 1000)
    failures = 2
    const answer = await app.inject('/')
    t.match(answer, { statusCode: 500, body: /the hook/, headers: { 'content-type': /json/ } })
    await settled(app)
    t.equal(total(app).stores, 1)
  })

  await t.test('a client that has left gets nothing, and others what there is', async (t) => {
    const app = await opened()
    let leave!: () => void
    const left = new Promise<void>((resolve) => { leave = resolve })
    app.addHook('onRequestAbort', async (_request) => { leave() })
    const { gates } = cached(app, fails)
    gates[1] = gate()
    await app.listen({ port: 0, host: '127.0.0.1' })
    await app.inject('/')
    await settled(app)
    app.pass(15)
    const client = send(app, 'GET', '/')
    await gates[1].reached
    client.destroy()
    await left
    gates[1].open()
    await settled(app)
    t.match(total(app), { rescued: 0, refusals: { status: 1 } })
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
  })

  await t.test('switched off, or not told of all invalidations: the error', async (t) => {
    for (const spoil of [
      (app: FastifyInstance) => { app.cache.enabled = false },
      (app: FastifyInstance) => { insideOf(app).invalidation.journal.kept.set('', { keys: ['other'], tags: [], prefixes: [], all: false }) },
      (app: CachedApp & Clock) => { app.pass(55) }
    ]) {
      const app = await opened()
      const { gates } = cached(app, unavailable)
      gates[1] = gate()
      await app.inject('/')
      await settled(app)
      app.pass(15)
      const asked = app.inject('/')
      await gates[1].reached
      spoil(app)
      gates[1].open()
      t.match(await asked, { statusCode: 503, body: 'down', headers: { 'cache-status': /^fastify-route-cache; fwd=miss(?:; detail=status)?$/ } })
      await settled(app)
      t.equal(total(app).rescued, 0)
      if (app.cache.enabled) t.match(await app.inject('/'), { statusCode: 503 })
    }
  })

  for (const target of ['k', { tags: ['t'] }, { prefix: 'k' }, { all: true }] as const) {
    await t.test(`invalidated while the handler runs: only who began before: ${JSON.stringify(target)}`, async (t) => {
      const app = await opened()
      const { gates } = cached(app, unavailable, { tags: ['t'] })
      gates[1] = gate()
      await app.inject('/')
      await settled(app)
      app.pass(15)
      const asked = app.inject('/')
      await gates[1].reached
      await app.cache.invalidate(target)
      const next = app.inject('/')
      await beyondLookup(app)
      gates[1].open()
      t.match(await asked, { statusCode: 200, body: 'run 1' })
      t.match(await next, { statusCode: 503, body: 'down' })
      t.match(await app.inject('/'), { statusCode: 503, body: 'down' })
    })
  }

  for (const target of ['k', { tags: ['t'] }] as const) {
    await t.test(`made stale: ${JSON.stringify(target)}`, async (t) => {
      const app = await opened()
      const { runs } = cached(app, (request, reply, run) => run === 3 ? fails(request, reply, run) : `run ${run}`, { tags: ['t'] })
      await app.inject('/')
      await settled(app)
      app.pass(5)
      await app.cache.invalidate(target, { soft: true })
      t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': 'fastify-route-cache; fwd=miss' } })
      await settled(app)
      app.pass(5)
      await app.cache.invalidate(target, { soft: true })
      t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': /; fwd=stale; fwd-status=500; ttl=-5; detail=stale-if-error$/ } })
      t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': AT_ONCE } })
      t.equal(runs(), 3)
    })
  }

  await t.test('made stale it is not served while it is refreshed for longer than it would have been', async (t) => {
    const app = await opened()
    cached(app, (_, __, run) => `run ${run}`, { ttl: 100, staleWhileRevalidate: 10, staleIfError: 1000 })
    await app.inject('/')
    await settled(app)
    app.pass(5)
    await app.cache.invalidate('k', { soft: true })
    app.pass(11)
    t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': 'fastify-route-cache; fwd=miss' } })
  })

  await t.test('behind a stale answer: once the entry is dead, nobody waits for what failed', async (t) => {
    const app = await opened()
    const { runs } = cached(app, fails, { staleWhileRevalidate: 10 })
    await app.inject('/')
    await settled(app)
    app.pass(15)
    t.match((await app.inject('/')).headers['cache-status'], 'fastify-route-cache; hit; ttl=-5')
    while (!app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed'))) await turn()
    app.pass(6)
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
    await beyondLookup(app)
    t.equal(runs(), app.cache.stats().store === 'redis' ? 2 : runs())
    t.match(total(app), { misses: 1, rescued: 0, stale: 2 })
  })

  await t.test('who waits for a refresh that fails', async (t) => {
    const app = await opened()
    const { gates } = cached(app, fails, { staleWhileRevalidate: 10 })
    gates[1] = gate()
    await app.inject('/')
    await settled(app)
    app.pass(19)
    await app.inject('/')
    await gates[1].reached
    app.pass(2)
    const waiting = app.inject('/')
    await beyondLookup(app)
    gates[1].open()
    t.match(await waiting, { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
  })

  await t.test('who forces a refresh gets the error', async (t) => {
    const app = await opened()
    cached(app, unavailable, { honourNoCache: true })
    await app.inject('/')
    await settled(app)
    app.pass(15)
    t.match(await app.inject({ url: '/', headers: { 'cache-control': 'no-cache' } }), { statusCode: 503, body: 'down' })
  })

  await t.test('an error that is stored does not take the place of what stands in for it', async (t) => {
    const app = await opened()
    const { gates } = cached(app, unavailable, { statuses: { 503: 30 }, staleWhileRevalidate: 5 })
    await app.inject('/')
    await settled(app)
    app.pass(12)
    await app.inject('/')
    while (!app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed'))) await turn()
    app.pass(FAILURE_TIME / 1000)
    gates[2] = gate()
    const asked = app.inject('/')
    await gates[2].reached
    app.cache.enabled = false
    gates[2].open()
    t.match(await asked, { statusCode: 503 })
    app.cache.enabled = true
    app.pass(FAILURE_TIME / 1000)
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': /fwd-status=503/ } })
    app.pass(60)
    t.match(await app.inject('/'), { statusCode: 503, headers: { 'cache-status': /^fastify-route-cache; fwd=miss(?:; detail=status)?$/ } })
    await settled(app)
    t.match(await app.inject('/'), { statusCode: 503, headers: { 'cache-status': 'fastify-route-cache; hit; ttl=30' } })
  })

  await t.test('an error that is stored stands in for nothing', async (t) => {
    const app = await opened()
    let status = 503
    app.get('/', { cache: { key: 'k', ttl: 10, staleIfError: 60, statuses: { 503: 5, 404: 5 } } }, async (_, reply) =>
      reply.code(status).send(`${status}`))
    await app.inject('/')
    await settled(app)
    t.match(await app.inject('/'), { statusCode: 503, headers: { 'cache-status': /hit; ttl=5/ } })
    app.pass(6)
    status = 500
    t.match(await app.inject('/'), { statusCode: 500, body: '500' })
    await settled(app)
    status = 404
    await app.cache.invalidate('k')
    await app.inject('/')
    await settled(app)
    app.pass(6)
    status = 500
    t.match(await app.inject('/'), { statusCode: 404, headers: { 'cache-status': /fwd-status=500/ } }, 'that there is none is an answer')
  })

  await t.test('each variant by itself', async (t) => {
    const app = await opened()
    let isAway = false
    app.get('/', { cache: { key: 'k', ttl: 10, staleIfError: 60, vary: ['x-lang'] } }, async (request) => {
      const lang = String(request.headers['x-lang'])
      if (isAway && lang === 'de') throw new Error('no')
      return lang
    })
    const ask = async (lang: string): Promise<string> => {
      const { body, headers } = await app.inject({ url: '/', headers: { 'x-lang': lang } })
      await settled(app)
      return `${body} ${String(headers['cache-status'])}`
    }
    await ask('de')
    await ask('en')
    app.pass(15)
    isAway = true
    t.match(await ask('de'), /^de .*fwd-status=500/)
    t.match(await ask('de'), /^de .*; hit; ttl=-5; detail=stale-if-error$/)
    t.match(await ask('en'), /^en fastify-route-cache; fwd=miss$/)
  })

  await t.test("with ttl: 'origin' the handler's own directives count", async (t) => {
    const fields: Array<[cacheControl: string, isRescued: boolean, option?: CacheOptions]> = [
      ['max-age=10, stale-if-error=60', true],
      ['max-age=10', false],
      ['max-age=10, stale-while-revalidate=60', true, { staleIfError: 60, staleWhileRevalidate: 0 }],
      ['max-age=10', true, { staleIfError: 60 }],
      ['max-age=10, stale-if-error=60', false, { staleIfError: 0 }],
      ['max-age=10, stale-if-error=2', false, { staleIfError: 60 }],
      ['max-age=10, stale-if-error=60, must-revalidate', false],
      ['max-age=10, stale-if-error=60, proxy-revalidate', false],
      ['s-maxage=10, stale-if-error=60', false],
      ['max-age=10', true, { ttl: 10, staleIfError: 60 }],
      ['max-age=10, must-revalidate', false, { ttl: 10, staleIfError: 60 }]
    ]
    for (const [cacheControl, isRescued, option] of fields) {
      const app = await opened()
      let runs = 0
      app.get('/', { cache: { key: 'k', ttl: 'origin', ...option } }, async (_, reply) => {
        if (++runs > 1) throw new Error('no')
        return reply.header('cache-control', cacheControl).send('x')
      })
      await app.inject('/')
      await settled(app)
      app.pass(15)
      t.equal((await app.inject('/')).statusCode, isRescued ? 200 : 500, `${cacheControl} ${JSON.stringify(option ?? {})}`)
    }
  })

  await t.test('in front of the handler', async (t) => {
    const app = await opened()
    app.addHook('preHandler', async (request) => { (request as { who?: string }).who = 'ann' })
    cached(app, fails, { identity: (request) => (request as { who?: string }).who })
    await app.inject('/')
    await settled(app)
    app.pass(15)
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': /fwd-status=500/ } })
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': AT_ONCE } })
  })
})

t.test('what is remembered of failures is bounded', async (t) => {
  let now = 1_000
  const failures = new Failures(() => now)
  const entry = { storedAt: 0 } as Entry
  for (let i = 0; i < 10_010; i++) failures.note(`n${i}`)
  t.equal(failures.size, 10_000)
  t.strictSame([failures.has('n9', entry), failures.has('n10', entry)], [false, true], 'the oldest go first')
  now += FAILURE_TIME
  t.equal(failures.has('n10', entry), false)
  failures.note('other')
  t.equal(failures.size, 1)
  t.strictSame([failures.has('other', { storedAt: now - 1 } as Entry), failures.has('other', { storedAt: now } as Entry)], [true, false],
    'what was stored since has succeeded')
})
