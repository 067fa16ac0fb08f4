// What is to be invalidated, each target once, and how it is told to the cache: all of it in one call, as a response of one
// may be made of a value of another.
import type { InvalidateTarget } from '../../target.js'

export interface Found {
  keys: Set<string>
  tags: Set<string>
  prefixes: Set<string>
  all: boolean
}

/** As much of `fastify.cache` as is needed. */
export interface Cache {
  invalidate: (target: InvalidateTarget) => Promise<number>
}

export function nothing (): Found {
  return { keys: new Set(), tags: new Set(), prefixes: new Set(), all: false }
}

export function addTarget (found: Found, target: InvalidateTarget): void {
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

export function sizeOf ({ keys, tags, prefixes, all }: Found): number {
  return keys.size + tags.size + prefixes.size + (all ? 1 : 0)
}

/** Rejects as the cache does. */
export async function invalidateFound (cache: Cache, found: Found): Promise<void> {
  if (found.all) {
    await cache.invalidate({ all: true })
    return
  }
  const { keys, tags, prefixes } = found
  if (sizeOf(found) > 0) await cache.invalidate({ keys: [...keys], tags: [...tags], prefix: [...prefixes] })
}
