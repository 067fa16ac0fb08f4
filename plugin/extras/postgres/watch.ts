// The option `watch`: tables, with templates for the keys and tags of a row. Placeholders are columns. The same code fills
// these templates and those of routes, so that a column's value makes the same text as the same value in a request.
import { RouteCacheError, optionError } from '../../errors.js'
import { fillTemplate, own, parseTemplate, type TemplatePart } from '../../key/key.js'
import { checkTarget, isNothing, type InvalidateTarget } from '../../key/target.js'
import { OptionReader } from '../../options/reader.js'
import { combinationsOf, formsOf } from './forms.js'
import { addTarget, type FoundTargets } from './found.js'

/** A table, and the keys and tags that a change of its rows invalidates. */
export interface Watch {
  /** Its name as it is written, in no quotes: `cities`, or `geo.cities` with its schema. Without one it is searched for. */
  table: string
  /** The table's schema, where its own name has a dot. Absent: the part of `table` before the dot. */
  schema?: string
  /** Keys, as templates whose placeholders are columns: `'city:{id}'`, or several. Default none. */
  keys?: string | readonly string[]
  /** Tags, likewise: `['cities', 'country:{country}']`. Default none. */
  tags?: string | readonly string[]
  /**
   * What is invalidated where the rows can't be told one by one: at a TRUNCATE, where one statement changed more than
   * `maxTargets` of them, or where changes may have been missed. As for `cache.invalidate`. Default: of a key template the
   * prefix in front of its first placeholder; a tag without placeholders; where a tag has one: everything.
   */
  whole?: InvalidateTarget
}

/** A template, with the columns that it names, sorted. */
interface TargetTemplate {
  kind: 'keys' | 'tags'
  parts: readonly TemplatePart[]
  columns: readonly string[]
  /** The target that covers all keys or tags of the template. */
  whole: InvalidateTarget
}

/** A watched table, with the templates of all that watch it. */
export interface Watched {
  /** For messages: `watch[0]`. */
  where: string
  schema: string | null
  name: string
  templates: readonly TargetTemplate[]
  /** Sets of columns that belong together, each once: `[['country'], ['id']]`. */
  sets: ReadonlyArray<readonly string[]>
  wholes: readonly InvalidateTarget[]
}

/** The changes of one statement, or a part of them, as the trigger wrote them. */
export interface TableChange {
  /** The table's OID. */
  relation: number
  /** Null: of all columns. */
  columns: readonly string[] | null
  /** The rows' values, in that order; null: too many to tell, or not known. */
  rows: ReadonlyArray<ReadonlyArray<string | null>> | null
  /** Whether it is for templates with just these columns; false: for all. */
  exact: boolean
  /** By which function it was written; null: by one of an older version. */
  source: ChangeSource | null
}

interface ChangeSource {
  version: number
  /** Schema and name, as they were watched. */
  table: readonly [string | null, string]
  /** The sets of columns that it tells of. */
  sets: ReadonlyArray<readonly string[]>
}

const WHERE = 'fastify-route-cache/postgres'
/** The limit of forms that one row's values may have in one template: those of some five dates. */
const MOST_COMBINATIONS = 1_000
const OPTIONS = ['table', 'schema', 'keys', 'tags', 'whole']

/** Each table once. Throws FRC_OPTION for an unknown or wrong option. */
export function compileWatches (watches: unknown): Watched[] {
  if (!Array.isArray(watches) || watches.length === 0) {
    throw optionError(WHERE, 'watch', watches, 'it is a list such as [{ table: "cities", keys: "city:{id}" }]')
  }
  const tables = new Map<string, Watched>()
  for (const [i, watch] of watches.entries()) {
    const watched = compileWatch(`watch[${i}]`, watch)
    const name = JSON.stringify([watched.schema, watched.name])
    const other = tables.get(name)
    tables.set(name, other === undefined ? watched : together(other, watched))
  }
  return [...tables.values()]
}

function together (one: Watched, other: Watched): Watched {
  const templates = [...one.templates, ...other.templates]
  return { ...one, templates, sets: setsOf(templates), wholes: [...one.wholes, ...other.wholes] }
}

function compileWatch (where: string, watch: unknown): Watched {
  const names = typeof watch === 'object' && watch !== null ? Object.keys(watch) : []
  if (names.length === 0) throw optionError(WHERE, where, watch, 'write { table, keys, tags }')
  new OptionReader(WHERE, watch, `${where}.`).onlyKnows(OPTIONS)
  const table = tableOf(where, own(watch, 'table'), own(watch, 'schema'))
  const whole = own(watch, 'whole')
  if (whole !== undefined) checkWhole(where, whole)
  const templates = (['keys', 'tags'] as const).flatMap((kind) => textsOf(where, kind, own(watch, kind))
    .map((text) => compileTemplate({ where, kind, whole }, text)))
  if (templates.length === 0) throw optionError(WHERE, where, watch, 'it says neither keys nor tags, so its changes mean nothing')
  const wholes = whole === undefined ? templates.map((template) => template.whole) : [whole as InvalidateTarget]
  return { where, ...table, templates, sets: setsOf(templates), wholes }
}

function tableOf (where: string, table: unknown, schema: unknown): { schema: string | null, name: string } {
  if (schema !== undefined && (typeof schema !== 'string' || schema === '' || schema.includes('\0'))) {
    throw optionError(WHERE, `${where}.schema`, schema, 'it is the name of a schema')
  }
  if (typeof table === 'string' && !table.includes('\0')) {
    if (schema !== undefined && table !== '') return { schema: schema as string, name: table }
    const [first, second, ...more] = table.split('.')
    const isRight = first !== '' && second !== '' && more.length === 0
    if (isRight) return second === undefined ? { schema: null, name: first! } : { schema: first!, name: second }
  }
  throw optionError(WHERE, `${where}.table`, table, 'write "cities", or "geo.cities" with its schema; where the name itself has a ' +
    'dot, give schema as well')
}

function textsOf (where: string, kind: string, option: unknown): string[] {
  const texts = option === undefined ? [] : [option].flat()
  if (texts.every((text) => typeof text === 'string' && text !== '')) return texts as string[]
  throw optionError(WHERE, `${where}.${kind}`, option, `write a template such as "${kind === 'keys' ? 'city:{id}' : 'country:{country}'}", ` +
    'or a list of them')
}

/** By the check of `cache.invalidate`: a target that it refuses could never be told, and an empty one would do nothing. */
function checkWhole (where: string, whole: unknown): void {
  let reason = 'it names nothing'
  try {
    const template = templateIn(whole)
    if (template !== undefined) reason = `nothing fills the placeholder in ${JSON.stringify(template)} here`
    else if (!isNothing(checkTarget(whole))) return
  } catch (error) {
    reason = (error as Error).message
  }
  throw optionError(WHERE, `${where}.whole`, whole, 'write what cache.invalidate takes, such as ' +
    `{ tags: ["cities"], prefix: "city:" }: ${reason}`)
}

function templateIn (whole: unknown): unknown {
  const texts = typeof whole === 'object' && whole !== null ? Object.values(whole).flat() : [whole]
  return texts.find((text) => typeof text === 'string' && /\{[^{}]+\}/.test(text))
}

interface Place { where: string, kind: 'keys' | 'tags', whole: unknown }

function compileTemplate ({ where, kind, whole }: Place, text: string): TargetTemplate {
  let parts
  try {
    parts = parseTemplate(text)
  } catch (error) {
    throw new RouteCacheError('FRC_OPTION', `${WHERE}: ${where}.${kind}: ${(error as Error).message}`)
  }
  const columns = [...new Set(parts.flatMap((part) => typeof part === 'string' ? [] : [part.name]))].sort()
  if (columns.some((name) => name.includes('\0'))) throw optionError(WHERE, `${where}.${kind}`, text, 'no column has a NUL in its name')
  return { kind, parts, columns, whole: whole === undefined ? wholeOf(kind, parts, columns) : whole as InvalidateTarget }
}

/** All that a template can make, in as few targets as there are. */
function wholeOf (kind: 'keys' | 'tags', parts: readonly TemplatePart[], columns: readonly string[]): InvalidateTarget {
  const [head] = parts
  if (columns.length === 0) return { [kind]: [String(head)] }
  return kind === 'keys' && typeof head === 'string' ? { prefix: head } : { all: true }
}

function setsOf (templates: readonly TargetTemplate[]): string[][] {
  const sets = new Map(templates.map(({ columns }) => [JSON.stringify(columns), [...columns]]))
  return [...sets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, set]) => set)
}

/** Adds the targets of a change of this table. */
export function addChange (found: FoundTargets, watched: Watched, { columns, rows, exact, source }: TableChange): void {
  if (columns === null) return watched.wholes.forEach((whole) => addTarget(found, whole))
  const told = new Set(source?.sets.map((set) => JSON.stringify(set)))
  const places = new Map(columns.map((name, place) => [name, place]))
  for (const template of watched.templates) {
    const set = JSON.stringify(template.columns)
    if (!exact || set === JSON.stringify(columns)) addRows(found, template, { rows, places })
    // The function does not know this template: no other line will tell of it.
    else if (!told.has(set)) addTarget(found, template.whole)
  }
}

function addRows (
  found: FoundTargets, { kind, parts, columns, whole }: TargetTemplate, { rows, places }: { rows: TableChange['rows'], places: Map<string, number> }
): void {
  // A column that the trigger does not tell of: another version of the app has installed it since.
  if (rows === null || columns.some((name) => !places.has(name))) return addTarget(found, whole)
  const inTemplate = new Map(columns.map((name, place) => [name, place]))
  for (const row of rows) {
    const forms = columns.map((name) => formsOf(row[places.get(name)!]!))
    if (forms.reduce((product, { length }) => product * length, 1) > MOST_COMBINATIONS) return addTarget(found, whole)
    for (const values of combinationsOf(forms)) {
      const text = fillTemplate(parts, ({ name }) => values[inTemplate.get(name)!])
      // Nothing is stored under an empty one.
      if (text !== '') found[kind].add(text)
    }
  }
}
