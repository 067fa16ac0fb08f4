// What each of the store's scripts does, for the model: the same as its Lua, on what data.ts holds.
import { ENTRY, MARKER, LAYOUT_VERSION } from '../../../plugin/store/layout.js'
import * as clockScripts from '../../../plugin/store/redis/clock-scripts.js'
import * as jointScripts from '../../../plugin/store/redis/joint-scripts.js'
import type { Script } from '../../../plugin/store/redis/script.js'
import * as entryScripts from '../../../plugin/store/redis/scripts.js'
import { FIRST_LIFE } from '../../../plugin/store/store.js'
import type { Held } from './held.js'

export const scripts = { ...entryScripts, ...clockScripts, ...jointScripts }

export type Reply = string | number | null | ReadonlyArray<string | number>
export type Body = (data: Held, keys: readonly string[], args: readonly string[]) => Reply

export type ScriptName = {
  [Name in keyof typeof scripts]: (typeof scripts)[Name] extends Script ? Name : never
}[keyof typeof scripts]

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** A history's name, with the clock's value in it. */
function named (history: string, value: string): string {
  let [digits, left] = ['', Number(value)]
  for (let i = 0; i < 9; i++) {
    digits = DIGITS[left % 64]! + digits
    left = Math.floor(left / 64)
  }
  return history.slice(0, 3) + digits
}

/** What follows history and records. */
function runsOf (floor: string | null): string {
  return floor?.includes(' ') === true ? floor.slice(floor.indexOf(' ')) : ' '
}

export function tick (data: Held, [floor, clock, lastTag]: readonly string[], history: string): string {
  const present = isNumber(data.get(clock!)) ? data.get(clock!) : null
  const value = String(Math.max(Number(present ?? 0) + 1, data.micros))
  if (present === null) {
    data.set(floor!, named(history, value) + runsOf(data.get(floor!)))
    data.unlink(lastTag!)
  }
  data.set(clock!, value)
  return value
}

/** Of the server's time, by more than a second. */
function isAhead (data: Held, value: string): boolean {
  return Number(value) - data.micros > 1_000_000
}

export function advance (data: Held, last: string, value: string): void {
  const present = data.get(last)
  if ((isNumber(present) ? Number(present) : 0) < Number(value)) data.set(last, value)
}

function isNumber (text: string | null): boolean {
  return text !== null && /^\d+$/.test(text)
}

export function isQuarantine (text: string | null): boolean {
  return text?.startsWith('!') === true
}

export function isHold (text: string | null): boolean {
  return text?.startsWith('#') === true
}

function isGeneration (text: string | null): boolean {
  return /^\d+~?\d*$/.test(text ?? '')
}

function isStanding (text: string | null): boolean {
  return isGeneration(text) || isQuarantine(text) || isHold(text)
}

/** Of a quarantine or a hold: who has it beside this one, whether this one has, and what the generation must be at least. */
interface Holders {
  left: string[]
  last: number
  had: number
  record: string
}

function others (text: string, token: string, now: number): Holders {
  const holders: Holders = { left: [], last: 0, had: 0, record: '' }
  for (const [, end, holder] of text.matchAll(/(\d+)@([^,]+)/g)) {
    if (holder!.startsWith('=')) holders.record = holder!.slice(1)
    else if (holder === token) holders.had = 1
    else if (Number(end) > now) {
      holders.left.push(`${end}@${holder}`)
      holders.last = Math.max(holders.last, Number(end))
    }
  }
  return holders
}

interface Kept extends Omit<Holders, 'had'> { sign: string }

function keep (data: Held, name: string, { sign, left, last, record }: Kept): void {
  const list = [...left, ...record === '' ? [] : [`${last}@=${record}`]].join(',')
  data.set(name, sign + list, Math.max(1, last - data.now))
}

/** 1: this token had it until now. */
export function occupy (data: Held, name: string, [token, time, sign]: readonly string[]): number {
  const present = data.get(name) ?? ''
  let holders: Holders = { left: [], last: 0, had: 0, record: '' }
  if (isQuarantine(present) || (isHold(present) && sign === '#')) holders = others(present, token!, data.now)
  else if (isHold(present)) holders = { ...others(present, token!, data.now), had: 0, record: '' }
  else if (isGeneration(present)) holders.record = present
  const kept = isQuarantine(present) ? '!' : sign!
  const end = data.now + Number(time)
  const [left, last] = [[...holders.left, `${end}@${token}`], Math.max(holders.last, end)]
  keep(data, name, { sign: kept, left, last, record: kept === '#' ? holders.record : '' })
  return holders.had
}

function staysQuarantined (data: Held, name: string, token: string): boolean {
  const present = data.get(name)
  if (!isQuarantine(present)) return false
  const { left, last } = others(present!, token, data.now)
  if (left.length === 0) return false
  keep(data, name, { sign: '!', left, last, record: '' })
  return true
}

/** Gives the lease's name back, if this token had it, or it is of nobody: whether it had. */
function free (data: Held, lease: string, token: string): number {
  const present = data.get(lease)
  const had = isQuarantine(present) && present!.includes(`@${token}`) ? 1 : 0
  if (!staysQuarantined(data, lease, token)) data.unlink(lease)
  return had
}

type Changed = (present: string, value: string) => string

export const raised: Changed = (present, value) => {
  const [, dropped, stale] = /^(\d+)~?(\d*)$/.exec(present) ?? []
  if (dropped !== undefined && Number(dropped) >= Number(value)) return present
  return Number(stale ?? 0) > Number(value) ? `${value}~${stale}` : value
}

/** `former`: what the same call had softened it to; '': nothing. */
export const softened = (present: string, value: string, former = ''): string => {
  const [, dropped, stale] = /^(\d+)~?(\d*)$/.exec(present) ?? []
  if (dropped !== undefined && stale !== '' && stale === former) return `${dropped}~${value}`
  if (dropped === undefined || Number(dropped) >= Number(value) || Number(stale) >= Number(value)) return present
  return `${stale === '' ? dropped : stale}~${value}`
}

interface Change { token: string, isNow: boolean, changed: Changed }

/** 1: this token had it until now. */
export function change (data: Held, name: string, [value, life]: readonly string[], how: Change): number {
  const { token, isNow, changed } = how
  const present = data.get(name) ?? ''
  const isSet = isNow && changed === raised
  if (isQuarantine(present) || isHold(present)) {
    const { left, last, had, record } = others(present, token, data.now)
    const least = isHold(present) ? changed(record, value!) : ''
    if (left.length > 0) keep(data, name, { sign: present[0]!, left, last, record: least })
    else if (had === 1 && least !== '') data.set(name, least, record === '' ? FIRST_LIFE : life!)
    else if (isSet) data.set(name, value!, FIRST_LIFE)
    else data.unlink(name)
    return had
  }
  if (isGeneration(present)) {
    const after = changed(present, value!)
    if (after !== present) data.set(name, after, Math.max(FIRST_LIFE, data.pttl(name)))
  } else if (isSet) {
    data.set(name, value!, FIRST_LIFE)
  } else {
    data.unlink(name)
  }
  return 0
}

interface Put { token: string, record: string, history: string }

/** Into the floor; 1: there had been one of this token. */
function putRecord (data: Held, floor: string, { token, record, history }: Put): number {
  const [, before, list = '', runs] = /^([^; ]*)(;?[^ ]*)( .*)$/s.exec(data.get(floor) ?? '') ?? []
  if (before === undefined) return 1
  let had = 0
  const left = [...list.matchAll(/;[^;]+/g)].map(([one]) => one).filter((one) => {
    const [, end, holder] = /^;\d+,(\d+),([^,]+)/.exec(one) ?? []
    if (holder === token) had = 1
    return holder !== token && Number(end ?? 0) > data.now
  })
  if (record !== '' && (left.length >= 200 || left.join('').length + record.length > 32_768)) data.set(floor, history + runs)
  else if (left.join('') + record !== list) data.set(floor, before + left.join('') + record + runs)
  return had
}

function historyOf (data: Held, floor: string): string {
  return /^[^; ]*/.exec(data.get(floor) ?? '')![0]
}

function recordOf (data: Held, value: string, [token, prefixes, time]: readonly string[]): string {
  return `;${value},${data.now + Number(time)},${token},${prefixes}`
}

/** Under the sign that nobody is to wait, too. */
function isOwn (data: Held, lease: string, token: string): boolean {
  return [token, scripts.PASS + token].includes(data.get(lease) ?? '')
}

/** By its first byte no marker. */
export function isEntry (text: string | null): boolean {
  return text !== null && text !== '' && text.charCodeAt(0) < 128
}

function checksumIn (bytes: string | null): string {
  return (bytes ?? '').slice(ENTRY.checksum, ENTRY.status)
}

export function epochIn (marker: string | null): string {
  return (marker ?? '').slice(MARKER.epoch, MARKER.members)
}

/** By its checksum. */
function isStored (data: Held, name: string, bytes: string): boolean {
  return checksumIn(data.get(name)) === checksumIn(bytes)
}

function softenKey (data: Held, name: string, instant: string): number {
  const bytes = Buffer.from(data.get(name) ?? '', 'latin1')
  const isEntry = bytes.length >= ENTRY.asOf && bytes[0] === LAYOUT_VERSION
  const times = [ENTRY.softenedAt, ENTRY.staleAt, ENTRY.deadAt, ENTRY.rescueUntil]
  const [since, stale, dead, rescue] = isEntry ? times.map((at) => bytes.readDoubleBE(at)) : [0, 0, 0, 0]
  if (since !== 0) return 1
  const time = Math.max(dead!, rescue!) - stale!
  if (!(time > 0)) return data.unlink(name)
  bytes.writeDoubleBE(Number(instant), ENTRY.softenedAt)
  data.set(name, bytes.toString('latin1'), Math.min(data.pttl(name), time))
  return 1
}

/** A list of variants is a text here, the oldest first. */
function listedIn (data: Held, list: string): string[] {
  return data.get(list)?.split(',') ?? []
}

function variantIn (list: string, fingerprint: string): string {
  return list.replace(/variants$/, `v:${fingerprint}`)
}

function unlinkListed (data: Held, list: string): void {
  data.unlink(...listedIn(data, list).map((one) => variantIn(list, one)), list)
}

/** Those of the key that has this lease. */
function unlinkVariants (data: Held, lease: string): void {
  const [, before, key] = /^(.*)lease:(\{[^{}]*\})$/s.exec(lease) ?? []
  if (key !== undefined) unlinkListed(data, `${before}${key}:variants`)
}

/** What a call names, as its script is given it: the floor's names where they are needed, generations, and pairs. */
interface Named {
  floor: readonly string[]
  generations: readonly string[]
  pairs: Array<[entry: string, lease: string]>
}

/** `from`: the number of the floor's names. */
function namedIn (keys: readonly string[], from: number, tags: number): Named {
  return { floor: keys.slice(0, from), generations: keys.slice(from, from + tags), pairs: pairs(keys.slice(from + tags)) }
}

/** The same of INVALIDATE. */
export function namedByCall (keys: readonly string[], [tags, , prefixes]: readonly string[]): Named {
  return namedIn(keys, tags !== '0' || prefixes !== '' ? 3 : 0, Number(tags))
}

const changedBy = (by: typeof softened): Body => (data, generations, [value, life, token, former]) => {
  const changed: Changed = by === raised ? raised : (present, value) => by(present, value, former)
  const how = { token: token!, isNow: false, changed }
  return Math.min(1, ...generations.map((name) => change(data, name, [value!, life!], how)))
}

export const BODIES: Record<ScriptName, Body> = {
  FILL: (data, [entry, lease], [token, bytes, life, overMarker]) => {
    if (!isOwn(data, lease!, token!)) return isStored(data, entry!, bytes!) ? 1 : 0
    data.set(entry!, bytes!, life!)
    if (overMarker !== undefined) unlinkVariants(data, lease!)
    data.unlink(lease!)
    return 1
  },
  FILL_VARIANT: (data, [marker, lease, variant, list], [token, under, newMarker, bytes, life, fingerprint, most]) => {
    if (!isOwn(data, lease!, token!)) return isStored(data, variant!, bytes!) ? 1 : 0
    if (under !== '' && epochIn(data.get(marker!)) !== under) {
      data.unlink(lease!)
      return 0
    }
    let markerLife = Number(life)
    if (under !== '' && epochIn(newMarker!) === under) markerLife = Math.max(markerLife, data.pttl(marker!))
    else unlinkListed(data, list!)
    data.set(marker!, newMarker!, markerLife)
    data.set(variant!, bytes!, life!)
    data.unlink(lease!)
    const listed = [...listedIn(data, list!).filter((one) => one !== fingerprint), fingerprint!]
    const oldest = listed.splice(0, Math.max(0, listed.length - Number(most)))
    data.set(list!, listed.join(','), markerLife)
    data.unlink(...oldest.map((one) => variantIn(list!, one)))
    return oldest.length > 0 ? 2 : 1
  },
  TAKE: (data, [lease, target], [token, time, seen]) => {
    let held = data.get(lease!)
    const isFree = held === null
    if (held === token || held === scripts.PASS + token!) return [held]
    if (held !== null && held !== scripts.PASS) {
      if (isQuarantine(held) || data.pttl(lease!) <= Number(time)) return ['', held]
      held = null
    }
    if (seen !== undefined && checksumIn(data.get(target!)) !== seen) return ['', '']
    const mine = (held ?? '') + token!
    data.set(lease!, mine, time!)
    return isFree ? 1 : [mine]
  },
  TAKE_FIRST: (data, [key, lease, keyLease], [token, time, seen, marker, life]) => {
    if (data.get(lease!) === token) return 1
    if (isQuarantine(data.get(keyLease!))) return ['', data.get(keyLease!)!]
    if (checksumIn(data.get(key!)) !== seen) return ['', '']
    data.set(key!, marker!, life!)
    data.set(lease!, token!, time!)
    return 1
  },
  RENEW: (data, [lease], [token, time, next]) => {
    if (!isOwn(data, lease!, token!)) return 0
    const held = data.get(lease!)!
    data.set(lease!, held === scripts.PASS + next! ? held : next!, time!)
    return 1
  },
  RELEASE: (data, [lease], [token, time]) => {
    if (!isOwn(data, lease!, token!)) return 0
    if (time === undefined) data.unlink(lease!)
    else data.set(lease!, scripts.PASS, time)
    return 1
  },
  END: (data, [lease, entry, marker], [token, time, epoch]) => {
    if (!isOwn(data, lease!, token!)) return 0
    const isThere = marker === undefined ? isEntry(data.get(entry!)) : epochIn(data.get(marker)) === epoch
    if (isThere) data.unlink(entry!)
    data.set(lease!, scripts.PASS, time!)
    return 1
  },
  SEIZE: (data, [lease], [token, time]) => {
    if (isQuarantine(data.get(lease!))) return 0
    data.set(lease!, token!, time!)
    return 1
  },
  SOFTEN_KEY: (data, keys, [instant, token, time]) => {
    let [count, had] = [0, 1]
    for (const [entry, lease] of pairs(keys)) {
      if (!isQuarantine(data.get(lease)) || !data.get(lease)!.includes(`@${token}`)) had = 0
      if (Number(time) > 0) occupy(data, lease, [token!, time!, '!'])
      else free(data, lease, token!)
      count += softenKey(data, entry, instant!)
      unlinkVariants(data, lease)
    }
    return [count, had]
  },
  UNLINK_VARIANTS: (data, keys) => {
    for (const list of keys) unlinkListed(data, list)
    return null
  },
  UNLINK_LEASES: (data, keys) => {
    data.unlink(...keys.filter((name) => !isQuarantine(data.get(name))))
    return null
  },
  QUARANTINE_KEY: (data, keys, args) => {
    let [removed, had] = [0, 1]
    for (const [entry, lease] of pairs(keys)) {
      had = Math.min(had, occupy(data, lease, [...args, '!']))
      removed += data.unlink(entry)
      unlinkVariants(data, lease)
    }
    return [removed, had]
  },
  FLOOR: (data, [floor, clock, lastTag], [runs, history]) => {
    const present = data.get(floor!)
    if (isNumber(data.get(clock!)) && present !== null && runsOf(present) === ` ${runs}`) return [present, 0]
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    data.set(floor!, `${named(history!, value)} ${runs}`)
    advance(data, lastTag!, value)
    return [data.get(floor!)!, 1]
  },
  INVALIDATE_ALL: (data, keys, [history]) => {
    const value = tick(data, keys, history!)
    data.set(keys[0]!, named(history!, value) + runsOf(data.get(keys[0]!)))
    return null
  },
  RAISE: changedBy(raised),
  SOFTEN_TAG: changedBy(softened),
  QUARANTINE_ANY_TAG: (data, [floor, clock, lastTag], [history, time]) => {
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    advance(data, lastTag!, String(Number(value) + Number(time) * 1000))
    return null
  },
  QUARANTINE_TAGS: (data, generations, args) => Math.min(1, ...generations.map((name) => occupy(data, name, args))),
  CREATE: (data, [floor, clock, lastTag, ...generations], [history, life]) => {
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    for (const name of generations) if (!isStanding(data.get(name))) data.set(name, value, life!)
    return value
  },
  RESERVE: (data, [generation], [reservation, time]) => {
    const present = data.get(generation!)
    if (present !== null && (isStanding(present) || present.startsWith(scripts.RESERVED))) return present
    data.set(generation!, reservation!, time!)
    return reservation!
  },
  SETTLE: (data, [generation], [reservation, value, life]) => {
    if ((data.get(generation!) ?? '') === reservation) data.set(generation!, value!, life!)
    return data.get(generation!) ?? ''
  },
  EXTEND: (data, [generation], [enough, life]) => {
    const present = data.get(generation!)
    if (isQuarantine(present) || isHold(present)) return null
    if (data.pttl(generation!) < Number(enough)) data.pexpire(generation!, life!)
    return null
  },
  INVALIDATE: (data, keys, args) => {
    const [, token, prefixes, time, history, life] = args
    const { floor, generations, pairs } = namedByCall(keys, args)
    let [removed, had] = [0, 1]
    if (floor.length > 0) {
      const value = tick(data, floor, history!)
      if (generations.length > 0) advance(data, floor[2]!, value)
      const record = recordOf(data, value, [token!, prefixes!, time!])
      if (prefixes !== '') putRecord(data, floor[0]!, { token: token!, record, history: named(history!, value) })
      for (const name of generations) {
        had = Math.min(had, change(data, name, [value, life!], { token: token!, isNow: true, changed: raised }))
      }
    }
    for (const [entry, lease] of pairs) {
      had = Math.min(had, free(data, lease, token!))
      removed += data.unlink(entry)
      unlinkVariants(data, lease)
    }
    return [removed, had]
  },
  ADVANCE: (data, keys, [history, token, prefixes, time, heldIn]) => {
    const value = tick(data, keys, history!)
    advance(data, keys[2]!, value)
    const ahead = isAhead(data, value) ? 1 : 0
    if (prefixes === '') return [value, 1, ahead]
    const record = recordOf(data, value, [token!, prefixes!, time!])
    const had = putRecord(data, keys[0]!, { token: token!, record, history: named(history!, value) })
    return [value, historyOf(data, keys[0]!) !== heldIn ? 1 : had, ahead]
  },
  HOLD_PREFIXES: (data, [floor], [token, prefixes, time, history]) => {
    const record = recordOf(data, '9007199254740991', [token!, prefixes!, time!])
    putRecord(data, floor!, { token: token!, record, history: named(history!, String(data.micros)) })
    return historyOf(data, floor!)
  },
  END_RECORD: (data, [floor], [token, time]) => {
    let kept = ''
    if (Number(time) > 0) {
      for (const [one] of (data.get(floor!) ?? '').matchAll(/;[^; ]+/g)) {
        const [, value, holder, rest] = /^;(\d+),\d+,([^,]+),(.*)$/.exec(one) ?? []
        if (holder === token) kept = recordOf(data, value!, [holder!, rest!, time!])
      }
    }
    return putRecord(data, floor!, { token: token!, record: kept, history: '' })
  },
  SOFTEN: (data, keys, [tags, history, life, instant]) => {
    const { floor, generations, pairs } = namedIn(keys, tags === '0' ? 0 : 4, Number(tags))
    if (floor.length > 0 && data.setNew(floor[3]!, '1', 60_000) !== null) {
      const value = tick(data, floor, history!)
      advance(data, floor[2]!, value)
      const changed = isAhead(data, value) ? raised : softened
      for (const name of generations) change(data, name, [value, life!], { token: '', isNow: true, changed })
    }
    return sum(pairs, ([entry, lease]) => {
      if (!isQuarantine(data.get(lease))) data.unlink(lease)
      unlinkVariants(data, lease)
      return softenKey(data, entry, instant!)
    })
  }
}

/** Entries and their leases. */
function pairs (keys: readonly string[]): Array<[entry: string, lease: string]> {
  return keys.flatMap((key, i) => i % 2 === 0 ? [[key, keys[i + 1]!] as [string, string]] : [])
}

function sum<T> (list: readonly T[], count: (one: T) => number): number {
  return list.reduce((total, one) => total + count(one), 0)
}
