// What a Redis server holds, for the model: the few commands and scripts that the store uses, each of them one step, on
// texts of latin1 (bytes). Nothing ends by itself here: names go when the model evicts them. data.test.ts runs the same
// commands against a real server and compares.
import { slotOf } from '../../../plugin/store/slot.js'
import * as scripts from '../../../plugin/store/scripts.js'

export type Argument = string | Buffer | number
type Reply = string | number | null | string[]
export type Body = (data: Data, keys: readonly string[], args: readonly string[]) => Reply

export type ScriptName = {
  [Name in keyof typeof scripts]: (typeof scripts)[Name] extends scripts.Script ? Name : never
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

function textOf (value: Argument): string {
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

export function tick (data: Data, [floor, clock]: readonly string[], history: string): string {
  const present = data.get(clock!)
  const last = Number.isNaN(Number(present ?? NaN)) ? null : present
  if (last === null) data.set(floor!, history + runsOf(data.get(floor!)))
  const value = String(Math.max(Number(last ?? 0) + 1, data.micros))
  data.set(clock!, value)
  return value
}

function isNumber (text: string | null): boolean {
  return text !== null && /^\d+$/.test(text)
}

export function raise (data: Data, name: string, [value, life]: readonly string[]): void {
  const generation = data.get(name)
  if (isNumber(generation) && Number(generation) >= Number(value)) return
  data.set(name, value!, Math.max(Number(life), data.pttl(name)))
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
  TAKE_FIRST: (data, [key, lease], [token, time, seen, marker, life]) => {
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
  INVALIDATE: (data, [entry, lease]) => {
    data.unlink(lease!)
    return data.unlink(entry!)
  },
  FLOOR: (data, [floor, clock, lastTag], [runs, history]) => {
    const present = data.get(floor!)
    if (data.get(clock!) !== null && isFloorOf(present, runs!)) return present
    const value = tick(data, [floor!, clock!], history!)
    data.set(floor!, `${history} ${runs}`)
    data.set(lastTag!, value)
    return data.get(floor!)
  },
  INVALIDATE_ALL: (data, [floor], [history]) => {
    data.set(floor!, history! + runsOf(data.get(floor!)))
    return null
  },
  INVALIDATE_TAGS: (data, [floor, clock, lastTag, ...generations], [history, life]) => {
    const value = tick(data, [floor!, clock!], history!)
    data.set(lastTag!, value)
    for (const name of generations) raise(data, name, [value, life!])
    return value
  },
  RAISE: (data, [generation], args) => {
    raise(data, generation!, args)
    return null
  },
  CREATE: (data, [floor, clock, ...generations], [history, life]) => {
    const value = tick(data, [floor!, clock!], history!)
    for (const name of generations) if (!isNumber(data.get(name))) data.set(name, value, life!)
    return value
  },
  RESERVE: (data, [generation], [reservation, time]) => {
    const present = data.get(generation!)
    if (present !== null && (isNumber(present) || present.startsWith(scripts.RESERVED))) return present
    data.set(generation!, reservation!, time!)
    return reservation!
  },
  SETTLE: (data, [generation], [reservation, value, life]) => {
    if ((data.get(generation!) ?? '') === reservation) data.set(generation!, value!, life!)
    return data.get(generation!) ?? ''
  },
  EXTEND: (data, [generation], [enough, life]) => {
    if (data.pttl(generation!) < Number(enough)) data.pexpire(generation!, life!)
    return null
  }
}

/** Each script's name by its hash, which it tells when it is run. */
const SHAS = new Map<string, ScriptName>()
for (const name of Object.keys(BODIES) as ScriptName[]) {
  const listening = { evalsha: async (sha: string) => { SHAS.set(sha, name) } }
  await scripts[name].run(listening as never, [], [])
}
