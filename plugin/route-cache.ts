// What `fastify.cache` is: the calls that users make, their input checked.
import type { ResponseCache } from './cache.js'
import type { Bytes, Seconds } from './duration.js'
import type { Entry } from './entry.js'
import { RouteCacheError, show } from './errors.js'
import { fingerprint, type RequestFields } from './http/vary.js'
import { NO_TARGETS, type Targets } from './claim.js'
import { boundKey, boundPrefix, buildKey, escapeKey, own } from './key.js'
import { checkTags } from './route-template.js'
import type { CacheStats } from './stats.js'
import type { Selection } from './variant.js'

/** What to invalidate: a key; keys; keys, what carries one of the tags, and all keys that begin so; everything. */
export type InvalidateTarget = string | readonly string[] | InvalidateTargets | { all: true }

export interface InvalidateTargets {
  keys?: readonly string[]
  tags?: readonly string[]
  prefix?: string
}

/** A stored response, seen from outside. */
export interface EntryInfo {
  status: number
  /** Names in lower case. */
  headers: Record<string, string | string[]>
  /** How long ago it was stored. */
  age: Seconds
  /** How long it will be served yet. */
  ttl: Seconds
  /** The body's size. */
  size: Bytes
}

/** `fastify.cache`. */
export class RouteCache {
  readonly #cache: ResponseCache

  constructor (cache: ResponseCache) {
    this.#cache = cache
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
   * @returns how many entries went by their keys; those that lost their tags or their history are not counted
   * @throws RouteCacheError FRC_TARGET where the target is none of these; FRC_STORE or FRC_DEADLINE where Redis could not
   * be told: then old responses may be served until their ttl ends, so try again or let the request fail
   */
  async invalidate (target: InvalidateTarget): Promise<number> {
    return await this.#cache.invalidate(checkTarget(target))
  }

  /**
   * The entry under a key with its body, without serving or counting it; null where there is none. Where the response
   * varies, `headers` (lower-case names) are those of a request that would get it; absent: of a request without any.
   * @throws RouteCacheError FRC_STORE or FRC_DEADLINE where Redis could not be asked
   */
  async get (key: string, headers: RequestFields = {}): Promise<EntryInfo & { body: Buffer } | null> {
    const entry = await this.#cache.get(checkKeyOf(key), selectionOf(headers))
    // A copy: the bytes may be the store's own, or a view on a chunk that the client shares.
    return entry === null ? null : { ...this.#describe(entry), body: Buffer.from(entry.body) }
  }

  /** The same as `get` without the body. */
  async inspect (key: string, headers: RequestFields = {}): Promise<EntryInfo | null> {
    const entry = await this.#cache.get(checkKeyOf(key), selectionOf(headers))
    return entry === null ? null : this.#describe(entry)
  }

  /** What the cache did since the process started. */
  stats (): CacheStats {
    return this.#cache.stats
  }

  #describe (entry: Entry): EntryInfo {
    const now = this.#cache.now()
    return {
      status: entry.status,
      headers: Object.fromEntries(entry.headers.map(([name, value]) => [name, typeof value === 'string' ? value : [...value]])),
      age: Math.max(0, Math.floor((now - entry.storedAt) / 1000)),
      ttl: Math.ceil((entry.staleAt - now) / 1000),
      size: entry.body.length
    }
  }
}

function selectionOf (headers: RequestFields): Selection {
  return { needs: [], hint: { members: [] }, fingerprint: (members) => fingerprint(members, headers), tags: [] }
}

function checkTarget (target: unknown): Targets {
  if (typeof target === 'string') return { ...NO_TARGETS, keys: [checkKeyOf(target)] }
  if (Array.isArray(target)) return { ...NO_TARGETS, keys: target.map(checkKeyOf) }
  const names = typeof target === 'object' && target !== null ? Object.keys(target) : []
  if (names.length === 1 && own(target, 'all') === true) return { ...NO_TARGETS, all: true }
  const [keys = [], tags = [], prefix] = ['keys', 'tags', 'prefix'].map((name) => own(target, name))
  const isRight = names.length > 0 && names.every((name) => ['keys', 'tags', 'prefix'].includes(name)) &&
    Array.isArray(keys) && Array.isArray(tags) && (prefix === undefined || (typeof prefix === 'string' && prefix !== ''))
  if (!isRight) {
    throw new RouteCacheError('FRC_TARGET', `can't invalidate ${show(target)}; write a key, an array of keys, ` +
      '{ keys, tags, prefix } with arrays of keys or tags, or a prefix that is a non-empty string, or { all: true }')
  }
  return {
    keys: keys.map(checkKeyOf),
    tags: checkTags(tags),
    prefix: prefix === undefined ? null : boundPrefix(escapeKey(prefix)),
    all: false
  }
}

function checkKeyOf (key: unknown): string {
  if (typeof key === 'string' && key !== '') return boundKey(escapeKey(key))
  throw new RouteCacheError('FRC_TARGET', `a key is a non-empty string, not ${show(key)}`)
}
