// The client that @fastify/redis has put on the app, where the plugin is given none.
import { optionError } from '../errors.js'
import { own } from '../key/key.js'
import { clientForms, clientFrom, isClient } from '../store/server/clients.js'
import { looksLikeClient, type RedisClient } from '../store/server/redis-client.js'

/** The client by which @fastify/redis has decorated the instance, by namespace or alone; null: there is none. */
export function findClient (app: object, namespace: string | null): RedisClient | null {
  const found = (app as { redis?: unknown }).redis
  const client = namespace === null ? found : own(found, namespace)
  if (isClient(client)) return clientFrom(client)
  if (namespace === null && found === undefined) return null
  if (looksLikeClient(client)) throw optionError('fastify-route-cache', 'fastify.redis', client, clientForms(client))
  const names = typeof found === 'object' && found !== null ? Object.keys(found).filter((name) => isClient(own(found, name))) : []
  const right = found === undefined
    ? 'register @fastify/redis with it first'
    : `fastify.redis has the namespaces ${names.join(', ')}: name one of them`
  throw optionError('fastify-route-cache', 'namespace', namespace ?? undefined, right)
}
