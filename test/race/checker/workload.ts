// What is read and written in each mode. A row is read in several forms; its writer invalidates all forms of its mode.
// All chance lies here and in the driver, which has the seed: also how long a handler takes is told it by the request.
import { SOFT_TIME } from './composition.js'
import { DELAYS, FORMS, ROWS_APART, type Form, type FormName, type ReadPlan } from './forms.js'
import type { Random } from './random.js'

export const PLAIN_MODES = [
  'key', 'tag', 'response-tag', 'prefix', 'vary', 'mix', 'mutate', 'set', 'declarative', 'getorset', 'soft', 'revalidate'
] as const
/** Where responses are made of cached values, and both are ended by one call: composition.ts. */
export const COMPOSED_MODES = [
  'composed-keys', 'composed-levels', 'composed-tag', 'composed-tags', 'composed-key-tag', 'composed-prefix',
  'composed-key-prefix', 'composed-prefixes', 'composed-vary', 'composed-inject', 'composed-mutate', 'composed-declared',
  'composed-set', 'composed-soft'
] as const
export const MODES = [...PLAIN_MODES, ...COMPOSED_MODES] as const
export type ModeName = typeof MODES[number]

/** What `cache.invalidate` is called with. */
export type Target = string | string[] | { keys?: string[], tags?: string[], prefix?: string } | { all: true }

/**
 * How a writer says what it changed; 'throws': as 'mutate', with a work that throws behind its commit; 'prefixes': declared
 * as a list of several.
 */
export type Way = 'invalidate' | 'mutate' | 'throws' | 'set' | 'declared' | 'strict' | 'prefixes' | 'soft'

export interface WritePlan {
  rows: number[]
  way: Way
  /** One call after the other. */
  targets: Target[]
  /** Milliseconds between commit and invalidation. */
  pause: number
  /** How many names that nothing is kept under are ended by the same call. */
  padding: number
  /** The path of the response that is set. */
  route: string
}

/** How many readers come right after a write. */
export const RUSH = 5

/** The forms of each mode; a form that is named more often is read more often. */
export const FORMS_OF: Record<ModeName, FormName[]> = {
  key: ['key'],
  tag: ['tag', 'tag', 'tag', 'tag', 'tag', 'list'],
  'response-tag': ['view'],
  prefix: ['prefix'],
  vary: ['vary'],
  mix: ['key', 'tag', 'view', 'prefix', 'vary', 'list'],
  mutate: ['key', 'tag', 'vary'],
  set: ['key'],
  declarative: ['key', 'tag'],
  getorset: ['value', 'tagged-value'],
  soft: ['soft', 'soft-tag'],
  revalidate: ['asked', 'asked-tag'],
  'composed-keys': ['by-key', 'listed'],
  'composed-levels': ['two-levels', 'three-levels'],
  'composed-tag': ['common-tag'],
  'composed-tags': ['own-tags', 'late-tags', 'levels-by-tags'],
  'composed-key-tag': ['key-and-tag', 'tag-and-key'],
  'composed-prefix': ['by-prefix', 'levels-by-prefix'],
  'composed-key-prefix': ['key-and-prefix', 'prefix-and-key', 'tag-and-prefix'],
  'composed-prefixes': ['prefixes'],
  'composed-vary': ['varied'],
  'composed-inject': ['injected', 'injected-tags'],
  'composed-mutate': ['by-key', 'two-levels', 'own-tags'],
  'composed-declared': ['by-key', 'key-and-tag', 'own-tags'],
  'composed-set': ['same-key'],
  'composed-soft': ['softened', 'softened-tags', 'softened-key-and-tag']
}

/** The ways of each mode's writers. */
const WAYS: Partial<Record<ModeName, Way[]>> = {
  mutate: ['mutate', 'mutate', 'mutate', 'throws', 'invalidate'],
  set: ['set', 'set', 'set', 'invalidate'],
  declarative: ['declared', 'strict'],
  soft: ['soft'],
  'composed-prefixes': ['prefixes'],
  'composed-mutate': ['mutate', 'mutate', 'throws'],
  'composed-declared': ['declared', 'declared', 'strict'],
  'composed-set': ['set', 'set', 'invalidate'],
  'composed-soft': ['soft']
}

/** For how long a response may be served when it has become stale, in milliseconds. */
export const STALE_TIME: Partial<Record<ModeName, number>> = { soft: SOFT_TIME, 'composed-soft': SOFT_TIME }

/** Ways whose calls may name more than what there is. */
const PADDED: readonly Way[] = ['invalidate', 'mutate', 'throws', 'declared', 'strict', 'soft']

export class Workload {
  readonly rows: number[]
  readonly #mode: ModeName
  readonly #forms: Form[]

  constructor (mode: ModeName, rows: number) {
    this.rows = rowsOf(mode, rows)
    this.#mode = mode
    this.#forms = FORMS_OF[mode].map((name) => FORMS[name])
  }

  /** For how many milliseconds a response that says that it is stale may be older than the last write that has answered. */
  get staleTime (): number {
    return STALE_TIME[this.#mode] ?? 0
  }

  read (random: Random, row = random.pickHot(this.rows)): ReadPlan {
    const { path, headers } = random.pickHot(random.pick(this.#forms).reads(row))
    const delays = {
      [DELAYS.behind]: `${lag(random)}`,
      ...this.#isComposed && { [DELAYS.before]: `${lead(random)}`, [DELAYS.load]: `${lag(random)}` }
    }
    return { path, headers: { ...headers, ...delays } }
  }

  write (random: Random): WritePlan {
    const first = random.pickHot(this.rows)
    const way = random.pick<Way>(WAYS[this.#mode] ?? ['invalidate'])
    const isOne = way === 'set' || way === 'prefixes'
    const second = !isOne && random.chance(0.2) ? random.pick(this.rows) : first
    // In order, so that two transactions never wait for each other.
    const rows = [...new Set([first, second])].sort((a, b) => a - b)
    return {
      rows,
      way,
      targets: this.#targets(rows, random),
      pause: random.chance(0.5) ? 0 : random.below(4),
      padding: this.#isComposed && PADDED.includes(way) ? padding(random) : 0,
      route: this.#forms[0]!.reads(first)[0]!.path
    }
  }

  /** Every read that there is. */
  sweep (): ReadPlan[] {
    const reads = this.rows.flatMap((row) => this.#forms.flatMap((form) => form.reads(row)))
    return [...new Map(reads.map((plan) => [JSON.stringify(plan), plan])).values()]
  }

  get #isComposed (): boolean {
    return COMPOSED_MODES.some((mode) => mode === this.#mode)
  }

  /** All names of a form and a row are in one call, which has room for one prefix. */
  #targets (rows: number[], random: Random): Target[] {
    if (this.#mode === 'mix' && random.chance(0.02)) return [{ all: true }]
    const all = rows.flatMap((row) => this.#forms.map(({ keys, tags, prefixes }) =>
      ({ keys: keys?.(row) ?? [], tags: tags?.(row) ?? [], prefixes: prefixes?.(row) ?? [] })))
    const plain = all.filter(({ prefixes }) => prefixes.length === 0)
    const apart = all.flatMap(({ keys, tags, prefixes }) => prefixes.map((prefix) => ({ keys, tags, prefix })))
    const [first = { keys: [], tags: [], prefix: undefined }, ...others] = apart
    const keys = [...new Set([...plain, first].flatMap(({ keys }) => keys))]
    const tags = [...new Set([...plain, first].flatMap(({ tags }) => tags))]
    // Pages first, or as it comes.
    const isShuffled = this.#isComposed && random.chance(0.3)
    const order = (names: string[]): string[] => isShuffled ? random.shuffled(names) : names
    return [{ keys: order(keys), tags: order(tags), prefix: first.prefix }, ...others].map(targetOf)
  }
}

interface Named { keys: string[], tags: string[], prefix: string | undefined }

function targetOf ({ keys, tags, prefix }: Named): Target {
  if (tags.length === 0 && prefix === undefined) return keys.length === 1 ? keys[0] as string : keys
  return { ...keys.length > 0 && { keys }, ...tags.length > 0 && { tags }, ...prefix !== undefined && { prefix } }
}

export function rowsOf (mode: ModeName, count: number): number[] {
  const first = MODES.indexOf(mode) * ROWS_APART
  return Array.from({ length: count }, (_, i) => first + i)
}

/** How long a handler takes after it has read its row: now and then so long that its fill lands behind a writer's work. */
function lag (random: Random): number {
  return random.chance(0.12) ? 20 + random.below(41) : random.below(6)
}

/** How long a handler takes before it reads: the shorter, the likelier it reads between two steps of an invalidation. */
function lead (random: Random): number {
  return random.chance(0.5) ? 0 : random.below(4)
}

/** Mostly none; now and then more than are sent at a time. */
function padding (random: Random): number {
  if (random.chance(0.5)) return 0
  return random.chance(0.6) ? random.below(100) : 500 + random.below(1_000)
}
