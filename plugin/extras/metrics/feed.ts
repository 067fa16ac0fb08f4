// The figures of `fastify-route-cache/postgres`, for exporters of metrics. They are a property of the cache itself, under a
// name that all builds of the package share: an app may load one as ES modules and another as CommonJS.
import type { CacheStats, RouteCache } from '../../index.js'
import type { Seconds } from '../../duration.js'

/** The database's part: see `fastify.postgresInvalidation`. */
export interface FeedStats {
  isListening: boolean
  changes: number
  targets: number
  failures: number
  reconnects: number
  refusals: number
  outbox: { lines: number, age: Seconds | null, holder: string | null } | null
}

/** The figures that exporters read. */
export interface Measured extends CacheStats {
  /** Null: this cache has no Postgres feed. */
  feed: FeedStats | null
}

const FEED = Symbol.for('fastify-route-cache.feed')

/** Until the function that it returns is called. */
export function attachFeed (cache: object, stats: () => FeedStats): () => void {
  Object.defineProperty(cache, FEED, { value: stats, configurable: true, enumerable: false })
  return () => {
    if ((cache as { [FEED]?: unknown })[FEED] === stats) delete (cache as { [FEED]?: unknown })[FEED]
  }
}

export function feedOf (cache: object): FeedStats | null {
  return (cache as { [FEED]?: () => FeedStats })[FEED]?.() ?? null
}

export function measured (cache: RouteCache): Measured {
  return { ...cache.stats(), feed: feedOf(cache) }
}
