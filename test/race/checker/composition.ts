// Responses that are made of cached values, or of another cached response: by which names their parts are kept, and by
// which names one call ends them all. The checker looks for a page that was stored under a lease that was taken after the
// page's own end, and is made of a value that was read before the value's end:
//
//   1. W  commits the new row; invalidates page and value in one call: the page and its lease go
//   2. F  misses, takes the page's lease; its handler is given the old value by the cache
//   3. W  the value goes; the call has returned
//   4. F  stores the page: old for its whole life

/** How a part is ended: by its key, by a tag that it carries, or as one of those whose keys begin so. */
type Way = 'key' | 'tag' | 'prefix'

/** A response or a value. Its names are templates of `{id}`, the row's (or its group's), and `{page}`. */
export interface Part {
  key: string
  by: Way
  /** The tag or the prefix that ends it; of a key, the key itself. */
  name: string
}

export interface Composition {
  page: Part
  /** What the page asks for, what that one's `load` asks for, and so on; the last one reads the row. */
  values: Part[]
  /** How many responses there are of each row. */
  pages: number[]
  /** The page names its tag when it has its value (`reply.cacheTags`). */
  isTaggedLate?: boolean
  /** The page has one value of each row of the group. */
  isList?: boolean
  /** There are variants of the page, and the fields that select change with the version. */
  isVaried?: boolean
  /** The first value is a route of its own, which the page's handler calls. */
  isInjected?: boolean
  /** How long the page lives, in seconds; absent: as long as all others. */
  ttl?: number
  /** The page may be served stale for so long, in milliseconds. */
  staleTime?: number
}

/** What one call ends. */
export interface Ends { keys: string[], tags: string[], prefixes: string[] }

export const PAGES = [1, 2, 3]
/** How many rows a list is made of. */
export const GROUP = 4
/** For how long something stale is served, in milliseconds. */
export const SOFT_TIME = 500

const byKey = (key: string): Part => ({ key, by: 'key', name: key })
const byTag = (key: string, tag: string): Part => ({ key, by: 'tag', name: tag })
const byPrefix = (key: string): Part => ({ key, by: 'prefix', name: key.slice(0, key.indexOf('}') + 2) })

const pages = PAGES

export const COMPOSITIONS = {
  'by-key': { page: byKey('bk:{id}:{page}'), values: [byKey('bk-value:{id}')], pages },
  listed: { page: byKey('list-of:{id}:{page}'), values: [byKey('list-part:{id}')], pages: [1], isList: true },
  'two-levels': { page: byKey('two:{id}:{page}'), values: [byKey('two-a:{id}'), byKey('two-b:{id}')], pages },
  'three-levels': {
    page: byKey('three:{id}:{page}'), values: [byKey('three-a:{id}'), byKey('three-b:{id}'), byKey('three-c:{id}')], pages
  },
  'common-tag': { page: byTag('ct:{id}:{page}', 'ct:{id}'), values: [byTag('ct-value:{id}', 'ct:{id}')], pages },
  'own-tags': { page: byTag('ot:{id}:{page}', 'ot-pages:{id}'), values: [byTag('ot-value:{id}', 'ot-values:{id}')], pages },
  'late-tags': {
    page: byTag('lt:{id}:{page}', 'lt-pages:{id}'), values: [byTag('lt-value:{id}', 'lt-values:{id}')], pages, isTaggedLate: true
  },
  'levels-by-tags': {
    page: byTag('lbt:{id}:{page}', 'lbt-pages:{id}'),
    values: [byTag('lbt-a:{id}', 'lbt-as:{id}'), byTag('lbt-b:{id}', 'lbt-bs:{id}')],
    pages
  },
  'key-and-tag': { page: byKey('kt:{id}:{page}'), values: [byTag('kt-value:{id}', 'kt:{id}')], pages },
  'tag-and-key': { page: byTag('tk:{id}:{page}', 'tk:{id}'), values: [byKey('tk-value:{id}')], pages },
  'by-prefix': { page: byPrefix('bp:{id}:page:{page}'), values: [byPrefix('bp:{id}:value')], pages },
  'levels-by-prefix': {
    page: byPrefix('lbp:{id}:page:{page}'), values: [byPrefix('lbp:{id}:a'), byPrefix('lbp:{id}:b')], pages
  },
  'key-and-prefix': { page: byKey('kp:{id}:{page}'), values: [byPrefix('kp-under:{id}:value')], pages },
  'prefix-and-key': { page: byPrefix('pk:{id}:{page}'), values: [byKey('pk-value:{id}')], pages },
  'tag-and-prefix': { page: byTag('tp:{id}:{page}', 'tp:{id}'), values: [byPrefix('tp-under:{id}:value')], pages },
  prefixes: { page: byPrefix('p1:{id}:{page}'), values: [byPrefix('p2:{id}:value')], pages },
  varied: { page: byKey('va:{id}'), values: [byKey('va-value:{id}')], pages: [1], isVaried: true },
  injected: { page: byKey('in:{id}:{page}'), values: [byKey('in-part:{id}'), byKey('in-value:{id}')], pages, isInjected: true },
  'injected-tags': {
    page: byTag('it:{id}:{page}', 'it-pages:{id}'), values: [byTag('it-part:{id}', 'it-parts:{id}')], pages, isInjected: true
  },
  // A value may have the key of the response that is made of it: they go together. The page lives shorter, so that it is
  // often made anew while an old value is there.
  'same-key': { page: byKey('sk:{id}'), values: [byKey('sk:{id}')], pages: [1], ttl: 0.1 },
  softened: { page: byKey('so:{id}:{page}'), values: [byKey('so-value:{id}')], pages, staleTime: SOFT_TIME },
  'softened-tags': {
    page: byTag('st:{id}:{page}', 'st-pages:{id}'), values: [byTag('st-value:{id}', 'st-values:{id}')], pages, staleTime: SOFT_TIME
  },
  'softened-key-and-tag': {
    page: byKey('sx:{id}:{page}'), values: [byTag('sx-value:{id}', 'sx:{id}')], pages, staleTime: SOFT_TIME
  }
} satisfies Record<string, Composition>

export type CompositionName = keyof typeof COMPOSITIONS

export function fill (template: string, id: number, page = 0): string {
  return template.replace('{id}', String(id)).replace('{page}', String(page))
}

/** The first row of its group. */
export function groupOf (row: number): number {
  return row - row % GROUP
}

/** What a change of the row ends: the pages first, then what they are made of. */
export function endsOf ({ page, values, pages, isList = false }: Composition, row: number): Ends {
  const first = isList ? groupOf(row) : row
  const names = [
    ...pages.map((number) => ({ by: page.by, name: fill(page.name, first, number) })),
    ...values.map(({ by, name }) => ({ by, name: fill(name, row) }))
  ]
  const those = (way: Way): string[] => [...new Set(names.filter(({ by }) => by === way).map(({ name }) => name))]
  return { keys: those('key'), tags: those('tag'), prefixes: those('prefix') }
}
