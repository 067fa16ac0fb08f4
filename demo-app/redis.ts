// The client for REDIS_URL: one server, or a Cluster. It is connected here, so that a mistake is said before the start.
import { once } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import { StartError, reasonOf } from './start-error.js'

const patience = 4000

/** A connected client. Several URLs are nodes of a Cluster; a single one may be a node of a Cluster too. */
export async function connectRedis (urls: string[]): Promise<Redis | Cluster> {
  const [only] = urls
  if (only !== undefined && urls.length === 1) {
    const client = await ready(new Redis(only), urls)
    const isCluster = (await client.info('cluster')).includes('cluster_enabled:1')
    if (!isCluster) return client
    client.disconnect()
  }
  return await ready(new Cluster(urls.map(node), { redisOptions: credentials(urls[0] ?? '') }), urls)
}

/** Ends the connection: politely where there is one, at once where Redis is away. */
export async function disconnectRedis (client: Redis | Cluster): Promise<void> {
  if (client.status !== 'ready') return client.disconnect()
  await client.quit().catch(() => client.disconnect())
}

function node (url: string): { host: string, port: number } {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 6379) }
}

// All nodes of a Cluster share these; the nodes that it names itself come without any.
function credentials (url: string): object {
  const { protocol, username, password } = new URL(url)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' ? { tls: {} } : {})
  }
}

// ioredis tries again for ever. Before the start that is no help: the first error counts.
async function ready<Client extends Redis | Cluster> (client: Client, urls: string[]): Promise<Client> {
  try {
    await once(client, 'ready', { signal: AbortSignal.timeout(patience) })
    return client
  } catch (error) {
    client.on('error', () => {})
    client.disconnect()
    const hosts = urls.map((url) => new URL(url).host).join(', ')
    throw new StartError(`REDIS_URL: ${hosts} cannot be used: ${redisReason(error)}`)
  }
}

function redisReason (error: unknown): string {
  const { name, lastNodeError } = error as Error & { lastNodeError?: Error }
  if (name === 'AbortError') return `not ready within ${patience / 1000} seconds`
  const reason = reasonOf(lastNodeError ?? error)
  if (reason.startsWith('NOAUTH')) return 'it wants a password'
  // All that a Cluster's client says of a node that it can't connect to.
  return reason === 'Connection is closed.' ? 'connection refused' : reason
}
