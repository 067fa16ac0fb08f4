// `fastify-route-cache/prometheus`: the cache's metrics in the app's prom-client registry, and, if wanted, a route that
// exposes it.
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { register as globalRegistry } from 'prom-client'
import { optionError, show } from '../../errors.js'
import { OptionReader } from '../../options/reader.js'
import { BUDGET_NAMES, planned, readBudget, type BudgetOptions } from '../metrics/budget.js'
import { readSubject, type SubjectOptions } from '../metrics/subject.js'
import { Collection, type MetricsRegistry } from './collection.js'

export type { MetricsRegistry } from './collection.js'

/** The options of `prometheusMetrics`. */
export interface PrometheusOptions extends SubjectOptions, BudgetOptions {
  /** The registry: `app.metrics.client.register` of fastify-metrics, for example. Default: prom-client's global one. */
  register?: MetricsRegistry | undefined
  /** The beginning of all names. Default `route_cache_`. Letters, digits and `_`. */
  prefix?: string
  /**
   * The upper bounds of the histograms, in seconds, growing. Default: 17 of them, from 0.0001 to 30; 7 from 0.001 to 5 where
   * each route has a histogram.
   */
  buckets?: readonly number[] | undefined
  /** The path whose GET answers with the whole registry: `/metrics`. Default: none, as most apps have such a route. */
  path?: string | undefined
}

const WHERE = 'fastify-route-cache/prometheus'
const NAMES = ['register', 'prefix', 'buckets', 'path', ...BUDGET_NAMES]

/**
 * Collects a cache's metrics until the app closes: `await app.register(prometheusMetrics)`, behind the cache itself. Caches
 * that share a registry are told apart by the label `cache`.
 * @throws RouteCacheError FRC_OPTION where an option is wrong, or a cache of that name is in the registry already
 */
export const prometheusMetrics = fp(plugin, { fastify: '5.x', name: 'fastify-route-cache-prometheus' })
export default prometheusMetrics

/** Whatever the plugin's option `routes` says of all routes. */
const UNCACHED = { cache: false } as const

/** The collections of each registry, by the beginning of their names. */
const collections = new WeakMap<MetricsRegistry, Map<string, Collected>>()

async function plugin (app: FastifyInstance, options: PrometheusOptions): Promise<void> {
  const { cache, name } = readSubject(WHERE, app, { options, names: NAMES })
  const { register, path, ...wanted } = readOptions(options)
  const collection = collectionOf(register, wanted)
  if (collection.has(name)) {
    throw optionError(WHERE, 'name', name, 'a cache of this name is in the registry already; give each a name of its own, or ' +
      'a registry')
  }
  collection.add(name, cache)
  app.addHook('onClose', async () => { collection.remove(name) })
  if (path === null) return
  app.get(path, UNCACHED, async (_request, reply) => {
    const text = await register.metrics()
    return reply.type(register.contentType).send(text)
  })
}

/** Properties of a collection's metrics. */
interface Wanted { prefix: string, form: Form }

/** The options that caches in one collection share, as its metrics exist once. */
type Form = Pick<PrometheusOptions, 'buckets' | 'labels' | 'histograms'>

interface Collected { collection: Collection, form: Form }

function collectionOf (register: MetricsRegistry, { prefix, form }: Wanted): Collection {
  const own = collections.get(register) ?? new Map<string, Collected>()
  collections.set(register, own)
  const there = own.get(prefix)
  if (there !== undefined) {
    mustBeAlike(there.form, form)
    return there.collection
  }
  const plan = planned(readBudget(WHERE, form), form.buckets)
  const collection = new Collection({ register, prefix, plan, onEmpty: () => { own.delete(prefix) } })
  own.set(prefix, { collection, form })
  return collection
}

/** Throws FRC_OPTION where another cache has made the metrics in another form. */
function mustBeAlike (there: Form, form: Form): void {
  for (const name of ['buckets', 'labels', 'histograms'] as const) {
    if (JSON.stringify(there[name]) === JSON.stringify(form[name])) continue
    throw optionError(WHERE, name, form[name], `${show(there[name])} was said for another cache in this registry, and its metrics exist ` +
      'once; write the same here, or give this cache another prefix or registry')
  }
}

function readOptions (options: PrometheusOptions): Wanted & { register: MetricsRegistry, path: string | null } {
  const reader = new OptionReader(WHERE, options)
  const { route, histograms } = readBudget(WHERE, options)
  const buckets = reader.read<readonly number[] | null>('buckets', null, areBounds, 'it is a list of seconds above 0, each more than the one before')
  return {
    register: reader.read<MetricsRegistry>('register', globalRegistry, isRegistry, 'it is a Registry of prom-client'),
    prefix: reader.read('prefix', 'route_cache_', isPrefix, 'it has letters, digits and "_" only, and does not begin with a digit'),
    path: reader.read<string | null>('path', null, isPath, 'it begins with "/": "/metrics"'),
    form: { histograms, ...route !== undefined && { labels: { route } }, ...buckets !== null && { buckets } }
  }
}

function isRegistry (value: unknown): boolean {
  return typeof (value as { registerMetric?: unknown } | null)?.registerMetric === 'function'
}

function isPrefix (value: unknown): boolean {
  return typeof value === 'string' && /^[A-Za-z_]\w*$/.test(value)
}

function isPath (value: unknown): boolean {
  return typeof value === 'string' && value.startsWith('/')
}

function areBounds (value: unknown): boolean {
  const isBound = (bound: unknown, i: number, all: unknown[]): boolean =>
    typeof bound === 'number' && bound > (i === 0 ? 0 : all[i - 1] as number)
  return Array.isArray(value) && value.length > 0 && value.every(isBound)
}
