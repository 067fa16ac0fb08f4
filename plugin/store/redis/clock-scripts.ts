// The scripts for the clock, the floor and generations: each is one step. All names of a script are in one slot.
import { MOST_SKEW, FIRST_LIFE } from '../store.js'
import { HOLD } from '../keys.js'
import { ALLOWED_WHEN_FULL, QUARANTINES, Script } from './script.js'

// The clock only grows: at least by one, and never behind the server's time, so that it goes on where its name was lost.
// Then it may still be behind what it was, if the server's time stepped back: so everything before is of another history,
// and when any tag was last invalidated is not known.
// A value that is no number, somebody else's text or list, is taken for lost.
//
// If the clock is ahead of the server's time, as that was ahead itself, a softening's instant would be one to come.
//
// A history's name has the clock's value in it: a command that the client sends again, perhaps long after others began
// histories of their own, begins one more, and never goes back to one that has been.
export const TICK = `${QUARANTINES}
local DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
local function number(name)
  return string.match(text(name), '^%d+$')
end
local function isGeneration(value)
  return string.match(value, '^%d+~?%d*$')
end
local function isStanding(value)
  return isGeneration(value) or isQuarantine(value) or isHold(value)
end
local function named(history, value)
  local digits, left = '', tonumber(value)
  for _ = 1, 9 do
    local digit = left % 64
    digits = string.sub(DIGITS, digit + 1, digit + 1) .. digits
    left = math.floor(left / 64)
  end
  return string.sub(history, 1, 3) .. digits
end
local function tick(floor, clock, last, history)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local present = number(clock)
  local value = string.format('%.0f', math.max((present or 0) + 1, now))
  if not present then
    local runs = string.match(text(floor), ' .*') or ' '
    redis.call('SET', floor, named(history, value) .. runs)
    redis.call('DEL', last)
  end
  redis.call('SET', clock, value)
  return value
end
local function isAhead(value)
  local time = redis.call('TIME')
  return tonumber(value) - time[1] * 1000000 - time[2] > ${MOST_SKEW * 1_000}
end
local function advance(last, value)
  if tonumber(number(last) or 0) < tonumber(value) then redis.call('SET', last, value) end
end`

// A generation under which something is stale is `<dropped>~<stale>`: what began before the first value is dropped, what
// began before the second is stale. An entry that is stale already when its tag is softened again was refreshed by nobody:
// it is dropped, or each time would let it be served for longer; but not if this very call had softened it to the `former`
// value.
//
// Generations never shrink: two invalidations may arrive in either order. If the generation is missing, or was a quarantine
// that ends now, a higher value of another invalidation may have been lost with it:
//
//   1. V  invalidates: the clock gives 7   still under way
//   2. W  invalidates: the clock gives 8   the generation is 8
//   3.    the generation is evicted
//   4. V  raises to 7                      written, an entry that began at 7 would be valid, though W dropped it
//
// So none is written then, unless the value is of this very step (`isNow`). The next miss creates one, above all of them. A
// quarantine or a hold of others stays; a hold keeps what its generation must be at least.
//
// An invalidated entry needs its generation no more: that lives as long as it did, `life` if nobody knows how long.
export const RAISING = `
local function raised(present, value)
  local dropped, stale = string.match(present, '^(%d+)~?(%d*)$')
  if dropped and tonumber(dropped) >= tonumber(value) then return present end
  if (tonumber(stale) or 0) > tonumber(value) then return value .. '~' .. stale end
  return value
end
local former = ''
local function softened(present, value)
  local dropped, stale = string.match(present, '^(%d+)~?(%d*)$')
  if dropped and stale ~= '' and stale == former then return dropped .. '~' .. value end
  if not dropped or tonumber(dropped) >= tonumber(value) or (tonumber(stale) or 0) >= tonumber(value) then return present end
  return (stale == '' and dropped or stale) .. '~' .. value
end
local function change(name, value, life, token, isNow, changed)
  local present = text(name)
  local sign = string.sub(present, 1, 1)
  if isQuarantine(present) or isHold(present) then
    local now = milliseconds()
    local left, last, had, record = others(present, token, now)
    if record == '' then life = ${FIRST_LIFE} end
    if sign == '#' then record = changed(record, value) end
    if #left > 0 then
      keep(name, sign, left, last, sign == '#' and record or '', now)
    elseif sign == '#' and had == 1 and record ~= '' then
      redis.call('SET', name, record, 'PX', life)
    elseif isNow and changed == raised then
      redis.call('SET', name, value, 'PX', ${FIRST_LIFE})
    else
      redis.call('DEL', name)
    end
    return had
  end
  if isGeneration(present) then
    local after = changed(present, value)
    if after ~= present then redis.call('SET', name, after, 'PX', math.max(${FIRST_LIFE}, redis.call('PTTL', name))) end
  elseif isNow and changed == raised then
    redis.call('SET', name, value, 'PX', ${FIRST_LIFE})
  elseif present ~= '' then
    redis.call('DEL', name)
  end
  return 0
end`

/**
 * KEYS: floor, clock, lastTag. ARGV: the primaries' runs, a new history. Gives the floor, and 1 where it is a new one, as it
 * was not there, or of other runs, or the clock was not there.
 */
export const FLOOR = new Script(`${ALLOWED_WHEN_FULL}${TICK}
local floor = text(KEYS[1])
if number(KEYS[2]) and string.match(floor, ' (.*)') == ARGV[1] then return {floor, 0} end
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[2])
floor = named(ARGV[2], value) .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], floor)
advance(KEYS[3], value)
return {floor, 1}`)

/** KEYS: floor, clock, lastTag. ARGV: a new history. Invalidates everything. */
export const INVALIDATING_ALL = `
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
local runs = string.match(text(KEYS[1]), ' .*') or ' '
redis.call('SET', KEYS[1], named(ARGV[1], value) .. runs)`

export const INVALIDATE_ALL = new Script(`${ALLOWED_WHEN_FULL}${TICK}${INVALIDATING_ALL}`)

/** KEYS: generations. ARGV: value, life in ms, token as above. 1: all had been held until now, under this token. */
export const RAISING_TAGS = `
local had = 1
for i = 1, #KEYS do had = math.min(had, change(KEYS[i], ARGV[1], ARGV[2], ARGV[3], false, raised)) end
return had`

export const RAISE = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RAISING}${RAISING_TAGS}`)

/**
 * KEYS: generations. ARGV: value, life in ms, token, the value that this call had softened them to before ('': none). As
 * RAISE, but what was stored before becomes stale.
 */
export const SOFTEN_TAG = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RAISING}
former = ARGV[4]
local had = 1
for i = 1, #KEYS do had = math.min(had, change(KEYS[i], ARGV[1], ARGV[2], ARGV[3], false, softened)) end
return had`)

/**
 * KEYS: floor, clock, lastTag. ARGV: a new history, time in ms. Behind the quarantine of tags for so long: a tag that nobody
 * knows then counts as invalidated when it ends, which it does by its name's expiry where the writer died.
 */
export const QUARANTINE_ANY_TAG = new Script(`${ALLOWED_WHEN_FULL}${TICK}
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
advance(KEYS[3], string.format('%.0f', value + ARGV[2] * 1000))`)

/**
 * KEYS: generations. ARGV: token, time in ms, the sign: of a quarantine, or of a hold. Has it last for so long from now.
 * 1: it had lasted until now.
 */
export const OCCUPYING_TAGS = `
local had = 1
for i = 1, #KEYS do had = math.min(had, occupy(KEYS[i], ARGV[3], ARGV[1], ARGV[2])) end
return had`

export const QUARANTINE_TAGS = new Script(`${ALLOWED_WHEN_FULL}${QUARANTINES}${OCCUPYING_TAGS}`)

/** KEYS: floor, clock, lastTag, generations (none on a Cluster). ARGV: a new history, life. Creates them. The clock. */
export const CREATE = new Script(`${TICK}
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
for i = 4, #KEYS do
  if not isStanding(text(KEYS[i])) then redis.call('SET', KEYS[i], value, 'PX', ARGV[2]) end
end
return value`)

/** The beginning of a generation's value while it is being found out: nothing is valid under it. */
export const RESERVED = '?'

/**
 * KEYS: generation. ARGV: a reservation, its time in ms. Gives what is there then: a generation, a quarantine, or the
 * reservation, ours or that of somebody else, who then creates the same.
 */
export const RESERVE = new Script(`${TICK}
local present = text(KEYS[1])
if isStanding(present) or string.sub(present, 1, 1) == '${RESERVED}' then return present end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`)

/** KEYS: generation. ARGV: the reservation that it had, its value, life in ms. Gives what is there then; '': it is lost. */
export const SETTLE = new Script(`${TICK}
local present = text(KEYS[1])
if present ~= ARGV[1] then return present end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ARGV[2]`)

/** KEYS: generation. ARGV: what is enough, and its life where it has not so much, in ms: it outlives the entries. */
export const EXTEND = new Script(`${QUARANTINES}
local present = string.sub(text(KEYS[1]), 1, 1)
if present == '!' or present == '${HOLD}' then return end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`)
