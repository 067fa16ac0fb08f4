// What we use of a client, so that ioredis 5 and 6, `Redis` and `Cluster` all fit, and no types of theirs are imported.
import { RouteCacheError } from '../errors.js'

/** An ioredis client: `Redis` or `Cluster`. */
export interface RedisClient {
  status: string
  isCluster?: boolean
  options: object
  ping (): Promise<unknown>
  getBuffer (key: string): Promise<Buffer | null>
  mgetBuffer (...keys: string[]): Promise<(Buffer | null)[]>
  get (key: string): Promise<string | null>
  pttl (key: string): Promise<number>
  unlink (...keys: string[]): Promise<number>
  info (...sections: 'replication'[]): Promise<string>
  /** Seconds, and the microseconds of the next one. */
  wait (replicas: number, time: number): Promise<number>
  on (event: 'close' | 'end', listener: () => void): unknown
  off (event: 'close' | 'end', listener: () => void): unknown
  eval (script: string, keys: number, ...args: (string | Buffer | number)[]): Promise<unknown>
  evalsha (sha: string, keys: number, ...args: (string | Buffer | number)[]): Promise<unknown>
  scan?(cursor: string, match: 'MATCH', pattern: string, count: 'COUNT', size: number): Promise<[string, string[]]>
  nodes?(role: 'master'): RedisClient[]
  pipeline?(): Pipeline
  /** On a Cluster: by slot, the primary's `host:port` first. */
  slots?: string[][]
  cluster?(command: 'NODES'): Promise<unknown>
  refreshSlotsCache?(callback: (error?: Error | null) => void): void
}

/** Commands that are sent together. */
export interface Pipeline {
  getBuffer (key: string): unknown
  exec (): Promise<Array<[error: Error | null, reply: unknown]> | null>
}

/** Whether this is such a client. */
export function isRedisClient (value: unknown): value is RedisClient {
  const client = value as Partial<Record<keyof RedisClient, unknown>> | null | undefined
  return typeof client === 'object' && client !== null && typeof client.status === 'string' &&
    typeof client.getBuffer === 'function' && typeof client.evalsha === 'function'
}

/** ioredis' own `keyPrefix`, which it puts before every key of a command, but not before SCAN's pattern. */
export function keyPrefixOf (client: RedisClient): string {
  const options = client.options as { keyPrefix?: string, redisOptions?: { keyPrefix?: string } } | undefined
  return options?.keyPrefix ?? options?.redisOptions?.keyPrefix ?? ''
}

/** Throws FRC_OPTION where exact invalidation could not be kept with this client. */
export function mustFit (client: RedisClient): void {
  if (client.isCluster === true && keyPrefixOf(client) !== '') {
    throw new RouteCacheError('FRC_OPTION', `redis: the Cluster client has keyPrefix "${keyPrefixOf(client)}", which puts ` +
      'an entry and its lease into different slots; give the plugin a client without it, and use its own prefix option')
  }
  if (readsFromReplicas(client)) {
    throw new RouteCacheError('FRC_OPTION', 'redis: the client reads from replicas, which may still have what was ' +
      'invalidated; give the plugin one that reads from primaries (no scaleReads, no role: "slave")')
  }
}

/** Whether sentinels find the primary for it, and it does not listen when they announce another one. */
export function isDeafToFailovers (client: RedisClient): boolean {
  const { sentinels, failoverDetector } = (client.options ?? {}) as { sentinels?: unknown, failoverDetector?: unknown }
  return Array.isArray(sentinels) && failoverDetector !== true
}

/** Throws FRC_OPTION where the tier could not have a connection of its own beside this client. */
export function mustBeTrackable (client: RedisClient): void {
  const { duplicate, nodes } = client as { duplicate?: unknown, nodes?: unknown }
  if (typeof (client.isCluster === true ? nodes : duplicate) === 'function') return
  throw new RouteCacheError('FRC_OPTION', 'memory: the Redis client has no duplicate(), by which the tier connects to be told ' +
    'what changes; give the plugin an ioredis client, or leave memory out')
}

/** Whether reads go to replicas, which lag behind. */
function readsFromReplicas (client: RedisClient): boolean {
  const { scaleReads = 'master', role = 'master' } = (client.options ?? {}) as { scaleReads?: unknown, role?: unknown }
  return role === 'slave' || (client.isCluster === true && scaleReads !== 'master')
}
