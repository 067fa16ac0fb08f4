// Several processes and one Redis, or a Cluster: their numbers together, what they say of each other there, and what the
// dashboard does where Redis does not answer.
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Reports } from '../../plugin/extras/dashboard/reports.js'
import { FORM } from '../../plugin/extras/dashboard/recorder.js'
import type { Overview } from '../../plugin/extras/dashboard/overview.js'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { dashboard } from 'fastify-route-cache/dashboard'
import { settled } from '../helpers/app.js'
import { startCluster, startRedis, type RedisServer } from '../helpers/redis.js'
import { timed } from '../helpers/timed.js'
import { until } from '../helpers/until.js'
import { openSite, type Site } from './dashboard-site.js'

const HASH = 'shop#instances'
const WATCHED = 'shop#instances:watched'
const ROUTE = 'GET /users/:id'

async function redisOf (t: Test, args: string[] = []): Promise<{ server: RedisServer, redis: Redis }> {
  const server = await startRedis({ args })
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  return { server, redis }
}

/** A process of its own as far as the cache knows, that tells often. */
async function process (
  t: Test, redis: RouteCacheOptions['redis'] & object, { interval = '20ms', ...cache }: RouteCacheOptions & { interval?: string } = {}
): Promise<Site> {
  const site = await openSite(t, { cache: { redis, ...cache }, dashboard: { interval, now: () => 1_700_000_000_000 } })
  site.app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users'] } }, async () => 'x')
  site.app.get('/private', { cache: { key: 'private' } }, async (_request, reply) => await reply.noCache().send('x'))
  await site.app.ready()
  return site
}

async function ask ({ app }: Site, ...urls: string[]): Promise<void> {
  for (const url of urls) {
    await app.inject(url)
    await settled(app)
  }
}

/** Once it shows this. */
async function shown (site: Site, isSo: (overview: Overview) => boolean): Promise<Overview> {
  let last = await site.overview()
  await until(async () => {
    last = await site.overview()
    return isSo(last)
  }, async () => JSON.stringify(last))
  return last
}

t.test('numbers of several processes are put together', async (t) => {
  const { redis } = await redisOf(t)
  const [one, two, three] = [await process(t, redis), await process(t, redis), await process(t, redis)]
  await ask(one, '/users/1', '/users/1', '/private')
  await ask(two, '/users/1', '/users/2', '/users/1', '/private', '/private')
  await ask(three, '/users/2')
  for (const { app } of [one, two]) await app.inject({ url: '/users/1', headers: { authorization: 'Bearer x' } })
  await two.app.cache.getOrSet('n', {}, () => 1)
  await until(async () => two.app.cache.stats().values.stores === 1, 'it is not stored')
  await one.app.cache.invalidate('user:1')
  await two.app.cache.invalidate({ tags: ['users'] })
  for (const site of [one, two, three]) {
    const all = await shown(site, ({ processes, total }) => processes.length === 3 && total.requests === 12)
    t.match(all, { alone: null, store: 'redis', invalidations: { told: 2, failed: 0, entries: 1 }, notes: [] })
    t.match(all.total, { hits: 4, misses: 6, bypassed: 2, refused: 3, stores: 3, hitRate: 0.4 })
    const [users] = all.routes.filter(({ route }) => route === ROUTE)
    t.match(users, { requests: 8, hits: 4, misses: 2, bypassed: 2, stores: 2, hitRate: 4 / 6 })
    t.ok(users!.hit.p50! > 0 && users!.miss.p99! > 0)
    t.strictSame(all.reasons.map(({ route, reason, count }) => [route, reason, count]), [
      ['GET /private', 'no-cache-called', 3], [ROUTE, 'authorization', 2]
    ])
    t.ok(all.reasons.every(({ words }) => words.includes(' ')))
    t.equal(all.curve.hits.at(-1), 4)
    t.equal(all.processes.filter(({ isThis }) => isThis).length, 1)
    t.equal(all.processes[0]!.isThis, true)
    t.strictSame(all.processes.map(({ requests }) => requests).sort(), [1, 4, 7])
    // One of them, by its id.
    const { id } = all.processes.find(({ requests }) => requests === 7)!
    const ofOne = await site.overview({ process: id })
    t.match(ofOne, { total: { requests: 7, hits: 2 }, processes: { length: 3 }, invalidations: { told: 1 } })
  }
  // What one does the other has done.
  t.match((await one.post('/api/invalidate', { target: { prefix: 'user:' } })).json(), { entries: 1 })
  t.match((await two.post('/api/explain', { key: 'user:2' })).json(), { outcome: 'miss', reason: 'absent' })

  await three.app.close()
  const left = await shown(one, ({ processes }) => processes.length === 2)
  t.match(left.total, { requests: 11 }, 'who has ended is left out')
  t.equal(await redis.hlen(HASH), 2, 'and taken away')
})

t.test('two dashboards of one cache do not count it twice', async (t) => {
  const { redis } = await redisOf(t)
  const site = await openSite(t, { cache: { redis }, dashboard: { interval: '10ms' } })
  await site.app.register(dashboard, { prefix: '/other', public: true, interval: '10ms' })
  await site.app.cache.getOrSet('n', {}, () => 1)
  await site.overview()
  await until(async () => await redis.hlen(HASH) > 0, 'they do not tell')
  for (let i = 0; i < 5; i++) {
    await site.app.inject('/other/api/overview')
    t.match(await site.overview(), { processes: { length: 1 }, total: { requests: 1 } })
  }
  t.equal(await redis.hlen(HASH), 1)
})

t.test('with nobody looking nothing is written', async (t) => {
  const { server, redis } = await redisOf(t)
  let commands: string[][] = []
  // First, as ioredis takes commands that come together with MONITOR's OK for an answer to nothing.
  const monitor = await server.client().monitor()
  t.teardown(() => { monitor.disconnect() })
  monitor.on('monitor', (_time: string, words: string[]) => { commands.push(words) })
  const site = await process(t, redis)
  const isAsked = (): boolean => commands.filter(([name, key]) => name!.toLowerCase() === 'get' && key === WATCHED).length > 5
  for (const time of ['at the start', 'later']) {
    commands = []
    await until(async () => isAsked(), `it does not ask whether somebody looks, ${time}`)
  }
  t.strictSame([...new Set(commands.map((words) => words.join(' ').toLowerCase()))], [`get ${WATCHED}`], 'and asks nothing else')
  t.strictSame(await redis.keys('*instances*'), [])

  await site.overview()
  await until(async () => await redis.exists(HASH) === 1, 'it does not tell')
  t.ok(await redis.pttl(WATCHED) > 0 && await redis.pttl(HASH) > 0, 'both have an end')
  await until(async () => (await redis.keys('*instances*')).length === 0, 'nobody looks any more, and it goes on telling')
  const [ttl, life] = [20 * 3 + 2_000, await redis.pttl(WATCHED)]
  t.equal(life, -2)
  await site.overview()
  t.ok(await redis.pttl(WATCHED) > ttl - 1_000 && await redis.pttl(WATCHED) <= ttl)
})

t.test('what is old, of another build, damaged or hostile is left out', async (t) => {
  const { redis } = await redisOf(t)
  const site = await process(t, redis, { interval: '1h' })
  await ask(site, '/users/1')
  const other = await process(t, redis)
  await ask(other, '/users/1', '/users/2')
  await shown(site, ({ processes }) => processes.length === 2)
  const [told = ''] = await redis.hvals(HASH)
  const at = Number(told.split('|')[0])
  const right = JSON.parse(told.slice(told.indexOf('|') + 1))
  t.ok(Math.abs(Number((await redis.time())[0]) * 1000 - at) < 60_000, 'by Redis\' time')
  t.equal(right.form, FORM)
  await other.app.close()
  // Its end, which the other had set, would end this test's reports as well.
  await redis.del(HASH)
  const now = async (): Promise<number> => Number((await redis.time())[0]) * 1000
  const damage = (change: (report: typeof right) => void): string => {
    const report = structuredClone(right)
    report.id = 'damaged'
    change(report)
    return JSON.stringify(report)
  }
  const bad: Record<string, string> = {
    empty: '',
    text: 'nonsense',
    bytes: '\0\xff|{',
    noTime: damage(() => {}),
    noReport: `${await now()}|`,
    half: `${await now()}|${damage(() => {}).slice(0, 50)}`,
    nothing: `${await now()}|null`,
    list: `${await now()}|[1]`,
    number: `${await now()}|5`,
    old: `1000|${damage(() => {})}`,
    later: `${await now() + 86_400_000_000}|${damage(() => {})}`,
    far: `${'9'.repeat(400)}|${damage(() => {})}`,
    negative: `-5|${damage(() => {})}`,
    form: `${await now()}|${damage((report) => { report.form++ })}`,
    onlyForm: `${await now()}|{"form":${FORM}}`,
    noStats: `${await now()}|${damage((report) => { report.stats = null })}`,
    noRoutes: `${await now()}|${damage((report) => { delete report.stats.routes })}`,
    texts: `${await now()}|${damage((report) => { report.stats.routes[ROUTE].hits = '1' })}`,
    object: `${await now()}|${damage((report) => { report.stats.routes[ROUTE] = { toString: 1 } })}`,
    steps: `${await now()}|${damage((report) => { report.past.steps = [5] })}`,
    times: `${await now()}|${damage((report) => { report.times = [{ hit: 'x' }] })}`,
    tier: `${await now()}|${damage((report) => { report.stats.tier = {} })}`
  }
  await redis.hset(HASH, bad)
  await redis.hset(HASH, Buffer.from([0xff, 0xfe]), Buffer.from([0x31, 0x7c, 0xff]))
  t.match(await site.overview(), { alone: null, processes: { length: 1 }, total: { requests: 1 } })
  const left = await redis.hkeys(HASH)
  t.strictSame(left.filter((name) => ['empty', 'text', 'bytes', 'noTime', 'old', 'later', 'far', 'negative'].includes(name)), [], 'it goes')

  await redis.hset(HASH, 'right', `${await now()}|${damage(() => {})}`)
  t.match(await site.overview(), { processes: { length: 2 }, total: { requests: 3 } }, 'where nothing is damaged it counts')
  await redis.hset(HASH, 'long', `${await now()}|${damage((report) => { report.process = 'x'.repeat(600_000) })}`)
  t.match(await site.overview(), { processes: { length: 2 } }, 'one that is too long is left out, and goes')
  t.equal(await redis.hexists(HASH, 'long'), 0)
  const wide = `${await now()}|${damage((report) => { report.process = 'x'.repeat(400_000) })}`
  for (let i = 0; i < 60; i++) await redis.hset(HASH, `wide${i}`, wide)
  await site.overview()
  t.ok(await redis.hlen(HASH) <= 41 + Object.keys(bad).length, 'of all that are long enough, some')
  await redis.del(HASH)
  await redis.hset(HASH, Object.fromEntries(Array.from({ length: 1_100 }, (_, i) => [`x${i}`, `${'1'.repeat(9)}|{}`])))
  t.match(await site.overview(), { processes: { length: 1 } }, 'so many are nobody\'s of ours')
  t.equal(await redis.hlen(HASH), 0)
  await redis.hdel(HASH, 'right')
  // One that is right but has names and texts to trip over.
  const hostile = damage((report) => {
    report.process = '<img src=x onerror=alert(1)>'
    report.stats.routes = JSON.parse(`{"__proto__":${JSON.stringify(report.stats.routes[ROUTE])}}`)
    report.stats.routes.constructor = structuredClone(right.stats.routes[ROUTE])
    report.stats.routes.constructor.bypasses = JSON.parse('{"__proto__":5,"constructor":6,"of-tomorrow":7}')
  })
  await redis.hset(HASH, 'hostile', `${await now()}|${hostile}`)
  const all = await site.overview()
  t.match(all.processes, [{ isThis: true }, { id: 'damaged', process: '<img src=x onerror=alert(1)>' }])
  t.strictSame(all.routes.map(({ route }) => route).filter((route) => !/^GET/.test(route!)).sort(), ['__proto__', 'constructor'])
  t.match(all.reasons, [{ count: 7, words: 'of-tomorrow' }, { count: 6, words: 'constructor' }, { count: 5, words: '__proto__' }])
  const { headers } = await site.get('/api/overview')
  t.match(headers, { 'content-type': 'application/json; charset=utf-8', 'x-content-type-options': 'nosniff' })

  // The name itself is something else.
  await redis.set(HASH, 'mine')
  t.match(await site.overview(), { alone: /WRONGTYPE/, processes: { length: 1 }, total: { requests: 1 } })
})

t.test('a process that falls silent goes by Redis\' time', async (t) => {
  const { redis } = await redisOf(t)
  const site = await process(t, redis, { interval: '1s' })
  const reports = new Reports({ redis, prefix: 'shop', interval: 1_000 })
  const { report } = JSON.parse(JSON.stringify({ report: await ownReport(site, redis) }))
  const put = async (id: string, age: number): Promise<void> => {
    const [seconds, micros] = await redis.time()
    await redis.hset(HASH, id, `${Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) - age}|${JSON.stringify({ ...report, id })}`)
  }
  // Three intervals and two seconds.
  await put('late', 2_500)
  await put('gone', 5_001)
  await put('early', -2_500)
  await put('ahead', -60_000)
  const heard = await reports.read()
  t.strictSame(heard.map(({ report: { id } }) => id).filter((id) => /^[a-z]+$/.test(id)).sort(), ['early', 'late'])
  const { age } = heard.find(({ report: { id } }) => id === 'late')!
  t.ok(age >= 2_500 && age < 5_000)
  t.match((await site.overview()).processes.find(({ id }) => id === 'late'), { isThis: false })
})

/** As it tells Redis. */
async function ownReport (site: Site, redis: Redis): Promise<object> {
  await site.overview()
  await until(async () => await redis.exists(HASH) === 1, 'it does not tell')
  const [told = ''] = await redis.hvals(HASH)
  return JSON.parse(told.slice(told.indexOf('|') + 1))
}

t.test('Redis stands still', async (t) => {
  const { server, redis } = await redisOf(t)
  const [site, other] = [await process(t, redis), await process(t, server.client())]
  await ask(site, '/users/1')
  await ask(other, '/users/1')
  await shown(site, ({ processes }) => processes.length === 2)
  await server.pause()
  t.teardown(() => { try { server.resume() } catch {} })
  const { result: alone, time, late } = await timed(async () => await site.overview())
  t.ok(time >= 900 && time < 3_000 + 2 * late, `${time} ms, timers were late by ${late}`)
  t.match(alone, {
    alone: /did not answer within 1000 ms/,
    total: { requests: 1 },
    processes: [{ isThis: true }],
    redis: { status: 'ready', servers: [{ error: /did not answer within 1000 ms/, version: null }] },
    notes: [{ level: 'error', text: /can't be asked/ }]
  })
  t.equal(alone.processes.length, 1)
  server.resume()
  await shown(site, ({ processes, alone, notes }) => processes.length === 2 && alone === null && notes.length === 0)
})

t.test('Redis is killed and comes back empty', async (t) => {
  const { server, redis } = await redisOf(t)
  const second = server.client()
  const [site] = [await process(t, redis), await process(t, second)]
  await shown(site, ({ processes }) => processes.length === 2)
  await server.kill()
  await until(async () => redis.status !== 'ready', 'it does not notice')
  t.match(await site.overview(), { alone: /not connected/, processes: { length: 1 } })
  await server.restart()
  await shown(site, ({ processes, alone }) => processes.length === 2 && alone === null)
})

t.test('a Redis that is full', async (t) => {
  const { redis } = await redisOf(t)
  const site = await process(t, redis)
  await redis.config('SET', 'maxmemory', '100kb')
  const { redis: health, notes, processes } = await site.overview()
  t.match(health, { servers: [{ error: null, maxMemory: 102_400, policy: 'noeviction' }] })
  t.match(notes, [{ level: 'error', text: /is full and evicts nothing \(noeviction\)/ }])
  t.equal(processes.length, 1)
})

t.test('a client with a keyPrefix', async (t) => {
  const { server, redis } = await redisOf(t)
  const [one, two] = [await process(t, server.client({ keyPrefix: 'team:' })), await process(t, server.client({ keyPrefix: 'team:' }))]
  const stranger = await process(t, redis)
  await ask(one, '/users/1')
  await ask(two, '/users/1')
  await shown(one, ({ processes, total }) => processes.length === 2 && total.requests === 2)
  await shown(stranger, ({ processes, total }) => processes.length === 1 && total.requests === 0)
  t.equal(await redis.hlen(`team:${HASH}`), 2)
  await until(async () => await redis.hlen(HASH) === 1, 'it does not tell')
})

t.test('another prefix is another cache', async (t) => {
  const { redis } = await redisOf(t)
  const [shop, pages] = [await process(t, redis), await process(t, redis, { prefix: 'pages' })]
  await ask(shop, '/users/1')
  await shown(pages, ({ processes, total }) => processes.length === 1 && total.requests === 0)
  await until(async () => await redis.hlen('pages#instances') === 1, 'it does not tell')
  await shop.overview()
  t.equal(await redis.hlen('pages#instances'), 1)
})

t.test('a Cluster, with the tier', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const [first, second] = [cluster.client(), cluster.client()]
  for (const client of [first, second]) await until(async () => client.status === 'ready', 'it is not connected')
  t.not(Number(await first.cluster('KEYSLOT', HASH)), Number(await first.cluster('KEYSLOT', WATCHED)), 'names of two slots')
  const [one, two] = [await process(t, first, { memory: {} }), await process(t, second)]
  await until(async () => one.app.cache.stats().tier?.isLive === true, 'the tier is not live')
  await ask(one, '/users/1', '/users/1', '/users/1')
  await ask(two, '/users/1')
  await until(async () => { await one.app.inject('/users/1'); return one.app.cache.stats().tier!.hits > 0 }, 'the tier has no hit')
  const { total: { hits } } = one.app.cache.stats()
  const all = await shown(two, ({ processes, total }) => processes.length === 2 && total.hits === hits + 1)
  t.match(all, { alone: null, notes: [], total: { misses: 1 }, redis: { status: 'ready' } })
  t.equal(all.redis!.servers.length, 3)
  t.ok(all.redis!.servers.every(({ error, ping }) => error === null && ping! > 0))
  t.strictSame(all.redis!.servers.map(({ address }) => address).sort(), cluster.nodes.map(({ host, port }) => `${host}:${port}`).sort())
  t.match(all.processes.map(({ tier }) => tier), [null, { isLive: true, entries: Number, hits: Number }])
  t.match((await two.post('/api/explain', { key: 'user:1' })).json(), { outcome: 'hit' })
  t.match((await two.post('/api/invalidate', { target: { prefix: 'user:' } })).json(), { entries: 1 })
  t.match((await two.post('/api/explain', { key: 'user:1' })).json(), { outcome: 'miss' })

  await cluster.servers[0]!.pause()
  t.teardown(() => { try { cluster.servers[0]!.resume() } catch {} })
  const { result: { redis: health }, time, late } = await timed(async () => await two.overview())
  t.ok(time < 3_000 + 2 * late, `${time} ms, timers were late by ${late}`)
  t.strictSame(health!.servers.map(({ error }) => error === null).sort(), [false, true, true])
})
