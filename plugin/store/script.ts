// A Lua script as Redis knows it: what it must do in one step.
import { createHash } from 'node:crypto'
import type { RedisClient } from './redis-client.js'
import { heeded } from './refusal.js'

/** A Lua script, called by its hash. */
export class Script {
  readonly #text: string
  readonly #sha: string

  constructor (text: string) {
    this.#text = text
    this.#sha = createHash('sha1').update(text).digest('hex')
  }

  async run (client: RedisClient, keys: readonly string[], args: readonly (string | Buffer | number)[]): Promise<unknown> {
    return await heeded(client, this.#send(client, keys, args))
  }

  /** A server that doesn't know it yet (new, restarted, SCRIPT FLUSH) is sent the text. */
  async #send (client: RedisClient, keys: readonly string[], args: readonly (string | Buffer | number)[]): Promise<unknown> {
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await client.eval(this.#text, keys.length, ...keys, ...args)
    }
  }
}

/**
 * What of a quarantine stands yet. The value of a name in quarantine is `!<end>@<token>`, one for each `mutate` that has it
 * there, with commas between them; ends are milliseconds of the server's time, so that a process that died is not counted
 * when another's renewals keep the name alive.
 */
export const QUARANTINES = `
local function text(name)
  local value = redis.pcall('GET', name)
  return type(value) == 'string' and value or ''
end
local function isQuarantine(value)
  return string.sub(value, 1, 1) == '!'
end
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function others(value, token, now)
  local left, last, had = {}, 0, 0
  for ending, holder in string.gmatch(value, '(%d+)@([^,]+)') do
    if holder == token then
      had = 1
    elseif tonumber(ending) > now then
      left[#left + 1] = ending .. '@' .. holder
      last = math.max(last, tonumber(ending))
    end
  end
  return left, last, had
end
local function quarantine(name, token, time)
  local now = milliseconds()
  local present = text(name)
  local left, last, had = {}, 0, 0
  if isQuarantine(present) then left, last, had = others(present, token, now) end
  local ending = string.format('%.0f', now + time)
  left[#left + 1] = ending .. '@' .. token
  redis.call('SET', name, '!' .. table.concat(left, ','), 'PX', string.format('%.0f', math.max(last, now + time) - now))
  return had
end
local function staysQuarantined(name, present, token)
  if not isQuarantine(present) then return false end
  local now = milliseconds()
  local left, last = others(present, token, now)
  if #left == 0 then return false end
  redis.call('SET', name, '!' .. table.concat(left, ','), 'PX', string.format('%.0f', last - now))
  return true
end`

/** What a name's value begins with in quarantine. */
export const QUARANTINE = '!'
