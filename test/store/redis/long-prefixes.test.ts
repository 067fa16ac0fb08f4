// While names are removed by prefix, the floor says so, which each lookup reads. Clients may make prefixes long, or have
// very many invalidated at a time: the floor must stay short, and what is invalidated be so all the same.
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { actors } from '../tag-contract.js'

/** What a floor may be long: the records, the last of them, and what stands around them. */
const LONGEST = 34_000

const storeOf = (client: object): RedisStore =>
  new RedisStore({ client: client as RedisClient, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now })

const numbered = (text: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${text}${i}`)

const CALLS: Record<string, (at: string) => string[]> = {
  'very many': (at) => [...numbered(`${at}${'x'.repeat(90)}`, 400), at],
  'of which each takes nine bytes a character': (at) => [...numbered(`${at}${'\u{20AC}'.repeat(80)}`, 60), at],
  'very long, all with one head': (at) => [...numbered(`${at}${'x'.repeat(800)}`, 60), at]
}

async function shortFloors (t: Test, client: Redis | Cluster): Promise<void> {
  await client.ping()
  let longest = 0
  // The first SCAN is sent behind the record.
  const scanning = (target: object): object => new Proxy(target, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name === 'nodes') return (...args: unknown[]) => (method.apply(target, args) as object[]).map(scanning)
      if (name !== 'scan') return method.bind(target)
      return async (...args: unknown[]): Promise<unknown> => {
        longest = Math.max(longest, await client.strlen('shop#floor'))
        return await method.apply(target, args)
      }
    }
  })
  const store = storeOf(scanning(client))
  const other = storeOf(client)
  t.teardown(() => { for (const one of [store, other]) one.close() })
  const { start, end, isServed } = actors(other)

  for (const [name, prefixes] of Object.entries(CALLS)) {
    await t.test(`prefixes: ${name}`, async (t) => {
      longest = 0
      const at = `${name}:`
      const [old, slow] = [await start(`${at}1`), await start(`${at}2`)]
      await end(old)
      await store.invalidate({ prefixes: prefixes(at), keys: ['another'] })
      await end(slow)
      t.strictSame([await isServed(old), await isServed(slow)], [false, false])
      t.ok(longest > 0 && longest <= LONGEST, `${longest} bytes`)
      const next = await start(`${at}1`)
      t.equal(await end(next), 'stored')
      t.equal(await isServed(next), true)
    })
  }

  await t.test('as many calls at a time', async (t) => {
    longest = 0
    const each = await Promise.all(numbered('together:', 250).map(async (at) => {
      const old = await start(`${at}:1`)
      await end(old)
      return { at, old }
    }))
    await Promise.all(each.map(async ({ at }) => await store.invalidate({ prefixes: [`${at}:`, `${at}:${'\u{20AC}'.repeat(300)}`] })))
    t.ok(longest > 0 && longest <= LONGEST, `${longest} bytes`)
    for (const { old } of each) t.equal(await isServed(old), false)
  })
}

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  await shortFloors(t, server.client())
})

t.test('cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  await shortFloors(t, cluster.client())
})
