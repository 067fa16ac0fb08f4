// A write to the database whose result is stored together with it, as the response that a GET route would have sent for it.
// The lease is taken from whoever has it *before* the work writes: who read the old row can't store it any more, and of two
// writers only the last to begin may store, so that neither leaves the older row behind (the interleaving stands in the head
// of store.ts). Whatever isn't sure ends as an invalidation: the lease was lost, the work threw, the response is not one
// that is stored.
import type { ResponseCache } from '../cache/cache.js'
import type { Caller } from '../telling/events.js'
import { NO_TARGETS, type Right } from '../cache/claim.js'
import type { Duration, Milliseconds } from '../duration.js'
import { OptionReader } from '../options/reader.js'
import { attempt, worked } from '../cache/mutation.js'
import type { OwnRequests } from '../request/own-request.js'
import { RouteCacheError, show } from '../errors.js'
import { checkTags } from '../key/key.js'
import { checkKeyOf } from '../key/target.js'
import { valueKey } from '../store/keys.js'
import { readRequest } from './request-option.js'
import { warmOne } from './warm.js'

/** Which response `cache.set` stores. */
export interface SetOptions {
  /**
   * The path of the GET whose response it is, as a client asks for it: `/users/7`, with the query where that selects. Its
   * route's key for it must be the key that is set.
   */
  route: string
  /** How long it is served. Default: what the route's `ttl` says. 0: it is not stored. */
  ttl?: Duration | undefined
  /** Tags beside those of the route: also those that its handler, which does not run, would name. Default: none. */
  tags?: readonly string[] | undefined
}

/** The cache that keeps responses, and the way to make one without a client. */
export interface WriteThrough {
  cache: ResponseCache
  requests: OwnRequests
  caller: Caller
  waitTimeout: Milliseconds
}

interface SetRequest<T> {
  key: string
  options: SetOptions
  work: () => T | Promise<T>
}

const OPTIONS = ['route', 'ttl', 'tags']
const WHERE = 'cache.set'
const PATH_OF = '(user) => "/users/" + user.id'

interface SetMadeRequest<T> {
  key: (result: T) => unknown
  options: SetMadeOptions<T>
  work: () => T | Promise<T>
}

/** Which response `cache.set` stores whose key is made of the result. */
export interface SetMadeOptions<T> {
  /** The path of the GET whose response it is, made of what `work` has given: `(user) => '/users/' + user.id`. */
  route: (result: T) => string
}

/**
 * The same where only the result tells the key, the id of a new row for example. Another writer may have changed the row
 * since it was committed, and could not be told from this one, as there was nothing to be taken before the work. So the
 * handler of the GET runs: it reads the row when the key is known, under the lease, as for any miss.
 */
export async function setMade<T> (parts: WriteThrough, { key: keyOf, options: given, work }: SetMadeRequest<T>): Promise<T> {
  const options = OptionReader.of(WHERE, given, { forms: `write { route: ${PATH_OF} }`, names: ['route'] })
  const pathOf = options.get('route')
  if (typeof pathOf !== 'function') {
    throw options.error('route', `where the key is a function, it is one, too: ${PATH_OF}`)
  }
  const value = await work()
  try {
    const key = checkKeyOf(keyOf(value))
    // A 404 of before may lie there.
    await invalidate(parts, key)
    await fillMade(parts, key, (pathOf as (result: T) => unknown)(value))
  } catch (error) {
    throw isUnsaid(error) ? done(error) : error
  }
  return value
}

/** What the caller named is wrong, and that is known only now. */
function isUnsaid (error: unknown): error is RouteCacheError {
  return error instanceof RouteCacheError && !error.worked
}

function done ({ code, message }: RouteCacheError): RouteCacheError {
  return new RouteCacheError(code, `the work is done, but ${message}`, { worked: true })
}

/** Rejects with FRC_ROUTE where the path leads to no cached route, or to one that makes another key. */
async function fillMade ({ requests }: WriteThrough, key: string, path: unknown): Promise<void> {
  const wish = readRequest(WHERE, 'route', { value: path, others: [] })
  const { lookup, warmed: { outcome, reason } } = await warmOne(requests, wish)
  if (outcome === 'failed' && (reason === 'unseen' || reason === 'not-found' || reason === 'uncached')) {
    throw new RouteCacheError('FRC_ROUTE', `${WHERE}: ${show(path)} is no cached route`)
  }
  if (lookup !== null && 'key' in lookup && lookup.key !== key) {
    throw new RouteCacheError('FRC_ROUTE', `${WHERE}: the key of GET ${show(path)} is ${show(lookup.key)}, not ${show(key)}`)
  }
}

/** The result of `work`; by then it is stored, or its key invalidated. Rejects as `RouteCache.set` says. */
export async function set<T> (parts: WriteThrough, { key, options, work }: SetRequest<T>): Promise<T> {
  const wanted = read(options)
  const { invalidation } = parts.cache
  return await invalidation.during({ ...NO_TARGETS, keys: [key] }, async () => await setNow(parts, { key, wanted, work }))
}

async function setNow<T> (
  parts: WriteThrough, { key, wanted, work }: Pick<SetRequest<T>, 'key' | 'work'> & { wanted: Wanted }
): Promise<T> {
  const { cache, caller, waitTimeout } = parts
  const right = await cache.seize(key, { tags: wanted.tags, waitTimeout })
  const outcome = await attempt(work)
  if ('error' in outcome) {
    if (right !== null) cache.abandon(right, caller)
    await invalidate(parts, key).catch((error: unknown) => {
      caller.log.error({ err: error, key }, 'cache could not be told of a write that failed')
    })
    throw outcome.error
  }
  const { result: value } = outcome
  const areSame = cache.invalidation.sameServers()
  // Only the database knows the value that `getOrSet` keeps under the key. It is removed before the response is stored:
  // who takes the lease behind that, and makes the response anew, is given nothing old.
  const isEnded = await cache.invalidation.endValue(valueKey(key), key).then(() => true, () => false)
  if (!isEnded && right !== null) cache.abandon(right, caller)
  const storing = async (): Promise<boolean> => isEnded && await store(parts, { key, right, value, ...wanted })
  const stored = await attempt(storing)
  // Other servers may have an older response.
  if ('error' in stored || !stored.result || !areSame()) await invalidate(parts, key)
  // Told before this one is stored, caches in front would be given the former one again.
  else await cache.invalidation.announce(key)
  if ('error' in stored) throw worked(stored.error)
  return value
}

interface Wanted { route: string, life: Milliseconds | null, tags: readonly string[] }

interface Storing extends Wanted { key: string, right: Right | null, value: unknown }

/** Whether the response was stored. Rejects with FRC_ROUTE where the route is none for this key. */
async function store (
  { cache, requests, caller }: WriteThrough, { key, right, value, ...wanted }: Storing
): Promise<boolean> {
  // In quarantine, or switched off, or nothing to store.
  if (right === null) return false
  if (!cache.enabled || !canBeSentTwice(value)) {
    cache.abandon(right, caller)
    return false
  }
  const { route: url, life, tags } = wanted
  const rendered = await requests.render({ url, value, right, life, tags, caller })
  if (rendered.type === 'refused') caller.log.debug({ key, reason: rendered.reason }, 'cache set refused')
  return rendered.type === 'stored'
}

/** Refuses results of `work` that can't be a response: a stream, as the caller gets the result too, and undefined. */
function canBeSentTwice (value: unknown): boolean {
  if (value === undefined) return false
  const isStream = typeof value === 'object' && value !== null && ('pipe' in value || 'getReader' in value)
  return !isStream && Object.prototype.toString.call(value) !== '[object Response]'
}

async function invalidate ({ cache }: WriteThrough, key: string): Promise<void> {
  try {
    await cache.invalidation.run({ ...NO_TARGETS, keys: [key] })
  } catch (error) {
    throw worked(error)
  }
}

function read (given: unknown): Wanted {
  const options = OptionReader.of(WHERE, given, { forms: 'write { route: \'/users/7\' }', names: OPTIONS })
  const route = options.get('route')
  if (typeof route !== 'string' || !route.startsWith('/')) {
    throw options.error('route', 'it is the path of the GET whose response is set, such as "/users/7"')
  }
  const life = options.get('ttl') === undefined ? null : options.duration('ttl', 0)
  return { route, life, tags: checkTags(options.tags('tags')) }
}
