// Clients of node-redis in the plugin's form, for tests; they are closed with the test.
import type { Test } from 'tap'
import { clientFrom } from '../../plugin/store/server/clients.js'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { nodeRedis } from '../race/checker/node-redis.js'

export async function nodeRedisOf (t: Test, place: Parameters<typeof nodeRedis>[0], options?: object): Promise<RedisClient> {
  const client = await nodeRedis(place, options)
  t.teardown(() => { client.destroy() })
  return clientFrom(client)
}
