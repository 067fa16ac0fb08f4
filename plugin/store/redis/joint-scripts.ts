// The scripts for a call that invalidates several targets: see joint-invalidation.ts.
import type { Bytes } from '../../duration.js'
import { RAISING, TICK } from './clock-scripts.js'
import { ALLOWED_WHEN_FULL, Script, UNLINKING_VARIANTS } from './script.js'
import { SOFTENING_KEY } from './scripts.js'

// The prefixes of invalidations lie in the floor, which every lookup reads, between the history and the runs. A record is
// `;<value>,<end>,<token>,<prefix>,<prefix>…`: entries under these prefixes whose `asOf` is below the value are invalid. It
// is there until they have all been removed; see joint-invalidation.ts. Where there are very many of them, or they are very
// long, as each lookup reads them, a new history does the same for all entries, and needs no record.
const MOST_RECORDED: Bytes = 32_768
export const RECORDS = `
local function putRecord(floor, token, record, history)
  local before, list, runs = string.match(text(floor), '^([^; ]*)(;?[^ ]*)( .*)$')
  if not before then return 1 end
  local now = milliseconds()
  local left, had = {}, 0
  for one in string.gmatch(list, ';[^;]+') do
    local ending, holder = string.match(one, '^;%d+,(%d+),([^,]+)')
    if holder == token then
      had = 1
    elseif tonumber(ending or 0) > now then
      left[#left + 1] = one
    end
  end
  local kept = table.concat(left)
  if record ~= '' and (#left >= 200 or #kept + #record > ${MOST_RECORDED}) then
    redis.call('SET', floor, history .. runs)
    return had
  end
  local after = before .. kept .. record .. runs
  if after ~= before .. list .. runs then redis.call('SET', floor, after) end
  return had
end
local function historyOf(floor)
  return string.match(text(floor), '^[^; ]*')
end
local function recordOf(value, time, token, prefixes)
  return ';' .. value .. ',' .. string.format('%.0f', milliseconds() + time) .. ',' .. token .. ',' .. prefixes
end`

/**
 * All of a call in one step, where one server has all its names. KEYS: floor, clock, lastTag, generations, then entry,
 * lease; or several such pairs; without the first three where there are neither tags nor prefixes. ARGV: the number of
 * generations, a token: of the quarantine that ends with it, and of the record of prefixes; these, how long their record may
 * stand in ms, a new history, a generation's life in ms. Quarantines of others stay. Gives the number of entries that went,
 * and 1 where all that had been in quarantine until now, under this token.
 */
export const INVALIDATING = `
local tags, token, prefixes = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local from, removed, had = 1, 0, 1
if tags > 0 or prefixes ~= '' then
  local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[5])
  if tags > 0 then advance(KEYS[3], value) end
  if prefixes ~= '' then
    putRecord(KEYS[1], token, recordOf(value, ARGV[4], token, prefixes), named(ARGV[5], value))
  end
  for i = 4, 3 + tags do had = math.min(had, change(KEYS[i], value, ARGV[6], token, true, raised)) end
  from = 4 + tags
end
for i = from, #KEYS, 2 do
  local present = text(KEYS[i + 1])
  if not isQuarantine(present) or not string.find(present, '@' .. token, 1, true) then had = 0 end
  if not staysQuarantined(KEYS[i + 1], present, token) then redis.call('DEL', KEYS[i + 1]) end
  removed = removed + redis.call('UNLINK', KEYS[i])
  unlinkVariants(KEYS[i + 1])
end
return {removed, had}`

export const INVALIDATE = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RAISING}${RECORDS}${UNLINKING_VARIANTS}${INVALIDATING}`)

/**
 * KEYS: floor, clock, lastTag. ARGV: a new history, a token, prefixes ('': none), how long their record may stand in ms, the
 * history of the first step. A call's second step on a Cluster: gives the clock, 1 where the record was there, or a history
 * has begun since, by which they are invalid as well, and 1 where the clock is ahead of the server's time.
 */
export const ADVANCING = `
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
advance(KEYS[3], value)
local ahead = isAhead(value) and 1 or 0
if ARGV[3] == '' then return {value, 1, ahead} end
local had = putRecord(KEYS[1], ARGV[2], recordOf(value, ARGV[4], ARGV[2], ARGV[3]), named(ARGV[1], value))
return {value, historyOf(KEYS[1]) ~= ARGV[5] and 1 or had, ahead}`

export const ADVANCE = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RECORDS}${ADVANCING}`)

/**
 * KEYS: floor. ARGV: token, prefixes, time in ms, a new history. Nothing is valid under them until they have a value. Gives
 * the history.
 */
export const HOLD_PREFIXES = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RECORDS}
local time = redis.call('TIME')
local history = named(ARGV[4], time[1] * 1000000 + time[2])
putRecord(KEYS[1], ARGV[1], recordOf('9007199254740991', ARGV[3], ARGV[1], ARGV[2]), history)
return historyOf(KEYS[1])`)

/**
 * KEYS: floor. ARGV: token ('': none), for how long in ms its record is to stand yet; 0: it goes. Records that have ended go
 * in any case.
 */
export const END_RECORD = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RECORDS}
local kept = ''
if tonumber(ARGV[2]) > 0 then
  for one in string.gmatch(text(KEYS[1]), ';[^; ]+') do
    local value, holder, rest = string.match(one, '^;(%d+),%d+,([^,]+),(.*)$')
    if holder == ARGV[1] then kept = recordOf(value, ARGV[2], holder, rest) end
  end
end
return putRecord(KEYS[1], ARGV[1], kept, '')`)

/**
 * The same, but entries become stale, see SOFTEN_KEY; by a tag they are dropped where the clock is ahead of the server's
 * time. KEYS: floor, clock, lastTag, the name that tells that this call was done, generations, then pairs; without the first
 * four where there are no tags. ARGV: the number of generations, a new history, a generation's life in ms, the instant. Not
 * done twice where the client sends it twice: what is softened again is dropped. Gives the number of entries.
 */
export const SOFTENING = `
local tags, from = tonumber(ARGV[1]), 1
if tags > 0 then
  from = 5 + tags
  if redis.call('SET', KEYS[4], '1', 'PX', 60000, 'NX') then
    local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[2])
    advance(KEYS[3], value)
    local changed = isAhead(value) and raised or softened
    for i = 5, 4 + tags do change(KEYS[i], value, ARGV[3], '', true, changed) end
  end
end
local count = 0
for i = from, #KEYS, 2 do
  if not isQuarantine(text(KEYS[i + 1])) then redis.call('DEL', KEYS[i + 1]) end
  count = count + softenKey(KEYS[i], ARGV[4])
  unlinkVariants(KEYS[i + 1])
end
return count`

export const SOFTEN = new Script(`${ALLOWED_WHEN_FULL}${TICK}${RAISING}${SOFTENING_KEY}${UNLINKING_VARIANTS}${SOFTENING}`)
