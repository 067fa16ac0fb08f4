// `fastify-route-cache/opentelemetry`: the cache's metrics by a meter of OpenTelemetry's API, and the outcome as attributes
// of the request's span. Both cost next to nothing without an SDK.
import { metrics, type Meter } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { optionError } from '../../errors.js'
import { BUDGET_NAMES, planned, readBudget, type BudgetOptions } from '../metrics/budget.js'
import { readSubject, type SubjectOptions } from '../metrics/subject.js'
import { measure } from './measuring.js'
import { trace } from './tracing.js'

/** The options of `openTelemetry`. */
export interface OpenTelemetryOptions extends SubjectOptions, BudgetOptions {
  /** The meter for the instruments. Default: the global provider's meter called `fastify-route-cache`. */
  meter?: Meter | undefined
  /**
   * Whether the request's span (that of @fastify/otel, or else the active one) gets attributes: `cache.outcome`,
   * `cache.hit`, `cache.reason`, `cache.key`, `cache.ttl`. `{ key: false }` leaves out the key, where that tells more than
   * the collector should know. Default true.
   */
  spans?: boolean | { key?: boolean | undefined } | undefined
}

const WHERE = 'fastify-route-cache/opentelemetry'
const NAMES = ['meter', 'spans', ...BUDGET_NAMES]

/**
 * Measures a cache until the app closes: `await app.register(openTelemetry)`, behind the cache itself.
 * @throws RouteCacheError FRC_OPTION where an option is wrong
 */
export const openTelemetry = fp(plugin, { fastify: '5.x', name: 'fastify-route-cache-opentelemetry' })
export default openTelemetry

async function plugin (app: FastifyInstance, options: OpenTelemetryOptions): Promise<void> {
  const subject = readSubject(WHERE, app, { options, names: NAMES })
  const { meter = metrics.getMeter('fastify-route-cache'), spans = true } = options
  check({ meter, spans })
  const ends = [measure(subject, meter, planned(readBudget(WHERE, options)))]
  if (spans !== false) ends.push(trace(subject, spans === true || spans.key !== false))
  app.addHook('onClose', async () => { for (const end of ends) end() })
}

function check ({ meter, spans }: Record<'meter' | 'spans', unknown>): void {
  if (typeof (meter as { createHistogram?: unknown } | null)?.createHistogram !== 'function') {
    throw optionError(WHERE, 'meter', meter, 'it is a Meter of @opentelemetry/api')
  }
  const isObject = typeof spans === 'object' && spans !== null && Object.keys(spans).every((name) => name === 'key')
  if (typeof spans !== 'boolean' && !(isObject && ['boolean', 'undefined'].includes(typeof (spans as { key?: unknown }).key))) {
    throw optionError(WHERE, 'spans', spans, 'it is true or false, or { key }: whether spans tell the key')
  }
}
