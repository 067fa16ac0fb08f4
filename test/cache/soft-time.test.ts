// For how long what is made stale is served: from when it was first made so, by its key or any of its tags, whatever makes
// it stale once more, and whatever the clocks say. No run but the first is stored: nothing takes the entry's place.
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { InvalidateTarget, RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

const HOUR = 3_600_000
const LIFE = 10 * HOUR
const STALE = 2 * HOUR
/** Above what a busy machine takes between two lines of a test: so far apart are the servers' time and the app's. */
const SLACK = HOUR / 10
const SOFT = { soft: true }
const KEY = 'k'
const TAG = { tags: ['a'] }
const OTHER = { tags: ['b'] }

interface Clock { time: number }

interface Site {
  app: CachedApp
  clock: Clock
  /** The store's; null: it has none but the app's. */
  redis: Redis | null
  /** Whether the old response is served, and `explain` says so. */
  isServed: () => Promise<boolean>
}

type Open = (t: Test, began?: number) => Promise<Site>

/** Its entry is there, `LIFE` fresh and then `STALE` in this way. */
function opener (way: 'staleWhileRevalidate' | 'staleIfError', redis: Redis | null, options: RouteCacheOptions): Open {
  return async (t, began = Date.now()) => {
    const clock = { time: began }
    await redis?.flushall()
    const app = await cachedApp(t, { ...options, prefix: 'shop', now: () => clock.time })
    let runs = 0
    app.get('/', { cache: { key: KEY, ttl: LIFE / 1000, [way]: STALE / 1000, tags: ['a'] } }, async (_, reply) => {
      // A refresh that fails leaves the entry as it is.
      if (++runs > 1) throw new Error('down')
      reply.cacheTags('b')
      return 'old'
    })
    await app.inject('/')
    await settled(app)
    const isServed = async (): Promise<boolean> => {
      const { outcome } = await app.cache.explain('/')
      const isOld = (await app.inject('/')).body === 'old'
      await settled(app)
      // A handler that has not failed yet is asked first, and of what may stand in `explain` knows only then.
      if (way === 'staleWhileRevalidate') t.equal(outcome, isOld ? 'stale' : 'miss', 'explain says so')
      return isOld
    }
    return { app, clock, redis, isServed }
  }
}

interface Ends { at: number, until?: number }

/** It is served until `at`, and at no instant beyond, as far as `until`. */
async function ends (t: Test, { clock, isServed }: Site, { at, until = at + 15 * HOUR }: Ends): Promise<void> {
  clock.time = Math.max(clock.time, at - SLACK)
  t.equal(await isServed(), true, 'until then it is served')
  for (clock.time = at + SLACK; clock.time < until; clock.time += HOUR / 2) {
    if (await isServed()) throw new Error(`it is served ${(clock.time - at) / HOUR} hours longer than it may be`)
  }
}

async function cases (t: Test, open: Open): Promise<void> {
  const both = { keys: [KEY], tags: ['a'] }
  for (const [first, second] of [[TAG, KEY], [OTHER, KEY], [KEY, TAG], [KEY, OTHER], [KEY, KEY], [both, KEY]] as const) {
    await t.test(`made stale by ${JSON.stringify(first)}, and again by ${JSON.stringify(second)}`, async (t) => {
      const site = await open(t)
      const { app, clock } = site
      const began = clock.time
      await app.cache.invalidate(first, SOFT)
      clock.time += 1.5 * HOUR
      await app.cache.invalidate(second, SOFT)
      await ends(t, site, { at: began + STALE })
    })
  }

  await t.test('what a tag makes stale a second time goes', async (t) => {
    const { app, clock, isServed } = await open(t)
    await app.cache.invalidate(TAG, SOFT)
    clock.time += HOUR
    await app.cache.invalidate(TAG, SOFT)
    t.equal(await isServed(), false)
  })

  for (const target of [KEY, TAG] as const) {
    await t.test(`what is stale by itself, made so by ${JSON.stringify(target)}`, async (t) => {
      const site = await open(t, Date.now() - 11 * HOUR)
      const { app, clock } = site
      const began = clock.time
      clock.time += 11 * HOUR
      await app.cache.invalidate(target, SOFT)
      await ends(t, site, { at: began + LIFE + STALE })
    })

    for (const silence of [0, 8 * HOUR]) {
      const how = `${JSON.stringify(target)}, asked for ${silence / HOUR} hours later`
      await t.test(`where the clock had been ahead: ${how}`, async (t) => {
        const site = await open(t)
        const { app, clock, redis } = site
        // The server's time was 8 hours ahead, and was told.
        if (redis === null) clock.time += 8 * HOUR
        else await redis.set('{shop#floor}:clock', String((Date.now() + 8 * HOUR) * 1000))
        await app.cache.invalidate({ tags: ['another'] })
        if (redis === null) clock.time -= 8 * HOUR
        await app.cache.invalidate(target, SOFT)
        await endsInTime(site, silence)
      })
    }
  }

  await t.test('by tags, where this process\' time is behind that of Redis', async (t) => {
    const site = await open(t, Date.now() - 9 * HOUR)
    await site.app.cache.invalidate({ tags: ['a', 'b'] }, SOFT)
    await ends(t, site, { at: site.clock.time + STALE, until: site.clock.time + 8 * HOUR })
  })
}

/** It was made stale now, or went; nobody asks for it for so long. */
async function endsInTime ({ clock, isServed }: Site, silence = 0): Promise<void> {
  const at = clock.time + STALE
  clock.time += silence
  while (clock.time < at + 15 * HOUR) {
    if (await isServed() && clock.time > at + SLACK) throw new Error(`it is served ${(clock.time - at) / HOUR} hours longer than it may be`)
    clock.time += HOUR / 2
  }
}

for (const way of ['staleWhileRevalidate', 'staleIfError'] as const) {
  t.test(`${way}: in-process store`, async (t) => {
    const open = opener(way, null, {})
    await cases(t, open)

    await t.test('by two tags', async (t) => {
      const site = await open(t)
      const { app, clock } = site
      const began = clock.time
      await app.cache.invalidate(TAG, SOFT)
      clock.time += 1.5 * HOUR
      await app.cache.invalidate(OTHER, SOFT)
      await ends(t, site, { at: began + STALE })
    })

    for (const target of [KEY, TAG, { keys: [KEY], tags: ['a', 'b'] }] as InvalidateTarget[]) {
      await t.test(`where the time steps back behind it: ${JSON.stringify(target)}`, async (t) => {
        const site = await open(t)
        site.clock.time += 8 * HOUR
        await site.app.cache.invalidate(target, SOFT)
        site.clock.time -= 8 * HOUR
        await endsInTime(site)
      })
    }
  })

  for (const [store, options] of Object.entries<RouteCacheOptions>({ redis: {}, 'redis, with a tier': { memory: {} } })) {
    t.test(`${way}: ${store}`, async (t) => {
      const server = await startRedis()
      t.teardown(async () => { await server.stop() })
      const redis = server.client()
      await redis.ping()
      const open = opener(way, redis, { redis, ...options })
      await cases(t, open)

      await t.test('by two tags', async (t) => {
        const { app, clock, isServed } = await open(t)
        await app.cache.invalidate(TAG, SOFT)
        await app.cache.invalidate(OTHER, SOFT)
        const [a, b] = (await redis.mget('shop#tag:a', 'shop#tag:b')).map((text) => Number(/~(\d+)$/.exec(text!)![1]) / 1000)
        t.ok(a! < b!, `${a} before ${b}`)
        clock.time = (a! + b!) / 2 + STALE
        t.equal(await isServed(), false, 'between the two ends')
        clock.time = a! - SLACK + STALE
        t.equal(await isServed(), true, 'before the first')
      })
    })
  }
}
