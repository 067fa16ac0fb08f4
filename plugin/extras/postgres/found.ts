// The targets to invalidate, each once. The cache is told all of them in one call, as the response of one target may be
// made of the value of another.
import type { RouteCacheError } from '../../errors.js'
import { UNDOUBTED } from '../../checks/names.js'
import type { InvalidateOptions } from '../../calls/invalidate.js'
import type { InvalidateTarget } from '../../key/target.js'

export interface FoundTargets {
  keys: Set<string>
  tags: Set<string>
  prefixes: Set<string>
  all: boolean
}

/** The part of `fastify.cache` that the feed needs. */
export interface Cache {
  invalidate: (target: InvalidateTarget, options?: InvalidateOptions) => Promise<number>
}

export function nothing (): FoundTargets {
  return { keys: new Set(), tags: new Set(), prefixes: new Set(), all: false }
}

export function addTarget (found: FoundTargets, target: InvalidateTarget): void {
  if (typeof target === 'string') found.keys.add(target)
  else if (isList(target)) target.forEach((key) => found.keys.add(key))
  else if ('all' in target) found.all = true
  else {
    target.keys?.forEach((key) => found.keys.add(key))
    target.tags?.forEach((tag) => found.tags.add(tag))
    if (target.prefix !== undefined) [target.prefix].flat().forEach((prefix) => found.prefixes.add(prefix))
  }
}

function isList (target: object): target is readonly string[] {
  return Array.isArray(target)
}

export function targetCount ({ keys, tags, prefixes, all }: FoundTargets): number {
  return keys.size + tags.size + prefixes.size + (all ? 1 : 0)
}

/** The database may name something that this process has not. */
const UNJUDGED: InvalidateOptions = { [UNDOUBTED]: true } as InvalidateOptions

/** Errors that may be gone the next time. By code: an app that requires the cache and imports this has two classes. */
const PASSING: readonly string[] = ['FRC_STORE', 'FRC_DEADLINE', 'FRC_REPLICAS']

/**
 * Rejects where the cache can't be told at present. What it would refuse each time, it is not asked for again, as all that
 * follows would wait behind it: everything is invalidated instead, and `onRefusal` hears why.
 */
export async function invalidateFound (
  cache: Cache, found: FoundTargets, onRefusal: (error: unknown) => void
): Promise<void> {
  if (targetCount(found) === 0) return
  const { keys, tags, prefixes } = found
  try {
    await cache.invalidate(found.all ? { all: true } : { keys: [...keys], tags: [...tags], prefix: [...prefixes] }, UNJUDGED)
  } catch (error) {
    const { code = '' } = error as Partial<RouteCacheError>
    // Redis has it. Told again and again, all that follows would wait behind it; the log has what caches in front lack.
    if (code === 'FRC_ON_INVALIDATE') return
    if (found.all || PASSING.includes(code)) throw error
    onRefusal(error)
    await invalidateFound(cache, { ...nothing(), all: true }, onRefusal)
  }
}
