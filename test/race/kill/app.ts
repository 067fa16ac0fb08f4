// What readers and writers have in common: the plugin on Redis and Postgres, in a process that ends with its parent.
import fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import routeCache from '../../../plugin/index.js'
import { clientOf } from '../checker/app-client.js'
import type { Address } from '../checker/backend.js'

/** Seconds: how long a dead writer's targets stay out of the cache. */
export const QUARANTINE_TIME = 1

export interface AppConfig {
  postgres: string
  /** Connections to Postgres. */
  connections: number
  redis: Address
}

export interface OpenApp<Config> { app: FastifyInstance, pool: pg.Pool, config: Config }

/** With the config that fleet.ts hands over. */
export async function openApp<Config extends AppConfig> (): Promise<OpenApp<Config>> {
  process.once('disconnect', () => process.exit())
  const config = JSON.parse(process.argv[2] as string) as Config
  const pool = new pg.Pool({ connectionString: config.postgres, max: config.connections, connectionTimeoutMillis: 20_000 })
  const app = fastify({ logger: { level: process.env.LOG_LEVEL ?? 'error' } })
  // Deadlines that a busy machine can keep, where a bypass would prove nothing.
  await app.register(routeCache, {
    redis: await clientOf(config.redis), ttl: 600, quarantineTime: QUARANTINE_TIME, deadline: 5, writeDeadline: 10
  })
  return { app, pool, config }
}
