// The options by which caches in front of the app (a CDN, Varnish) hear of invalidations.

/** An invalidation that Redis has confirmed: what `onInvalidate` is called with. */
export interface InvalidatedTargets {
  /** Keys, as `cache.inspect` and the log have them. */
  keys: readonly string[]
  /** Tags, as the log has them. */
  tags: readonly string[]
  /** All keys that begin with one of these. */
  prefixes: readonly string[]
  /** Everything under the app's prefix. */
  all: boolean
  /** Entries were made stale, where they may be served so. */
  soft: boolean
  /**
   * The names to purge: with `surrogateKeys`, each response that was sent and that this may concern has one of them in its
   * field. Never empty. A prefix has no name of its own: its purge is that of everything under the app's prefix.
   */
  surrogateKeys: readonly string[]
  /** Aborted when `onInvalidateTimeout` is over: for `fetch(url, { signal })`. */
  signal: AbortSignal
}

/** The plugin's option `onInvalidate`. */
export type OnInvalidate = (invalidated: InvalidatedTargets) => unknown
