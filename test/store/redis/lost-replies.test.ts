// The server has done what it was sent, and its reply is lost for good: the client has given up, or the time was over. Then
// nobody knows whether a lease was taken, or marked as one that nobody is to wait for. It must not keep others waiting, nor
// must its holder be refused.
import type { Redis } from 'ioredis'
import t from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { ADVANCE } from '../../../plugin/store/redis/joint-scripts.js'
import type { Script } from '../../../plugin/store/redis/script.js'
import { RENEW, SEIZE, TAKE, TAKE_FIRST } from '../../../plugin/store/redis/scripts.js'
import { encodeMarker } from '../../../plugin/entry/entry.js'
import type { Lease } from '../../../plugin/store/store.js'
import { NOTHING_SEEN, leaseOf } from '../../helpers/plain-store.js'
import { gate } from '../../helpers/app.js'
import { startRedis } from '../../helpers/redis.js'

const FILL = { bytes: Buffer.from('bytes'), life: 60_000, varied: null, tags: [], unreadTags: [] }

async function hashOf (script: Script): Promise<string> {
  return await new Promise((resolve) => {
    script.run({ evalsha: async (sha: string) => { resolve(sha) } } as never, [], []).catch(() => {})
  })
}

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client: Redis = server.client()
  await client.ping()
  let lost = ''
  const losing = new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'evalsha') return method.bind(target)
      return async (sha: string, ...rest: [number, ...string[]]) => {
        const reply = await target.evalsha(sha, ...rest)
        if (sha !== lost) return reply
        lost = ''
        throw new Error('the reply is lost')
      }
    }
  }) as unknown as RedisClient
  const store = new RedisStore({ client: losing, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now })
  const direct = client as unknown as RedisClient
  const other = new RedisStore({ client: direct, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now })
  // The server knows the scripts.
  const warm = leaseOf(await store.take('warm', null, NOTHING_SEEN))!
  await store.renew('warm', warm)
  await store.take('warm', 'x', { ...NOTHING_SEEN, marker: encodeMarker({ members: ['x'], epoch: 'abcdefghijkl' }), bytes: null })
  await store.seize('warm')
  await store.release('warm', warm)

  const lose = async (script: Script, work: () => Promise<unknown>): Promise<void> => {
    lost = await hashOf(script)
    await work().then(() => { throw new Error('it has a reply') }, () => {})
  }
  const take = async (key: string): Promise<Lease> => leaseOf(await other.take(key, null, NOTHING_SEEN))!
  /** What was sent in the background has been done: the client sends in order. */
  const isFree = async (key: string): Promise<boolean> => {
    await client.ping()
    return await client.exists(`lease:{shop:${key}}`) === 0
  }

  await t.test('a lease that was taken is given back', async (t) => {
    await lose(TAKE, async () => await store.take('take', null, NOTHING_SEEN))
    t.equal(await isFree('take'), true)
  })

  await t.test('so is one that nobody is to wait for', async (t) => {
    await other.release('pass', await take('pass'), true)
    t.equal(await client.get('lease:{shop:pass}'), '~')
    await lose(TAKE, async () => await store.take('pass', null, NOTHING_SEEN))
    t.equal(await isFree('pass'), true)
  })

  await t.test('so is that of a first variant', async (t) => {
    const marker = encodeMarker({ members: ['x'], epoch: 'abcdefghijkl' })
    await lose(TAKE_FIRST, async () => await store.take('first', 'v', { ...NOTHING_SEEN, marker, bytes: null }))
    await client.ping()
    t.equal(await client.exists('lease:{shop:first}:v:v'), 0)
  })

  await t.test('so is one that was seized', async (t) => {
    await lose(SEIZE, async () => await store.seize('seize'))
    t.equal(await isFree('seize'), true)
  })

  for (const [name, again] of [['at once', false], ['renewed once more', true]] as const) {
    await t.test(`what was renewed as one that nobody is to wait for fills, and is given back: ${name}`, async (t) => {
      for (const end of ['fill', 'release'] as const) {
        const key = `${end}:${again}`
        const lease = leaseOf(await store.take(key, null, NOTHING_SEEN))!
        await lose(RENEW, async () => await store.renew(key, lease, true))
        t.equal(await client.get(`lease:{shop:${key}}`), `~${lease.token}`)
        if (again) t.equal(await store.renew(key, lease), true, 'it is not lost')
        t.equal(await other.holder(key, null), 'pass', 'nobody is to wait yet')
        if (end === 'fill') t.equal(await store.fill(key, lease, FILL), 'stored')
        else await store.release(key, lease)
        t.equal(await isFree(key), true)
      }
    })
  }
})

// A promise that is rejected while nobody waits for it ends the process.
t.test('commands that fail side by side reject the call that sent them, and nothing else', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client: Redis = server.client()
  const unhandled: unknown[] = []
  const note = (error: unknown): void => { unhandled.push(error) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  // More than one script does at once, so both steps are taken: hold all names, then free them while the clock advances.
  const keys = Array.from({ length: 501 }, (_, i) => `k${i}`)
  const advance = await hashOf(ADVANCE)

  for (const way of ['invalidate', 'soften'] as const) {
    await t.test(way, async (t) => {
      const late = gate()
      const held: Array<Promise<unknown>> = []
      // Of the first step there are as many as of the second without the clock's.
      let sent = 0
      let allowed = Infinity
      const failing = new Proxy(client, {
        get: (target, name) => {
          const method: unknown = Reflect.get(target, name)
          if (typeof method !== 'function') return method
          if (name !== 'evalsha') return method.bind(target)
          return async (sha: string, ...rest: [number, ...string[]]) => {
            if (++sent <= allowed) return await target.evalsha(sha, ...rest)
            if (sha === advance) throw new Error('the clock has no reply')
            const answer = late.wait().then(() => { throw new Error('nor have the keys') })
            held.push(answer)
            return await answer
          }
        }
      }) as unknown as RedisClient
      const store = new RedisStore({ client: failing, keys: new Keys('side'), writeDeadline: 20_000, now: Date.now })
      await store[way]({ keys, tags: [] })
      allowed = (sent - 1) / 2
      sent = 0
      await t.rejects(store[way]({ keys, tags: [] }), { message: 'the clock has no reply' })
      t.ok(held.length > 0, 'the keys were being freed')
      late.open()
      await Promise.allSettled(held)
      await new Promise((resolve) => { setImmediate(resolve) })
      t.same(unhandled, [])
    })
  }
})
