// The demo's Fastify instance, wired. Which Postgres and which store it stands on is decided by the caller.
import fastifyPostgres from '@fastify/postgres'
import fastifyRedis from '@fastify/redis'
import Fastify, { type FastifyInstance } from 'fastify'
import routeCache from 'fastify-route-cache'
import dashboard from 'fastify-route-cache/dashboard'
import postgresInvalidation from 'fastify-route-cache/postgres'
import type { Cluster, Redis } from 'ioredis'
import { refuseOtherHosts } from './hosts.js'
import { answerFrameworkError, answerProblems } from './problem.js'
import { disconnectRedis } from './redis.js'
import { cities } from './routes/cities.js'
import { countries } from './routes/countries.js'
import { experiments } from './routes/experiments.js'
import { invalidations } from './routes/invalidations.js'
import { nearest } from './routes/nearest.js'
import { page } from './routes/page.js'
import { users } from './routes/users.js'
import { schema } from './schema.js'

export interface DemoOptions {
  /** A database that `prepareDatabase` has seen. */
  databaseUrl: string
  /** How the page calls it. Default `Postgres`. */
  databaseName?: string
  /** A connected client; the app closes it. Undefined: the plugin's in-process store. */
  redis?: Redis | Cluster | undefined
  /** Names under which browsers reach it, beside localhost and addresses. Default: none. */
  hosts?: readonly string[]
  /** Default `silent`. */
  logLevel?: string
  /** How long a request waits for Redis. Default: the plugin's. */
  deadline?: string | undefined
}

const watched = [
  { table: `${schema}.cities`, keys: ['city:{id}', 'countries'], tags: ['cities', 'country:{country}'] },
  { table: `${schema}.users`, keys: 'user:{id}' }
]

export async function buildApp (options: DemoOptions): Promise<FastifyInstance> {
  const { databaseUrl, databaseName = 'Postgres', redis, hosts = [], logLevel = 'silent', deadline } = options
  const app = Fastify({
    logger: { level: logLevel },
    bodyLimit: 16 * 1024,
    // On close, browsers' idle connections would hold it for seconds.
    forceCloseConnections: true,
    frameworkErrors: answerFrameworkError,
    ajv: { customOptions: { allErrors: true, verbose: true, coerceTypes: false, removeAdditional: false } }
  })
  answerProblems(app)
  refuseOtherHosts(app, hosts)

  // The app's own writes say themselves what they change: with `set`, what they wrote stays in the cache.
  const session = `-c route_cache.skip=${schema}`
  await app.register(fastifyPostgres, { connectionString: databaseUrl, connectionTimeoutMillis: 5000, options: session })
  // Its idle connections end with an event when the server does; without a listener, so would this process.
  // (On close they are still being torn down when an embedded one stops: nothing to tell.)
  const { pool } = app.pg
  pool.on('error', (error: Error) => { if (!pool.ending) app.log.warn(`a connection to Postgres ended: ${error.message}`) })

  if (redis !== undefined) {
    redis.on('error', (error: Error) => app.log.warn(`Redis: ${error.message}`))
    await app.register(fastifyRedis, { client: redis })
    app.addHook('onClose', async () => await disconnectRedis(redis))
  }
  await app.register(routeCache, { prefix: 'demo', ...deadline !== undefined && { deadline } })

  // Whoever else writes to the database, psql for example, is noticed by triggers.
  await app.register(postgresInvalidation, { schema, watch: watched, install: true })

  // Everybody who reaches the demo may use it; an app of your own says who may: `guard: (request) => ...`.
  await app.register(dashboard, { prefix: '/dashboard', public: true, hosts })

  for (const routes of [cities, countries, nearest, users, invalidations, experiments]) await app.register(routes)
  await app.register(page, { database: databaseName })
  return app
}
