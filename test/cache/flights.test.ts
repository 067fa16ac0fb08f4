// One run: requests for a cold key wait for the one that runs the handler, in this process or in another; once, for a
// bounded time, and never for what can't be shared.
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Flights } from '../../plugin/cache/flight.js'
import type { CacheOptions } from '../../plugin/index.js'
import { LEASE_TIME } from '../../plugin/store/store.js'
import { beyondLookup, cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { timed } from '../helpers/timed.js'

const MISS = 'fastify-route-cache; fwd=miss'
const COLLAPSED = /^fastify-route-cache; fwd=miss; collapsed; ttl=\d+$/
type Handler = (request: FastifyRequest, reply: FastifyReply, run: number) => unknown

/** A cached route whose runs are counted, each held at the gate until it is opened. */
function held (app: CachedApp, handler: Handler = (_, __, run) => run, cache: CacheOptions = {}): {
  gate: ReturnType<typeof gate>, runs: () => number, most: () => number
} {
  const held = gate()
  let [runs, now, most] = [0, 0, 0]
  app.get('/', { cache: { key: 'k', ...cache } }, async (request, reply) => {
    const run = ++runs
    most = Math.max(most, ++now)
    await held.wait()
    now--
    return await handler(request, reply, run)
  })
  return { gate: held, runs: () => runs, most: () => most }
}

/** Resolves once so many requests of the app have got as far as this. */
async function reached (app: CachedApp, path: 'incoming' | 'miss', count: number): Promise<void> {
  const words = path === 'miss' ? 'cache miss' : 'incoming request'
  while (app.lines.filter(({ msg }) => msg === words).length < count) await turn()
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })

  await t.test('many requests for a cold key run the handler once', async (t) => {
    const app = await opened()
    const { gate, runs } = held(app)
    const asked = Array.from({ length: 20 }, async () => await app.inject('/'))
    await reached(app, 'incoming', 20)
    await beyondLookup(app)
    gate.open()
    const answers = await Promise.all(asked)
    t.equal(runs(), 1)
    t.ok(answers.every(({ statusCode, body }) => statusCode === 200 && body === '1'))
    const signs = answers.map(({ headers }) => String(headers['cache-status']))
    t.equal(signs.filter((sign) => sign === MISS).length, 1)
    t.equal(signs.filter((sign) => COLLAPSED.test(sign)).length, 19)
    t.match(app.cache.stats().total, { hits: 19, collapsed: 19, misses: 1, stores: 1, refusals: {}, errors: 0 })
    t.match((await app.inject('/')).headers['cache-status'], /hit/)
  })

  const unshareable: Record<string, Handler> = {
    throws: () => { throw new Error('no') },
    'says no-store': (_, reply) => reply.header('cache-control', 'no-store').send('x'),
    'sets a cookie': (_, reply) => reply.header('set-cookie', 'a=b').send('x'),
    'calls noCache': (_, reply) => reply.noCache().send('x'),
    hijacks: (_, reply) => { reply.hijack(); reply.raw.end('x') }
  }
  for (const [name, handler] of Object.entries(unshareable)) {
    await t.test(`a handler that ${name} lets the others go, side by side`, async (t) => {
      const app = await opened()
      const second = gate()
      const { gate: first, runs } = held(app, async (request, reply, run) => {
        if (run > 1) await second.wait()
        return await handler(request, reply, run)
      })
      const asked = Array.from({ length: 8 }, async () => await app.inject('/'))
      await reached(app, 'incoming', 8)
      await beyondLookup(app)
      t.equal(runs(), 1, 'they wait for the first')
      first.open()
      // Would never come, were they run one after another.
      const { time, late } = await timed(async () => { await reached(app, 'miss', 8) })
      t.ok(time < 5_000 + late, 'none of them waits for another')
      while (runs() < 8) await turn()
      t.equal(runs(), 8)
      second.open()
      const answers = await Promise.all(asked)
      t.ok(answers.every(({ headers }) => !/hit|collapsed/.test(String(headers['cache-status']))))
      t.equal(app.cache.stats().total.collapsed, 0)
    })
  }

  await t.test('a key that is known to be unshareable is not waited for', async (t) => {
    const app = await opened()
    const second = gate()
    const seen = { runs: 0, isShared: false }
    const handler = async (_: FastifyRequest, reply: FastifyReply): Promise<string> => {
      if (++seen.runs > 1) await second.wait()
      if (!seen.isShared) reply.header('cache-control', 'no-store')
      return 'x'
    }
    app.get('/', { cache: { key: 'k' } }, handler)
    await app.inject('/')
    await settled(app)
    // On Redis, another process knows it, too.
    const other = app.cache.stats().store === 'memory' ? app : await opened({ prefix: `app-${apps}` })
    if (other !== app) other.get('/', { cache: { key: 'k' } }, handler)
    const asked = Array.from({ length: 6 }, async () => await other.inject('/'))
    while (seen.runs < 7) await turn()
    t.equal(seen.runs, 7, 'all at once')
    seen.isShared = true
    second.open()
    t.ok((await Promise.all(asked)).every(({ headers }) => headers['cache-status'] === MISS))
    await settled(other)
    t.match(other.cache.stats().total, { stores: 1 }, 'one of them had the lease, and could store')
    t.match((await other.inject('/')).headers['cache-status'], /hit/)
  })

  await t.test('others than the leader\'s variant get their own', async (t) => {
    const app = await opened()
    const { gate, runs } = held(app, (request, reply) => {
      reply.header('vary', 'accept-language')
      return request.headers['accept-language']
    })
    const languages = ['de', 'en', 'de', 'fr', 'en', 'de']
    const asked = [app.inject({ url: '/', headers: { 'accept-language': 'de' } })]
    await gate.reached
    for (const language of languages) asked.push(app.inject({ url: '/', headers: { 'accept-language': language } }))
    await reached(app, 'incoming', 7)
    await beyondLookup(app)
    t.equal(runs(), 1)
    gate.open()
    t.strictSame((await Promise.all(asked)).map(({ body }) => body), ['de', ...languages])
    t.equal(runs(), 3, 'one for each language')
  })

  await t.test('others than the leader\'s identity get their own', async (t) => {
    const app = await opened()
    const { gate, runs } = held(app, (request) => request.headers['x-user'], {
      identity: (request) => String(request.headers['x-user'])
    })
    const users = ['ann', 'bob', 'ann', 'eve']
    const asked = [app.inject({ url: '/', headers: { 'x-user': 'ann' } })]
    await gate.reached
    for (const user of users) asked.push(app.inject({ url: '/', headers: { 'x-user': user } }))
    await reached(app, 'incoming', 5)
    await beyondLookup(app)
    gate.open()
    t.strictSame((await Promise.all(asked)).map(({ body }) => body), ['ann', ...users])
    t.equal(runs(), 3, 'one for each user')
  })

  for (const target of ['k', { tags: ['t'] }, { tags: ['own'] }, { prefix: 'k' }, { all: true }] as const) {
    await t.test(`who begins after an invalidation gets nothing older from the flight: ${JSON.stringify(target)}`, async (t) => {
      const app = await opened()
      let row = 'old'
      const gates = [gate(), gate()]
      let runs = 0
      app.get('/', { cache: { key: 'k', tags: ['t'] } }, async (_, reply) => {
        const read = row
        await gates[runs++]?.wait()
        reply.cacheTags('own')
        return read
      })
      const leading = app.inject('/')
      await gates[0]!.reached
      row = 'new'
      await app.cache.invalidate(target)
      const following = [app.inject('/'), app.inject('/')]
      await reached(app, 'incoming', 3)
      await beyondLookup(app)
      gates[0]!.open()
      t.equal((await leading).body, 'old')
      gates[1]!.open()
      t.strictSame((await Promise.all(following)).map(({ body }) => body), ['new', 'new'])
      t.equal(runs, 2, 'and one of them ran the handler')
      t.equal((await app.inject('/')).body, 'new')
    })
  }

  await t.test('a handler that never replies is waited for as long as waitTimeout says, and by nobody who comes later', async (t) => {
    const app = await opened({ waitTimeout: 0.5 })
    const never = gate()
    let runs = 0
    app.get('/', { cache: { key: 'k' } }, async () => {
      if (++runs === 1) await never.wait()
      return runs
    })
    const leading = app.inject('/')
    await never.reached
    const began = performance.now()
    const waiting = await Promise.all([app.inject('/'), app.inject('/'), app.inject('/')])
    const took = performance.now() - began
    t.ok(took >= 495, `they waited: ${took} ms`)
    t.ok(waiting.every(({ headers }) => headers['cache-status'] === MISS))
    t.equal(runs, 4)
    const { time, late } = await timed(async () => await Promise.all([app.inject('/'), app.inject('/')]))
    t.ok(time < 495 + late, `these did not: ${time} ms, timers were late by ${late}`)
    never.open()
    await leading
  })

  await t.test('waitTimeout 0: each runs its own', async (t) => {
    const app = await opened()
    const { gate, runs } = held(app, undefined, { waitTimeout: 0 })
    const asked = Array.from({ length: 5 }, async () => await app.inject('/'))
    while (runs() < 5) await turn()
    gate.open()
    t.strictSame((await Promise.all(asked)).map(({ headers }) => headers['cache-status']), Array(5).fill(MISS))
    await settled(app)
    t.match(app.cache.stats().total, { stores: 1, refusals: { lease: 4 } }, 'and one of them stores')
  })

  await t.test('a HEAD neither waits nor is waited for', async (t) => {
    const app = await opened()
    const { gate, runs } = held(app)
    const heading = app.inject({ url: '/', method: 'HEAD' })
    await gate.reached
    const getting = app.inject('/')
    while (runs() < 2) await turn()
    const other = app.inject({ url: '/', method: 'HEAD' })
    while (runs() < 3) await turn()
    gate.open()
    await Promise.all([heading, getting, other])
    t.equal((await getting).headers['cache-status'], MISS)
    t.match(app.cache.stats().total, { misses: 3, collapsed: 0 })
  })

  await t.test('a client that leaves does not take the response with it', async (t) => {
    const app = await opened()
    const { gate, runs } = held(app)
    const leader = await opening(t, app)
    await gate.reached
    const following = [app.inject('/'), app.inject('/')]
    await reached(app, 'incoming', 3)
    await beyondLookup(app)
    const aborted = new Promise<void>((resolve) => { app.server.once('request-left', resolve) })
    leader.destroy()
    await aborted
    gate.open()
    const answers = await Promise.all(following)
    t.ok(answers.every(({ body, headers }) => body === '1' && COLLAPSED.test(String(headers['cache-status']))))
    t.equal(runs(), 1)
  })

  await t.test('a handler that closes the socket is not waited for longer than waitTimeout, and its key is filled again', async (t) => {
    const app = await opened({ waitTimeout: 0.2 })
    const { gate, runs } = held(app, async (_, reply, run) => {
      if (run > 1) return run
      reply.raw.destroy()
      await new Promise(() => {})
    })
    const leader = await opening(t, app)
    await gate.reached
    const following = [app.inject('/'), app.inject('/')]
    await reached(app, 'incoming', 3)
    await beyondLookup(app)
    const failed = once(leader, 'error')
    gate.open()
    await failed
    t.ok((await Promise.all(following)).every(({ statusCode }) => statusCode === 200))
    t.ok(runs() <= 3)
    // Until the lease has ended each runs its own; then one of them fills.
    const until = performance.now() + 10 * LEASE_TIME
    let sign = ''
    while (!sign.includes('hit') && performance.now() < until) {
      sign = String((await app.inject('/')).headers['cache-status'])
      await turn()
    }
    t.match(sign, /hit/)
  })
})

t.test('two processes on one Redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = async (): Promise<Redis> => {
    const redis = server.client()
    await redis.ping()
    return redis
  }
  const both = async (t: Test, options = {}): Promise<[CachedApp, CachedApp]> => {
    const prefix = `p${Math.random().toString(36).slice(2)}`
    const opened = await Promise.all([client(), client()])
    const [a, b] = await Promise.all(opened.map(async (redis) => await cachedApp(t, { redis, prefix, ...options })))
    return [a!, b!]
  }

  await t.test('one of them runs the handler, the other waits for its fill', async (t) => {
    const [a, b] = await both(t)
    const [first, second] = [held(a), held(b, () => 'b')]
    const leading = a.inject('/')
    await first.gate.reached
    const asked = [...Array.from({ length: 5 }, async () => await b.inject('/')), a.inject('/')]
    await reached(b, 'incoming', 5)
    await beyondLookup(b)
    first.gate.open()
    t.equal((await leading).headers['cache-status'], MISS)
    t.ok((await Promise.all(asked)).every(({ body }) => body === '1'))
    t.strictSame([first.runs(), second.runs()], [1, 0])
  })

  await t.test('a response that can not be shared lets the other process go, too', async (t) => {
    const [a, b] = await both(t)
    const first = held(a, (_, reply) => reply.header('cache-control', 'no-store').send('a'))
    const second = held(b, () => 'b')
    const leading = a.inject('/')
    await first.gate.reached
    const asked = Array.from({ length: 5 }, async () => await b.inject('/'))
    await reached(b, 'incoming', 5)
    await beyondLookup(b)
    t.equal(second.runs(), 0)
    first.gate.open()
    await leading
    while (second.runs() < 5) await turn()
    second.gate.open()
    t.ok((await Promise.all(asked)).every(({ body }) => body === 'b'))
  })

  await t.test('who begins behind an invalidation gets nothing older from the other process', async (t) => {
    for (const target of ['k', { tags: ['t'] }, { all: true }] as const) {
      const [a, b] = await both(t)
      let row = 'old'
      const slow = gate()
      a.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => {
        const read = row
        await slow.wait()
        return read
      })
      b.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => row)
      const leading = a.inject('/')
      await slow.reached
      row = 'new'
      await b.cache.invalidate(target)
      const following = b.inject('/')
      await beyondLookup(b)
      slow.open()
      await leading
      t.equal((await following).body, 'new', JSON.stringify(target))
      await settled(a)
      t.strictSame([(await a.inject('/')).body, (await b.inject('/')).body], ['new', 'new'])
    }
  })

  await t.test('a run that lost its lease is waited for no more', async (t) => {
    const [a, b] = await both(t)
    const slow = gate()
    let runs = 0
    a.get('/', { cache: { key: 'k' } }, async () => {
      const run = ++runs
      if (run === 1) await slow.wait()
      return run
    })
    const leading = a.inject('/')
    await slow.reached
    const following = [a.inject('/'), a.inject('/')]
    await reached(a, 'incoming', 3)
    await beyondLookup(a)
    await b.cache.invalidate('k')
    t.strictSame((await Promise.all(following)).map(({ body }) => body), ['2', '2'], 'while the first is still running')
    slow.open()
    t.equal((await leading).body, '1')
    await settled(a)
    t.equal((await a.inject('/')).body, '2')
  })

  await t.test('a handler that takes longer than a lease keeps it', async (t) => {
    const [a, b] = await both(t)
    const first = held(a)
    const leading = a.inject('/')
    await first.gate.reached
    await new Promise((resolve) => setTimeout(resolve, LEASE_TIME + 1_000))
    const second = held(b, () => 'b')
    const following = b.inject('/')
    await beyondLookup(b)
    first.gate.open()
    await leading
    t.equal((await following).body, '1')
    t.equal(second.runs(), 0)
    t.match(a.cache.stats().total, { stores: 1, refusals: {} })
  })

  await t.test('the lease of a process that is gone ends by itself', async (t) => {
    const [redis, other] = [await client(), await client()]
    const [a, b] = [await cachedApp(t, { redis, prefix: 'gone' }), await cachedApp(t, { redis: other, prefix: 'gone' })]
    const first = held(a)
    const second = held(b, () => 'b')
    second.gate.open()
    const leading = a.inject('/')
    await first.gate.reached
    t.equal(await other.exists('lease:{gone:k}'), 1)
    // What a process does not do any more when it is gone: its connection is.
    redis.disconnect()
    const { result, time, late } = await timed(async () => await b.inject('/'))
    t.equal(result.body, 'b')
    t.ok(time < LEASE_TIME + 1_000 + 2 * late, 'long before waitTimeout')
    await settled(b)
    t.match(b.cache.stats().total, { stores: 1 }, 'and it has the lease')
    first.gate.open()
    await leading
  })
})

/** A request over the network that is under way: `destroy()` it, and the server emits 'request-left'. */
async function opening (t: Test, app: CachedApp): Promise<ReturnType<typeof httpRequest>> {
  app.server.on('request', (_: IncomingMessage, response: NodeJS.EventEmitter) => {
    response.on('close', () => { app.server.emit('request-left') })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const request = httpRequest({ port, host: '127.0.0.1', agent: false }).end()
  request.on('error', () => {})
  t.teardown(() => { request.destroy() })
  return request
}

t.test('a fill that hangs is waited for as long as a lookup may take, by those who come behind its begin, too', async (t) => {
  const flights = new Flights()
  for (const when of ['before', 'behind']) {
    const flight = flights.open(when, when)
    const follower = when === 'before' ? flight.follow(60_000) : null
    flight.filling(20, () => { flights.land(flight, { type: 'pass' }) })
    t.strictSame(await (follower ?? flight.follow(60_000)), { type: 'pass' }, when)
  }
})
