// Many entries in Redis at once, as the app would have stored them: copies of one that it has stored.
import type { Redis } from 'ioredis'
import { setImmediate as turn } from 'node:timers/promises'
import { decode, encode } from '../../plugin/entry/entry.js'
import { Keys } from '../../plugin/store/keys.js'

const KEYS = new Keys('bench')
const TTL = 600_000
const AT_ONCE = 5_000

/** What Redis has of one that was just asked for, as soon as it is there. */
export async function storedOf (redis: Redis, id: string): Promise<Buffer> {
  let bytes: Buffer | null = null
  while ((bytes = await redis.getBuffer(KEYS.entry(`item:${id}`))) === null) await turn()
  return bytes
}

/** Stores copies of `id`, one for each of `ids`. */
export async function storeCopies (redis: Redis, id: string, ids: readonly string[]): Promise<void> {
  const entry = decode(await storedOf(redis, id), `item:${id}`)!
  const text = entry.body.toString()
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    await Promise.all(ids.slice(from, from + AT_ONCE).map(async (copy) => {
      const body = Buffer.from(text.replace(`"id":"${id}"`, `"id":"${copy}"`))
      await redis.set(KEYS.entry(`item:${copy}`), encode({ ...entry, body }, `item:${copy}`), 'PX', TTL)
    }))
  }
}
