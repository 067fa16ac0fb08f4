// The app of the compress bench: the same routes three times on each store, as they are, with @fastify/compress in front of
// each hit, and with `compress`; and what its process has used of the CPU, its threads included.
import compress from '@fastify/compress'
import fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import routeCache from '../plugin/index.js'

const redis = new Redis(process.env.REDIS_URL!)
// It is ended with its driver; the server may be gone before.
redis.on('error', () => {})
await redis.ping()

const bodies = new Map([[16, rows(16 * 1024)], [256, rows(256 * 1024)]])
const urls: Record<string, string> = {}
for (const store of ['redis', 'memory']) {
  for (const way of ['plain', 'each', 'stored']) urls[`${store} ${way}`] = await start(store, way)
}

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send!({ cpu: user + system })
})
process.on('disconnect', () => { process.exit() })
process.send!({ urls })

async function start (store: string, way: string): Promise<string> {
  const app: FastifyInstance = fastify()
  const options = store === 'redis' ? { redis } : { maxStoreBytes: 256 * 1024 * 1024 }
  await app.register(routeCache, { prefix: `${store}-${way}`, deadline: 5, writeDeadline: 10, ...options })
  if (way === 'each') await app.register(compress)
  const cache = { key: '{size}:{query.n}', ttl: 3600, compress: way === 'stored' }
  app.get('/:size', { cache }, async (request, reply) => {
    const { size } = request.params as { size: string }
    return await reply.type('application/json; charset=utf-8').send(bodies.get(Number(size)))
  })
  return await app.listen({ port: 0, host: '127.0.0.1' })
}

/** A list of rows as an API has them: words that come again, and numbers, ids and dates that don't. */
function rows (length: number): string {
  const words = 'Lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore'.split(' ')
  let seed = 1
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return Math.floor(seed / 0x80000000 * below)
  }
  const parts: string[] = []
  for (let size = 2; size < length; size += parts.at(-1)!.length + 1) {
    const id = random(0x7fffffff)
    parts.push(JSON.stringify({
      id,
      name: `${words[random(15)]} ${words[random(15)]}`,
      email: `user${random(100_000)}@example.com`,
      active: random(2) === 1,
      createdAt: new Date(random(0x7fffffff) * 1000).toISOString(),
      token: id.toString(36) + random(0x7fffffff).toString(36),
      text: Array.from({ length: 8 }, () => words[random(15)]).join(' ')
    }))
  }
  return `[${parts.join()}]`
}
