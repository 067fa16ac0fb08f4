// Between a lookup that found nothing and its lease, somebody else may have filled: then the handler need not run again. The
// gate stands at the lease, in the client of the second of two processes.
import t from 'tap'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { beyondLookup, cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'

/** The client, with a gate in front of the lease of `k`, and of its variants. */
function gatedLease (redis: RedisClient, wait: () => Promise<void>): RedisClient {
  return new Proxy(redis, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'evalsha') return method.bind(target)
      return async (...args: Parameters<RedisClient['evalsha']>) => {
        if (/^lease:\{.*:k\}/.test(String(args[2]))) await wait()
        return await target.evalsha(...args)
      }
    }
  })
}

/** The client, which hears later that a lease became one that nobody waits for. */
function deafToPass (redis: RedisClient, wait: () => Promise<void>): RedisClient {
  return new Proxy(redis, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'evalsha' && name !== 'eval') return method.bind(target)
      return async (...args: Parameters<RedisClient['evalsha']>) => {
        const reply = await target[name](...args)
        // The token from then on.
        if (String(args[5]).startsWith('~')) await wait()
        return reply
      }
    }
  })
}

t.test('what was filled between lookup and lease is served', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const [redis, other] = [server.client(), server.client()]
  await Promise.all([redis.ping(), other.ping()])
  let cases = 0
  const both = async (): Promise<{ a: CachedApp, b: CachedApp, lease: ReturnType<typeof gate>, runs: string[] }> => {
    const prefix = `case-${++cases}`
    const lease = gate()
    const a = await cachedApp(t, { redis, prefix })
    const b = await cachedApp(t, { redis: gatedLease(other, lease.wait), prefix })
    const runs: string[] = []
    for (const [name, app] of Object.entries({ a, b })) {
      app.get('/', { cache: { key: 'k', tags: ['t'] } }, async (request, reply) => {
        runs.push(name)
        if ('accept-language' in request.headers) reply.header('vary', 'accept-language')
        return `${name}${runs.length}`
      })
    }
    return { a, b, lease, runs }
  }

  for (const headers of [{}, { 'accept-language': 'de' }]) {
    const kind = 'accept-language' in headers ? 'a variant' : 'the entry'
    await t.test(`${kind}, where there was none`, async (t) => {
      const { a, b, lease, runs } = await both()
      const asked = b.inject({ url: '/', headers })
      await lease.reached
      await a.inject({ url: '/', headers })
      await settled(a)
      lease.open()
      t.match(await asked, { body: 'a1', headers: { 'cache-status': /; ttl=/ } })
      t.strictSame(runs, ['a'])
    })

    await t.test(`${kind}, where there was an outdated one`, async (t) => {
      const { a, b, lease, runs } = await both()
      await a.inject({ url: '/', headers })
      await settled(a)
      await a.cache.invalidate({ tags: ['t'] })
      const asked = b.inject({ url: '/', headers })
      await lease.reached
      await a.inject({ url: '/', headers })
      await settled(a)
      lease.open()
      t.match(await asked, { body: 'a2', headers: { 'cache-status': /; ttl=/ } })
      t.strictSame(runs, ['a', 'a'])
    })
  }

  await t.test('what was removed in between is filled', async (t) => {
    const { a, b, lease, runs } = await both()
    await a.inject('/')
    await settled(a)
    await a.cache.invalidate({ tags: ['t'] })
    const asked = b.inject('/')
    await lease.reached
    await a.cache.invalidate('k')
    lease.open()
    t.match(await asked, { body: 'b2' })
    t.strictSame(runs, ['a', 'b'])
    await settled(b)
    t.match(b.cache.stats().total, { stores: 1 })
  })

  await t.test('a client that asks for a fresh one gets it', async (t) => {
    const prefix = `case-${++cases}`
    const lease = gate()
    const b = await cachedApp(t, { redis: gatedLease(other, lease.wait), prefix })
    const a = await cachedApp(t, { redis, prefix })
    for (const [name, app] of Object.entries({ a, b })) {
      app.get('/', { cache: { key: 'k', honourNoCache: true } }, async () => name)
    }
    const asked = b.inject({ url: '/', headers: { 'cache-control': 'no-cache' } })
    await lease.reached
    await a.inject('/')
    await settled(a)
    lease.open()
    t.equal((await asked).body, 'b')
  })
})

t.test('a handler that answers while its lease is renewed as one that nobody waits for: its answer is stored', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const renewal = gate()
  const app = await cachedApp(t, { redis: deafToPass(server.client(), renewal.wait), waitTimeout: 1 })
  const handler = gate()
  app.get('/', { cache: { key: 'k' } }, async () => {
    await handler.wait()
    return 'x'
  })
  const asked = app.inject('/')
  await renewal.reached
  handler.open()
  t.equal((await asked).body, 'x')
  await beyondLookup(app)
  renewal.open()
  await settled(app)
  t.match(app.cache.stats().total, { stores: 1, refusals: {} })
  t.match((await app.inject('/')).headers['cache-status'], /hit/)
})
