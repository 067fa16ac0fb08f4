// Generations that Redis loses at every step, and invalidations that meet a fill, or each other, in the worst order: what
// was invalidated never comes back, and caching goes on. On one Redis and on a Cluster.
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { RAISE } from '../../../plugin/store/redis/clock-scripts.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { actors } from '../tag-contract.js'

const storeOf = (client: RedisClient, now = Date.now): RedisStore =>
  new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 10_000, now })

const NAMES = {
  generation: 'shop#tag:users', clock: '{shop#floor}:clock', 'last invalidation': '{shop#floor}:tags', floor: 'shop#floor'
}
/** What may be lost: each name alone, and all of them together. */
const LOSSES: [what: string, names: string[]][] = [
  ...Object.entries(NAMES).map(([what, name]): [string, string[]] => [`the ${what}`, [name]]),
  ['generation and last invalidation', [NAMES.generation, NAMES['last invalidation']]],
  ['all of them', Object.values(NAMES)]
]

async function evict (client: Redis | Cluster, names: readonly string[]): Promise<void> {
  await Promise.all(names.map(async (name) => await client.del(name)))
}

type Gate = (command: string, args: unknown[], send: () => Promise<unknown>) => Promise<unknown>

/** The client, with somebody standing at these commands. */
function gated (client: RedisClient, commands: readonly string[], gate: Gate): RedisClient {
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (!commands.includes(String(name))) return method.bind(target)
      return async (...args: unknown[]) => await gate(String(name), args, async () => await method.apply(target, args))
    }
  })
}

async function cases (t: Test, client: Redis | Cluster): Promise<void> {
  const store = storeOf(client)
  const { start, end, isServed } = actors(store)
  let keys = 0
  const worksAgain = async (t: Test): Promise<void> => {
    const key = `again:${++keys}`
    const next = await start(key, ['users'])
    t.equal(await end(next), 'stored')
    t.equal(await isServed(next), true, 'caching works again')
    await store.invalidate({ tags: ['users'] })
    t.equal(await isServed(next), false, 'and invalidation')
  }

  for (const [what, names] of LOSSES) {
    for (const late of [[], ['users']]) {
      const tags = late.length === 0 ? ['users'] : []
      const kind = late.length === 0 ? 'the policy\'s tag' : 'the response\'s tag'
      await t.test(`lost: ${what}; ${kind}`, async (t) => {
        // Every place where the names may go, with the invalidation before or behind that.
        for (const invalidateAt of ['behind the lease', 'behind the fill']) {
          for (const evictAt of ['behind the read', 'behind the lease', 'behind the fill']) {
            for (const isFirst of [true, false]) {
              const act = async (step: string): Promise<void> => {
                if (invalidateAt === step && isFirst) await store.invalidate({ tags: ['users'] })
                if (evictAt === step) await evict(client, names)
                if (invalidateAt === step && !isFirst) await store.invalidate({ tags: ['users'] })
              }
              const old = await start(`lost:${++keys}`, tags, async () => { await act('behind the read') })
              await act('behind the lease')
              await end(old, late)
              await act('behind the fill')
              const place = `invalidated ${invalidateAt}, lost ${evictAt}${isFirst ? '' : ', lost first'}`
              t.equal(await isServed(old, late), false, place)
              // Who comes anew creates what is missing: that revives nothing.
              const other = await start(`lost:${++keys}`, ['users'])
              t.equal(await isServed(old, late), false, `${place}; then a miss`)
              await end(other)
              t.equal(await isServed(old, late), false, `${place}; then a fill`)
            }
          }
        }
        await worksAgain(t)
      })
    }
  }

  await t.test('another clock is another history', async (t) => {
    const old = await start(`clock:${++keys}`, ['users'])
    await end(old)
    await client.del(NAMES.clock)
    await store.invalidate({ tags: ['others'] })
    t.equal(await isServed(old), false, 'begun by an invalidation')
    const next = await start(`clock:${++keys}`, ['users'])
    t.not(next.history, old.history)
    await end(next)
    await client.del(NAMES.clock)
    await start(`clock:${++keys}`, ['never-seen'])
    t.equal(await isServed(next), false, 'begun by a miss with a missing generation')
    const third = await start(`clock:${++keys}`)
    await end(third)
    await client.del(NAMES.clock)
    await start(`clock:${++keys}`)
    t.equal(await isServed(third), false, 'begun by a miss')
    await worksAgain(t)
  })

  await t.test('where the clock is ahead of the server\'s time, tags are dropped and not made stale', async (t) => {
    for (const ahead of [0, 10_000_000]) {
      const old = await start(`soft:${++keys}`, ['users', 'more'])
      await end(old)
      await client.incrby(NAMES.clock, ahead)
      await store.soften({ keys: [], tags: ['users', 'more'] })
      t.equal(await isServed(old), ahead === 0, `${ahead / 1e6} s ahead`)
      const { softened } = await store.generations(['users', 'more'])
      t.equal(softened.every((clock) => clock > old.lease.asOf), ahead === 0, 'nothing is stale by them')
    }
    await evict(client, Object.values(NAMES))
    await worksAgain(t)
  })

  await t.test('a clock that was ahead of the server\'s time only grows', async (t) => {
    await client.incrby(NAMES.clock, 1e9)
    const ahead = Number(await client.get(NAMES.clock))
    await store.invalidate({ tags: ['users'] })
    t.equal(Number(await client.get(NAMES.clock)), ahead + 1)
    t.equal(Number(await client.get(NAMES.generation)), ahead + 1)
    await worksAgain(t)
    await client.del(...[NAMES.clock])
    await start(`ahead:${++keys}`)
    t.ok(Number(await client.get(NAMES.clock)) < ahead, 'lost, it steps back')
    await client.del(NAMES.generation)
    await worksAgain(t)
  })

  await t.test('a fill that finds its tag missing while it is invalidated is outdated', async (t) => {
    // The interleaving in the head of generations.ts: the invalidation, and the eviction, before RESERVE and SETTLE.
    for (const [isEvicted, before] of [[true, 1], [false, 1], [true, 2], [false, 2]] as const) {
      await evict(client, [NAMES.generation])
      let [times, scripts] = [0, 0]
      const holding = gated(client, ['evalsha'], async (_, args, send) => {
        if (args[2] !== NAMES.generation || ++scripts !== before) return await send()
        times++
        await store.invalidate({ tags: ['users'] })
        if (isEvicted) await evict(client, [NAMES.generation])
        return await send()
      })
      const filler = actors(storeOf(holding))
      const slow = await filler.start(`settle:${++keys}`)
      t.equal(await filler.end(slow, ['users']), 'outdated')
      t.equal(times, 1, 'it happened there')
      t.equal(await isServed(slow, ['users']), false)
      t.ok(Number(await client.get(NAMES.generation) ?? Infinity) > slow.lease.asOf, 'and nothing else of that age is valid')
    }
  })

  await t.test('what an invalidation dropped is not valid for a moment, nor where who fills dies in the middle', async (t) => {
    for (const step of [1, 2, 3]) {
      const old = await start(`moment:${++keys}`)
      t.equal(await end(old, ['users']), 'stored')
      const slow = await start(`moment:${++keys}`)
      await evict(client, [NAMES.generation])
      let [steps, isInvalidated] = [0, false]
      const served: boolean[] = []
      // Every command of the filler about the tag; the invalidation, and the eviction, come before one of them.
      const watched = gated(client, ['set', 'evalsha', 'mgetBuffer', 'getBuffer'], async (_, args, send) => {
        if (!args.includes(NAMES.generation)) return await send()
        if (++steps === step) {
          await store.invalidate({ tags: ['users'] })
          await evict(client, [NAMES.generation])
          isInvalidated = true
        }
        const reply = await send()
        if (isInvalidated) served.push(await isServed(old, ['users']))
        return reply
      })
      const filler = actors(storeOf(watched))
      await filler.end(slow, ['users'])
      t.ok(isInvalidated && served.length > 0)
      t.notOk(served.includes(true), `invalidated before step ${step}: ${String(served)}`)
      await store.invalidate({ tags: ['users'] })
    }
    await worksAgain(t)
  })

  await t.test('a miss that is slow to create a generation revives nothing', async (t) => {
    // W's invalidation comes, and its generation is lost, between the clock's new value and the generation.
    for (const step of [1, 2, 3, 4]) {
      const slow = await start(`revive:${++keys}`, ['users'])
      await evict(client, [NAMES.generation])
      let [steps, reached] = [0, (): void => {}]
      const comes = new Promise<void>((resolve) => { reached = resolve })
      let go!: () => void
      const gone = new Promise<void>((resolve) => { go = resolve })
      const creating = actors(storeOf(gated(client, ['set', 'evalsha'], async (_, args, send) => {
        if (!args.includes(NAMES.generation) && !args.includes(NAMES.clock)) return await send()
        if (++steps !== step) return await send()
        reached()
        await gone
        return await send()
      })))
      const creator = creating.start(`revive:${++keys}`, ['users'])
      await Promise.race([comes, creator])
      // Another miss begins meanwhile, and its handler before the invalidation.
      const old = await start(`revive:${++keys}`, ['users'])
      await store.invalidate({ tags: ['users'] })
      await evict(client, [NAMES.generation])
      go()
      await creator
      for (const one of [old, slow]) {
        await end(one)
        t.equal(await isServed(one), false, `step ${step}`)
      }
    }
    await worksAgain(t)
  })

  await t.test('what is no generation, or no clock, is taken for lost', async (t) => {
    for (const name of [NAMES.generation, NAMES.clock, NAMES['last invalidation'], NAMES.floor]) {
      for (const value of ['text', '', '?nobody', '1e999', '0x10', ['a', 'list']]) {
        const old = await start(`garbage:${++keys}`, ['users'])
        await end(old)
        await client.del(name)
        if (typeof value === 'string') await client.set(name, value, 'PX', 60_000)
        else await client.rpush(name, ...value)
        await store.invalidate({ tags: ['users'] })
        // On a Cluster a list can't even be read.
        t.equal(await isServed(old).catch(() => false), false, `${name} ${String(value)}`)
        await store.invalidate({ all: true })
        await worksAgain(t)
      }
    }
  })

  await t.test('two invalidations that arrive in reverse order leave the later one', async (t) => {
    const old = await start(`reverse:${++keys}`, ['users'])
    let opened!: () => void
    const open = new Promise<void>((resolve) => { opened = resolve })
    let [held, came] = [0, (): void => {}]
    const reached = new Promise<void>((resolve) => { came = resolve })
    const slow = storeOf(gated(client, ['evalsha', 'eval'], async (_, args, send) => {
      // On a Cluster what holds the tag, one name, the generation's. On one Redis the whole invalidation is late.
      if (args[2] !== NAMES.generation || held++ > 0) return await send()
      came()
      await open
      return await send()
    }))
    const first = slow.invalidate({ tags: ['users'] })
    if (client.isCluster) await reached
    await store.invalidate({ tags: ['users'] })
    const later = Number(await client.get(NAMES.generation))
    const between = await start(`reverse:${++keys}`, ['users'])
    await end(between)
    opened()
    await first
    const now = Number(await client.get(NAMES.generation))
    t.ok(now >= later, 'it never shrinks')
    await end(old)
    t.equal(await isServed(old), false)
    t.equal(await isServed(between), now <= between.lease.asOf)
  })

  await t.test('RAISE raises, and keeps what is higher and what lives longer', async (t) => {
    const name = 'shop#tag:raised'
    const live = async (): Promise<number> => await client.pttl(name)
    await RAISE.run(client, [name], ['10', 60_000])
    t.equal(await client.get(name), null, 'but creates none')
    await client.set(name, '10', 'PX', 60_000)
    await RAISE.run(client, [name], ['9', 600_000])
    t.equal(await client.get(name), '10')
    t.ok(await live() <= 60_000)
    await RAISE.run(client, [name], ['11', 1_000])
    t.equal(await client.get(name), '11')
    t.ok(await live() > 50_000, 'its life is not cut')
  })

  await t.test('a generation outlives the entries with its tag, also where it was lost', async (t) => {
    let now = 1_000_000
    const DAY = 24 * 60 * 60 * 1000
    const long = storeOf(client, () => now)
    const fill = async (): Promise<void> => {
      const key = `long:${++keys}`
      const { generations } = await long.read({ key, variant: null, tags: ['long'] })
      const lease = await long.take(key, null, { tags: [], missing: generations[0] === null ? ['long'] : [], bytes: undefined, marker: null })
      if (typeof lease === 'string') throw new Error(lease)
      await long.fill(key, lease, { bytes: Buffer.from('x'), life: 7 * DAY, varied: null, tags: ['long'], unreadTags: [] })
    }
    // The fill doesn't wait for it.
    const isExtended = async (): Promise<boolean> => {
      const until = performance.now() + 5_000
      while (await client.pttl('shop#tag:long') <= 13 * DAY) if (performance.now() > until) return false
      return true
    }
    await fill()
    t.ok(await isExtended())
    await client.pexpire('shop#tag:long', DAY)
    await fill()
    t.ok(await client.pttl('shop#tag:long') <= DAY, 'not said again with each fill')
    now += 8 * DAY
    await fill()
    t.ok(await isExtended(), 'but in time')
    await client.del('shop#tag:long')
    await fill()
    t.ok(await isExtended(), 'and where it was created anew')
  })
}

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  await client.ping()
  await cases(t, client)
})

t.test('cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  await client.ping()
  await cases(t, client)
})
