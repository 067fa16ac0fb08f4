// What clients alone can make in Redis: its names end soon where nothing is stored, and are bounded where something is. And
// what is ended by its key does not stay there.
import { Cluster } from 'ioredis'
import t from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { FIRST_LIFE, LEASE_TIME } from '../../../plugin/store/store.js'
import { cachedApp, settled } from '../../helpers/app.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { until } from '../../helpers/until.js'

const MANY = 300

for (const [name, start] of Object.entries({ redis: startRedis, cluster: startCluster })) {
  t.test(name, async (t) => {
    const server = await start()
    t.teardown(async () => { await server.stop() })
    const client = server.client()
    await client.ping()
    const app = await cachedApp(t, { redis: client, maxVariants: 5 })
    const { cache, lines } = app

    /** Names and for how long they have to live yet, without those that there are once for all. */
    const names = async (): Promise<Array<[name: string, life: number]>> => {
      await settled(app)
      const nodes = client instanceof Cluster ? client.nodes('master') : [client]
      const all = (await Promise.all(nodes.map(async (node) => await node.keys('*')))).flat()
      const theirs = all.filter((name) => !name.includes('cache#floor')).sort()
      return await Promise.all(theirs.map(async (name): Promise<[string, number]> => [name, await client.pttl(name)]))
    }

    app.get('/users/:id', { cache: { tags: ['user:{id}', 'users'] } }, async ({ params }, reply) => {
      const { id } = params as { id: string }
      return id.startsWith('no') ? await reply.code(404).send('none') : id
    })
    app.get('/short/:id', { cache: { key: 'short:{id}', tags: ['brief:{id}'], ttl: 1 } }, async () => 'x')
    app.get('/tagged/:id', { cache: {} }, async ({ params }, reply) => {
      const { id } = params as { id: string }
      reply.cacheTags(`late:${id}`)
      return await reply.code(404).send('none')
    })
    app.get('/greeting/:id', { cache: { key: 'greeting:{id}' } }, async ({ headers }, reply) => {
      reply.header('vary', 'accept-language')
      return headers['accept-language']
    })
    app.get('/mine', { cache: { key: 'mine', identity: ({ headers }) => String(headers['x-user']), maxVariants: 2 } }, async () => 'mine')
    app.post('/users/:id', { cache: { invalidates: [{ tags: ['user:{id}'] }] } }, async () => 'changed')
    await app.ready()

    const greet = async (id: string, language: string): Promise<string> =>
      String((await app.inject({ url: `/greeting/${id}`, headers: { 'accept-language': language } })).headers['cache-status'])
    const bodies = async (key: string): Promise<string[]> =>
      (await names()).map(([name]) => name).filter((name) => name.startsWith(`{cache:${key}}`))

    await t.test('responses that are not stored leave nothing that lasts', async (t) => {
      for (let i = 0; i < MANY; i++) {
        await app.inject(`/users/no-${i}`)
        await app.inject(`/tagged/no-${i}`)
        await app.inject({ method: 'POST', url: `/users/never-read-${i}` })
      }
      const left = await names()
      t.ok(left.length >= MANY, 'names that a miss needs')
      t.strictSame(left.filter(([, life]) => life < 0 || life > FIRST_LIFE), [])
    })

    await t.test('names of tags end soon behind what they tag', async (t) => {
      const before = (await names()).length
      for (let i = 0; i < MANY; i++) await app.inject(`/short/${i}`)
      // Nobody waits for what prolongs them: where this is answered, all of that is.
      await client.ping()
      const brief = (await names()).filter(([name]) => name.includes('brief:'))
      t.equal(brief.filter(([name]) => name.includes('#tag:')).length, MANY)
      t.strictSame(brief.filter(([, life]) => life > 2 * FIRST_LIFE), [], 'not for a day, where the entry has a second')
      t.ok((await names()).length <= before + 2 * MANY)
    })

    await t.test('what is stored has its generations live as long', async (t) => {
      await app.inject('/users/1')
      const theirs = (await names()).filter(([name, life]) => life > FIRST_LIFE && !name.includes('brief:'))
      const lasting = theirs.map(([name]) => name)
      t.strictSame(lasting, ['cache#tag:user:1', 'cache#tag:users'])
      t.match((await app.inject('/users/1')).headers['cache-status'], /hit/)
      await app.inject({ method: 'POST', url: '/users/1' })
      t.ok(await client.pttl('cache#tag:user:1') > FIRST_LIFE, 'also when it is invalidated')
    })

    await t.test('a generation that ends while its handler runs is kept, as its lease is', async (t) => {
      let now = 1_000_000
      const keys = new Keys('slow')
      const store = new RedisStore({ client, keys, writeDeadline: 0, now: () => now })
      t.teardown(() => { store.close() })
      const { generations } = await store.read({ key: 'a', variant: null, tags: ['t'] })
      t.strictSame(generations, [null])
      const lease = await store.take('a', null, { tags: ['t'], missing: ['t'], bytes: null, marker: null })
      if (typeof lease === 'string') throw new Error(lease)
      await client.pexpire(keys.tag('t'), LEASE_TIME)
      t.equal(await store.renew('a', lease), true)
      await until(async () => await client.pttl(keys.tag('t')) > LEASE_TIME, 'it is kept')
      await client.pexpire(keys.tag('t'), LEASE_TIME)
      t.equal(await store.renew('a', lease), true)
      t.ok(await client.pttl(keys.tag('t')) <= LEASE_TIME, 'not with each renewal')
      now += FIRST_LIFE / 2
      t.equal(await store.renew('a', lease), true)
      await until(async () => await client.pttl(keys.tag('t')) > LEASE_TIME, 'it is kept again')
    })

    await t.test('the variants of a key are bounded, and the log says so', async (t) => {
      for (let i = 0; i < 12; i++) {
        await greet('1', `l${i}`)
        await settled(app)
      }
      t.equal((await bodies('greeting:1')).length, 5 + 1, 'and their list')
      t.match(await greet('1', 'l11'), /hit/)
      t.match(await greet('1', 'l7'), /hit/)
      t.match(await greet('1', 'l6'), /miss/)
      t.match(lines.filter(({ level }) => Number(level) >= 40), [{ msg: /more variants than maxVariants/, key: 'greeting:1', maxVariants: 5 }])
      for (const user of ['a', 'b', 'c']) {
        await app.inject({ url: '/mine', headers: { 'x-user': user } })
        await settled(app)
      }
      t.equal((await bodies('mine')).length, 2 + 1, 'as the route says')
    })

    await t.test('what else is gone when a call resolves, and what stays until its life is over', async (t) => {
      await app.inject('/users/9')
      const key = (await names()).map(([name]) => name).find((name) => name.startsWith('cache:') && name.includes('9'))!
      const isThere = async (): Promise<boolean> => await client.exists(key) === 1
      t.equal(await isThere(), true)
      await cache.invalidate({ tags: ['user:9'] })
      t.equal(await isThere(), true, 'by a tag it stays, though nothing serves it')
      t.match((await app.inject('/users/9')).headers['cache-status'], /miss/)
      await settled(app)
      await cache.invalidate(key.slice('cache:'.length))
      t.equal(await isThere(), false)
      await cache.getOrSet('value:9', { ttl: 60 }, () => 'mine')
      await settled(app).catch(() => {})
      t.equal(await client.exists('{cache:value:9}:value'), 1)
      await cache.invalidate('value:9')
      t.equal(await client.exists('{cache:value:9}:value'), 0)
    })

    await t.test('a variant that is stored while its prefix is invalidated stays listed', async (t) => {
      const nodes = client instanceof Cluster ? client.nodes('master') : [client]
      const late = new Set(['fr', 'it'])
      for (const language of ['de', 'en']) await greet('late', language)
      const own = nodes.map((node) => node.scan)
      for (const node of nodes) {
        const scan = node.scan.bind(node) as (...args: unknown[]) => Promise<[string, string[]]>
        Object.assign(node, {
          scan: async (...args: unknown[]) => {
            const reply = await scan(...args)
            if (!reply[1].some((name) => name.endsWith('}:variants'))) return reply
            // The reply is there, but not acted upon: others store meanwhile.
            for (const language of late) {
              late.delete(language)
              await greet('late', language)
              await settled(app)
            }
            return reply
          }
        })
      }
      await cache.invalidate({ prefix: 'greeting:lat' })
      nodes.forEach((node, i) => { node.scan = own[i]! })
      t.equal(late.size, 0, 'they were stored')
      await greet('late', 'es')
      await settled(app)
      await cache.invalidate('greeting:late')
      t.strictSame(await bodies('greeting:late'), [])
    })

    for (const [what, end] of Object.entries<(key: string) => Promise<unknown>>({
      'its key': async (key) => { await cache.invalidate(key) },
      'its key among others': async (key) => { await cache.invalidate({ keys: [key, 'other'], tags: ['users'] }) },
      'its prefix': async (key) => { await cache.invalidate({ prefix: key.slice(0, -1) }) },
      softly: async (key) => { await cache.invalidate({ keys: [key] }, { soft: true }) },
      'a mutation': async (key) => { await cache.mutate({ keys: [key] }, async () => {}) },
      'a response that does not vary': async (key) => {
        await cache.set(key, async () => 'plain', { route: `/greeting/${key.slice('greeting:'.length)}` })
      }
    })) {
      await t.test(`variants that were invalidated are gone: ${what}`, async (t) => {
        const key = `greeting:${what.replaceAll(' ', '-')}`
        for (const language of ['de', 'en', 'fr']) await greet(key.slice('greeting:'.length), language)
        t.equal((await bodies(key)).length, 3 + 1)
        await end(key)
        t.strictSame((await bodies(key)), [])
      })
    }
  })
}

t.test('maxVariants is a number of them', async (t) => {
  for (const maxVariants of [0, -1, 1.5, NaN, Infinity, '5', null, 100_001]) {
    await t.rejects(cachedApp(t, { maxVariants: maxVariants as number }), { code: 'FRC_OPTION', message: /maxVariants.*from 1 to 100000/s })
    const app = await cachedApp(t, {})
    t.throws(() => app.get('/', { cache: { maxVariants: maxVariants as number } }, async () => ''), {
      code: 'FRC_OPTION', message: /route GET \/: .*cache\.maxVariants/s
    })
  }
})
