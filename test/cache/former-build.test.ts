// A former build at work on the same prefix is noticed by what it stores, and said once.
import t, { type Test } from 'tap'
import { ownName, seal } from '../../plugin/entry/entry.js'
import { valueKey } from '../../plugin/store/keys.js'
import { ENTRY } from '../../plugin/store/layout.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

const NOTICE = /a former build of fastify-route-cache stores responses under this prefix/

const server = await startRedis()
t.teardown(async () => { await server.stop() })
const client = server.client()
await client.ping()

async function open (t: Test): Promise<CachedApp> {
  await client.flushall()
  const app = await cachedApp(t, { redis: client })
  app.get('/:id', { cache: { key: 'page:{id}', ttl: 60, staleWhileRevalidate: 600 } }, async () => 'page')
  app.get('/varies', { cache: { key: 'varies', ttl: 60 } }, async (_, reply) => {
    reply.header('vary', 'accept-language')
    return 'page'
  })
  app.get('/value', async () => await app.cache.getOrSet('value', { ttl: 60 }, () => 'value'))
  await app.ready()
  return app
}

interface Change { storedAt?: number, isStale?: boolean }

/** Turns what lies there into what a former build stores: its instants are whole milliseconds. */
async function asFormer (name: string, own: string, { storedAt, isStale }: Change = {}): Promise<void> {
  const bytes = (await client.getBuffer(name))!
  const signed = bytes.readDoubleBE(ENTRY.storedAt)
  if (Number.isInteger(signed)) throw new Error('this build signs what it stores')
  bytes.writeDoubleBE(storedAt ?? Math.floor(signed), ENTRY.storedAt)
  if (isStale === true) bytes.writeDoubleBE(Date.now() - 1, ENTRY.staleAt)
  await client.set(name, seal(bytes, own), 'KEEPTTL')
}

const noticesOf = (app: CachedApp): unknown[] => app.lines.filter(({ msg }) => NOTICE.test(String(msg)))

t.test('what this build stores itself is no sign of it', async (t) => {
  const app = await open(t)
  for (const url of ['/1', '/varies', '/value', '/1', '/varies', '/value']) await app.inject(url).then(async () => { await settled(app) })
  t.ok(app.cache.stats().total.hits >= 2)
  t.strictSame(noticesOf(app), [])
})

t.test('nor is what was stored before this process began', async (t) => {
  const began = Date.now()
  const app = await open(t)
  await app.inject('/1')
  await settled(app)
  await asFormer('cache:page:1', 'page:1', { storedAt: began - 1 })
  t.match((await app.inject('/1')).headers['cache-status'], /hit/, 'which is served')
  t.strictSame(noticesOf(app), [])
})

t.test('a hit shows it, and is one: said once', async (t) => {
  const app = await open(t)
  for (const id of ['1', '2']) {
    await app.inject(`/${id}`)
    await settled(app)
    await asFormer(`cache:page:${id}`, `page:${id}`)
    t.match((await app.inject(`/${id}`)).headers['cache-status'], /hit/)
  }
  t.match(noticesOf(app), [{ level: 40, storedAt: /^\d{4}-/ }])
})

t.test('so do a stale one, a variant and a value', async (t) => {
  const stale = await open(t)
  await stale.inject('/1')
  await settled(stale)
  await asFormer('cache:page:1', 'page:1', { isStale: true })
  t.equal((await stale.inject('/1')).statusCode, 200)
  t.equal(noticesOf(stale).length, 1)
  await settled(stale)

  const varying = await open(t)
  await varying.inject('/varies')
  await settled(varying)
  const [variant = ''] = await client.keys('{cache:varies}:v:*')
  await asFormer(variant, ownName('varies', { variant: variant.slice('{cache:varies}:v:'.length) }))
  t.match((await varying.inject('/varies')).headers['cache-status'], /hit/)
  t.equal(noticesOf(varying).length, 1)

  const valued = await open(t)
  await valued.inject('/value')
  await settled(valued).catch(() => {})
  await asFormer('{cache:value}:value', valueKey('value'))
  t.equal((await valued.inject('/value')).body, 'value')
  t.equal(noticesOf(valued).length, 1)
})
