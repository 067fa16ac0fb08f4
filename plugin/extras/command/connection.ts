// A client for the command's Redis, which fails at once where that can't be reached.
import { assemble, type Assembled } from '../../assembly/assembly.js'
import { keepToDatabase, loadIoredis } from '../../assembly/own-client.js'
import { readCacheSettings } from '../../options/cache-settings.js'
import { OptionReader } from '../../options/reader.js'
import { Outage } from '../../store/server/outage.js'
import { DISCONNECT_TIMEOUT, type RedisClient } from '../../store/server/redis-client.js'
import { within } from '../../store/wait/deadline.js'
import type { Log } from '../../telling/events.js'
import { refusal, type Address, type RedisPlace } from './place.js'

export interface CommandConnection {
  place: RedisPlace
  prefix: string
  client: RedisClient
  /** A cache on it. */
  assembled: () => Assembled
  /** Which server failed, and why; never with a password. */
  describe: (error: unknown) => string
  close: () => void
}

/** Connects. Rejects where that can't be done, saying why. */
export async function openConnection (place: RedisPlace, prefix: string): Promise<CommandConnection> {
  const client = await makeClient(place)
  const outage = new Outage(client)
  const describe = (error: unknown): string => outage.describe(error)
  const close = (): void => {
    outage.close()
    client.disconnect()
  }
  client.on('error', () => {})
  keepToDatabase(client)
  try {
    await within(place.timeout, client.connect())
    await within(place.timeout, client.ping())
  } catch (error) {
    const said = describe(error)
    close()
    if (place.mode === 'cluster') await tryAlone(place)
    throw new Error(said)
  }
  let made: Assembled | null = null
  const assembled = (): Assembled => {
    made ??= assembleOn({ client, prefix, place })
    return made
  }
  return { place, prefix, client, assembled, describe, close }
}

/** The client of a Cluster does not say why its first server could not be used: asked alone, that rejects saying so. */
async function tryAlone (place: RedisPlace): Promise<void> {
  const { client, close, describe } = await openConnection({ ...place, mode: 'single' }, '')
  try {
    await within(place.timeout, client.cluster!('NODES'))
  } catch (error) {
    throw new Error(describe(error))
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
  const { Redis, Cluster } = await loadIoredis()
  const times = { connectTimeout: timeout, disconnectTimeout: DISCONNECT_TIMEOUT }
  const common = { ...options, ...times, lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 }
  const [{ host, port }] = addresses as [Address]
  if (mode === 'single') return new Redis({ ...common, host, port }) as unknown as CommandClient
  if (mode === 'sentinel') {
    const sentinels = { sentinels: addresses, name: master, failoverDetector: true, sentinelRetryStrategy: null }
    return new Redis({ ...common, ...sentinels }) as unknown as CommandClient
  }
  const { db: _, ...redisOptions } = common as Record<string, unknown>
  const ofCluster = { clusterRetryStrategy: null, slotsRefreshTimeout: timeout, lazyConnect: true, redisOptions }
  return new Cluster(addresses, ofCluster) as unknown as CommandClient
}

const nothing = (): void => {}
const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

function assembleOn ({ client, prefix, place: { timeout } }: Pick<CommandConnection, 'client' | 'prefix' | 'place'>): Assembled {
  const time = timeout / 1000
  const options = new OptionReader('fastify-route-cache', { prefix, redis: client, deadline: time, writeDeadline: time })
  return assemble(readCacheSettings(options), {
    log: SILENT,
    made: null,
    find: () => null,
    inProcess: () => { throw refusal('there is no client') }
  })
}
