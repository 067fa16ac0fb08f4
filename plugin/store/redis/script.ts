// A Lua script, which Redis runs as one step; and the parts that several scripts share.
import { createHash } from 'node:crypto'
import { heed, type Corkable, type RedisClient } from '../server/redis-client.js'

/** Called by its hash. A client resends commands that were under way when its connection was cut: each may run twice. */
export class Script {
  readonly #text: string
  readonly #sha: string

  constructor (text: string) {
    this.#text = text
    this.#sha = createHash('sha1').update(text).digest('hex')
  }

  async run (client: RedisClient, keys: readonly string[], args: readonly (string | Buffer | number)[]): Promise<unknown> {
    holdWrites(client)
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) return this.#refused(client, error)
    }
    // A server that doesn't know it yet (new, restarted, SCRIPT FLUSH) is sent the text.
    const run = client.eval(this.#text, keys.length, ...keys, ...args)
    return await run.catch((error: unknown) => this.#refused(client, error))
  }

  #refused (client: RedisClient, error: unknown): never {
    heed(client, error)
    throw withCommand(error, this.#text)
  }
}

/** Redis' answer where a script calls a command that its user may not call: it has the line, and no command. */
const WITHOUT_RIGHT = /The user executing the script can't run this command.*@user_script:(\d+)/

/** As the server says it of a command outside scripts, where it is about a right. */
function withCommand (error: unknown, text: string): unknown {
  const [, line] = error instanceof Error ? WITHOUT_RIGHT.exec(error.message) ?? [] : []
  if (line === undefined) return error
  const called = [...text.split('\n')[Number(line) - 1]?.matchAll(/redis\.p?call\('(\w+)'/g) ?? []].map(([, name]) => name!.toLowerCase())
  const names = called.length === 0 ? 'a command of a script' : `the '${called.join("' or '")}' command`
  return new Error(`NOPERM this user has no permissions to run ${names}, which a script calls`, { cause: error })
}

// Commands that are called together, scripts of requests whose read had one answer for example, leave in one write: each
// write is a call of the system here, and one read in Redis. Nothing waits longer for that than for what runs already. On a
// Cluster it is not known here which connection a command takes; and a client whose stream can't be corked writes each by
// itself.

const corked = new WeakSet<object>()

/** Before a command is given to the client: its connection writes when the code that runs now is done, promises included. */
export function holdWrites ({ stream }: RedisClient): void {
  if (stream == null || corked.has(stream) || !isCorkable(stream)) return
  corked.add(stream)
  stream.cork()
  process.nextTick(() => {
    corked.delete(stream)
    stream.uncork()
  })
}

function isCorkable (stream: Partial<Corkable>): stream is Corkable {
  return typeof stream.cork === 'function' && typeof stream.uncork === 'function'
}

/**
 * First line of the scripts that invalidate and release: a server that is full, and evicts nothing, lets them write all the
 * same. They take little room, and free more. https://redis.io/docs/latest/develop/programmability/eval-intro/
 */
export const ALLOWED_WHEN_FULL = '#!lua flags=allow-oom\n'

/**
 * The part of a quarantine that still stands. A name's value in quarantine is `!<end>@<token>`, one for each `mutate` that
 * has it there, with commas between them. Ends are milliseconds of the server's time, so that a process that died is not
 * counted when another's renewals keep the name alive.
 *
 * A tag that an invalidation of several targets holds until it has them all is `#<end>@<token>` instead, so likewise, and
 * with `=` as the token of its last member what its generation must be at least when it is let go. Former builds take such
 * a value for no generation: they create one, and the hold is found to be lost.
 */
export const QUARANTINES = `
local function text(name)
  local value = redis.pcall('GET', name)
  return type(value) == 'string' and value or ''
end
local function isQuarantine(value)
  return string.sub(value, 1, 1) == '!'
end
local function isHold(value)
  return string.sub(value, 1, 1) == '#'
end
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function others(value, token, now)
  local left, last, had, record = {}, 0, 0, ''
  for ending, holder in string.gmatch(value, '(%d+)@([^,]+)') do
    if string.sub(holder, 1, 1) == '=' then
      record = string.sub(holder, 2)
    elseif holder == token then
      had = 1
    elseif tonumber(ending) > now then
      left[#left + 1] = ending .. '@' .. holder
      last = math.max(last, tonumber(ending))
    end
  end
  return left, last, had, record
end
local function keep(name, sign, left, last, record, now)
  local list = table.concat(left, ',')
  if record ~= '' then list = list .. ',' .. string.format('%.0f', last) .. '@=' .. record end
  redis.call('SET', name, sign .. list, 'PX', string.format('%.0f', math.max(1, last - now)))
end
local function occupy(name, sign, token, time)
  local now = milliseconds()
  local present = text(name)
  local left, last, had, record = {}, 0, 0, ''
  if isQuarantine(present) or (isHold(present) and sign == '#') then
    left, last, had, record = others(present, token, now)
  elseif isHold(present) then
    left, last = others(present, token, now)
  elseif string.match(present, '^%d+~?%d*$') then
    record = present
  end
  if isQuarantine(present) then sign = '!' end
  left[#left + 1] = string.format('%.0f', now + time) .. '@' .. token
  keep(name, sign, left, math.max(last, now + time), sign == '#' and record or '', now)
  return had
end
local function staysQuarantined(name, present, token)
  if not isQuarantine(present) then return false end
  local now = milliseconds()
  local left, last = others(present, token, now)
  if #left == 0 then return false end
  keep(name, '!', left, last, '', now)
  return true
end`

/**
 * Variants are not served without their marker, but they may be a user's data: they go with it. The lease's name tells that
 * of their list. Where Redis has evicted the list they stay until their life is over.
 */
export const UNLINKING_VARIANTS = `
local function variantIn(list, fingerprint)
  return string.sub(list, 1, -#'variants' - 1) .. 'v:' .. fingerprint
end
local function unlinkListed(list)
  local variants = redis.pcall('ZRANGE', list, 0, -1)
  if #variants == 0 then return end
  for i = 1, #variants do redis.call('UNLINK', variantIn(list, variants[i])) end
  redis.call('UNLINK', list)
end
local function unlinkVariants(lease)
  local before, key = string.match(lease, '^(.*)lease:({[^{}]*})$')
  if key then unlinkListed(before .. key .. ':variants') end
end`
