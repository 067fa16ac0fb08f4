// Plugins that are registered already: the cache, and @fastify/postgres with its connection.
import { RouteCacheError, optionError } from '../../errors.js'
import { own } from '../../key/key.js'
import type { Cache } from './found.js'
import type { PostgresSettings } from './settings.js'

/** A Fastify instance with the decorators of others. */
export type AppInstance = Readonly<Record<string, unknown>>

const WHERE = 'fastify-route-cache/postgres'

interface FoundCache extends Cache {
  stats: () => { store: string }
  prefix: string
}

/** Throws FRC_OPTION where it is not there. */
export function findCache (app: AppInstance, decorator: string): FoundCache {
  const cache = app[decorator] as Partial<FoundCache> | undefined
  if (typeof cache?.invalidate === 'function' && typeof cache.stats === 'function') return cache as FoundCache
  throw optionError(WHERE, 'decorator', decorator, 'fastify-route-cache is not there under this name; register it first: ' +
    'await app.register(routeCache)')
}

/** As node-postgres takes it. Throws FRC_OPTION where nothing says where Postgres is. */
export function findConfig (app: AppInstance, { connectionString, connection, namespace }: PostgresSettings): object {
  if (connectionString !== null) return { connectionString }
  if (connection !== null) return connection
  const decorated = namespace === null ? app.pg : own(app.pg, namespace)
  const options = own(own(decorated, 'pool'), 'options')
  if (typeof options === 'object' && options !== null) return configOf(options)
  if (namespace !== null) {
    throw optionError(WHERE, 'namespace', namespace, 'fastify.pg has no connection of this name; register @fastify/postgres with it first')
  }
  throw new RouteCacheError('FRC_OPTION', `${WHERE}: nothing says where Postgres is; register @fastify/postgres first, or give ` +
    'connectionString')
}

/** The pool's own object: a copy would lack the password and the key of ssl, which it hides. */
function configOf (options: object): object {
  const { password, ssl } = options as { password?: unknown, ssl?: unknown }
  return { ...options, ...password !== undefined && { password }, ...ssl !== undefined && { ssl } }
}
