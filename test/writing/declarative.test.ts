// `cache: { invalidates }`: what a route that changes something invalidates, before its client hears of the change.
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import t from 'tap'
import type { InvalidationOptions } from '../../plugin/index.js'
import { faultyStore } from '../../plugin/extras/testing/index.js'
import { cachedApp, gate, onEachStore, send, settled, type CachedApp } from '../helpers/app.js'

const URLS = ['/user/1', '/user/2', '/post/1']

/** What is cached: `user:1` and so on, tagged with its kind, and with its kind and id. */
function cached (app: CachedApp): void {
  app.get('/:kind/:id', { cache: { key: '{kind}:{id}', tags: ['{kind}', '{kind}/{id}'] } }, async () => 'x')
}

/** Asks for each of these, until all fills are done; what the cache did: H for a hit. */
async function signs (app: CachedApp, urls: readonly string[] = URLS): Promise<string> {
  let signs = ''
  for (const url of urls) {
    const { headers } = await app.inject(url)
    await settled(app)
    signs += /; ttl=/.test(String(headers['cache-status'])) ? 'H' : '-'
  }
  return signs
}

/** All are hits. */
async function warm (app: CachedApp): Promise<void> {
  await signs(app)
  const again = await signs(app)
  if (again !== 'HHH') throw new Error(`not all are stored: ${again}`)
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** `POST /do/:id`, with this declared. */
function change (app: CachedApp, cache: InvalidationOptions, handler: Handler = async () => 'done', more: Partial<RouteOptions> = {}): void {
  app.route({ method: 'POST', url: '/do/:id', ...more, cache, handler: handler as () => unknown })
}

async function post (app: CachedApp, url = '/do/1', payload?: object): Promise<{ statusCode: number, body: string }> {
  return await app.inject({ method: 'POST', url, ...payload === undefined ? {} : { payload } })
}

/** Neither of these changes what a success does. */
const MODES: Pick<InvalidationOptions, 'onError'>[] = [{}, { onError: 'fail' }]

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options = {}): Promise<CachedApp> => {
    const app = await open({ prefix: `app-${++apps}`, ...options })
    cached(app)
    return app
  }

  for (const mode of MODES) {
    const name = mode.onError ?? 'by default'
    const invalidates: [what: InvalidationOptions['invalidates'], after: string, url?: string][] = [
      [['user:{id}'], '-HH'],
      [['user:{params.id}', 'post:{query.post}'], '-H-', '/do/1?post=1'],
      [['user:{id}', 'user:{id}', 'other'], 'H-H', '/do/2'],
      [[{ tags: ['user'] }], '--H'],
      [{ tags: ['user'] }, '--H'],
      [{ tags: ['user/{id}', '{query.kind}/1'] }, 'H--', '/do/2?kind=post'],
      [{ keys: ['user:{id}'], tags: ['post'] }, '-H-'],
      [[{ tags: ['user/{id}', '{query.kind}/1'] }], 'H--', '/do/2?kind=post'],
      [[{ keys: ['user:{id}'] }, { tags: ['post'] }], '-H-'],
      [({ params }) => [`user:${(params as { id: string }).id}`, 'post:1'], '-H-'],
      [async ({ body }) => ({ tags: [`user/${(body as { user: number }).user}`] }), 'H-H'],
      [() => 'user:1', '-HH'],
      [() => [], 'HHH'],
      [['user:{id}'], 'HHH', '/do/user%3A1']
    ]
    for (const [what, after, url] of invalidates) {
      await t.test(`${name}: ${typeof what === 'function' ? String(what) : JSON.stringify(what)} ${url ?? ''}`, async (t) => {
        const app = await opened()
        change(app, { ...mode, invalidates: what })
        await warm(app)
        t.match(await post(app, url, { user: 2 }), { statusCode: 200, body: 'done' })
        t.equal(await signs(app), after)
      })
    }

    await t.test(`${name}: values as the handler gets them, also where it changes them`, async (t) => {
      const app = await opened()
      const schema = {
        params: { type: 'object', properties: { id: { type: 'integer' } } },
        querystring: { type: 'object', properties: { post: { default: 1 } } }
      }
      change(app, { ...mode, invalidates: ['user:{id}', 'post:{post}'] }, async (request) => { (request.params as { id: number }).id = 2 }, { schema })
      await warm(app)
      await post(app, '/do/001')
      t.equal(await signs(app), '-H-')
    })

    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      await t.test(`${name}: the statuses of ${method}`, async (t) => {
        const app = await opened()
        const answer: Handler = async ({ params }, reply) => await reply.code(Number((params as { id: string }).id)).send()
        change(app, { ...mode, invalidates: ['user:1'] }, answer, { method })
        for (const [statusCode, after] of [[200, '-HH'], [201, '-HH'], [204, '-HH'], [303, '-HH'], [404, 'HHH'], [500, 'HHH']] as const) {
          await warm(app)
          t.match(await app.inject({ method, url: `/do/${statusCode}` }), { statusCode })
          t.equal(await signs(app), mode.onError === 'fail' ? '-HH' : after)
        }
      })
    }

    const ways: [way: string, handler: Handler, body: string][] = [
      ['a callback handler', (_, reply) => { setImmediate(() => reply.send('done')) }, 'done'],
      ['a handler that returns its reply', (_, reply) => reply.send('done'), 'done'],
      ['an async handler that awaits its reply', async (_, reply) => { await reply.send('done') }, 'done'],
      ['an async handler that gives nothing', async () => {}, ''],
      ['a stream', async () => Readable.from(['a', 'b']), 'ab'],
      ['a hijacked reply', (_, reply) => { reply.hijack().raw.end('raw') }, 'raw'],
      ['an async handler that hijacks', async (_, reply) => { reply.hijack().raw.end('raw') }, 'raw'],
      ['an answer past Fastify', (_, reply) => { reply.raw.end('raw') }, 'raw']
    ]
    for (const [way, handler, body] of ways) {
      await t.test(`${name}: ${way}`, async (t) => {
        const app = await opened()
        change(app, { ...mode, invalidates: ['user:{id}'] }, handler)
        await warm(app)
        t.match(await post(app), { statusCode: 200, body })
        while (await signs(app) === 'HHH') await turn()
        t.match(app.cache.stats(), { invalidations: 1, invalidationsFailed: 0 })
      })
    }

    const failures: [way: string, handler: Handler][] = [
      ['an async handler that throws', async () => { throw new Error('no') }],
      ['a handler that throws', () => { throw new Error('no') }],
      ['an error that is sent', (_, reply) => { reply.send(new Error('no')) }],
      ['what can not be serialised', async () => ({ big: 1n })],
      ['a stream that fails before its first byte', async () => new Readable({ read () { this.destroy(new Error('no')) } })]
    ]
    for (const [way, handler] of failures) {
      await t.test(`${name}: ${way}`, async (t) => {
        const app = await opened()
        change(app, { ...mode, invalidates: ['user:{id}'] }, handler)
        await warm(app)
        t.match(await post(app), { statusCode: 500 })
        const isStream = way.startsWith('a stream')
        t.equal(await signs(app), mode.onError === 'fail' || isStream ? '-HH' : 'HHH')
      })
    }

    await t.test(`${name}: a query that runs when it is waited for, as query builders have it, runs once`, async (t) => {
      const app = await opened()
      let runs = 0
      change(app, { ...mode, invalidates: ['user:{id}'] }, () => ({
        then: (resolve: (row: string) => void) => { resolve(`run ${++runs}`) }
      }))
      await warm(app)
      t.match(await post(app), { statusCode: 200, body: 'run 1' })
      t.equal(await signs(app), '-HH')
      t.equal(runs, 1)
    })

    await t.test(`${name}: an error that is answered with 200`, async (t) => {
      const app = await opened()
      app.setErrorHandler(async () => 'sorry')
      change(app, { ...mode, invalidates: ['user:{id}'] }, async () => { throw new Error('no') })
      await warm(app)
      t.match(await post(app), { statusCode: 200, body: 'sorry' })
      t.equal(await signs(app), mode.onError === 'fail' ? '-HH' : 'HHH')
    })

    await t.test(`${name}: what never gets to the handler changes nothing`, async (t) => {
      const app = await opened()
      const schema = { querystring: { type: 'object', properties: { page: { type: 'integer' } } } }
      const preHandler = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
        if (request.headers['x-answered'] !== undefined) await reply.send('known already')
      }
      change(app, { ...mode, invalidates: ['user:{id}'] }, async () => 'done', { schema, preHandler })
      await warm(app)
      t.equal((await post(app, '/do/1?page=x')).statusCode, 400)
      t.match(await app.inject({ method: 'POST', url: '/do/1', headers: { 'x-answered': '1' } }), { body: 'known already' })
      t.equal(await signs(app), 'HHH')
      t.match(app.cache.stats(), { invalidations: 0, invalidationsFailed: 0 })
    })

    await t.test(`${name}: behind the route's own onSend hooks, which may commit, or refuse`, async (t) => {
      const app = await opened()
      let seen = ''
      let isRefused = false
      change(app, { ...mode, invalidates: ['user:{id}'] }, async () => 'done', {
        onSend: async (_, __, payload) => {
          seen = await signs(app, ['/post/1', '/user/1', '/user/1'])
          if (isRefused) throw new Error('no')
          return payload
        }
      })
      await warm(app)
      await post(app)
      t.equal(seen, mode.onError === 'fail' ? 'H--' : 'HHH')
      t.equal(await signs(app), '-HH')
      isRefused = true
      await warm(app)
      t.equal((await post(app)).statusCode, 500)
      t.equal(await signs(app), mode.onError === 'fail' ? '-HH' : 'HHH')
    })

    await t.test(`${name}: HEAD and OPTIONS of the same URL do nothing`, async (t) => {
      const app = await opened()
      change(app, { ...mode, invalidates: ['user:{id}'] })
      app.route({ method: ['HEAD', 'OPTIONS'], url: '/do/:id', handler: async () => {} })
      await warm(app)
      for (const method of ['HEAD', 'OPTIONS'] as const) t.equal((await app.inject({ method, url: '/do/1' })).statusCode, 200)
      t.equal(await signs(app), 'HHH')
    })

    await t.test(`${name}: in an encapsulated plugin, under a prefix`, async (t) => {
      const app = await opened()
      await app.register(async (app) => {
        app.put('/:id', { cache: { ...mode, invalidates: ['user:{id}'] } }, async () => 'done')
      }, { prefix: '/inner' })
      await warm(app)
      t.equal((await app.inject({ method: 'PUT', url: '/inner/2' })).statusCode, 200)
      t.equal(await signs(app), 'H-H')
    })

    await t.test(`${name}: together with invalidateUnsafe`, async (t) => {
      const app = await opened({ invalidateUnsafe: true })
      app.get('/do/:id', { cache: true }, async () => 'x')
      change(app, { ...mode, invalidates: ['user:{id}'] })
      await warm(app)
      await signs(app, ['/do/1'])
      t.equal(await signs(app, ['/do/1']), 'H')
      await post(app)
      t.equal(await signs(app, ['/do/1', ...URLS]), '--HH')
    })

    await t.test(`${name}: also while the cache is switched off`, async (t) => {
      const app = await opened()
      change(app, { ...mode, invalidates: ['user:{id}'] })
      await warm(app)
      app.cache.enabled = false
      await post(app)
      app.cache.enabled = true
      t.equal(await signs(app), '-HH')
    })
  }

  await t.test('prefixes and everything', async (t) => {
    for (const [invalidates, after] of [
      [[{ prefix: 'user:' }], '--H'],
      [[{ prefix: 'user:{id}' }, { prefix: 'po' }], '-H-'],
      [[{ all: true }], '---'],
      [() => ({ all: true }), '---'],
      [() => ({ prefix: 'user' }), '--H']
    ] as [InvalidationOptions['invalidates'], string][]) {
      const app = await opened()
      change(app, { invalidates })
      await warm(app)
      t.equal((await post(app)).statusCode, 200)
      t.equal(await signs(app), after, JSON.stringify(invalidates))
    }
  })

  await t.test('a function by default: with the answer there is by then; with "fail": before the handler', async (t) => {
    for (const mode of MODES) {
      const app = await opened()
      const order: string[] = []
      change(app, {
        ...mode,
        invalidates: (_, reply) => {
          order.push(`asked, ${reply.statusCode}, ${String(reply.getHeader('location'))}`)
          return 'user:1'
        }
      }, async (_, reply) => {
        order.push('handler')
        return await reply.code(201).header('location', '/user/1').send()
      })
      await warm(app)
      t.equal((await post(app)).statusCode, 201)
      t.strictSame(order, mode.onError === 'fail' ? ['asked, 200, undefined', 'handler'] : ['handler', 'asked, 201, /user/1'])
      t.equal(await signs(app), '-HH')
    }
  })

  await t.test('a value that is empty', async (t) => {
    const app = await opened()
    change(app, { invalidates: ['{id}', { prefix: '{id}' }] })
    await warm(app)
    t.equal((await post(app, '/do/')).statusCode, 200)
    t.equal(await signs(app), 'HHH', 'is not everything')
    t.match(app.lines.find(({ level }) => level === 50), {
      msg: 'cache could not be told of the change', route: '/do/:id', err: { code: 'FRC_TARGET', message: /prefix is empty/ }
    })
  })

  await t.test('"fail": in quarantine while the handler runs', async (t) => {
    const app = await opened()
    const slow = gate()
    let row = 'old'
    app.get('/row', { cache: { key: 'row', tags: ['rows'] } }, async () => row)
    change(app, { invalidates: ['user:{id}', { tags: ['rows'] }], onError: 'fail' }, async () => {
      await slow.wait()
      row = 'new'
      return 'done'
    })
    await warm(app)
    t.equal(await signs(app, ['/row', '/row']), '-H')
    const posting = post(app)
    await slow.reached
    t.equal(await signs(app, ['/row', '/row', ...URLS, ...URLS]), '---HH-HH', 'nothing is served, nothing stored')
    slow.open()
    await posting
    t.equal((await app.inject('/row')).body, 'new')
    await settled(app)
    t.equal(await signs(app, ['/row', '/user/1', '/user/1']), 'H-H')
  })

  await t.test('"fail": a handler that outlives its answer keeps the quarantine', async (t) => {
    const app = await opened()
    const slow = gate()
    let answer!: FastifyReply
    change(app, { invalidates: ['user:{id}'], onError: 'fail' }, async (_, reply) => {
      answer = reply
      await slow.wait()
      return 'too late'
    })
    await warm(app)
    const posting = post(app)
    await slow.reached
    // As Fastify does when its handlerTimeout is over.
    answer.code(503).send(new Error('too slow'))
    t.equal((await posting).statusCode, 503)
    t.equal(await signs(app, ['/user/1', '/user/1']), '--')
    slow.open()
    while (await signs(app, ['/user/1']) === '-') await turn()
    t.pass('and ends it')
  })

  await t.test('"fail": a client that leaves does not end the quarantine', async (t) => {
    for (const way of ['answers', 'gives nothing', 'throws', 'hijacks'] as const) {
      const app = await opened()
      const slow = gate()
      const gone = gate()
      change(app, { invalidates: ['user:{id}'], onError: 'fail' }, async (_, reply) => {
        reply.raw.once('close', gone.wait)
        await slow.wait()
        if (way === 'throws') throw new Error('no')
        if (way === 'hijacks') reply.hijack()
        return way === 'answers' ? 'done' : undefined
      })
      await warm(app)
      await app.listen({ host: '127.0.0.1', port: 0 })
      const posting = send(app, 'POST', '/do/1')
      await slow.reached
      posting.destroy()
      await gone.reached
      t.equal(await signs(app, ['/user/1', '/user/1']), '--', way)
      slow.open()
      while (await signs(app, ['/user/1']) === '-') await turn()
    }
  })

  const answers: [answer: string, handler: (reply: FastifyReply) => unknown][] = [
    ['the handler\'s', () => 'done'],
    ['hijacked', (reply) => { reply.hijack().raw.end('raw') }],
    ['past Fastify', (reply) => { reply.raw.end('raw') }]
  ]
  for (const [answer, handler] of answers) {
    await t.test(`a client that has left: what its request changed is invalidated; the answer is ${answer}`, async (t) => {
      const app = await opened()
      const slow = gate()
      const gone = gate()
      change(app, { invalidates: ['user:{id}'] }, async (_, reply) => {
        reply.raw.once('close', gone.wait)
        await slow.wait()
        return handler(reply)
      })
      await warm(app)
      await app.listen({ host: '127.0.0.1', port: 0 })
      const posting = send(app, 'POST', '/do/1')
      await slow.reached
      posting.destroy()
      await gone.reached
      t.equal(await signs(app), 'HHH')
      slow.open()
      const until = performance.now() + 10_000
      while (await signs(app) === 'HHH' && performance.now() < until) await turn()
      t.ok(performance.now() < until, 'it was invalidated')
    })
  }
})

t.test('a function that throws, or gives no target', async (t) => {
  const wrong: [invalidates: () => unknown, err: object][] = [
    [() => { throw new Error('mine') }, { message: 'mine' }],
    [async () => { throw new Error('mine') }, { message: 'mine' }],
    [() => undefined, { code: 'FRC_TARGET' }],
    [() => ({ keys: 'a' }), { code: 'FRC_TARGET' }],
    [async () => ['a', ''], { code: 'FRC_TARGET' }],
    [() => ({ tags: [7] }), { code: 'FRC_TAG' }]
  ]
  for (const [invalidates, err] of wrong) {
    for (const mode of MODES) {
      const app = await cachedApp(t)
      let runs = 0
      change(app, { ...mode, invalidates: invalidates as () => string }, async () => `run ${++runs}`)
      const { statusCode, body } = await post(app)
      const line = app.lines.find(({ level }) => level === 50)
      t.match(line, { err })
      if (mode.onError === 'fail') {
        t.strictSame({ statusCode, runs }, { statusCode: 500, runs: 0 }, 'before anything is written')
      } else {
        t.strictSame({ statusCode, body }, { statusCode: 200, body: 'run 1' })
        t.match(line, { msg: 'cache could not be told of the change', route: '/do/:id' })
      }
    }
  }
  const app = await cachedApp(t)
  change(app, { invalidates: () => ({ prefix: 'a' }), onError: 'fail' })
  t.match(await post(app), { statusCode: 500, body: /can't be put in quarantine/ })
})

t.test('what is wrong is refused when the route is declared, and says what would be right', async (t) => {
  const app = await cachedApp(t)
  const FORMS = 'write templates such as \\["user:{id}", { tags: \\["users"\\] }\\], or a function of request, reply and payload$'
  const wrong: [cache: unknown, message: RegExp][] = [
    [{ invalidates: [] }, new RegExp(`^route PUT /things/:id: cache\\.invalidates is \\[\\]; ${FORMS}`)],
    [{ invalidates: 'user:{id}' }, new RegExp(`cache\\.invalidates is "user:{id}"; ${FORMS}`)],
    [{ invalidates: {} }, new RegExp(`cache\\.invalidates is \\{\\}; ${FORMS}`)],
    [{ invalidates: null }, new RegExp(`cache\\.invalidates is null; ${FORMS}`)],
    [{ invalidates: { tag: ['a'] } }, new RegExp(`cache\\.invalidates is .*; ${FORMS}`)],
    [{ invalidates: { tags: 'a' } }, new RegExp(`cache\\.invalidates is .*; ${FORMS}`)],
    [{ invalidates: { prefix: 'a' }, onError: 'fail' }, /cache\.invalidates\.prefix is "a"; with onError: "fail"/],
    [{ invalidates: { all: true }, onError: 'fail' }, /cache\.invalidates\.all is true; with onError: "fail"/],
    [{}, new RegExp(`cache\\.invalidates is undefined; ${FORMS}`)],
    [{ onError: 'fail' }, new RegExp(`cache\\.invalidates is undefined; ${FORMS}`)],
    [{ invalidates: ['a', ''] }, new RegExp(`cache\\.invalidates\\[1\\] is .*; ${FORMS}`)],
    [{ invalidates: [7] }, new RegExp(`cache\\.invalidates\\[0\\] is 7; ${FORMS}`)],
    [{ invalidates: [null] }, new RegExp(`cache\\.invalidates\\[0\\] is null; ${FORMS}`)],
    [{ invalidates: [['a']] }, new RegExp(`cache\\.invalidates\\[0\\] is .*; ${FORMS}`)],
    [{ invalidates: [{}] }, new RegExp(`cache\\.invalidates\\[0\\] is {}; ${FORMS}`)],
    [{ invalidates: [{ keys: 'a' }] }, new RegExp(`cache\\.invalidates\\[0\\] is {"keys":"a"}; ${FORMS}`)],
    [{ invalidates: [{ tags: [''] }] }, new RegExp(`cache\\.invalidates\\[0\\] is .*; ${FORMS}`)],
    [{ invalidates: [{ prefix: '' }] }, new RegExp(`cache\\.invalidates\\[0\\] is .*; ${FORMS}`)],
    [{ invalidates: [{ all: false }] }, new RegExp(`cache\\.invalidates\\[0\\] is .*; ${FORMS}`)],
    [{ invalidates: [{ all: true, keys: ['a'] }] }, new RegExp(`cache\\.invalidates\\[0\\] is .*; ${FORMS}`)],
    [{ invalidates: [{ keyz: ['a'] }] }, new RegExp(`cache\\.invalidates\\[0\\] is .*; ${FORMS}`)],
    [{ invalidates: ['user:{nope}'] }, /^route PUT \/things\/:id: cache\.invalidates\[0\] is "user:\{nope\}"; the path has no param "nope" \(it has: id\); for a query value write \{query\.nope\}$/],
    [{ invalidates: ['a', { tags: ['{params.nope}'] }] }, /^route PUT \/things\/:id: cache\.invalidates\[1\] is "\{params\.nope\}"; the path has no param "nope" \(it has: id\)$/],
    [{ invalidates: [{ prefix: '{nope}' }] }, /cache\.invalidates\[0\] is "\{nope\}"; the path has no param/],
    [{ invalidates: ['user:{id'] }, /^route PUT \/things\/:id: cache\.invalidates\[0\]: key template "user:\{id": a brace has no partner$/],
    [{ invalidates: ['a'], onError: 'ignore' }, /^route PUT \/things\/:id: cache\.onError is "ignore"; it is "fail"; without it the answer stands/],
    [{ invalidates: ['a', { prefix: 'b' }], onError: 'fail' }, /^route PUT \/things\/:id: cache\.invalidates\[1\]\.prefix is "b"; with onError: "fail" .* only keys and tags can be$/],
    [{ invalidates: [{ all: true }], onError: 'fail' }, /cache\.invalidates\[0\]\.all is true; with onError: "fail"/],
    [{ key: 'user:{id}' }, /^route PUT \/things\/:id: cache\.key is "user:\{id\}"; only GET and HEAD routes can be cached; what this one changes is said with cache: \{ invalidates, onError \}$/],
    [{ invalidates: ['a'], ttl: 5 }, /cache\.ttl is 5; only GET and HEAD routes can be cached/],
    [true, /^route PUT \/things\/:id: cache is true; only GET and HEAD routes can be cached/]
  ]
  for (const [cache, message] of wrong) {
    t.throws(() => app.put('/things/:id', { cache: cache as boolean }, async () => 'x'), { code: 'FRC_OPTION', message }, String(message))
  }
  for (const method of ['GET', 'HEAD', 'OPTIONS', ['GET', 'PUT']] as RouteOptions['method'][]) {
    t.throws(() => app.route({ method, url: '/things/:id', cache: { invalidates: ['a'] }, handler: async () => 'x' }), {
      code: 'FRC_OPTION',
      message: `route ${String(method)} /things/:id: cache.invalidates is ["a"]; only routes that change something have it, so ` +
        'POST, PUT, PATCH and DELETE; those with GET are cached: write { key, ttl }'
    })
  }
  t.throws(() => app.get('/things/:id', { cache: { key: 'a', onError: 'fail' } as never }, async () => 'x'), {
    code: 'FRC_OPTION', message: /cache\.onError is "fail"; only routes that change something have it/
  })
})

t.test('a function sees what the handler has sent, before anything is made of it', async (t) => {
  const app = await cachedApp(t)
  app.addHook('preSerialization', async (_request, _reply, payload) => ({ data: payload }))
  app.addHook('onSend', async (_request, _reply, payload) => typeof payload === 'string' ? payload.toUpperCase() : payload)
  const book = { id: 7, hidden: 'x' }
  const schema = { response: { 200: { type: 'object', properties: { data: { type: 'object', properties: { id: { type: 'number' } } } } } } }
  const handlers: Record<string, [handler: Handler, payload: unknown]> = {
    'gives it': [async () => book, book],
    'gives it at once': [() => book, book],
    'sends it': [(_request, reply) => { reply.code(201).send(book) }, book],
    'sends it later': [async (_request, reply) => {
      await turn()
      await reply.send(book)
      return reply
    }, book],
    'a text': [async () => 'text', 'text'],
    nothing: [async (_request, reply) => await reply.code(204).send(), undefined],
    'a stream': [async () => Readable.from(['a']), undefined],
    'a web stream': [async () => new Blob(['a']).stream(), undefined],
    'a Response': [async () => new Response('a'), undefined],
    hijacked: [async (_request, reply) => {
      reply.hijack()
      reply.raw.end('a')
    }, undefined]
  }
  const seen: unknown[] = []
  const invalidates: InvalidationOptions['invalidates'] = (_request, _reply, payload) => {
    seen.push(payload)
    return payload?.id === undefined ? [] : [`user:${(payload as typeof book).id}`]
  }
  for (const [name, [handler]] of Object.entries(handlers)) {
    app.post(`/${name.replaceAll(' ', '-')}`, { schema: name.includes('it') ? schema : {}, cache: { invalidates } }, handler)
  }
  app.post('/throws', { cache: { invalidates } }, async () => { throw new Error('no') })
  app.post('/fails', { cache: { invalidates, onError: 'fail' } }, async () => book)
  for (const [name, [, payload]] of Object.entries(handlers)) {
    await app.inject({ method: 'POST', url: `/${name.replaceAll(' ', '-')}` })
    t.equal(seen.length, 1, name)
    t.equal(seen.pop(), payload, name)
  }
  await app.inject({ method: 'POST', url: '/throws' })
  t.strictSame(seen, [], 'an error invalidates nothing')
  t.match(await app.inject({ method: 'POST', url: '/fails' }), { statusCode: 200 })
  t.strictSame(seen, [undefined], 'called before the handler')
})

t.test('cacheStatus.writes: the response says what was invalidated', async (t) => {
  const said = async (cache: InvalidationOptions, { plugin = {}, handler = async () => 'x' }: { plugin?: object, handler?: Handler } = {}): Promise<unknown> => {
    const app = await cachedApp(t, { cacheStatus: { writes: true, ...plugin } })
    change(app, cache, handler)
    return (await app.inject({ method: 'POST', url: '/do/1' })).headers['cache-status']
  }
  const key = { plugin: { key: true } }
  for (const mode of MODES) {
    t.equal(await said({ ...mode, invalidates: ['a', 'b', { tags: ['t'] }] }), 'fastify-route-cache; fwd=method; detail="invalidated: 2 keys, 1 tag"')
    t.equal(await said({ ...mode, invalidates: ['b:{id}', { tags: ['t"'] }] }, key), 'fastify-route-cache; fwd=method; detail="invalidated: key b:1, tag t\\""')
    t.equal(await said({ ...mode, invalidates: () => [] }), 'fastify-route-cache; fwd=method; detail="nothing invalidated"')
  }
  t.equal(await said({ invalidates: { prefix: ['a', 'b'] } }), 'fastify-route-cache; fwd=method; detail="invalidated: 2 prefixes"')
  t.equal(await said({ invalidates: { all: true } }, { plugin: { name: 'edge' } }), 'edge; fwd=method; detail="invalidated: everything"')
  const many = Array.from({ length: 11 }, (_, i) => `k${i}`)
  t.equal(await said({ invalidates: many }, key), 'fastify-route-cache; fwd=method; detail="invalidated: 11 keys"')
  t.equal(await said({ invalidates: ['a'] }, { handler: async (_request, reply) => await reply.code(400).send('no') }),
    'fastify-route-cache; fwd=method; detail="nothing invalidated"')
  t.equal(await said({ invalidates: ['a'] }, { handler: async (_request, reply) => await reply.header('cache-status', 'up; hit').send('x') }),
    'up; hit, fastify-route-cache; fwd=method; detail="invalidated: 1 key"')
  t.equal(await said({ invalidates: ['a'] }, { plugin: { writes: false } }), undefined)
  const store = faultyStore()
  const app = await cachedApp(t, { store, cacheStatus: { writes: true } })
  change(app, { invalidates: ['a'] })
  store.fail()
  t.equal((await app.inject({ method: 'POST', url: '/do/1' })).headers['cache-status'],
    'fastify-route-cache; fwd=method; detail="to be invalidated later: 1 key"')
  for (const wrong of [{ writes: 1 }, { write: true }, [], null]) {
    await t.rejects(cachedApp(t, { cacheStatus: wrong as never }), { code: 'FRC_OPTION', message: /cacheStatus is .*; it is false, or \{ name, key, writes \}/ })
  }
})
