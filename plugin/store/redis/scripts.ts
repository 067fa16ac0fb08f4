// The scripts for entries and leases: each is one step. All names of a script are in one slot.
//
// A client sends commands again that were under way when its connection was cut, also where the server had run them. So each
// script that gives or changes a token recognises its own work, and answers a repetition as it answered the first time.
import { QUARANTINE } from '../keys.js'
import { READING_LAYOUT } from '../layout.js'
import { ALLOWED_WHEN_FULL, QUARANTINES, Script, UNLINKING_VARIANTS } from './script.js'

/** The beginning of a lease's value if nobody is to wait: this alone, or with the token of a process that tries again. */
export const PASS = '~'

/**
 * Whether what a lease's name holds is this token, or the token behind the sign that nobody is to wait: its holder may not
 * know which, as the reply to what put it there was lost.
 */
const OWN = `
local function isOwn(held, token)
  return held == token or held == '${PASS}' .. token
end`

/** Whether the bytes that lie there are those that were to be stored: their checksum is. */
const STORED = `${READING_LAYOUT}
local function isStored(name, bytes)
  return checksumAt(name) == checksumIn(bytes)
end`

/**
 * KEYS: entry, lease. ARGV: token, bytes, life in ms, and something where a marker may lie there: its variants go. 1:
 * stored, and the lease is used up. 0: the lease is lost.
 */
export const FILL = new Script(`${STORED}${OWN}${UNLINKING_VARIANTS}
if not isOwn(redis.call('GET', KEYS[2]), ARGV[1]) then return isStored(KEYS[1], ARGV[2]) and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ARGV[4] then unlinkVariants(KEYS[2]) end
redis.call('DEL', KEYS[2])
return 1`)

/**
 * KEYS: marker, lease, variant, the list of variants. ARGV: token, the epoch that the marker must have ('': there was
 * none), marker, bytes, life in ms, the variant's fingerprint, how many there may be. As FILL, and the lease is used up
 * where the marker is another, too: nobody would give it back. A marker lives as long as the longest-lived of its variants,
 * and so does their list. Under another marker the former variants are of no use. 2: stored, and the oldest ones went.
 */
export const FILL_VARIANT = new Script(`${STORED}${OWN}${UNLINKING_VARIANTS}
if not isOwn(redis.call('GET', KEYS[2]), ARGV[1]) then return isStored(KEYS[3], ARGV[4]) and 1 or 0 end
if ARGV[2] ~= '' and epochAt(KEYS[1]) ~= ARGV[2] then
  redis.call('DEL', KEYS[2])
  return 0
end
local life = tonumber(ARGV[5])
if ARGV[2] ~= '' and epochIn(ARGV[3]) == ARGV[2] then
  life = math.max(life, redis.call('PTTL', KEYS[1]))
else
  unlinkListed(KEYS[4])
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', life)
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
redis.call('DEL', KEYS[2])
local time = redis.call('TIME')
local added = redis.pcall('ZADD', KEYS[4], time[1] * 1000000 + time[2], ARGV[6])
if type(added) ~= 'number' then return 1 end
redis.call('PEXPIRE', KEYS[4], life)
local surplus = redis.call('ZCARD', KEYS[4]) - ARGV[7]
if surplus <= 0 then return 1 end
local oldest = redis.call('ZPOPMIN', KEYS[4], surplus)
for i = 1, #oldest, 2 do redis.call('UNLINK', variantIn(KEYS[4], oldest[i])) end
return 2`)

/** In the place of a life. https://redis.io/docs/latest/commands/pttl/ */
const NO_SUCH_NAME = -2

/**
 * A lease never lasts longer than its time, unless the server's time has stepped back. Then the process that held it may be
 * long dead, and a living one renews it within a third of that time. If it is taken from a living one, a fill is refused.
 *
 * KEYS: lease, what it is for. ARGV: token, time in ms, and the checksum of what was seen there ('': nothing) if it matters.
 * 1: it was taken. Else a list: what the lease holds where that is this token, under PASS '~' and the token; or '' and the
 * other holder's token; or '' alone, where the target is not what was seen.
 *
 * Mostly nobody has it, so it is set at once, and taken back where what lies there is another. A server that is full refuses
 * that, and is asked who has it: who waits for another's fill needs no room. And mostly nothing lies there, which PTTL says
 * for less than reading it; EXISTS would be one command more that a user of an ACL has to be allowed.
 */
export const TAKE = new Script(`
local held = redis.pcall('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2])
local isTaken = not held
if isTaken and ARGV[3] == '' and redis.call('PTTL', KEYS[2]) == ${NO_SUCH_NAME} then return 1 end
${READING_LAYOUT}${OWN}
if type(held) == 'table' then held = redis.call('GET', KEYS[1]) end
if isOwn(held, ARGV[1]) then return {held} end
if held and held ~= '${PASS}' then
  if string.sub(held, 1, 1) == '${QUARANTINE}' or redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[2]) then return {'', held} end
  held = false
end
local present = ARGV[3] and checksumAt(KEYS[2])
if type(present) == 'string' and present ~= ARGV[3] then
  if isTaken then redis.call('DEL', KEYS[1]) end
  return {'', ''}
end
if isTaken then return 1 end
local token = (held or '') .. ARGV[1]
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return {token}`)

/**
 * KEYS: key, lease of a variant, lease of the key. ARGV: token, time in ms, the checksum of what was seen under the key,
 * marker, its life in ms. Puts the marker there, and takes the lease, whoever had it: what was missed under another marker
 * can't be filled any more. Not in quarantine. Gives what TAKE gives.
 */
export const TAKE_FIRST = new Script(`${READING_LAYOUT}
if redis.call('GET', KEYS[2]) == ARGV[1] then return 1 end
local held = redis.call('GET', KEYS[3])
if held and string.sub(held, 1, 1) == '${QUARANTINE}' then return {'', held} end
local present = checksumAt(KEYS[1])
if type(present) == 'string' and present ~= ARGV[3] then return {'', ''} end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1`)

/** KEYS: lease. ARGV: token, time in ms, the token from now on. 1: it lasts so long from now. 0: it is lost. */
export const RENEW = new Script(`${OWN}
local held = redis.call('GET', KEYS[1])
if not isOwn(held, ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], held == '${PASS}' .. ARGV[3] and held or ARGV[3], 'PX', ARGV[2])
return 1`)

/** KEYS: lease. ARGV: token, and where nobody is to wait for the key, for how many ms. */
export const RELEASE = new Script(`${ALLOWED_WHEN_FULL}${OWN}
if not isOwn(redis.call('GET', KEYS[1]), ARGV[1]) then return 0 end
if ARGV[2] then redis.call('SET', KEYS[1], '${PASS}', 'PX', ARGV[2]) else redis.call('DEL', KEYS[1]) end
return 1`)

/**
 * KEYS: lease, the entry, and of a variant the marker. ARGV: token, for how many ms nobody is to wait for the key, and the
 * epoch that the marker must have. As RELEASE, and the entry goes: where a fill would land, and only there. What lies at the
 * place of an entry may be a marker, which is nobody's to end.
 */
export const END = new Script(`${ALLOWED_WHEN_FULL}${READING_LAYOUT}${OWN}
if not isOwn(redis.call('GET', KEYS[1]), ARGV[1]) then return 0 end
local isEntry = holdsEntry(KEYS[2])
if KEYS[3] then isEntry = epochAt(KEYS[3]) == ARGV[3] end
if isEntry then redis.call('UNLINK', KEYS[2]) end
redis.call('SET', KEYS[1], '${PASS}', 'PX', ARGV[2])
return 1`)

/** KEYS: lease. ARGV: token, time in ms. Takes the lease, whoever had it. 1: taken. 0: it is in quarantine. */
export const SEIZE = new Script(`${QUARANTINES}
if isQuarantine(text(KEYS[1])) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

/** Makes an entry stale where it lies; 1 where there was one. */
export const SOFTENING_KEY = `${READING_LAYOUT}
local function softenKey(name, instant)
  local since, stale, dead, rescue = staleTimes(name)
  if since ~= 0 then return 1 end
  local time = math.max(dead, rescue) - stale
  if time <= 0 then return redis.call('UNLINK', name) end
  writeSoftening(name, tonumber(instant))
  redis.call('PEXPIRE', name, string.format('%.0f', math.min(redis.call('PTTL', name), time)))
  return 1
end`

/**
 * KEYS: entry, lease; or several such pairs. ARGV: the instant, token, time in ms. Makes entries stale that may be served
 * so, and has them end when their stale time is over from now; others go, a marker too. A fill that is under way is refused;
 * and for so long nobody gets the lease, 0: that is over. Gives their number, and 1 where it had been so until now.
 */
export const SOFTEN_KEY = new Script(`${ALLOWED_WHEN_FULL}${QUARANTINES}${SOFTENING_KEY}${UNLINKING_VARIANTS}
local count, had = 0, 1
for i = 1, #KEYS, 2 do
  local present = text(KEYS[i + 1])
  if not isQuarantine(present) or not string.find(present, '@' .. ARGV[2], 1, true) then had = 0 end
  if tonumber(ARGV[3]) > 0 then
    occupy(KEYS[i + 1], '${QUARANTINE}', ARGV[2], ARGV[3])
  elseif not staysQuarantined(KEYS[i + 1], present, ARGV[2]) then
    redis.call('DEL', KEYS[i + 1])
  end
  count = count + softenKey(KEYS[i], ARGV[1])
  unlinkVariants(KEYS[i + 1])
end
return {count, had}`)

/** KEYS: lists of variants. Removes them, and the variants that they name. */
export const UNLINK_VARIANTS = new Script(`${UNLINKING_VARIANTS}
for i = 1, #KEYS do unlinkListed(KEYS[i]) end`)

/** KEYS: leases. Removes them, but no quarantine. */
export const UNLINK_LEASES = new Script(`${QUARANTINES}
for i = 1, #KEYS do
  if not isQuarantine(text(KEYS[i])) then redis.call('UNLINK', KEYS[i]) end
end`)

/**
 * KEYS: entry, lease; or several such pairs. ARGV: token, time in ms. Has the quarantine last for so long from now; entries
 * that there are by then go, and leases. Gives their number, and 1 where it had lasted until now.
 */
export const OCCUPYING_KEYS = `
local removed, had = 0, 1
for i = 1, #KEYS, 2 do
  had = math.min(had, occupy(KEYS[i + 1], '${QUARANTINE}', ARGV[1], ARGV[2]))
  removed = removed + redis.call('UNLINK', KEYS[i])
  unlinkVariants(KEYS[i + 1])
end
return {removed, had}`

export const QUARANTINE_KEY = new Script(`${ALLOWED_WHEN_FULL}${QUARANTINES}${UNLINKING_VARIANTS}${OCCUPYING_KEYS}`)
