// What Redis could not be told to drop is served by this process no more, and dropped as soon as Redis can be told.
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { InvalidateTarget, RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, settled, told, type CachedApp } from '../helpers/app.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'

interface Parts {
  server: RedisServer
  admin: Redis
  database: { row: string }
  open: (options?: RouteCacheOptions) => Promise<CachedApp>
  /** Has Redis refuse all that invalidates, or do it again; reads it answers in any case. */
  refuse: (isRefused: boolean) => Promise<void>
}

const URLS = ['/user/1', '/user/2', '/post/1']

async function parts (t: Test): Promise<Parts> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const database = { row: 'old' }
  await server.client().call('ACL', 'SETUSER', 'admin', 'on', '>secret', '~*', '&*', '+@all')
  const admin = server.client({ username: 'admin', password: 'secret' })
  const open = async (options: RouteCacheOptions = {}): Promise<CachedApp> => {
    const redis = server.client()
    await redis.ping()
    const app = await cachedApp(t, { redis, ...options })
    app.get('/:kind/:id', { cache: { key: '{kind}:{id}', tags: ['{kind}'] } }, async () => database.row)
    return app
  }
  const refuse = async (isRefused: boolean): Promise<void> => {
    await admin.call('ACL', 'SETUSER', 'default', ...['@scripting', 'unlink'].map((name) => (isRefused ? '-' : '+') + name))
  }
  return { server, admin, database, open, refuse }
}

/** What these give, until all fills are done: the body, and what the cache did. */
async function ask (app: CachedApp, urls: readonly string[]): Promise<string[]> {
  const answers = []
  for (const url of urls) {
    const { body, headers } = await app.inject(url)
    await settled(app)
    answers.push(`${body}: ${/(?<=; )(?:hit|fwd=\w+)(?:; detail=\w+)?/.exec(String(headers['cache-status']))![0]}`)
  }
  return answers
}

const MISS = 'new: fwd=miss'
const HIT = 'new: hit'
const OTHER = 'old: hit'
const PAST = 'new: fwd=bypass; detail=journal'

const CASES: [target: InvalidateTarget, journal: number, after: string[]][] = [
  ['user:1', 1, [MISS, OTHER, OTHER]],
  [['user:1', 'user:2'], 2, [MISS, MISS, OTHER]],
  [{ tags: ['user'] }, 1, [MISS, MISS, OTHER]],
  [{ prefix: 'user:' }, 1, [MISS, MISS, OTHER]],
  [{ all: true }, 1, [MISS, MISS, MISS]],
  [{ keys: ['user:2'], tags: ['post'], prefix: 'user:1' }, 3, [MISS, MISS, MISS]],
  [Array.from({ length: 1_001 }, (_, i) => `other:${i}`), 1, [MISS, MISS, MISS]]
]

for (const [target, journal, after] of CASES) {
  t.test(`Redis refuses: ${JSON.stringify(target).slice(0, 60)}`, async (t) => {
    const { admin, database, open, refuse } = await parts(t)
    const [app, other] = [await open(), await open()]
    await other.ready()
    await ask(app, URLS)
    t.strictSame(await ask(app, URLS), [OTHER, OTHER, OTHER])
    database.row = 'new'
    await refuse(true)
    const rejected = { code: 'FRC_STORE', cause: { message: /NOPERM/ } }
    await t.rejects(app.cache.invalidate(target), rejected)
    await t.rejects(app.cache.invalidate(target), rejected)
    t.equal(await admin.exists('cache:user:1'), 1)
    t.strictSame(await ask(other, URLS), [OTHER, OTHER, OTHER], 'other processes do not know')
    t.strictSame(await ask(app, URLS), [PAST, PAST, PAST])
    t.equal(await app.cache.inspect('user:1'), null)
    t.match(app.cache.stats(), { invalidations: 0, invalidationsFailed: 2, journal, total: { bypasses: { journal: 3 } } })
    t.match(app.lines.filter(({ level }) => level === 50), [{ msg: /could not be told/, err: { code: 'FRC_STORE' }, journal }])
    await refuse(false)
    await told(app)
    t.strictSame(await ask(app, URLS), after)
    t.strictSame(await ask(app, URLS), after.map((answer) => answer === MISS ? HIT : answer))
    t.match(app.cache.stats(), { invalidations: 0, invalidationsFailed: 2, journal: 0 })
    t.match(app.lines.filter(({ msg }) => /told of all/.test(String(msg))), [{ level: 50 }])
  })
}

t.test('a fill that was under way does not put back what was to be dropped', async (t) => {
  for (const target of ['user:1', { tags: ['user'] }, { prefix: 'user:' }, { all: true }] as InvalidateTarget[]) {
    await t.test(JSON.stringify(target), async (t) => {
      const { database, open, refuse } = await parts(t)
      const [app, filler] = [await open(), await open()]
      const slow = gate()
      filler.get('/slow', { cache: { key: 'user:1', tags: ['user'] } }, async () => {
        const { row } = database
        await slow.wait()
        return row
      })
      const filling = filler.inject('/slow')
      await slow.reached
      database.row = 'new'
      await refuse(true)
      await t.rejects(app.cache.invalidate(target))
      await refuse(false)
      await told(app)
      slow.open()
      t.equal((await filling).body, 'old')
      await settled(filler)
      t.strictSame(await ask(app, ['/user/1']), [MISS])
    })
  }
})

t.test('Redis hangs, and goes on with what it has', async (t) => {
  const { server, database, open } = await parts(t)
  const app = await open({ writeDeadline: '1s' })
  await ask(app, URLS)
  database.row = 'new'
  await server.pause()
  await t.rejects(app.cache.invalidate({ all: true }), { code: 'FRC_DEADLINE' })
  t.strictSame(await ask(app, URLS), [PAST, PAST, PAST], 'not one of them waits for Redis')
  server.resume()
  await told(app)
  t.strictSame(await ask(app, URLS), [MISS, MISS, MISS])
  t.strictSame(await ask(app, URLS), [HIT, HIT, HIT])
})

t.test('Redis was killed: told when it is there again', async (t) => {
  const { server, open } = await parts(t)
  const app = await open({ writeDeadline: '1s' })
  await ask(app, URLS)
  await server.kill()
  await t.rejects(app.cache.invalidate('user:1'), { code: 'FRC_DEADLINE' })
  t.strictSame(await ask(app, ['/user/1']), ['old: fwd=bypass; detail=journal'])
  await server.restart()
  await told(app)
  t.strictSame(await ask(app, ['/user/1', '/user/1']), ['old: fwd=miss', OTHER])
})

t.test('an app that closes tells what it can, and does not wait for ever', async (t) => {
  const { admin, open, refuse } = await parts(t)
  const [app, late] = [await open(), await open()]
  await ask(app, URLS)
  await refuse(true)
  await t.rejects(app.cache.invalidate('user:1'))
  await t.rejects(late.cache.invalidate('user:2'))
  await late.close()
  t.match(late.lines.filter(({ level }) => level === 50).at(-1), { msg: /closes with invalidations/, journal: 1 })
  await refuse(false)
  await app.close()
  t.strictSame(await admin.exists('cache:user:1', 'cache:user:2'), 1)
  t.equal(app.cache.stats().journal, 0)
})

t.test('mutate: what was written is kept; where nothing was, there is nothing to keep', async (t) => {
  const { database, open, refuse } = await parts(t)
  const app = await open()
  await ask(app, URLS)
  await refuse(true)
  await t.rejects(app.cache.mutate('user:1', () => { database.row = 'new' }), { code: 'FRC_STORE', worked: false })
  t.match(app.cache.stats(), { journal: 0, invalidationsFailed: 0 })
  t.strictSame(await ask(app, URLS), [OTHER, OTHER, OTHER])
  await refuse(false)
  const writing = app.cache.mutate({ keys: ['user:1'], tags: ['post'] }, async () => {
    await refuse(true)
    database.row = 'new'
  })
  await t.rejects(writing, { code: 'FRC_STORE', worked: true })
  t.match(app.cache.stats(), { journal: 2, invalidationsFailed: 1 })
  t.strictSame(await ask(app, URLS), [PAST, PAST, PAST])
  await refuse(false)
  await told(app)
  t.strictSame((await ask(app, URLS)).map((answer) => answer.slice(0, 4)), ['new:', 'old:', 'new:'])
})

t.test('what nobody waits for does not end the process, and is kept all the same', async (t) => {
  const { open, refuse } = await parts(t)
  const app = await open()
  const unhandled: unknown[] = []
  const listener = (error: unknown): void => { unhandled.push(error) }
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', listener)
  t.teardown(() => {
    process.off('unhandledRejection', listener)
    for (const other of others) process.on('unhandledRejection', other)
  })
  await refuse(true)
  app.cache.invalidate('user:1')
  app.cache.invalidate({ tags: ['user'] }, { soft: true })
  while (app.cache.stats().invalidationsFailed < 2) await new Promise((resolve) => setImmediate(resolve))
  const message = /; the invalidation is tried again until it succeeds, and this process serves nothing from the cache before$/
  await t.rejects(app.cache.invalidate('user:2'), { code: 'FRC_STORE', message, cause: Error })
  t.equal(app.cache.stats().journal, 3)
  t.strictSame(unhandled, [])
  // A mistake is one, whoever waits.
  app.cache.invalidate('')
  await new Promise((resolve) => setImmediate(resolve))
  t.match(unhandled, [{ code: 'FRC_TARGET' }])
  await refuse(false)
  await told(app)
})

t.test('values are not served either', async (t) => {
  const { database, open, refuse } = await parts(t)
  const app = await open()
  const value = async (): Promise<string> => await app.cache.getOrSet('v', { tags: ['user'] }, () => database.row)
  t.equal(await value(), 'old')
  database.row = 'new'
  await settled(app)
  t.equal(await value(), 'old')
  await refuse(true)
  await t.rejects(app.cache.invalidate({ tags: ['user'] }))
  t.equal(await value(), 'new')
  t.match(app.cache.stats().total.bypasses, { journal: 1 })
  await refuse(false)
  await told(app)
  t.equal(await value(), 'new')
  t.equal(app.cache.stats().total.misses, 2)
})
