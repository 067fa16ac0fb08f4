// A primary that sentinels replace, and an ioredis client that they tell of it: one object, which connects to another server
// when its connection ends. What was lost with the old primary, and what an old one says until it is stopped.
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../../plugin/index.js'
import { cachedApp, settled, told, type CachedApp } from '../../helpers/app.js'
import { startSentinel, type RedisSentinel, type RedisServer } from '../../helpers/redis.js'
import { sharedClient } from './shared-client.js'

/** Four entries, and how each of them is invalidated. */
const TARGETS = {
  key: 'page:key', tag: { tags: ['page:tag'] }, prefix: { prefix: 'page:prefix' }, all: { all: true }
} as const
const NAMES = Object.keys(TARGETS) as (keyof typeof TARGETS)[]

interface Site {
  app: CachedApp
  /** Asks for all of them: what each was answered, and how. */
  ask: () => Promise<string[]>
  /** Resolves once its client is connected again. */
  back: () => Promise<unknown>
}

/** Apps of one database: every handler answers what `state.now` is. */
function sites (t: Test, group: RedisSentinel): {
  state: { now: string }
  open: (client?: { failoverDetector?: boolean }, options?: RouteCacheOptions) => Promise<Site>
} {
  const state = { now: 'old' }
  const open = async (client = {}, options = {}): Promise<Site> => {
    const redis = group.client(client)
    await redis.ping()
    const app = await cachedApp(t, { redis, deadline: 1, writeDeadline: 5, ...options })
    app.get('/:name', { cache: { key: 'page:{name}', tags: ['page:{name}'] } }, async () => state.now)
    const ask = async (): Promise<string[]> => await Promise.all(NAMES.map(async (name) => {
      const { body, headers } = await app.inject(`/${name}`)
      return `${name}: ${body}, ${/hit|bypass/.exec(String(headers['cache-status']))?.[0] ?? 'miss'}`
    }))
    return { app, ask, back: async () => await redis.ping() }
  }
  return { state, open }
}

function all (answer: string): string[] {
  return NAMES.map((name) => `${name}: ${answer}`)
}

async function group (t: Test): Promise<RedisSentinel> {
  const started = await startSentinel()
  t.teardown(async () => { await started.stop() })
  return started
}

/** From here on, what is written does not reach the replica. */
async function loseTouch (primary: RedisServer, replica: RedisServer): Promise<void> {
  await replica.pause()
  await primary.ask('CLIENT', 'KILL', 'TYPE', 'replica')
}

/** Kills the primary; its replica is promoted as it is. */
async function failOver (group: RedisSentinel, primary: RedisServer, replica: RedisServer): Promise<void> {
  await primary.kill()
  replica.resume()
  await group.replaced(primary)
}

async function filled ({ app, ask }: Site): Promise<void> {
  await ask()
  await settled(app)
}

t.jobs = 2

t.test('what was invalidated and lost with the primary is not served', { buffered: true }, async (t) => {
  const sentinels = await group(t)
  const [first, second] = sentinels.servers as [RedisServer, RedisServer]
  const { state, open } = sites(t, sentinels)
  const [one, other] = [await open(), await open()]
  await filled(one)
  t.strictSame(await other.ask(), all('old, hit'))
  await sentinels.synced()

  await loseTouch(first, second)
  state.now = 'new'
  for (const name of NAMES) await other.app.cache.invalidate(TARGETS[name])
  await failOver(sentinels, first, second)
  t.ok(await second.client().exists('cache:page:key', 'cache:page:tag', 'cache:page:prefix'), 'they lie there again')
  await Promise.all([one.back(), other.back()])
  t.match(await Promise.all([one.ask(), other.ask()]), [all('new'), all('new')].map((list) => list.map((text) => new RegExp(text))))
  // Of the two, the one that did not begin the new history tells it again what it had invalidated.
  await Promise.all([one, other].map(async ({ app }) => { await told(app) }))
  await filled(one)
  t.strictSame(await other.ask(), all('new, hit'), 'and caching goes on')
  t.strictSame(await (await open()).ask(), all('new, hit'), 'also for who comes anew')

  await first.restart()
  await sentinels.ready()
  t.strictSame(await other.ask(), all('new, hit'), 'the old primary has come back as a replica')
  state.now = 'newer'
  await one.app.cache.invalidate({ all: true })
  await filled(other)
  t.strictSame(await one.ask(), all('newer, hit'))
})

t.test('nor by a primary that was one before, when it was another history', { buffered: true }, async (t) => {
  const sentinels = await group(t)
  const [first, second] = sentinels.servers as [RedisServer, RedisServer]
  const { state, open } = sites(t, sentinels)
  const site = await open()
  await filled(site)
  await sentinels.synced()

  await sentinels.handOver()
  await sentinels.replaced(first)
  await sentinels.ready()
  await site.back()
  // What the second says of itself is lost to the first as well.
  await loseTouch(second, first)
  await filled(site)
  t.strictSame(await site.ask(), all('old, hit'))
  state.now = 'new'
  for (const name of NAMES) await site.app.cache.invalidate(TARGETS[name])
  await failOver(sentinels, second, first)
  t.ok(await first.client().exists('cache:page:key'), 'it runs since before, and has the old one')
  await site.back()
  t.notMatch((await site.ask()).join(), 'old')
})

t.test('a primary that stood still is left', { buffered: true }, async (t) => {
  const sentinels = await group(t)
  const [first, second] = sentinels.servers as [RedisServer, RedisServer]
  const { state, open } = sites(t, sentinels)
  const [detecting, other] = [await open({ failoverDetector: true }), await open()]
  t.strictSame([detecting, other].map(({ app }) => app.lines.filter(({ msg }) => /failoverDetector/.test(String(msg))).length), [0, 1],
    'who does not listen to the sentinels is told so at start')
  await filled(detecting)
  t.strictSame(await other.ask(), all('old, hit'))
  await sentinels.synced()

  await first.pause()
  t.equal(await sentinels.replaced(first), second)
  state.now = 'new'
  const anew = await open()
  await anew.app.cache.invalidate({ all: true })
  first.resume()
  await detecting.back()
  t.notMatch((await detecting.ask()).join(), 'old', 'at once, by a client that listens to the sentinels')
  await sentinels.ready()
  await other.back()
  t.notMatch((await other.ask()).join(), 'old', 'when it is made a replica, by any: its connections are ended with it')
  await filled(other)
  t.strictSame(await detecting.ask(), all('new, hit'))
})

t.test('a failover that is trusted, with replicas that are waited for', { buffered: true }, async (t) => {
  const sentinels = await group(t)
  const [first, second] = sentinels.servers as [RedisServer, RedisServer]
  await t.test('many caches on one client', async (t) => {
    const client = sentinels.client()
    await client.ping()
    await sharedClient(t, client, async () => {
      const left = new Promise((resolve) => client.once('close', resolve))
      await first.ask('CLIENT', 'KILL', 'TYPE', 'normal')
      await left
      await client.ping()
    })
  })
  const { state, open } = sites(t, sentinels)
  const site = await open({}, { trustFailover: true, waitForReplicas: 1 })
  await filled(site)
  await sentinels.synced()
  state.now = 'new'
  await site.app.cache.invalidate([TARGETS.key])
  await site.app.cache.invalidate(TARGETS.tag)
  await loseTouch(first, second)
  await t.rejects(site.app.cache.invalidate(TARGETS.prefix), { code: 'FRC_REPLICAS', message: /of 1 replicas only 0/ })
  await failOver(sentinels, first, second)
  await site.back()
  t.notMatch((await site.ask())[2], 'old', 'what the replica had not confirmed it is told again')
  await told(site.app)
  t.match(await site.ask(), [/key: new/, /tag: new/, /prefix: new/, /all: old, hit/])
})
