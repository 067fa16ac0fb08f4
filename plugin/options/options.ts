// The plugin's options: types and their documentation. The checks are in settings.ts.
import type { Bytes, Duration } from '../duration.js'
import type { Check } from './checks.js'
import type { OnInvalidate } from './on-invalidate.js'
import type { RouteRule } from './route-rules.js'
import type { TierOptions } from './tier-options.js'
import type { AnyRedisClient } from '../store/server/clients.js'
import type { StoreWrapper } from '../store/store.js'

/** The plugin's options. */
export interface RouteCacheOptions {
  /**
   * What our names in Redis begin with: under `shop` the key `user:1` is `shop:user:1`. Letters, digits, `_` and `-`.
   * Default `cache`. Instances of one app share a prefix; different apps on one Redis need different ones.
   */
  prefix?: string
  /**
   * A client of ioredis, `Redis` or `Cluster`, or of node-redis 5 or later, `createClient()` or `createCluster()`; it stays
   * yours: you connect it, and the plugin never closes it. Or where the server is: `{ url:
   * 'redis://…' }`, or options of ioredis such as `{ host, port, password }`, also beside `url`: then the plugin makes a
   * client of its own (`npm i ioredis`), which connects again within half a second, and closes it with the app; the app
   * starts while the server is down. Absent: `fastify.redis` where @fastify/redis is registered; without that, entries live
   * in this process (`maxStoreBytes`).
   */
  redis?: AnyRedisClient | ({ url?: string | undefined } & Record<string, unknown>) | undefined
  /** Which of @fastify/redis' namespaces to use: `fastify.redis[namespace]`. Absent: `fastify.redis` itself. */
  namespace?: string | undefined
  /** How long entries are served where the route doesn't say. Default 60 seconds. 0: nothing is stored. */
  ttl?: Duration | undefined
  /**
   * How long a request for a cold key waits for another one's handler to answer, at most; then it runs its own. Default 10
   * seconds. 0: each runs its own.
   */
  waitTimeout?: Duration | undefined
  /**
   * Which build's responses these are: those of another version are not served, and lie beside them under the same key, so
   * that invalidating it concerns both. Default: none.
   */
  version?: string | number | undefined
  /**
   * Header fields that say who asks, beside those of `CREDENTIAL_HEADERS`: `['x-partner-key']`. A request that has one with
   * a value bypasses the cache of routes that don't say how users are told apart. With `!` in front, a field of that list
   * does not count: `['!x-session-id']`. Default: the list. Routes may say more.
   */
  credentials?: string[] | undefined
  /**
   * The cookies that tell users apart: a request that has one of them bypasses the cache of routes that don't say how. With
   * `*` at the end, all that begin so. A name is also meant behind `__Host-` and `__Secure-`, and with a number behind it
   * (`session.0`). Default: all cookies but well-known ones of analytics and of CDNs. `[]`: none.
   */
  cookies?: string[] | undefined
  /** The name of the decorator on the Fastify instance. Default `cache`. */
  decorator?: string | undefined
  /** Whether lookups and fills take place. Default true. Also `fastify.cache.enabled`, at any time. */
  enabled?: boolean | undefined
  /** The longest that Redis may delay a request, for lookup and lease together. Default `'50ms'`. 0: no limit. */
  deadline?: Duration | undefined
  /**
   * How many lookups may fail, one soon after another, until Redis is not asked any more: then requests go past the cache at
   * once, and a probe of our own tells when Redis answers again. Default 5. 0: every lookup asks.
   */
  breakerThreshold?: number | undefined
  /** The longest that one Redis command of an invalidation or a fill may take. Default 1 second. 0: no limit. */
  writeDeadline?: Duration | undefined
  /**
   * How long the targets of a `mutate` whose process died stay out of the cache; while its `work` runs this is renewed.
   * Longer than the database keeps the transaction of a client that died. Default 30 seconds.
   */
  quarantineTime?: Duration | undefined
  /**
   * How many replicas have an invalidation before it resolves (Redis' WAIT), within `writeDeadline`; fewer: it rejects, and
   * a replica that takes over is told again by this process. Default 0: the primary's word is enough, as after a failover
   * nothing stored before is served. A primary that was replaced and does not know it gives its word, too: the new one is
   * told when this process' client has come over to it.
   */
  waitForReplicas?: number | undefined
  /**
   * Whether entries are still served when Redis was restarted or a replica took over. Default false: the cache is then
   * empty, since a server that comes back with an older memory would serve what was invalidated.
   */
  trustFailover?: boolean | undefined
  /**
   * How many responses of one key are stored where they vary (by `vary`, `identity`, the response's `Vary`); of more, the
   * one that was stored longest ago goes, with a log line. Default 1,000; at most 100,000, as all are removed in one step.
   */
  maxVariants?: number | undefined
  /** Larger bodies are not stored. Bytes. Default 1 MiB. */
  maxBodyBytes?: Bytes | undefined
  /** Responses whose header fields are larger, those that the handler set, are not stored. Bytes. Default 16 KiB. */
  maxHeaderBytes?: Bytes | undefined
  /** The most that the in-process store holds, keys and entries; the least recently used go first. Default 64 MiB. */
  maxStoreBytes?: Bytes | undefined
  /**
   * A tier in this process, in front of Redis: hits cost no trip to it. Redis tells at once what anybody has changed (CLIENT
   * TRACKING, on a connection of its own to each primary); what this process invalidates is gone here when that resolves,
   * what others do by the delay of these messages later (`cache.stats().tier`), and where the connection breaks, within a
   * second. Absent or false: none. Throws FRC_OPTION without a Redis client, or with one that can't be duplicated.
   */
  memory?: false | TierOptions | undefined
  /**
   * How many requests of this process may wait for others' handlers at a time; beyond that each runs its own. Default
   * 10,000. 0: nobody waits.
   */
  maxWaiters?: number | undefined
  /**
   * How many targets are kept that Redis could not be told to drop. If there are more, everything is dropped instead.
   * Default 1,000. 0: everything is dropped instead of any target.
   */
  maxJournal?: number | undefined
  /**
   * The Cache-Status header (RFC 9211) of cached routes' responses. Default: on, under the name `fastify-route-cache`. `key`
   * adds the key, which may tell more than clients should know. `writes`: responses of routes with `invalidates` say what
   * was invalidated, how many keys and tags, or with `key` which ones; default false. false: no such header.
   */
  cacheStatus?: false | { name?: string | undefined, key?: boolean | undefined, writes?: boolean | undefined } | undefined
  /** Whether responses also have `X-Cache: HIT` or `MISS`. Default false. */
  xCache?: boolean | undefined
  /**
   * Whether a POST, PUT, PATCH or DELETE that is answered with 2xx or 3xx invalidates what is stored for the same path (RFC
   * 9111 §4.4), before the client gets the answer, as a route's `invalidates` does: of the GET route declared with the same
   * path and constraints, for the request's params, validated as GET's, and every query. What the params are called makes no
   * difference. Routes with a `key` of their own are not concerned. Entries get a tag for it, so a hit reads one more name.
   * Default false.
   */
  invalidateUnsafe?: boolean | undefined
  /**
   * By how much of its ttl the time of each response and value is shortened at most, by chance, so that what was stored
   * together does not end together. A part from 0 to 1: with 0.1, what has a ttl of 60 s is served for 54 to 60 s. Never
   * longer than the ttl. Default 0: each has its whole ttl.
   */
  jitter?: number | undefined
  /**
   * Names of query values that change nothing, whatever the route, such as `fbclid`; a `*` at the end stands for all that
   * begin so: `utm_*`. They select no response under a default key. Default: none, as a handler may read any.
   */
  ignoreQuery?: readonly string[] | undefined
  /**
   * `cache` options for GET routes that have none of their own, by their paths, so that an app is cached without touching
   * its routes: `[{ path: '/api/me', cache: false }, { path: '/api/*', cache: { ttl: '1m' } }]`. Of several rules that fit a
   * route, the first counts; a route's own `cache` wins. Routes with another method are never concerned. A path that no
   * route has is said in the log (the check `unused-rule`). Default: none.
   */
  routes?: readonly RouteRule[] | undefined
  /**
   * Checks that are left out. A check looks for a mistake in how the app uses the cache, and says it in a log line of level
   * `warn`, with the name of the check, and in `cache.warnings`. Default: none is left out.
   */
  quiet?: readonly Check[] | undefined
  /**
   * Tells caches in front of the app, a CDN or Varnish, what to drop: called with keys, tags, prefixes, and the names to
   * purge (`surrogateKeys`), each time that this process has invalidated something, when Redis has confirmed that.
   * `invalidate`, `mutate`, `set`, `put` and the answers of routes with `invalidates` wait for it. Where it throws, rejects
   * or takes longer than `onInvalidateTimeout`, the first four reject with FRC_ON_INVALIDATE, the answers stand, and the log
   * has it; nobody calls it again for that. Where Redis could not be told, it is called when Redis has been told later.
   * Default: none.
   */
  onInvalidate?: OnInvalidate | undefined
  /** How long one call of `onInvalidate` is waited for. Default 5 seconds. 0: no limit. */
  onInvalidateTimeout?: Duration | undefined
  /**
   * The field that names each response of a cached route for caches in front, so that they can purge it by the names that
   * `onInvalidate` gets: its key, its tags, and the app's prefix. `'Surrogate-Key'`: separated by spaces, for Fastly and
   * Varnish; `'Cache-Tag'`: by commas, for Cloudflare and CloudFront. Routes may say otherwise. Default: no such field.
   * false: the same.
   */
  surrogateKeys?: 'Cache-Tag' | 'Surrogate-Key' | false | undefined
  /** Stands in front of the store: for tests, `faultyStore()` of `fastify-route-cache/testing`. Default: nothing does. */
  store?: StoreWrapper | undefined
  /** The wall clock, in milliseconds since 1970. Default: the system's. For tests. */
  now?: (() => number) | undefined
  /** Numbers from 0 to below 1, for `jitter` and `earlyRefresh`. Default: Math.random. For tests. */
  random?: (() => number) | undefined
}
