// Our subject: the plugin and a client as a usual user has them, all options at their defaults.
import fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import routeCache, { type RouteCacheOptions } from '../../plugin/index.js'
import { nodeRedis } from '../race/checker/node-redis.js'
import type { Running, Surroundings, Written } from './app-config.js'

export async function start ({ redis: at, broken, database, stats, log }: Surroundings): Promise<Running> {
  const redis = at.client === 'node-redis' ? await nodeRedis(at) : ioredis(at)
  const app = fastify({ logger: { level: 'warn', stream: log } })
  // A write that is given up would have all requests go past the cache, and so wait no more.
  // Longer than any fault, but not for ever: the run has to end.
  const options: RouteCacheOptions = broken === 'patient' ? { deadline: 10, writeDeadline: 10, breakerThreshold: 0 } : {}
  await app.register(routeCache, { redis, ...options })
  if (broken === 'leaky') app.addHook('onRequest', async () => { await (redis as Redis).set('last-request', 'now') })
  const read = async ({ params }: { params: unknown }): Promise<unknown> => await database.read(idOf(params))
  app.get('/row/:id', { cache: { key: 'row:{id}' } }, read)
  app.get('/tagged/:id', { cache: { key: 'tagged:{id}', tags: ['group:{id}'] } }, read)
  app.get('/uncached/:id', read)
  app.post('/row/:id', async ({ params }, reply): Promise<Written | { code: string }> => {
    const id = idOf(params)
    const written = database.write(id)
    try {
      if (broken !== 'deaf') await app.cache.invalidate({ keys: [`row:${id}`], tags: [`group:${id}`] })
      return written
    } catch (error) {
      const code = String((error as { code?: unknown }).code)
      // Whatever else fails is no refusal, but a failure.
      if (!code.startsWith('FRC_')) throw error
      reply.code(503)
      return { code }
    }
  })
  app.get('/stats', async () => stats())
  return { url: await app.listen({ host: '127.0.0.1', port: 0 }), cache: () => app.cache.stats(), emitters: [redis as Redis] }
}

function ioredis (at: Surroundings['redis']): Redis | Cluster {
  const redis = 'nodes' in at ? new Cluster(at.nodes) : new Redis(at)
  // As @fastify/redis does: what fails is seen in its commands.
  redis.on('error', () => {})
  return redis
}

function idOf (params: unknown): string {
  return (params as { id: string }).id
}
