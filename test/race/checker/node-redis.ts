// A client of node-redis as an app makes it.
import { createClient, createCluster } from 'redis'

interface Place { host: string, port: number }

/** Connected, and to be closed with `destroy()`. */
export type AppClient = ReturnType<typeof createClient> | ReturnType<typeof createCluster>

export async function nodeRedis (place: Place | { nodes: readonly Place[] }, options: object = {}): Promise<AppClient> {
  // It tries again soon, as a test wants to see that it does.
  const reconnectStrategy = (): number => 50
  const client = 'nodes' in place
    ? createCluster({ rootNodes: rootsOf(place.nodes), defaults: { socket: { reconnectStrategy } }, ...options })
    : createClient({ socket: { host: place.host, port: place.port, reconnectStrategy }, ...options })
  // The package ends a process whose app does not listen to them.
  client.on('error', () => {})
  await client.connect()
  return client as AppClient
}

function rootsOf (nodes: readonly Place[]): Array<{ socket: Place }> {
  return nodes.map(({ host, port }) => ({ socket: { host, port } }))
}
