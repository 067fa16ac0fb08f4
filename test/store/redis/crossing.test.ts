// On a Cluster an invalidation takes its value from the clock, on one server, and then raises the generations, on others.
// What of other invalidations comes in between must not be lost: what they dropped would be valid again.
import type { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { gate } from '../../helpers/app.js'
import { startCluster } from '../../helpers/redis.js'
import { actors } from '../tag-contract.js'

const LONG = 60_000
const storeOf = (client: RedisClient): RedisStore =>
  new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 10_000, now: Date.now })

/** The client, with a gate in front of the second script whose first name is this generation's: the first one holds it. */
function gatedRaise (client: Cluster, tag: string, wait: () => Promise<void>): RedisClient {
  let scripts = 0
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'evalsha') return method.bind(target)
      return async (...args: Parameters<RedisClient['evalsha']>) => {
        if (args[2] === `shop#tag:${tag}` && ++scripts === 2) await wait()
        return await target.evalsha(...args)
      }
    }
  }) as unknown as RedisClient
}

interface Crossing {
  /** Before anything else: of the invalidation that is late, a token of its quarantine; '': it has none. */
  begin?: (store: RedisStore, tag: string) => Promise<string>
  /** Another invalidation, between the late one's value and its generation. */
  cross: (store: RedisStore, tag: string, client: Cluster) => Promise<void>
}

const quarantined = async (store: RedisStore, tag: string, token: string): Promise<string> => {
  await store.quarantine({ keys: [], tags: [tag] }, token, LONG)
  return token
}

const CROSSINGS: Record<string, Crossing> = {
  'the ends of two mutations': {
    begin: async (store, tag) => {
      await quarantined(store, tag, 'other')
      return await quarantined(store, tag, 'late')
    },
    cross: async (store, tag) => { await store.invalidate({ tags: [tag] }, 'other') }
  },
  'the end of a mutation, and an invalidation': {
    begin: async (store, tag) => await quarantined(store, tag, 'late'),
    cross: async (store, tag) => { await store.invalidate({ tags: [tag] }) }
  },
  'two invalidations, and the generation is lost between them': {
    cross: async (store, tag, client) => {
      await store.invalidate({ tags: [tag] })
      await client.del(`shop#tag:${tag}`)
    }
  },
  'two invalidations, and the lost generation is about to be created': {
    cross: async (store, tag, client) => {
      await store.invalidate({ tags: [tag] })
      await client.set(`shop#tag:${tag}`, '?reserved', 'PX', LONG)
    }
  }
}

interface Case extends Crossing { tag: string, isKnown: boolean }

async function crossing (t: Test, client: Cluster, { tag, isKnown, begin, cross }: Case): Promise<void> {
  const store = storeOf(client)
  const { start, end, isServed } = actors(store)
  await end(await start(`${tag}:first`, [tag]))
  const raise = gate()
  let late!: Promise<unknown>
  // It has read the generations; then the late invalidation takes its value, and this one gets its lease behind that.
  const reader = await start(`${tag}:slow`, isKnown ? [tag] : [], async () => {
    const token = await begin?.(store, tag)
    late = storeOf(gatedRaise(client, tag, raise.wait)).invalidate({ tags: [tag] }, token)
    await raise.reached
  })
  const known = isKnown ? [] : [tag]
  // Here it reads the old row; the other writer commits a new one, and invalidates.
  await cross(store, tag, client)
  raise.open()
  await late
  await end(reader, known)
  t.equal(await isServed(reader, known), false)
  const creator = await start(`${tag}:creates`, [tag])
  t.equal(await isServed(reader, known), false, 'nor when the generation was created again')
  t.equal(await end(creator), 'stored')
  t.equal(await isServed(creator), true, 'and caching works')
}

t.test('a late invalidation takes nothing back', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  await client.ping()
  for (const [i, [name, parts]] of Object.entries(CROSSINGS).entries()) {
    for (const isKnown of [true, false]) {
      await t.test(`${name}: ${isKnown ? 'a tag of the policy' : 'a tag of the response'}`, async (t) => {
        await crossing(t, client, { ...parts, tag: `cross-${i}-${String(isKnown)}`, isKnown })
      })
    }
  }
})
