// A primary that was replaced and does not know it confirms what its writers invalidate, and nobody else hears of it. When
// their clients have come to the server that took over, that one is told again.
import t, { type Test } from 'tap'
import { MOST_IN_SPAN } from '../../../plugin/cache/journal.js'
import type { InvalidateTarget, RouteCacheOptions } from '../../../plugin/index.js'
import { cachedApp, settled, type CachedApp } from '../../helpers/app.js'
import { startCluster, startSentinel, type RedisSentinel, type RedisServer } from '../../helpers/redis.js'
import { until } from '../../helpers/until.js'

const TAKEN_OVER = /another Redis server answers than the one that confirmed/

/** The handlers of all apps of a test answer what `row` is. */
interface Database { row: string }

async function appOf (t: Test, database: Database, options: RouteCacheOptions): Promise<CachedApp> {
  const app = await cachedApp(t, { deadline: 1, writeDeadline: 5, ...options })
  app.get('/page/:name', { cache: { key: 'page:{name}', tags: ['page:{name}'], ttl: 600, staleWhileRevalidate: 600 } },
    async () => database.row)
  app.get('/unsafe/:name', { cache: { ttl: 600 } }, async () => database.row)
  app.get('/value', async () => await app.cache.getOrSet('value', { ttl: 600 }, () => database.row))
  app.put('/page/declared', { cache: { invalidates: ['page:declared'] } }, async () => database.row)
  app.put('/page/strict', { cache: { invalidates: ['page:strict'], onError: 'fail' } }, async () => database.row)
  app.put('/unsafe/:name', async () => database.row)
  await app.ready()
  return app
}

type Change = (app: CachedApp) => Promise<unknown>

/** Everything by which an app can invalidate, and the path of the response that it ends. */
const CHANGES: Record<string, Change> = {
  '/page/key': async ({ cache }) => await cache.invalidate('page:key'),
  '/page/tag': async ({ cache }) => await cache.invalidate({ tags: ['page:tag'] }),
  '/page/prefixed': async ({ cache }) => await cache.invalidate({ prefix: 'page:prefix' }),
  '/page/soft-key': async ({ cache }) => await cache.invalidate('page:soft-key', { soft: true }),
  '/page/soft-tag': async ({ cache }) => await cache.invalidate({ tags: ['page:soft-tag'] }, { soft: true }),
  '/page/mutated': async ({ cache }) => await cache.mutate('page:mutated', async () => {}),
  '/page/mutated-tag': async ({ cache }) => await cache.mutate({ tags: ['page:mutated-tag'] }, async () => {}),
  '/page/set': async ({ cache }) => await cache.set('page:set', async () => 'new', { route: '/page/set' }),
  '/page/declared': async (app) => await app.inject({ method: 'PUT', url: '/page/declared' }),
  '/page/strict': async (app) => await app.inject({ method: 'PUT', url: '/page/strict' }),
  '/unsafe/page': async (app) => await app.inject({ method: 'PUT', url: '/unsafe/page' }),
  '/value': async ({ cache }) => await cache.invalidate('value')
}
const PATHS = Object.keys(CHANGES)

/** What it is answered for these, by path. */
async function bodies (app: CachedApp, paths: readonly string[]): Promise<Record<string, string>> {
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, (await app.inject(path)).body])))
}

function each (paths: readonly string[], body: string): Record<string, string> {
  return Object.fromEntries(paths.map((path) => [path, body]))
}

/** Resolves once it answers nothing old for these any more; by then also the others are hits. */
async function renewed (app: CachedApp, paths: readonly string[]): Promise<void> {
  await until(async () => !Object.values(await bodies(app, paths)).includes('old'), async () =>
    `nothing old is served: ${JSON.stringify(await bodies(app, paths))}`, 20_000)
}

async function isHit (app: CachedApp, path: string): Promise<boolean> {
  return String((await app.inject(path)).headers['cache-status']).includes('hit')
}

function linesOf (app: CachedApp): unknown[] {
  return app.lines.filter(({ msg }) => TAKEN_OVER.test(String(msg)))
}

interface Stage {
  database: Database
  sentinels: RedisSentinel
  /** The one that stood still, and goes on now without a sentinel that would tell it that it was replaced. */
  zombie: RedisServer
  /** One whose client is connected to it. */
  writer: CachedApp
  /** One whose client is connected to the server that took over, and that has served all there. */
  reader: CachedApp
  /** Lets the sentinels go on, and resolves once the writer's client is connected to the new primary. */
  fenced: () => Promise<void>
}

async function standstill (t: Test, options: RouteCacheOptions, paths: readonly string[]): Promise<Stage> {
  const database = { row: 'old' }
  const sentinels = await startSentinel()
  t.teardown(async () => { await sentinels.stop() })
  const [zombie] = sentinels.servers as [RedisServer]
  const open = async (): Promise<CachedApp> => {
    const redis = sentinels.client({ retryStrategy: () => 50 })
    await redis.ping()
    return await appOf(t, database, { redis, invalidateUnsafe: true, ...options })
  }
  const writer = await open()
  await sentinels.synced()
  await zombie.pause()
  await sentinels.replaced(zombie)
  const reader = await open()
  t.strictSame(await bodies(reader, paths), each(paths, 'old'))
  await settled(reader)
  t.ok(await isHit(reader, paths[0]!))
  for (const sentinel of sentinels.sentinels) await sentinel.pause()
  zombie.resume()
  const fenced = async (): Promise<void> => {
    for (const sentinel of sentinels.sentinels) sentinel.resume()
    await sentinels.ready()
    const isOver = async (): Promise<boolean> => (await writer.cache.redis!.info('replication')).includes('role:master')
    await until(isOver, 'the writer has come over')
  }
  return { database, sentinels, zombie, writer, reader, fenced }
}

t.jobs = 2

t.test('sentinels: however it was invalidated, by a process that reads nothing', { buffered: true }, async (t) => {
  const { database, writer, reader, zombie, fenced } = await standstill(t, {}, [...PATHS, '/page/other'])
  database.row = 'new'
  for (const path of PATHS) await CHANGES[path]!(writer)
  t.equal(await zombie.client().exists('{cache:value}:value', 'cache:page:key'), 0, 'it has confirmed all')
  t.strictSame(await bodies(reader, PATHS), each(PATHS, 'old'), 'which the other knows nothing of')
  t.strictSame(linesOf(writer), [])
  await fenced()
  await renewed(reader, PATHS)
  t.ok(await isHit(reader, '/page/other'), 'what was not invalidated is still there')
  t.match(linesOf(writer), [{ level: 40, journal: PATHS.length }], 'said once')
  t.match(linesOf(reader), [])
  t.match(writer.lines.filter(({ msg }) => /was told of all/.test(String(msg))), [{ told: PATHS.length }])
  t.match(writer.cache.stats(), { journal: 0, invalidationsFailed: 0 })
})

const EVERYTHING: Record<string, InvalidateTarget> = {
  everything: { all: true },
  'of more than are kept, everything': ['page:key', ...Array.from({ length: MOST_IN_SPAN }, (_, i) => `many:${i}`)]
}
for (const [what, target] of Object.entries(EVERYTHING)) {
  t.test(`sentinels: ${what}`, { buffered: true }, async (t) => {
    const { database, writer, reader, fenced } = await standstill(t, {}, ['/page/key', '/page/other'])
    database.row = 'new'
    await writer.cache.invalidate(target)
    await fenced()
    await renewed(reader, ['/page/key', '/page/other'])
    t.match(linesOf(writer), [{ journal: 1 }])
  })
}

t.test('sentinels: as many as are kept, however few the journal has room for', { buffered: true }, async (t) => {
  const { database, writer, reader, fenced } = await standstill(t, { maxJournal: 10 }, ['/page/key', '/page/other'])
  database.row = 'new'
  await writer.cache.invalidate(['page:key', ...Array.from({ length: MOST_IN_SPAN - 1 }, (_, i) => `many:${i}`)])
  await fenced()
  await renewed(reader, ['/page/key'])
  t.ok(await isHit(reader, '/page/other'))
  t.match(linesOf(writer), [{ journal: MOST_IN_SPAN }])
})

t.test('sentinels: a process serves nothing older than what it has invalidated, at no time', { buffered: true }, async (t) => {
  const { database, writer, fenced } = await standstill(t, {}, ['/page/key'])
  database.row = 'new'
  await writer.cache.invalidate('page:key')
  const over = new AbortController()
  const asking = (async () => {
    const said = new Set<string>()
    while (!over.signal.aborted) {
      said.add((await writer.inject('/page/key')).body)
      // Those that go past the cache wait for nothing: sockets need their turn.
      await new Promise((resolve) => setImmediate(resolve))
    }
    return [...said]
  })()
  await fenced()
  await until(async () => linesOf(writer).length > 0, 'it has told the new one')
  await until(async () => await isHit(writer, '/page/key'), 'and caches again')
  over.abort()
  t.strictSame(await asking, ['new'])
})

t.test('sentinels: what its replicas did not confirm', { buffered: true }, async (t) => {
  for (const trustFailover of [false, true]) {
    await t.test(`trustFailover: ${trustFailover}`, async (t) => {
      const options = { waitForReplicas: 1, writeDeadline: 1, trustFailover }
      const { database, writer, reader, fenced } = await standstill(t, options, ['/page/key', '/page/other'])
      database.row = 'new'
      const message = /of 1 replicas only 0 confirmed in time; another server that takes over is told again/
      await t.rejects(writer.cache.invalidate('page:key'), { code: 'FRC_REPLICAS', message })
      t.match(writer.cache.stats(), { journal: 0, invalidationsFailed: 1 })
      await fenced()
      await renewed(reader, ['/page/key'])
      t.ok(await isHit(reader, '/page/other'))
    })
  }
})

t.test('a Cluster: a primary that was cut off with its writer', { buffered: true }, async (t) => {
  const database = { row: 'old' }
  const cluster = await startCluster({ replicas: 1, args: ['--cluster-require-full-coverage', 'no'] })
  t.teardown(async () => { await cluster.stop() })
  const [zombie] = cluster.servers as [RedisServer]
  const successor = cluster.servers[3]!
  const open = async (servers: readonly RedisServer[]): Promise<CachedApp> => {
    // It looks at the slots only where it is told that they moved.
    const redis = cluster.client({ slotsRefreshInterval: 0 }, servers)
    await redis.ping()
    return await appOf(t, database, { redis, invalidateUnsafe: true })
  }
  const writer = await open(cluster.servers)
  // Some of them are its: slots are even over three primaries.
  const paths = [...PATHS, ...Array.from({ length: 20 }, (_, i) => `/page/many-${i}`)]

  const nodes = String(await zombie.ask('CLUSTER', 'NODES')).trim().split('\n')
  for (const node of nodes.filter((line) => !line.includes('myself'))) await zombie.ask('CLUSTER', 'FORGET', node.split(' ')[0]!)
  await successor.ask('CLUSTER', 'FAILOVER', 'TAKEOVER')
  const others = cluster.servers.filter((server) => server !== zombie)
  const id = String(await successor.ask('CLUSTER', 'MYID'))
  await until(async () => (await Promise.all(others.map(async (server) =>
    new RegExp(`^${id} .* connected \\d+-`, 'm').test(String(await server.ask('CLUSTER', 'NODES')))))).every(Boolean),
  'it has taken over')
  // Not the one that was cut off: it would name itself alone.
  const reader = await open(others)
  await until(async () => {
    await bodies(reader, paths)
    await settled(reader)
    return await isHit(reader, '/page/many-0')
  }, 'the reader caches')
  t.strictSame(await bodies(reader, paths), each(paths, 'old'))

  database.row = 'new'
  for (const path of PATHS) await CHANGES[path]!(writer)
  await writer.cache.invalidate(Array.from({ length: 20 }, (_, i) => `page:many-${i}`))
  t.match(Object.values(await bodies(reader, paths)).filter((body) => body === 'old'), { length: /^[1-9]/ }, 'some are lost')

  for (const { host, port, busPort } of others) await zombie.ask('CLUSTER', 'MEET', host, port, busPort)
  await renewed(reader, paths)
  t.match(linesOf(writer), [{ level: 40 }])
})
