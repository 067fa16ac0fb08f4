// A fill and an invalidation of its prefix, held at each place where it matters by a gate in the client: see the head of
// store/redis/redis.ts for the interleaving.
import t from 'tap'
import { Keys } from '../../plugin/store/keys.js'
import { RedisStore } from '../../plugin/store/redis/redis.js'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { plain } from '../helpers/plain-store.js'
import { startRedis } from '../helpers/redis.js'

const OLD = { bytes: Buffer.from('old'), life: 60_000 }

t.test('a fill can not slip in behind the scan', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()

  for (const [when, pass, before] of [
    ['before the leases are scanned', 'lease:', true],
    ['when the leases were scanned, before they are removed', 'lease:', false],
    ['before the entries are scanned', 'shop:', true],
    ['when the entries were scanned', 'shop:', false]
  ] as const) {
    await t.test(when, async (t) => {
      const keys = new Keys('shop')
      const filler = plain(new RedisStore({ client: redis, keys, writeDeadline: 0, now: Date.now }))
      const lease = await filler.take('user:1')
      let filled = 0
      const gated = gatedScan(redis, async (pattern, scan) => {
        const isHere = pattern.startsWith(pass)
        const fill = async (): Promise<void> => { filled++; await filler.fill('user:1', lease!, OLD) }
        if (isHere && before) await fill()
        const page = await scan()
        if (isHere && !before) await fill()
        return page
      })
      await new RedisStore({ client: gated, keys, writeDeadline: 0, now: Date.now }).invalidate({ prefixes: ['user:'] })
      t.equal(filled, 1, 'the fill happened there')
      t.equal(await filler.read('user:1'), null)
    })
  }
})

type Page = [cursor: string, names: string[]]

/** The client, with somebody standing at its SCAN. */
function gatedScan (redis: RedisClient, gate: (pattern: string, scan: () => Promise<Page>) => Promise<Page>): RedisClient {
  return new Proxy(redis, {
    get: (target, name) => name !== 'scan'
      ? Reflect.get(target, name)
      : async (...args: Parameters<NonNullable<RedisClient['scan']>>) =>
        await gate(args[2], async () => await target.scan!(...args))
  })
}
