// Requests whose values have no key go past the cache, and the log says which value it is, and what to write; values that
// look alike never share an answer.
import fastify from 'fastify'
import t, { type Test } from 'tap'
import routeCache, { type CacheOptions } from '../../plugin/index.js'
import { cachedApp, onEachStore, settled, type CachedApp } from '../helpers/app.js'

/** A schema library that makes of the text of `v` what `make` gives. */
const transforming = (make: (text: string) => unknown) => () => (query: { v?: string }) => ({ value: { v: make(query.v ?? '') } })

interface Trial { cache: CacheOptions | true, urls: [string, string], make?: (text: string) => unknown }

/** Each of the two gets its own, asked for twice. */
async function apart (t: Test, app: CachedApp, { cache, urls, make }: Trial): Promise<string[]> {
  const schema = make === undefined ? {} : { schema: { querystring: {} }, validatorCompiler: transforming(make) }
  app.get('/x', { ...schema, cache }, async (request) => `of ${request.url}`)
  const said: string[] = []
  for (const url of [...urls, ...urls]) {
    const { body, headers } = await app.inject(url)
    t.equal(body, `of ${url}`)
    said.push(String(headers['cache-status']).replace('fastify-route-cache; ', ''))
    await settled(app)
  }
  return said
}

const numbers = (text: string): number[] => text.split(',').map(Number)
const lists: [string, (text: string) => unknown][] = [
  ['a Set', (text) => new Set(numbers(text))],
  ['a Map', (text) => new Map(numbers(text).map((n) => [n, n]))],
  ['a URLSearchParams', (text) => new URLSearchParams(`ids=${text}`)],
  ['a RegExp', (text) => new RegExp(text)],
  ['a Temporal', (text) => new (class Temporal { readonly #at = text; get at (): string { return this.#at } })()],
  ['a function', (text) => () => text],
  ['a getter', (text) => ({ get at () { return text } })],
  ['a Number', (text) => Object(Number(text[0]))]
]

await onEachStore(t, async (t, open) => {
  for (const [name, make] of lists) {
    for (const cache of [true, { key: 'x:{query.v}' }, { key: 'fixed', tags: ['t:{query.v}'] }] as const) {
      await t.test(`${name}, ${JSON.stringify(cache)}`, async (t) => {
        const app = await open()
        const said = await apart(t, app, { cache: cache as CacheOptions, urls: ['/x?v=1,2', '/x?v=3,4'], make })
        t.strictSame(said, Array(4).fill('fwd=bypass; detail=policy'))
        const line = app.lines.find(({ msg }) => msg === 'cache policy failed') as { err: { message: string }, level: number }
        t.match(line.err.message, new RegExp(`^query\\.v(\\.at)? is ${name}, .*key: \\(request\\)`))
        t.equal(line.level, 40)
      })
    }
  }

  for (const [name, cache] of [
    ['a key', { key: (request) => `x:${String((request.query as { v: Set<number> }).v)}` }],
    ['a promise of a key', { key: async (request) => `x:${String((request.query as { v: Set<number> }).v)}` }],
    ['tags', { key: 'x:{query.w}', tags: (request) => [`t:${String((request.query as { v: Set<number> }).v)}`] }]
  ] as Array<[string, CacheOptions]>) {
    await t.test(`an object that a function makes into the text of all objects: ${name}`, async (t) => {
      const app = await open()
      const said = await apart(t, app, { cache, urls: ['/x?v=1,2', '/x?v=3,4'], make: lists[0]![1] })
      t.strictSame(said, Array(4).fill('fwd=bypass; detail=policy'))
      t.match(app.lines.find(({ msg }) => msg === 'cache policy failed'), { err: { message: /\[object Set\].*all objects share/ } })
    })
  }

  await t.test('values that read alike', async (t) => {
    const pairs: [string, string, (text: string) => unknown][] = [
      ['NaN', 'null', (text) => [{ a: text === 'NaN' ? NaN : null }]],
      ['big', 'text', (text) => ({ a: text === 'big' ? 1n : '1n' })],
      ['minus', 'zero', (text) => (text === 'minus' ? -0 : 0)],
      ['there', 'not', (text) => (text === 'there' ? { a: undefined } : {})],
      ['null', 'none', (text) => (text === 'null' ? null : undefined)],
      ['date', 'text', (text) => ({ at: text === 'date' ? new Date(0) : new Date(0).toJSON() })],
      ['proto', 'none', (text) => (text === 'proto' ? JSON.parse('{"__proto__":{"isAdmin":true}}') : {})]
    ]
    for (const [one, other, make] of pairs) {
      for (const cache of [true, { key: `x:${one}:{query.v}` }] as const) {
        const said = await apart(t, await open({ prefix: `p${Math.random()}`.replace('.', '') }), { cache, urls: [`/x?v=${one}`, `/x?v=${other}`], make })
        t.match(said, ['fwd=miss', 'fwd=miss', /^hit/, /^hit/], `${one} and ${other}`)
      }
    }
  })

  await t.test('a parser of the app\'s that gives what has no members', async (t) => {
    const querystringParser = (text: string): Record<string, string> =>
      new URLSearchParams(text) as unknown as Record<string, string>
    const app = fastify({ routerOptions: { querystringParser } })
    t.teardown(async () => { await app.close() })
    await app.register(routeCache)
    app.get('/default', { cache: true }, async (request) => `of ${request.url}`)
    app.get('/template', { cache: { key: 'a:{query.a}' } }, async (request) => `of ${request.url}`)
    app.get('/schema', { cache: true, schema: { querystring: { type: 'object' } } }, async (request) => `of ${request.url}`)
    app.get('/without', { cache: { key: 'b' } }, async () => 'always the same')
    for (const path of ['default', 'template', 'schema']) {
      for (const url of [`/${path}?a=1`, `/${path}?a=2`]) {
        const { body, headers } = await app.inject(url)
        t.equal(body, `of ${url}`)
        t.match(headers['cache-status'], /detail=policy/)
      }
    }
    await app.inject('/without?a=1')
    t.match((await app.inject('/without?a=2')).headers['cache-status'], /hit/, 'a key that does not read the query')
  })

  await t.test('braces, and what stands for them, in the keys of a function', async (t) => {
    const app = await open()
    app.get('/x', { cache: { key: (request) => `q:${(request.query as { q: string }).q}` } }, async (request) => (request.query as { q: string }).q)
    const texts = ['{', '%7B', '%<', '%_<', '%__<', '}', '%7D', '%>', '{}', '%7B%7D', '%<%>', '%~', '%_~']
    const ask = async (text: string): Promise<string> => {
      const { body, headers } = await app.inject(`/x?q=${encodeURIComponent(text)}`)
      t.equal(body, text)
      await settled(app)
      return /hit|miss/.exec(String(headers['cache-status']))![0]
    }
    for (const text of texts) t.equal(await ask(text), 'miss', text)
    for (const text of texts) t.equal(await ask(text), 'hit', text)
    for (const text of texts) {
      await app.cache.invalidate(`q:${text}`)
      t.equal(await ask(text), 'miss', `${text} is invalidated as it is written`)
    }
    for (const text of ['{', '%<']) await ask(text)
    t.equal(await app.cache.invalidate('q:%<'), 2, 'and as it is stored: the key that is written so, and that of a brace')
    t.equal(await ask('{'), 'miss')
  })

  await t.test('a long key, and the text that a long key is stored as', async (t) => {
    const app = await open({ prefix: 'long' })
    app.get('/x', { cache: { key: (request) => (request.query as { q: string }).q, ttl: 60 } }, async (request) => `${(request.query as { q: string }).q.length}`)
    const long = 'x'.repeat(1_200)
    let stored = ''
    app.addHook('onResponse', async (request) => { stored ||= (request as { cacheOutcome?: { key: string } }).cacheOutcome!.key })
    t.equal((await app.inject(`/x?q=${long}`)).body, '1200')
    t.match(stored, /%~/)
    await settled(app)
    t.equal((await app.inject(`/x?q=${encodeURIComponent(stored)}`)).body, String(stored.length), 'it is not its answer')
    await settled(app)
    t.equal(await app.cache.invalidate(stored), 2)
  })

  await t.test('getOrSet with an object in its key', async (t) => {
    const app = await open({ prefix: 'values' })
    for (const n of [1, 2]) t.equal(await app.cache.getOrSet(`v:${String(new Set([n]))}`, {}, () => n), n)
    t.match(app.lines.find(({ level }) => level === 40), { msg: /an object in it/ })
    for (const text of ['{', '%7B', '%<']) t.equal(await app.cache.getOrSet(`v:${text}`, {}, () => text), text)
    await settled(app)
    for (const text of ['{', '%7B', '%<']) t.equal(await app.cache.getOrSet(`v:${text}`, {}, () => 'new'), text)
  })

  await t.test('a write to the same URL has nothing to end where nothing has a key', async (t) => {
    const app = await open({ prefix: 'unsafe', invalidateUnsafe: true })
    const schema = { schema: { querystring: {} }, validatorCompiler: transforming(lists[0]![1]) }
    app.get('/x', { ...schema, cache: true }, async () => 'got')
    app.put('/x', async () => 'put')
    t.equal((await app.inject({ method: 'PUT', url: '/x?v=1' })).statusCode, 200)
    t.notOk(app.lines.some(({ level }) => level === 50))
  })
})

t.test('routes whose constraints can not be told apart need a key of their own', async (t) => {
  const constraints = { set: { name: 'set', storage: () => ({ get: () => null, set: () => {} }), deriveConstraint: () => 'x', validate: () => {} } }
  const app = fastify({ routerOptions: { constraints: constraints as never } })
  await app.register(routeCache)
  t.throws(() => app.get('/a', { constraints: { set: new Set([1]) } as never, cache: true }, async () => ''),
    { code: 'FRC_OPTION', message: /the route's constraint "set" is a Set, .* write a key/ })
  app.get('/b', { constraints: { set: new Set([1]) } as never, cache: { key: 'b' } }, async () => '')
  await app.close()
})

t.test('a path that looks like one with constraints has keys of its own', async (t) => {
  const app = await cachedApp(t)
  const paths = ['/x', '/x@host=a.test', '/x@@host=a.test', '/x@version=1.0.0', '/y@', '/@:name', '/z@1']
  const answers = paths.map((path) => [path, {}] as const)
  for (const path of ['/x', '/x@', '/y']) {
    for (const constraints of [{ host: 'a.test' }, { version: '1.0.0' }]) {
      app.get(path, { constraints, cache: true }, async () => `${path} ${JSON.stringify(constraints)}`)
    }
  }
  for (const [path] of answers) app.get(path, { cache: true }, async () => path)
  await app.ready()
  const hosts = [{ host: 'a.test' }, { host: 'b.test' }, { host: 'b.test', 'accept-version': '1.0.0' }]
  type Headers = Record<string, string>
  const ask = async (url: string, headers: Headers): Promise<string> => (await app.inject({ url, headers })).body
  const uncached: Record<string, string> = {}
  app.cache.enabled = false
  for (const url of [...paths.map((path) => path.replace(':name', 'ada')), '/x@', '/y']) {
    for (const headers of hosts) uncached[JSON.stringify([url, headers])] = await ask(url, headers)
  }
  app.cache.enabled = true
  for (let i = 0; i < 2; i++) {
    for (const [one, body] of Object.entries(uncached)) {
      const [url, headers] = JSON.parse(one) as [string, Headers]
      t.equal(await ask(url, headers), body, one)
      await settled(app)
    }
  }
  t.ok(new Set(Object.values(uncached)).size > 12)
})
