// The part of a Redis client that the plugin uses: ioredis 5 and 6, `Redis` and `Cluster` fit, and none of their types is
// imported.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'

/**
 * For clients of the plugin's own: how long a connection that was given up may keep the process. ioredis waits 2 s for the
 * server to close it, also where it is closed.
 */
export const DISCONNECT_TIMEOUT: Milliseconds = 100

/** An ioredis client: `Redis` or `Cluster`. */
export interface RedisClient {
  status: string
  isCluster?: boolean
  /** The connection; of a Cluster: none. */
  stream?: Partial<Corkable> | null
  options: object
  ping (): Promise<unknown>
  getBuffer (key: string): Promise<Buffer | null>
  mgetBuffer (...keys: string[]): Promise<(Buffer | null)[]>
  get (key: string): Promise<string | null>
  set (key: string, value: string, unit: 'PX', life: Milliseconds): Promise<unknown>
  /** Only where nothing lies there. Gives the value that does; null: it was set. */
  set (key: string, value: string, unit: 'PX', life: Milliseconds, condition: 'NX', answer: 'GET'): Promise<string | null>
  pttl (key: string): Promise<number>
  unlink (...keys: string[]): Promise<number>
  info (...sections: 'replication'[]): Promise<string>
  /** Gives how many replicas have all writes so far. */
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
  /** On a Cluster whose client has no such list: the primary's `host:port`. */
  ownerOf?(slot: number): string | undefined
  cluster?(command: 'NODES'): Promise<unknown>
  refreshSlotsCache?(callback: (error?: Error | null) => void): void
}

/** As a socket of Node: what is written while it is corked leaves in one write. */
export interface Corkable { cork: () => void, uncork: () => void }

/** Commands that are sent together. */
interface Pipeline {
  getBuffer (key: string): unknown
  exec (): Promise<Array<[error: Error | null, reply: unknown]> | null>
}

/** The methods that the clients of a single server and of a Cluster both have. */
const METHODS = [
  'ping', 'getBuffer', 'mgetBuffer', 'get', 'set', 'pttl', 'unlink', 'info', 'on', 'off', 'eval', 'evalsha'
] as const satisfies readonly (keyof RedisClient)[]

/** Whether this is such a client. */
export function isRedisClient (value: unknown): value is RedisClient {
  return missingOf(value).length === 0
}

/** The members of a client that this lacks: all, where it is no object. */
export function missingOf (value: unknown): string[] {
  const client = (typeof value === 'object' ? value : null) as Partial<Record<keyof RedisClient, unknown>> | null
  return [
    ...typeof client?.status === 'string' ? [] : ['status'],
    ...METHODS.filter((name) => typeof client?.[name] !== 'function')
  ]
}

/** Whether it was meant as a client, by its methods: a client that lacks something, or a mock. */
export function looksLikeClient (value: unknown): boolean {
  return typeof value === 'object' && value !== null && missingOf(value).length <= METHODS.length - 2
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
  if (client.isCluster === true && givesTexts(client)) {
    throw new RouteCacheError('FRC_OPTION', 'redis: the Cluster client has redisOptions.stringNumbers, with which it takes the numbers of ' +
      'slots for texts, and so does not find the servers of a third of them; give the plugin a client without it')
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

/** Whether its connections give numbers as texts. Above `redisOptions` the option does nothing. */
function givesTexts (client: RedisClient): boolean {
  const { redisOptions } = (client.options ?? {}) as { redisOptions?: { stringNumbers?: unknown } }
  return redisOptions?.stringNumbers === true
}

/** Whether reads go to replicas, which lag behind. */
function readsFromReplicas (client: RedisClient): boolean {
  const { scaleReads = 'master', role = 'master' } = (client.options ?? {}) as { scaleReads?: unknown, role?: unknown }
  return role === 'slave' || (client.isCluster === true && scaleReads !== 'master')
}

// A server that refuses a write because it is a replica. Where it was a primary until now, and its connections were left
// open, it still answers reads with what it has: so it must be asked who it is before it is believed again.

/** By client, the listeners of each plugin that uses it. */
const listeners = new WeakMap<RedisClient, Set<() => void>>()

/** Calls the listener whenever a write by this client was refused by a replica. The function it returns ends that. */
export function onRefusal (client: RedisClient, listener: () => void): () => void {
  const all = listeners.get(client) ?? new Set()
  listeners.set(client, all.add(listener))
  return () => { all.delete(listener) }
}

/** A write by this client failed: where a replica refused it, listeners are called. */
export function heed (client: RedisClient, error: unknown): void {
  if (isRefusal(error)) for (const listener of listeners.get(client) ?? []) listener()
}

/** The outcome of a write by this client, which is heeded where it fails. */
export async function heeded<T> (client: RedisClient, write: Promise<T>): Promise<T> {
  return await write.catch((error: unknown) => {
    heed(client, error)
    throw error
  })
}

/** MASTERDOWN: a replica that has lost its primary, and is set to say nothing then. */
function isRefusal (error: unknown): boolean {
  return error instanceof Error && /^(?:READONLY|MASTERDOWN)\b/.test(error.message)
}
