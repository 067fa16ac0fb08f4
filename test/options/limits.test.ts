// What is bounded: header fields, waiting requests, what is kept while Redis is away.
import t from 'tap'
import { beyondLookup, cachedApp, gate, onEachStore, settled, told } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

t.test('header fields beyond maxHeaderBytes', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ maxHeaderBytes: 100, cacheStatus: false })
    // content-type: text/plain; charset=utf-8 is 41 with its end of line, `etag: W/"…"` is ours.
    app.get('/:size', { cache: { key: 'h:{size}' } }, async (request, reply) => {
      const { size } = request.params as { size: string }
      return await reply.type('text/plain; charset=utf-8').header('etag', '"x"').header('x-a', 'a'.repeat(Number(size))).send('x')
    })
    // 41 + 11 + the 7 of `x-a: ` and its end.
    for (const [size, isStored] of [[41, true], [42, false]] as const) {
      await app.inject(`/${size}`)
      await settled(app)
      t.equal(await app.cache.inspect(`h:${size}`) !== null, isStored, `${size}`)
    }
    t.match(app.cache.stats().total, { stores: 1, refusals: { size: 1 } })
  })
})

t.test('requests that wait, beyond maxWaiters', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ maxWaiters: 2 })
    const first = gate()
    let runs = 0
    app.get('/', { cache: { key: 'k' } }, async () => {
      const run = ++runs
      if (run === 1) await first.wait()
      return String(run)
    })
    const leader = app.inject('/')
    await first.reached
    const waiting = [app.inject('/'), app.inject('/')]
    await beyondLookup(app)
    const others = [await app.inject('/'), await app.inject('/')]
    t.strictSame(others.map(({ body }) => body), ['2', '3'])
    first.open()
    await leader
    for (const response of await Promise.all(waiting)) t.match(response.headers['cache-status'], /collapsed/)
    await settled(app)
    t.equal(runs, 3)
    t.match(app.cache.stats().total, { hits: 2, collapsed: 2, misses: 3, stores: 1, refusals: { waiters: 2 } })
    t.match((await app.inject('/')).headers['cache-status'], /hit/, 'and later it is as ever')
  })
})

t.test('targets that are kept, beyond maxJournal', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, writeDeadline: '50ms', maxJournal: 2 })
  await app.ready()
  await redis.set('cache:other', 'x')
  await server.pause()
  await t.rejects(app.cache.invalidate('a'), { code: 'FRC_DEADLINE' })
  await t.rejects(app.cache.invalidate('b'), { code: 'FRC_DEADLINE' })
  t.equal(app.cache.stats().journal, 2)
  await t.rejects(app.cache.invalidate('c'), { code: 'FRC_DEADLINE' })
  t.equal(app.cache.stats().journal, 1, 'everything as one')
  server.resume()
  await told(app)
  t.pass('and is told')
})

t.test('maxBodyBytes of a route, above and below the plugin\'s, with another process that has the plugin\'s', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ maxBodyBytes: 100 })
    const body = async (request: { params: unknown }): Promise<string> => 'x'.repeat(Number((request.params as { size: string }).size))
    app.get('/more/:size', { cache: { key: 'more:{size}', maxBodyBytes: 200 } }, body)
    app.get('/less/:size', { cache: { key: 'less:{size}', maxBodyBytes: 50 } }, body)
    app.get('/none/:size', { cache: { key: 'none:{size}', maxBodyBytes: 0 } }, body)
    app.get('/plain/:size', { cache: { key: 'plain:{size}' } }, body)
    const isHit = async (path: string): Promise<boolean> => {
      await app.inject(path)
      await settled(app)
      return /; hit/.test(String((await app.inject(path)).headers['cache-status']))
    }
    for (const [path, is] of Object.entries({
      '/more/200': true, '/more/201': false, '/less/50': true, '/less/51': false, '/none/1': false, '/plain/100': true, '/plain/101': false
    })) t.equal(await isHit(path), is, path)
  })
})
