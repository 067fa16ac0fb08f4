// A cache's own Redis client, where its option `redis` says where the server is: with the settings that suit a cache, its
// errors in the log, and closed with the cache. The app starts while the server is down, and uses it when it is there.
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { clientForms } from '../store/server/clients.js'
import { DISCONNECT_TIMEOUT, isRedisClient, type RedisClient } from '../store/server/redis-client.js'
import { Outage } from '../store/server/outage.js'
import { Complaints, type Log } from '../telling/events.js'

/** The address of the server: `url`, or options of ioredis, which win over the plugin's own. */
export type RedisConnection = { url?: string } & Record<string, unknown>

/** A client soon finds a server that is back; ioredis 6 would double its pauses up to 5 s. */
const OURS = {
  retryStrategy: (times: number): number => Math.min(times * 50, 500),
  connectTimeout: 2_000,
  disconnectTimeout: DISCONNECT_TIMEOUT
}

export interface OwnClient {
  client: RedisClient
  close: () => void
  /** Whether the log has that the server can't be used. */
  hasComplained: () => boolean
}

type Client = RedisClient & { disconnect: (again?: boolean) => void, on: (event: 'error', listener: (error: Error) => void) => unknown }
type ClientClass = new (...args: unknown[]) => Client
interface Ioredis { Redis: ClientClass, Cluster: ClientClass }

interface Hearing {
  log: Log
  now: () => Milliseconds
  /** What is done while the server can't be used, in words. */
  meanwhile: string
}

/** Throws FRC_OPTION where ioredis is not installed. */
export async function openClient (
  { url, ...options }: RedisConnection, { log, now, meanwhile }: Hearing
): Promise<OwnClient> {
  const { Redis } = await loadIoredis()
  const wanted = { ...OURS, ...Array.isArray(options.sentinels) && { failoverDetector: true }, ...options }
  const client = url === undefined ? new Redis(wanted) : new Redis(url, wanted)
  if (!isRedisClient(client)) throw new RouteCacheError('FRC_OPTION', `fastify-route-cache: redis: ${clientForms(client)}`)
  const complaints = new Complaints(now)
  const outage = new Outage(client)
  keepToDatabase(client)
  client.on('error', (error) => {
    complaints.warn(log, `fastify-route-cache: ${outage.describe(error)} can't be used: ${meanwhile} until it can`, { err: error })
  })
  return {
    client,
    hasComplained: () => complaints.areOpen,
    close: () => {
      outage.close()
      client.disconnect()
    }
  }
}

/**
 * A connection whose SELECT was refused is in database 0, where others' names are: it is given up before it is ready, as the
 * answer to SELECT comes ahead of that to ioredis' ready check.
 */
export function keepToDatabase (client: Pick<Client, 'on' | 'disconnect'>): void {
  client.on('error', (error) => {
    if ((error as { command?: { name?: unknown } }).command?.name === 'select') client.disconnect(true)
  })
}

const MISSING = 'fastify-route-cache: redis says where the server is, and the client for it is not installed: npm i ioredis. Or give a client ' +
  'of yours, of ioredis or node-redis'

/** Throws FRC_OPTION where it is not installed, with the message `missing`. */
export async function loadIoredis (missing = MISSING): Promise<Ioredis> {
  try {
    return await import('ioredis') as unknown as Ioredis
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND' && (error as { code?: unknown }).code !== 'MODULE_NOT_FOUND') throw error
    throw new RouteCacheError('FRC_OPTION', missing, { cause: error })
  }
}
