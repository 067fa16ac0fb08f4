// What Redis must do in one step with the clock, the floor and generations. All names of a script are in one slot.
import { QUARANTINES, Script } from './script.js'

// The clock only grows: at least by one, and never behind the server's time, so that it goes on where its name was lost.
// Then it may still be behind what it was, if the server's time stepped back: so everything before is of another history,
// and when any tag was last invalidated is not known.
// What is there instead of a number, somebody else's text or list, is taken for lost.
const TICK = `${QUARANTINES}
local function number(name)
  return string.match(text(name), '^%d+$')
end
local function isGeneration(value)
  return string.match(value, '^%d+~?%d*$')
end
local function isStanding(value)
  return isGeneration(value) or isQuarantine(value)
end
local function tick(floor, clock, last, history)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local present = number(clock)
  if not present then
    local runs = string.match(text(floor), ' .*') or ' '
    redis.call('SET', floor, history .. runs)
    redis.call('DEL', last)
  end
  local value = string.format('%.0f', math.max((present or 0) + 1, now))
  redis.call('SET', clock, value)
  return value
end
local function raise(name, value, life, token)
  local present = text(name)
  if staysQuarantined(name, present, token) then return end
  local dropped, stale = string.match(present, '^(%d+)~?(%d*)$')
  if dropped and tonumber(dropped) >= tonumber(value) then return end
  if (tonumber(stale) or 0) > tonumber(value) then value = value .. '~' .. stale end
  redis.call('SET', name, value, 'PX', math.max(tonumber(life), redis.call('PTTL', name)))
end
local function advance(last, value)
  if tonumber(number(last) or 0) < tonumber(value) then redis.call('SET', last, value) end
end`

/**
 * KEYS: floor, clock, lastTag. ARGV: the primaries' runs, a new history. Gives the floor, which is a new one where it is not
 * there, or of other runs, or the clock is not there.
 */
export const FLOOR = new Script(`${TICK}
local floor = text(KEYS[1])
if number(KEYS[2]) and string.match(floor, ' (.*)') == ARGV[1] then return floor end
floor = ARGV[2] .. ' ' .. ARGV[1]
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[2])
redis.call('SET', KEYS[1], floor)
advance(KEYS[3], value)
return floor`)

/** KEYS: floor. ARGV: a new history. Invalidates everything. */
export const INVALIDATE_ALL = new Script(`${TICK}
local runs = string.match(text(KEYS[1]), ' .*') or ' '
redis.call('SET', KEYS[1], ARGV[1] .. runs)`)

/**
 * KEYS: floor, clock, lastTag, generations (none on a Cluster, where RAISE follows). ARGV: a new history, life in ms, the
 * token of the quarantine that ends with it ('': of none). Gives the clock.
 */
export const INVALIDATE_TAGS = new Script(`${TICK}
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
advance(KEYS[3], value)
for i = 4, #KEYS do raise(KEYS[i], value, ARGV[2], ARGV[3]) end
return value`)

/**
 * KEYS: generation. ARGV: value, life in ms, token as above. A generation never shrinks: two invalidations may arrive in
 * either order. Where there is none, or a quarantine that ends with it, nobody knows what of others, above this value, went
 * with it: then there is none, until it is created anew, above all of them. A quarantine of others stays.
 */
export const RAISE = new Script(`${TICK}
local present = text(KEYS[1])
if isGeneration(present) then return raise(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) end
if not staysQuarantined(KEYS[1], present, ARGV[3]) then redis.call('DEL', KEYS[1]) end`)

// A generation under which something is stale is `<dropped>~<stale>`: what began before the first value is dropped, what
// began before the second is stale. What is stale already when it is softened again, nobody has refreshed: it is dropped, as
// each time would let it be served for longer. A reservation is replaced, as by any invalidation: it may stand for an older
// value.
const SOFTENING = `
local function soften(name, value)
  local present = text(name)
  local dropped, stale = string.match(present, '^(%d+)~?(%d*)$')
  if not dropped then
    if present ~= '' and not isQuarantine(present) then redis.call('SET', name, value, 'KEEPTTL') end
    return
  end
  if tonumber(dropped) >= tonumber(value) or (tonumber(stale) or 0) >= tonumber(value) then return end
  redis.call('SET', name, (stale == '' and dropped or stale) .. '~' .. value, 'KEEPTTL')
end`

/**
 * KEYS: floor, clock, lastTag, generations (none on a Cluster, where SOFTEN follows). ARGV: a new history. As
 * INVALIDATE_TAGS, but what was stored before becomes stale. Gives the clock.
 */
export const SOFTEN_TAGS = new Script(`${TICK}${SOFTENING}
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
advance(KEYS[3], value)
for i = 4, #KEYS do soften(KEYS[i], value) end
return value`)

/** KEYS: generation. ARGV: value. A reservation goes: others' values above this one may have gone before it, see RAISE. */
export const SOFTEN = new Script(`${TICK}${SOFTENING}
local present = text(KEYS[1])
if isGeneration(present) then return soften(KEYS[1], ARGV[1]) end
if not isQuarantine(present) then redis.call('DEL', KEYS[1]) end`)

/**
 * KEYS: floor, clock, lastTag. ARGV: a new history, time in ms. Behind the quarantine of tags for so long: a tag that nobody
 * knows then counts as invalidated when it ends, which it does by its name's expiry where the writer died.
 */
export const QUARANTINE_ANY_TAG = new Script(`${TICK}
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
advance(KEYS[3], string.format('%.0f', value + ARGV[2] * 1000))`)

/** KEYS: generations. ARGV: token, time in ms. Has the quarantine last for so long from now. 1: it had lasted until now. */
export const QUARANTINE_TAGS = new Script(`${QUARANTINES}
local had = 1
for i = 1, #KEYS do had = math.min(had, quarantine(KEYS[i], ARGV[1], ARGV[2])) end
return had`)

/** KEYS: floor, clock, lastTag, generations (none on a Cluster). ARGV: a new history, life. Creates them. The clock. */
export const CREATE = new Script(`${TICK}
local value = tick(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
for i = 4, #KEYS do
  if not isStanding(text(KEYS[i])) then redis.call('SET', KEYS[i], value, 'PX', ARGV[2]) end
end
return value`)

/** What a generation's name holds begins so while its value is being found out: nothing is valid under it. */
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
if isQuarantine(text(KEYS[1])) then return end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`)
