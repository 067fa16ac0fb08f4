// A value that its writer stores itself: the other half of getOrSet. As in write-through.ts, the right to fill is taken from
// whoever has it *before* the work writes, so a `load` that has read the old row stores nothing any more, and of two writers
// only the last to begin may store. Where that isn't sure, the value ends: a reader loads it again.
//
//   1. L  getOrSet('rate') -> a miss; `load` reads the old row
//   2. W  put('rate', work)     takes the right to fill
//   3. L  has the old value: its fill is refused
//   4. W  work writes the row; the value is stored
//
// A value that is given, and not made by a function, counts as one of the moment of the call. A caller that reads a row,
// waits, and puts it may be behind another writer, and nobody could know.
import type { ResponseCache } from '../cache/cache.js'
import { NO_TARGETS, type Right } from '../cache/claim.js'
import { attempt, worked } from '../cache/mutation.js'
import type { Duration, Milliseconds } from '../duration.js'
import { checkTags } from '../key/key.js'
import { OptionReader } from '../options/reader.js'
import { valueKey } from '../store/keys.js'
import { refuse } from '../telling/events.js'
import type { End, RefusalReason } from '../telling/outcome.js'
import { answerOf, bytesOf, selectionOf, type Values } from './value.js'

/** How `cache.put` keeps a value. */
export interface PutOptions {
  /** How long it is served. Default: the plugin's `ttl`. 0: it is not stored, and what is there ends. */
  ttl?: Duration | undefined
  /** Labels by which it is invalidated together with others, responses too. Default: none. */
  tags?: readonly string[] | undefined
}

interface PutRequest<T> {
  key: string
  options: PutOptions
  work: () => T | Promise<T>
}

const OPTIONS = ['ttl', 'tags']

/** The result of `work`; by then it is stored, or the value has ended. Rejects as `RouteCache.put` says. */
export async function put<T> (values: Values, { key, options: given, work }: PutRequest<T>): Promise<T> {
  const options = OptionReader.of('cache.put', given, { forms: 'write { ttl, tags }', names: OPTIONS })
  const life = options.duration('ttl', values.ttl)
  const tags = checkTags(options.tags('tags'))
  const { invalidation } = values.cache
  return await invalidation.during({ ...NO_TARGETS, keys: [key] }, () => putNow(values, { key, life, tags, work }))
}

type Putting<T> = Pick<PutRequest<T>, 'key' | 'work'> & Pick<Storing, 'life' | 'tags'>

async function putNow<T> (values: Values, { key, life, tags, work }: Putting<T>): Promise<T> {
  const { cache, caller, waitTimeout } = values
  const named = valueKey(key)
  const right = await cache.seize(named, { tags, waitTimeout })
  if (right !== null) caller.counters.sets++
  const outcome = await attempt(work)
  if ('error' in outcome) {
    if (right !== null) giveUp(values, right, 'error')
    await end(cache, named).catch((error: unknown) => {
      caller.log.error({ err: error, key }, 'cache could not be told of a write that failed')
    })
    throw outcome.error
  }
  const { result: value } = outcome
  const areSame = cache.invalidation.sameServers()
  const isStored = right !== null && await store(values, right, { value, life, tags })
  // Other servers may have an older value.
  if (!isStored || !areSame()) await end(cache, named)
  else await cache.invalidation.announce(named)
  return value
}

interface Storing { value: unknown, life: Milliseconds, tags: readonly string[] }

/** Whether it was stored, once that is known. */
async function store (values: Values, right: Right, { value, life, tags }: Storing): Promise<boolean> {
  const { cache, caller } = values
  const body = life === 0 ? 'ttl' : !cache.enabled ? 'disabled' : bytesOf(values, right.key, value)
  if (typeof body === 'string') {
    giveUp(values, right, body)
    return false
  }
  return await new Promise((resolve) => {
    const onEnd = (ended: End): void => { resolve(ended === 'stored') }
    cache.fill({ ...right, selection: selectionOf(tags) }, answerOf(body, life), { ...caller, onEnd })
  })
}

function giveUp ({ cache, caller }: Values, right: Right, reason: RefusalReason): void {
  refuse(right.key, reason, caller)
  cache.abandon(right, caller)
}

/** Ends the value alone: a response under the key stays. */
async function end (cache: ResponseCache, named: string): Promise<void> {
  try {
    await cache.invalidation.run({ ...NO_TARGETS, keys: [named] })
  } catch (error) {
    throw worked(error)
  }
}
