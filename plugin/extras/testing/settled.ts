// Waiting for the work that the cache does after responses: tests must wait, clients don't.
import { setTimeout as sleep } from 'node:timers/promises'
import { DURATION_FORMS, toMilliseconds, type Duration } from '../../duration.js'
import { RouteCacheError, optionError } from '../../errors.js'
import type { RouteCache } from '../../calls/route-cache.js'

type Waited = Pick<RouteCache, 'settled' | 'stats'>

/** An app with the plugin; or the plugin's decorator itself, where it has another name than `cache`. */
export type CachedApp = { cache: Waited } | Waited

const PAUSE = 5

/**
 * Resolves when what was begun is done: responses that were sent are stored or refused, refreshes behind stale ones have
 * ended, invalidations too. Requests that the test has not awaited yet may not have begun. `timeout`: how long, at most.
 * Default 10 seconds. 0: no limit.
 * @throws RouteCacheError FRC_DEADLINE after that, saying what is under way; FRC_OPTION for what is no app or no duration
 */
export async function settled (app: CachedApp, options: { timeout?: Duration | undefined } = {}): Promise<void> {
  await cacheOf('settled', app).settled(options)
}

/**
 * Resolves when the cache uses its store again that failed for a while: the breaker is closed, and the store was told of all
 * invalidations. `timeout`: how long, at most. Default 10 seconds. 0: no limit.
 * @throws RouteCacheError FRC_DEADLINE after that; FRC_OPTION for what is no app or no duration
 */
export async function recovered (app: CachedApp, { timeout = 10 }: { timeout?: Duration | undefined } = {}): Promise<void> {
  const cache = cacheOf('recovered', app)
  const time = toMilliseconds(timeout)
  if (time === undefined) throw optionError('recovered', 'timeout', timeout, DURATION_FORMS)
  const end = time === 0 ? Infinity : performance.now() + time
  for (;;) {
    const { breaker, journal } = cache.stats()
    if (breaker === 'closed' && journal === 0) return
    if (performance.now() > end) {
      throw new RouteCacheError('FRC_DEADLINE', `the cache does not use its store again after ${time} ms: the breaker is ${breaker}, and ` +
        `the store was not told of ${journal} invalidations`)
    }
    await sleep(PAUSE)
  }
}

function cacheOf (where: string, app: unknown): Waited {
  const isCache = (value: unknown): value is Waited =>
    typeof value === 'object' && value !== null && 'settled' in value && typeof value.settled === 'function'
  if (isCache(app)) return app
  const cache = (app as { cache?: unknown } | null | undefined)?.cache
  if (isCache(cache)) return cache
  throw optionError(where, 'app', typeof app, 'it is an app with the plugin registered (awaited), or its decorator: settled(app.cache)')
}
