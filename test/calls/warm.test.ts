// `cache.warm`: the app's own requests fill the cache before anybody asks.
import t from 'tap'
import type { WarmProgress } from '../../plugin/index.js'
import { assertHit, assertMiss, assertStale, faultyStore, settled } from '../../plugin/extras/testing/index.js'
import { TICKET_HEADER } from '../../plugin/request/own-request.js'
import { BYPASS_WORDS, REFUSAL_WORDS, UNCACHED_WORDS } from '../../plugin/telling/reasons.js'
import { beyondLookup, cachedApp, gate, loggingApp, onEachStore, type CachedApp } from '../helpers/app.js'

const EMPTY = { stored: 0, hits: 0, bypassed: 0, failed: [] }

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })

  await t.test('fills what is not there, with the headers that are given, and leaves alone what is', async (t) => {
    for (const place of ['onRequest', 'handler']) {
      const app = await opened()
      const seen: unknown[] = []
      app.get('/users/:id', {
        cache: { key: 'user:{id}', ttl: 60, vary: ['accept-language'], tags: ['users'] },
        ...place === 'handler' && { preHandler: async () => {} }
      }, async ({ params, headers, cacheOutcome }) => {
        seen.push({ headers: { ...headers }, cacheOutcome })
        return { params, language: headers['accept-language'] ?? 'none' }
      })
      const german = { url: '/users/1', headers: { 'Accept-Language': 'de', 'User-Agent': 'warm-up' } }
      t.strictSame(await app.cache.warm(['/users/1', german, '/users/2?x=1']), { ...EMPTY, stored: 3 })
      t.equal(seen.length, 3)
      for (const one of seen as Array<{ headers: object, cacheOutcome: object }>) {
        const agents = 'accept-language' in one.headers ? ['user-agent'] : []
        t.strictSame([TICKET_HEADER, 'user-agent'].filter((name) => name in one.headers), agents)
        t.strictSame(one.cacheOutcome, { type: 'own', key: null, why: 'warm' })
      }
      const hit = await app.inject(german)
      assertHit(hit, { ttl: 60 })
      t.equal(hit.json().language, 'de')
      assertHit(await app.inject('/users/2'))
      t.strictSame(await app.cache.warm([german, '/users/2', '/users/3']), { ...EMPTY, stored: 1, hits: 2 })
      t.equal(seen.length, 4)
      await app.cache.invalidate({ tags: ['users'] })
      t.strictSame(await app.cache.warm(['/users/3']), { ...EMPTY, stored: 1 }, 'it had the tags of the policy')
      t.strictSame(await app.cache.warm([]), EMPTY)
    }
  })

  await t.test('what is stale is filled anew', async (t) => {
    let time = 0
    const app = await opened({ now: () => Date.UTC(2026, 0, 1) + time })
    let runs = 0
    app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 60, staleIfError: 60 } }, async () => {
      if (time > 30_000) throw new Error('no')
      return String(++runs)
    })
    await app.inject('/')
    await settled(app)
    time = 20_000
    t.strictSame(await app.cache.warm(['/']), { ...EMPTY, stored: 1 })
    assertHit(await app.inject('/'))
    t.equal(runs, 2)
    time = 31_000
    const { failed } = await app.cache.warm(['/', '/'], { concurrency: 1 })
    t.match(failed, [{ reason: 'stale-if-error' }, { reason: 'stale-if-error', text: /the handler failed just now/ }])
    assertStale(await app.inject('/'))
  })

  await t.test('what fails does not keep the others, and says why', async (t) => {
    const app = await opened()
    let plain = 0
    app.get('/plain', async () => String(++plain))
    app.get('/ok', { cache: { key: 'ok' } }, async () => 'x')
    app.get('/throws', { cache: { key: 'throws' } }, async () => { throw new Error('no') })
    app.get('/cookie', { cache: { key: 'cookie' } }, async (_, reply) => reply.header('set-cookie', 'a=b').send('x'))
    app.get('/guarded', { cache: { key: 'guarded' }, onRequest: async (_, reply) => await reply.code(401).send('no') }, async () => 'x')
    app.get('/hijacked', { cache: { key: 'hijacked' } }, async (_, reply) => { reply.hijack(); reply.raw.end('x') })
    app.get('/number', {
      cache: { key: 'number' }, schema: { querystring: { type: 'object', properties: { n: { type: 'integer' } } } }
    }, async () => 'x')
    const cookie = { url: '/ok', headers: { authorization: 'x' } }
    const seen: WarmProgress[] = []
    const urls = ['/plain', '/nothing', '/throws', '/cookie', '/guarded', '/hijacked', '/number?n=x', cookie, '/ok']
    const summary = await app.cache.warm(urls, { concurrency: 1, onProgress: (progress) => { seen.push(progress) } })
    t.strictSame(summary, {
      stored: 1,
      hits: 0,
      bypassed: 2,
      failed: [
        { url: '/plain', reason: 'uncached', status: null, text: UNCACHED_WORDS.uncached },
        { url: '/nothing', reason: 'not-found', status: null, text: UNCACHED_WORDS['not-found'] },
        { url: '/throws', reason: 'status', status: 500, text: `${REFUSAL_WORDS.status}: 500` },
        { url: '/cookie', reason: 'set-cookie', status: 200, text: REFUSAL_WORDS['set-cookie'] },
        { url: '/guarded', reason: 'answered', status: 401, text: `${BYPASS_WORDS.answered}: 401` },
        {
          url: '/hijacked',
          reason: 'raw',
          status: 200,
          text: 'the handler or a hook sent it, or its head, past Fastify: reply.hijack(), reply.raw.writeHead(), reply.raw.write()'
        }
      ]
    })
    t.strictSame(seen.map(({ done, total }) => `${done}/${total}`), urls.map((_, i) => `${i + 1}/9`))
    t.strictSame(seen.slice(5), [
      { done: 6, total: 9, url: '/hijacked', outcome: 'failed', reason: 'raw' },
      { done: 7, total: 9, url: '/number?n=x', outcome: 'bypass', reason: 'invalid' },
      { done: 8, total: 9, url: '/ok', outcome: 'bypass', reason: 'authorization' },
      { done: 9, total: 9, url: '/ok', outcome: 'stored', reason: null }
    ])
    t.equal(plain, 0, 'no handler runs whose route is not cached')
    await settled(app)
    assertMiss(await app.inject('/guarded-not').then(async () => await app.inject('/cookie')))
  })

  await t.test('so many at a time, and no more', async (t) => {
    for (const [concurrency, expected] of [[undefined, 4], [1, 1], [20, 6]] as const) {
      const app = await opened()
      let running = 0
      let most = 0
      const held = gate()
      const all = gate()
      app.get('/:id', { cache: { key: '{id}' } }, async () => {
        most = Math.max(most, ++running)
        if (running === expected) await all.wait()
        await held.wait()
        running--
        return 'x'
      })
      const warming = app.cache.warm(['/1', '/2', '/3', '/4', '/5', '/6'], concurrency === undefined ? {} : { concurrency })
      await all.reached
      await beyondLookup(app)
      t.equal(running, expected)
      all.open()
      held.open()
      t.strictSame(await warming, { ...EMPTY, stored: 6 })
      t.equal(most, expected)
    }
  })

  await t.test('one run together with a client\'s request, whoever comes first; nobody gets the other\'s answer', async (t) => {
    for (const first of ['client', 'warm']) {
      const app = await opened()
      const running = gate()
      let runs = 0
      app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
        runs++
        await running.wait()
        return reply.header('x-run', runs).send('body')
      })
      const ask = { client: async () => await app.inject('/'), warm: async () => await app.cache.warm(['/']) }
      const begun = first === 'client' ? ask.client() : ask.warm()
      await running.reached
      const other = first === 'client' ? ask.warm() : ask.client()
      await beyondLookup(app)
      running.open()
      const [client, warmed] = (first === 'client' ? await Promise.all([begun, other]) : (await Promise.all([other, begun]))) as
        [Awaited<ReturnType<typeof ask.client>>, Awaited<ReturnType<typeof ask.warm>>]
      t.equal(runs, 1)
      t.strictSame([client.statusCode, client.body, client.headers['x-run']], [200, 'body', '1'])
      t.strictSame(warmed, first === 'client' ? { ...EMPTY, hits: 1 } : { ...EMPTY, stored: 1 })
      if (first === 'client') assertMiss(client)
      else assertHit(client, { collapsed: true })
    }
  })

  await t.test('where somebody else fills and nobody waits, the handler does not run', async (t) => {
    const app = await opened()
    const running = gate()
    let runs = 0
    app.get('/', { cache: { key: 'k', waitTimeout: 0 } }, async () => { runs++; await running.wait(); return 'x' })
    const first = app.inject('/')
    await running.reached
    t.match(await app.cache.warm(['/']), { stored: 0, failed: [{ reason: 'lease', text: REFUSAL_WORDS.lease }] })
    t.equal(runs, 1)
    running.open()
    await first
    await settled(app)
    const { misses, stores, refusals } = app.cache.stats().total
    t.strictSame({ misses, stores, refusals }, { misses: 2, stores: 1, refusals: { lease: 1 } })
  })

  await t.test('an invalidation while it runs: nothing old is stored', async (t) => {
    const app = await opened()
    const running = gate()
    app.get('/', { cache: { key: 'k' } }, async () => { await running.wait(); return 'x' })
    const warming = app.cache.warm(['/'])
    await running.reached
    await app.cache.invalidate('k')
    running.open()
    t.match(await warming, { stored: 0, failed: [{ reason: 'lease' }] })
    assertMiss(await app.inject('/'))
  })

  await t.test('an AbortSignal ends it, gives leases back, and nobody has to wait', async (t) => {
    const app = await opened()
    const running = gate()
    let runs = 0
    app.get('/:id', { cache: { key: '{id}' } }, async () => {
      if (++runs === 1) await running.wait()
      return String(runs)
    })
    const left = new AbortController()
    const reason = new Error('enough')
    const done: string[] = []
    const warming = app.cache.warm(['/1', '/2'], { concurrency: 1, signal: left.signal, onProgress: ({ url }) => { done.push(url) } })
    await running.reached
    left.abort(reason)
    await t.rejects(warming, reason)
    await settled(app)
    assertMiss(await app.inject('/1'))
    await settled(app)
    assertHit(await app.inject('/1'))
    running.open()
    await beyondLookup(app)
    t.equal((await app.inject('/1')).body, '2', 'what was given up is not stored')
    t.strictSame(done, [])
    t.equal(runs, 2)
    await t.rejects(app.cache.warm(['/3'], { signal: left.signal }), reason)
    t.equal(runs, 2)
  })

  await t.test('with a signal, Node warns of no leak, however many are at work', async (t) => {
    const app = await opened()
    app.get('/:id', { cache: { key: '{id}' } }, async () => 'x')
    const warnings: string[] = []
    const hear = ({ message }: Error): void => { warnings.push(message) }
    process.on('warning', hear)
    t.teardown(() => { process.off('warning', hear) })
    const paths = Array.from({ length: 24 }, (_, i) => `/${i}`)
    t.match(await app.cache.warm(paths, { concurrency: 12, signal: new AbortController().signal }), { stored: 24 })
    await beyondLookup(app)
    t.strictSame(warnings, [])
  })

  await t.test('what onProgress throws ends it', async (t) => {
    const app = await opened()
    app.get('/:id', { cache: { key: '{id}' } }, async () => 'x')
    const running = gate()
    app.get('/slow', { cache: { key: 'slow' } }, async () => { await running.wait(); return 'x' })
    const error = new Error('no more')
    let calls = 0
    await t.rejects(app.cache.warm(['/1', '/2', '/3'], { concurrency: 1, onProgress: () => { if (++calls === 2) throw error } }), error)
    t.equal(calls, 2)
    assertMiss(await app.inject('/3'))

    await t.rejects(app.cache.warm(['/slow', '/4'], { onProgress: () => { throw error } }), error)
    await settled(app)
    t.pass('what was under way was given up')
    running.open()
  })

  await t.test('it ends when the app closes', async (t) => {
    const app = await opened()
    const running = gate()
    let runs = 0
    app.get('/:id', { cache: { key: '{id}' } }, async () => { runs++; await running.wait(); return 'x' })
    const warming = app.cache.warm(['/1', '/2', '/3'], { concurrency: 1 })
    await running.reached
    await app.close()
    const { failed, ...counts } = await warming
    t.strictSame(counts, { stored: 0, hits: 0, bypassed: 0 })
    t.strictSame(failed.map(({ url }) => url), ['/1', '/2', '/3'])
    t.strictSame(failed.map(({ reason, text }) => [reason, text]), Array(3).fill(['closed', 'the app closed before']))
    t.equal(runs, 1)
    running.open()
    t.match(await app.cache.warm(['/4']), { failed: [{ reason: 'closed' }] })
  })
})

t.test('where nothing can be stored the handler does not run', async (t) => {
  const store = faultyStore()
  const app = await cachedApp(t, { store })
  let runs = 0
  app.get('/', { cache: { key: 'k' } }, async () => String(++runs))
  store.fail()
  t.match(await app.cache.warm(['/']), { stored: 0, bypassed: 1, failed: [] })
  store.mend()
  app.cache.enabled = false
  t.match(await app.cache.warm(['/']), { stored: 0, bypassed: 1, failed: [] })
  t.equal(runs, 0)
})

t.test('a hook that answers before the plugin sees the request', async (t) => {
  const { app } = loggingApp(t)
  app.addHook('onRequest', async (_, reply) => await reply.code(503).send('away'))
  await app.register((await import('../../plugin/index.js')).default)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  t.match(await app.cache.warm(['/']), { failed: [{ reason: 'unseen', status: 503 }] })
})

t.test('bad input', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  const cases: Array<[args: unknown[], message: RegExp]> = [
    [['/'], /^cache\.warm: requests is "\/"; it is a list/],
    [[['users']], /^cache\.warm: requests\[0\] is "users"; it is a path/],
    [[['/', 7]], /^cache\.warm: requests\[1\] is 7; it is a path/],
    [[['/a b']], /requests\[0\] is "\/a b"/],
    [[[{}]], /requests\[0\]\.url is undefined/],
    [[[{ url: '/', method: 'GET' }]], /requests\[0\]\.method is "GET"; there is no such option/],
    [[[{ url: '/', headers: 'x' }]], /requests\[0\]\.headers is "x"/],
    [[[{ url: '/', headers: { a: 7 } }]], /requests\[0\]\.headers\.a is 7/],
    [[['/'], { concurrency: 0 }], /^cache\.warm: concurrency is 0; it is a number of requests, 1 or more/],
    [[['/'], { concurrency: 1.5 }], /concurrency is 1\.5/],
    [[['/'], { onProgress: 7 }], /onProgress is 7/],
    [[['/'], { signal: {} }], /signal is \{\}/],
    [[['/'], { parallel: 2 }], /^cache\.warm: parallel is 2; there is no such option; there are: concurrency, onProgress, signal/],
    [[['/'], null], /options is null/]
  ]
  for (const [args, message] of cases) {
    await t.rejects((app.cache.warm as (...args: unknown[]) => Promise<unknown>)(...args), { code: 'FRC_OPTION', message }, String(message))
  }
  t.equal((app as CachedApp).cache.stats().total.misses, 0)
})

t.test('onProgress that gives a promise is waited for, and ends the warm-up where it rejects', async (t) => {
  const app = await cachedApp(t)
  app.get('/:id', { cache: { key: '{id}' } }, async () => 'body')
  await app.ready()
  let calls = 0
  const onProgress = async (): Promise<void> => {
    calls++
    await new Promise(setImmediate)
    throw new Error('no progress')
  }
  await t.rejects(app.cache.warm(['/1', '/2', '/3'], { concurrency: 1, onProgress }), { message: 'no progress' })
  t.equal(calls, 1)
})
