// What users may say: the plugin's options and a route's. Types and their documentation; the checks are in policy.ts.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Bytes, Duration } from './duration.js'
import type { RedisClient } from './store/redis-client.js'

/** The plugin's options. */
export interface RouteCacheOptions {
  /**
   * What our names in Redis begin with: under `shop` the key `user:1` is `shop:user:1`. Letters, digits, `_` and `-`.
   * Default `cache`. Instances of one app share a prefix; different apps on one Redis need different ones.
   */
  prefix?: string
  /**
   * An ioredis client, `Redis` or `Cluster`. It stays yours: the plugin never closes it. Absent: `fastify.redis` where
   * @fastify/redis is registered; without that, entries live in this process (`maxStoreBytes`).
   */
  redis?: RedisClient
  /** Which of @fastify/redis' namespaces to use: `fastify.redis[namespace]`. Absent: `fastify.redis` itself. */
  namespace?: string
  /** How long entries are served where the route doesn't say. Default 60 seconds. 0: nothing is stored. */
  ttl?: Duration
  /** The name of the decorator on the Fastify instance. Default `cache`. */
  decorator?: string
  /** Whether lookups and fills take place. Default true. Also `fastify.cache.enabled`, at any time. */
  enabled?: boolean
  /** The longest that Redis may delay a request, for lookup and lease together. Default `'50ms'`. 0: no limit. */
  deadline?: Duration
  /** The longest that one Redis command of an invalidation or a fill may take. Default 1 second. 0: no limit. */
  writeDeadline?: Duration
  /** Larger bodies are not stored. Bytes. Default 1 MiB. */
  maxBodyBytes?: Bytes
  /** The most that the in-process store holds, keys and entries; the least recently used go first. Default 64 MiB. */
  maxStoreBytes?: Bytes
  /** The wall clock, in milliseconds since 1970. Default: the system's. For tests. */
  now?: () => number
}

/**
 * A route's `cache` option: GET (with its HEAD) only.
 * @typeParam Request the route's own request type.
 * @typeParam Reply the route's own reply type.
 */
export interface CacheOptions<Request = FastifyRequest, Reply = FastifyReply> {
  /**
   * The name of the stored response. A template: `user:{id}` takes `id` from the params, or from the query where the
   * path has no such param; `{params.id}` and `{query.page}` say which; values are percent-encoded. Or a function of
   * the request, which must tell apart all that select a different response. Absent: path, params and sorted query.
   */
  key?: string | ((request: Request) => string | Promise<string>)
  /**
   * How long the entry is served. Default: the plugin's `ttl`. 0: nothing is stored. A function is asked for each
   * response that may be stored.
   */
  ttl?: Duration | ((request: Request, reply: Reply) => Duration)
  /** Whether the cache is used for this request: neither lookup nor fill where it says false. Default: always. */
  when?: (request: Request) => boolean | Promise<boolean>
  /** Whether this response may be stored, where all rules allow it. Default: yes. */
  storeIf?: (reply: Reply) => boolean
}
