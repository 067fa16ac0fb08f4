// What Redis must do in one step. All names of a script are in one slot.
import { createHash } from 'node:crypto'
import type { RedisClient } from './redis-client.js'

/** A Lua script, called by its hash. */
export class Script {
  readonly #text: string
  readonly #sha: string

  constructor (text: string) {
    this.#text = text
    this.#sha = createHash('sha1').update(text).digest('hex')
  }

  /** Runs it; a server that doesn't know it yet (new, restarted, SCRIPT FLUSH) is sent the text. */
  async run (client: RedisClient, keys: readonly string[], args: readonly (string | Buffer | number)[]): Promise<unknown> {
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await client.eval(this.#text, keys.length, ...keys, ...args)
    }
  }
}

/** KEYS: entry, lease. ARGV: token, bytes, life in ms. 1: stored, and the lease is used up. 0: the lease is lost. */
export const FILL = new Script(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1`)

/**
 * KEYS: marker, lease, variant. ARGV: token, the epoch that the marker must have ('': there was none), marker, bytes, life
 * in ms. As FILL; a marker lives as long as the longest-lived of its variants.
 */
export const FILL_VARIANT = new Script(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local life = tonumber(ARGV[5])
if ARGV[2] ~= '' then
  if redis.call('GETRANGE', KEYS[1], 5, 16) ~= ARGV[2] then return 0 end
  if string.sub(ARGV[3], 6, 17) == ARGV[2] then life = math.max(life, redis.call('PTTL', KEYS[1])) end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', life)
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
redis.call('DEL', KEYS[2])
return 1`)

/** KEYS: lease. ARGV: token. */
export const RELEASE = new Script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

/** KEYS: entry, lease. Gives the number of entries that went, 0 or 1. */
export const INVALIDATE = new Script(`
redis.call('DEL', KEYS[2])
return redis.call('UNLINK', KEYS[1])`)
