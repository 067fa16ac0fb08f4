// The app under test, forked by app.ts with an AppConfig as JSON: the plugin and an ioredis client as a usual user has them,
// all options at their defaults, and a database in this process. It tells its address when it listens, and ends when the
// channel to its parent closes.
import fastify, { type FastifyInstance } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { setTimeout as delay } from 'node:timers/promises'
import routeCache, { type RouteCacheOptions } from '../../plugin/index.js'
import type { AppConfig, Body, ProcessStats } from './app-config.js'

/** What the database takes to answer. */
const QUERY_TIME = 5
const OPENED = 'the cache does without its store'

const { redis: at, broken } = JSON.parse(process.argv[2] as string) as AppConfig
const counted = { unhandledRejections: 0, breakerOpenings: 0, logLines: 0 }
process.once('disconnect', () => process.exit())
process.on('unhandledRejection', (error) => {
  counted.unhandledRejections++
  console.error('unhandled rejection', error)
})

const redis = 'nodes' in at ? new Cluster(at.nodes) : new Redis(at)
// As @fastify/redis does: what fails is seen in its commands.
redis.on('error', () => {})
const app = fastify({ logger: { level: 'warn', stream: { write: countLine } } })
const options: RouteCacheOptions = broken === 'patient' ? { deadline: 0, breakerThreshold: 0 } : {}
await app.register(routeCache, { redis, ...options })
if (broken === 'leaky') app.addHook('onRequest', async () => { await redis.set('last-request', 'now') })
addRoutes(app, new Map())
process.send?.(await app.listen({ host: '127.0.0.1', port: 0 }))

function countLine (line: string): void {
  counted.logLines++
  if (line.includes(OPENED)) counted.breakerOpenings++
}

/** `versions`: the database, a version of each row. */
function addRoutes (app: FastifyInstance, versions: Map<number, number>): void {
  const read = async ({ params }: { params: unknown }): Promise<Body> => {
    const row = Number((params as { id: string }).id)
    const version = versions.get(row) ?? 0
    // What it read may be old by now: that is what a slow fill is.
    await delay(QUERY_TIME)
    return { row, version }
  }
  app.get('/row/:id', { cache: { key: 'row:{id}' } }, read)
  app.get('/tagged/:id', { cache: { key: 'tagged:{id}', tags: ['group:{id}'] } }, read)
  app.get('/uncached/:id', read)
  app.post('/row/:id', async ({ params }, reply): Promise<Body | { code: string }> => {
    const { id } = params as { id: string }
    const row = Number(id)
    const version = (versions.get(row) ?? 0) + 1
    versions.set(row, version)
    try {
      if (broken !== 'deaf') await app.cache.invalidate({ keys: [`row:${id}`], tags: [`group:${id}`] })
      return { row, version }
    } catch (error) {
      reply.code(503)
      return { code: String((error as { code?: unknown }).code ?? error) }
    }
  })
  app.get('/stats', async () => stats())
}

function stats (): ProcessStats {
  // Twice: what a first collection finalises goes with the second.
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  const resources: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
  return {
    cache: app.cache.stats(),
    memory: { heapUsed, external },
    resources,
    listeners: listenersOf(redis) + listenersOf(process),
    ...counted
  }
}

function listenersOf (emitter: Pick<NodeJS.EventEmitter, 'eventNames' | 'listenerCount'>): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
}
