// What a Redis server holds, for the model: the few commands and scripts (bodies.ts) that the store uses, each of them
// one step, on texts of latin1 (bytes). Nothing ends by itself here: names go when the model evicts them. data.test.ts runs
// the same commands against a real server and compares.
import { slotOf } from '../../../plugin/store/server/topology.js'
import type { Held } from './held.js'
import { BODIES, scripts, type Body, type Reply, type ScriptName } from './bodies.js'

export type Argument = string | Buffer | number

interface Value { text: string, until: number | null }

export interface DataOptions {
  /** Scripts that do something else than ours: what a broken protocol would do. */
  scripts?: Partial<Record<ScriptName, Body>>
  /** Whether SCAN finds nothing with this pattern. */
  isUnseen?: (pattern: string) => boolean
  /** Milliseconds, for how long names have to live yet. */
  now?: () => number
}

export class Data implements Held {
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
      if (!/^[!#]/.test(text) || !text.includes(`@${token}`)) continue
      const left = text.replace(new RegExp(`\\d+@${token}`), `0@${token}`)
      if (/[1-9]\d*@[^=]/.test(left)) this.#values.get(name)!.text = left
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

/** Each script's name by its hash, which it tells when it is run. */
const SHAS = new Map<string, ScriptName>()
for (const name of Object.keys(BODIES) as ScriptName[]) {
  const listening = { evalsha: async (sha: string) => { SHAS.set(sha, name) } }
  await scripts[name].run(listening as never, [], [])
}
