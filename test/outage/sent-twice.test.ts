// A client whose connection is cut sends again what was under way, also what the server had done, and hears only the
// second reply. So here each script is sent twice in a row: of two processes on a cold key one runs the handler and stores,
// and neither waits for a lease that is its own.
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { beyondLookup, cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startCluster, startRedis } from '../helpers/redis.js'
import { timed } from '../helpers/timed.js'

/** What a lease lasts that nobody renews: who waited for its own would wait so long. */
const LEASE_TIME = 3_000

/** Sends each script twice; the first reply is lost. */
function twice<T extends object> (client: T): T {
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'evalsha' && name !== 'eval') return method.bind(target)
      return async (...args: unknown[]): Promise<unknown> => {
        const [, second] = await Promise.allSettled([method.apply(target, args), method.apply(target, args)])
        if (second!.status === 'rejected') throw second!.reason
        return second!.value
      }
    }
  })
}

interface Process { app: CachedApp, runs: () => number }

/** An app whose handlers are held where there is a gate. */
async function start (t: Test, redis: unknown, held: () => Promise<void>): Promise<Process> {
  const app = await cachedApp(t, { redis: redis as Redis, prefix: 'twice' })
  let runs = 0
  const run = async (): Promise<string> => {
    runs++
    await held()
    return 'answer'
  }
  app.get('/plain', { cache: { key: 'plain' } }, run)
  app.get('/tagged', { cache: { key: 'tagged', tags: ['of-route'] } }, async (_, reply) => {
    reply.cacheTags('of-response')
    return await run()
  })
  app.get('/told-apart', { cache: { key: 'told-apart', vary: ['accept-language'] } }, run)
  app.get('/varying', { cache: { key: 'varying' } }, async (_, reply) => {
    reply.header('vary', 'accept-language')
    return await run()
  })
  app.get('/value', async () => await app.cache.getOrSet('value', { ttl: 60 }, run))
  return { app, runs: () => runs }
}

async function sentTwice (t: Test, client: () => Promise<object>): Promise<void> {
  let held = async (): Promise<void> => {}
  const wait = async (): Promise<void> => { await held() }
  const [a, b] = [await start(t, twice(await client()), wait), await start(t, twice(await client()), wait)]
  const runs = (): number => a.runs() + b.runs()
  const stored = async (): Promise<number> => {
    await Promise.all([settled(a.app), settled(b.app)])
    return a.app.cache.stats().total.stores + b.app.cache.stats().total.stores
  }

  for (const url of ['/plain', '/tagged', '/told-apart', '/varying', '/value']) {
    await t.test(`a cold key is filled by its first run: ${url}`, async (t) => {
      const before = { runs: runs(), stored: await stored() }
      const { wait, reached, open } = gate()
      held = wait
      const first = a.app.inject(url)
      const start = await timed(async () => { await reached })
      t.ok(start.time < LEASE_TIME + start.late, 'its handler has not waited for its own lease')
      const others = [b.app.inject(url), b.app.inject(url), a.app.inject(url)]
      await beyondLookup(a.app)
      await beyondLookup(b.app)
      open()
      const end = await timed(async () => await Promise.all([first, ...others]))
      for (const { body } of end.result) t.equal(body, 'answer')
      t.ok(end.time < LEASE_TIME + end.late, 'nobody has')
      t.equal(await stored(), before.stored + 1)
      await Promise.all([a, b].map(async ({ app }) => await app.inject(url)))
      t.equal(runs(), before.runs + 1, 'and it is served to all')
    })
  }

  await t.test('what is set is stored, and not taken for lost', async (t) => {
    held = async () => {}
    const before = runs()
    await a.app.cache.set('plain', async () => 'written', { route: '/plain' })
    for (const { app } of [a, b]) t.equal((await app.inject('/plain')).body, 'written')
    t.equal(runs(), before)
  })
}

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  await sentTwice(t, async () => {
    const client = server.client()
    await client.ping()
    return client
  })
})

t.test('cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  await sentTwice(t, async () => {
    const client = cluster.client()
    await client.ping()
    return client
  })
})
