// async-cache-dedupe in the handlers of Fastify, its storage Redis over an ioredis client, as its README has it:
// `invalidation` on, references, referencesTTL the ttl, which is ours, 60 s. The writer clears the one by its key and the
// other by its reference. Its garbage collector (README: every minute) is left out: no run is that long.
//
// Plain JavaScript, as the root's type check and lint run where the packages of this folder are not installed.
import { createCache } from 'async-cache-dedupe'
import fastify from 'fastify'
import { Redis } from 'ioredis'

const TTL = 60

/** @param {import('../../test/chaos/app-config.js').Surroundings} surroundings */
export async function start ({ redis, database, stats }) {
  const client = new Redis(redis)
  client.on('error', () => {})
  const app = fastify()
  const storage = { type: 'redis', options: { client, invalidation: { referencesTTL: TTL } } }
  const cache = createCache({ ttl: TTL, storage })
  cache.define('row', async (id) => await database.read(id))
  cache.define('tagged', { references: (id) => [`group:${id}`] }, async (id) => await database.read(id))

  app.get('/row/:id', async ({ params }) => await cache.row(params.id))
  app.get('/tagged/:id', async ({ params }) => await cache.tagged(params.id))
  app.get('/uncached/:id', async ({ params }) => await database.read(params.id))
  app.post('/row/:id', async ({ params: { id } }, reply) => {
    const written = database.write(id)
    try {
      await Promise.all([cache.clear('row', id), cache.invalidateAll(`group:${id}`)])
      return written
    } catch (error) {
      reply.code(503)
      return { code: String(error.code ?? error.message) }
    }
  })
  app.get('/stats', async () => stats())
  return { url: await app.listen({ host: '127.0.0.1', port: 0 }), emitters: [client] }
}
