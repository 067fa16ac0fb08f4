// What a Redis server holds, for the model: the few commands and scripts that the store uses, each of them one step, on
// texts of latin1 (bytes). Nothing ends by itself here: names go when the model evicts them. data.test.ts runs the same
// commands against a real server and compares.
import { slotOf } from '../../../plugin/store/slot.js'
import * as clockScripts from '../../../plugin/store/clock-scripts.js'
import type { Script } from '../../../plugin/store/script.js'
import * as entryScripts from '../../../plugin/store/scripts.js'

export const scripts = { ...entryScripts, ...clockScripts }

export type Argument = string | Buffer | number
type Reply = string | number | null | string[]
export type Body = (data: Data, keys: readonly string[], args: readonly string[]) => Reply

export type ScriptName = {
  [Name in keyof typeof scripts]: (typeof scripts)[Name] extends Script ? Name : never
}[keyof typeof scripts]

interface Value { text: string, until: number | null }

export interface DataOptions {
  /** Scripts that do something else than ours: what a broken protocol would do. */
  scripts?: Partial<Record<ScriptName, Body>>
  /** Whether SCAN finds nothing with this pattern. */
  isUnseen?: (pattern: string) => boolean
  /** Milliseconds, for how long names have to live yet. */
  now?: () => number
}

export class Data {
  /** The server's time in µs. */
  micros = 0
  readonly #values = new Map<string, Value>()
  readonly #bodies: Record<ScriptName, Body>
  readonly #isUnseen: (pattern: string) => boolean
  readonly #now: () => number

  constructor ({ scripts = {}, isUnseen = () => false, now = () => 0 }: DataOptions = {}) {
    this.#bodies = { ...BODIES, ...scripts }
    this.#isUnseen = isUnseen
    this.#now = now
  }

  /** The server's time in ms. */
  get now (): number {
    return this.#now()
  }

  get names (): string[] {
    return [...this.#values.keys()]
  }

  get (name: string): string | null {
    return this.#values.get(name)?.text ?? null
  }

  /** Without a life: for ever. */
  set (name: string, text: string, life?: string | number): 'OK' {
    this.#values.set(name, { text, until: life === undefined ? null : this.#now() + Number(life) })
    return 'OK'
  }

  setNew (name: string, text: string, life: string | number): 'OK' | null {
    return this.#values.has(name) ? null : this.set(name, text, life)
  }

  /** The number of those that were there. */
  unlink (...names: readonly string[]): number {
    return names.filter((name) => this.#values.delete(name)).length
  }

  /** -1: for ever, -2: there is no such name. */
  pttl (name: string): number {
    const value = this.#values.get(name)
    return value === undefined ? -2 : value.until === null ? -1 : value.until - this.#now()
  }

  pexpire (name: string, life: string | number): number {
    const value = this.#values.get(name)
    if (value !== undefined) value.until = this.#now() + Number(life)
    return value === undefined ? 0 : 1
  }

  /** A page is a slot's names: what comes in behind the cursor is not seen, which is all that SCAN promises. */
  scan (cursor: string, pattern: string, isHere: (slot: number) => boolean = () => true): [string, string[]] {
    if (this.#isUnseen(pattern)) return ['0', []]
    const bySlot = this.names.map((name) => [slotOf(name), name] as const)
      .filter(([slot]) => isHere(slot) && slot >= Number(cursor))
    const page = Math.min(...bySlot.map(([slot]) => slot))
    const names = bySlot.filter(([slot, name]) => slot === page && name.startsWith(startOf(pattern)))
    return [bySlot.some(([slot]) => slot > page) ? String(page + 1) : '0', names.map(([, name]) => name)]
  }

  /** Undefined: there is no such script. */
  run (sha: string, keys: readonly string[], args: readonly Argument[]): Reply | undefined {
    const name = SHAS.get(sha)
    return name === undefined ? undefined : this.#bodies[name](this, keys, args.map(textOf))
  }

  /** The time of this token's quarantines is over, as its holder renews them no more; of others' it is not. */
  runOut (token: string): void {
    for (const [name, { text }] of this.#values) {
      if (!isQuarantine(text) || !text.includes(`@${token}`)) continue
      const left = text.replace(new RegExp(`\\d+@${token}`), `0@${token}`)
      if (/[1-9]\d*@/.test(left)) this.#values.get(name)!.text = left
      else this.#values.delete(name)
    }
  }

  /** What is there, as it can be put back. */
  copy (): ReadonlyMap<string, Value> {
    return new Map([...this.#values].map(([name, value]) => [name, { ...value }]))
  }

  /** Of the names in these slots: what had been there then. */
  restore (copy: ReadonlyMap<string, Value>, isHere: (slot: number) => boolean): void {
    for (const name of this.names) if (isHere(slotOf(name))) this.#values.delete(name)
    for (const [name, value] of copy) if (isHere(slotOf(name))) this.#values.set(name, { ...value })
  }
}

/** A script's name, for the trace. */
export function scriptOf (sha: string): string {
  return SHAS.get(sha) ?? 'unknown script'
}

export function textOf (value: Argument): string {
  return (value instanceof Buffer ? value : Buffer.from(String(value))).toString('latin1')
}

/** Patterns of ours have a `*` at their end, and nowhere else. */
function startOf (pattern: string): string {
  if (!pattern.endsWith('*')) throw new Error(`the model does not know this pattern: ${pattern}`)
  return pattern.slice(0, -1).replace(/\\(.)/g, '$1')
}

function isFloorOf (floor: string | null, runs: string): boolean {
  return floor !== null && floor.includes(' ') && floor.slice(floor.indexOf(' ') + 1) === runs
}

/** What follows the history. */
function runsOf (floor: string | null): string {
  return floor?.includes(' ') === true ? floor.slice(floor.indexOf(' ')) : ' '
}

export function tick (data: Data, [floor, clock, lastTag]: readonly string[], history: string): string {
  const present = data.get(clock!)
  const last = Number.isNaN(Number(present ?? NaN)) ? null : present
  if (last === null) {
    data.set(floor!, history + runsOf(data.get(floor!)))
    data.unlink(lastTag!)
  }
  const value = String(Math.max(Number(last ?? 0) + 1, data.micros))
  data.set(clock!, value)
  return value
}

function isNumber (text: string | null): boolean {
  return text !== null && /^\d+$/.test(text)
}

export function isQuarantine (text: string | null): boolean {
  return text?.startsWith('!') === true
}

/** A generation or a quarantine. */
function isStanding (text: string | null): boolean {
  return isQuarantine(text) || /^\d+(~\d+)?$/.test(text ?? '')
}

/** The tokens of a quarantine that have not ended, by their ends. */
function tokensOf (data: Data, name: string): Map<string, number> {
  const parts = (data.get(name) ?? '').slice(1).split(',').map((part) => part.split('@') as [string, string])
  return new Map(parts.map(([end, token]) => [token, Number(end)] as const).filter(([, end]) => end > data.now))
}

function hold (data: Data, name: string, tokens: ReadonlyMap<string, number>): void {
  const last = Math.max(...tokens.values())
  data.set(name, `!${[...tokens].map(([token, end]) => `${end}@${token}`).join(',')}`, last - data.now)
}

export function quarantine (data: Data, name: string, [token, time]: readonly string[]): number {
  const tokens: Map<string, number> = isQuarantine(data.get(name)) ? tokensOf(data, name) : new Map()
  const had = tokens.delete(token!)
  hold(data, name, tokens.set(token!, data.now + Number(time)))
  return had ? 1 : 0
}

function staysQuarantined (data: Data, name: string, token: string): boolean {
  if (!isQuarantine(data.get(name))) return false
  const tokens = tokensOf(data, name)
  tokens.delete(token)
  if (tokens.size === 0) return false
  hold(data, name, tokens)
  return true
}

export function raise (data: Data, name: string, [value, life, token]: readonly string[]): void {
  if (staysQuarantined(data, name, token!)) return
  const [, dropped, stale] = /^(\d+)(?:~(\d+))?$/.exec(data.get(name) ?? '') ?? []
  if (dropped !== undefined && Number(dropped) >= Number(value)) return
  const kept = Number(stale ?? 0) > Number(value) ? `~${stale}` : ''
  data.set(name, value! + kept, Math.max(Number(life), data.pttl(name)))
}

function soften (data: Data, name: string, value: string): void {
  const present = data.get(name)
  if (present === null || isQuarantine(present)) return
  const [, dropped, stale] = /^(\d+)(?:~(\d+))?$/.exec(present) ?? []
  const life = data.pttl(name) === -1 ? undefined : data.pttl(name)
  if (dropped === undefined) data.set(name, value, life)
  else if (Number(dropped) < Number(value) && Number(stale ?? 0) < Number(value)) data.set(name, `${stale ?? dropped}~${value}`, life)
}

export function advance (data: Data, last: string, value: string): void {
  const present = data.get(last)
  if ((isNumber(present) ? Number(present) : 0) < Number(value)) data.set(last, value)
}

export const BODIES: Record<ScriptName, Body> = {
  FILL: (data, [entry, lease], [token, bytes, life]) => {
    if (data.get(lease!) !== token) return 0
    data.set(entry!, bytes!, life!)
    data.unlink(lease!)
    return 1
  },
  FILL_VARIANT: (data, [marker, lease, variant], [token, under, newMarker, bytes, life]) => {
    if (data.get(lease!) !== token) return 0
    let markerLife = Number(life)
    if (under !== '') {
      if ((data.get(marker!) ?? '').slice(5, 17) !== under) {
        data.unlink(lease!)
        return 0
      }
      if (newMarker!.slice(5, 17) === under) markerLife = Math.max(markerLife, data.pttl(marker!))
    }
    data.set(marker!, newMarker!, markerLife)
    data.set(variant!, bytes!, life!)
    data.unlink(lease!)
    return 1
  },
  TAKE: (data, [lease, target], [token, time, seen]) => {
    const held = data.get(lease!)
    if (held !== null && held !== scripts.PASS) return ['', held]
    if (seen !== undefined && (data.get(target!) ?? '').slice(1, 5) !== seen) return ['', '']
    const mine = (held ?? '') + token!
    data.set(lease!, mine, time!)
    return [mine]
  },
  TAKE_FIRST: (data, [key, lease, keyLease], [token, time, seen, marker, life]) => {
    if (isQuarantine(data.get(keyLease!))) return ['', data.get(keyLease!)!]
    if ((data.get(key!) ?? '').slice(1, 5) !== seen) return ['', '']
    data.set(key!, marker!, life!)
    data.set(lease!, token!, time!)
    return [token!]
  },
  RENEW: (data, [lease], [token, time, next]) => {
    if (data.get(lease!) !== token) return 0
    data.set(lease!, next!, time!)
    return 1
  },
  RELEASE: (data, [lease], [token, time]) => {
    if (data.get(lease!) !== token) return 0
    if (time === undefined) data.unlink(lease!)
    else data.set(lease!, scripts.PASS, time)
    return 1
  },
  SEIZE: (data, [lease], [token, time]) => {
    if (isQuarantine(data.get(lease!))) return 0
    data.set(lease!, token!, time!)
    return 1
  },
  INVALIDATE: (data, keys, [token]) => sum(pairs(keys), ([entry, lease]) => {
    if (!staysQuarantined(data, lease, token!)) data.unlink(lease)
    return data.unlink(entry)
  }),
  SOFTEN_KEY: (data, keys, [now]) => sum(pairs(keys), ([entry, lease]) => {
    if (!isQuarantine(data.get(lease))) data.unlink(lease)
    const bytes = Buffer.from(data.get(entry) ?? '', 'latin1')
    const isEntry = bytes.length >= 47 && bytes[0] === 5
    const [since, stale, dead, rescue] = isEntry ? [15, 23, 31, 39].map((at) => bytes.readDoubleBE(at)) : [0, 0, 0, 0]
    if (since !== 0) return 1
    const time = Math.max(dead!, rescue!) - stale!
    if (!(time > 0)) return data.unlink(entry)
    bytes.writeDoubleBE(Number(now), 15)
    data.set(entry, bytes.toString('latin1'), Math.min(data.pttl(entry), time))
    return 1
  }),
  UNLINK_LEASES: (data, keys) => {
    data.unlink(...keys.filter((name) => !isQuarantine(data.get(name))))
    return null
  },
  QUARANTINE_KEY: (data, keys, args) => Math.min(...pairs(keys).map(([entry, lease]) => {
    data.unlink(entry)
    return quarantine(data, lease, args)
  })),
  FLOOR: (data, [floor, clock, lastTag], [runs, history]) => {
    const present = data.get(floor!)
    if (data.get(clock!) !== null && isFloorOf(present, runs!)) return present
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    data.set(floor!, `${history} ${runs}`)
    advance(data, lastTag!, value)
    return data.get(floor!)
  },
  INVALIDATE_ALL: (data, [floor], [history]) => {
    data.set(floor!, history! + runsOf(data.get(floor!)))
    return null
  },
  INVALIDATE_TAGS: (data, [floor, clock, lastTag, ...generations], [history, life, token]) => {
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    advance(data, lastTag!, value)
    for (const name of generations) raise(data, name, [value, life!, token!])
    return value
  },
  SOFTEN_TAGS: (data, [floor, clock, lastTag, ...generations], [history]) => {
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    advance(data, lastTag!, value)
    for (const name of generations) soften(data, name, value)
    return value
  },
  SOFTEN: (data, [generation], [value]) => {
    if (!isStanding(data.get(generation!))) data.unlink(generation!)
    soften(data, generation!, value!)
    return null
  },
  QUARANTINE_ANY_TAG: (data, [floor, clock, lastTag], [history, time]) => {
    const value = tick(data, [floor!, clock!, lastTag!], history!)
    advance(data, lastTag!, String(Number(value) + Number(time) * 1000))
    return null
  },
  QUARANTINE_TAGS: (data, generations, args) => Math.min(1, ...generations.map((name) => quarantine(data, name, args))),
  RAISE: (data, [generation], args) => {
    const present = data.get(generation!)
    if (isStanding(present) && !isQuarantine(present)) raise(data, generation!, args)
    else if (!staysQuarantined(data, generation!, args[2]!)) data.unlink(generation!)
    return null
  },
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
    if (!isQuarantine(data.get(generation!)) && data.pttl(generation!) < Number(enough)) data.pexpire(generation!, life!)
    return null
  }
}

/** Entries and their leases. */
function pairs (keys: readonly string[]): Array<[entry: string, lease: string]> {
  return keys.flatMap((key, i) => i % 2 === 0 ? [[key, keys[i + 1]!] as [string, string]] : [])
}

function sum<T> (list: readonly T[], count: (one: T) => number): number {
  return list.reduce((total, one) => total + count(one), 0)
}

/** Each script's name by its hash, which it tells when it is run. */
const SHAS = new Map<string, ScriptName>()
for (const name of Object.keys(BODIES) as ScriptName[]) {
  const listening = { evalsha: async (sha: string) => { SHAS.set(sha, name) } }
  await scripts[name].run(listening as never, [], [])
}
