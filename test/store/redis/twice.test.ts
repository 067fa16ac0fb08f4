// A client sends again what was under way when its connection was cut, also what the server had done. So every script may
// run twice with the same arguments, at once or long after, and only the second reply is heard.
import type { Cluster, Redis } from 'ioredis'
import t from 'tap'
import * as clockScripts from '../../../plugin/store/redis/clock-scripts.js'
import * as jointScripts from '../../../plugin/store/redis/joint-scripts.js'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { Script } from '../../../plugin/store/redis/script.js'
import * as entryScripts from '../../../plugin/store/redis/scripts.js'
import { encode, NOT_ENCODED } from '../../../plugin/entry/entry.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { contract } from '../contract.js'
import { actors } from '../tag-contract.js'

type Client = Redis | Cluster
type Command = [sha: string, keys: number, ...args: Array<string | Buffer | number>]

const SCRIPTS = Object.entries({ ...clockScripts, ...jointScripts, ...entryScripts })
  .filter((named): named is [string, Script] => named[1] instanceof Script)
/** Each script's name by its hash, which it tells when it is run. */
const NAMES = new Map<string, string>()
for (const [name, script] of SCRIPTS) {
  await script.run({ evalsha: async (sha: string) => { NAMES.set(sha, name) } } as never, [], [])
}
/**
 * Their replies say how many entries went, or whether a hold or a quarantine had been there until then: of the second run
 * that is another number, or has both steps of an invalidation done once more; the case below has that.
 */
const COUNTING = ['INVALIDATE', 'QUARANTINE_KEY', 'QUARANTINE_TAGS', 'RAISE', 'SOFTEN', 'SOFTEN_KEY', 'SOFTEN_TAG']

/** What is done with each script: `again` sends it once more. */
type Work = (again: () => Promise<unknown>, name: string) => Promise<unknown>

function watched (client: Client, work: Work): RedisClient {
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'evalsha') return method.bind(target)
      return async (...command: Command) => await work(async () => await target.evalsha(...command), NAMES.get(command[0])!)
    }
  }) as unknown as RedisClient
}

const storeOf = (client: RedisClient, prefix = 'shop'): RedisStore =>
  new RedisStore({ client, keys: new Keys(prefix), writeDeadline: 20_000, now: Date.now })

const targets: Record<string, () => Promise<{ client: () => Client, stop: () => Promise<void> }>> = {
  redis: async () => {
    const server = await startRedis()
    return { client: () => server.client(), stop: async () => { await server.stop() } }
  },
  cluster: async () => {
    const cluster = await startCluster()
    return { client: () => cluster.client(), stop: async () => { await cluster.stop() } }
  }
}

const run = new Set<string>()
for (const [target, start] of Object.entries(targets)) {
  t.test(`${target}: the whole contract, with each script sent twice in a row`, async (t) => {
    const { client, stop } = await start()
    t.teardown(stop)
    const redis = client()
    await redis.ping()
    await contract(t, storeOf(watched(redis, async (again, name) => {
      run.add(name)
      const first = await again()
      const second = await again()
      return COUNTING.includes(name) ? first : second
    })))
  })
}

t.test('a hold that is let go of twice has both steps done again', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  await client.ping()
  const runs: string[] = []
  const store = storeOf(watched(client, async (again, name) => {
    if (!['RAISE', 'INVALIDATE', 'SOFTEN_TAG', 'SOFTEN_KEY'].includes(name)) return await again()
    runs.push(name)
    const first = await again()
    return runs.filter((one) => one === name).length === 1 ? await again() : first
  }))
  const { start, end, isServed } = actors(store)
  // The servers know the scripts.
  for (let i = 0; i < 40; i++) {
    const other = { keys: [`k:${i}`], tags: [`t:${i}`] }
    await Promise.all([store.invalidate(other), store.soften(other)])
  }
  for (const [work, names] of [
    ['invalidate', ['INVALIDATE', 'RAISE', 'INVALIDATE', 'RAISE']],
    ['soften', ['SOFTEN_KEY', 'SOFTEN_KEY', 'SOFTEN_TAG', 'SOFTEN_KEY', 'SOFTEN_KEY', 'SOFTEN_TAG']]
  ] as const) {
    runs.length = 0
    const key = `again:${work}`
    const old = await start(key, ['tag'])
    await end(old)
    await store[work]({ keys: [key], tags: ['tag'] })
    t.strictSame(runs, names, work)
    t.equal(await isServed(old), false)
    const next = await start(key, ['tag'])
    t.equal(await end(next), 'stored')
    t.equal(await isServed(next), true, 'and nothing is held any more')
  }
})

t.test('no script is left out', async (t) => {
  t.strictSame(SCRIPTS.map(([name]) => name).filter((name) => !run.has(name)), [])
})

t.test('sent again long after', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  await client.ping()
  const late: Array<{ name: string, again: () => Promise<unknown> }> = []
  const store = storeOf(watched(client, async (again, name) => {
    late.push({ name, again })
    return await again()
  }))
  const again = async (wanted: string): Promise<void> => { await late.findLast(({ name }) => name === wanted)!.again() }
  const other = storeOf(client as unknown as RedisClient)
  const { start, end, isServed } = actors(other)
  await store.connect()

  await t.test('of two ends of everything the first does not bring its history back', async (t) => {
    await store.invalidate({ all: true })
    const old = await start('all:1')
    await end(old)
    t.equal(await isServed(old), true)
    await other.invalidate({ all: true })
    await again('INVALIDATE_ALL')
    t.equal(await isServed(old), false)
  })

  await t.test('nor does a check of the servers', async (t) => {
    await client.del('shop#floor')
    await store.read({ key: 'x', variant: null, tags: [] })
    const old = await start('all:2')
    await end(old)
    await other.invalidate({ all: true })
    await client.del('{shop#floor}:clock')
    await again('FLOOR')
    t.equal(await isServed(old), false)
  })

  await t.test('what is soft stays so', async (t) => {
    const entry = { ...ENTRY, storedAt: Date.now(), staleAt: Date.now() + 60_000, deadAt: Date.now() + 120_000 }
    const before = await start('soft:1', ['soft-a'])
    const bytes = encode({ ...entry, history: before.history, asOf: before.lease.asOf, tags: ['soft-a'] }, 'soft:1')
    await other.fill('soft:1', before.lease, { bytes, life: 120_000, varied: null, tags: ['soft-a'], unreadTags: [] })
    const read = async (): Promise<unknown> => {
      const { main, generations, softened } = await other.read({ key: 'soft:1', variant: null, tags: ['soft-a'] })
      const { asOf } = before.lease
      return { isThere: main !== null, isDropped: generations[0]! > asOf, isSoft: softened[0]! > asOf }
    }
    await store.soften({ keys: ['soft:1'], tags: ['soft-a'] })
    t.strictSame(await read(), { isThere: true, isDropped: false, isSoft: true })
    await again('SOFTEN')
    t.strictSame(await read(), { isThere: true, isDropped: false, isSoft: true }, 'not dropped by the second')
  })

  await t.test('a fill does not come back when what it had stored is gone', async (t) => {
    const filling = actors(store)
    const old = await filling.start('fill:1')
    t.equal(await filling.end(old), 'stored')
    await other.invalidate({ keys: ['fill:1'] })
    await again('FILL')
    t.equal(await isServed(old), false)
  })

  await t.test('nor a lease that was given back, beyond its time', async (t) => {
    const filling = actors(store)
    const { lease } = await filling.start('take:1')
    await store.release('take:1', lease)
    await again('TAKE')
    t.ok(await client.pttl('lease:{shop:take:1}') <= 3_000, 'it ends by itself')
    await again('RELEASE')
    t.equal(await client.exists('lease:{shop:take:1}'), 0, 'and the client sends in the same order')
  })
})

const ENTRY = {
  status: 200, headers: [], body: Buffer.from('x'), encoded: NOT_ENCODED, kind: 'text' as const, epoch: '', rescueUntil: 0, cost: 0, softenings: []
}
