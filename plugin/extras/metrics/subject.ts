// Which cache is measured, as the options of an exporter say it.
import type { RouteCache } from '../../index.js'
import { optionError } from '../../errors.js'
import { isName, OptionReader } from '../../options/reader.js'

export interface SubjectOptions {
  /** The cache. Default: `fastify.cache`. Needed if the plugin has another `decorator`. */
  cache?: RouteCache | undefined
  /**
   * The value of the label `cache`, by which caches are told apart that are collected together. Default: the cache's
   * `prefix`.
   */
  name?: string | undefined
}

export interface Subject { cache: RouteCache, name: string }

/** Throws FRC_OPTION for an unknown or wrong option. `names`: of the exporter's own options. */
export function readSubject (
  where: string, app: object, { options, names }: { options: object, names: readonly string[] }
): Subject {
  const reader = new OptionReader(where, options).onlyKnows(['cache', 'name', ...names])
  const { cache = (app as { cache?: unknown }).cache } = options as { cache?: unknown }
  if (!isCache(cache)) {
    throw optionError(where, 'cache', cache, 'it is what fastify-route-cache puts on the instance, so register that first; ' +
      'where it has another decorator, write { cache: app.thatDecorator }')
  }
  return { cache, name: reader.read('name', cache.prefix, isName, 'it is a text that is not empty: the value of the label "cache"') }
}

function isCache (value: unknown): value is RouteCache {
  return typeof value === 'object' && value !== null && 'stats' in value && 'prefix' in value
}
