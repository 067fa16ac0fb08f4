// Writes on the path of a cached route that nobody tells the cache of, found while the app runs; and no false alarm: whoever
// invalidates by hand, wherever, is left alone.
import fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { routeCache, type RouteCacheOptions } from '../../plugin/index.js'
import { until } from '../helpers/until.js'

type Declare = (app: FastifyInstance) => void
interface Opened { app: FastifyInstance, said: string[] }

async function opened (t: Test, declare: Declare, options: RouteCacheOptions = {}): Promise<Opened> {
  const said: string[] = []
  const stream = {
    write: (line: string) => {
      const { check, msg } = JSON.parse(line) as { check?: string, msg: string }
      if (check !== undefined) said.push(`${check} ${msg.replace('fastify-route-cache: ', '')}`)
    }
  }
  const app = fastify({ logger: { level: 'warn', stream } })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, options)
  declare(app)
  await app.ready()
  return { app, said }
}

const ok = async (): Promise<object> => ({})

async function times (n: number, work: () => unknown): Promise<void> {
  for (let i = 0; i < n; i++) await work()
}

/** Ten requests, one after another; each is over when this resolves. */
async function ten (app: FastifyInstance, method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', url: string, more: InjectOptions = {}): Promise<void> {
  await times(10, async () => await app.inject({ method, url, ...more }))
  await turn()
}

/** Routes, a request, and how the finding begins; null: there is none. */
type Case = [declare: Declare, method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', url: string, says: RegExp | null, more?: InjectOptions]

const book: Declare = (app) => { app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books', 'author:{query.author}'] } }, ok) }
const list: Declare = (app) => { app.get('/books', { cache: true }, ok) }

const cases: Record<string, Case> = {
  'the same template': [(app) => {
    book(app)
    app.put('/books/:isbn', ok)
  }, 'PUT', '/books/7', /^never-invalidated route PUT \/books\/:isbn: 10 requests succeeded, and none of them invalidated anything, while GET \/books\/:id is cached: .* Write cache: \{ invalidates: \[\{ tags: \["books"\] \}\] \} in PUT \/books\/:isbn, or call app\.cache\.invalidate\(\) in its handler, or write cache: false there if/],
  'the same template with its key': [(app) => {
    book(app)
    app.patch('/books/:id', ok)
  }, 'PATCH', '/books/7', /Write cache: \{ invalidates: \["book:\{id\}"\] \} in PATCH/],
  'a param more, and both': [(app) => {
    book(app)
    list(app)
    app.delete('/books/:id', async (_request, reply) => reply.code(204).send())
  }, 'DELETE', '/books/7', /while GET \/books\/:id and GET \/books are cached: .*\["book:\{id\}"\]/],
  'a list': [(app) => {
    list(app)
    app.post('/books', async (_request, reply) => reply.code(201).send({}))
  }, 'POST', '/books', /Give GET \/books a tag, such as tags: \["books"\], and write cache: \{ invalidates: \{ tags: \["books"\] \} \} in POST \/books/, { payload: { title: 'x' } }],
  'a param less': [(app) => {
    book(app)
    app.put('/books/', ok)
  }, 'PUT', '/books/', /^never-invalidated route PUT \/books\/: /],
  'several methods, one pattern, a redirect': [(app) => {
    app.get('/books/:id(^\\d+$)', { cache: true }, ok)
    app.route({ method: ['PUT', 'PATCH'], url: '/books/:id', handler: async (_request, reply) => reply.redirect('/') })
  }, 'PATCH', '/books/7', /^never-invalidated route PUT,PATCH \/books\/:id: /],
  'a 404 that stays': [(app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', statuses: { 404: '30s' } } }, ok)
    app.post('/books', { cache: { invalidates: ['book-list'] } }, ok)
  }, 'POST', '/books', /^lasting-404 route POST \/books: 10 requests succeeded, and none of them invalidated what GET \/books\/:id stores, 404 among it: something new may stay "not found" for 30 s\. Write cache: \{ invalidates: \(request, reply, made\) => app\.cache\.key\("book:\{id\}", made\) \} in POST \/books, or leave 404 out/],
  'a 404 with a tag, and a PUT that makes': [(app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books'], statuses: { 404: 30 } } }, ok)
    app.put('/books/:id', async (_request, reply) => {
      await app.cache.invalidate('list')
      return await reply.code(201).send({})
    })
  }, 'PUT', '/books/7', /^lasting-404 route PUT \/books\/:id: .* Write cache: \{ invalidates: \[\{ tags: \["books"\] \}\] \}/],

  'another path': [(app) => {
    book(app)
    app.put('/book/:id', ok)
  }, 'PUT', '/book/7', null],
  'a command under it': [(app) => {
    book(app)
    app.post('/books/:id/read', ok)
  }, 'POST', '/books/7/read', null],
  'another host': [(app) => {
    app.get('/books', { constraints: { host: 'a.test' }, cache: true }, ok)
    app.put('/books', { constraints: { host: 'b.test' } }, ok)
  }, 'PUT', '/books', null, { headers: { host: 'b.test' } }],
  'a gateway': [(app) => {
    app.get('/api/*', { cache: true }, ok)
    app.put('/api/*', ok)
  }, 'PUT', '/api/x', null],
  'a new thing changes no other': [(app) => {
    book(app)
    app.post('/books', ok)
  }, 'POST', '/books', null],
  'a short ttl': [(app) => {
    app.get('/books', { cache: { ttl: 5, statuses: { 404: 5 } } }, ok)
    app.put('/books', async (_request, reply) => reply.code(201).send({}))
  }, 'PUT', '/books', null],
  'on purpose': [(app) => {
    list(app)
    app.put('/books', { cache: false }, ok)
  }, 'PUT', '/books', null],
  'a search': [(app) => {
    app.get('/search', { cache: true }, ok)
    app.post('/search', ok)
  }, 'POST', '/search', null, { payload: {} }],
  'a form\'s page': [(app) => {
    app.get('/orders', { cache: true }, ok)
    app.addContentTypeParser('application/x-www-form-urlencoded', async () => ({}))
    app.post('/orders', ok)
  }, 'POST', '/orders', null, { payload: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
  failures: [(app) => {
    list(app)
    app.put('/books', async (_request, reply) => reply.code(409).send({}))
  }, 'PUT', '/books', null],
  'accepted, to be done elsewhere': [(app) => {
    list(app)
    app.put('/books', async (_request, reply) => reply.code(202).send({}))
  }, 'PUT', '/books', null],
  declared: [(app) => {
    list(app)
    app.put('/books', { cache: { invalidates: ['something'] } }, ok)
  }, 'PUT', '/books', null],
  'a PUT that changes what is there': [(app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', statuses: { 404: 30 } } }, ok)
    app.put('/books/:id', { cache: { invalidates: ['list'] } }, ok)
  }, 'PUT', '/books/7', null],
  'a 404 that its tag ends': [(app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', tags: ['books'], statuses: { 404: 30 } } }, ok)
    app.post('/books', { cache: { invalidates: { tags: ['books'] } } }, ok)
  }, 'POST', '/books', null],
  'a 404 whose key the new thing tells': [(app) => {
    app.get('/books/:id', { cache: { key: 'book:{id}', statuses: { 404: 30 } } }, ok)
    app.post('/books', { cache: { invalidates: (_request: unknown, _reply: unknown, made: { id: number }) => `book:${made.id}` } as never }, async () => ({ id: 7 }))
  }, 'POST', '/books', null],
  'a 404 that the origin bounds': [(app) => {
    app.get('/books/:id', { cache: { statuses: { 404: 'origin' } } }, ok)
    app.post('/books', ok)
  }, 'POST', '/books', null]
}

t.test('what is said, and what is not', async (t) => {
  for (const [name, [declare, method, url, says, more]] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const { app, said } = await opened(t, declare)
      await times(9, async () => await app.inject({ method, url, ...more }))
      await turn()
      t.strictSame(said, [], 'not before the tenth')
      await ten(app, method, url, more)
      t.equal(said.length, says === null ? 0 : 1, said.join('\n'))
      if (says !== null) t.match(said[0], says)
      t.equal(app.cache.warnings.length, said.length)
      await ten(app, method, url, more)
      t.equal(said.length, says === null ? 0 : 1, 'once')
    })
  }
})

/** A handler's ways to invalidate by hand. */
const hands: Record<string, (app: FastifyInstance) => unknown> = {
  key: async (app) => await app.cache.invalidate('book:7'),
  'something else': async (app) => await app.cache.invalidate('other'),
  'tag, softly': async (app) => await app.cache.invalidate({ tags: ['books'] }, { soft: true }),
  prefix: async (app) => await app.cache.invalidate({ prefix: 'book:' }),
  everything: async (app) => await app.cache.invalidate({ all: true }),
  'behind an await': async (app) => {
    await delay(1)
    await app.cache.invalidate('book:7')
  },
  'without waiting': (app) => { app.cache.invalidate('book:7').catch(() => {}) },
  mutate: async (app) => await app.cache.mutate('book:7', ok),
  set: async (app) => await app.cache.set('book:7', ok, { route: '/books/7' }),
  put: async (app) => await app.cache.put('book:7', 1),
  'a request to a route that declares it': async (app) => await app.inject({ method: 'POST', url: '/changes' }),
  'behind the response': (app) => { setTimeout(() => { app.cache.invalidate('book:7').catch(() => {}) }, 1) }
}

t.test('whoever invalidates by hand is left alone', async (t) => {
  for (const [name, invalidate] of Object.entries(hands)) {
    await t.test(name, async (t) => {
      const { app, said } = await opened(t, (app) => {
        book(app)
        app.post('/changes', { cache: { invalidates: ['book:7'] } }, ok)
        app.put('/books/:id', async (_request, reply) => {
          await invalidate(app)
          return await reply.send({})
        })
      })
      await app.inject({ method: 'PUT', url: '/books/7' })
      await delay(5)
      await ten(app, 'PUT', '/books/7')
      t.strictSame(said, [])
    })
  }
})

t.test('a hook behind the response, and a listener to the database', async (t) => {
  const { app, said } = await opened(t, (app) => {
    book(app)
    app.addHook('onResponse', async (request) => { if (request.method === 'PUT') await app.cache.invalidate('book:7') })
    app.put('/books/:id', ok)
    app.delete('/books/:id', ok)
  })
  await ten(app, 'PUT', '/books/7')
  t.strictSame(said, [], 'the hook')
  await times(5, async () => await app.inject({ method: 'DELETE', url: '/books/7' }))
  await turn()
  await app.cache.invalidate('book:9')
  await ten(app, 'DELETE', '/books/7')
  t.strictSame(said, [], 'nobody writes meanwhile, so it is told by other means')
})

t.test('the writer that was forgotten beside one that invalidates by hand', async (t) => {
  const { app, said } = await opened(t, (app) => {
    book(app)
    app.put('/books/:id', async () => await app.cache.invalidate('book:7'))
    app.delete('/books/:id', ok)
  })
  await ten(app, 'PUT', '/books/7')
  await ten(app, 'DELETE', '/books/7')
  t.match(said, [/^never-invalidated route DELETE \/books\/:id/])
  t.match((await app.cache.explain('/books/7')).text, /DELETE \/books\/:id: 10 requests succeeded/)
})

t.test('work that nobody waits for, beside other writes', async (t) => {
  const { app, said } = await opened(t, (app) => {
    book(app)
    app.put('/books/:id', ok)
    app.post('/slow', async () => { await ended })
  })
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => { end = resolve })
  const slow = app.inject({ method: 'POST', url: '/slow' })
  for (let i = 0; i < 12; i++) {
    await app.inject({ method: 'PUT', url: '/books/7' })
    await turn()
    await app.cache.invalidate('book:7')
  }
  t.strictSame(said, [], 'it may be the PUT\'s')
  end()
  await slow
  await turn()
  await ten(app, 'PUT', '/books/7')
  t.equal(said.length, 1, 'and is not, where it is missing')
})

t.test('a client that leaves, and silence', async (t) => {
  let runs = 0
  const { app, said } = await opened(t, (app) => {
    list(app)
    app.put('/books', async () => {
      runs++
      await delay(60_000, null, { ref: false })
    })
  })
  const origin = await app.listen({ port: 0 })
  for (let i = 0; i < 12; i++) {
    const controller = new AbortController()
    const asked = fetch(`${origin}/books`, { method: 'PUT', signal: controller.signal }).catch(() => {})
    await until(async () => runs === i + 1, 'the handler ran')
    controller.abort()
    await asked
  }
  t.strictSame(said, [])
  const quiet = await opened(t, (app) => {
    list(app)
    app.put('/books', ok)
  }, { quiet: ['never-invalidated'] })
  await ten(quiet.app, 'PUT', '/books')
  t.strictSame(quiet.said, [])
  const told = await opened(t, (app) => {
    list(app)
    app.decorate('postgresInvalidation', {} as never)
    app.put('/books', ok)
  })
  await ten(told.app, 'PUT', '/books')
  t.strictSame(told.said, [], 'the database tells')
  const unsafe = await opened(t, (app) => {
    list(app)
    app.put('/books', ok)
  }, { invalidateUnsafe: true })
  await ten(unsafe.app, 'PUT', '/books')
  t.strictSame(unsafe.said, [], 'invalidateUnsafe names it')
})
