// The kit for users' tests: what responses say, waiting, the clock, and the store that fails when told.
import { AssertionError } from 'node:assert'
import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import {
  assertBypass, assertHit, assertMiss, assertStale, fakeClock, faultyStore, inProcessCache, readCacheStatus, recovered,
  settled
} from '../../plugin/extras/testing/index.js'
import type { RouteCacheOptions, RouteStats } from '../../plugin/index.js'
import { BYPASS_WORDS } from '../../plugin/telling/reasons.js'
import { beyondLookup, cachedApp, gate, onEachStore, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

const said = (field: string): { headers: object } => ({ headers: { 'cache-status': field } })
const OURS = 'fastify-route-cache'

/** What the assertion throws, which must be node:assert's own error. */
function failureOf (assert: () => void): AssertionError {
  try {
    assert()
  } catch (error) {
    if (error instanceof AssertionError) return error
    throw error
  }
  throw new Error('it did not fail')
}

t.test('what the field says', async (t) => {
  const cases: Record<string, object> = {
    'hit; ttl=30': { outcome: 'hit', reason: null, ttl: 30, collapsed: false, forced: false, key: null },
    'fwd=miss; collapsed; ttl=9; key="user:1"': { outcome: 'hit', ttl: 9, collapsed: true, key: 'user:1' },
    'fwd=miss; collapsed; ttl=-9': { outcome: 'stale', collapsed: true },
    'hit; ttl=0': { outcome: 'stale', reason: 'stale-while-revalidate', ttl: 0 },
    'hit; ttl=-5': { outcome: 'stale', reason: 'stale-while-revalidate', ttl: -5 },
    'hit; ttl=-5; detail=stale-if-error': { outcome: 'stale', reason: 'stale-if-error' },
    'fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error': { outcome: 'stale', reason: 'stale-if-error', ttl: -5 },
    'fwd=miss': { outcome: 'miss', reason: null, ttl: null, forced: false },
    'fwd=request': { outcome: 'miss', forced: true },
    'fwd=bypass; detail=authorization': { outcome: 'bypass', reason: 'authorization' },
    'fwd=miss; key="a,b\\";c,d\\\\e"': { outcome: 'miss', key: 'a,b";c,d\\e' }
  }
  for (const [field, expected] of Object.entries(cases)) {
    t.match(readCacheStatus(said(`${OURS}; ${field}`)), { ...expected, member: `${OURS}; ${field}` }, field)
  }
  t.equal(readCacheStatus({ headers: {} }), null)
})

t.test('of several caches on the way it is ours', async (t) => {
  t.match(readCacheStatus(said(`cdn; hit, ${OURS}; fwd=miss, "other, cache"; hit`)), { outcome: 'miss' })
  t.match(readCacheStatus(said('cdn; fwd=miss, shop; hit; ttl=1')), { outcome: 'hit' }, 'under another name it is the nearest')
  t.match(readCacheStatus(said('shop; fwd=miss, cdn; hit; ttl=1'), { name: 'shop' }), { outcome: 'miss' })
  t.equal(readCacheStatus(said('cdn; hit'), { name: 'shop' }), null)
})

t.test('whatever kind of response, and what is none', async (t) => {
  const field = `${OURS}; hit; ttl=3`
  for (const headers of [{ 'Cache-Status': field }, new Headers({ 'cache-status': field }), { 'cache-status': [field] }]) {
    assertHit({ headers }, { ttl: 3 })
  }
  const promise = Promise.resolve(said(field)) as unknown as { headers: object }
  t.throws(() => { assertHit(promise) }, { code: 'FRC_OPTION', message: /await it/ })
  for (const value of [null, undefined, 'text', { body: '' }] as never[]) t.throws(() => { assertHit(value) }, { code: 'FRC_OPTION' })
})

t.test('assertions hold and fail, and say what it was instead', async (t) => {
  const hit = said(`${OURS}; hit; ttl=30; key=k`)
  const stale = said(`${OURS}; hit; ttl=-5`)
  const rescued = said(`${OURS}; fwd=stale; fwd-status=500; ttl=-5; detail=stale-if-error`)
  const miss = said(`${OURS}; fwd=miss`)
  const bypass = said(`${OURS}; fwd=bypass; detail=authorization`)
  const all = { hit, stale, rescued, miss, bypass }
  const assertions = { assertHit, assertStale, assertMiss, assertBypass }
  const asserts = { assertHit: [hit], assertStale: [stale, rescued], assertMiss: [miss], assertBypass: [bypass] }
  for (const [name, right] of Object.entries(asserts)) {
    const assert = (assertions as Record<string, (response: object) => void>)[name]!
    for (const [kind, response] of Object.entries(all)) {
      if (right.includes(response)) assert(response)
      else {
        const expected = { operator: name, message: /^expected a \w+, but it was a \w+/ }
        t.match(failureOf(() => { assert(response) }), expected, `${name} of ${kind}`)
      }
    }
  }
  assertHit(hit, { ttl: 30, key: 'k', collapsed: false })
  assertStale(rescued, { reason: 'stale-if-error', ttl: -5 })
  assertMiss(said(`${OURS}; fwd=request`), { forced: true })
  assertBypass(bypass, 'authorization')
  assertHit(said('shop; hit; ttl=1'), { name: 'shop' })

  t.match(failureOf(() => { assertHit(hit, { ttl: 31 }) }), {
    message: `expected a hit with ttl 31, but it was a hit (ttl 30)\nCache-Status: ${OURS}; hit; ttl=30; key=k`,
    actual: { outcome: 'hit', ttl: 30 },
    expected: { outcome: 'hit', ttl: 31 }
  })
  t.match(failureOf(() => { assertMiss(miss, { forced: true }) }).message, /^expected a miss with forced true, but it was a miss\n/)
  const refused = said(`${OURS}; fwd=miss; detail=set-cookie`)
  assertMiss(refused)
  assertMiss(refused, { refused: 'set-cookie' })
  assertMiss(miss, { refused: null })
  t.match(failureOf(() => { assertMiss(miss, { refused: 'private' }) }).message, /^expected a miss with refused "private", but it was a miss\n/)
  t.match(failureOf(() => { assertHit(refused) }).message, /^expected a hit, but it was a miss \(set-cookie\): its response is not stored: it sets a cookie/)
  t.match(failureOf(() => { assertHit(said(`${OURS}; fwd=miss; detail=policy`)) }).message, /not stored: the route's cache\.ttl or cache\.storeIf threw/)
  t.match(failureOf(() => { assertStale(rescued, { reason: 'stale-while-revalidate' }) }).message, /the handler failed just now/)
  t.match(failureOf(() => { assertBypass(bypass, 'cookie') }).message, /^expected a bypass with reason "cookie", but it was a bypass/)
  t.equal(failureOf(() => { assertHit(bypass) }).message, 'expected a hit, but it was a bypass (authorization): ' +
    `${BYPASS_WORDS.authorization}\nCache-Status: ${OURS}; fwd=bypass; detail=authorization`)
  t.match(failureOf(() => { assertHit({ headers: {}, statusCode: 404 } as never) }).message, /the response \(status 404\) has no Cache-Status/)
  t.match(failureOf(() => { assertHit(hit, { name: 'shop' }) }).message, /has no Cache-Status of "shop"/)
  const [first] = /^ +at .*$/m.exec(failureOf(() => { assertHit(miss) }).stack ?? '') ?? []
  t.match(first, /testing\.test\.ts/, 'the stack begins in the test')
})

t.test('of an app, by inject and by fetch, as its time goes by', async (t) => {
  const clock = fakeClock()
  const app = await cachedApp(t, { now: clock.now })
  app.get('/', { cache: { key: 'k', ttl: '5m', staleWhileRevalidate: '1m', honourNoCache: true } }, async () => 'x')
  const origin = await app.listen()
  const first = await app.inject('/')
  assertMiss(first)
  await settled(app)
  assertHit(await app.inject('/'), { ttl: 300 })
  assertBypass(await fetch(origin, { headers: { authorization: 'x' } }), 'authorization')
  assertMiss(await app.inject({ url: '/', headers: { 'cache-control': 'no-cache' } }), { forced: true })
  await settled(app)
  t.equal(clock.advance('5m'), Date.parse('2026-01-01T00:05:00Z'))
  assertStale(await fetch(origin), { reason: 'stale-while-revalidate', ttl: 0 })
  await settled(app)
  const fresh = await fetch(origin)
  assertHit(fresh, { ttl: 300 })
  t.equal(fresh.headers.get('date'), 'Thu, 01 Jan 2026 00:05:00 GMT')
  clock.advance(361)
  assertMiss(await fetch(origin))
})

t.test('the clock', async (t) => {
  const clock = fakeClock('2026-06-01T12:00:00Z')
  const { now } = clock
  t.equal(now(), Date.UTC(2026, 5, 1, 12))
  clock.advance(1.5)
  clock.advance('250ms')
  t.equal(now(), Date.UTC(2026, 5, 1, 12, 0, 1, 750))
  clock.set(new Date(7))
  t.equal(now(), 7)
  clock.set(8)
  t.equal(now(), 8)
  t.equal(fakeClock(5).now(), 5)
  for (const wrong of ['5', -1, NaN, undefined] as never[]) t.throws(() => clock.advance(wrong), { code: 'FRC_OPTION' }, String(wrong))
  for (const wrong of ['tomorrow', NaN, new Date(NaN)]) {
    t.throws(() => { clock.set(wrong) }, { code: 'FRC_OPTION' })
    t.throws(() => fakeClock(wrong), { code: 'FRC_OPTION', message: /^fakeClock: start is / })
  }
  t.equal(now(), 8)
})

await onEachStore(t, async (t, open) => {
  await t.test('settled waits for fills, refreshes, given-up leases and invalidations', async (t) => {
    let time = 0
    const app = await open({ now: () => Date.UTC(2026, 0, 1) + time })
    const total = (): RouteStats => app.cache.stats().total
    const held = { run: gate(), stream: gate() }
    app.get('/refused', { cache: { key: 'refused' } }, async (_, reply) => reply.noCache().send('x'))
    app.get('/stale', { cache: { key: 'stale', ttl: 1, staleWhileRevalidate: 60 } }, async () => {
      if (time > 0) await held.run.wait()
      return 'x'
    })
    app.post('/write', { cache: { invalidates: ['stale'] } }, async () => 'x')
    await app.inject('/refused')
    await app.inject('/stale')
    await settled(app)
    t.match(total(), { misses: 2, stores: 1, refusals: { 'no-cache-called': 1 } })
    t.equal(await app.cache.settled(), undefined, 'the same by the decorator')

    time = 2_000
    assertStale(await app.inject('/stale'))
    const waiting = settled(app.cache)
    await held.run.reached
    await t.rejects(settled(app, { timeout: '20ms' }), { code: 'FRC_DEADLINE', message: /^the cache is not settled after 20 ms: .*"stale"/ })
    held.run.open()
    await waiting
    t.match(total(), { refreshes: 1, stores: 2 })

    const invalidating = app.cache.invalidate('stale')
    let isDone = false
    invalidating.then(() => { isDone = true }, () => {})
    await settled(app)
    t.equal(isDone, true)
    t.equal((await app.inject({ method: 'POST', url: '/write' })).statusCode, 200)
  })

  await t.test('settled waits for a handler, and for a stream to its end', async (t) => {
    const app = await open({ prefix: 'runs' })
    const running = gate()
    app.get('/', { cache: { key: 'k' } }, async () => { await running.wait(); return new Response('text') })
    const response = app.inject('/')
    await running.reached
    let isDone = false
    const waiting = settled(app, { timeout: 0 }).then(() => { isDone = true })
    await beyondLookup(app)
    t.equal(isDone, false)
    running.open()
    await waiting
    t.equal(app.cache.stats().total.stores, 1)
    await response
    assertHit(await app.inject('/'))
  })

  await t.test('a store that fails, hangs, and works again', async (t) => {
    await outage(t, async (options) => await open({ prefix: 'faulty', ...options }))
  })

  await t.test('only writes fail', async (t) => {
    const store = faultyStore()
    const app = await open({ store, prefix: 'full', deadline: 30 })
    app.get('/:id', { cache: { key: '{id}' } }, async () => 'x')
    await app.inject('/1')
    await settled(app)
    store.fail('writes')
    assertHit(await app.inject('/1'))
    assertBypass(await app.inject('/2'), 'store')
    await t.rejects(app.cache.invalidate('1'), { code: 'FRC_STORE', message: /as faultyStore\(\) was told/ })
    store.mend()
    await recovered(app)
    assertMiss(await app.inject('/1'))
  })
})

/** What an app does while its store is away: the same whatever store it is. */
async function outage (t: Test, open: (options: RouteCacheOptions) => Promise<CachedApp>): Promise<void> {
  const store = faultyStore()
  const app = await open({ store, deadline: '500ms', writeDeadline: '500ms', breakerThreshold: 3 })
  let runs = 0
  app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => String(++runs))
  assertMiss(await app.inject('/'))
  await settled(app)
  const { body } = await app.inject('/')
  t.equal(body, '1')

  store.fail()
  const failing = await app.inject('/')
  assertBypass(failing, 'store')
  t.strictSame([failing.statusCode, failing.body], [200, '2'])
  store.mend()
  assertHit(await app.inject('/'), {})

  store.hang()
  assertBypass(await app.inject('/'), 'store')
  await t.rejects(app.cache.invalidate({ tags: ['t'] }), { code: 'FRC_DEADLINE' })
  assertBypass(await app.inject('/'), 'journal')
  await settled(app)
  await t.rejects(recovered(app, { timeout: '20ms' }), { code: 'FRC_DEADLINE', message: /not told of 1 invalidations/ })
  store.mend()
  await recovered(app)
  assertMiss(await app.inject('/'))
  await settled(app)

  store.fail()
  while (app.cache.stats().breaker === 'closed') await app.inject('/')
  assertBypass(await app.inject('/'), 'breaker')
  store.mend()
  await recovered(app)
  assertHit(await app.inject('/'))
  t.throws(() => { store.fail('reads' as never) }, { code: 'FRC_OPTION', message: /fail is "reads"/ })
  t.throws(() => { store.hang('reads' as never) }, { code: 'FRC_OPTION', message: /hang is "reads"/ })
}

t.test('a store that is away when the app starts, and when it closes', async (t) => {
  const store = faultyStore()
  store.fail()
  const app = await cachedApp(t, { store })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.ready()
  assertBypass(await app.inject('/'), 'store')
  store.hang('writes')
  await app.close()
})

t.test('in front of Redis with a tier', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const store = faultyStore()
  const app = await cachedApp(t, { redis, memory: {}, store })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  assertHit(await app.inject('/'))
  store.fail()
  assertBypass(await app.inject('/'), 'store')
})

t.test('what is no app', async (t) => {
  for (const wrong of [undefined, {}, { cache: {} }, createServer()] as never[]) {
    await t.rejects(settled(wrong), { code: 'FRC_OPTION', message: /app with the plugin registered/ })
    await t.rejects(recovered(wrong), { code: 'FRC_OPTION' })
  }
  const app = await cachedApp(t, { decorator: 'routeCache' })
  await settled((app as unknown as Record<string, CachedApp['cache']>).routeCache!)
  for (const timeout of ['x', -1] as never[]) {
    const cache = (app as unknown as Record<string, CachedApp['cache']>).routeCache!
    await t.rejects(settled(cache, { timeout }), { code: 'FRC_OPTION' })
    await t.rejects(recovered(cache, { timeout }), { code: 'FRC_OPTION' })
  }
})

t.test('a cache without routes and without a Redis: its calls, its clock, its faults, and what it takes', async (t) => {
  const clock = fakeClock()
  const store = faultyStore()
  const cache = await inProcessCache({ now: clock.now, store, logger: false, ttl: '1m' })
  t.teardown(async () => { await cache.close({ timeout: 0.01 }).catch(() => {}) })
  let loads = 0
  const load = async (): Promise<number> => ++loads
  const asked = async (): Promise<number> => {
    const value = await cache.getOrSet('k', { tags: ['t'] }, load)
    await settled(cache)
    return value
  }
  t.strictSame([await asked(), await asked()], [1, 1])
  for (const target of ['k', { tags: ['t'] }, { prefix: 'k' }, { all: true }] as const) {
    const before = loads
    await cache.invalidate(target)
    t.strictSame([await asked(), await asked()], [before + 1, before + 1])
  }
  await cache.mutate('k', () => {})
  t.equal(await asked(), 6)
  clock.advance('61s')
  t.equal(await asked(), 7)
  await cache.put('k', 70, { tags: ['t'] })
  t.equal(await asked(), 70)
  store.fail('writes')
  await t.rejects(cache.invalidate('k'), { code: 'FRC_STORE' })
  t.equal(await asked(), 8, 'nothing is served until the store was told')
  store.mend()
  await recovered(cache)
  t.equal(await asked(), 9)

  const other = await inProcessCache()
  t.teardown(async () => { await other.close() })
  t.equal(await other.getOrSet('k', {}, () => 'its own'), 'its own')
  t.match(other.stats(), { store: 'memory', values: { misses: 1 } })
  for (const [option, message] of [
    [{ redis: { url: 'redis://h' } }, /^inProcessCache: redis is .*leave it out, or use createCache/],
    [{ memory: {} }, /^inProcessCache: memory is \{\}; it is a tier/],
    [{ cacheStatus: false }, /^inProcessCache: cacheStatus is false; it is for routes/],
    [{ perfix: 'a' }, /^inProcessCache: perfix is "a"; there is no such option/]
  ] as const) await t.rejects(inProcessCache(option as never), { code: 'FRC_OPTION', message })
})
