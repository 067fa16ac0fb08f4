// Filled again shortly before the end: by chance, by what the handler took, and behind a hit that is served at once.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { useOf, type Entry } from '../../plugin/entry/entry.js'
import type { CacheOptions, CacheStats, RouteCacheOptions } from '../../plugin/index.js'
import { beyondLookup, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

interface Clock { pass: (seconds: number) => void, chance: { next: () => number } }

interface Route { runs: () => number, gates: ReturnType<typeof gate>[], seen: FastifyRequest[] }

/** A route that is fresh for 10 seconds, whose handler takes 2; runs but the first are held at gates. */
function cached (app: CachedApp & Clock, cache: CacheOptions = {}): Route {
  const gates = Array.from({ length: 5 }, gate)
  const seen: FastifyRequest[] = []
  gates[0]!.open()
  app.get('/', { cache: { key: 'k', ttl: 10, earlyRefresh: true, ...cache } }, async (request) => {
    const run = seen.push(request)
    await gates[run - 1]!.wait()
    app.pass(2)
    if (request.headers['x-fail'] !== undefined && run > 1) throw new Error('no')
    return `run ${run}`
  })
  return { runs: () => seen.length, gates, seen }
}

function total (app: FastifyInstance): CacheStats['total'] {
  return app.cache.stats().total
}

/** The same numbers each time. */
function numbers (seed: number): () => number {
  return () => {
    seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32
    return seed / 2 ** 32
  }
}

t.test('when an entry is due', async (t) => {
  let asked = 0
  const giving = (number: number) => () => { asked++; return number }
  const entry = { staleAt: 100_000, cost: 1_000, softenings: [] as readonly number[] } as Entry
  const isDue = (entry: Entry, now: number, chance: () => number): boolean => useOf(entry, now, { mayBeEarly: true, chance }) === 'early'
  // -ln(0.5) = 0.693
  t.strictSame([99_306, 99_307, 99_308].map((now) => isDue(entry, now, giving(0.5))), [false, true, true])
  t.strictSame([94_000, 96_000].map((now) => isDue(entry, now, giving(0.01))), [false, true], 'the more unlikely the farther')
  t.equal(isDue(entry, 99_999, giving(0.9999999)), false)
  t.equal(asked, 6)
  t.equal(isDue(entry, 62_000, giving(0)), false, 'far from its end nothing is drawn')
  t.equal(isDue({ ...entry, cost: 0 }, 99_999, giving(0)), false, 'nor where the handler took no time')
  t.equal(asked, 6)
  t.equal(isDue(entry, 64_000, giving(0)), true)
})

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options: RouteCacheOptions = {}): Promise<CachedApp & Clock> => {
    let now = 1_700_000_000_000
    const chance = { next: () => 0.5 }
    const app = await open({ prefix: `app-${++apps}`, now: () => now, random: () => chance.next(), ...options })
    return Object.assign(app, { pass: (seconds: number) => { now += seconds * 1000 }, chance })
  }

  await t.test('near its end a hit has the handler run behind it', async (t) => {
    const app = await opened()
    const outcomes: unknown[] = []
    app.addHook('onResponse', async (request) => { outcomes.push(request.cacheOutcome?.type) })
    const { runs, gates, seen } = cached(app)
    await app.inject('/')
    await settled(app)
    // -ln(0.5) * 2 s before its end.
    app.pass(8.613)
    t.match(await app.inject('/'), { body: 'run 1', headers: { 'cache-status': 'fastify-route-cache; hit; ttl=2' } })
    await beyondLookup(app)
    t.equal(runs(), 1)
    app.pass(0.001)
    t.match(await app.inject({ url: '/', headers: { 'x-mine': '1' } }), { body: 'run 1', headers: { 'cache-status': 'fastify-route-cache; hit; ttl=2' } })
    await gates[1]!.reached
    for (let i = 0; i < 5; i++) t.match(await app.inject('/'), { body: 'run 1' })
    await beyondLookup(app)
    t.equal(runs(), 2, 'one at a time')
    t.equal(seen[1]!.headers['x-mine'], '1', 'it comes as the one came that caused it')
    gates[1]!.open()
    await settled(app)
    t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': 'fastify-route-cache; hit; ttl=10' } })
    t.match(total(app), { hits: 8, stale: 0, misses: 1, refreshes: 1, stores: 2, errors: 0 })
    t.strictSame(outcomes.filter((type) => type === 'own').length, 1)
  })

  await t.test('without the option it ends', async (t) => {
    const app = await opened({ random: () => 0 })
    const { runs, gates } = cached(app, { earlyRefresh: false })
    gates[1]!.open()
    await app.inject('/')
    await settled(app)
    app.pass(9.999)
    await app.inject('/')
    await beyondLookup(app)
    t.equal(runs(), 1)
    app.pass(0.001)
    t.match(await app.inject('/'), { body: 'run 2', headers: { 'cache-status': 'fastify-route-cache; fwd=miss' } })
  })

  await t.test('a key that is asked for often never ends', async (t) => {
    const app = await opened({ random: numbers(7) })
    // Entries in Redis end by its own clock: 40 s are longer than this takes. In-process leases end by ours, after 3 s.
    app.get('/', { cache: { key: 'k', ttl: 40, earlyRefresh: true } }, async () => {
      app.pass(2)
      return 'x'
    })
    await app.inject('/')
    await settled(app)
    for (let tick = 0; tick < 30; tick++) {
      for (let i = 0; i < 30; i++) await app.inject('/')
      await beyondLookup(app)
      await settled(app)
      app.pass(2)
    }
    const { misses, hits, refreshes } = total(app)
    t.strictSame({ misses, hits }, { misses: 1, hits: 900 })
    t.ok(refreshes >= 1 && refreshes < 8, `${refreshes} refreshes in 60 s or more`)
  })

  await t.test('one that fails leaves what is there', async (t) => {
    const app = await opened()
    const { gates } = cached(app)
    for (const each of gates) each.open()
    await app.inject('/')
    await settled(app)
    app.pass(9)
    t.match(await app.inject({ url: '/', headers: { 'x-fail': '1' } }), { statusCode: 200, body: 'run 1' })
    while (!app.lines.some(({ msg }) => String(msg).startsWith('cache refresh failed'))) await turn()
    t.match(total(app), { refreshes: 1, stores: 1, refusals: { status: 1 } })
  })

  await t.test('what is invalidated meanwhile is not stored', async (t) => {
    const app = await opened()
    const { gates } = cached(app)
    await app.inject('/')
    await settled(app)
    app.pass(9)
    await app.inject('/')
    await gates[1]!.reached
    await app.cache.invalidate('k')
    gates[1]!.open()
    gates[2]!.open()
    await settled(app)
    t.match(total(app), { refreshes: 1, stores: 1, refusals: { lease: 1 } })
    t.match(await app.inject('/'), { body: 'run 3', headers: { 'cache-status': 'fastify-route-cache; fwd=miss' } })
  })

  await t.test('of a value that was given it is not known what the handler takes', async (t) => {
    const app = await opened({ random: () => 0 })
    const { runs } = cached(app)
    await app.cache.set('k', async () => {
      app.pass(2)
      return 'given'
    }, { route: '/' })
    app.pass(9)
    t.match(await app.inject('/'), { body: 'given' })
    await beyondLookup(app)
    t.equal(runs(), 0)
  })

  await t.test('a stream costs what it took to its first answer, and HEAD has it refreshed, too', async (t) => {
    const app = await opened()
    let runs = 0
    const second = gate()
    second.open()
    app.get('/', { cache: { key: 'k', ttl: 10, earlyRefresh: true } }, async () => {
      app.pass(2)
      if (++runs === 2) await second.wait()
      return new Response(`run ${runs}`)
    })
    await app.inject('/')
    await settled(app)
    app.pass(9)
    t.match(await app.inject({ method: 'HEAD', url: '/' }), { statusCode: 200 })
    await second.reached
    await settled(app)
    t.match(await app.inject('/'), { body: 'run 2' })
  })

  await t.test('jitter shortens, and never lengthens', async (t) => {
    const app = await opened({ jitter: 0.5 })
    let runs = 0
    app.get('/', { cache: { key: 'k', ttl: 10 } }, async () => `run ${++runs}`)
    for (const [random, life] of [[0.5, 7.5], [0, 10], [0.999999, 5.001]] as const) {
      app.chance.next = () => random
      const { body } = await app.inject('/')
      await settled(app)
      app.pass(life - 0.001)
      t.match(await app.inject('/'), { body, headers: { 'cache-status': 'fastify-route-cache; hit; ttl=1' } })
      app.pass(0.001)
      t.match((await app.inject('/')).headers['cache-status'], 'fastify-route-cache; fwd=miss')
      await settled(app)
      await app.cache.invalidate('k')
    }
    app.chance.next = () => 0.5
    let loads = 0
    const load = async (): Promise<number> => await app.cache.getOrSet('v', { ttl: 10 }, async () => ++loads)
    await load()
    await settled(app)
    app.pass(7.499)
    t.equal(await load(), 1)
    app.pass(0.001)
    t.equal(await load(), 2)
  })

  await t.test('with the most jitter that there is, something is left', async (t) => {
    const app = await opened({ jitter: 1, random: () => 1 - 2 ** -53 })
    app.get('/', { cache: { key: 'k', ttl: '1h' } }, async () => 'x')
    await app.inject('/')
    await settled(app)
    t.match((await app.inject('/')).headers['cache-status'], app.cache.stats().store === 'redis' ? /./ : 'fastify-route-cache; hit; ttl=1')
    t.equal(total(app).stores, 1)
    t.equal(total(app).errors, 0)
  })
})
