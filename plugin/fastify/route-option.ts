// Where a route says how it is cached: in its option `cache`, or in `config.routeCache`. The second is for frameworks that
// give routes nothing but a `config`. Not `config.cache`: apps have one of their own.
import { optionError, show } from '../errors.js'
import type { Warning } from '../checks/warnings.js'
import { own } from '../key/key.js'
import { DECLARING } from '../writing/declaration.js'
import { CACHING } from '../route/policy.js'

/** As much of a route as says it. */
interface DeclaredRoute { method: string | string[], url: string, cache?: unknown, config?: unknown }

/** A route's own option; undefined: it has none. */
export interface GivenOption {
  option: unknown
  /** In `config.routeCache`. */
  isInConfig: boolean
}

/** `cache: false` holds, whatever a framework puts in `config`. Throws FRC_OPTION where both say something else. */
export function givenOption ({ method, url, cache, config }: DeclaredRoute): GivenOption {
  const inConfig = own(config, 'routeCache')
  if (cache === undefined) return { option: inConfig, isInConfig: inConfig !== undefined }
  if (inConfig === undefined || cache === false) return { option: cache, isInConfig: false }
  throw optionError(`route ${[method].flat().join(',')} ${url}`, 'config.routeCache', inConfig, `the route has cache: ${show(cache)}, ` +
    'too, so one of them would not count: leave one out')
}

const NAMES: readonly string[] = [...CACHING, ...DECLARING]

/** `config.cache` is not read: the warning where it has the form of ours, and the route has no other; null: it has not. */
export function unreadConfig ({ method, url, cache, config }: DeclaredRoute): Warning | null {
  const found = own(config, 'cache')
  if (cache !== undefined || own(config, 'routeCache') !== undefined || typeof found !== 'object' || found === null) return null
  const names = Object.keys(found)
  if (Array.isArray(found) || names.length === 0 || !names.every((name) => NAMES.includes(name))) return null
  const route = `${[method].flat().join(',')} ${url}`
  return {
    check: 'config-cache',
    route,
    message: `route ${route} has config: { cache: ${show(found)} }, which this plugin does not read; write cache: { … } beside config, or ` +
      'config: { routeCache: { … } }'
  }
}
