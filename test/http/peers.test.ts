// What other caches were seen to get wrong when they were run, one test each: here it can't happen.
import type { Redis } from 'ioredis'
import { randomBytes } from 'node:crypto'
import { get, type IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'
import { START, outcome, type Open } from './rule.js'

type Fields = Record<string, string>
interface Answer { status: number, is: string, body: string, headers: IncomingHttpHeaders }

/** A request, and what it got; afterwards the response is stored, where it may be. */
async function ask (app: CachedApp, url: string, headers: Fields = {}): Promise<Answer> {
  const response = await app.inject({ url, headers })
  await settled(app)
  return {
    status: response.statusCode,
    is: outcome(response.headers['cache-status']),
    body: response.body,
    headers: response.headers as IncomingHttpHeaders
  }
}

const STATUSES: [code: number, fields: Fields, body: string][] = [
  [201, { location: '/7' }, 'made'],
  [204, {}, ''],
  [206, { 'content-range': 'bytes 0-3/9' }, 'part'],
  [302, { location: '/there' }, ''],
  [404, {}, 'none'],
  [500, {}, 'broken']
]

async function status (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'status' })
  const runs = new Map<string, number>()
  const statuses = { 201: 60, 204: 60, 302: 60, 404: 60, 500: 60 }
  for (const [code, fields, body] of STATUSES) {
    for (const [path, cache] of [['/no', {}], ['/yes', { statuses }]] as const) {
      app.get(`${path}/${code}`, { cache }, async (request, reply) => {
        runs.set(request.url, (runs.get(request.url) ?? 0) + 1)
        return await reply.code(code).headers(fields).send(body === '' ? undefined : body)
      })
    }
  }
  for (const [code, fields, body] of STATUSES) {
    for (const [path, times] of [['/no', 2], ['/yes', code === 206 ? 2 : 1]] as const) {
      await ask(app, `${path}/${code}`)
      t.match(await ask(app, `${path}/${code}`), { status: code, is: times === 1 ? 'hit' : 'miss', body, headers: fields }, `${path} ${code}`)
      t.equal(runs.get(`${path}/${code}`), times, `${path} ${code}: runs`)
    }
  }
}

async function headers (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'headers' })
  app.get('/json', { cache: true }, async (_, reply) => await reply.headers({ 'x-total': 5, link: ['<a>', '<b>'] }).send({ a: 'é' }))
  app.get('/html', { cache: true }, async (_, reply) => await reply.type('text/html; charset=utf-8').send('<p>'))
  app.get('/mine', { cache: true }, async (request, reply) => await reply.header('set-cookie', `sid=${String(request.headers['x-n'])}`).send('x'))
  await ask(app, '/json')
  t.match(await ask(app, '/json'), {
    is: 'hit', body: '{"a":"é"}', headers: { 'content-type': 'application/json; charset=utf-8', 'x-total': '5', link: ['<a>', '<b>'] }
  })
  await ask(app, '/html')
  t.match(await ask(app, '/html'), { is: 'hit', headers: { 'content-type': 'text/html; charset=utf-8' } })
  for (const n of ['1', '2']) t.match(await ask(app, '/mine', { 'x-n': n }), { is: 'miss', headers: { 'set-cookie': `sid=${n}` } })
}

async function privacy (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'privacy' })
  app.get('/who', { cache: true }, async ({ headers }) => String(headers.authorization))
  app.get('/language', { cache: true }, async ({ headers }, reply) =>
    await reply.header('vary', 'accept-language').send(headers['accept-language']))
  for (const word of ['private', 'no-store']) {
    app.get(`/${word}`, { cache: true }, async ({ headers }, reply) =>
      await reply.header('cache-control', word).send(String(headers['x-n'])))
  }
  for (const who of ['alice', 'bob', 'alice']) {
    t.match(await ask(app, '/who', { authorization: who }), { body: who, is: 'bypass authorization' })
  }
  for (const language of ['de', 'en', 'de', 'en']) t.equal((await ask(app, '/language', { 'accept-language': language })).body, language)
  for (const url of ['/private', '/no-store']) {
    for (const n of ['1', '2']) t.match(await ask(app, url, { 'x-n': n }), { body: n, is: 'miss' }, url)
  }
}

async function beforeAuth (t: Test, open: Open): Promise<void> {
  for (const stage of ['onRequest', 'preValidation', 'preHandler'] as const) {
    const app = await open({ prefix: `auth-${stage}` })
    app.get('/secret', { cache: true }, async (_, reply) => await reply.header('etag', '"secret"').send('the secret'))
    app.get('/other', { cache: true }, async (_, reply) => await reply.header('etag', '"other"').send('another'))
    // Registered behind the plugin and the routes.
    app.addHook(stage as 'onRequest', async (request, reply) => {
      if (request.headers['x-pass'] === undefined) return await reply.code(401).send('who are you?')
    })
    const token = { 'x-pass': '1' }
    for (const url of ['/secret', '/other']) {
      await ask(app, url, token)
      t.match(await ask(app, url, token), { status: 200, is: 'hit' }, url)
    }
    for (const fields of [{}, { 'if-none-match': '"secret"' }, { 'if-none-match': '*' }] as Fields[]) {
      const refused = { status: 401, body: 'who are you?', is: 'bypass answered' }
      t.match(await ask(app, '/secret', fields), refused, `${stage} ${JSON.stringify(fields)}`)
    }
    t.match(await ask(app, '/secret', { ...token, 'if-none-match': '"secret"' }), { status: 304, body: '' })
    const another = await ask(app, '/secret', { ...token, 'if-none-match': '"other"' })
    t.match(another, { status: 200, body: 'the secret' }, "another URL's ETag")
  }
}

async function bodies (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'bodies' })
  const bytes = randomBytes(50_000)
  const sent: Record<string, () => unknown> = {
    stream: () => Readable.from([bytes.subarray(0, 20_000), bytes.subarray(20_000)]),
    web: () => new Response(bytes).body,
    response: () => new Response(bytes),
    buffer: () => bytes,
    array: () => new Uint8Array(bytes)
  }
  for (const [name, payload] of Object.entries(sent)) {
    app.get(`/${name}`, { cache: true }, async (_, reply) => await reply.type('application/x-any').send(payload()))
  }
  for (const name of Object.keys(sent)) {
    for (const is of ['miss', 'hit']) {
      const response = await app.inject(`/${name}`)
      await settled(app)
      t.equal(outcome(response.headers['cache-status']), is, name)
      t.ok(bytes.equals(response.rawPayload), `${name}: ${is}, byte by byte`)
    }
  }
}

async function keys (t: Test, open: Open): Promise<void> {
  const [app, other] = [await open({ prefix: 'shop' }), await open({ prefix: 'shop2' })]
  for (const [name, one] of Object.entries({ app, other })) {
    let run = 0
    one.get('/list', { cache: true }, async () => `${name} ${++run}`)
    one.post('/list', async () => 'posted')
  }
  t.match(await ask(app, '/list'), { is: 'miss', body: 'app 1' })
  t.match(await app.inject({ method: 'POST', url: '/list' }), { body: 'posted' }, 'POST is not answered with what GET got')
  t.match(await ask(app, '/list'), { is: 'hit', body: 'app 1' }, 'nor GET with what POST got')
  t.match(await ask(other, '/list'), { is: 'miss', body: 'other 1' }, 'another prefix')
  await other.cache.invalidate({ prefix: '/' })
  t.match(await ask(app, '/list'), { is: 'hit', body: 'app 1' }, "is not touched by the other's invalidation")
  for (const [i, url] of ['/list?x=*', '/list?x=[', '/list?x=?', '/list?x=%7B', '/list?x=%00', '/list?__proto__=1'].entries()) {
    t.match(await ask(app, url), { status: 200, is: 'miss', body: `app ${i + 2}` }, url)
    t.match(await ask(app, url), { status: 200, is: 'hit', body: `app ${i + 2}` }, url)
  }
  await ask(app, '/list?a=1&b=2')
  t.match(await ask(app, '/list?b=2&a=1'), { is: 'hit' }, 'the order of the query makes no difference')
}

async function crowd (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'crowd' })
  const leader = gate()
  let run = 0
  app.get('/', { cache: { key: 'page' } }, async () => {
    if (++run > 1) return `run ${run}`
    await leader.wait()
    throw new Error('the leader failed')
  })
  const first = app.inject('/')
  await leader.reached
  const others = [app.inject('/'), app.inject('/')]
  leader.open()
  t.equal((await first).statusCode, 500)
  t.strictSame((await Promise.all(others)).map(({ statusCode, body }) => [statusCode, body]), [[200, 'run 2'], [200, 'run 3']])
  await settled(app)
  await ask(app, '/')
  t.match(await ask(app, '/'), { status: 200, is: 'hit', body: /^run/ })
}

async function deserted (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'deserted' })
  const leader = gate()
  let run = 0
  app.get('/', { cache: { key: 'page' } }, async () => {
    const mine = ++run
    if (mine === 1) await leader.wait()
    return `run ${mine}`
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const request = get(address).on('error', () => {})
  await leader.reached
  const others = [fetch(address), fetch(address)]
  request.destroy()
  const bodies = (await Promise.all(others)).map(async (response) => [response.status, await response.text()])
  t.strictSame((await Promise.all(bodies)).map(String).sort(), ['200,run 2', '200,run 3'], 'while the leader still runs')
  leader.open()
  await settled(app)
  t.match(await ask(app, '/'), { status: 200, body: /^run/ })
}

async function cookies (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'cookies' })
  const everybody = gate()
  app.get('/', { cache: { key: 'page' } }, async (request, reply) => {
    await everybody.wait()
    const who = String(request.headers['x-n'])
    return await reply.headers({ 'set-cookie': `sid=${who}`, 'cache-control': 'private' }).send(who)
  })
  const all = ['1', '2', '3'].map(async (n) => await app.inject({ url: '/', headers: { 'x-n': n } }))
  await everybody.reached
  everybody.open()
  t.strictSame((await Promise.all(all)).map(({ body, headers }) => [body, headers['set-cookie']]),
    [['1', 'sid=1'], ['2', 'sid=2'], ['3', 'sid=3']])
}

async function ttl (t: Test, open: Open): Promise<void> {
  let now = START
  const app = await open({ prefix: 'ttl', now: () => now })
  let run = 0
  app.get('/', { cache: { key: 'page', ttl: 10 } }, async () => `run ${++run}`)
  await ask(app, '/')
  now += 9_999
  t.match(await ask(app, '/'), { is: 'hit', body: 'run 1' })
  // Redis, whose own clock has not moved, still has it.
  now += 1
  t.equal(await app.cache.inspect('page'), null)
  t.match(await ask(app, '/'), { is: 'miss', body: 'run 2' })
}

async function conditional (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'conditional' })
  app.get('/', { cache: { key: 'page' } }, async () => 'x')
  const { headers: { etag } } = await ask(app, '/')
  const strong = String(etag).replace('W/', '')
  for (const list of [etag, strong, `"a", ${etag}`, `"a,b",${strong} , "c"`, '*']) {
    t.match(await ask(app, '/', { 'if-none-match': String(list) }), { status: 304, is: 'hit', body: '', headers: { etag } }, String(list))
  }
  for (const list of ['"a"', `"a${strong.slice(1)}`, strong.slice(1, -1), '']) {
    t.match(await ask(app, '/', { 'if-none-match': list }), { status: 200, is: 'hit', body: 'x' }, list)
  }
}

async function race (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'race' })
  // In Redis, also from another instance; in memory there is none.
  const writer = app.cache.stats().store === 'redis' ? await open({ prefix: 'race' }) : app
  const targets = ['page:0', ['page:1'], { prefix: 'page:' }]
  const rows = targets.map(() => ({ text: 'old', reading: gate() }))
  app.get('/:i', { cache: { key: 'page:{i}' } }, async (request) => {
    const row = rows[Number((request.params as { i: string }).i)]!
    const read = row.text
    if (read === 'old') await row.reading.wait()
    return read
  })
  for (const [i, row] of rows.entries()) {
    const fill = app.inject(`/${i}`)
    await row.reading.reached
    row.text = 'new'
    await writer.cache.invalidate(targets[i]!)
    row.reading.open()
    t.equal((await fill).body, 'old')
    await settled(app)
    t.match(await ask(app, `/${i}`), { is: 'miss', body: 'new' }, JSON.stringify(targets[i]))
    t.match(await ask(app, `/${i}`), { is: 'hit', body: 'new' })
  }
}

const EVERYWHERE: Record<string, (t: Test, open: Open) => Promise<void>> = {
  status,
  headers,
  privacy,
  'before auth': beforeAuth,
  bodies,
  keys,
  'crowd: the leader fails': crowd,
  "crowd: the leader's client goes away": deserted,
  'crowd: a private response with a cookie': cookies,
  ttl,
  conditional,
  race
}

await onEachStore(t, async (t, open) => {
  for (const [name, test] of Object.entries(EVERYWHERE)) await t.test(name, async (t) => await test(t, open))
})

/** `deadline`: only where Redis is going to be away; a busy machine must not make a bypass of a hit. */
async function onRedis (t: Test, deadline = '30s'): Promise<{ app: CachedApp, server: RedisServer, redis: Redis }> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, deadline, writeDeadline: '30s' })
  let run = 0
  app.get('/', { cache: { key: 'page' } }, async () => `run ${++run}`)
  return { app, server, redis }
}

t.test('Redis paused', async (t) => {
  const { app, server } = await onRedis(t, '50ms')
  await app.ready()
  await server.pause()
  const answers = await Promise.all([ask(app, '/'), ask(app, '/'), ask(app, '/')])
  for (const answer of answers) t.match(answer, { status: 200, is: 'bypass store', body: /^run [1234]$/ }, 'while it is still paused')
  server.resume()
})

t.test('Redis stopped', async (t) => {
  const { app, server, redis } = await onRedis(t)
  await ask(app, '/')
  const closed = new Promise((resolve) => redis.once('close', resolve))
  await server.kill()
  await closed
  t.match(await ask(app, '/'), { status: 200, is: 'bypass store', body: 'run 2' })

  const late = await cachedApp(t, { redis, deadline: '50ms', writeDeadline: '50ms' })
  late.get('/', { cache: true }, async () => 'started without it')
  t.match(await ask(late, '/'), { status: 200, is: 'bypass store', body: 'started without it' })
})

t.test('client: with ioredis it really hits, and leaves nothing behind', async (t) => {
  const { app, redis } = await onRedis(t)
  app.get('/vary', { cache: { key: 'vary' } }, async (_, reply) => await reply.header('vary', 'accept').send('x'))
  app.get('/refused', { cache: { key: 'refused' } }, async (_, reply) => await reply.code(404).send('x'))
  for (const url of ['/', '/', '/', '/vary', '/vary', '/refused', '/refused']) await ask(app, url)
  t.match(app.cache.stats().total, { hits: 3, misses: 4, stores: 2, errors: 0 })
  const ours = ['cache#floor', '{cache#floor}:clock', '{cache#floor}:tags']
  const others = (await redis.keys('*')).filter((name) => !ours.includes(name))
  t.equal(others.length, 5, 'two entries, a variant and its list, and that nobody waits for what is refused')
  for (const name of others) t.not(await redis.pttl(name), -1, `${name} ends by itself`)
  t.equal(await app.cache.invalidate(['page', 'vary', 'refused']), 2)
  await app.cache.invalidate({ prefix: 'v' })
  for (const url of ['/', '/refused']) await ask(app, url)
  // Leases are given back by then.
  await app.close()
  const names = (await redis.keys('*')).filter((name) => !ours.includes(name))
  t.strictSame(names.sort(), ['cache:page', 'lease:{cache:refused}'], 'no variant, no lease')
})

/** What Redis was asked since it was last told to forget. */
async function commands (redis: Redis): Promise<Record<string, number>> {
  const stats = await redis.info('commandstats')
  const calls = [...stats.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].map(([, name, count]) => [name!, Number(count)] as const)
  return Object.fromEntries(calls.filter(([name]) => !/^(?:info|config)\b/.test(name)))
}

t.test('cost: a hit is one command', async (t) => {
  const { app, redis } = await onRedis(t)
  app.get('/vary', { cache: { key: 'vary' } }, async (_, reply) => await reply.header('vary', 'accept').send('x'))
  const rows: [url: string, fields: Fields, expected: Record<string, number>][] = [
    ['/', {}, { mget: 10 }],
    ['/', { 'if-none-match': '*' }, { mget: 10 }],
    ['/vary', {}, { mget: 10 }]
  ]
  for (const [url, fields, expected] of rows) {
    await ask(app, url)
    t.match(await ask(app, url), { is: 'hit' })
    await redis.config('RESETSTAT')
    for (let i = 0; i < 10; i++) t.equal((await ask(app, url, fields)).is, 'hit')
    t.strictSame(await commands(redis), expected, `${url} ${JSON.stringify(fields)}`)
  }
})

t.test('the helpers see what they are for', async (t) => {
  t.equal(outcome('a; hit, fastify-route-cache; fwd=bypass; detail=store'), 'bypass store')
  t.equal(outcome('fastify-route-cache; hit; ttl=5; key="a"'), 'hit')
  t.equal(outcome(undefined), 'none')
})
