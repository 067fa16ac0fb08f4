// A server's time that steps back leaves names that end much later than they were to. A lease of a process that is dead must
// not keep anybody waiting for that long: leases last three seconds, so one that lasts longer is nobody's.
import { Cluster } from 'ioredis'
import t from 'tap'
import { LEASE_TIME, PASS_TIME } from '../../plugin/store/store.js'
import { MemoryStore } from '../../plugin/store/memory/memory.js'
import { beyondLookup, cachedApp, settled } from '../helpers/app.js'
import { NOTHING_SEEN } from '../helpers/plain-store.js'
import { startCluster, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const HOUR = 60 * 60_000
const DEAD = 'lease-of-a-process-that-is-dead'

for (const [name, start] of Object.entries({ redis: startRedis, cluster: startCluster })) {
  t.test(name, async (t) => {
    const server = await start()
    t.teardown(async () => { await server.stop() })
    const client = server.client()
    await client.ping()
    const app = await cachedApp(t, { redis: client, waitTimeout: '10s' })
    app.get('/:id', { cache: { key: '{id}' } }, async () => 'answer')
    app.get('/varied/:id', { cache: { key: 'varied:{id}', vary: ['accept-language'] } }, async () => 'answer')
    app.get('/stale/:id', { cache: { key: 'stale:{id}', staleWhileRevalidate: '1h' } }, async () => 'answer')
    await app.ready()
    const stored = async (url: string): Promise<boolean> => {
      await settled(app)
      return /hit/.test(String((await app.inject(url)).headers['cache-status']))
    }

    await t.test('a lease that is left over is taken', async (t) => {
      await client.set('lease:{cache:left}', DEAD, 'PX', HOUR)
      t.equal((await app.inject('/left')).headers['cache-status'], 'fastify-route-cache; fwd=miss')
      t.equal(await stored('/left'), true, 'and its key is filled')
    })

    await t.test('one that nobody waits for, likewise', async (t) => {
      await client.set('lease:{cache:passed}', `~${DEAD}`, 'PX', HOUR)
      await app.inject('/passed')
      t.equal(await stored('/passed'), true)
    })

    await t.test('what nobody was to wait for is refreshed again', async (t) => {
      for (const [id, left] of Object.entries({ sign: '~', token: `~${DEAD}` })) {
        await app.inject(`/stale/${id}`)
        await settled(app)
        await app.cache.invalidate(`stale:${id}`, { soft: true })
        await client.set(`lease:{cache:stale:${id}}`, left, 'PX', HOUR)
        const { refreshes } = app.cache.stats().total
        t.equal((await app.inject(`/stale/${id}`)).body, 'answer')
        await until(async () => app.cache.stats().total.refreshes > refreshes, `no refresh: ${id}`, 5_000)
        t.equal(await stored(`/stale/${id}`), true)
      }
    })

    await t.test('of a variant', async (t) => {
      await app.inject('/varied/1')
      await settled(app)
      const nodes = client instanceof Cluster ? client.nodes('master') : [client]
      const [name] = (await Promise.all(nodes.map(async (node) => await node.keys('{cache:varied:1}:v:*')))).flat()
      await client.del(name!)
      await client.set(`lease:${name}`, DEAD, 'PX', HOUR)
      await app.inject('/varied/1')
      t.equal(await stored('/varied/1'), true)
    })

    await t.test('who waits for one notices', async (t) => {
      await client.set('lease:{cache:waits}', 'of-a-process-that-fills', 'PX', LEASE_TIME)
      const waiting = app.inject('/waits')
      await beyondLookup(app)
      await client.set('lease:{cache:waits}', DEAD, 'PX', HOUR)
      await waiting
      t.equal(await stored('/waits'), true)
    })

    await t.test('a quarantine is none: it stays', async (t) => {
      await client.set('lease:{cache:shut}', `!${Date.now() + HOUR}@writer`, 'PX', HOUR)
      await app.inject('/shut')
      await settled(app)
      t.equal(await client.get('lease:{cache:shut}').then((held) => held?.startsWith('!')), true)
    })
  })
}

t.test('in this process, by the clock that it is given', async (t) => {
  let now = 10 * HOUR
  const store = new MemoryStore({ maxBytes: 1_000_000, now: () => now })
  t.type(await store.take('a', null, NOTHING_SEEN), 'object')
  const passed = await store.take('b', null, NOTHING_SEEN)
  if (typeof passed === 'string') throw new Error(passed)
  await store.release('b', passed, true)
  t.strictSame([await store.holder('a', null), await store.holder('b', null)], ['held', 'pass'])
  now -= Math.max(LEASE_TIME, PASS_TIME) + 1
  t.strictSame([await store.holder('a', null), await store.holder('b', null)], ['none', 'none'])
  t.type(await store.take('a', null, NOTHING_SEEN), 'object')
})
