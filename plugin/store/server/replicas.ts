// Replicas have what was written, where that is asked for.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import type { RedisClient } from './redis-client.js'
import { primariesOf, type Write } from './topology.js'

export interface Confirmation {
  /** How many replicas of each primary. */
  wanted: number
  deadline: Milliseconds
  write: Write
}

/** Waits until so many replicas have it; FRC_REPLICAS where they have not in time. 0: waits for none. */
export async function confirmed (client: RedisClient, { wanted, deadline, write }: Confirmation): Promise<void> {
  if (wanted === 0) return
  // Redis looks ten times a second whether the time is over, and is to say so itself.
  const time = Math.ceil(Math.max(deadline / 2, deadline - 200))
  const counts = await Promise.all(primariesOf(client).map(async (server) => Number(await write(server.wait(wanted, time)))))
  const least = Math.min(...counts)
  if (least < wanted) {
    throw new RouteCacheError('FRC_REPLICAS', `the primary has it, but of ${wanted} replicas only ${least} confirmed in time`)
  }
}
