// `fastify-route-cache/prometheus`: the cache's metrics in the app's prom-client registry, and, if wanted, a route that
// exposes it.
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { register as globalRegistry } from 'prom-client'
import { optionError } from '../../errors.js'
import { BUCKETS } from '../metrics/instruments.js'
import { readSubject, type SubjectOptions } from '../metrics/subject.js'
import { Collection, type CollectionParts, type MetricsRegistry } from './collection.js'

export type { MetricsRegistry } from './collection.js'

/** The options of `prometheusMetrics`. */
export interface PrometheusOptions extends SubjectOptions {
  /** Where they go: `app.metrics.client.register` of fastify-metrics, for example. Default: prom-client's global one. */
  register?: MetricsRegistry
  /** The beginning of all names. Default `route_cache_`. Letters, digits and `_`. */
  prefix?: string
  /** The upper bounds of the histograms, in seconds, growing. Default: 17 of them, from 0.0001 to 30. */
  buckets?: readonly number[]
  /** Where GET answers with the whole registry: `/metrics`. Default: nowhere, as most have such a route already. */
  path?: string
}

const WHERE = 'fastify-route-cache/prometheus'
const NAMES = ['register', 'prefix', 'buckets', 'path']

/**
 * Collects a cache's metrics until the app closes: `await app.register(prometheusMetrics)`, behind the cache itself. Caches
 * that share a registry are told apart by the label `cache`.
 * @throws RouteCacheError FRC_OPTION where an option is wrong, or a cache of that name is in the registry already
 */
export const prometheusMetrics = fp(plugin, { fastify: '5.x', name: 'fastify-route-cache-prometheus' })
export default prometheusMetrics

/** Of each registry, by the beginning of its names. */
const collections = new WeakMap<MetricsRegistry, Map<string, Collection>>()

async function plugin (app: FastifyInstance, options: PrometheusOptions): Promise<void> {
  const { cache, name } = readSubject(WHERE, app, { options, names: NAMES })
  const { register = globalRegistry, prefix = 'route_cache_', buckets = BUCKETS, path } = options
  check({ register, prefix, buckets, path })
  const collection = collectionOf(register, { prefix, buckets })
  if (collection.has(name)) {
    throw optionError(WHERE, 'name', name, 'a cache of this name is in the registry already; give each a name of its own, or ' +
      'a registry')
  }
  collection.add(name, cache)
  app.addHook('onClose', async () => { collection.remove(name) })
  if (path === undefined) return
  app.get(path, async (_request, reply) => {
    const text = await register.metrics()
    return reply.type(register.contentType).send(text)
  })
}

function collectionOf (
  register: MetricsRegistry, { prefix, buckets }: Pick<CollectionParts, 'prefix' | 'buckets'>
): Collection {
  const own = collections.get(register) ?? new Map<string, Collection>()
  collections.set(register, own)
  const collection = own.get(prefix) ?? new Collection({ register, prefix, buckets, onEmpty: () => { own.delete(prefix) } })
  own.set(prefix, collection)
  return collection
}

function check ({ register, prefix, buckets, path }: Record<'register' | 'prefix' | 'buckets' | 'path', unknown>): void {
  if (typeof (register as { registerMetric?: unknown } | null)?.registerMetric !== 'function') {
    throw optionError(WHERE, 'register', register, 'it is a Registry of prom-client')
  }
  if (typeof prefix !== 'string' || !/^[A-Za-z_]\w*$/.test(prefix)) {
    throw optionError(WHERE, 'prefix', prefix, 'it has letters, digits and "_" only, and does not begin with a digit')
  }
  const isBound = (value: unknown, i: number, all: unknown[]): boolean =>
    typeof value === 'number' && value > (i === 0 ? 0 : all[i - 1] as number)
  if (!Array.isArray(buckets) || buckets.length === 0 || !buckets.every(isBound)) {
    throw optionError(WHERE, 'buckets', buckets, 'it is a list of seconds above 0, each more than the one before')
  }
  if (path !== undefined && (typeof path !== 'string' || !path.startsWith('/'))) {
    throw optionError(WHERE, 'path', path, 'it begins with "/": "/metrics"')
  }
}
