// What is most likely a mistake in how an app uses the cache is said once, with what to write instead; and what is right is
// not.
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { routeCache, type RouteCacheOptions } from '../../plugin/index.js'
import { parseTemplate, fillTemplate, canMake, canMeet, patternOf, type NamePattern } from '../../plugin/key/key.js'
import { cachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

interface Line { check?: string, route?: string, msg: string, level: number }

type Declare = (app: FastifyInstance) => void
interface Opened { app: FastifyInstance, said: () => string[] }

/** An app with these routes; and what the plugin has warned of. */
async function opened (t: Test, declare: Declare, options: RouteCacheOptions = {}): Promise<Opened> {
  const lines: Line[] = []
  const app = fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, options)
  declare(app)
  await app.ready()
  return { app, said: () => lines.filter(({ check }) => check !== undefined).map(({ check, route, msg }) => `${check} ${route ?? '-'} ${msg}`) }
}

const ok = async (): Promise<string> => 'ok'
const query = (...names: string[]): object => ({
  querystring: { type: 'object', properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) }
})

interface Case { declare: Declare, says: Array<[string, RegExp]> }

const cases: Record<string, Case> = {
  'a misspelt key': {
    declare: (app) => {
      app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books'] } }, ok)
      app.put('/books/:id', { cache: { invalidates: ['boook:{id}'] } }, ok)
    },
    says: [['unknown-name PUT /books/:id', /route PUT \/books\/:id: the key "boook:\{id\}" was named, which no route has; GET \/books\/:id has "book:\{id\}"/]]
  },
  'a misspelt tag': {
    declare: (app) => {
      app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books', 'author:{query.author}'] } }, ok)
      app.put('/books/:id', { cache: { invalidates: { tags: ['boks'] } } }, ok)
      app.delete('/books/:id', { cache: { invalidates: [{ tags: ['autor:{id}'] }] } }, ok)
    },
    says: [['unknown-name PUT /books/:id', /the tag "boks" was named, which no route has; GET \/books\/:id has "books"/],
      ['unknown-name DELETE /books/:id', /the tag "autor:\{id\}" was named/]]
  },
  'a tag that is named as a key': {
    declare: (app) => {
      app.get('/books', { cache: { key: 'all', tags: ['books'] } }, ok)
      app.post('/books', { cache: { invalidates: ['books'] } }, ok)
    },
    says: [['unknown-name POST /books', /the key "books" was named, which no route has; it is a tag of GET \/books: write \{ tags: \["books"\] \}/]]
  },
  'a key that is named as a tag': {
    declare: (app) => {
      app.get('/books/:id', { cache: { key: 'book:{id}' } }, ok)
      app.put('/books/:id', { cache: { invalidates: { tags: ['book:{id}'] } } }, ok)
    },
    says: [['unknown-name PUT /books/:id', /the tag "book:\{id\}" was named, which no route has; it is a key of GET \/books\/:id: write "book:\{id\}"/]]
  },
  'a filter that the key forgets': {
    declare: (app) => {
      app.get('/books', { schema: query('genre', 'page'), cache: { key: 'books:{query.page}' } }, ok)
    },
    says: [['query-left-out GET /books', /its key leaves out query values that its schema declares \(genre\), .* add \{query\.genre\} to the key, or write ignoreQuery: \["genre"\]/]]
  },
  'two routes that can make one key': {
    declare: (app) => {
      app.get('/users/:id', { cache: { key: 'user:{id}' } }, ok)
      app.get('/me', { cache: { key: 'user:me', shared: true } }, ok)
    },
    says: [['shared-key GET /me', /routes GET \/users\/:id and GET \/me: their keys "user:\{id\}" and "user:me" are the same for some values/]]
  },
  'invalidates beside cache': {
    declare: (app) => { app.post('/books', { invalidates: ['books'] } as never, ok) },
    says: [['misplaced-option POST /books', /has invalidates beside cache, where nobody reads it; write cache: \{ invalidates \}/]]
  },
  'our options in config.cache': {
    declare: (app) => {
      app.get('/books', { config: { cache: { ttl: 60, tags: ['books'] } } } as object, ok)
      app.post('/books', { config: { cache: { invalidates: ['books'] } } } as object, ok)
      // These are an app's own.
      app.get('/a', { config: { cache: { ttl: 60, region: 'eu' } } } as object, ok)
      for (const [i, cache] of [true, {}, ['ttl'], null, 60].entries()) app.get(`/b${i}`, { config: { cache } } as object, ok)
      app.get('/c', { cache: true, config: { cache: { ttl: 60 } } } as object, ok)
      app.get('/d', { config: { cache: { ttl: 60 }, routeCache: true } } as object, ok)
    },
    says: [['config-cache GET /books', /has config: \{ cache: \{"?ttl.*write cache: \{ … \} beside config, or config: \{ routeCache: \{ … \} \}/],
      ['config-cache POST /books', /does not read/]]
  }
}

t.test('each mistake is said at start, with what to write instead', async (t) => {
  for (const [name, { declare, says }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const { app, said } = await opened(t, declare)
      t.equal(said().length, says.length, said().join('\n'))
      for (const [i, [start, words]] of says.entries()) {
        t.match(said()[i], words)
        t.equal(said()[i]?.startsWith(start), true, start)
      }
      t.equal(app.cache.warnings.length, says.length)
      t.same(app.cache.warnings.map(({ check, route }) => `${check} ${route}`), says.map(([start]) => start))
      const quiet = [...new Set(app.cache.warnings.map(({ check }) => check))]
      t.same((await opened(t, declare, { quiet })).said(), [], 'silenced')
    })
  }
})

t.test('what is right is not doubted', async (t) => {
  const { app, said } = await opened(t, (app) => {
    app.get('/books', { schema: query('genre', 'utm_source'), cache: { key: 'books:{genre}', ignoreQuery: ['utm_*'], tags: ['books'] } }, ok)
    app.get('/books/new', { cache: { key: 'book:new' } }, ok)
    app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books', 'book/{id}'] } }, async (_, reply) => reply.cacheTags('author:7').send('ok'))
    app.get('/plain', { schema: query('genre'), cache: true }, ok)
    app.put('/books/:id', { cache: { invalidates: ['book:{id}', 'rates:{id}', { tags: ['books', 'book/{id}', 'author:{id}'], prefix: 'book:' }] } }, ok)
    app.post('/any', { cache: { invalidates: () => ['anything'] } }, ok)
    app.post('/all', { cache: { invalidates: { all: true } } }, ok)
  })
  await app.inject('/books/7')
  await app.cache.getOrSet('rates:eur', { ttl: 60, tags: ['rates'] }, async () => 1)
  await app.cache.invalidate(['book:7', 'book:new', 'books:crime', 'rates:eur', app.cache.key('book:{id}', { id: 'é:{}' }), '/plain?genre=x'])
  await app.cache.invalidate({ tags: ['books', 'rates', 'author:7', 'book/7'], prefix: 'whatever' })
  await app.cache.mutate('book:7', ok)
  t.same(said(), [])
})

t.test('functions may name anything', async (t) => {
  const { app, said } = await opened(t, (app) => {
    app.get('/a', { cache: { key: () => 'a', tags: () => ['b'] } }, ok)
    app.get('/b/:id', { cache: { key: 'book:{id}', tags: ['books'] } }, ok)
    app.put('/b/:id', { cache: { invalidates: ['boook:{id}', { tags: ['bookss'] }] } }, ok)
  })
  await app.cache.invalidate('boook:7')
  await app.cache.invalidate({ tags: ['nothing'] })
  t.same(said(), [])
})

t.test('a call that names nothing that is there is said once a name', async (t) => {
  const { app, said } = await opened(t, (app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books'] } }, ok)
  })
  for (let i = 0; i < 3; i++) await app.cache.invalidate('boook:7')
  await app.cache.invalidate('books')
  await app.cache.invalidate({ tags: ['book:7'] })
  await app.cache.mutate({ tags: ['bookz'] }, ok)
  // None of these is misspelt for sure: another process may have it by getOrSet or reply.cacheTags.
  await app.cache.invalidate(['shelf:7', 'books:7', 'x'])
  await app.cache.invalidate({ tags: ['shelves', 'author:7', 'book', 'x'] })
  t.same(said().map((line) => line.replace(/^unknown-name - fastify-route-cache: /, '').replace(/\. \(The plugin's.*$/, '')), [
    'the key "boook:7" was named, which no route has; GET /books/:id has "book:{id}"',
    'the key "books" was named, which no route has; it is a tag of GET /books/:id: write { tags: ["books"] }',
    'the tag "book:7" was named, which no route has; it is a key of GET /books/:id: write "book:7"',
    'the tag "bookz" was named, which no route has; GET /books/:id has "books"'
  ])
  for (let i = 0; i < 100; i++) await app.cache.invalidate(`boook:${i}`)
  t.ok(said().length <= 20, 'a log is not filled')
})

t.test('names that values and handlers have had, whatever their form', async (t) => {
  const { app, said } = await opened(t, (app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books', 'a%7B1%7E'] } }, async (_, reply) => reply.cacheTags('a{1}', 'boook:1', 5 as never).send('ok'))
  })
  await app.inject('/books/1')
  await app.cache.getOrSet('boook:7', { tags: ['bokks'] }, async () => 1)
  await app.cache.getOrSet('boook:8', { tags: null as never }, async () => 1)
  await app.cache.invalidate('boook:9', { soft: null as never })
  await app.cache.invalidate({ keys: ['boook:7'], tags: ['a{1}', 'boook:2', 'bokks'] })
  t.same(said(), [])
})

t.test('singular beside plural, numbers beside words, and the paths of one router', async (t) => {
  const id = { params: { type: 'object', properties: { id: { type: 'integer' } } } }
  const { said } = await opened(t, (app) => {
    app.get('/posts', { cache: { key: 'posts:{query.page}' } }, ok)
    app.get('/short/:id', { cache: { key: 'a:{id}' } }, ok)
    app.put('/short/:id', { cache: { invalidates: ['b:{id}'] } }, ok)
    app.put('/posts/:id', { cache: { invalidates: ['post:{id}', { tags: ['post'] }] } }, ok)
    app.get('/books/:id', { schema: id, cache: { key: 'book:{id}' } }, ok)
    app.get('/list', { cache: { key: 'book:list', tags: ['posts'] } }, ok)
  })
  t.same(said(), [])
})

t.test('a thousand routes and writers, and keys of any length, keep no app from starting', async (t) => {
  const began = process.cpuUsage()
  const { app, said } = await opened(t, (app) => {
    for (let i = 0; i < 500; i++) {
      const key = `api:${'x'.repeat(i < 5 ? 3_000 : 30)}:${i}:{id}:items:{item}:{query.page}`
      app.get(`/resource-${i}/:id/:item`, { cache: { key, tags: [`t${i}:{id}`] } }, ok)
      app.put(`/resource-${i}/:id/:item`, { cache: { invalidates: [key, { tags: [`nothing-${i}:{id}`] }] } }, ok)
    }
  })
  t.same(said(), [])
  const { user, system } = process.cpuUsage(began)
  t.comment(`${(user + system) / 1000} ms`)
  t.equal(app.cache.warnings.length, 0)
})

t.test('a getter that throws keeps no app from starting', async (t) => {
  const { said } = await opened(t, (app) => {
    app.decorate('redis', { getter () { throw new Error('not connected yet') } } as never)
    app.get('/', { cache: true }, ok)
  })
  t.same(said(), [])
})

t.test('an app without cached routes, as a worker is, may name anything', async (t) => {
  const { app, said } = await opened(t, () => {})
  await app.cache.invalidate('book:7')
  t.same(said(), [])
})

t.test('fastify.redis that comes later', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = (): unknown => server.client()
  const decorations = [[client, 1], [() => ({ main: client() }), 1], [() => ({}), 0], [() => null, 0]] as const
  for (const [decorated, says] of decorations) {
    const { app, said } = await opened(t, (app) => { app.decorate('redis', decorated() as never) })
    t.equal(said().length, says)
    if (says > 0) t.match(said()[0], /late-redis - .*fastify\.redis was registered after this plugin.*register @fastify\/redis first/)
    await app.close()
  }
})

t.test('a wrong quiet, query or ignoreQuery is refused', async (t) => {
  for (const quiet of ['late-redis', ['late'], [1], {}]) await t.rejects(cachedApp(t, { quiet } as never), { code: 'FRC_OPTION', message: /quiet is .*; it lists checks: late-redis, / })
  for (const ignoreQuery of ['utm_*', [''], [1], {}]) await t.rejects(cachedApp(t, { ignoreQuery } as never), { code: 'FRC_OPTION', message: /ignoreQuery is / })
  const app = await cachedApp(t)
  for (const cache of [{ query: 'a' }, { query: [''] }, { query: ['a'], key: 'k' }, { query: ['a'], ignoreQuery: ['b'] }, { ignoreQuery: 'a' }]) {
    t.throws(() => app.get('/x', { cache: cache as never }, ok), { code: 'FRC_OPTION', message: /route GET \/x: cache\.(?:query|ignoreQuery) is / })
  }
})

t.test('query values that select nothing', async (t) => {
  const app = await cachedApp(t, { ignoreQuery: ['fbclid', 'utm_*'] })
  let runs = 0
  const count = async (): Promise<string> => String(++runs)
  app.get('/all', { cache: true }, count)
  app.get('/some', { cache: { query: ['page', 'sort'] } }, count)
  app.get('/none', { cache: { query: [] } }, count)
  app.get('/more', { cache: { ignoreQuery: ['session_*'] } }, count)
  const key = async (url: string): Promise<string | null> => (await app.cache.explain(url)).key
  t.equal(await key('/all?page=1&utm_source=a&fbclid=1&utm_=2'), '/all?page=1')
  t.equal(await key('/all?fbclid2=1'), '/all?fbclid2=1')
  t.equal(await key('/some?sort=a&page=1&x=1&utm_source=a'), '/some?page=1&sort=a')
  t.equal(await key('/some?x=1'), '/some')
  t.equal(await key('/none?x=1'), '/none')
  t.equal(await key('/more?x=1&session_id2=1&utm_x=1'), '/more?x=1')
  const bodies = []
  for (const url of ['/some?page=1', '/some?page=1&x=2', '/some?page=2']) {
    bodies.push((await app.inject(url)).body)
    await app.cache.settled()
  }
  t.same(bodies, ['1', '1', '2'])
})

const names = fc.oneof(fc.constantFrom('a', 'b', 'ab', ':', 'a:', '{x}', '{y}', ':{x}', 'é'), fc.constantFrom('user:', '{x}'))
/** A template that is one, and its pattern; null: it is none. */
function compiled (written: string): { fill: (values: Record<string, unknown>) => string, pattern: NamePattern } | null {
  try {
    const parts = parseTemplate(written)
    return { fill: (values) => fillTemplate(parts, ({ name }) => values[name]), pattern: patternOf(written, parts) }
  } catch {
    return null
  }
}

t.test('a template can make what it makes, and two can meet where one makes what the other can', async (t) => {
  const template = fc.array(names, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''))
  const value = fc.oneof(fc.constantFrom('', 'a', 'b', 'ab', ':', 'é', undefined, 1, ['a', 'b']), fc.string())
  fc.assert(fc.property(template, template, fc.record({ x: value, y: value }), (one, other, values) => {
    const [a, b] = [compiled(one), compiled(other)]
    if (a === null || b === null) return true
    const name = a.fill(values)
    return canMake(a.pattern, name) && canMeet(a.pattern, b.pattern) === canMeet(b.pattern, a.pattern) &&
      (!canMake(b.pattern, name) || canMeet(a.pattern, b.pattern))
  }), { numRuns: 3_000 })
  for (const [one, other, meet] of [
    ['user:{id}', 'user:me', true], ['user:{id}', 'users', false], ['a{x}', 'ab', true], ['{x}', ':', false], ['{x}:{y}', 'a:b:c', false],
    ['{x}b', 'a{y}', true], ['a:{x}', '{y}:b', true], ['a', 'a', true], ['a', 'b', false], ['{x}', '{y}', true], ['a:{x}:c', 'a:{x}:d', false]
  ] as const) t.equal(canMeet(compiled(one)!.pattern, compiled(other)!.pattern), meet, `${one} ${other}`)
})

t.test('explain tells of the route, and of the app as a whole', async (t) => {
  const { app } = await opened(t, (app) => {
    app.get('/books', { schema: query('genre'), cache: { key: 'books' } }, ok)
    app.get('/other', { cache: { key: 'other' } }, ok)
  })
  await app.cache.invalidate('bokks')
  const [books, other] = [await app.cache.explain('/books'), await app.cache.explain('/other')]
  t.same(books.warnings.map(({ check }) => check), ['query-left-out', 'unknown-name'])
  t.same(other.warnings.map(({ check }) => check), ['unknown-name'])
  t.match(books.text, /\nwarning: route GET \/books: its key leaves out query values/)
})

type Send = (reply: FastifyReply, run: number) => unknown

t.test('a route whose first responses are all refused for one reason', async (t) => {
  const said = async (send: Send, { times = 25, options = {} } = {}): Promise<string[]> => {
    let run = 0
    const { app, said } = await opened(t, (app) => {
      app.get('/x', { cache: true }, async (_request, reply) => await send(reply, ++run))
    }, options)
    for (let i = 0; i < times; i++) await app.inject('/x')
    t.equal(app.cache.warnings.length, said().length)
    if (said().length > 0) t.match((await app.cache.explain('/x')).text, /warning: route GET \/x: 20 responses were refused/)
    return said()
  }
  const refused: Record<string, [send: Send, says: RegExp]> = {
    'set-cookie': [(reply) => reply.header('set-cookie', 'a=b').send('x'), /it sets a cookie, .* So set cookies on routes without cache/],
    private: [(reply) => reply.header('cache-control', 'private').send('x'), /its Cache-Control says private\. So send/],
    'no-store': [(reply) => reply.header('cache-control', 'no-store').send('x'), /its Cache-Control says no-store\. So send another/],
    vary: [(reply) => reply.header('vary', '*').send('x'), /its Vary is .* So name/],
    size: [(reply) => reply.send('x'.repeat(200)), /its body is larger .* So raise maxBodyBytes/]
  }
  for (const [reason, [send, says]] of Object.entries(refused)) {
    const lines = await said(send, { options: { maxBodyBytes: 100 } })
    t.equal(lines.length, 1, reason)
    t.match(lines[0], `never-stored GET /x fastify-route-cache: route GET /x: 20 responses were refused (${reason}), and none was stored: `)
    t.match(lines[0], says, reason)
  }
  const cookie = refused['set-cookie']![0]
  t.strictSame(await said(cookie, { times: 19 }), [], 'too few')
  t.strictSame(await said(cookie, { options: { quiet: ['never-stored'] } }), [], 'silenced')
  t.strictSame(await said((reply, run) => run === 5 ? reply.send('x') : cookie(reply, run), { options: { ttl: 0.001 } }), [], 'one was stored')
  t.strictSame(await said((reply) => reply.noCache().send('x')), [], 'on purpose')
  t.strictSame(await said((reply) => reply.code(404).send('x')), [], 'nothing to be found')
})
