// What a writer tells, with its input checked: of the plugin's `app.cache`, and of a cache without routes.
import type { ResponseCache } from '../cache/cache.js'
import type { Targets } from '../cache/claim.js'
import { RouteCacheError, show } from '../errors.js'
import { checkMutation, checkSoft, checkTarget, type InvalidateTarget, type MutateTarget } from '../key/target.js'
import { OptionReader } from '../options/reader.js'

/** How `cache.invalidate` goes about it. */
export interface InvalidateOptions {
  /** Whether entries become stale instead of going, as far as they may be served so. Default false. */
  soft?: boolean | undefined
}

/** A call of `invalidate`. */
interface Invalidating {
  target: InvalidateTarget
  options: InvalidateOptions
  /** Looks at what is named. */
  doubt: (targets: Targets) => void
}

/** The number of entries that went, or became stale. Rejects as `RouteCache.invalidate` says; that need not be caught. */
export function invalidate ({ invalidation }: ResponseCache, { target, options, doubt }: Invalidating): Promise<number> {
  let work: Promise<number>
  try {
    const soft = readSoft(options)
    const targets = soft ? checkSoft(target) : checkTarget(target)
    doubt(targets)
    work = soft ? invalidation.soften(targets) : invalidation.run(targets)
  } catch (error) {
    return Promise.reject(error)
  }
  // A call that nobody waits for must not end the process when Redis does: it is logged, and in the journal.
  work.catch(() => {})
  return work
}

/** A call of `mutate`. */
interface Mutating<T> {
  target: MutateTarget
  work: () => T | Promise<T>
  doubt: (targets: Targets) => void
}

/** The result of `work`. Rejects as `RouteCache.mutate` says. */
export async function mutateWith<T> ({ invalidation }: ResponseCache, { target, work, doubt }: Mutating<T>): Promise<T> {
  const targets = checkMutation(target)
  doubt(targets)
  return await invalidation.mutate(targets, checkFunction('work', work))
}

export function checkFunction<T> (name: string, value: () => T): () => T {
  if (typeof value === 'function') return value
  throw new RouteCacheError('FRC_OPTION', `${name} is ${show(value)}; it is a function`)
}

function readSoft (options: unknown): boolean {
  const reader = OptionReader.of('cache.invalidate', options, { forms: 'write { soft: true }', names: ['soft'] })
  return reader.get('soft') !== null && reader.isOn('soft')
}
