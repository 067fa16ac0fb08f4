// A hit is the response that the handler sent; a miss stores it.
import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

type Open = () => Promise<CachedApp>

await onEachStore(t, async (t, open) => {
  await t.test('the second request is a hit, identical in status, headers and body', (t) => identical(t, open))
  await t.test('bodies are kept byte for byte', (t) => bodies(t, open))
  await t.test('HEAD is answered from the entry of GET, and fills nothing', (t) => head(t, open))
  await t.test('hooks before the lookup guard a hit, hooks behind it see the outcome', (t) => hooks(t, open))
  await t.test('an entry ends with its ttl', (t) => ttl(t, open))
})

async function identical (t: Test, open: Open): Promise<void> {
  const app = await open()
  let runs = 0
  app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 600 } }, async (request, reply) => {
    reply.header('x-run', ++runs).header('link', ['<a>', '<b>']).header('x-empty', '').header('x-latin', 'caf\u00e9')
    return { id: (request.params as { id: string }).id }
  })

  const miss = await app.inject('/users/7')
  t.equal(miss.headers['cache-status'], 'fastify-route-cache; fwd=miss')
  await settled(app)
  const hit = await app.inject('/users/7')
  t.equal(hit.headers['cache-status'], 'fastify-route-cache; hit; ttl=600')
  t.equal(runs, 1)
  t.equal(hit.body, miss.body)
  t.equal(hit.statusCode, 200)
  const { date: _, 'cache-status': __, ...expected } = miss.headers
  const { date: ___, 'cache-status': ____, ...actual } = hit.headers
  t.strictSame(actual, { ...expected, age: '0' })
  t.equal((await app.inject('/users/8')).headers['cache-status'], 'fastify-route-cache; fwd=miss', 'another key')
}

async function bodies (t: Test, open: Open): Promise<void> {
  const app = await open()
  const sent: Record<string, Buffer | string> = {
    empty: '', text: 'Zoë 😀 \0', html: '<p>', binary: randomBytes(5_000), large: randomBytes(1024 * 1024)
  }
  app.get('/:name', { cache: { key: 'body:{name}' } }, (request, reply) => {
    const { name } = request.params as { name: string }
    reply.type(name === 'html' ? 'text/html; charset=utf-8' : 'application/x-any').send(sent[name])
  })
  for (const [name, body] of Object.entries(sent)) {
    const [miss, hit] = [await app.inject(`/${name}`), (await settled(app), await app.inject(`/${name}`))]
    t.match(hit.headers['cache-status'], /; hit;/, name)
    t.equal(hash(hit.rawPayload), hash(Buffer.from(body)), `${name}: the handler's bytes`)
    t.equal(hit.headers['content-type'], miss.headers['content-type'])
    t.equal(hit.headers['content-length'], String(Buffer.byteLength(body)))
  }
}

async function head (t: Test, open: Open): Promise<void> {
  const app = await open()
  app.get('/page', { cache: true }, async () => 'some text')
  const slow = gate()
  app.get('/slow', { cache: { key: 'slow' } }, async (request) => {
    if (request.method === 'HEAD') await slow.wait()
    return 'x'
  })
  t.equal((await app.inject({ method: 'HEAD', url: '/page' })).headers['cache-status'], 'fastify-route-cache; fwd=miss; detail=head')
  await settled(app)
  t.strictSame(app.cache.stats().total.refusals, { head: 1 })
  t.equal((await app.inject('/page')).headers['cache-status'], 'fastify-route-cache; fwd=miss', 'the HEAD stored nothing')
  await settled(app)
  const response = await app.inject({ method: 'HEAD', url: '/page' })
  t.match(response.headers['cache-status'], /; hit;/)
  t.equal(response.headers['content-length'], '9')
  t.equal(response.body, '')

  const waiting = app.inject({ method: 'HEAD', url: '/slow' })
  await slow.reached
  await app.inject('/slow')
  slow.open()
  await waiting
  await settled(app)
  t.not(await app.cache.inspect('slow'), null, 'a HEAD under way does not keep a GET from filling')
}

async function hooks (t: Test, open: Open): Promise<void> {
  const app = await open()
  const outcomes: unknown[] = []
  const mine = [async () => { order.push('route') }]
  const order: string[] = []
  app.addHook('onResponse', async (request) => { outcomes.push(request.cacheOutcome) })
  app.get('/guarded', { cache: { key: 'guarded' }, onRequest: mine }, async () => 'secret')
  app.get('/bare', { cache: { key: 'bare' }, onRequest: async () => { order.push('bare') } }, async () => 'x')
  app.get('/plain', async (_, reply) => reply.noCache().send('not cached'))
  app.addHook('onRequest', async (request, reply) => {
    order.push('app')
    if (request.headers['x-pass'] === undefined) return reply.code(401).send('who are you?')
  })
  const get = async (url: string): Promise<string> => (await app.inject({ url, headers: { 'x-pass': '1' } })).body
  await get('/guarded')
  await settled(app)
  t.equal(await get('/guarded'), 'secret')
  t.equal((await app.inject('/guarded')).statusCode, 401, 'a hook that was added later, and the hit comes after it')
  t.strictSame(order, ['app', 'route', 'app', 'route', 'app'])
  t.equal(mine.length, 1, "the user's array is as it was")
  await get('/bare')
  await get('/plain')
  t.match(outcomes, [
    { type: 'miss', key: 'guarded' }, { type: 'hit', key: 'guarded', ttl: 60 }, { type: 'bypass', reason: 'answered' },
    { type: 'miss', key: 'bare' }, null
  ])
}

async function ttl (t: Test, open: Open): Promise<void> {
  let now = 1_000_000
  const app = await (open as (options: object) => Promise<CachedApp>)({ now: () => now, ttl: '10s' })
  app.get('/default', { cache: { key: 'ttl:default' } }, async () => 'x')
  app.get('/own', { cache: { key: 'ttl:own', ttl: '1m' } }, async () => 'x')
  app.get('/computed', { cache: { key: 'ttl:computed', ttl: (_, reply) => Number(reply.getHeader('x-ttl')) } },
    async (_, reply) => reply.header('x-ttl', 30).send('x'))
  const get = async (url: string): Promise<unknown> => (await app.inject(url)).headers['cache-status']
  for (const [url, seconds] of [['/default', 10], ['/own', 60], ['/computed', 30]] as const) {
    const from = now
    await get(url)
    await settled(app)
    t.equal(await get(url), `fastify-route-cache; hit; ttl=${seconds}`)
    now = from + seconds * 1000 - 1
    t.equal(await get(url), 'fastify-route-cache; hit; ttl=1', 'the last millisecond')
    now = from + seconds * 1000
    t.equal(await get(url), 'fastify-route-cache; fwd=miss', 'over')
    await settled(app)
  }
}

function hash (bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
