// Values that their writers store: what getOrSet gives then, and what becomes of those that can't be stored.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { beyondLookup, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

const never = async (): Promise<never> => { throw new Error('it was loaded') }

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })
  const kept = async (app: CachedApp, load: () => Promise<unknown> = never): Promise<unknown> => await app.cache.getOrSet('k', {}, load)

  await t.test('getOrSet gives it, a value or what a function gives', async (t) => {
    const app = await opened()
    const values: Array<[given: unknown, value: unknown]> = [
      [{ at: new Date(1) }, { at: new Date(1) }], [async () => new Map([[1, 2]]), new Map([[1, 2]])], [null, null],
      [undefined, undefined], [Promise.resolve('later'), 'later']
    ]
    for (const [given, value] of values) {
      t.strictSame(await app.cache.put('k', given), value)
      t.strictSame(await kept(app), value)
    }
    t.match(app.cache.stats().values, { sets: 5, stores: 5, hits: 5, misses: 0, refusals: {} })
    await app.cache.invalidate('k')
    t.equal(await kept(app, async () => 'loaded'), 'loaded')
  })

  await t.test('its ttl and its tags', async (t) => {
    let now = 1_000_000
    const app = await opened({ now: () => now, ttl: 60 })
    await app.cache.put('k', 'short', { ttl: 5, tags: ['own', 'other'] })
    now += 4_000
    t.equal(await kept(app), 'short')
    now += 2_000
    t.equal(await kept(app, async () => 'loaded'), 'loaded')
    await settled(app)
    for (const tag of ['own', 'other']) {
      await app.cache.put('k', 'tagged', { tags: ['own', 'other'] })
      await app.cache.invalidate({ tags: [tag] })
      t.equal(await kept(app, async () => tag), tag)
      await settled(app)
    }
    await app.cache.put('k', 'nothing', { ttl: 0 })
    t.equal(await kept(app, async () => 'loaded'), 'loaded', 'a ttl of 0 ends what is there')
  })

  await t.test('tags that nobody knows yet, behind a quarantine of others', async (t) => {
    const app = await opened()
    app.get('/r/:id', { cache: { key: 'r:{id}', ttl: 60 } }, async ({ params }) => (params as { id: string }).id)
    for (const i of [1, 2, 3]) {
      await app.cache.mutate({ tags: [`x-${i}`] }, () => i)
      await app.cache.put('k', i, { tags: [`row-${i}`] })
      t.equal(await kept(app), i)
      await app.cache.set(`r:${i}`, () => `set ${i}`, { route: `/r/${i}`, tags: [`row-${i}-again`] })
      t.match(await app.inject(`/r/${i}`), { body: `set ${i}`, headers: { 'cache-status': /hit/ } })
      await app.cache.invalidate({ tags: [`row-${i}`, `row-${i}-again`] })
      t.equal(await kept(app, async () => 'loaded'), 'loaded')
      t.equal((await app.inject(`/r/${i}`)).body, String(i))
      await settled(app)
    }
    t.match(app.cache.stats().values.refusals, {})
    t.notOk(app.cache.stats().values.refusals.outdated)
  })

  await t.test('a load that runs meanwhile has read the old one: it is not stored', async (t) => {
    const app = await opened()
    const { wait, reached, open: letGo } = gate()
    const slow = kept(app, async () => {
      await wait()
      return 'old'
    })
    await reached
    await app.cache.put('k', () => 'new')
    letGo()
    t.equal(await slow, 'old', 'its own caller gets what it loaded')
    await settled(app)
    t.equal(await kept(app), 'new')
  })

  await t.test('of two writers, only the last to begin stores', async (t) => {
    const app = await opened()
    const { wait, reached, open: letGo } = gate()
    const first = app.cache.put('k', async () => {
      await wait()
      return 'first'
    })
    await reached
    await app.cache.put('k', () => 'second')
    letGo()
    t.equal(await first, 'first')
    t.not(await kept(app, async () => 'of the database'), 'first')
  })

  await t.test('an invalidation while it works: it is not stored', async (t) => {
    for (const [name, target] of Object.entries({ key: 'k', tag: { tags: ['t'] }, prefix: { prefix: 'k' }, all: { all: true as const } })) {
      const app = await opened()
      await app.cache.put('k', 'old')
      await app.cache.put('k', async () => {
        await app.cache.invalidate(target)
        return 'read before'
      }, { tags: ['t'] })
      t.equal(await kept(app, async () => 'fresh'), 'fresh', name)
    }
  })

  await t.test('in quarantine, switched off, or what can\'t be stored: what is there ends', async (t) => {
    const app = await opened({ maxBodyBytes: 100 })
    const ends = async (name: string, put: () => Promise<unknown>): Promise<void> => {
      await app.cache.put('k', 'old')
      await put()
      t.equal(await kept(app, async () => 'loaded'), 'loaded', name)
      await settled(app)
    }
    await ends('quarantine', async () => { await app.cache.mutate('k', async () => { t.equal(await app.cache.put('k', 'new'), 'new') }) })
    await ends('a function in it', async () => await app.cache.put('k', { f: () => {} }))
    await ends('too large', async () => await app.cache.put('k', 'x'.repeat(200)))
    await ends('switched off', async () => {
      app.cache.enabled = false
      await app.cache.put('k', 'new')
      app.cache.enabled = true
    })
    await ends('it throws', async () => await t.rejects(app.cache.put('k', () => { throw new Error('who knows') }), { message: 'who knows' }))
    await settled(app)
  })

  await t.test('who asks while it works waits for it', async (t) => {
    const app = await opened()
    const { wait, reached, open: letGo } = gate()
    const putting = app.cache.put('k', async () => {
      await wait()
      return 'new'
    })
    await reached
    const asked = [kept(app), kept(app)]
    await beyondLookup(app)
    letGo()
    await putting
    t.strictSame(await Promise.all(asked), ['new', 'new'])
  })

  await t.test('a response under the same key is not concerned', async (t) => {
    const app = await opened()
    app.get('/', { cache: { key: 'k' } }, async () => 'response')
    await app.inject('/')
    await settled(app)
    await app.cache.put('k', 'value')
    t.match((await app.inject('/')).headers['cache-status'], /; hit/)
    await app.cache.invalidate('k')
    t.equal(await app.cache.inspect('k'), null)
    t.equal(await kept(app, async () => 'loaded'), 'loaded')
  })

  await t.test('what is wrong is refused before the work', async (t) => {
    const app = await opened()
    const work = async (): Promise<never> => { throw new Error('it ran') }
    await t.rejects(app.cache.put('', work), { code: 'FRC_TARGET' })
    await t.rejects(app.cache.put('k', work, { ttl: 'soon' }), { code: 'FRC_OPTION', message: /cache\.put: ttl is "soon"/ })
    await t.rejects(app.cache.put('k', work, { route: '/' } as never), { code: 'FRC_OPTION', message: /route is "\/"; there is no such option/ })
    await t.rejects(app.cache.put('k', work, { tags: [''] }), { code: 'FRC_TAG' })
    await t.rejects(app.cache.put('k', work, null as never), { code: 'FRC_OPTION', message: /write \{ ttl, tags \}/ })
    await turn()
    t.equal(app.cache.stats().values.sets, 0)
  })
})
