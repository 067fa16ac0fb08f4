// A client for the command's Redis, which fails at once where that can't be reached.
import { assemble, type Assembled } from '../../assembly/assembly.js'
import { keepToDatabase, loadIoredis } from '../../assembly/own-client.js'
import { readCacheSettings } from '../../options/cache-settings.js'
import { OptionReader } from '../../options/reader.js'
import { Outage } from '../../store/server/outage.js'
import { DISCONNECT_TIMEOUT, type RedisClient } from '../../store/server/redis-client.js'
import type { Log } from '../../telling/events.js'
import { TimeIsOver, unansweredOf, type Limit } from './limit.js'
import { refusal, type Address, type RedisPlace } from './place.js'

export interface CommandConnection {
  place: RedisPlace
  prefix: string
  client: RedisClient
  limit: Limit
  /** A cache on it. */
  assembled: () => Assembled
  /** Connects. Rejects where that can't be done. */
  connect: () => Promise<void>
  /** Which server failed, and why; never with a password. */
  describe: (error: unknown) => string
  close: () => void
}

/** Of a connection that is to be made. Rejects where there is no client. */
export async function makeConnection (place: RedisPlace, prefix: string, limit: Limit): Promise<CommandConnection> {
  const client = await makeClient(place)
  const outage = new Outage(client)
  const describe = (error: unknown): string => error instanceof TimeIsOver
    ? `${outage.name} (no answer within ${limit.time} ms: ${unansweredOf(client, place)})`
    : outage.describe(error)
  const close = (): void => {
    outage.close()
    client.disconnect()
  }
  client.on('error', () => {})
  keepToDatabase(client)
  const connect = async (): Promise<void> => {
    try {
      await client.connect()
      // A user without +ping is told of other rights, too.
      await client.ping().catch((error: unknown) => { if (!/^NOPERM/.test((error as Error).message)) throw error })
    } catch (error) {
      if (place.mode === 'cluster') await tryAlone(place, limit)
      throw error
    }
  }
  let made: Assembled | null = null
  const assembled = (): Assembled => {
    made ??= assembleOn({ client, prefix, place })
    return made
  }
  return { place, prefix, client, limit, assembled, connect, describe, close }
}

/** Some server's own reason, told in place of the client's. */
export class ToldAlone extends Error {}

/** The client of a Cluster does not say why its first server could not be used: asked alone, that rejects saying so. */
async function tryAlone (place: RedisPlace, limit: Limit): Promise<void> {
  const { client, connect, close, describe } = await makeConnection({ ...place, mode: 'single' }, '', limit)
  try {
    await connect()
    await client.cluster!('NODES')
  } catch (error) {
    throw new ToldAlone(describe(error))
  } finally {
    close()
  }
}

type CommandClient = RedisClient & {
  connect: () => Promise<void>
  disconnect: (again?: boolean) => void
  on: (event: 'error', listener: (error: Error) => void) => unknown
}

/** Nothing is tried again: whoever waits for the command is to know at once. */
async function makeClient ({ mode, addresses, master, options, timeout }: RedisPlace): Promise<CommandClient> {
  const { Redis, Cluster } = await loadIoredis('this command needs ioredis, which is not installed: npm i ioredis')
  // The time of the command is over before.
  const connectTimeout = 2 * timeout
  const times = { connectTimeout, disconnectTimeout: DISCONNECT_TIMEOUT }
  const common = { ...options, ...times, lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 }
  const [{ host, port }] = addresses as [Address]
  if (mode === 'single') return new Redis({ ...common, host, port }) as unknown as CommandClient
  if (mode === 'sentinel') {
    const sentinels = { sentinels: addresses, name: master, failoverDetector: true, sentinelRetryStrategy: null }
    return new Redis({ ...common, ...sentinels }) as unknown as CommandClient
  }
  const { db: _, ...redisOptions } = common as Record<string, unknown>
  const once = { clusterRetryStrategy: null, slotsRefreshTimeout: connectTimeout, lazyConnect: true, redisOptions }
  return new Cluster(addresses, once) as unknown as CommandClient
}

const nothing = (): void => {}
const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

function assembleOn ({ client, prefix, place: { timeout } }: Pick<CommandConnection, 'client' | 'prefix' | 'place'>): Assembled {
  // The time of the command is over before, and says more.
  const time = 2 * timeout / 1000
  const options = new OptionReader('fastify-route-cache', { prefix, redis: client, deadline: time, writeDeadline: time })
  return assemble(readCacheSettings(options), {
    log: SILENT,
    made: null,
    find: () => null,
    inProcess: () => { throw refusal('there is no client') }
  })
}
