// One Lua text by which other programs invalidate, in whatever language: the very steps of the plugin's scripts, each as a
// function, and names made by the same `Keys`. Written here is only which step is called with which names.
//
// Nothing that others rely on may change within a version: the steps, the order of ARGV, the replies, and by which name a
// Cluster finds the slot. docs/from-any-language.md describes them.
import { MOST_CHARACTERS } from '../../key/key.js'
import { HOLD, Keys } from '../../store/keys.js'
import { LAYOUT_VERSION } from '../../store/layout.js'
import { INVALIDATING_ALL, OCCUPYING_TAGS, RAISING, RAISING_TAGS, TICK } from '../../store/redis/clock-scripts.js'
import { LEAST_LIFE } from '../../store/redis/generations.js'
import { AT_ONCE } from '../../store/redis/joint-invalidation.js'
import { ADVANCING, INVALIDATING, RECORDS, SOFTENING } from '../../store/redis/joint-scripts.js'
import { ALLOWED_WHEN_FULL, UNLINKING_VARIANTS } from '../../store/redis/script.js'
import { OCCUPYING_KEYS, SOFTENING_KEY } from '../../store/redis/scripts.js'

/** Of the interface. */
export const SCRIPT_VERSION = 1

const PREFIX = '<prefix>'
const NAME = '<name>'

/** A name of `Keys` as an expression of Lua, of its variables `prefix` and `name`. */
function luaOf (name: string): string {
  const parts = name.split(/(<prefix>|<name>)/).filter((part) => part !== '')
  return parts.map((part) => part === PREFIX ? 'prefix' : part === NAME ? 'name' : `'${part}'`).join(' .. ')
}

const names = new Keys(PREFIX)
const floor = [names.floor, names.clock, names.lastTag].map(luaOf).join(', ')
const pairs = names.pairs(NAME).map(luaOf).join(', ')

/** As the body of a function that has KEYS and ARGV. */
function stepOf (name: string, body: string): string {
  return `local function ${name}(KEYS, ARGV)${body}\nend\n`
}

const STEPS = [
  stepOf('invalidateNames', INVALIDATING),
  stepOf('softenNames', SOFTENING),
  stepOf('invalidateAll', INVALIDATING_ALL),
  stepOf('occupyKeys', OCCUPYING_KEYS),
  stepOf('occupyTags', OCCUPYING_TAGS),
  stepOf('advanceClock', ADVANCING),
  stepOf('raiseTags', RAISING_TAGS)
].join('')

/** Reads ARGV from there on: pairs of a kind and a name. Refuses, before anything is changed, what can't be meant. */
const READING = `
local step, prefix = ARGV[1], ARGV[2]
local function wrong(why)
  return redis.error_reply('ERR fastify-route-cache script, version ${SCRIPT_VERSION}: ' .. why)
end
local function lengthOf(name)
  return #string.gsub(name, '[\\128-\\191]', '') + select(2, string.gsub(name, '[\\240-\\247]', ''))
end
local keys, tags = {}, {}
local function read(from)
  if (#ARGV - from) % 2 == 0 then return 'a kind, "key" or "tag", stands in front of each name' end
  if #ARGV < from then return 'nothing is named' end
  if (#ARGV - from + 1) / 2 > ${AT_ONCE} then return 'more than ${AT_ONCE} names in one call' end
  local seen = {}
  for i = from, #ARGV, 2 do
    local kind, name = ARGV[i], ARGV[i + 1]
    if kind ~= 'key' and kind ~= 'tag' then return 'a kind is "key" or "tag"' end
    if name == '' then return 'a name is empty' end
    if string.find(name, '[{}%z]') then return 'a name with a brace or a zero byte is stored in another form, which the command keys shows' end
    if lengthOf(name) > ${MOST_CHARACTERS} then return 'a name is longer than ${MOST_CHARACTERS} characters: it is stored in another form' end
    if not seen[kind .. name] then
      local list = kind == 'key' and keys or tags
      list[#list + 1] = name
      seen[kind .. name] = true
    end
  end
end
local function floorNames()
  return {${floor}}
end
local function append(list, more)
  for i = 1, #more do list[#list + 1] = more[i] end
  return list
end
local function tagNames()
  local list = {}
  for i = 1, #tags do
    local name = tags[i]
    list[i] = ${luaOf(names.tag(NAME))}
  end
  return list
end
local function keyNames()
  local list = {}
  for i = 1, #keys do
    local name = keys[i]
    append(list, {${pairs}})
  end
  return list
end
local function newHistory()
  local time = redis.call('TIME')
  return string.sub(redis.sha1hex(time[1] .. '.' .. time[2] .. table.concat(ARGV, ' ')), 1, 12)
end`

const CALLING = `
if not string.match(prefix or '', '^[%w_-]+$') then
  return wrong('ARGV is: step, prefix, ...; a prefix has letters, digits, "_" and "-" only')
end
local life, history = '${LEAST_LIFE}', newHistory()
if step == 'invalidate' or step == 'soften' then
  local why = read(3)
  if why then return wrong(why) end
  local list = {}
  if #tags > 0 then append(list, floorNames()) end
  if step == 'soften' then
    local time, name = redis.call('TIME'), history
    if #tags > 0 then list[4] = ${luaOf(names.once(NAME))} end
    local instant = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    return softenNames(append(append(list, tagNames()), keyNames()), {tostring(#tags), history, life, instant})
  end
  return invalidateNames(append(append(list, tagNames()), keyNames()), {tostring(#tags), '', '', '0', history, life})[1]
end
if step == 'all' then
  if #ARGV > 2 then return wrong('ARGV of "all" is: step, prefix') end
  invalidateAll(floorNames(), {history})
  return 0
end
local token = ARGV[3] or ''
if step ~= 'hold' and step ~= 'advance' and step ~= 'release' then
  return wrong('the steps are: invalidate, soften, all; on a Cluster also: hold, advance, release')
end
if not string.match(token, '^[%w-]+$') then return wrong('a token has letters, digits and "-" only') end
if step == 'advance' then
  return advanceClock(floorNames(), {history, token, '', '0', ''})[1]
end
local value = ARGV[4] or ''
if not string.match(value, '^%d+$') then return wrong('ARGV of "hold" is: step, prefix, token, milliseconds, ...; of "release" a value') end
local why = read(5)
if why then return wrong(why) end
if step == 'hold' then
  local removed = #keys > 0 and occupyKeys(keyNames(), {token, value})[1] or 0
  if #tags > 0 then occupyTags(tagNames(), {token, value, '${HOLD}'}) end
  return removed
end
local had = 1
if #keys > 0 then had = invalidateNames(keyNames(), {'0', token, '', '0', '', '0'})[2] end
if #tags > 0 then had = math.min(had, raiseTags(tagNames(), {value, life, token})) end
return had
`

/** The text. Its second line names the version. */
export function outsideScript (): string {
  const head = `-- fastify-route-cache: invalidation from any language, version ${SCRIPT_VERSION}, for entries of layout ${LAYOUT_VERSION}\n` +
    '-- ARGV: step, prefix, then by step:\n' +
    '--   invalidate, soften   kind, name, ...  ("key" or "tag")   gives how many entries went by their keys\n' +
    '--   all                                                      gives 0\n' +
    '-- on a Cluster, for tags, or several names as one:\n' +
    '--   hold                 token, milliseconds, kind, name, ...\n' +
    '--   advance              token                               gives a value\n' +
    '--   release              token, value, kind, name, ...       gives 1; 0: it was lost, begin again with hold\n' +
    '-- KEYS: none on one server; on a Cluster the name that has the slot: <prefix>:<key>, <prefix>#tag:<tag>, <prefix>#floor\n'
  return [ALLOWED_WHEN_FULL, head, TICK, RAISING, RECORDS, UNLINKING_VARIANTS, SOFTENING_KEY, '\n', STEPS, READING, CALLING].join('')
}
