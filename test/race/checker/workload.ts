// What is read and written in each mode. A row is read in several forms; its writer invalidates all forms of its mode.
// All chance lies here and in the driver, which has the seed: also how long a handler takes is told it by the request.
import type { Random } from './random.js'

export const MODES = [
  'key', 'tag', 'response-tag', 'prefix', 'vary', 'mix', 'mutate', 'set', 'declarative', 'getorset', 'soft'
] as const
export type ModeName = typeof MODES[number]

/** One way to ask for a row. */
export interface ReadPlan {
  path: string
  headers: Record<string, string>
}

/** What `cache.invalidate` is called with. */
export type Target = string | string[] | { keys?: string[], tags?: string[], prefix?: string } | { all: true }

/** How a writer says what it changed; 'throws': as 'mutate', with a work that throws behind its commit. */
export type Way = 'invalidate' | 'mutate' | 'throws' | 'set' | 'declared' | 'strict' | 'soft'

export interface WritePlan {
  rows: number[]
  way: Way
  /** One call after the other. */
  targets: Target[]
  /** Milliseconds between commit and invalidation. */
  pause: number
}

/** One way in which a row's responses are stored and found again. */
export interface Form {
  /** All there are: a final sweep asks for each of them. */
  reads: (row: number) => ReadPlan[]
  keys?: (row: number) => string[]
  tags?: (row: number) => string[]
  prefix?: (row: number) => string
}

/** How many responses there are of one row in forms that have pages. */
export const PAGES = [1, 2, 3]
export const LANGUAGES = ['de', 'en', 'fr']
export const PLANS = ['free', 'paid']
/** How many readers come right after a write. */
export const RUSH = 5
/** The tag of all lists; theirs is a static one. */
export const LIST_TAG = 'rows'
/** Rows of different modes are apart: what one mode's writers invalidate says nothing of the entries of another. */
export const ROWS_APART = 100

export const FORMS = {
  key: {
    reads: (row) => [ask(`/row/${row}`)],
    keys: (row) => [`row:${row}`]
  },
  tag: {
    reads: (row) => PAGES.map((page) => ask(`/tagged/${row}/${page}`)),
    tags: (row) => [`group:${row}`]
  },
  // Carries all rows of its mode, so that each write concerns it.
  list: {
    reads: (row) => [ask(`/list/${row - row % ROWS_APART}`)],
    tags: () => [LIST_TAG]
  },
  view: {
    reads: (row) => PAGES.map((page) => ask(`/view/${row * 10 + page}`)),
    tags: (row) => [`row:${row}`]
  },
  // No response of the cache: a value that the handler asks for.
  value: {
    reads: (row) => [ask(`/value/${row}`)],
    keys: (row) => [`value:${row}`]
  },
  'tagged-value': {
    reads: (row) => PAGES.map((page) => ask(`/tagged-value/${row}/${page}`)),
    tags: (row) => [`values:${row}`]
  },
  soft: {
    reads: (row) => [ask(`/soft/${row}`)],
    keys: (row) => [`soft:${row}`]
  },
  'soft-tag': {
    reads: (row) => PAGES.map((page) => ask(`/soft-tag/${row}/${page}`)),
    tags: (row) => [`soft:${row}`]
  },
  prefix: {
    reads: (row) => PAGES.map((page) => ask(`/prefixed/${row}/${page}`)),
    prefix: (row) => `p:${row}:`
  },
  vary: {
    reads: (row) => LANGUAGES.flatMap((language) => PLANS.map((plan) =>
      ask(`/varied/${row}`, { 'accept-language': language, 'x-plan': plan }))),
    keys: (row) => [`vary:${row}`]
  }
} satisfies Record<string, Form>

export type FormName = keyof typeof FORMS

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
  soft: ['soft', 'soft-tag']
}

/** The ways of each mode's writers. */
const WAYS: Partial<Record<ModeName, Way[]>> = {
  mutate: ['mutate', 'mutate', 'mutate', 'throws', 'invalidate'],
  set: ['set', 'set', 'set', 'invalidate'],
  declarative: ['declared', 'strict'],
  soft: ['soft']
}

/** For how long a response may be served when it has become stale, in milliseconds. */
export const STALE_TIME: Partial<Record<ModeName, number>> = { soft: 500 }

function ask (path: string, headers: Record<string, string> = {}): ReadPlan {
  return { path, headers }
}

export class Workload {
  readonly rows: number[]
  readonly #mode: ModeName
  readonly #forms: Form[]

  constructor (mode: ModeName, rows: number) {
    this.rows = rowsOf(mode, rows)
    this.#mode = mode
    this.#forms = FORMS_OF[mode].map((name) => FORMS[name])
  }

  /** For how long a response may be older than the last write that has answered, in milliseconds. */
  get staleTime (): number {
    return STALE_TIME[this.#mode] ?? 0
  }

  read (random: Random, row = random.pickHot(this.rows)): ReadPlan {
    const { path, headers } = random.pickHot(random.pick(this.#forms).reads(row))
    return { path, headers: { ...headers, 'x-delay': `${lag(random)}` } }
  }

  write (random: Random): WritePlan {
    const first = random.pickHot(this.rows)
    const way = random.pick<Way>(WAYS[this.#mode] ?? ['invalidate'])
    const second = way !== 'set' && random.chance(0.2) ? random.pick(this.rows) : first
    // In order, so that two transactions never wait for each other.
    const rows = [...new Set([first, second])].sort((a, b) => a - b)
    return { rows, way, targets: this.#targets(rows, random), pause: random.chance(0.5) ? 0 : random.below(4) }
  }

  /** Every read that there is. */
  sweep (): ReadPlan[] {
    const reads = this.rows.flatMap((row) => this.#forms.flatMap((form) => form.reads(row)))
    return [...new Map(reads.map((plan) => [JSON.stringify(plan), plan])).values()]
  }

  #targets (rows: number[], random: Random): Target[] {
    if (this.#mode === 'mix' && random.chance(0.02)) return [{ all: true }]
    const keys = this.#collect(rows, (form, row) => form.keys?.(row) ?? [])
    const tags = this.#collect(rows, (form, row) => form.tags?.(row) ?? [])
    const prefixes = this.#collect(rows, (form, row) => form.prefix === undefined ? [] : [form.prefix(row)])
    if (tags.length === 0 && prefixes.length === 0) return [keys.length === 1 ? keys[0] as string : keys]
    if (tags.length === 0 && keys.length === 0) return prefixes.map((prefix) => ({ prefix }))
    if (prefixes.length === 0 && keys.length === 0) return [{ tags }]
    if (prefixes.length === 0) return [{ keys, tags }]
    const [prefix = '', ...others] = prefixes
    return [{ keys, tags, prefix }, ...others.map((other) => ({ prefix: other }))]
  }

  #collect (rows: number[], names: (form: Form, row: number) => string[]): string[] {
    return [...new Set(rows.flatMap((row) => this.#forms.flatMap((form) => names(form, row))))]
  }
}

export function rowsOf (mode: ModeName, count: number): number[] {
  const first = MODES.indexOf(mode) * ROWS_APART
  return Array.from({ length: count }, (_, i) => first + i)
}

/** How long a handler takes after it has read its row: now and then so long that its fill lands behind a writer's work. */
function lag (random: Random): number {
  return random.chance(0.12) ? 20 + random.below(41) : random.below(6)
}
