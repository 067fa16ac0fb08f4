// The package's face: the plugin, what it adds to Fastify's types, and the public types.
import type {
  ContextConfigDefault, FastifyBaseLogger, FastifyInstance, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface
} from 'fastify'
import fp from 'fastify-plugin'
import type { RouteOption } from './options/route-options.js'
import { plugin } from './fastify/plugin.js'
import type { RouteCache } from './calls/route-cache.js'
import type { ResponseValidators, Validators } from './request/revalidation.js'
import type { CacheOutcome } from './telling/outcome.js'

/** The plugin: `await app.register(routeCache, { prefix: 'shop' })`. */
export const routeCache = fp(plugin, { fastify: '5.x', name: 'fastify-route-cache' })
export default routeCache

export { CREDENTIAL_HEADERS } from './http/credentials.js'
export { RouteCacheError } from './errors.js'
export type { ErrorCode } from './errors.js'
export type { CacheEvents } from './telling/events.js'
export type { Bytes, Duration, Seconds } from './duration.js'
export type { Warning } from './checks/warnings.js'
export type { Check } from './options/checks.js'
export type { RouteCacheOptions } from './options/options.js'
export type { InvalidatedTargets, OnInvalidate } from './options/on-invalidate.js'
export type { TierOptions } from './options/tier-options.js'
export type { RouteRule } from './options/route-rules.js'
export type { CacheOptions, InvalidationOptions } from './options/route-options.js'
export type { RouteCache } from './calls/route-cache.js'
export type { EntryInfo } from './calls/look.js'
export type { InvalidateOptions } from './calls/invalidate.js'
export type { ExplainKeyOption, ExplainOption } from './calls/explain.js'
export type { ExplainedEntry, ExplainedPolicy, ExplainedTag, Explanation } from './calls/explanation.js'
export type {
  BypassReason, CacheOutcome, MissReason, RefusalReason, StaleReason, UncachedReason
} from './telling/outcome.js'
export type { ResponseValidators } from './request/revalidation.js'
export type { RequestOption } from './calls/request-option.js'
export type { Validators } from './request/revalidation.js'
export type { CacheStats, RouteStats } from './telling/stats.js'
export type { RedisClient } from './store/server/redis-client.js'
export type { NodeRedisClient } from './store/server/node-redis.js'
export type { StoreWrapper, TierStats } from './store/store.js'
export type { InvalidateTarget, InvalidateTargets, MutateTarget } from './key/target.js'
export type { ValueOptions } from './calls/value.js'
export type { WarmFailure, WarmOptions, WarmProgress, WarmSummary } from './calls/warm.js'
export type { SetMadeOptions, SetOptions } from './calls/write-through.js'
export type { PutOptions } from './calls/put.js'

// TypeScript refuses two declarations of one member of an interface; but one that is inherited may be declared anew. So an
// app inherits ours, as others, such as @fastify/caching, say something of `cache`, too. Where ours has to leave the name
// to somebody else it is `unknown`, which each type fits.
/** The plugin's decorator of an app, under the name that the option `decorator` gives. */
export interface CacheDecorators {
  /**
   * The cache: keys, invalidation, a look into it, statistics. Where the app's types have it as `routeCache`, another
   * plugin may declare a `cache` of its own.
   */
  cache: FastifyInstance extends { routeCache: RouteCache } ? unknown : RouteCache
  /**
   * The same under the name that it has beside @fastify/caching, with `{ decorator: 'routeCache' }`. Typed where that
   * plugin's types are loaded; elsewhere, declare it.
   */
  routeCache: 'cacheSegment' extends keyof FastifyInstance ? RouteCache : unknown
}

declare module 'fastify' {
  interface RouteShorthandOptions<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    ContextConfig = ContextConfigDefault,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
    Logger extends FastifyBaseLogger = FastifyBaseLogger
  > {
    /**
     * Caches a GET route's responses: `true` takes all defaults. With `invalidates`: says what a POST, PUT, PATCH or DELETE
     * changes. `false` is as if it were absent.
     */
    cache?: boolean | RouteOption<
      FastifyRequest<RouteGeneric, RawServer, RawRequest, NoInfer<SchemaCompiler>, TypeProvider, ContextConfig, Logger>,
      FastifyReply<RouteGeneric, RawServer, RawRequest, RawReply, ContextConfig, NoInfer<SchemaCompiler>, TypeProvider>
    >
  }

  interface FastifyContextConfig {
    /**
     * As the route's option `cache`, for frameworks that give a route nothing but its `config`. Where the route has both, it
     * is refused at start, unless that is `cache: false`.
     */
    routeCache?: boolean | RouteOption
  }

  interface FastifyInstance extends CacheDecorators {}

  interface FastifyRequest {
    /** The cache's outcome for this request, final from onSend on; null on a route that is not cached. */
    readonly cacheOutcome: CacheOutcome | null
    /**
     * What the handler is asked about, where its route says `revalidate`: the validators of the stale response that it may
     * confirm with `reply.notModified`. Null: it is asked for a response.
     */
    readonly cacheValidators: Validators | null
  }

  interface FastifyReply {
    /**
     * Keeps this response out of the cache. To be called before the response is sent, or in an onSend hook: later,
     * its key is invalidated, and the log warns. Where nothing is stored, as on a route that is not cached, it does nothing.
     */
    noCache: () => this
    /**
     * Says by what this response is told from others: sets `ETag` and `Last-Modified`. Where the one who asks has it
     * already, the cache (`revalidate`) or a client, it sends 304 and gives true: `if (reply.notModified({ etag:
     * row.version })) return reply`. Throws FRC_OPTION where it is given no validator.
     */
    notModified: (validators: ResponseValidators) => boolean
    /**
     * Adds tags to this response's entry, besides those of the route's `tags`: `reply.cacheTags('author:7')`. To be called
     * before the response is sent, or in an onSend hook: later, where one of them is new to the entry, the response is not
     * kept, and the log warns. Where nothing is stored, as on a route that is not cached, it does nothing.
     */
    cacheTags: (...tags: string[]) => this
  }
}
