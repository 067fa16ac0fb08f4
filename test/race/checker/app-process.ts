// One of the processes under test, forked by fleet.ts with an AppConfig as JSON. It tells its address when it listens, and
// ends when the channel to its parent closes, however the parent ended.
import fastify from 'fastify'
import routeCache from '../../../plugin/index.js'
import { clientOf } from './app-client.js'
import type { Address } from './backend.js'
import { Database } from './database.js'
import { addRoutes } from './origin.js'
import type { ModeName } from './workload.js'

export interface AppConfig {
  process: number
  modes: ModeName[]
  postgres: string
  /** Connections to Postgres. */
  connections: number
  redis: Address
  /** Whether Redis may be away for a while. */
  isTroubled: boolean
  /** Whether it has a tier. */
  memory: boolean
}

const config = JSON.parse(process.argv[2] as string) as AppConfig
process.once('disconnect', () => process.exit())

const redis = await clientOf(config.redis, config.process)
const database = new Database(config.postgres, config.connections)
const app = fastify({ logger: { level: process.env.LOG_LEVEL ?? 'error' } })
// Deadlines that a busy machine can keep, where a bypass would prove nothing.
const deadlines = config.isTroubled ? { deadline: 0.5, writeDeadline: 2 } : { deadline: 5, writeDeadline: 10 }
// An older plugin does not know the option.
await app.register(routeCache, { redis, ttl: 600, ...deadlines, ...config.memory && { memory: {} } })
addRoutes({ app, database, process: config.process }, config.modes)
process.send?.(await app.listen({ host: '127.0.0.1', port: 0 }))
