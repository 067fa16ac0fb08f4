// Whether a value in Redis is a sound report. Another build, or another program, may have written it. A damaged one is left
// out: it must neither fail the page nor be added to the others.
import type { CacheStats, RouteStats } from '../../index.js'
import { own } from '../../key/key.js'
import type { TierStats } from '../../store/store.js'
import type { FeedStats } from '../metrics/feed.js'
import { FORM, type Report } from './recorder.js'

type Check = (value: unknown) => boolean

const isAmount: Check = (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0
const isText: Check = (value) => typeof value === 'string'
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

function listOf (check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check)
}

/** With any names. */
function recordOf (check: Check): Check {
  return (value) => isObject(value) && Object.values(value).every(check)
}

function shapeOf<Name extends string> (checks: Record<Name, Check>): Check {
  return (value) => isObject(value) && Object.entries<Check>(checks).every(([name, check]) => check(own(value, name)))
}

function oneOf (...values: unknown[]): Check {
  return (value) => values.includes(value)
}

const isRoute = shapeOf<keyof RouteStats>({
  hits: isAmount,
  collapsed: isAmount,
  stale: isAmount,
  misses: isAmount,
  rescued: isAmount,
  outdated: isAmount,
  unreadable: isAmount,
  bypasses: recordOf(isAmount),
  refreshes: isAmount,
  sets: isAmount,
  stores: isAmount,
  refusals: recordOf(isAmount),
  errors: isAmount,
  bytes: isAmount,
  hitRate: isAmount
})

const isTier = shapeOf<Exclude<keyof TierStats, 'delay'>>({
  entries: isAmount,
  bytes: isAmount,
  hits: isAmount,
  isLive: oneOf(true, false),
  drops: isAmount
})

const isStats = shapeOf<keyof CacheStats>({
  store: oneOf('redis', 'memory'),
  since: isAmount,
  invalidations: isAmount,
  invalidated: isAmount,
  invalidationsFailed: isAmount,
  breaker: oneOf('closed', 'open'),
  journal: isAmount,
  tier: (value) => value === null || isTier(value),
  flights: isAmount,
  waiting: isAmount,
  total: isRoute,
  routes: recordOf(isRoute),
  values: isRoute
})

const isFeed = shapeOf<keyof FeedStats>({
  isListening: oneOf(true, false),
  changes: isAmount,
  targets: isAmount,
  failures: isAmount,
  reconnects: isAmount,
  refusals: isAmount,
  outbox: (value) => value === null || isOutbox(value)
})

const isOutbox = shapeOf<'lines' | 'age' | 'holder'>({
  lines: isAmount,
  age: (value) => value === null || isAmount(value),
  holder: (value) => value === null || isText(value)
})

const isCounts = listOf(isAmount)

const isShaped = shapeOf<keyof Report>({
  form: oneOf(FORM),
  id: isText,
  process: isText,
  stats: isStats,
  feed: (value) => value === undefined || value === null || isFeed(value),
  times: recordOf(shapeOf({ hit: isCounts, miss: isCounts })),
  past: shapeOf({
    routes: listOf(isText),
    steps: listOf((step) => Array.isArray(step) && isAmount(step[0]) && isCounts(step[1]))
  })
})

export function isReport (value: unknown): value is Report {
  return isShaped(value)
}
