// Tags as users see them: of the policy, of the request and of the response; alone and with keys and prefixes; under way,
// across builds, and across versions.
import t from 'tap'
import type { CacheOptions, InvalidateTarget } from '../../plugin/index.js'
import { cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

/** Asks for each of these, until all fills are done; what the cache did: H for a hit. */
async function signs (app: CachedApp, urls: readonly string[]): Promise<string> {
  let signs = ''
  for (const url of urls) {
    const { headers } = await app.inject(url)
    await settled(app)
    signs += /; ttl=/.test(String(headers['cache-status'])) ? 'H' : '-'
  }
  return signs
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened: typeof open = async (options) => await open({ prefix: `app-${++apps}`, ...options })

  await t.test('of the policy: a list of templates', async (t) => {
    const app = await opened()
    app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users', 'user:{id}', 'page:{query.page}'] } }, async () => 'x')
    const urls = ['/users/1', '/users/2', '/users/1?page=3']
    // The query is not in the key; but in Redis nobody knows yet when the third one's own tag was last invalidated.
    t.equal(await signs(app, urls), app.cache.stats().store === 'memory' ? '--H' : '---')
    t.equal(await signs(app, urls), 'HHH')
    t.equal(await app.cache.invalidate({ tags: ['user:1'] }), 0, 'entries are not counted by tags')
    t.equal(await signs(app, urls), '-HH')
    await app.cache.invalidate({ tags: ['users'] })
    t.equal(await signs(app, urls), '--H')
    await app.cache.invalidate({ tags: ['others', 'page:3'] })
    t.equal(await signs(app, urls), 'HH-', 'a tag of this request counts, also where the entry has it not')
    t.match(app.cache.stats(), { invalidations: 3, invalidated: 0, total: { errors: 0 } })
    t.ok(app.cache.stats().total.outdated >= 4)
    const told = { level: 20, tags: ['user:1'], removed: 0 }
    t.match(app.lines.find(({ msg }) => msg === 'cache invalidated'), told)
  })

  await t.test('of the request: a function', async (t) => {
    const app = await opened()
    const tags = (request: { query: unknown }): string[] => {
      const { tag } = request.query as { tag?: string }
      if (tag === 'none') return undefined as unknown as string[]
      return tag === undefined ? [] : [`{${tag}}`, `{${tag}}`]
    }
    app.get('/', { cache: { tags } }, async () => 'x')
    const urls = ['/', '/?tag=a', '/?tag=b']
    t.equal(await signs(app, urls), '---')
    await app.cache.invalidate({ tags: ['{a}'] })
    t.equal(await signs(app, urls), 'H-H', 'braces are taken literally')
    const { statusCode, headers } = await app.inject('/?tag=none')
    t.strictSame([statusCode, headers['cache-status']], [200, 'fastify-route-cache; fwd=bypass; detail=policy'])
    t.match(app.lines.find(({ msg }) => msg === 'cache policy failed'), { level: 40, err: { code: 'FRC_TAG' } })
  })

  await t.test('of the response: as many calls as it takes, of the handler and of earlier hooks', async (t) => {
    const app = await opened()
    const options = {
      cache: { tags: ['declared'] },
      onRequest: async (_: unknown, reply: { cacheTags: (tag: string) => unknown }) => { reply.cacheTags('of-hook') }
    }
    app.get('/:id', options, async (request, reply) => {
      const { id } = request.params as { id: string }
      t.equal(reply.cacheTags(`author:${id}`), reply)
      return await reply.cacheTags('one', 'other', 'declared').cacheTags('{odd}\0').send(id)
    })
    const urls = ['/1', '/2']
    t.equal(await signs(app, urls), '--')
    t.equal(await signs(app, urls), 'HH')
    for (const tag of ['declared', 'of-hook', 'one', 'other', '{odd}\0']) {
      await app.cache.invalidate({ tags: [tag] })
      t.equal(await signs(app, urls), '--', JSON.stringify(tag))
      t.equal(await signs(app, urls), 'HH')
    }
    await app.cache.invalidate({ tags: ['author:2'] })
    t.equal(await signs(app, urls), 'H-')
  })

  await t.test('bad tags keep the response out of the cache, and fail no request', async (t) => {
    for (const bad of [[''], [7], [null], [['a']], ['fine', undefined]]) {
      const app = await opened()
      app.get('/', { cache: { key: 'k' } }, async (_, reply) => reply.cacheTags(...bad as string[]).cacheTags('fine').send('x'))
      t.equal(await signs(app, ['/', '/']), '--', JSON.stringify(bad))
      t.equal((await app.inject('/')).statusCode, 200)
      t.match(app.lines.find(({ msg }) => /^reply.cacheTags/.test(String(msg))), { level: 50, err: { code: 'FRC_TAG' } })
      await settled(app)
      t.strictSame(app.cache.stats().total.refusals, { 'no-cache-called': 3 })
    }
  })

  await t.test('on a route that is not cached, tags do nothing', async (t) => {
    const app = await opened()
    app.get('/', async (_, reply) => reply.cacheTags('a').send('x'))
    const { statusCode, headers } = await app.inject('/')
    t.equal(statusCode, 200)
    t.notOk('cache-status' in headers)
  })

  await t.test('keys, tags and a prefix together, and everything', async (t) => {
    const app = await opened()
    app.get('/:kind/:id', { cache: { key: '{kind}:{id}', tags: ['{kind}'] } }, async () => 'x')
    const urls = ['/user/1', '/user/2', '/post/1', '/page/1', '/page/22']
    await signs(app, urls)
    const target: InvalidateTarget = { keys: ['user:1', 'user:404'], tags: ['post'], prefix: 'page:2' }
    t.equal(await app.cache.invalidate(target), 2)
    t.equal(await signs(app, urls), '-H-H-')
    await app.cache.invalidate({ tags: [] })
    t.equal(await signs(app, urls), 'HHHHH')
    t.equal(await app.cache.invalidate({ all: true }), 0)
    t.equal(await signs(app, urls), '-----')
    t.equal(await signs(app, urls), 'HHHHH')
    t.equal(await app.cache.inspect('user:1').then((info) => info?.status), 200)
    await app.cache.invalidate({ all: true })
    t.equal(await app.cache.inspect('user:1'), null)
  })

  for (const tag of ['declared', 'of-response']) {
    // The response's tags are remembered from an earlier one, or are not.
    for (const isKnown of [false, true]) {
      await t.test(`a tag that is invalidated while the handler runs: ${tag}${isKnown ? ', remembered' : ''}`, async (t) => {
        const prefix = `app-${++apps}`
        const [app, other] = [await open({ prefix }), await open({ prefix })]
        const invalidator = app.cache.stats().store === 'redis' ? other : app
        const slow = gate()
        const database = { row: 'old', isSlow: false }
        app.get('/', { cache: { tags: ['declared'] } }, async (_, reply) => {
          const read = database.row
          if (database.isSlow) await slow.wait()
          return await reply.cacheTags('of-response').send(read)
        })
        if (isKnown) {
          await signs(app, ['/'])
          await app.cache.invalidate({ tags: ['declared', 'of-response'] })
        }
        database.isSlow = true
        const reading = app.inject('/')
        await slow.reached
        database.row = 'new'
        await invalidator.cache.invalidate({ tags: [tag] })
        slow.open()
        t.equal((await reading).body, 'old', 'its own client gets what it read')
        await settled(app)
        t.equal((await app.inject('/')).body, 'new')
        await settled(app)
        t.match(await app.inject('/'), { body: 'new', headers: { 'cache-status': /; ttl=/ } }, 'and that is stored')
      })
    }
  }

  await t.test('the entries of another version are not served, and go with their key', async (t) => {
    const prefix = `app-${++apps}`
    const build = async (version: string | number, cache: CacheOptions = {}): Promise<CachedApp> => {
      const app = await open({ prefix, version })
      app.get('/', { cache: { key: 'k', ...cache } }, async () => `of ${cache.version ?? version}`)
      return app
    }
    const builds = [await build(1), await build(2), await build(1, { version: 'route' })]
    const inTurn = async (): Promise<string[]> => {
      const bodies = []
      for (const app of builds) {
        const { body, headers } = await app.inject('/')
        await settled(app)
        bodies.push(`${body}${/; ttl=/.test(String(headers['cache-status'])) ? ', a hit' : ''}`)
      }
      return bodies
    }
    t.strictSame(await inTurn(), ['of 1', 'of 2', 'of route'])
    t.strictSame(await inTurn(), ['of 1, a hit', 'of 2, a hit', 'of route, a hit'])
    for (const app of new Set(builds)) await app.cache.invalidate('k')
    t.strictSame(await inTurn(), ['of 1', 'of 2', 'of route'])
    if (builds[0]!.cache.stats().store === 'memory') return
    t.equal(await builds[1]!.cache.invalidate('k'), 1, 'one key, by whoever')
    t.strictSame(await inTurn(), ['of 1', 'of 2', 'of route'])
  })

  await t.test('a build that gives a route another tag', async (t) => {
    const prefix = `app-${++apps}`
    const build = async (tags: string[]): Promise<CachedApp> => {
      const app = await open({ prefix })
      app.get('/', { cache: { key: 'k', tags } }, async () => 'x')
      return app
    }
    const [old, next] = [await build(['a']), await build(['a', 'b'])]
    // In-process stores are not shared: there is nothing of the old build.
    if (old.cache.stats().store === 'memory') return t.equal(await signs(next, ['/', '/']), '-H')
    t.equal(await signs(old, ['/', '/']), '-H')
    t.equal(await signs(next, ['/']), '-', 'when its new tag was last invalidated is not known')
    t.equal(await signs(next, ['/']), 'H')
    t.equal(await signs(old, ['/']), 'H')
    await old.cache.invalidate('k')
    t.equal(await signs(old, ['/']), '-')
    t.equal(await signs(next, ['/']), 'H', 'one of the old build, under the new tag as well')
    await next.cache.invalidate({ tags: ['b'] })
    t.equal(await signs(next, ['/']), '-', 'which it obeys')
    await old.cache.invalidate({ tags: ['a'] })
    t.equal(await signs(next, ['/']), '-')
  })
})

t.test('what is wrong is refused when it is said, and says what would be right', async (t) => {
  const app = await cachedApp(t)
  const routes: [cache: unknown, message: RegExp][] = [
    [{ tags: 'x' }, /^route GET \/:id: cache\.tags is "x"; write a list such as \["users", "user:\{id\}"\], or a function/],
    [{ tags: [''] }, /^route GET \/:id: cache\.tags is \[""\]; write a list/],
    [{ tags: [7] }, /^route GET \/:id: cache\.tags is \[7\]; write a list/],
    [{ tags: ['{nope}'] }, /^route GET \/:id: cache\.tags is "\{nope\}"; the path has no param "nope" \(it has: id\)/],
    [{ tags: ['{id'] }, /^route GET \/:id: cache\.tags: /],
    [{ version: '' }, /^route GET \/:id: cache\.version is ""; it is a non-empty string or a number/],
    [{ version: NaN }, /^route GET \/:id: cache\.version is NaN; it is a non-empty string or a number/],
    [{ waitTimeout: -1 }, /^route GET \/:id: cache\.waitTimeout is -1; /],
    [{ waitTimeout: '1y' }, /^route GET \/:id: cache\.waitTimeout is "1y"; .*24 days/]
  ]
  for (const [cache, message] of routes) {
    t.throws(() => app.get('/:id', { cache: cache as CacheOptions }, async () => 'x'), { code: 'FRC_OPTION', message })
  }
  const options: [option: object, message: RegExp][] = [
    [{ version: '' }, /^fastify-route-cache: version is ""; it is a non-empty string or a number/],
    [{ waitTimeout: -1 }, /^fastify-route-cache: waitTimeout is -1; /],
    [{ waitForReplicas: -1 }, /^fastify-route-cache: waitForReplicas is -1; it is a number of replicas/],
    [{ trustFailover: 'yes' }, /^fastify-route-cache: trustFailover is "yes"; it is true or false/]
  ]
  for (const [option, message] of options) await t.rejects(cachedApp(t, option), { code: 'FRC_OPTION', message })
  for (const tags of [[''], [7], [null]]) {
    await t.rejects(app.cache.invalidate({ tags } as unknown as string), { code: 'FRC_TAG', message: /a tag is a non-empty string/ })
  }
})
