// A user's TypeScript with clients of node-redis, as they are.
import Fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import { createCache } from 'fastify-route-cache/client'
import { createClient, createCluster } from 'redis'

const clients = [createClient({ url: 'redis://127.0.0.1:6379' }), createClient({ RESP: 2 }), createCluster({ rootNodes: [] })] as const

export async function build () {
  const app = Fastify()
  await app.register(routeCache, { redis: clients[0] })
  await app.register(routeCache, { decorator: 'b', redis: clients[1] })
  await app.register(routeCache, { decorator: 'c', redis: clients[2] })
  return app
}

export async function work () {
  await createCache({ redis: clients[0] })
  await createCache({ redis: clients[1] })
  return await createCache({ redis: clients[2] })
}
