// What is to be invalidated, each target once, and how it is told to the cache: in parts, so that a failure leaves little in
// its journal, and what takes long comes last.
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

/** Keys and tags that are told at a time: half of what the journal holds by default. */
const PART = 500

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
    if (target.prefix !== undefined) found.prefixes.add(target.prefix)
  }
}

function isList (target: object): target is readonly string[] {
  return Array.isArray(target)
}

export function sizeOf ({ keys, tags, prefixes, all }: Found): number {
  return keys.size + tags.size + prefixes.size + (all ? 1 : 0)
}

/** Rejects as the cache does; what came before that was told, and may be told again. */
export async function invalidateFound (cache: Cache, found: Found): Promise<void> {
  if (found.all) {
    await cache.invalidate({ all: true })
    return
  }
  const keys = [...found.keys]
  const tags = [...found.tags]
  for (let from = 0; from < Math.max(keys.length, tags.length); from += PART) {
    await cache.invalidate({ keys: keys.slice(from, from + PART), tags: tags.slice(from, from + PART) })
  }
  for (const prefix of found.prefixes) await cache.invalidate({ prefix })
}
