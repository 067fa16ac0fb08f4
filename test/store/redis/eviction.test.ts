// A generation that Redis evicts while somebody creates it anew: whoever read before the invalidation is not served,
// wherever between two commands it came, and at no time in between.
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { actors } from '../tag-contract.js'

const COMMANDS = ['getBuffer', 'mgetBuffer', 'get', 'set', 'evalsha']
const GENERATION = 'shop#tag:users'
type Actors = ReturnType<typeof actors>
type Started = Awaited<ReturnType<Actors['start']>>

const storeOf = (client: RedisClient): RedisStore =>
  new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 10_000, now: Date.now })

/** The client, where something happens before each command, and after it. */
function watched (client: RedisClient, before: () => Promise<void>, after: () => Promise<void>): RedisClient {
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (!COMMANDS.includes(String(name))) return method.bind(target)
      return async (...args: unknown[]) => {
        await before()
        const answer: unknown = await method.apply(target, args)
        await after()
        return answer
      }
    }
  })
}

type Create = (creator: Actors, key: string) => Promise<unknown>

/** What creates a generation. */
const CREATORS: Record<string, Create> = {
  miss: async ({ start }, key) => await start(key, ['users']),
  fill: async ({ start, end }, key) => await end(await start(key), ['users'])
}

async function cases (t: Test, client: Redis | Cluster): Promise<void> {
  const store = storeOf(client)
  const { start, end, isServed } = actors(store)
  let keys = 0

  /** The old one begins before the creator's command `begun`, and is invalidated before `at`; gives how many there were. */
  async function run (t: Test, create: Create, begun: number, at: number, isEarly: boolean): Promise<number> {
    await client.del(GENERATION)
    let old: Started | undefined
    let [commands, isOver] = [0, false]
    const seen: string[] = []
    const look = async (when: string): Promise<void> => {
      if (isOver && await isServed(old!, ['users'])) seen.push(when)
    }
    // One after the other, also where the creator sends several at once.
    let turn: Promise<unknown> = Promise.resolve()
    const before = async (): Promise<void> => {
      const index = commands++
      await (turn = turn.then(async () => {
        if (index === begun) old = await start(`old:${++keys}`)
        if (index !== at) return
        if (isEarly) await end(old!, ['users'])
        await store.invalidate({ tags: ['users'] })
        await client.del(GENERATION)
        isOver = true
      }))
    }
    const creator = actors(storeOf(watched(client, before, async () => { await look(`after ${commands} commands`) })))
    await create(creator, `new:${++keys}`)
    if (old !== undefined && isOver) {
      if (!isEarly) await end(old, ['users'])
      await look('at the end')
    }
    t.strictSame(seen, [], `begun before ${begun}, invalidated before ${at} of ${commands}${isEarly ? ', filled early' : ''}`)
    return commands
  }

  for (const [what, create] of Object.entries(CREATORS)) {
    await t.test(`lost while a ${what} creates it`, async (t) => {
      let total = Infinity
      for (let at = 0; at < total; at++) {
        for (let begun = 0; begun <= at; begun++) {
          for (const isEarly of [true, false]) total = await run(t, create, begun, at, isEarly)
        }
      }
    })
  }

  await t.test('a placeholder of somebody who died is no obstacle', async (t) => {
    for (const late of [[], ['users']]) {
      await client.set(GENERATION, '?of-the-dead')
      const next = await start(`dead:${++keys}`, late.length === 0 ? ['users'] : [])
      t.equal(await end(next, late), 'stored')
      t.equal(await isServed(next, late), true)
      await client.set(GENERATION, '?of-the-dead')
      t.equal(await isServed(next, late), false)
      await store.invalidate({ tags: ['users'] })
      await start(`dead:${++keys}`, ['users'])
      t.ok(Number(await client.get(GENERATION)) > next.lease.asOf)
    }
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
