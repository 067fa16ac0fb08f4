// Write-through: what a writer gives is stored as its GET route would have sent it, or what is there is invalidated.
import type { FastifyInstance } from 'fastify'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { beyondLookup, gate, onEachStore, send, settled, type CachedApp } from '../helpers/app.js'

const HIT = /^fastify-route-cache; hit; ttl=/
const STRINGS = { response: { 200: { type: 'object', properties: { id: { type: 'string' }, name: { type: 'string' } } } } }

/** A row, a GET of it, and a way to set both: `database` is what a handler reads. */
function withRow (app: CachedApp, database: { row: string } = { row: 'old' }): { database: { row: string }, runs: () => number } {
  let runs = 0
  app.get('/rows/:id', { cache: { key: 'row:{id}', ttl: 60 }, schema: STRINGS }, async (request) => {
    runs++
    return { id: (request.params as { id: string }).id, name: database.row, secret: 'x' }
  })
  return { database, runs: () => runs }
}

async function setRow (app: FastifyInstance, database: { row: string }, row: string): Promise<unknown> {
  return await app.cache.set('row:7', async () => {
    database.row = row
    return { id: 7, name: row, secret: 'y' }
  }, { route: '/rows/7' })
}

async function ask (app: FastifyInstance, url = '/rows/7'): Promise<{ row: string, isHit: boolean, body: string }> {
  const { body, headers } = await app.inject(url)
  return { row: (JSON.parse(body) as { name: string }).name, isHit: HIT.test(String(headers['cache-status'])), body }
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })

  await t.test('the next GET is a hit, with what its route would have sent', async (t) => {
    const app = await opened()
    const { database, runs } = withRow(app)
    t.strictSame(await setRow(app, database, 'new'), { id: 7, name: 'new', secret: 'y' }, 'the work\'s own result')
    t.strictSame(await ask(app), { row: 'new', isHit: true, body: '{"id":"7","name":"new"}' })
    t.equal(runs(), 0)
    await setRow(app, database, 'newer')
    t.match(await ask(app), { row: 'newer', isHit: true })
    t.match(app.cache.stats().routes['GET /rows/:id'], { sets: 2, stores: 2, hits: 2, misses: 0 })
  })

  await t.test('its ttl and its tags, beside those of the route', async (t) => {
    const app = await opened({ now: () => 1_000_000 })
    app.get('/', { cache: { key: 'k', ttl: 60, tags: ['policy'] } }, async () => 'handler')
    const put = async (options: object): Promise<string> => {
      await app.cache.set('k', () => 'set', { route: '/', ...options })
      return String((await app.inject('/')).headers['cache-status'])
    }
    t.match(await put({}), /ttl=60$/)
    t.match(await put({ ttl: '5m', tags: ['own'] }), /ttl=300$/)
    for (const tag of ['policy', 'own']) {
      await put({ tags: ['own'] })
      await app.cache.invalidate({ tags: [tag] })
      t.equal((await app.inject('/')).body, 'handler', tag)
      await settled(app)
    }
    t.match(await put({ ttl: 0 }), /fwd=miss$/)
  })

  await t.test('a work that throws: its error, and nothing old behind', async (t) => {
    const app = await opened()
    const { database } = withRow(app)
    await ask(app)
    await settled(app)
    const failing = app.cache.set('row:7', () => {
      database.row = 'committed all the same'
      throw new Error('who knows')
    }, { route: '/rows/7' })
    await t.rejects(failing, { message: 'who knows' })
    t.match(await ask(app), { row: 'committed all the same', isHit: false })
  })

  await t.test('what can not be stored is invalidated', async (t) => {
    const app = await opened()
    let row = 'old'
    const routes: Record<string, object> = {
      vary: { vary: ['accept-language'] }, identity: { identity: () => 'ada' }, 'store-if': { storeIf: () => row === 'old' }
    }
    for (const [name, option] of Object.entries(routes)) app.get(`/${name}`, { cache: { key: name, ...option } }, async () => row)
    for (const name of Object.keys(routes)) {
      row = 'old'
      await app.inject(`/${name}`)
      await settled(app)
      t.match((await app.inject(`/${name}`)).headers['cache-status'], HIT, `${name}: a hit before`)
      await app.cache.set(name, () => (row = 'new'), { route: `/${name}` })
      t.equal((await app.inject(`/${name}`)).body, 'new', name)
    }
  })

  await t.test('a route that is none for the key: said, behind the work, and invalidated', async (t) => {
    const app = await opened()
    const { database } = withRow(app)
    app.get('/plain', async () => 'x')
    const wrong = [['/rows/8', /that route's key for it is "row:8"/], ['/plain', /no route with a cache option/]] as const
    for (const [route, message] of wrong) {
      database.row = 'old'
      await ask(app)
      await settled(app)
      const setting = app.cache.set('row:7', () => (database.row = 'new'), { route })
      await t.rejects(setting, { code: 'FRC_ROUTE', worked: true, message })
      t.match(await ask(app), { row: 'new', isHit: false })
      await settled(app)
    }
    const work = (): never => { throw new Error('it ran') }
    for (const [options, message] of [
      [{}, /route is undefined; it is the path/], [{ route: 'rows/7' }, /route is "rows\/7"/], [{ route: '/', ttl: 'soon' }, /ttl is "soon"/],
      [{ route: '/', tag: 1 }, /tag is 1; there is no such option/], [null, /options is null/]
    ] as const) {
      await t.rejects(app.cache.set('row:7', work, options as never), { code: 'FRC_OPTION', message, worked: false })
    }
    await t.rejects(app.cache.set('', work, { route: '/' }), { code: 'FRC_TARGET' })
    await t.rejects(app.cache.set('k', 'work' as never, { route: '/' }), { code: 'FRC_OPTION', message: /work is "work"/ })
  })

  await t.test('what getOrSet keeps under the key goes, also what is on its way', async (t) => {
    const app = await opened()
    const { database } = withRow(app)
    const load = async (): Promise<string> => database.row
    t.equal(await app.cache.getOrSet('row:7', {}, load), 'old')
    await settled(app)
    const { wait, reached, open: letGo } = gate()
    await setRow(app, database, 'new')
    t.equal(await app.cache.getOrSet('row:7', {}, load), 'new')
    await app.cache.invalidate('row:7')
    const slow = app.cache.getOrSet('row:7', {}, async () => {
      const read = database.row
      await wait()
      return read
    })
    await reached
    await setRow(app, database, 'newer')
    letGo()
    t.equal(await slow, 'new')
    await settled(app)
    t.equal(await app.cache.getOrSet('row:7', {}, load), 'newer')
  })

  await t.test('in quarantine, or switched off, it is an invalidation', async (t) => {
    const app = await opened()
    const { database } = withRow(app)
    await app.cache.mutate('row:7', async () => { await setRow(app, database, 'new') })
    t.match(await ask(app), { row: 'new', isHit: false })
    await settled(app)
    app.cache.enabled = false
    await setRow(app, database, 'newer')
    app.cache.enabled = true
    t.match(await ask(app), { row: 'newer', isHit: false })
  })

  await t.test('what can be read once only is its caller\'s; nothing is no response: both are invalidated', async (t) => {
    const app = await opened()
    app.get('/', { cache: { key: 'k' } }, async () => 'handler')
    const text = async (value: unknown): Promise<string> => await new Response(value as ReadableStream).text()
    const values: Record<string, [value: unknown, read: (value: unknown) => Promise<unknown>]> = {
      stream: [Readable.from(['a', 'b']), async (value) => (await (value as Readable).toArray()).join('')],
      'web stream': [new Blob(['ab']).stream(), text],
      Response: [new Response('ab'), async (value) => await (value as Response).text()],
      nothing: [undefined, async (value) => value === undefined ? 'ab' : 'something']
    }
    for (const [name, [value, read]] of Object.entries(values)) {
      await app.inject('/')
      await settled(app)
      t.equal(await read(await app.cache.set('k', () => value, { route: '/' })), 'ab', name)
      t.equal(await app.cache.inspect('k'), null, name)
    }
  })

  await t.test('an app that closes meanwhile: the writer has its answer, and nothing old is left', async (t) => {
    const app = await opened()
    const { database } = withRow(app)
    const { wait, reached, open: go } = gate()
    app.put('/rows/7', async () => await app.cache.set('row:7', async () => {
      await wait()
      database.row = 'new'
      return { id: 7, name: 'new' }
    }, { route: '/rows/7' }))
    await app.listen()
    await ask(app)
    await settled(app)
    const answered = new Promise<number | undefined>((resolve) => {
      send(app, 'PUT', '/rows/7').once('response', (response) => { resolve(response.resume().statusCode) })
    })
    await reached
    const closed = app.close()
    while (await app.inject('/rows/7').then(() => true, () => false)) await turn()
    go()
    t.equal(await answered, 200)
    t.equal(await app.cache.inspect('row:7'), null)
    await closed
    t.strictSame(app.lines.filter(({ level }) => Number(level) >= 40), [])
  })

  await t.test('who comes while it works waits for it', async (t) => {
    const app = await opened()
    const { database, runs } = withRow(app)
    const { wait, reached, open: letGo } = gate()
    const setting = app.cache.set('row:7', async () => {
      await wait()
      database.row = 'new'
      return { id: 7, name: 'new' }
    }, { route: '/rows/7' })
    await reached
    const asked = [ask(app), ask(app)]
    await beyondLookup(app)
    letGo()
    await setting
    t.strictSame((await Promise.all(asked)).map(({ row }) => row), ['new', 'new'])
    t.equal(runs(), 0)
  })

  await t.test('a key made of the result: its GET is a hit, of what the database says by then', async (t) => {
    const app = await opened()
    const rows: string[] = []
    let runs = 0
    app.get('/rows/:id', { cache: { key: 'row:{id}', statuses: { 404: 60 } } }, async (request, reply) => {
      runs++
      return rows[Number((request.params as { id: string }).id)] ?? reply.code(404).send('none')
    })
    const made = { route: ({ id }: { id: number }) => `/rows/${id}` }
    const keyOf = ({ id }: { id: number }): string => `row:${id}`
    t.equal((await app.inject('/rows/0')).body, 'none')
    await settled(app)
    const create = async (row: string, between = async () => {}): Promise<unknown> => {
      return await app.cache.set(keyOf, async () => {
        const id = rows.push(row) - 1
        await between()
        return { id }
      }, made)
    }
    t.strictSame(await create('first'), { id: 0 })
    t.match(await app.inject('/rows/0'), { body: 'first', headers: { 'cache-status': HIT } }, 'in place of the 404')
    t.equal(runs, 2)
    // Another writer, between the commit and the moment that the key is known.
    await create('second', async () => {
      rows[1] = 'changed'
      await app.cache.invalidate('row:1')
    })
    t.match(await app.inject('/rows/1'), { body: 'changed', headers: { 'cache-status': HIT } })
    await t.rejects(app.cache.set(keyOf, async () => { throw new Error('not written') }, made as never), { message: 'not written' })
  })

  await t.test('a key made of the result that is none, or of another route: said behind the work', async (t) => {
    const app = await opened()
    withRow(app)
    app.get('/plain', async () => 'x')
    const work = (): { id: number } => ({ id: 7 })
    const wrong: Array<[key: () => unknown, route: () => unknown, error: object]> = [
      [() => '', () => '/rows/7', { code: 'FRC_TARGET' }],
      [() => 'row:7', () => 'rows/7', { code: 'FRC_OPTION', message: /route is "rows\/7"/ }],
      [() => 'row:8', () => '/rows/7', { code: 'FRC_ROUTE', message: /the work is done, but cache\.set: the key of GET "\/rows\/7" is "row:7", not "row:8"/ }],
      [() => 'row:7', () => '/plain', { code: 'FRC_ROUTE', message: /"\/plain" is no cached route/ }],
      [() => 'row:7', () => '/nowhere', { code: 'FRC_ROUTE' }]
    ]
    for (const [key, route, error] of wrong) {
      const setting = app.cache.set(key as () => string, work, { route: route as () => string })
      await t.rejects(setting, { ...error, worked: true } as unknown as Error)
    }
    const ran = (): never => { throw new Error('it ran') }
    await t.rejects(app.cache.set(() => 'k', ran, { route: '/' } as never), { code: 'FRC_OPTION', message: /where the key is a function, it is one, too/ })
    await t.rejects(app.cache.set(() => 'k', ran, { route: () => '/', ttl: 5 } as never), { code: 'FRC_OPTION' })
    await settled(app)
  })
})
