// What users may say of a route, in its `cache` option. Types and their documentation; the checks are in policy.ts and
// declaration.ts.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Bytes, Duration } from '../duration.js'
import type { InvalidateTarget, InvalidateTargets } from '../key/target.js'

/** The result of `identity`, or a part of it. */
type Identity = string | number | bigint | null | undefined

/**
 * A cached route's `cache` option: GET (with its HEAD) only.
 * @typeParam Request the route's own request type.
 * @typeParam Reply the route's own reply type.
 */
export interface CacheOptions<Request = FastifyRequest, Reply = FastifyReply> {
  /**
   * The name of the stored response. A template: `user:{id}` takes `id` from the params, or from the query where the
   * path has no such param; `{params.id}` and `{query.page}` say which; values are as validated, and percent-encoded. Or
   * a function of the request, which must tell apart all that select a different response. Absent: path, params and
   * sorted query.
   */
  key?: string | ((request: Request) => string | Promise<string>) | undefined
  /**
   * Of a route without a `key`: the query values that select the response, such as `['page', 'sort']`; others are taken to
   * change nothing. Default: all of them. `[]`: none.
   */
  query?: readonly string[] | undefined
  /**
   * Names of query values that change nothing, such as `fbclid`; a `*` at the end stands for all that begin so: `utm_*`.
   * They select no response under a default key. Beside a `key`: they are left out of it on purpose. Those of the plugin's
   * `ignoreQuery` are always among them. Default: none.
   */
  ignoreQuery?: readonly string[] | undefined
  /**
   * Labels by which entries are invalidated together, whatever their keys: a list of templates, filled as `key` is, or a
   * function of the request that gives tags as they are. `reply.cacheTags()` adds those that only the handler knows.
   */
  tags?: readonly string[] | ((request: Request) => readonly string[]) | undefined
  /**
   * How long the entry is served. Default: the plugin's `ttl`. 0: nothing is stored. A function is asked for each
   * response that may be stored. `'origin'`: what the handler's own headers say, s-maxage, max-age or Expires (RFC 9111
   * §4.2.1), less the age that Date and Age give the response (§4.2.3); a response that says nothing is not stored.
   */
  ttl?: Duration | 'origin' | ((request: Request, reply: Reply) => Duration) | undefined
  /**
   * How long beyond its ttl the entry is still served, at once, while the handler runs in the background for a new one (RFC
   * 5861): once for all requests and processes, with the headers, URL and address of the request that caused it, through all
   * of the route's hooks, whatever has become of its client. Default 0: not at all. With `ttl: 'origin'` the handler's own
   * stale-while-revalidate counts where there is one, and 0 switches that off. no-cache, must-revalidate,
   * proxy-revalidate and s-maxage of the response forbid it in any case (RFC 9111 §4.2.4). Where the handler answers with
   * what takes the place of the entry and can't be stored itself (a 404, a private 200), the entry ends; not by 5xx, 401,
   * 407, 408, 429, nor by what a hook in front of the handler answers.
   */
  staleWhileRevalidate?: Duration | undefined
  /**
   * How long beyond its ttl the entry stands in for a handler that fails: that throws, takes longer than its route's
   * `handlerTimeout`, or answers 500, 502, 503 or 504 (RFC 5861 §4). The client gets the entry instead, and for a while
   * others get it at once, while the handler is tried in the background. Default 0: not at all. With `ttl: 'origin'` the
   * handler's own stale-if-error counts where there is one, and 0 switches that off. no-cache, must-revalidate,
   * proxy-revalidate and s-maxage of the response forbid it in any case (RFC 9111 §4.2.4). A request that may force a
   * refresh (`honourNoCache`) gets the error.
   */
  staleIfError?: Duration | undefined
  /**
   * Whether an entry is filled again shortly before its ttl is over, so that a key that is asked for often never ends: a
   * request that hits is served at once, and behind it the handler runs as for `staleWhileRevalidate`. By chance, more
   * likely the longer the handler takes and the nearer the end is, so that of all requests and processes about one begins; a
   * key that is seldom asked for just ends. Default false. There is nothing to be set: what the handler took is measured
   * (XFetch: Vattani et al., Optimal Probabilistic Cache Stampede Prevention, VLDB 2015).
   */
  earlyRefresh?: boolean | undefined
  /**
   * Statuses that are stored besides 200, each with its own ttl: `{ 404: 30, 301: '1h' }`. From 200 to 599, neither 206
   * nor 304. 0: not stored. `'origin'` in place of a time: for as long as the response's own headers say, and not at all
   * where they say nothing, `no-cache`, `max-age=0`, `no-store` or `private`. With `ttl: 'origin'` a time is for responses
   * whose headers say nothing. `'origin'` in place of the list: each status that may be stored by its kind (RFC 9110
   * §15.1), or whose headers say for how long; never 412, 416, 428, 429, 431, 511. Default: none besides 200.
   */
  statuses?: 'origin' | Record<number, Duration | 'origin'> | undefined
  /**
   * Request headers that select the response, whatever it says itself: added to its `Vary`. Default: those of the
   * response's own `Vary` (RFC 9111 §4.1). All variants are invalidated with their key.
   */
  vary?: string[] | undefined
  /**
   * Who asks: each gets entries of their own, under the same key, so that invalidating it concerns all. Called behind
   * authentication. A list has all that tells answers apart: `[user.tenant, user.role]`. Absent, null, '' or a list of such:
   * nobody in particular, so requests with a mark of a user go past the cache. So does, with a log line, a text that many
   * users share by mistake, such as `undefined:undefined` or `[object Object]`, and a list in which one part is absent.
   * A number is its digits: 7, 7n and '7' are one identity; as parts of a list, 7 and '7' are two.
   */
  identity?: ((request: Request) => Identity | readonly Identity[]) | undefined
  /** The response is the same for everybody who got through: marks of users don't matter. Default false. */
  shared?: boolean | undefined
  /** As the plugin's `cookies`, for this route. Default: the plugin's. */
  cookies?: string[] | undefined
  /** As the plugin's `credentials`, for this route, added to the plugin's. */
  credentials?: string[] | undefined
  /** As the plugin's `version`, for this route. Default: the plugin's. */
  version?: string | number | undefined
  /** As the plugin's `surrogateKeys`, for this route. Default: the plugin's. false: no such field. */
  surrogateKeys?: 'Cache-Tag' | 'Surrogate-Key' | false | undefined
  /** As the plugin's `waitTimeout`, for this route. Default: the plugin's. 0: each request runs its own handler. */
  waitTimeout?: Duration | undefined
  /** As the plugin's `maxVariants`, for this route. Default: the plugin's. */
  maxVariants?: number | undefined
  /** As the plugin's `maxBodyBytes`, for this route: larger bodies are not stored. Bytes. Default: the plugin's. */
  maxBodyBytes?: Bytes | undefined
  /** Whether the cache is used for this request: neither lookup nor fill where it says false. Default: always. */
  when?: ((request: Request) => boolean | Promise<boolean>) | undefined
  /** Whether this response may be stored, where all rules allow it. At once, no promise. Default: yes. */
  storeIf?: ((reply: Reply) => boolean) | undefined
  /**
   * Where the lookup stands. Absent: in onRequest, or, where hooks come behind that could refuse the request, in front of
   * the handler. `'onRequest'` serves hits without running those hooks: only for routes that all may see.
   */
  hook?: 'onRequest' | 'preHandler' | undefined
  /**
   * For a route of a Nest app that is cached without `@Cached` of fastify-route-cache/nest: `'skip'` serves hits without
   * running Nest's guards, pipes and interceptors, so only for routes that all may see. Absent: such an app does not start.
   * Elsewhere it changes nothing.
   */
  guards?: 'skip' | undefined
  /**
   * Who answers conditional requests (`If-None-Match`, `If-Modified-Since`, …) that have no entry yet. Default `'cache'`:
   * the handler that fills the cache does not see the client's conditions, so its whole answer is stored, and the client
   * gets the 304 that follows from it (RFC 9111 §4.3.2). `'handler'`: it sees them as they came; a 304 of its own is not
   * stored.
   */
  conditional?: 'cache' | 'handler' | undefined
  /**
   * Whether the handler knows conditional requests. Then it is not asked for a new response in place of a stale one, but
   * whether that is still right: it sees the validators that it had given it, `ETag` and `Last-Modified`, as
   * `If-None-Match` and `If-Modified-Since`, and as `request.cacheValidators`. Where it answers 304 (`reply.notModified`),
   * what is stored is fresh again, with the 304's fields in place of its own (RFC 9111 §4.3.4). For that, responses with a
   * validator are kept for twice their ttl, a day longer at most. Default: true with `ttl: 'origin'`; else false, as what
   * is served is then as true as the validator: one that counts whole seconds, or looks at one table of two, keeps what
   * has changed.
   */
  revalidate?: boolean | undefined
  /** Whether a client's `Cache-Control: no-cache` forces a refresh: always, never, or for whom. Default false. */
  honourNoCache?: boolean | ((request: Request) => boolean) | undefined
  /**
   * Whether, with `'origin'` as a ttl, a CDN-Cache-Control (RFC 9213) counts instead of Cache-Control and Expires. Where it
   * is no dictionary of structured fields (RFC 9651), the stricter of both counts. Default false.
   */
  cdnCacheControl?: boolean | undefined
  /**
   * A Cache-Control for responses whose handler sets none. Its time begins with each answer: hits have `Age: 0` and the Date
   * of the answer (RFC 9213 §2.3). Default: none is added, as a browser's copy can't be invalidated.
   */
  cacheControl?: string | undefined
  /**
   * Whether the entry has its body compressed as well, in brotli and gzip, each where that makes it smaller: once, in the
   * background, before it is stored. Hits are then sent in the coding that the client likes best (RFC 9110 §12.5.3), with an
   * ETag of its own. `threshold`: from which size on, in bytes; default 1,024; 0: of any size. Default false. Answers that
   * have a Content-Encoding already, or say `no-transform` (RFC 9111 §5.2.2.6), or are of a kind that does not get smaller,
   * such as images, are stored as they are.
   */
  compress?: boolean | { threshold?: Bytes | undefined } | undefined
}

/** What a route's function may give: one target, or a list of keys and targets. */
type FoundTargets = InvalidateTarget | ReadonlyArray<string | InvalidateTargets | { all: true }>

/**
 * The `cache` option of a route that changes something, so of POST, PUT, PATCH and DELETE.
 * @typeParam Request the route's own request type.
 * @typeParam Reply the route's own reply type.
 */
export interface InvalidationOptions<Request = FastifyRequest, Reply = FastifyReply> {
  /**
   * What is invalidated when the handler has answered with 2xx or 3xx, before the client gets that answer; not where an
   * error was raised, whatever it is answered with. A list of key templates, filled as a GET route's `key` is with values
   * as the handler gets them, and of targets as `cache.invalidate` takes them, templates too: `['user:{id}', { tags:
   * ['users'] }]`; or one such target: `{ tags: ['users'] }`. Or a function, for what only the body or the result tells: it
   * is called with the answer on its way and gives what `cache.invalidate` takes, keys and tags as they are, or a promise
   * of it; or a list of such; `[]`: nothing. Where a reply was hijacked, all this comes when it is over. `payload` is what
   * the handler has sent, as it gave it, before it is serialized: the new row, with its id. It is undefined where the
   * handler sent nothing, a stream or a Response (who reads these takes them from the client), hijacked the reply, or with
   * `onError: 'fail'` has not run yet.
   */
  invalidates: readonly (string | InvalidateTargets | { all: true })[] | InvalidateTargets | { all: true } |
    ((request: Request, reply: Reply, payload: any) => FoundTargets | Promise<FoundTargets>)
  /**
   * What becomes of a request where Redis can't be told. Absent: the write has happened, so its answer stands; the error is
   * logged, and Redis is told later (`cache.invalidate` says what that means). `'fail'`: keys and tags are put in
   * quarantine before the handler runs, as by `cache.mutate`; where that fails the client gets 503, with the code FRC_STORE
   * or FRC_DEADLINE, and nothing is written. They are then invalidated whatever the handler answers, and also where this
   * process dies. No prefix then; and a function is called before the handler.
   */
  onError?: 'fail' | undefined
}

/** A route's `cache` option. */
export type RouteOption<Request = FastifyRequest, Reply = FastifyReply> =
  CacheOptions<Request, Reply> | InvalidationOptions<Request, Reply>
