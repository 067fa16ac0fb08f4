// The calls of a cache without routes. Each is the very function that `app.cache` calls.
import type { ResponseCache } from '../../cache/cache.js'
import type { Targets } from '../../cache/claim.js'
import { invalidate, mutateWith, type InvalidateOptions } from '../../calls/invalidate.js'
import { getEntry, inspectEntry, type EntryInfo } from '../../calls/look.js'
import { put, type PutOptions } from '../../calls/put.js'
import { getOrSet, type ValueOptions, type Values } from '../../calls/value.js'
import type { Duration } from '../../duration.js'
import { RouteCacheError, type Untold } from '../../errors.js'
import type { RequestFields } from '../../http/headers.js'
import { buildKey } from '../../key/key.js'
import { checkKeyOf, type InvalidateTarget, type MutateTarget } from '../../key/target.js'
import { OptionReader } from '../../options/reader.js'
import { nameOf } from '../../store/keys.js'
import type { CacheStats } from '../../telling/stats.js'

interface ClientParts {
  cache: ResponseCache
  values: Values
  /** Ends the connection, where it is the cache's own. */
  end: () => void
}

/** No app's names are known here, so none is doubted. */
const doubt = (): void => {}

/** A cache without routes: what `createCache` gives. */
export class CacheClient {
  readonly #cache: ResponseCache
  readonly #values: Values
  readonly #end: () => void
  #closing: Promise<void> | null = null

  constructor ({ cache, values, end }: ClientParts) {
    this.#cache = cache
    this.#values = values
    this.#end = end
  }

  /** The beginning of its names in Redis: the option `prefix`. */
  get prefix (): string {
    return this.#values.caller.source.instance.prefix
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
   * From when this has resolved, no request that begins later, in any app on this Redis and prefix, is served a response
   * whose handler started before the call, nor a value that was loaded before. Call it when the write is committed. A key is
   * taken literally (`user:7`, not `user:{id}`): build it with `key()` where values come from outside.
   *
   * Where Redis can't be told, the call rejects, and it is told later: this process tries again and again, until `close()`
   * ends that. The apps know nothing of it: they may serve old responses until then.
   *
   * `soft`, for keys and tags: responses of routes with `staleWhileRevalidate` become stale instead. Default false.
   * @returns how many entries went (or became stale) by their keys
   * @throws RouteCacheError FRC_TARGET where the target is none of these; FRC_STORE or FRC_DEADLINE where Redis could not
   * be told; FRC_ON_INVALIDATE where Redis was told, and the function `onInvalidate` failed
   */
  invalidate (target: InvalidateTarget, options: InvalidateOptions = {}): Promise<number> {
    return invalidate(this.#cache, { target, options, doubt })
  }

  /**
   * Does a write whose process may die between commit and invalidation: `work` runs with the keys and tags in quarantine
   * (nothing is served, nothing stored, in any app), and then they are invalidated, also where it throws. Where the process
   * dies, the quarantine runs out after the option `quarantineTime`.
   * @returns what `work` gives
   * @throws RouteCacheError FRC_TARGET where the targets are none, or a prefix; FRC_STORE or FRC_DEADLINE where Redis could
   * not be told: before `work`, which then has not run, or, with `worked: true`, after it; FRC_ON_INVALIDATE, after it,
   * where the function `onInvalidate` failed; and what `work` throws
   */
  async mutate<T> (target: MutateTarget, work: () => T | Promise<T>): Promise<T> {
    return await mutateWith(this.#cache, { target, work, doubt })
  }

  /**
   * Stores a value under a key: from when this has resolved, `getOrSet` gives it, in every process. Give a function where
   * the value is written or read: the right to fill is taken before it runs, from whoever has it, so a `load` that runs
   * meanwhile stores nothing. Where another writer came between, or the value can't be stored, what is there ends, and the
   * next `getOrSet` loads it. Responses are not concerned.
   * @returns the value
   * @throws RouteCacheError FRC_TARGET, FRC_TAG or FRC_OPTION where the input is wrong; FRC_STORE or FRC_DEADLINE where
   * Redis could not be told: before the function, which then has not run, or, with `worked: true`, after it;
   * FRC_ON_INVALIDATE, after it, where the function `onInvalidate` failed; and what the function throws
   */
  async put<T> (key: string, value: () => T | Promise<T>, options?: PutOptions): Promise<T>
  async put<T> (key: string, value: T | Promise<T>, options?: PutOptions): Promise<T>
  async put (key: string, value: unknown, options: PutOptions = {}): Promise<unknown> {
    const work = typeof value === 'function' ? value as () => unknown : async () => await value
    return await put(this.#values, { key: checkKeyOf(key), options, work })
  }

  /**
   * The value under a key, or what `load` gives, which is then stored: one run over all processes, the apps' too. A hit is
   * a copy of what was loaded, as `structuredClone` makes it. What the store does wrong means that `load` runs, as it does
   * once the cache is closed.
   * @throws RouteCacheError FRC_TARGET, FRC_TAG or FRC_OPTION where the input is wrong; and what `load` throws
   */
  async getOrSet<T> (key: string, options: ValueOptions, load: () => T | Promise<T>): Promise<T> {
    return await getOrSet(this.#values, { key: checkKeyOf(key), options, load })
  }

  /**
   * The response under a key with its body, as an app has stored it, without serving or counting it; null where there is
   * none that would be served. Where it varies, `headers` (lower-case names) are those of a request that would get it.
   * Default: none. Values of `getOrSet` are not found by it.
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
   * Resolves when no `load` runs whose value is to be stored, and no fill or invalidation of this process is under way.
   * Invalidations that could not be told are not waited for: `close()` does that. `timeout`: how long, at most. Default 10
   * seconds. 0: no limit.
   * @throws RouteCacheError FRC_DEADLINE after that, saying what is under way; FRC_OPTION where it is no duration
   */
  async settled (options: { timeout?: Duration | undefined } = {}): Promise<void> {
    const reader = OptionReader.of('cache.settled', options, { forms: "write { timeout: '10s' }", names: ['timeout'] })
    await this.#cache.settled(reader.duration('timeout', 10_000))
  }

  /** The cache's counters since it was opened. */
  stats (): CacheStats {
    return this.#cache.stats
  }

  /**
   * To be awaited before a script ends, so that nothing is lost: waits for the fills and invalidations under way, and tells
   * Redis again and again what it could not be told until now. `timeout`: how long, at most. Default 10 seconds. 0: no
   * limit. Then the connection ends, where it is the cache's own. A second call gives what the first one gave.
   * @throws RouteCacheError FRC_STORE where Redis could not be told of everything in that time, or has not confirmed a call
   * yet: `untold` has what is left, as `invalidate` takes it, so that the job can be repeated; FRC_OPTION where `timeout` is
   * no duration, or there is another option
   */
  async close (options: { timeout?: Duration | undefined } = {}): Promise<void> {
    const reader = OptionReader.of('cache.close', options, { forms: "write { timeout: '10s' }", names: ['timeout'] })
    const time = reader.timer('timeout', 10_000)
    this.#closing ??= this.#close(time)
    await this.#closing
  }

  async #close (time: number): Promise<void> {
    try {
      const left = await this.#cache.close(time, true)
      if (left === null) return
      const message = `cache.close: Redis could not be told of ${wordsOf(left)}: apps may serve what these were to end until its ` +
        'ttl is over; the error has them as `untold`'
      throw new RouteCacheError('FRC_STORE', message, { untold: untoldOf(left) })
    } finally {
      this.#end()
    }
  }

  /** `await using cache = await createCache(…)`: closes it at the end of the block, and rejects as `close()` does. */
  async [Symbol.asyncDispose] (): Promise<void> {
    await this.close()
  }
}

function untoldOf ({ keys, tags, prefixes: prefix, all }: Targets): Untold {
  // Of a value, the key that the caller has named.
  return all ? { all } : { keys: [...new Set(keys.map(nameOf))], tags, prefix }
}

function wordsOf ({ keys, tags, prefixes, all }: Targets): string {
  if (all) return 'an invalidation of everything'
  const kinds = [[keys, 'key', 'keys'], [tags, 'tag', 'tags'], [prefixes, 'prefix', 'prefixes']] as const
  return kinds.filter(([names]) => names.length > 0)
    .map(([names, one, many]) => `${names.length} ${names.length === 1 ? one : many}`).join(', ')
}
