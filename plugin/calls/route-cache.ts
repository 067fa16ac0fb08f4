// The calls of `fastify.cache`, with their input checked.
import type { ResponseCache } from '../cache/cache.js'
import type { Duration } from '../duration.js'
import { RouteCacheError, show } from '../errors.js'
import { explain, type ExplainKeyOption, type ExplainOption } from './explain.js'
import type { Explanation } from './explanation.js'
import type { RequestFields } from '../http/headers.js'
import { buildKey, storedTags } from '../key/key.js'
import { OptionReader } from '../options/reader.js'
import type { OwnRequests } from '../request/own-request.js'
import { UNDOUBTED, type KnownNames } from '../checks/names.js'
import { isAbout, type Warning, type Warnings } from '../checks/warnings.js'
import type { Targets } from '../cache/claim.js'
import type { RequestOption } from './request-option.js'
import type { CacheStats } from '../telling/stats.js'
import type { RedisClient } from '../store/server/redis-client.js'
import { checkKeyOf, type InvalidateTarget, type MutateTarget } from '../key/target.js'
import { checkFunction, invalidate, mutateWith, type InvalidateOptions } from './invalidate.js'
import { getEntry, inspectEntry, type EntryInfo } from './look.js'
import { put, type PutOptions } from './put.js'
import { getOrSet, type ValueOptions, type Values } from './value.js'
import { warm, type WarmOptions, type WarmSummary } from './warm.js'
import { set, setMade, type SetMadeOptions, type SetOptions, type WriteThrough } from './write-through.js'

/** The dashboard's question, under a name that all builds share: it may be of another form of the package. */
export const MAY_HAVE_TAG = Symbol.for('fastify-route-cache.may-have-tag')

interface RouteCacheParts {
  requests: OwnRequests
  redis: RedisClient | null
  names: KnownNames
  warnings: Warnings
}

/** `fastify.cache`. */
export class RouteCache {
  readonly #cache: ResponseCache
  readonly #values: Values
  readonly #writeThrough: WriteThrough
  readonly #names: KnownNames
  readonly #warnings: Warnings
  /** The Redis client that was given or found; null: entries live in this process. */
  readonly redis: RedisClient | null

  constructor (cache: ResponseCache, values: Values, { requests, redis, names, warnings }: RouteCacheParts) {
    this.redis = redis
    this.#names = names
    this.#warnings = warnings
    this.#cache = cache
    this.#values = values
    this.#writeThrough = { ...values, requests }
  }

  /** The beginning of its names in Redis: the plugin's option `prefix`. */
  get prefix (): string {
    return this.#values.caller.source.instance.prefix
  }

  /** Whether lookups and fills take place. Invalidations always do, so that nothing old is there when it is true again. */
  get enabled (): boolean {
    return this.#cache.enabled
  }

  set enabled (enabled: boolean) {
    if (typeof enabled !== 'boolean') throw new RouteCacheError('FRC_OPTION', `cache.enabled is true or false, not ${show(enabled)}`)
    this.#cache.enabled = enabled
  }

  /**
   * The key that a route with this template has for these values: `key('user:{id}', { id: 7 })` is `user:7`. A value that
   * is absent or undefined gives the key of a request that lacks it. Values with names in both scopes: `{ params: { id:
   * 7 }, query: { id: 8 } }`.
   * @throws RouteCacheError FRC_KEY where the template is none, or has no placeholder of a name in `values`
   */
  key (template: string, values?: Readonly<Record<string, unknown>>): string {
    return buildKey(template, values)
  }

  /**
   * From when this has resolved, no request that begins later is served a response whose handler started before the
   * call: the entry is gone, and a handler still running can't store what it answers. Call it when the write is
   * committed. Of tags and of everything at once the cost is the same whatever the number of entries; a prefix walks through
   * all names. A key is taken literally (`user:7`, not `user:{id}`): build it with `key()` where values come from outside.
   *
   * Where Redis can't be told, the call rejects, and it is told later: this process tries again and again, and serves
   * nothing from the cache until it has succeeded. Other processes know nothing of that: they may serve old responses until
   * then; and until their ttl ends, if this process ends without having told it.
   *
   * `soft`, for keys and tags: entries of routes with `staleWhileRevalidate` become stale instead: the next request gets
   * the old response at once and causes one run of the handler, whose answer is served from then on; an entry that nobody
   * asks for within its stale time ends, as does one that is made stale by tag a second time before it was refreshed. Others
   * go, as do keys whose responses vary. Default false.
   * @returns how many entries went (or became stale) by their keys; those that lost their tags or their history are not
   * counted
   * @throws RouteCacheError FRC_TARGET where the target is none of these; FRC_STORE or FRC_DEADLINE where Redis could not
   * be told; FRC_ON_INVALIDATE where Redis was told, and the function `onInvalidate` failed
   */
  invalidate (target: InvalidateTarget, options: InvalidateOptions = {}): Promise<number> {
    const doubt = (targets: Targets): void => { if (!(UNDOUBTED in options)) this.#doubt(targets) }
    return invalidate(this.#cache, { target, options, doubt })
  }

  /**
   * Does a write whose process may die between commit and invalidation: `work` runs with the keys and tags in quarantine
   * (nothing is served, nothing stored), and then they are invalidated, also where it throws. Where the process dies, the
   * quarantine runs out after the option `quarantineTime`. Others that read meanwhile run their handlers.
   * @returns what `work` gives
   * @throws RouteCacheError FRC_TARGET where the targets are none, or a prefix; FRC_STORE or FRC_DEADLINE where Redis could
   * not be told: before `work`, which then has not run, or, with `worked: true`, after it; FRC_ON_INVALIDATE, after it,
   * where the function `onInvalidate` failed; and what `work` throws
   */
  async mutate<T> (target: MutateTarget, work: () => T | Promise<T>): Promise<T> {
    return await mutateWith(this.#cache, { target, work, doubt: (targets) => { this.#doubt(targets) } })
  }

  /** Most likely misspelt names invalidate nothing, and nobody would be told. */
  #doubt (targets: Targets): void {
    const message = this.#warnings.hears('unknown-name') ? this.#names.doubtOfCall(targets) : null
    if (message !== null) this.#warnings.say(this.#values.caller.log, { check: 'unknown-name', route: null, message })
  }

  /**
   * Whether an entry may have one of these tags. False: none has. Redis has no generation of theirs then, without which
   * nothing is valid; in-process, nothing in this app has such a tag. Null: not known, as an invalidation may have left the
   * generation.
   * @internal
   */
  async [MAY_HAVE_TAG] (tags: readonly string[]): Promise<boolean | null> {
    const { store } = this.#cache.shelf
    const stored = storedTags(tags)
    const isNamed = stored.some((tag) => this.#names.mayHaveTag(tag))
    if (store.kind === 'memory') return isNamed
    const { generations } = await store.generations(stored)
    return generations.every((generation) => generation === null) ? false : isNamed || null
  }

  /** Likely mistakes in how the app uses the cache, as far as they are known now; the log has said each once. */
  get warnings (): readonly Warning[] {
    return this.#warnings.list
  }

  /**
   * Writes to the database and the cache together: what `work` gives is stored as the GET route that `route` leads to would
   * have sent it (response schema, content type, hooks), and the next GET is a hit. Where that isn't sure, as another
   * writer came between, or the response is not one that is stored, the key is invalidated instead: nothing older than the
   * database stays behind. So it is where the policy tells responses apart by `identity` or `vary`, and where `work` gives
   * nothing, or a stream. What `getOrSet` keeps under the key is invalidated in any case. Hooks in front of the handler,
   * authentication for example, don't run for it. It waits for the app to be ready: not for
   * a plugin's body, or an onReady hook.
   * @returns what `work` gives
   * @throws RouteCacheError FRC_TARGET, FRC_TAG or FRC_OPTION where the input is wrong; FRC_STORE or FRC_DEADLINE where
   * Redis could not be told: before `work`, which then has not run, or, with `worked: true`, after it; FRC_ROUTE, after it,
   * where `route` leads to no cached route, or to one that makes another key; FRC_ON_INVALIDATE, after it, where the
   * function `onInvalidate` failed; and what `work` throws
   */
  async set<T> (key: string, work: () => T | Promise<T>, options: SetOptions): Promise<T>
  /**
   * The same where only what `work` gives tells the key, as for a row that the database gives its id: `set(({ id }) =>
   * cache.key('user:{id}', { id }), work, { route: ({ id }) => '/users/' + id })`. As nothing can be taken before the key is
   * known, the handler of the GET runs once `work` is done, and its answer is stored: the next GET is a hit, as exact as
   * any. Where it can't be stored, nothing is; what lay under the key is gone in any case.
   */
  async set<T> (key: (result: T) => string, work: () => T | Promise<T>, options: SetMadeOptions<T>): Promise<T>
  async set<T> (
    key: string | ((result: T) => string), work: () => T | Promise<T>, options: SetOptions | SetMadeOptions<T>
  ): Promise<T> {
    const checked = checkFunction('work', work)
    if (typeof key === 'function') {
      return await setMade(this.#writeThrough, { key, options: options as SetMadeOptions<T>, work: checked })
    }
    return await set(this.#writeThrough, { key: checkKeyOf(key), options: options as SetOptions, work: checked })
  }

  /**
   * Stores a value under a key, as `getOrSet` keeps values: from when this has resolved, `getOrSet` gives it, in every
   * process. Give a function where the value is written or read: the right to fill is taken before it runs, from whoever has
   * it, so a `load` that runs meanwhile stores nothing, and of two writers only the last to begin may store. Where another
   * one came between, the key was invalidated, or it is in quarantine, the value is not stored: what is there ends, and the
   * next `getOrSet` loads it. A value that is given counts as one of the moment of the call. Responses are not concerned,
   * neither one under the same key nor those that were made of the value: invalidate them behind it.
   * @returns the value
   * @throws RouteCacheError FRC_TARGET, FRC_TAG or FRC_OPTION where the input is wrong; FRC_STORE or FRC_DEADLINE where
   * Redis could not be told: before the function, which then has not run, or, with `worked: true`, after it;
   * FRC_ON_INVALIDATE, after it, where the function `onInvalidate` failed; and what the function throws
   */
  async put<T> (key: string, value: () => T | Promise<T>, options?: PutOptions): Promise<T>
  async put<T> (key: string, value: T | Promise<T>, options?: PutOptions): Promise<T>
  async put (key: string, value: unknown, options: PutOptions = {}): Promise<unknown> {
    const work = typeof value === 'function' ? value as () => unknown : async () => await value
    return await put(this.#values, { key: this.#hadKey(key, options), options, work })
  }

  /** A value's key as it is stored; names with it are known from now on. */
  #hadKey (key: string, options: Pick<ValueOptions, 'tags'>): string {
    const stored = checkKeyOf(key)
    const tags = (options as Partial<ValueOptions> | undefined | null)?.tags
    this.#names.had({ keys: [stored], tags: Array.isArray(tags) ? tags : [] })
    return stored
  }

  /**
   * The value under a key, or what `load` gives, which is then stored: for results of database queries and other values that
   * are no responses. A hit is a copy of what was loaded, as `structuredClone` makes it: dates, maps and buffers stay what
   * they are, objects of your own classes become plain ones. As for responses: one run over all processes, tags,
   * statistics; a value and a response under one key are apart, and both go when it is invalidated. What the store does
   * wrong means that `load` runs.
   * @throws RouteCacheError FRC_TARGET, FRC_TAG or FRC_OPTION where the input is wrong; and what `load` throws
   */
  async getOrSet<T> (key: string, options: ValueOptions, load: () => T | Promise<T>): Promise<T> {
    return await getOrSet(this.#values, { key: this.#hadKey(key, options), options, load })
  }

  /**
   * The entry under a key with its body, without serving or counting it; null where there is none that would be served.
   * Where the response varies, `headers` (lower-case names) are those of a request that would get it; absent: of a request
   * without any.
   * @throws RouteCacheError FRC_STORE or FRC_DEADLINE where Redis could not be asked
   */
  async get (key: string, headers: RequestFields = {}): Promise<EntryInfo & { body: Buffer } | null> {
    return await getEntry(this.#cache, key, headers)
  }

  /** As `get`, without the body. */
  async inspect (key: string, headers: RequestFields = {}): Promise<EntryInfo | null> {
    return await inspectEntry(this.#cache, key, headers)
  }

  /**
   * Fills the cache before anybody asks: makes these requests, paths or `{ url, headers }`, through the app itself, so many
   * at a time, and waits until what they were answered is stored. What has a fresh entry already is left alone, and where a
   * response could not be stored the handler does not run. One that fails does not keep the others. Its requests count in
   * the statistics like clients'. To be called when the app is ready (`await app.ready()`): a plugin or an onReady hook that
   * waits for it never ends. Where the app closes before its end, what is left has failed.
   * @throws RouteCacheError FRC_OPTION where the input is wrong; what `onProgress` throws; the reason of `signal`
   */
  async warm (requests: ReadonlyArray<string | RequestOption>, options: WarmOptions = {}): Promise<WarmSummary> {
    return await warm(this.#writeThrough.requests, requests, options)
  }

  /**
   * What would happen to a request, and why: in words (`text`), and as data. A request of the plugin's own goes through the
   * hooks of the app that a client's goes through, up to the lookup, with these headers; nothing is stored, served or
   * counted, and the handler does not run (unless its route lies in a context that the plugin is not registered for). It
   * waits for the app to be ready, as `warm` does. `{ key }`: what lies under the key, and whether it would be served,
   * whatever route or call it is of.
   * @throws RouteCacheError FRC_OPTION or FRC_TARGET where the input is wrong; FRC_ROUTE where the request has no answer
   */
  async explain (request: string | ExplainOption | ExplainKeyOption): Promise<Explanation> {
    const told = await explain({ cache: this.#cache, requests: this.#writeThrough.requests, ttl: this.#values.ttl }, request)
    const warnings = this.#warnings.list.filter((one) => one.route === null || isAbout(one, told.route))
    return { ...told, warnings, text: [told.text, ...warnings.map(({ message }) => `warning: ${message}`)].join('\n') }
  }

  /**
   * Resolves when no handler runs whose answer is to be stored, and no fill, refresh or invalidation of this process is
   * under way: for tests, which look at what comes of a request. Invalidations in the journal are not waited for.
   * `timeout`: how long, at most. Default 10 seconds. 0: no limit.
   * @throws RouteCacheError FRC_DEADLINE after that, saying what is under way; FRC_OPTION where it is no duration
   */
  async settled ({ timeout = 10 }: { timeout?: Duration | undefined } = {}): Promise<void> {
    await this.#cache.settled(new OptionReader('cache.settled', { timeout }).duration('timeout', 0))
  }

  /** The cache's counters since the process started. */
  stats (): CacheStats {
    return this.#cache.stats
  }
}
