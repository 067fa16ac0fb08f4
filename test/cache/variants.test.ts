// Where responses vary: each client gets its own, one invalidation ends them all, and users are told apart.
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'

type Open = (options?: RouteCacheOptions) => Promise<CachedApp>
type Headers = Record<string, string>

/** What a request gets: body, and what the cache did, without its name. */
async function get (app: CachedApp, url: string, headers: Headers = {}): Promise<[body: string, outcome: string]> {
  const response = await app.inject({ url, headers })
  await settled(app)
  return [response.body, String(response.headers['cache-status']).replace('fastify-route-cache; ', '').replace(/; ttl=\d+/, '')]
}

await onEachStore(t, async (t, open) => {
  await t.test('by the Vary of the response', (t) => byVary(t, open))
  await t.test('by the policy, and said to caches on the way', (t) => byPolicy(t, open))
  await t.test('by identity', (t) => byIdentity(t, open))
  await t.test('different identities never wait for each other', (t) => sideBySide(t, open))
  await t.test('a crowd of each variant on a cold key makes one run of each', (t) => crowds(t, open))
  await t.test('by an identity that the handler found out', (t) => changedHands(t, open))
  await t.test('Accept-Encoding counts as a set', (t) => encodings(t, open))
  await t.test('when other fields select from now on', (t) => otherFields(t, open))
  await t.test('a fill of a variant that was under way when the key was invalidated', (t) => race(t, open))
})

async function byVary (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'vary' })
  let run = 0
  app.get('/', { cache: { key: 'page' } }, async (request, reply) =>
    await reply.header('vary', 'Accept-Language').send(`${request.headers['accept-language']} ${++run}`))
  t.strictSame(await get(app, '/', { 'accept-language': 'de' }), ['de 1', 'fwd=miss'])
  t.strictSame(await get(app, '/', { 'accept-language': 'en' }), ['en 2', 'fwd=miss'])
  t.strictSame(await get(app, '/', { 'accept-language': 'de' }), ['de 1', 'hit'])
  t.strictSame(await get(app, '/', { 'accept-language': 'en' }), ['en 2', 'hit'])
  t.strictSame(await get(app, '/'), ['undefined 3', 'fwd=miss'])
  t.match(await app.cache.inspect('page', { 'accept-language': 'de' }), { size: 4, headers: { vary: 'Accept-Language' } })
  t.equal(await app.cache.inspect('page', { 'accept-language': 'fr' }), null)
  t.equal(await app.cache.invalidate('page'), 1)
  for (const [language, body] of [['de', 'de 4'], ['en', 'en 5']] as const) {
    t.strictSame(await get(app, '/', { 'accept-language': language }), [body, 'fwd=miss'])
  }
  t.equal(await app.cache.invalidate({ prefix: 'pa' }), 1)
  t.strictSame(await get(app, '/', { 'accept-language': 'en' }), ['en 6', 'fwd=miss'])
}

async function sideBySide (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'side-by-side', waitTimeout: 600 })
  const slow = gate()
  let runs = 0
  app.get('/mine', { cache: { key: 'mine', identity: (request) => request.headers.authorization! } }, async (request) => {
    runs++
    if (request.headers.authorization === 'alice') await slow.wait()
    return request.headers.authorization
  })
  const ask = async (authorization: string): Promise<string> =>
    (await app.inject({ url: '/mine', headers: { authorization } })).body
  const alice = [ask('alice')]
  await slow.reached
  t.equal(await ask('bob'), 'bob', 'while the run for alice is on')
  alice.push(ask('alice'))
  // Only when the second lookup is over does it wait: bob's, begun behind it, tells. It is a hit: his was stored meanwhile.
  t.equal(await ask('bob'), 'bob')
  slow.open()
  t.strictSame(await Promise.all(alice), ['alice', 'alice'])
  t.equal(runs, 2, 'one for each')
}

async function crowds (t: Test, open: Open): Promise<void> {
  const apps = [await open({ prefix: 'crowds' }), await open({ prefix: 'crowds' })]
  // In-process stores are not shared.
  const isShared = apps[0]!.cache.stats().store === 'redis'
  const runs: string[] = []
  const begun = new Map(['de', 'en', 'fr'].map((language) => [language, gate()]))
  for (const app of apps) {
    app.get('/', { cache: { key: 'page', vary: ['accept-language'] } }, async (request) => {
      const language = request.headers['accept-language']!
      runs.push(language)
      await begun.get(language)!.wait()
      return language
    })
  }
  const asked = [...Array(60).keys()].map(async (i) => {
    const language = ['de', 'en', 'fr'][i % 3]!
    const app = apps[isShared ? i % 2 : 0]!
    const { body } = await app.inject({ url: '/', headers: { 'accept-language': language } })
    return body === language
  })
  // None of them waits for another's: all three run at once.
  for (const { reached } of begun.values()) await reached
  for (const { open } of begun.values()) open()
  t.ok((await Promise.all(asked)).every(Boolean), 'each got its own')
  t.strictSame(runs.sort(), ['de', 'en', 'fr'])
}

async function byPolicy (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'policy' })
  app.get('/', { cache: { key: 'page', vary: ['X-Tenant'] } }, async (request) => request.headers['x-tenant'])
  t.strictSame(await get(app, '/', { 'x-tenant': 'a' }), ['a', 'fwd=miss'])
  t.strictSame(await get(app, '/', { 'x-tenant': 'b' }), ['b', 'fwd=miss'])
  t.strictSame(await get(app, '/', { 'x-tenant': 'a' }), ['a', 'hit'])
  t.equal((await app.inject({ url: '/', headers: { 'x-tenant': 'a' } })).headers.vary, 'x-tenant')
}

async function byIdentity (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'identity' })
  let run = 0
  const handler = async (request: { headers: Headers }): Promise<string> => `${request.headers.authorization ?? 'nobody'} ${++run}`
  app.get('/mine', { cache: { key: 'mine', identity: (request) => request.headers.authorization } }, handler as never)
  app.get('/ours', { cache: { key: 'ours', shared: true } }, handler as never)
  app.get('/plain', { cache: { key: 'plain' } }, handler as never)
  t.strictSame(await get(app, '/mine', { authorization: 'alice' }), ['alice 1', 'fwd=miss'])
  t.strictSame(await get(app, '/mine', { authorization: 'bob' }), ['bob 2', 'fwd=miss'])
  t.strictSame(await get(app, '/mine'), ['nobody 3', 'fwd=miss'])
  t.strictSame(await get(app, '/mine', { authorization: 'alice' }), ['alice 1', 'hit'])
  t.strictSame(await get(app, '/mine'), ['nobody 3', 'hit'])
  t.equal(await app.cache.invalidate('mine'), 1)
  t.strictSame(await get(app, '/mine', { authorization: 'alice' }), ['alice 4', 'fwd=miss'])
  t.strictSame(await get(app, '/mine', { authorization: 'bob' }), ['bob 5', 'fwd=miss'])
  t.strictSame(await get(app, '/ours', { authorization: 'alice' }), ['alice 6', 'fwd=miss'])
  t.strictSame(await get(app, '/ours', { authorization: 'bob' }), ['alice 6', 'hit'])
  t.strictSame(await get(app, '/plain', { authorization: 'alice' }), ['alice 7', 'fwd=bypass; detail=authorization'])
  t.strictSame(await get(app, '/plain', { authorization: 'alice' }), ['alice 8', 'fwd=bypass; detail=authorization'])
  const explained = app.lines.filter(({ level, msg }) => level === 40 && /identity: .* shared: true/.test(String(msg)))
  t.match(explained, [{ route: 'GET /plain' }], 'said once')
  t.equal(explained.length, 1)
}

async function changedHands (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'hands' })
  app.decorateRequest('user', null)
  const log = async (request: { user?: unknown, headers: Headers }): Promise<string> => {
    if (request.headers['x-login'] !== undefined) request.user = request.headers['x-login']
    return String(request.user ?? 'nobody')
  }
  app.get('/', { cache: { key: 'page', identity: (request) => (request as { user?: string }).user } }, log as never)
  t.strictSame(await get(app, '/', { 'x-login': 'alice' }), ['alice', 'fwd=miss; detail=credentials'])
  t.strictSame(await get(app, '/'), ['nobody', 'fwd=miss'], 'what alice got is not for nobody')
  t.strictSame(app.cache.stats().total.refusals, { credentials: 1 })
}

async function encodings (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'encodings' })
  let run = 0
  app.get('/', { cache: { key: 'page', vary: ['accept-encoding'] } }, async () => String(++run))
  const rows: [field: string, body: string, outcome: string][] = [
    ['gzip, deflate, br', '1', 'fwd=miss'],
    ['br;q=1.0, gzip;q=0.8, deflate', '1', 'hit'],
    ['BR,GZIP,deflate,zstd;q=0', '1', 'hit'],
    ['gzip', '2', 'fwd=miss'],
    ['gzip;q=0.5', '2', 'hit'],
    ['identity;q=0, gzip', '3', 'fwd=miss'],
    ['', '4', 'fwd=miss']
  ]
  for (const [field, body, outcome] of rows) {
    t.strictSame(await get(app, '/', { 'accept-encoding': field }), [body, outcome], field)
  }
}

async function otherFields (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'other' })
  let vary = 'accept-language'
  app.get('/', { cache: { key: 'page' } }, async (request, reply) => {
    if (vary !== '') reply.header('vary', vary)
    return await reply.send(`${request.headers['accept-language']} ${request.headers['x-b']}`)
  })
  t.strictSame(await get(app, '/', { 'accept-language': 'de', 'x-b': '1' }), ['de 1', 'fwd=miss'])
  vary = 'x-b'
  t.strictSame(await get(app, '/', { 'accept-language': 'en', 'x-b': '1' }), ['en 1', 'fwd=miss'])
  t.strictSame(await get(app, '/', { 'accept-language': 'de', 'x-b': '1' }), ['de 1', 'fwd=miss'], 'both select now')
  t.strictSame(await get(app, '/', { 'accept-language': 'de', 'x-b': '1' }), ['de 1', 'hit'])
  t.strictSame(await get(app, '/', { 'accept-language': 'de', 'x-b': '2' }), ['de 2', 'fwd=miss'])
  vary = ''
  t.strictSame(await get(app, '/', { 'accept-language': 'fr' }), ['fr undefined', 'fwd=miss'])
  t.strictSame(app.cache.stats().total.refusals, { vary: 1 }, 'it would stand for all variants')
}

async function race (t: Test, open: Open): Promise<void> {
  const app = await open({ prefix: 'race' })
  let text = 'old'
  const slow = gate()
  app.get('/', { cache: { key: 'page', vary: ['x-client'] } }, async (request) => {
    const read = text
    if (request.headers['x-client'] === 'slow') await slow.wait()
    return read
  })
  await get(app, '/', { 'x-client': 'one' })
  const reading = app.inject({ url: '/', headers: { 'x-client': 'slow' } })
  await slow.reached
  text = 'new'
  await app.cache.invalidate('page')
  // Another variant is stored anew, so that there is a marker again when the slow one comes.
  t.strictSame(await app.inject({ url: '/', headers: { 'x-client': 'one' } }).then(({ body }) => body), 'new')
  slow.open()
  t.equal((await reading).body, 'old')
  await settled(app)
  t.strictSame(app.cache.stats().total.refusals, { lease: 1 })
  t.strictSame(await get(app, '/', { 'x-client': 'slow' }), ['new', 'fwd=miss'])
}
