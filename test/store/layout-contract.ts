// The stores' contract alone, once for each kind of store, for the test of another layout.
import t from 'tap'
import { Keys } from '../../plugin/store/keys.js'
import { LAYOUT_VERSION } from '../../plugin/store/layout.js'
import { MemoryStore } from '../../plugin/store/memory/memory.js'
import { RedisStore } from '../../plugin/store/redis/redis.js'
import { startRedis } from '../helpers/redis.js'
import { contract } from './contract.js'

t.equal(String(LAYOUT_VERSION), process.env.LAYOUT, 'another layout')

t.test('memory', async (t) => {
  await contract(t, new MemoryStore({ maxBytes: 10_000_000, now: Date.now }))
})

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  await client.ping()
  await contract(t, new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now }))
})
