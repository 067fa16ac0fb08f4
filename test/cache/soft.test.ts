// Soft invalidation: what may be served stale is so once more, while it is refreshed; what was read before is never fresh.
import type { FastifyInstance } from 'fastify'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { CacheOptions } from '../../plugin/index.js'
import { gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

const MISS = 'fastify-route-cache; fwd=miss'
const STALE = /^fastify-route-cache; hit; ttl=(0|-\d+)$/
const FRESH = /^fastify-route-cache; hit; ttl=([1-9]|10)$/
const SOFT = { soft: true }

interface Row { value: string }

interface Route { gates: Map<number, ReturnType<typeof gate>>, runs: () => number }

/** A route that answers with the row as it was when the handler began; runs may be held at gates by their number. */
function cached (app: FastifyInstance, row: Row, cache: CacheOptions = {}): Route {
  const gates = new Map<number, ReturnType<typeof gate>>()
  let runs = 0
  app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60, tags: ['t'], ...cache } }, async (_, reply) => {
    const { value } = row
    await gates.get(++runs)?.wait()
    reply.cacheTags('own')
    return value
  })
  return { gates, runs: () => runs }
}

/** Asks until somebody's run has brought this. */
async function until (app: FastifyInstance, body: string): Promise<string> {
  for (;;) {
    const answer = await app.inject('/')
    if (answer.body === body) return String(answer.headers['cache-status'])
    await turn()
  }
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  let now = 1_700_000_000_000
  const opened = async (): Promise<CachedApp> => await open({ prefix: `app-${++apps}`, now: () => now })

  for (const target of ['k', { tags: ['t'] }, { tags: ['own'] }] as const) {
    const name = JSON.stringify(target)
    await t.test(`stale at once, then what the handler says now: ${name}`, async (t) => {
      const app = await opened()
      const row = { value: 'old' }
      const { gates, runs } = cached(app, row)
      gates.set(2, gate())
      await app.inject('/')
      await settled(app)
      now += 5_000
      t.match((await app.inject('/')).headers['cache-status'], FRESH)
      row.value = 'new'
      await app.cache.invalidate(target, SOFT)
      const stale = await app.inject('/')
      t.match(stale, { body: 'old', headers: { age: '5', 'cache-status': 'fastify-route-cache; hit; ttl=-5' } })
      await gates.get(2)!.reached
      t.match(await app.inject('/'), { body: 'old', headers: { 'cache-status': STALE } })
      gates.get(2)!.open()
      t.match(await until(app, 'new'), FRESH)
      t.equal(runs(), 2)
    })

    await t.test(`a run that began before is never fresh: ${name}`, async (t) => {
      const app = await opened()
      const row = { value: 'old' }
      const { gates } = cached(app, row)
      gates.set(2, gate())
      await app.inject('/')
      await settled(app)
      now += 15_000
      t.match(await app.inject('/'), { body: 'old', headers: { 'cache-status': STALE } })
      await gates.get(2)!.reached
      row.value = 'new'
      await app.cache.invalidate(target, SOFT)
      gates.get(2)!.open()
      await settled(app)
      const next = await app.inject('/')
      if (next.body === 'old') t.match(next.headers['cache-status'], STALE)
      t.match(await until(app, 'new'), FRESH)
    })

    await t.test(`a miss that began before is never fresh: ${name}`, async (t) => {
      const app = await opened()
      const row = { value: 'old' }
      const { gates } = cached(app, row)
      gates.set(1, gate())
      const missing = app.inject('/')
      await gates.get(1)!.reached
      row.value = 'new'
      await app.cache.invalidate(target, SOFT)
      gates.get(1)!.open()
      t.equal((await missing).body, 'old')
      await settled(app)
      const next = await app.inject('/')
      if (next.body === 'old') t.match(next.headers['cache-status'], STALE)
      t.match(await until(app, 'new'), FRESH)
    })

    await t.test(`what may not be served stale goes: ${name}`, async (t) => {
      const app = await opened()
      const row = { value: 'old' }
      cached(app, row, { staleWhileRevalidate: 0 })
      await app.inject('/')
      await settled(app)
      row.value = 'new'
      await app.cache.invalidate(target, SOFT)
      t.match(await app.inject('/'), { body: 'new', headers: { 'cache-status': MISS } })
    })
  }

  await t.test('one that nobody asks for within its stale time ends', async (t) => {
    const app = await opened()
    const row = { value: 'old' }
    cached(app, row)
    await app.inject('/')
    await settled(app)
    row.value = 'new'
    await app.cache.invalidate('k', SOFT)
    now += 70_000
    t.match(await app.inject('/'), { body: 'new', headers: { 'cache-status': MISS } })
  })
})
