// How Redis is: each server that holds entries, as it says itself.
import type { RedisClient } from '../../index.js'
import { withoutPasswords, withoutSecrets } from '../../errors.js'
import type { Bytes, Milliseconds } from '../../duration.js'
import { within } from '../../store/wait/deadline.js'

/** Nobody waits longer for a server. */
const DEADLINE: Milliseconds = 1_000

/** One server; a figure that it did not give is null. */
export interface ServerHealth {
  /** Host and port; of a single server that is reached otherwise, how. */
  address: string
  /** Why it could not be asked; null: it answered. */
  error: string | null
  /** How long it took to answer a PING. */
  ping: Milliseconds | null
  /** `Redis 7.0.15` or `Valkey 8.0.1`. */
  version: string | null
  memory: Bytes | null
  /** 0: no limit. */
  maxMemory: Bytes | null
  /** Its eviction policy: `allkeys-lru`. */
  policy: string | null
  /** Names that it has evicted since it started. */
  evicted: number | null
  clients: number | null
}

export interface RedisHealth {
  /** The client's word on its connection: `ready`, `reconnecting`. */
  status: string
  servers: ServerHealth[]
}

/** The part of a client that is needed here; ioredis has more forms of it. */
interface Asked {
  status: string
  options: { host?: unknown, port?: unknown, path?: unknown }
  ping: () => Promise<unknown>
  info: () => Promise<string>
}

/** Never rejects. */
export async function healthOf (client: RedisClient): Promise<RedisHealth> {
  const servers = client.isCluster === true ? client.nodes?.('master') ?? [] : [client]
  const asked = await Promise.all(servers.map(async (server) => await ask(server as unknown as Asked)))
  return { status: client.status, servers: asked }
}

async function ask (server: Asked): Promise<ServerHealth> {
  const health: ServerHealth = {
    address: addressOf(server),
    error: null,
    ping: null,
    version: null,
    memory: null,
    maxMemory: null,
    policy: null,
    evicted: null,
    clients: null
  }
  try {
    if (server.status !== 'ready') throw new Error(`not connected (${server.status})`)
    const began = performance.now()
    await within(DEADLINE, server.ping())
    const ping = performance.now() - began
    // If the user may not call INFO, the rest stays unknown.
    const info = await within(DEADLINE, server.info()).catch(() => '')
    return { ...health, ping, ...readInfo(String(info)) }
  } catch (error) {
    return { ...health, error: String((withoutSecrets(error) as Partial<Error> | undefined)?.message ?? error) }
  }
}

function readInfo (info: string): Pick<ServerHealth, 'version' | 'memory' | 'maxMemory' | 'policy' | 'evicted' | 'clients'> {
  const fields = new Map(info.split('\r\n').map((line) => {
    const at = line.indexOf(':')
    return [line.slice(0, at), line.slice(at + 1)]
  }))
  const number = (name: string): number | null => {
    const text = fields.get(name)
    return text === undefined ? null : Number(text)
  }
  const valkey = fields.get('valkey_version')
  const redis = fields.get('redis_version')
  return {
    version: valkey !== undefined ? `Valkey ${valkey}` : redis !== undefined ? `Redis ${redis}` : null,
    memory: number('used_memory'),
    maxMemory: number('maxmemory'),
    policy: fields.get('maxmemory_policy') ?? null,
    evicted: number('evicted_keys'),
    clients: number('connected_clients')
  }
}

/** Never with a password, which a URL may have that was written into the wrong option. */
function addressOf ({ options: { host, port, path } }: Asked): string {
  return typeof path === 'string' && path !== '' ? withoutPasswords(path) : `${String(host ?? 'localhost').replace(/^.*@/, '')}:${String(port ?? 6379)}`
}
