// The rights that docs/operating.md names are enough for all that the cache does, and none of them is too many.
import t, { type Test } from 'tap'
import { readFile } from 'node:fs/promises'
import type { Redis } from 'ioredis'
import { healthOf } from '../../../plugin/extras/dashboard/health.js'
import { Recorder } from '../../../plugin/extras/dashboard/recorder.js'
import { Reports } from '../../../plugin/extras/dashboard/reports.js'
import type { RouteCache, RouteCacheOptions } from '../../../plugin/index.js'
import { cachedApp, settled, type CachedApp } from '../../helpers/app.js'
import { startRedis } from '../../helpers/redis.js'
import { until } from '../../helpers/until.js'

const guide = await readFile(new URL('../../../docs/operating.md', import.meta.url), 'utf8')
const USER = blockOf('acl').replace(/^ACL SETUSER shop-cache /, '').split(/\s+/)
const MORE = new Map(blockOf('more').split('\n').map((line) => {
  const [name = '', ...rest] = line.split(/\s+/)
  return [name, rest.filter((right) => /^[+&]/.test(right))]
}))

function blockOf (name: string): string {
  const [, code] = new RegExp(`<!-- run: ${name} -->\n\`\`\`\n([^]*?)\n\`\`\``).exec(guide) ?? []
  if (code === undefined) throw new Error(`docs/operating.md has no block "${name}"`)
  return code
}

const server = await startRedis()
t.teardown(async () => { await server.stop() })
const admin = server.client()

/** What each of them adds to the plugin's options, and does besides. */
const USES: Record<string, { options: RouteCacheOptions, use: (app: CachedApp) => Promise<unknown> }> = {
  scan: { options: {}, use: async (app) => await app.cache.invalidate({ prefix: 'item:' }) },
  memory: {
    options: { memory: {} },
    use: async (app) => {
      await until(async () => app.cache.stats().tier?.isLive === true || (await deniedSoFar()).length > 0, 'neither live nor refused')
    }
  },
  replicas: { options: { waitForReplicas: 1, writeDeadline: '100ms' }, use: async (app) => await app.cache.invalidate('x') },
  dashboard: { options: {}, use: async ({ cache }) => await useDashboard(cache) }
}

/** All that a dashboard asks of Redis: whether somebody looks, telling, reading what the others told, how Redis is. */
async function useDashboard (cache: RouteCache): Promise<void> {
  const redis = cache.redis!
  const recorder = new Recorder(cache, Date.now)
  const reports = new Reports({ redis, prefix: cache.prefix, interval: 1_000 })
  await reports.isWatched()
  await reports.put(recorder.report).catch(() => {})
  // One that is to be taken away.
  await admin.hset(`${cache.prefix}#instances`, 'damaged', '')
  await reports.read().catch(() => {})
  await healthOf(redis)
  recorder.end()
}

/** What this user was refused, once each. */
async function deniedSoFar (): Promise<string[]> {
  const log = await admin.call('ACL', 'LOG') as unknown[][]
  return [...new Set(log.map((entry) => String(entry[entry.indexOf('object') + 1])))].sort()
}

/** A client of this user, with these rights. */
async function clientWith (rights: readonly string[]): Promise<Redis> {
  await admin.call('ACL', 'DELUSER', 'shop-cache')
  await admin.call('ACL', 'SETUSER', 'shop-cache', ...rights)
  await admin.call('SCRIPT', 'FLUSH')
  await admin.flushall()
  const client = server.client({ username: 'shop-cache', password: 'password', disableClientInfo: true, enableReadyCheck: false })
  await until(async () => client.status === 'ready', 'it is connected')
  await admin.call('ACL', 'LOG', 'RESET')
  return client
}

/** Each thing that the cache does with Redis; some reject where a right is missing. */
async function useAll (app: CachedApp, use: (app: CachedApp) => Promise<unknown> = async () => {}): Promise<void> {
  const tries = [
    async () => { for (let i = 0; i < 2; i++) await app.inject('/item/1') },
    async () => { await Promise.all(['de', 'en'].map(async (language) => await app.inject({ url: '/varied', headers: { 'accept-language': language } }))) },
    async () => { await app.cache.getOrSet('value', { ttl: 60, tags: ['late'] }, () => 1) },
    async () => { await app.cache.set('item:2', () => ({ id: 2 }), { route: '/item/2' }) },
    async () => { await app.cache.mutate({ keys: ['item:1'], tags: ['items'] }, () => {}) },
    async () => { await app.inject('/item/1').then(async () => { await settled(app) }) },
    async () => { await app.cache.invalidate({ keys: ['item:1'], tags: ['items'] }, { soft: true }) },
    async () => { await app.inject('/item/1').then(async () => { await settled(app) }) },
    async () => { await app.cache.invalidate({ keys: ['item:1'], tags: ['items'] }) },
    async () => { await app.cache.invalidate({ all: true }) },
    async () => { await use(app) }
  ]
  for (const one of tries) {
    await one().catch(() => {})
    await settled(app).catch(() => {})
  }
}

/** What the cache was refused, all in all. */
async function refused (t: Test, rights: readonly string[], name = ''): Promise<string[]> {
  const redis = await clientWith(rights)
  const { options = {}, use } = USES[name] ?? {}
  const app = await cachedApp(t, { redis, prefix: 'shop', breakerThreshold: 0, ...options })
  const cache = { key: 'item:{id}', tags: ['items'], ttl: 60, staleWhileRevalidate: 60, staleIfError: 60 }
  app.get('/item/:id', { cache }, async (request, reply) => {
    reply.cacheTags('late')
    return request.params
  })
  app.get('/varied', { cache: { key: 'varied', vary: ['accept-language'], maxVariants: 1 } }, async (request) => request.headers)
  await app.ready()
  await useAll(app, use)
  await app.close()
  redis.disconnect()
  return await deniedSoFar()
}

t.test('they are enough', async (t) => {
  t.strictSame(await refused(t, USER), [])
  for (const [name, rights] of MORE) {
    t.strictSame(await refused(t, [...USER, ...rights], name), [], name)
    t.not((await refused(t, USER, name)).length, 0, `${name} needs more than others`)
  }
})

t.test('each of them is needed', async (t) => {
  const granted = USER.filter((right) => /^[+~]/.test(right))
  t.ok(granted.length > 15)
  for (const right of granted) {
    t.not((await refused(t, USER.filter((other) => other !== right))).length, 0, right)
  }
  for (const [name, rights] of MORE) {
    for (const right of rights) {
      t.not((await refused(t, [...USER, ...rights.filter((other) => other !== right)], name)).length, 0, `${name}: ${right}`)
    }
  }
})
