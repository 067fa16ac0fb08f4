// The checks for what is most likely a mistake in how an app uses the cache.

/** Each can be silenced by the plugin's option `quiet`. */
export const CHECKS = [
  'late-redis', 'unknown-name', 'query-left-out', 'shared-key', 'misplaced-option', 'config-cache', 'unused-rule',
  'never-stored', 'never-invalidated', 'lasting-404', 'unsaid-user', 'not-worth-caching'
] as const

/** The name of a check. */
export type Check = typeof CHECKS[number]
