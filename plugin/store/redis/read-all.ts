// Plain reads of many names in one trip: one MGET; on a Cluster one pipeline of GETs for each server that has some of them.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import type { RedisClient } from '../server/redis-client.js'

/** A Cluster's servers may answer apart in time, but not for longer than the floor keeps what was invalidated by prefix. */
export const LONGEST_READ: Milliseconds = 1_000

/** The primary that has this name, as far as it is known. */
export type ServerOf = (name: string) => RedisClient | undefined

/**
 * The values of these names. What is no string, a hash of somebody else for example, is as if it were not there. On a
 * Cluster without `serverOf`, or where a server has them no more, each name is asked for by itself: the client follows it.
 * Rejects with FRC_STORE where that took too long.
 */
export async function readAll (
  client: RedisClient, names: readonly string[], serverOf: ServerOf = () => undefined
): Promise<(Buffer | null)[]> {
  if (client.isCluster !== true) return await client.mgetBuffer(...names)
  const began = performance.now()
  const values: (Buffer | null)[] = []
  const places = new Map<RedisClient | undefined, number[]>()
  for (const [i, name] of names.entries()) {
    const server = serverOf(name)
    const group = places.get(server)
    if (group === undefined) places.set(server, [i])
    else group.push(i)
  }
  const readOne = async (i: number): Promise<void> => { values[i] = await client.getBuffer(names[i]!).catch(asMissing) }
  await Promise.all(Array.from(places, async ([server, group]) => {
    const pipeline = group.length > 1 ? server?.pipeline?.() : undefined
    if (pipeline === undefined) return await Promise.all(group.map(readOne))
    for (const i of group) pipeline.getBuffer(names[i]!)
    const replies = await pipeline.exec()
    const failed: number[] = []
    for (const [at, i] of group.entries()) {
      const [error, reply] = replies?.[at] ?? [new Error('no reply'), null]
      if (error === null) values[i] = reply as Buffer | null
      else if (isNoString(error)) values[i] = null
      else failed.push(i)
    }
    if (failed.length > 0) await Promise.all(failed.map(readOne))
  }))
  if (performance.now() - began < LONGEST_READ) return values
  throw new RouteCacheError('FRC_STORE', `the Cluster's servers took longer than ${LONGEST_READ} ms to answer one read`)
}

/** MGET does so by itself. */
function asMissing (error: unknown): null {
  if (isNoString(error)) return null
  throw error
}

function isNoString (error: unknown): boolean {
  return String((error as { message?: unknown } | null)?.message).startsWith('WRONGTYPE')
}
