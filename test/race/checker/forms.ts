// The forms of a row: how its responses are asked for, and by which names they are ended.
import { COMPOSITIONS, endsOf, groupOf, PAGES, type Composition, type CompositionName, type Ends } from './composition.js'

/** The headers that tell a handler how many milliseconds it takes before it reads, in a value's `load`, and behind that. */
export const DELAYS = { before: 'x-lead', load: 'x-load', behind: 'x-delay' } as const

/** One way to ask for a row. */
export interface ReadPlan {
  path: string
  headers: Record<string, string>
}

/** One way in which a row's responses are stored and found again. */
export interface Form {
  /** All there are: a final sweep asks for each of them. */
  reads: (row: number) => ReadPlan[]
  keys?: (row: number) => string[]
  tags?: (row: number) => string[]
  prefixes?: (row: number) => string[]
}

const LANGUAGES = ['de', 'en', 'fr']
const PLANS = ['free', 'paid']
/** The tag of all lists; theirs is a static one. */
export const LIST_TAG = 'rows'
/** Rows of different modes are apart: what one mode's writers invalidate says nothing of the entries of another. */
export const ROWS_APART = 100

const PLAIN_FORMS = {
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
  // Handlers are asked about stale ones.
  asked: {
    reads: (row) => [ask(`/asked/${row}`)],
    keys: (row) => [`asked:${row}`]
  },
  'asked-tag': {
    reads: (row) => PAGES.map((page) => ask(`/asked-tag/${row}/${page}`)),
    tags: (row) => [`asked:${row}`]
  },
  prefix: {
    reads: (row) => PAGES.map((page) => ask(`/prefixed/${row}/${page}`)),
    prefixes: (row) => [`p:${row}:`]
  },
  vary: {
    reads: (row) => variants(`/varied/${row}`),
    keys: (row) => [`vary:${row}`]
  }
} satisfies Record<string, Form>

export type FormName = keyof typeof PLAIN_FORMS | CompositionName

const COMPOSED_FORMS = Object.fromEntries(
  Object.entries(COMPOSITIONS).map(([name, composition]) => [name, formOf(name, composition)])
) as Record<CompositionName, Form>

export const FORMS: Record<FormName, Form> = { ...PLAIN_FORMS, ...COMPOSED_FORMS }

function ask (path: string, headers: Record<string, string> = {}): ReadPlan {
  return { path, headers }
}

function variants (path: string): ReadPlan[] {
  return LANGUAGES.flatMap((language) => PLANS.map((plan) => ask(path, { 'accept-language': language, 'x-plan': plan })))
}

function formOf (name: string, composition: Composition): Form {
  const { pages, isVaried, isList } = composition
  const ends = (row: number): Ends => endsOf(composition, row)
  return {
    reads: (row) => {
      const paths = pages.map((page) => `/${name}/${isList === true ? groupOf(row) : row}/${page}`)
      const asked = isVaried === true ? paths.flatMap(variants) : paths.map((path) => ask(path))
      return [...asked, ask(`/${name}/${row}/part`), ask(`${paths[0]!}/warm`)]
    },
    keys: (row) => ends(row).keys,
    tags: (row) => ends(row).tags,
    prefixes: (row) => ends(row).prefixes
  }
}
