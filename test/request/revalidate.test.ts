// Stale entries that the handler is asked about: RFC 9111 §4.3. The handler that finds nothing changed has done no work, and
// what it confirms is stored again; but not where it was invalidated meanwhile.
import type { FastifyReply, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { freshened } from '../../plugin/http/headers.js'
import type { CacheOptions, RouteCacheOptions } from '../../plugin/index.js'
import { gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

const START = Date.parse('2026-11-01T12:00:00Z')
const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
const START_DATE = new Date(START).toUTCString()
let apps = 0

interface Site {
  app: CachedApp
  /** Seconds pass. */
  pass: (seconds: number) => void
  /** What the handler was asked, by run; null: for a response. */
  asked: Array<string | null>
  get: (headers?: Record<string, string>) => Promise<{ statusCode: number, body: string, headers: Record<string, unknown> }>
}

type Open = (options?: RouteCacheOptions) => Promise<CachedApp>
type Handler = (request: FastifyRequest, reply: FastifyReply, run: number) => unknown

/** The 304 has a field of its own run. */
const known: Handler = (_, reply, run) => {
  reply.header('x-run', String(run))
  return reply.notModified({ etag: 'v1', lastModified: Date.parse(DATE) }) ? reply : reply.header('x-full', String(run)).send('whole')
}

type Options = RouteCacheOptions & { prepare?: (app: CachedApp) => void }

async function siteOf (open: Open, cache: CacheOptions, handler = known, more: Options = {}): Promise<Site> {
  const { prepare, ...options } = more
  let now = START
  const app = await open({ prefix: `site${++apps}`, now: () => now, ...options })
  prepare?.(app)
  const asked: Site['asked'] = []
  app.get('/', { cache: { key: 'k', ttl: 10, revalidate: true, ...cache } }, async (request, reply) => {
    asked.push(request.cacheValidators === null ? null : String(request.headers['if-none-match'] ?? request.headers['if-modified-since']))
    return await handler(request, reply, asked.length)
  })
  const get: Site['get'] = async (headers = {}) => {
    const answer = await app.inject({ url: '/', headers })
    await settled(app)
    await app.cache.settled()
    return answer
  }
  return { app, asked, pass: (seconds) => { now += seconds * 1000 }, get }
}

async function asOf (app: CachedApp): Promise<number | undefined> {
  return (await app.cache.explain('/')).entry?.asOf
}

await onEachStore(t, async (t, open) => {
  await t.test('a miss that finds a stale entry asks about it: RFC 9111 §4.3.1, §4.3.3', async (t) => { await misses(t, open) })
  await t.test('so does a refresh', async (t) => { await refreshes(t, open) })
  await t.test('who is asked, and who is not', async (t) => { await choices(t, open) })
  await t.test('the 304 says more: RFC 9111 §3, §4.3.4', async (t) => { await answers(t, open) })
  await t.test('bodies of every kind, and in codings', async (t) => { await bodies(t, open) })
  await t.test('invalidated in between: refused', async (t) => { await invalidations(t, open) })
  await t.test('a crowd: one run', async (t) => { await crowd(t, open) })
})

async function misses (t: Test, open: Open): Promise<void> {
  const { app, asked, pass, get } = await siteOf(open, {})
  t.match(await get(), { statusCode: 200, body: 'whole', headers: { 'x-run': '1' } })
  const before = await asOf(app)
  await app.cache.invalidate({ tags: ['another'] })
  pass(11)
  const second = await get()
  t.match(second, { statusCode: 200, body: 'whole', headers: { 'x-run': '2', 'x-full': '1', etag: '"v1"', 'last-modified': DATE } })
  t.equal(second.headers['cache-status'], 'fastify-route-cache; fwd=stale; fwd-status=304')
  t.equal(second.headers['content-type'], 'text/plain; charset=utf-8')
  t.ok(Number(await asOf(app)) > Number(before), 'a new asOf')
  pass(9)
  t.match(await get(), { body: 'whole', headers: { 'x-run': '2', age: '9', 'cache-status': /; hit; ttl=1$/ } }, 'fresh again, for all its ttl')
  pass(2)
  t.match(await get({ 'if-none-match': '"v1"' }), { statusCode: 304, body: '', headers: { 'cache-status': /fwd-status=304$/ } }, 'who has it already')
  pass(11)
  t.match(await get({ 'if-none-match': '"other"' }), { statusCode: 200, body: 'whole', headers: { 'x-run': '4' } }, 'who has another one')
  pass(21)
  // Redis does not know the clock of this test.
  const isGone = app.cache.stats().store === 'memory'
  t.match(await get(), { statusCode: 200, headers: { 'x-full': isGone ? '5' : '1' } }, 'beyond twice its ttl it is not there')
  t.strictSame(asked, [null, '"v1"', '"v1"', '"v1"', isGone ? null : '"v1"'])
  t.match(app.cache.stats().total, { misses: 5, stores: 5, refusals: {} })
}

async function refreshes (t: Test, open: Open): Promise<void> {
  for (const [name, cache, wait] of [
    ['staleWhileRevalidate', { staleWhileRevalidate: 60 }, 11], ['earlyRefresh', { earlyRefresh: true }, 9.999]
  ] as const) {
    let chance = 0.999_999
    const { app, asked, pass, get } = await siteOf(open, cache, async (request, reply, run) => {
      pass(name === 'earlyRefresh' && run === 1 ? 2 : 0)
      return await known(request, reply, run)
    }, { random: () => chance })
    await get()
    const before = await asOf(app)
    await app.cache.invalidate({ tags: ['another'] })
    chance = 1e-9
    pass(wait)
    t.match(await get({ 'if-none-match': '"x"', range: 'bytes=0-1' }), { statusCode: 200, headers: { 'x-run': '1' } }, 'at once')
    chance = 0.999_999
    t.strictSame(asked, [null, '"v1"'], `${name} asks`)
    t.match(await get(), { body: 'whole', headers: { 'x-run': '2', 'x-full': '1', age: '0', 'cache-status': /; hit; ttl=10$/ } })
    t.ok(Number(await asOf(app)) > Number(before), 'a new asOf')
    t.match(app.cache.stats().total, { stores: 2, refusals: {} })
  }
}

async function choices (t: Test, open: Open): Promise<void> {
  const last: Handler = (_, reply) => reply.header('last-modified', DATE).send('whole')
  const fresh = 'max-age=10, stale-while-revalidate=9'
  const origin: Handler = (_, reply) => reply.header('cache-control', fresh).header('etag', '"o"').send('whole')
  type Asking = [name: string, cache: CacheOptions, handler: Handler, headers: Record<string, string>, second: string | null]
  const rows: Asking[] = [
    ['a weak tag', {}, (_, reply) => reply.header('etag', 'W/"w"').send('whole'), {}, 'W/"w"'],
    ['Last-Modified alone', {}, last, {}, DATE],
    ['no validator but the one that was made', {}, (_, reply) => reply.send('whole'), {}, null],
    ['revalidate: false', { revalidate: false }, known, {}, null],
    ["ttl: 'origin'", { ttl: 'origin', staleIfError: 60 }, origin, {}, '"o"'],
    ["ttl: 'origin', revalidate: false", { ttl: 'origin', staleIfError: 60, revalidate: false }, origin, {}, null],
    ['a client that forces a new one', { honourNoCache: true }, known, { 'cache-control': 'no-cache' }, null],
    ["conditional: 'handler', for a condition", { conditional: 'handler' }, known, { 'if-none-match': '"x"' }, null],
    ["conditional: 'handler', without", { conditional: 'handler' }, known, {}, '"v1"'],
    ['a part of it', {}, (_, reply) => reply.header('etag', '"p"').send('whole'), { range: 'bytes=0-1' }, null],
    ['another status', { statuses: { 404: 10 } }, (_, reply) => reply.code(404).header('etag', '"n"').send('none'), {}, null]
  ]
  for (const [name, cache, handler, headers, second] of rows) {
    const { asked, pass, get } = await siteOf(open, { ...name.includes('origin') ? { revalidate: undefined } : {}, ...cache } as CacheOptions, handler)
    await get()
    pass(11)
    await get(headers)
    t.strictSame(asked.slice(0, 2), [null, second], name)
  }
  const { asked, pass, get } = await siteOf(open, { revalidate: undefined } as unknown as CacheOptions)
  await get()
  pass(11)
  await get()
  t.strictSame(asked, [null, null], 'by default nobody')
}

async function answers (t: Test, open: Open): Promise<void> {
  /** What the second run sends; then what a client gets, what the next one, and why it was not stored. */
  const rows: Array<[name: string, second: (reply: FastifyReply) => unknown, is: object, next: object, refused: object]> = [
    ['a new response', (reply) => reply.header('etag', '"2"').send('new'), { body: 'new' }, { body: 'new', headers: { 'cache-status': /hit/ } }, {}],
    ['new fields, in place of the old ones', (reply) => reply.code(304).header('x-a', '2').header('x-b', 'b').send(),
      { body: 'old', headers: { 'x-a': '2', 'x-b': 'b', 'x-c': 'c' } }, { headers: { 'x-a': '2', 'x-b': 'b', 'x-c': 'c', 'cache-status': /hit/ } }, {}],
    ['fields of the body, which stay', (reply) => reply.code(304).header('content-encoding', 'br').header('content-range', 'bytes 0-1/2').header('content-length', '7').send(),
      { body: 'old', headers: { 'content-encoding': undefined, 'content-range': undefined, 'content-length': '3' } }, { body: 'old', headers: { 'content-encoding': undefined } }, {}],
    ['no Age and no Date any more', (reply) => reply.code(304).send(), { headers: { age: undefined } }, { headers: { age: '0', date: new Date(START + 11_000).toUTCString() } }, {}],
    ['its tag, weak', (reply) => reply.code(304).header('etag', 'W/"1"').send(), { body: 'old', headers: { etag: 'W/"1"' } }, { headers: { etag: 'W/"1"', 'cache-status': /hit/ } }, {}],
    ['another tag: it is not what was asked about', (reply) => reply.code(304).header('etag', '"9"').send(),
      { body: 'old', headers: { etag: '"1"' } }, { headers: { 'cache-status': /miss|stale/ } }, { status: 1 }],
    ['another date: nor is that', (reply) => reply.code(304).header('last-modified', START_DATE).send(),
      { body: 'old', headers: { 'last-modified': DATE, 'x-a': '1' } }, { headers: { 'cache-status': /miss|stale/ } }, { status: 1 }],
    ['its date, in another form', (reply) => reply.code(304).header('last-modified', 'Sunday, 06-Nov-94 08:49:37 GMT').send(),
      { body: 'old' }, { body: 'old', headers: { 'cache-status': /hit/ } }, {}],
    ['its tag, and another date', (reply) => reply.code(304).header('etag', '"1"').header('last-modified', START_DATE).send(),
      { body: 'old' }, { body: 'old', headers: { 'last-modified': START_DATE, 'cache-status': /hit/ } }, {}],
    ['digests of no content, RFC 9530 §2', (reply) => reply.code(304).header('content-digest', 'x').header('content-md5', 'x').send(),
      { body: 'old', headers: { 'content-digest': undefined } }, { body: 'old', headers: { 'content-digest': undefined, 'content-md5': undefined, 'cache-status': /hit/ } }, {}],
    ['no-store', (reply) => reply.code(304).header('cache-control', 'no-store').send(),
      { body: 'old', headers: { 'cache-control': 'no-store' } }, { headers: { 'cache-status': /fwd=/ } }, { 'no-store': 1 }],
    ['a cookie', (reply) => reply.code(304).header('set-cookie', 'a=1').send(), { body: 'old', headers: { 'set-cookie': 'a=1' } }, { headers: { 'cache-status': /fwd=/ } }, { 'set-cookie': 1 }],
    ['noCache()', (reply) => reply.noCache().code(304).send(), { body: 'old' }, { headers: { 'cache-status': /fwd=/ } }, { 'no-cache-called': 1 }],
    ['a Response', () => new Response(null, { status: 304, headers: { 'x-a': '2' } }), { body: 'old', headers: { 'x-a': '2' } }, { headers: { 'x-a': '2', 'cache-status': /hit/ } }, {}],
    ['an error', () => { throw new Error('no') }, { statusCode: 500 }, { headers: { 'cache-status': /fwd=/ } }, { status: 1 }]
  ]
  for (const [name, second, is, next, refused] of rows) {
    const { app, pass, get, asked } = await siteOf(open, {}, async (_, reply, run) => run === 2
      ? await second(reply)
      : await reply.headers({ etag: '"1"', 'last-modified': DATE, age: '1', date: DATE, 'x-a': '1', 'x-c': 'c' }).send(run === 1 ? 'old' : 'third'))
    await get()
    pass(11)
    t.match(await get(), is, name)
    t.strictSame(app.cache.stats().total.refusals, refused, name)
    t.match(await get(), next, `${name}: the next one`)
    t.equal(asked[1], '"1"')
  }
  const { pass, get } = await siteOf(open, {}, async (_, reply, run) => run === 2
    ? await reply.code(304).header('etag', '"9"').send()
    : await reply.header('last-modified', DATE).send('old'))
  await get()
  pass(11)
  t.match(await get(), { statusCode: 200, body: 'old', headers: { etag: '"9"' } }, 'a tag, where the entry has none')
  t.match(await get(), { body: 'old', headers: { etag: '"9"', 'cache-status': /hit/ } }, 'it has it from now on')
  t.strictSame(freshened(
    [['a', '1'], ['age', '5'], ['b', ['1', '2']], ['date', 'x'], ['content-encoding', 'gzip']],
    [['b', '3'], ['content-encoding', 'br'], ['age', '7'], ['c', '4']]
  ), [['a', '1'], ['age', '7'], ['b', '3'], ['content-encoding', 'gzip'], ['c', '4']], 'in their order')
}

async function bodies (t: Test, open: Open): Promise<void> {
  const text = 'whole '.repeat(100)
  const { Readable } = await import('node:stream')
  const kinds: Record<string, (reply: FastifyReply) => unknown> = {
    text: (reply) => reply.send(text),
    bytes: (reply) => reply.send(Buffer.from(text)),
    stream: (reply) => reply.send(Readable.from([text])),
    'sized stream': (reply) => reply.header('content-length', String(text.length)).send(Readable.from([text])),
    web: (reply) => reply.send(new Response(text).body),
    response: () => new Response(text, { headers: { etag: '"1"', 'content-type': 'text/plain' } }),
    none: (reply) => reply.send()
  }
  for (const [kind, send] of Object.entries(kinds)) {
    for (const hasHook of [false, true]) {
      for (const compress of [false, { threshold: 0 }]) {
        const seen: string[] = []
        const { asked, pass, get } = await siteOf(open, { compress }, async (request, reply) => {
          if (request.cacheValidators !== null) return await reply.code(304).send()
          return await send(kind === 'response' ? reply : reply.header('etag', '"1"').type('text/plain'))
        }, {
          prepare: (app) => {
            if (hasHook) app.addHook('onSend', async (_request, _reply, payload) => { seen.push(Object.prototype.toString.call(payload)); return payload })
          }
        })
        const name = `${kind}, ${hasHook ? 'with' : 'without'} a hook, ${compress === false ? 'plain' : 'compressed'}`
        const body = kind === 'none' ? '' : text
        t.equal((await get()).body, body, name)
        pass(11)
        t.equal((await get()).body, body, `${name}: confirmed`)
        t.match(await get(), { body, headers: { 'cache-status': /; hit; ttl=10/, etag: '"1"', 'content-type': 'text/plain' } }, `${name}: hit`)
        if (compress !== false && kind !== 'none') t.match((await get({ 'accept-encoding': 'gzip' })).headers, { 'content-encoding': 'gzip' }, name)
        t.equal(asked.length, 2)
        if (hasHook && compress === false && kind !== 'none') t.equal(seen[1], seen[0], `${name}: the hook sees the like`)
      }
    }
  }
}

async function crowd (t: Test, open: Open): Promise<void> {
  let held: ReturnType<typeof gate> | null = null
  const { app, asked, pass, get } = await siteOf(open, {}, async (request, reply, run) => {
    await held?.wait()
    return await known(request, reply, run)
  })
  await get()
  pass(11)
  held = gate()
  const first = app.inject('/')
  await held.reached
  const others = Array.from({ length: 49 }, async (_, i) => await app.inject({ url: '/', headers: i % 2 === 0 ? {} : { 'if-none-match': '"v1"' } }))
  while (app.cache.stats().waiting < 49) await new Promise(setImmediate)
  held.open()
  t.ok((await Promise.all([first, ...others])).every(({ statusCode, body }, i) => statusCode === (i === 0 || i % 2 === 1 ? 200 : 304) && body === (statusCode === 200 ? 'whole' : '')))
  t.strictSame(asked, [null, '"v1"'])
}

/** Holds the store's next call of this name, and tells when it has come. */
function holding (name: 'take' | 'fill'): { options: RouteCacheOptions, hold: () => ReturnType<typeof gate> } {
  let held: ReturnType<typeof gate> | null = null
  const store: NonNullable<RouteCacheOptions['store']> = (store) => new Proxy(store, {
    get: (target, property) => {
      const method: unknown = Reflect.get(target, property, target)
      if (typeof method !== 'function') return method
      if (property !== name) return method.bind(target)
      return async (...args: unknown[]) => {
        const present = held
        held = null
        await present?.wait()
        return await method.apply(target, args)
      }
    }
  })
  const hold = (): ReturnType<typeof gate> => {
    held = gate()
    return held
  }
  return { options: { store }, hold }
}

async function invalidations (t: Test, open: Open): Promise<void> {
  const targets = {
    key: 'k', tag: { tags: ['t'] }, 'tag of the response': { tags: ['late'] }, prefix: { prefix: 'k' }, everything: { all: true as const }
  }
  for (const [what, target] of Object.entries(targets)) {
    for (const where of ['while the handler runs', 'before the lease is taken', 'before it is filled'] as const) {
      for (const isRefresh of [false, true]) {
        const name = `${what}, ${where}, by a ${isRefresh ? 'refresh' : 'miss'}`
        let running: ReturnType<typeof gate> | null = null
        const { options, hold } = holding(where === 'before the lease is taken' ? 'take' : 'fill')
        let row = 'old'
        // It counts whole seconds, so to say: what it asks has not changed.
        const { app, pass, get } = await siteOf(open, { tags: ['t'], ...isRefresh && { staleWhileRevalidate: 60 } }, async (_, reply) => {
          const read = row
          await running?.wait()
          if (reply.notModified({ etag: 'coarse' })) return reply
          return await reply.cacheTags('late').send(read)
        }, options)
        await get()
        pass(11)
        if (where === 'while the handler runs') running = gate()
        const barrier = running ?? hold()
        const asked = app.inject('/')
        await barrier.reached
        row = 'new'
        await app.cache.invalidate(target)
        barrier.open()
        running = null
        // It may look up again, where it finds something else when it takes the lease.
        t.match((await asked).body, isRefresh || where !== 'before the lease is taken' ? /^old$/ : /^(?:old|new)$/, `${name}: who began before`)
        await settled(app)
        await app.cache.settled()
        t.equal((await get()).body, 'new', `${name}: who begins behind it`)
      }
    }
  }
}
