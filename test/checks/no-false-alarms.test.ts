// Apps as users write them, each with hundreds of requests of all kinds: no check finds a mistake in them, as there is none.
// `npm test` runs the examples and the demo beside these (test/examples.test.ts, test/demo).
import fastify, { type FastifyInstance, type FastifyRequest, type InjectOptions } from 'fastify'
import fp from 'fastify-plugin'
import pg from 'pg'
import t, { type Test } from 'tap'
import { routeCache } from '../../plugin/index.js'
import { startPostgres } from '../helpers/postgres.js'

interface Started { app: FastifyInstance, warnings: string[] }

function start (t: Test): Started {
  const warnings: string[] = []
  const app = fastify({ logger: { level: 'warn', stream: { write: (line: string) => { warnings.push(line) } } } })
  t.teardown(async () => { await app.close() })
  return { app, warnings }
}

type Ask = [method: NonNullable<InjectOptions['method']>, url: string, payload?: object | undefined, headers?: Record<string, string>]

/** Each of them so often, one after another, and then all at once. */
async function ask (t: Test, app: FastifyInstance, { asks, times }: { asks: Ask[], times: number }): Promise<void> {
  const send = async ([method, url, payload, headers]: Ask): Promise<void> => {
    const { statusCode } = await app.inject({ method, url, ...payload && { payload }, ...headers && { headers } })
    t.ok(statusCode < 500, `${method} ${url} ${statusCode}`)
  }
  for (let i = 0; i < times; i++) for (const one of asks) await send(one)
  await Promise.all(asks.map(send))
  await app.cache.settled()
}

interface Post { id: number, author: string, title: string, tags: string[] }

/** The services of the first app: what they know of the cache is one function. */
class Posts {
  readonly #rows = new Map<number, Post>([[1, { id: 1, author: 'ada', title: 'One', tags: ['a'] }]])
  #last = 1
  readonly #changed: (id: number) => Promise<unknown>

  constructor (changed: (id: number) => Promise<unknown>) { this.#changed = changed }

  list ({ tag, page = 1 }: { tag?: string, page?: number }): Post[] {
    const found = [...this.#rows.values()].filter(({ tags }) => tag === undefined || tags.includes(tag))
    return found.slice((page - 1) * 10, page * 10)
  }

  get (id: number): Post | undefined { return this.#rows.get(id) }

  async save (post: Omit<Post, 'id'>, id = ++this.#last): Promise<Post> {
    const saved = { ...post, id }
    this.#rows.set(id, saved)
    await this.#changed(id)
    return saved
  }

  async remove (id: number): Promise<boolean> {
    const isGone = this.#rows.delete(id)
    if (isGone) await this.#changed(id)
    return isGone
  }
}

const integer = { type: 'integer' }
const byId = { params: { type: 'object', properties: { id: integer } } }
const listed = { querystring: { type: 'object', properties: { tag: { type: 'string' }, page: { ...integer, default: 1 } } } }

type WithId = FastifyRequest<{ Params: { id: number } }>

async function restApi (app: FastifyInstance): Promise<void> {
  // plugins/
  await app.register(fp(async (app) => {
    app.decorateRequest('user', null)
    app.addHook('onRequest', async (request) => {
      const name = /^Bearer (\w+)$/.exec(request.headers.authorization ?? '')?.[1]
      if (name !== undefined) (request as { user?: unknown }).user = { name }
    })
  }))
  await app.register(routeCache, { prefix: 'api', ttl: '5m' })
  const posts = new Posts(async (id) => await app.cache.invalidate(`post:${id}`))
  const nameOf = (request: unknown): string => (request as { user?: { name: string } }).user?.name ?? ''
  // routes/
  await app.register(async (api) => {
    api.get('/posts', { schema: listed, cache: { key: 'posts:{tag}:{page}', tags: ['posts'], shared: true } }, async ({ query }) => posts.list(query as object))
    api.get('/posts/:id', { schema: byId, cache: { key: 'post:{id}', tags: ['posts'], statuses: { 404: '30s' }, shared: true } }, async (request, reply) => {
      return posts.get((request as WithId).params.id) ?? await reply.code(404).send({ error: 'no such post' })
    })
    api.post('/posts', { cache: { invalidates: { tags: ['posts'] } } }, async ({ body }, reply) => await reply.code(201).send(await posts.save(body as Post)))
    api.put('/posts/:id', { schema: byId }, async (request) => {
      // By hand, and behind an await, in the service; the lists here.
      const saved = await posts.save(request.body as Post, (request as WithId).params.id)
      await app.cache.invalidate({ tags: ['posts'] })
      return saved
    })
    api.delete('/posts/:id', { schema: byId }, async (request, reply) => {
      const isGone = await posts.remove((request as WithId).params.id)
      return await reply.code(isGone ? 204 : 404).send()
    })
    api.post('/posts/:id/like', { schema: byId }, async () => ({ likes: 1 }))
    api.post('/posts/search', async () => posts.list({}))
    api.get('/me', { cache: { key: 'me', identity: nameOf, ttl: '1m' } }, async (request) => ({ name: nameOf(request) }))
    api.put('/me', { cache: { invalidates: ['me'] } }, async (request) => ({ name: nameOf(request) }))
    api.get('/search', { cache: { query: ['q', 'page'] } }, async () => [])
    api.post('/search', async () => [])
    api.get('/login', { cache: { ttl: '1h' } }, async (_request, reply) => reply.type('text/html').send('<form method="post">'))
    api.post('/login', async (_request, reply) => reply.header('set-cookie', 'session=1').code(200).send({ token: 'ada' }))
    api.get('/health', async () => ({ ok: true }))
    api.post('/metrics/:name', async () => ({}))
    api.get('/rates', { cache: { ttl: 2 } }, async () => ({ eur: 1 }))
    api.put('/rates', async () => ({ eur: 2 }))
  }, { prefix: '/api' })
}

t.test('a REST API', async (t) => {
  const { app, warnings } = start(t)
  await restApi(app)
  const bearer = { authorization: 'Bearer ada' }
  const post = { author: 'ada', title: 'Two', tags: ['b'] }
  await ask(t, app, {
    times: 25,
    asks: [
      ['GET', '/api/posts'], ['GET', '/api/posts?tag=a&page=1'], ['GET', '/api/posts/1'], ['GET', '/api/posts/99'], ['POST', '/api/posts', post],
      ['PUT', '/api/posts/1', post], ['DELETE', '/api/posts/2'], ['DELETE', '/api/posts/99'], ['POST', '/api/posts/1/like'],
      ['POST', '/api/posts/search', {}], ['GET', '/api/me', undefined, bearer], ['PUT', '/api/me', {}, bearer], ['GET', '/api/me'],
      ['GET', '/api/search?q=a&utm_source=x'], ['POST', '/api/search', { q: 'a' }], ['GET', '/api/login'], ['POST', '/api/login', { name: 'ada' }],
      ['GET', '/api/health'], ['POST', '/api/metrics/x', {}], ['GET', '/api/rates'], ['PUT', '/api/rates', {}], ['GET', '/api/nothing'], ['PUT', '/api/nothing']
    ]
  })
  t.ok(app.cache.stats().total.hits > 50)
  t.strictSame(warnings, [])
  t.strictSame(app.cache.warnings, [])
})

t.test('an app over Postgres', async (t) => {
  const postgres = await startPostgres()
  const pool = new pg.Pool({ connectionString: postgres.url })
  pool.on('error', () => {})
  const { app, warnings } = start(t)
  t.teardown(async () => {
    await pool.end()
    await postgres.stop()
  })
  await pool.query('CREATE TABLE items (id serial PRIMARY KEY, shop int NOT NULL, name text NOT NULL)')
  await pool.query("INSERT INTO items (shop, name) SELECT 1 + n % 2, 'item ' || n FROM generate_series(1, 20) n")
  await app.register(routeCache, { prefix: 'shop', quarantineTime: '1m' })
  app.get<{ Params: { shop: number }, Querystring: { like?: string } }>('/shops/:shop/items', {
    cache: { key: 'items:{shop}:{query.like}', tags: ['shop:{shop}'], staleWhileRevalidate: '10s' }
  }, async ({ params, query }) => (await pool.query('SELECT * FROM items WHERE shop = $1 AND name LIKE $2', [params.shop, `${query.like ?? ''}%`])).rows)
  app.get<{ Params: { id: number } }>('/items/:id', { cache: { key: 'item:{id}', statuses: { 404: 60 }, tags: ['items'] } }, async ({ params }, reply) => {
    const { rows: [row] } = await pool.query<{ shop: number }>('SELECT * FROM items WHERE id = $1', [params.id])
    if (row === undefined) return await reply.code(404).send({})
    return await reply.cacheTags(`shop:${row.shop}`).send(row)
  })
  app.post<{ Params: { shop: number }, Body: { name: string } }>('/shops/:shop/items', async ({ params, body }, reply) => {
    const made = await app.cache.mutate({ tags: [`shop:${params.shop}`, 'items'] }, async () =>
      (await pool.query('INSERT INTO items (shop, name) VALUES ($1, $2) RETURNING *', [params.shop, body.name])).rows[0])
    return await reply.code(201).send(made)
  })
  app.patch<{ Params: { id: number }, Body: { name: string } }>('/items/:id', async ({ params, body }, reply) => {
    const { rows: [row] } = await pool.query<{ shop: number }>('UPDATE items SET name = $2 WHERE id = $1 RETURNING *', [params.id, body.name])
    if (row === undefined) return await reply.code(404).send({})
    await app.cache.invalidate({ keys: [`item:${params.id}`], tags: [`shop:${row.shop}`] })
    return row
  })
  app.put<{ Params: { id: number }, Body: { name: string } }>('/items/:id', async ({ params, body }) =>
    await app.cache.set(app.cache.key('item:{id}', params), async () =>
      (await pool.query('UPDATE items SET name = $2 WHERE id = $1 RETURNING *', [params.id, body.name])).rows[0], { route: `/items/${params.id}` }))
  app.delete<{ Params: { id: number } }>('/items/:id', { cache: { invalidates: ['item:{id}'], onError: 'fail' } }, async ({ params }, reply) => {
    const { rowCount } = await pool.query('DELETE FROM items WHERE id = $1', [params.id])
    return await reply.code(rowCount === 0 ? 404 : 204).send()
  })
  await ask(t, app, {
    times: 15,
    asks: [
      ['GET', '/shops/1/items'], ['GET', '/shops/1/items?like=item'], ['GET', '/shops/2/items'], ['GET', '/items/3'], ['GET', '/items/999'],
      ['POST', '/shops/1/items', { name: 'new' }], ['PATCH', '/items/3', { name: 'x' }], ['PATCH', '/items/999', { name: 'x' }],
      ['PUT', '/items/4', { name: 'y' }], ['DELETE', '/items/5'], ['DELETE', '/items/999'], ['GET', '/items/4'], ['GET', '/items/4']
    ]
  })
  t.ok(app.cache.stats().total.hits > 20)
  t.strictSame(warnings, [])
  t.strictSame(app.cache.warnings, [])
})
