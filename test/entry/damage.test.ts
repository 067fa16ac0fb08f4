// What lies under a key's name and is no entry of ours: a miss, counted, and overwritten by the next fill.
import { Cluster, type Redis } from 'ioredis'
import { randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'
import { extent } from '../helpers/extent.js'
import { startCluster, startRedis } from '../helpers/redis.js'

/** Of so many bits one is flipped, of which chance decides. */
const STEP = extent(6, 1)
/** Compressed entries. */
const COUNT = extent(500, 3_000)

async function appOn (t: Test, redis: Redis | Cluster): Promise<CachedApp> {
  const app = await cachedApp(t, { redis })
  app.get('/:id', { cache: { key: 'k:{id}', ttl: '1h' } }, async (request, reply) => {
    const { id } = request.params as { id: string }
    return await reply.header('x-a', `a${id}`).send(`body of ${id}`)
  })
  await app.ready()
  return app
}

/** Under a name: written over what is there. */
const FOREIGN: Record<string, (redis: Redis | Cluster, name: string, bytes: Buffer) => Promise<unknown>> = {
  'nothing but a string': async (redis, name) => await redis.set(name, 'hello'),
  'an empty string': async (redis, name) => await redis.set(name, ''),
  'the first half': async (redis, name, bytes) => await redis.set(name, bytes.subarray(0, bytes.length / 2)),
  'a byte more': async (redis, name, bytes) => await redis.set(name, Buffer.concat([bytes, Buffer.of(0)])),
  'another version': async (redis, name, bytes) => await redis.set(name, Buffer.concat([Buffer.of(bytes[0]! + 1), bytes.subarray(1)])),
  "another key's entry": async (redis, name) => await redis.set(name, (await redis.getBuffer('cache:k:2'))!),
  'a marker that is cut': async (redis, name, bytes) => await redis.set(name, Buffer.of(bytes[0]! + 128, 1, 2)),
  'a hash': async (redis, name) => { await redis.del(name); await redis.hset(name, 'a', 'b') },
  'a list': async (redis, name) => { await redis.del(name); await redis.rpush(name, 'b') }
}

for (const kind of ['standalone', 'Cluster'] as const) {
  t.test(kind, async (t) => {
    const server = kind === 'Cluster' ? await startCluster() : await startRedis()
    t.teardown(async () => { await server.stop() })
    const redis = server.client()
    await redis.ping()
    const app = await appOn(t, redis)
    await app.inject('/2')
    for (const [what, write] of Object.entries(FOREIGN)) {
      await app.inject('/1')
      await settled(app)
      const before = app.cache.stats().total
      await write(redis, 'cache:k:1', (await redis.getBuffer('cache:k:1'))!)
      t.match(await app.inject('/1'), { statusCode: 200, body: 'body of 1', headers: { 'cache-status': /fwd=miss/ } }, what)
      await settled(app)
      t.match(await app.inject('/1'), { body: 'body of 1', headers: { 'cache-status': /hit/ } }, `${what} is overwritten`)
      const { unreadable, errors } = app.cache.stats().total
      t.equal(errors, before.errors, 'no error')
      // Redis' MGET gives nothing for what is no string.
      if (!/hash|list/.test(what)) t.equal(unreadable, before.unreadable + 1, `${what} is counted`)
    }
  })
}

t.test("another variant's entry is a miss", async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  const app = await cachedApp(t, { redis })
  app.get('/', { cache: { key: 'k', identity: ({ headers }) => String(headers['x-who']) } }, async ({ headers }) => headers['x-who'])
  const ask = async (who: string): Promise<string> => {
    const { body, headers } = await app.inject({ url: '/', headers: { 'x-who': who } })
    await settled(app)
    return `${body}: ${/hit|miss/.exec(String(headers['cache-status']))![0]}`
  }
  t.equal(await ask('ann'), 'ann: miss')
  const [ann] = await redis.keys('{cache:k}:v:*')
  t.equal(await ask('bob'), 'bob: miss')
  const bob = (await redis.keys('{cache:k}:v:*')).find((name) => name !== ann)!
  await redis.copy(ann!, bob, 'REPLACE')
  t.equal(await ask('bob'), 'bob: miss')
  t.equal(await ask('bob'), 'bob: hit')
  t.equal(await ask('ann'), 'ann: hit')
})

t.test('an entry with one bit flipped in Redis, one after the other: a miss, or what it was', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await appOn(t, redis)
  // All entries have the same length: one entry for each bit that is flipped.
  const pathOf = (id: number): string => `/${String(id).padStart(5, '0')}`
  const bitsOf = async (id: number): Promise<number> => await redis.strlen(`cache:k:${pathOf(id).slice(1)}`) * 8
  await app.inject(pathOf(0))
  await settled(app)
  const bits = await bitsOf(0)
  const ids = Array.from({ length: Math.floor(bits / STEP) }, (_, id) => id)
  const answers = async (): Promise<Array<Record<'body' | 'a' | 'etag' | 'status', unknown>>> => {
    const all = []
    for (let from = 0; from < ids.length; from += 100) {
      const some = await Promise.all(ids.slice(from, from + 100).map(async (id) => await app.inject(pathOf(id))))
      for (const { body, headers } of some) {
        all.push({ body, a: headers['x-a'], etag: headers.etag, status: String(headers['cache-status']) })
      }
    }
    await settled(app)
    return all
  }
  const first = await answers()
  t.ok(bits > 1_000, `${bits} bits`)
  await Promise.all(ids.map(async (id) => {
    if (await bitsOf(id) !== bits) t.fail(`${id} has another length`)
    const name = `cache:k:${pathOf(id).slice(1)}`
    const at = id * STEP + randomInt(STEP)
    await redis.setbit(name, at, 1 - await redis.getbit(name, at))
  }))
  const damaged = await answers()
  let misses = 0
  for (const id of ids) {
    const { body, a, etag, status } = damaged[id]!
    if (body !== first[id]!.body || a !== first[id]!.a || etag !== first[id]!.etag) t.fail(`${id} has another answer`)
    if (/fwd=miss/.test(status as string)) misses++
    else if (!/hit/.test(status as string)) t.fail(`${id}: ${String(status)}`)
  }
  t.ok(misses > ids.length * 0.9, `${misses} misses: all but those with a bit of an instant that is not checked`)
  t.match(app.cache.stats().total, { errors: 0, misses: ids.length + misses })
  for (const { status } of await answers()) if (!/hit/.test(status as string)) t.fail(`afterwards: ${String(status)}`)
})

t.test(`${COUNT} compressed entries with one bit flipped in Redis: a miss, or what it was`, async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis })
  app.get('/:id', { cache: { key: 'k:{id}', ttl: '1h', compress: { threshold: 1 } } }, async (request) => {
    const { id } = request.params as { id: string }
    return { text: `body of ${id}, `.repeat(10) }
  })
  await app.ready()
  const ids = Array.from({ length: COUNT }, (_, id) => id)
  const answers = async (): Promise<Array<{ is: string, coding: unknown, etag: unknown, bytes: string }>> => {
    const all = []
    for (let from = 0; from < ids.length; from += 100) {
      const some = await Promise.all(ids.slice(from, from + 100).map(async (id) => {
        return await app.inject({ url: `/${id}`, headers: { 'accept-encoding': ['br', 'gzip', 'identity'][id % 3]! } })
      }))
      for (const { rawPayload, headers } of some) {
        const is = /hit|fwd=miss/.exec(String(headers['cache-status']))?.[0] ?? ''
        all.push({ is, coding: headers['content-encoding'], etag: headers.etag, bytes: rawPayload.toString('latin1') })
      }
      // Bodies are compressed one after the other: thousands that wait would have to keep their leases that long.
      await settled(app)
    }
    return all
  }
  const [misses, first] = [await answers(), await answers()]
  t.strictSame(first.slice(0, 3).map(({ is, coding }) => [is, coding]), [['hit', 'br'], ['hit', 'gzip'], ['hit', undefined]])
  await Promise.all(ids.map(async (id) => {
    const at = randomInt(await redis.strlen(`cache:k:${id}`) * 8)
    await redis.setbit(`cache:k:${id}`, at, 1 - await redis.getbit(`cache:k:${id}`, at))
  }))
  const damaged = await answers()
  for (const id of ids) {
    const expected = damaged[id]!.is === 'hit' ? first[id] : misses[id]
    if (JSON.stringify(damaged[id]) !== JSON.stringify(expected)) t.fail(`${id} has another answer: ${JSON.stringify(damaged[id])}`)
  }
  const missed = damaged.filter(({ is }) => is === 'fwd=miss').length
  t.ok(missed > 0.85 * COUNT, `${missed} misses: all but those with a bit of an instant that is not checked`)
  t.match(app.cache.stats().total, { errors: 0, misses: COUNT + missed })
  t.strictSame(await answers(), first, 'afterwards they are what they were')
})
