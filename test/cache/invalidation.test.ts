// Invalidation, as users see it: through routes, also while a handler runs, also from another instance.
import t from 'tap'
import type { InvalidateTarget } from '../../plugin/index.js'
import { cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

/** The row that the routes read. */
interface Database { name: string }

function routes (app: CachedApp, database: Database): ReturnType<typeof gate> {
  const slow = gate()
  app.get('/users/:id', { cache: { key: 'user:{id}' } }, async () => database.name)
  app.get('/slow/:id', { cache: { key: 'slow:{id}' } }, async () => {
    const name = database.name
    await slow.wait()
    return name
  })
  return slow
}

await onEachStore(t, async (t, open) => {
  await t.test('after it, the next request runs the handler', async (t) => {
    const app = await open()
    const database = { name: 'old' }
    routes(app, database)
    for (const id of [1, 2, 11]) await app.inject(`/users/${id}`)
    await settled(app)
    database.name = 'new'
    t.equal((await app.inject('/users/1')).body, 'old', 'a hit')
    t.equal(await app.cache.invalidate(app.cache.key('user:{id}', { id: 1 })), 1)
    t.equal((await app.inject('/users/1')).body, 'new')
    t.equal((await app.inject('/users/11')).body, 'old')
    t.equal(await app.cache.invalidate(['user:2', 'user:11', 'user:404']), 2)
    t.equal((await app.inject('/users/11')).body, 'new')
    await settled(app)
    t.equal(await app.cache.invalidate({ prefix: 'user:' }), 2)
    t.equal(await app.cache.invalidate([]), 0)
    t.match(app.cache.stats(), { invalidations: 4, invalidated: 5 })
    t.match(app.lines.filter(({ msg }) => msg === 'cache invalidated'), [
      { level: 20, keys: ['user:1'], removed: 1 }, { removed: 2 }, { prefix: 'user:', removed: 2 }, { removed: 0 }
    ])
  })

  for (const [i, target] of ['slow:1', ['x', 'slow:1'], { prefix: 'slow:' }].entries()) {
    await t.test(`a handler that read before it can't store after it: ${JSON.stringify(target)}`, async (t) => {
      const prefix = `case-${i}`
      const [app, other] = [await open({ prefix }), await open({ prefix })]
      // In-process stores are not shared: there the other instance is the same one.
      const invalidator = app.cache.stats().store === 'redis' ? other : app
      const database = { name: 'old' }
      const slow = routes(app, database)
      const reading = app.inject('/slow/1')
      await slow.reached
      database.name = 'new'
      await invalidator.cache.invalidate(target as InvalidateTarget)
      slow.open()
      t.equal((await reading).body, 'old', 'its own client gets what it read')
      await settled(app)
      t.strictSame(app.cache.stats().total.refusals, { lease: 1 })
      t.equal((await app.inject('/slow/1')).body, 'new')
      await settled(app)
      t.match((await app.inject('/slow/1')).headers['cache-status'], /hit/, 'and that is stored')
    })
  }

  await t.test('get and inspect show the entry without serving it', async (t) => {
    let now = 5_000
    const app = await open({ now: () => now })
    app.get('/things/:id', { cache: { key: 'thing:{id}', ttl: 100 } }, async (_, reply) => reply.header('x-a', ['1', '2']).header('etag', '"e"').send('four'))
    t.equal(await app.cache.inspect('thing:1'), null)
    await app.inject('/things/1')
    await settled(app)
    now += 30_500
    const info = {
      status: 200, headers: { 'x-a': ['1', '2'], 'content-type': 'text/plain; charset=utf-8', etag: '"e"' }, age: 30, ttl: 70, size: 4
    }
    t.strictSame(await app.cache.inspect('thing:1'), info)
    t.strictSame(await app.cache.get('thing:1'), { ...info, body: Buffer.from('four') })
    t.equal(app.cache.stats().total.hits, 0)
    now += 69_500
    t.equal(await app.cache.get('thing:1'), null, 'its ttl is over')
  })
})

t.test('a target that is none is refused, and says what would be right', async (t) => {
  const app = await cachedApp(t)
  const targets: unknown[] = ['', [''], [7], 7, null, undefined, {}, { prefix: '' }, { prefix: 7 }, { prefx: 'a' }, { prefix: 'a', tags: 'b' }, { keys: 'a' }, { all: 1 }, { all: true, keys: ['a'] }]
  for (const target of targets) {
    await t.rejects(app.cache.invalidate(target as string), { code: 'FRC_TARGET', message: /non-empty string/ }, JSON.stringify(target))
  }
  await t.rejects(app.cache.get(''), { code: 'FRC_TARGET' })
  t.equal(app.cache.stats().invalidations, 0)
})

t.test('an app that closes lets its fills end first', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    app.get('/', { cache: { key: 'k' } }, async () => 'x')
    await app.inject('/')
    await app.close()
    const { stores, refusals } = app.cache.stats().total
    t.strictSame({ stores, refusals }, { stores: 1, refusals: {} })
  })
})
