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
 * in ms. As FILL, and the lease is used up where the marker is another, too: nobody would give it back. A marker lives as
 * long as the longest-lived of its variants.
 */
export const FILL_VARIANT = new Script(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local life = tonumber(ARGV[5])
if ARGV[2] ~= '' then
  if redis.call('GETRANGE', KEYS[1], 5, 16) ~= ARGV[2] then
    redis.call('DEL', KEYS[2])
    return 0
  end
  if string.sub(ARGV[3], 6, 17) == ARGV[2] then life = math.max(life, redis.call('PTTL', KEYS[1])) end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', life)
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
redis.call('DEL', KEYS[2])
return 1`)

/** What a lease's name holds begins so where nobody is to wait: this alone, or with the token of who tries again. */
export const PASS = '~'

/**
 * KEYS: lease, what it is for. ARGV: token, time in ms, and the checksum of what was seen there ('': nothing) if it matters.
 * Gives what the lease now holds where it was taken: the token, or under PASS '~' and the token; else '' and what somebody
 * else holds, or nothing where there is something else than what was seen.
 */
export const TAKE = new Script(`
local held = redis.call('GET', KEYS[1])
if held and held ~= '${PASS}' then return {'', held} end
local present = redis.pcall('GETRANGE', KEYS[2], 1, 4)
if ARGV[3] and type(present) == 'string' and present ~= ARGV[3] then return {'', ''} end
local token = (held or '') .. ARGV[1]
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return {token}`)

/**
 * KEYS: key, lease of a variant. ARGV: token, time in ms, the checksum of what was seen under the key, marker, its life in
 * ms. Puts the marker there, and takes the lease, whoever had it: what was missed under another marker can't be filled any
 * more. Gives what TAKE gives.
 */
export const TAKE_FIRST = new Script(`
local present = redis.pcall('GETRANGE', KEYS[1], 1, 4)
if type(present) == 'string' and present ~= ARGV[3] then return {'', ''} end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {ARGV[1]}`)

/** KEYS: lease. ARGV: token, time in ms, the token from now on. 1: it lasts so long from now. 0: it is lost. */
export const RENEW = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return 1`)

/** KEYS: lease. ARGV: token, and where nobody is to wait for the key, for how many ms. */
export const RELEASE = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] then redis.call('SET', KEYS[1], '${PASS}', 'PX', ARGV[2]) else redis.call('DEL', KEYS[1]) end
return 1`)

/** KEYS: entry, lease. Gives the number of entries that went, 0 or 1. */
export const INVALIDATE = new Script(`
redis.call('DEL', KEYS[2])
return redis.call('UNLINK', KEYS[1])`)

// The clock only grows: at least by one, and never behind the server's time, so that it goes on where its name was lost.
// Then it may still be behind what it was, if the server's time stepped back: so everything before is of another history.
// What is there instead of a number, somebody else's text or list, is taken for lost.
const TICK = `
local function text(name)
  local value = redis.pcall('GET', name)
  return type(value) == 'string' and value or ''
end
local function number(name)
  return string.match(text(name), '^%d+$')
end
local function tick(floor, clock, history)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = number(clock)
  if not last then
    local runs = string.match(text(floor), ' .*') or ' '
    redis.call('SET', floor, history .. runs)
  end
  local value = string.format('%.0f', math.max((last or 0) + 1, now))
  redis.call('SET', clock, value)
  return value
end
local function raise(name, value, life)
  local generation = number(name)
  if generation and tonumber(generation) >= tonumber(value) then return end
  redis.call('SET', name, value, 'PX', math.max(tonumber(life), redis.call('PTTL', name)))
end`

/**
 * KEYS: floor, clock, lastTag. ARGV: the primaries' runs, a new history. Gives the floor, which is a new one where it is not
 * there, or of other runs, or the clock is not there.
 */
export const FLOOR = new Script(`${TICK}
local floor = text(KEYS[1])
if number(KEYS[2]) and string.match(floor, ' (.*)') == ARGV[1] then return floor end
floor = ARGV[2] .. ' ' .. ARGV[1]
local value = tick(KEYS[1], KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], floor)
redis.call('SET', KEYS[3], value)
return floor`)

/** KEYS: floor. ARGV: a new history. Invalidates everything. */
export const INVALIDATE_ALL = new Script(`${TICK}
local runs = string.match(text(KEYS[1]), ' .*') or ' '
redis.call('SET', KEYS[1], ARGV[1] .. runs)`)

/**
 * KEYS: floor, clock, lastTag, generations (none on a Cluster, where RAISE follows). ARGV: a new history, life in ms. Gives
 * the clock.
 */
export const INVALIDATE_TAGS = new Script(`${TICK}
local value = tick(KEYS[1], KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], value)
for i = 4, #KEYS do raise(KEYS[i], value, ARGV[2]) end
return value`)

/** KEYS: generation. ARGV: value, life in ms. A generation never shrinks: two invalidations may arrive in either order. */
export const RAISE = new Script(`${TICK}
raise(KEYS[1], ARGV[1], ARGV[2])`)

/** KEYS: floor, clock, generations (none on a Cluster). ARGV: a new history, life. Creates the missing; gives the clock. */
export const CREATE = new Script(`${TICK}
local value = tick(KEYS[1], KEYS[2], ARGV[1])
for i = 3, #KEYS do
  if not number(KEYS[i]) then redis.call('SET', KEYS[i], value, 'PX', ARGV[2]) end
end
return value`)

/** What a generation's name holds begins so while its value is being found out: nothing is valid under it. */
export const RESERVED = '?'

/**
 * KEYS: generation. ARGV: a reservation, its time in ms. Gives what is there then: a generation, or the reservation, ours or
 * that of somebody else, who then creates the same.
 */
export const RESERVE = new Script(`${TICK}
local present = text(KEYS[1])
if string.match(present, '^%d+$') or string.sub(present, 1, 1) == '${RESERVED}' then return present end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`)

/** KEYS: generation. ARGV: the reservation that it had, its value, life in ms. Gives what is there then; '': it is lost. */
export const SETTLE = new Script(`${TICK}
local present = text(KEYS[1])
if present ~= ARGV[1] then return present end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ARGV[2]`)

/** KEYS: generation. ARGV: what is enough, and its life where it has not so much, in ms: it outlives the entries. */
export const EXTEND = new Script(`
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`)
