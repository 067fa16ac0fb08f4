// The clients that the plugin takes, in the form that it uses: those of ioredis as they are (redis-client.ts), those of
// node-redis adapted to it (node-redis.ts).
import { fromNodeRedis, isNodeRedis, type NodeRedisClient } from './node-redis.js'
import { isRedisClient, looksLikeClient, missingOf, type RedisClient } from './redis-client.js'

/** An ioredis client, or one of node-redis. */
export type AnyRedisClient = RedisClient | NodeRedisClient

/** Whether this is a client of a known package. */
export function isClient (value: unknown): value is AnyRedisClient {
  return isRedisClient(value) || isNodeRedis(value)
}

/** Throws FRC_OPTION where exact invalidation could not be kept with this client. */
export function clientFrom (client: AnyRedisClient): RedisClient {
  return isRedisClient(client) ? client : fromNodeRedis(client)
}

const RIGHT = 'it is an ioredis client, such as app.redis of @fastify/redis, or one of node-redis 5 or later'

/** The error text: why this is no client, and which would be. */
export function clientForms (value: unknown): string {
  if (!looksLikeClient(value)) return RIGHT
  const missing = missingOf(value)
  // ioredis-mock runs scripts in a Lua of its own, which does not know the line that Redis has for their flags.
  const isMock = missing.length === 1 && missing[0] === 'status'
  const advice = isMock
    ? '. A mock such as ioredis-mock is none: it has no status of its connection, and can\'t run scripts that begin with "#!lua". In tests ' +
      'leave redis out, and entries live in this process; or give it a real server'
    : ''
  return `it lacks ${missing.join(', ')}; ${RIGHT}${advice}`
}
