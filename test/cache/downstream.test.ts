// Caches in front hear of each invalidation of this process, when the store has confirmed it, and before its caller goes on.
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createCache, type CreateCacheOptions } from '../../plugin/extras/client/index.js'
import { faultyStore } from '../../plugin/extras/testing/index.js'
import type { InvalidatedTargets, OnInvalidate, RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, onEachStore, settled, told, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

type Heard = Omit<InvalidatedTargets, 'signal'>

/** Notes what it hears; `meanwhile`: what is done then. */
function hearing (meanwhile: OnInvalidate = () => {}): { heard: Heard[], onInvalidate: OnInvalidate } {
  const heard: Heard[] = []
  const onInvalidate: OnInvalidate = async (invalidated) => {
    const { signal: _, ...rest } = invalidated
    heard.push(rest)
    await meanwhile(invalidated)
  }
  return { heard, onInvalidate }
}

const BROKEN = new Error('the purge failed')
const broken = (): never => { throw BROKEN }
const ERROR = {
  code: 'FRC_ON_INVALIDATE', statusCode: 503, cause: BROKEN, message: /^the invalidation is done here, but onInvalidate failed/
}
const ofLevel = ({ lines }: CachedApp, least: number): unknown[] =>
  lines.filter(({ level }) => Number(level) >= least).map(({ msg }) => msg)

await onEachStore(t, async (t, open) => {
  await t.test('each way to invalidate is heard of, once its entry is gone, and waited for', async (t) => {
    const { heard, onInvalidate } = hearing(async ({ tags }) => {
      const isThere = await app.cache.inspect('k:1') !== null
      t.equal(isThere, tags.some((tag) => tag.includes('path')), 'the entry is gone by then')
    })
    const app = await open({ prefix: 'p', onInvalidate, invalidateUnsafe: true })
    app.get('/:id', { cache: { key: 'k:{id}', tags: ['t'], staleWhileRevalidate: 60 } }, async () => 'x')
    app.get('/path/:id', { cache: true }, async () => 'x')
    app.put('/path/:id', async () => 'x')
    app.put('/:id', { cache: { invalidates: ['k:{id}', { tags: ['t'] }] } }, async () => 'x')
    app.delete('/:id', { cache: { invalidates: ['k:{id}'], onError: 'fail' } }, async () => 'x')
    const after = async (work: () => Promise<unknown>): Promise<Heard> => {
      await app.inject('/1')
      await app.inject('/path/1')
      await settled(app)
      heard.length = 0
      await work()
      t.equal(heard.length, 1, 'and not again')
      return heard[0]!
    }
    const hard = { keys: [], tags: [], prefixes: [], all: false, soft: false }
    const ofKey = { ...hard, keys: ['k:1'], surrogateKeys: ['p:k:1', 'p~any'] }
    t.strictSame(await after(async () => await app.cache.invalidate('k:1')), ofKey)
    t.strictSame(await after(async () => await app.cache.invalidate({ keys: ['k:1'], tags: ['t'] })),
      { ...ofKey, tags: ['t'], surrogateKeys: ['p:k:1', 'p:t', 'p~any'] })
    t.strictSame(await after(async () => await app.cache.invalidate({ prefix: ['k:', 'l:'] })),
      { ...hard, prefixes: ['k:', 'l:'], surrogateKeys: ['p'] })
    t.strictSame(await after(async () => await app.cache.invalidate({ all: true })), { ...hard, all: true, surrogateKeys: ['p'] })
    t.strictSame(await after(async () => await app.cache.mutate('k:1', () => {})), ofKey)
    t.strictSame(await after(async () => await app.inject({ url: '/1', method: 'PUT' })),
      { ...ofKey, tags: ['t'], surrogateKeys: ['p:k:1', 'p:t', 'p~any'] })
    t.strictSame(await after(async () => await app.inject({ url: '/1', method: 'DELETE' })), ofKey)
    const { tags, surrogateKeys } = await after(async () => await app.inject({ url: '/path/1', method: 'PUT' }))
    t.equal(tags.length, 1, 'the tag of its path')
    t.equal(surrogateKeys.length, 2)
    await app.cache.invalidate([])
    await t.rejects(app.cache.invalidate(''), { code: 'FRC_TARGET' })
    t.equal(heard.length, 1, 'nothing, and what is refused, is no invalidation')
  })

  await t.test('soft: said so', async (t) => {
    const { heard, onInvalidate } = hearing()
    const app = await open({ onInvalidate })
    await app.cache.invalidate({ tags: ['t'] }, { soft: true })
    t.match(heard, [{ tags: ['t'], soft: true }])
  })

  await t.test('set and put: when what they store is there', async (t) => {
    const seen: unknown[] = []
    const { heard, onInvalidate } = hearing(async () => {
      const response = await app.cache.get('row')
      seen.push(response === null ? null : String(response.body))
    })
    const app: CachedApp = await open({ prefix: 'p', onInvalidate })
    app.get('/row', { cache: { key: 'row' } }, async () => 'old')
    await app.inject('/row')
    await settled(app)
    await app.cache.set('row', async () => 'new', { route: '/row' })
    t.strictSame(seen, ['new'], 'earlier, a cache in front would be given the old one again')
    await app.cache.put('row', async () => 'value')
    t.strictSame(heard.map(({ keys, surrogateKeys }) => [keys, surrogateKeys]), [[['row'], ['p:row', 'p~any']], [['row'], ['p:row', 'p~any']]])
    heard.length = 0
    await t.rejects(app.cache.set('row', broken, { route: '/row' }), BROKEN)
    await t.rejects(app.cache.put('row', broken), BROKEN)
    t.match(heard, [{ keys: ['row'] }, { keys: ['row'] }], 'a work that throws may have written')
  })

  await t.test('it fails: who waits is told, nothing else is concerned', async (t) => {
    const app = await open({ onInvalidate: broken })
    let runs = 0
    app.get('/:id', { cache: { key: 'k:{id}' } }, async () => `${++runs}`)
    app.put('/:id', { cache: { invalidates: ['k:{id}'] } }, async () => 'written')
    app.delete('/:id', { cache: { invalidates: ['k:{id}'], onError: 'fail' } }, async () => 'written')
    app.post('/', async () => await app.cache.invalidate('k:1'))
    const fill = async (): Promise<string> => {
      const { body } = await app.inject('/1')
      await settled(app)
      return body
    }
    const ways: Array<[() => Promise<unknown>, Record<string, unknown>]> = [
      [async () => await app.cache.invalidate('k:1'), ERROR],
      [async () => await app.cache.mutate('k:1', () => {}), { ...ERROR, cause: ERROR, worked: true, message: /^the work is done, and the invalidation/ }],
      [async () => await app.cache.set('k:1', () => 'set', { route: '/1' }), { code: 'FRC_ON_INVALIDATE', worked: true }],
      [async () => await app.cache.put('k:1', () => 'put'), { code: 'FRC_ON_INVALIDATE', worked: true }]
    ]
    for (const [way, error] of ways) {
      await fill()
      t.match(await way().catch((error: unknown) => error), error)
      t.equal(app.cache.stats().journal, 0)
    }
    await app.cache.invalidate('k:1').catch(() => {})
    for (const method of ['PUT', 'DELETE'] as const) {
      const before = await fill()
      const response = await app.inject({ method, url: '/1' })
      t.equal(response.body, 'written', `${method}: the response stands`)
      t.equal(response.statusCode, 200)
      t.not(await fill(), before, 'and the entry is gone')
    }
    t.equal((await app.inject({ method: 'POST', url: '/' })).statusCode, 503)
    await t.rejects(app.cache.mutate('k:1', () => { throw new Error('work') }), { message: 'work' })
    const said = ofLevel(app, 40)
    t.equal(said.length, 10, said.join('\n'))
    for (const line of said) t.match(line, /^the invalidation is done here, but onInvalidate failed: caches in front may serve what they have/)
    t.match(app.lines.filter(({ level }) => level === 50)[0], { surrogateKeys: ['cache:k:1', 'cache~any'], err: { message: BROKEN.message } })
    app.cache.invalidate('k:1') // nobody waits, nothing ends by it
    await app.cache.settled()
  })
})

t.test('it never ends: nobody waits for longer than onInvalidateTimeout', async (t) => {
  let aborted = 0
  const onInvalidate: OnInvalidate = async ({ signal }) => {
    signal.addEventListener('abort', () => { aborted++ })
    await new Promise(() => {})
  }
  const app = await cachedApp(t, { onInvalidate, onInvalidateTimeout: '20ms' })
  await t.rejects(app.cache.invalidate('k'), { code: 'FRC_ON_INVALIDATE', message: /onInvalidate did not end within 20 ms/, cause: { code: 'FRC_DEADLINE' } })
  t.equal(aborted, 1)
})

t.test('who waits for all waits for it, too', async (t) => {
  const purge = gate()
  const app = await cachedApp(t, { onInvalidate: purge.wait, onInvalidateTimeout: 0 })
  const order: string[] = []
  const invalidating = app.cache.invalidate('k').then(() => { order.push('invalidated') })
  await purge.reached
  const settling = app.cache.settled().then(() => { order.push('settled') })
  order.push('opened')
  purge.open()
  await Promise.all([invalidating, settling])
  t.equal(order[0], 'opened')
})

t.test('Redis can\'t be told: it is called when the journal has told it, with all of that', async (t) => {
  const store = faultyStore()
  const { heard, onInvalidate } = hearing()
  const app = await cachedApp(t, { prefix: 'p', store, onInvalidate })
  store.fail()
  await t.rejects(app.cache.invalidate({ keys: ['a'], tags: ['t'] }), { code: 'FRC_STORE' })
  await t.rejects(app.cache.invalidate('b', { soft: true }), { code: 'FRC_STORE' })
  t.strictSame(heard, [], 'a cache in front would be given the old one again')
  store.mend()
  await told(app)
  await app.cache.settled()
  t.strictSame(heard, [{
    keys: ['a', 'b'], tags: ['t'], prefixes: [], all: false, soft: false, surrogateKeys: ['p:a', 'p:b', 'p:t', 'p~any']
  }])
})

t.test('and where it fails then, the log has it, and requests are served', async (t) => {
  const store = faultyStore()
  const app = await cachedApp(t, { store, onInvalidate: broken })
  store.fail()
  await t.rejects(app.cache.invalidate('a'), { code: 'FRC_STORE' })
  store.mend()
  await told(app)
  await app.cache.settled()
  t.match(app.lines.filter(({ msg }) => /onInvalidate failed/.test(String(msg))), [{ level: 50, surrogateKeys: ['cache:a', 'cache~any'] }])
  t.equal(app.cache.stats().journal, 0)
})

t.test('on Redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const app = async (options: RouteCacheOptions): Promise<CachedApp> => {
    return await cachedApp(t, { redis: server.client(), ...options })
  }
  const client = async (t: Test, options: Partial<CreateCacheOptions>) => {
    const patient = { deadline: 30, writeDeadline: 30 }
    const cache = await createCache({ redis: { url: server.url }, logger: false, ...patient, ...options })
    t.teardown(async () => { await cache.close({ timeout: 1 }).catch(() => {}) })
    return cache
  }

  await t.test('only the process that invalidates calls it; a cache without routes, too', async (t) => {
    const [one, other, worker] = [hearing(), hearing(), hearing()]
    const apps = [await app({ onInvalidate: one.onInvalidate }), await app({ onInvalidate: other.onInvalidate })]
    const cache = await client(t, { onInvalidate: worker.onInvalidate })
    await apps[0]!.cache.invalidate('a')
    await cache.invalidate('b')
    await cache.put('c', 1)
    await cache.mutate('d', () => {})
    t.strictSame([one, other, worker].map(({ heard }) => heard.flatMap(({ keys }) => keys)), [['a'], [], ['b', 'c', 'd']])
    const failing = await client(t, { onInvalidate: broken })
    await t.rejects(failing.invalidate('a'), ERROR)
  })

  await t.test('fewer replicas than waitForReplicas: Redis has it, so it is called', async (t) => {
    const { heard, onInvalidate } = hearing()
    const lonely = await app({ onInvalidate, waitForReplicas: 1, writeDeadline: '1s' })
    await lonely.ready()
    await t.rejects(lonely.cache.invalidate('a'), { code: 'FRC_REPLICAS' })
    t.match(heard, [{ keys: ['a'] }])
    const failing = await app({ onInvalidate: broken, waitForReplicas: 1, writeDeadline: '1s' })
    await failing.ready()
    await t.rejects(failing.cache.invalidate('a'), { code: 'FRC_REPLICAS' })
    t.ok(ofLevel(failing, 50).some((line) => /onInvalidate failed/.test(String(line))))
  })

  await t.test('a script that closes waits for what its journal tells at last', async (t) => {
    const purge = gate()
    const { heard, onInvalidate } = hearing(purge.wait)
    const cache = await client(t, { onInvalidate, writeDeadline: '100ms', onInvalidateTimeout: 0 })
    await server.pause()
    await t.rejects(cache.invalidate('a'), { code: 'FRC_DEADLINE' })
    let isClosed = false
    const closing = cache.close({ timeout: 30 }).then(() => { isClosed = true })
    server.resume()
    await purge.reached
    // It would be closed by then.
    for (let i = 0; i < 50; i++) await turn()
    t.equal(isClosed, false)
    purge.open()
    await closing
    t.match(heard, [{ keys: ['a'] }])
  })

  await t.test('an app that closes does, too', async (t) => {
    const { heard, onInvalidate } = hearing()
    const closing = await app({ onInvalidate, writeDeadline: '100ms' })
    await closing.ready()
    await server.pause()
    await t.rejects(closing.cache.invalidate('a'), { code: 'FRC_DEADLINE' })
    server.resume()
    await closing.close()
    await until(async () => heard.length > 0, 'it is called')
    t.match(heard, [{ keys: ['a'] }])
  })
})

t.test('what is no function is refused', async (t) => {
  await t.rejects(cachedApp(t, { onInvalidate: 'purge' } as object), { code: 'FRC_OPTION', message: /onInvalidate is "purge"/ })
  await t.rejects(cachedApp(t, { onInvalidateTimeout: -1 }), { code: 'FRC_OPTION' })
  await t.rejects(createCache({ redis: { url: 'redis://127.0.0.1:1' }, surrogateKeys: 'Cache-Tag' } as never), { code: 'FRC_OPTION', message: /for routes/ })
})
