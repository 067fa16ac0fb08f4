// An app that closes: nobody waits for what won't be stored, leases go back, and nothing is left.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { beyondLookup, cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

interface Parts { app: CachedApp, redis: Redis, running: ReturnType<typeof gate> }

/** A route whose first handler waits at a gate. */
async function parts (t: Test): Promise<Parts> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis })
  const running = gate()
  let runs = 0
  app.get('/', { cache: { key: 'k' } }, async () => {
    const run = ++runs
    if (run === 1) await running.wait()
    return `run ${run}`
  })
  return { app, redis, running }
}

const names = async (redis: Redis): Promise<string[]> => (await redis.keys('*')).filter((name) => !name.includes('#')).sort()

t.test('a handler that has not answered: its lease goes back, who waits for it runs its own, its answer is not stored', async (t) => {
  const { app, redis, running } = await parts(t)
  const first = app.inject('/')
  await running.reached
  const second = app.inject('/')
  await beyondLookup(app)
  t.strictSame(await names(redis), ['lease:{cache:k}'])
  await app.close()
  t.equal((await second).body, 'run 2')
  t.strictSame(await names(redis), [])
  running.open()
  t.equal((await first).body, 'run 1')
  await settled(app)
  t.strictSame(await names(redis), [])
  t.match(app.cache.stats().total, { misses: 2, stores: 0, errors: 0, refusals: { disabled: 1, lease: 1 } })
})

t.test('a lease that Redis gives while the app closes goes back', async (t) => {
  const { app, redis, running } = await parts(t)
  app.get('/other', { cache: { key: 'other' } }, async () => 'other')
  await app.inject('/other')
  await settled(app)
  const taken = gate()
  const { evalsha } = redis
  redis.evalsha = async (...args: unknown[]) => {
    const answer = await evalsha.apply(redis, args as Parameters<typeof evalsha>)
    await taken.wait()
    return answer
  }
  const first = app.inject('/')
  await taken.reached
  const second = app.inject('/')
  await beyondLookup(app)
  const closing = app.close()
  await running.reached
  taken.open()
  t.equal((await first).body, 'run 2')
  await closing
  for (let i = 0; i < 20; i++) await redis.ping()
  t.strictSame(await names(redis), ['cache:other'])
  running.open()
  t.equal((await second).body, 'run 1', 'it waited no more')
  await settled(app)
  t.match(app.cache.stats().total, { misses: 3, stores: 1, errors: 0 })
})

t.test('a refresh that hangs is given up, so that the process can end', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const app = await cachedApp(t)
  const running = gate()
  let runs = 0
  app.get('/', { cache: { key: 'k', staleWhileRevalidate: 60 } }, async () => {
    if (++runs > 1) await running.wait()
    return 'x'
  })
  await app.inject('/')
  await settled(app)
  await app.cache.invalidate('k', { soft: true })
  const before = timers()
  await app.inject('/')
  await running.reached
  await app.close()
  t.equal(timers(), before)
  running.open()
  await settled(app)
  t.match(app.cache.stats().total, { refreshes: 1, stores: 1 })
})

t.test('who waits for another process', async (t) => {
  const { app, redis, running } = await parts(t)
  const other = await cachedApp(t, { redis })
  let runs = 0
  other.get('/', { cache: { key: 'k' } }, async () => `other run ${++runs}`)
  const first = app.inject('/')
  await running.reached
  const second = other.inject('/')
  await beyondLookup(other)
  await other.close()
  t.equal((await second).body, 'other run 1')
  t.strictSame(await names(redis), ['lease:{cache:k}'], 'whose lease is not ours')
  running.open()
  await first
})

t.test('when it is closed there are no timers, no listeners, and nothing is asked', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const events = ['ready', 'close', 'end', 'error', 'connect', 'reconnecting', '+node', '-node']
  const listeners = (): string => JSON.stringify(events.map((event) => [event, redis.listenerCount(event)]))
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = { listeners: listeners(), timers: timers() }
  const rejections: unknown[] = []
  const reject = (error: unknown): void => { rejections.push(error) }
  process.on('unhandledRejection', reject)
  for (let i = 0; i < 20; i++) {
    const app = await cachedApp(t, { redis })
    app.get('/', { cache: { key: 'k', ttl: 600, staleWhileRevalidate: 600 } }, async () => 'x')
    app.get('/hanging/:id', { cache: { key: 'h:{id}' } }, (_request, reply) => { reply.raw.on('close', () => {}) })
    await app.inject('/')
    await app.cache.invalidate('k', { soft: true })
    await app.inject('/')
    await app.cache.mutate('k', () => {})
    for (let id = 0; id < 5; id++) app.inject(`/hanging/${id}`).catch(() => {})
    await beyondLookup(app)
    await app.close()
  }
  let commands = 0
  const asked = (): void => { commands++ }
  subscribe('ioredis:command', asked)
  const { sendCommand } = redis
  redis.sendCommand = (...args) => { commands++; return sendCommand.apply(redis, args) }
  for (let i = 0; i < 20; i++) await turn()
  await new Promise((resolve) => setTimeout(resolve, 1_200))
  redis.sendCommand = sendCommand
  unsubscribe('ioredis:command', asked)
  process.off('unhandledRejection', reject)
  t.equal(commands, 0, 'no lease is renewed')
  t.strictSame(rejections, [])
  t.equal(listeners(), before.listeners)
  t.ok(timers() <= before.timers, `${timers()} timers, ${before.timers} before`)
})
