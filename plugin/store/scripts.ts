// What Redis must do in one step with entries and leases. All names of a script are in one slot.
import { QUARANTINE, QUARANTINES, Script } from './script.js'

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
 * KEYS: key, lease of a variant, lease of the key. ARGV: token, time in ms, the checksum of what was seen under the key,
 * marker, its life in ms. Puts the marker there, and takes the lease, whoever had it: what was missed under another marker
 * can't be filled any more. Not in quarantine. Gives what TAKE gives.
 */
export const TAKE_FIRST = new Script(`
local held = redis.call('GET', KEYS[3])
if held and string.sub(held, 1, 1) == '${QUARANTINE}' then return {'', held} end
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

/** KEYS: lease. ARGV: token, time in ms. Takes the lease, whoever had it. 1: taken. 0: it is in quarantine. */
export const SEIZE = new Script(`${QUARANTINES}
if isQuarantine(text(KEYS[1])) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

/**
 * KEYS: entry, lease; or several such pairs. ARGV: the token of the quarantine that ends with it ('': of none). A quarantine
 * of others stays. Gives the number of entries that went.
 */
export const INVALIDATE = new Script(`${QUARANTINES}
local removed = 0
for i = 1, #KEYS, 2 do
  if not staysQuarantined(KEYS[i + 1], text(KEYS[i + 1]), ARGV[1]) then redis.call('DEL', KEYS[i + 1]) end
  removed = removed + redis.call('UNLINK', KEYS[i])
end
return removed`)

/**
 * KEYS: entry, lease; or several such pairs. ARGV: the instant. Makes entries stale that may be served so, and has them end
 * when their stale time is over from now; others go, a marker too. A fill that is under way is refused. The layout is in
 * codec.ts. Gives their number.
 */
export const SOFTEN_KEY = new Script(`${QUARANTINES}
local softened = 0
for i = 1, #KEYS, 2 do
  if not isQuarantine(text(KEYS[i + 1])) then redis.call('DEL', KEYS[i + 1]) end
  local head = redis.pcall('GETRANGE', KEYS[i], 0, 46)
  local since, stale, dead, rescue = 0, 0, 0, 0
  if type(head) == 'string' and #head == 47 and string.byte(head) == 5 then
    since, stale, dead, rescue = struct.unpack('>dddd', head, 16)
  end
  local time = math.max(dead, rescue) - stale
  if since ~= 0 then
    softened = softened + 1
  elseif time > 0 then
    redis.call('SETRANGE', KEYS[i], 15, struct.pack('>d', tonumber(ARGV[1])))
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', math.min(redis.call('PTTL', KEYS[i]), time)))
    softened = softened + 1
  else
    softened = softened + redis.call('UNLINK', KEYS[i])
  end
end
return softened`)

/** KEYS: leases. Removes them, but no quarantine. */
export const UNLINK_LEASES = new Script(`${QUARANTINES}
for i = 1, #KEYS do
  if not isQuarantine(text(KEYS[i])) then redis.call('UNLINK', KEYS[i]) end
end`)

/**
 * KEYS: entry, lease; or several such pairs. ARGV: token, time in ms. Has the quarantine last for so long from now; where it
 * had not lasted until now, entries and leases that there are by then go. 1: it had.
 */
export const QUARANTINE_KEY = new Script(`${QUARANTINES}
local had = 1
for i = 1, #KEYS, 2 do
  had = math.min(had, quarantine(KEYS[i + 1], ARGV[1], ARGV[2]))
  redis.call('UNLINK', KEYS[i])
end
return had`)
