// What there is in the database: whether the tables and columns that are watched exist, and whether triggers tell of them.
import type pg from 'pg'
import { RouteCacheError, optionError } from '../../errors.js'
import { EVENTS, installedSets, quoted, tablesSql, triggerName, triggersSql, type Shape } from './triggers.js'
import type { Watched } from './watch.js'

/** Watched tables by their OIDs: a table that is renamed stays the same. */
export type Relations = ReadonlyMap<number, Watched>

interface Table {
  oid: number
  kind: string
  /** Name, and of which category and name its type is. */
  columns: Record<string, { category: string, type: string }>
  triggers: Record<string, { isOn: boolean, source: string }>
}

const WHERE = 'fastify-route-cache/postgres'
const OLDEST = 140_000
/** How long an installation waits for those who write to a table; who comes to write meanwhile waits behind it. */
const LOCK_WAIT = '5s'

const FIND = `
SELECT c.oid::bigint::text AS oid, c.relkind::text AS kind,
  (SELECT coalesce(json_object_agg(a.attname, json_build_object('category', t.typcategory, 'type', t.typname)
    ORDER BY a.attnum), '{}')::text FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT coalesce(json_object_agg(g.tgname, json_build_object('isOn', g.tgenabled IN ('O', 'A'), 'source', p.prosrc)),
    '{}')::text
    FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) AS triggers
FROM pg_class AS c WHERE c.oid = to_regclass($1)`

/** Throws FRC_OPTION for a table or column that is not there or can't be watched, FRC_POSTGRES for a server too old. */
export async function findTables (client: pg.Client, watches: readonly Watched[]): Promise<Map<Watched, Table>> {
  const { rows } = await client.query<{ version: string }>('SELECT current_setting(\'server_version_num\') AS version')
  if (Number(rows[0]!.version) < OLDEST) {
    throw new RouteCacheError('FRC_POSTGRES', `${WHERE}: PostgreSQL 14 or later is needed, and this one is ${rows[0]!.version}`)
  }
  const tables = new Map<Watched, Table>()
  for (const watched of watches) {
    const table = await findTable(client, watched)
    checkTable(watched, table)
    const same = [...tables].find(([, { oid }]) => oid === table.oid)?.[0]
    if (same !== undefined) {
      throw optionError(WHERE, `${watched.where}.table`, nameOf(watched), `it is the same table as that of ${same.where}: write it the same way`)
    }
    tables.set(watched, table)
  }
  return tables
}

async function findTable (client: pg.Client, watched: Watched): Promise<Table> {
  const { rows: [row] } = await client.query<Record<'oid' | 'kind' | 'columns' | 'triggers', string>>(FIND, [quoted(watched)])
  if (row === undefined) {
    const right = watched.schema === null ? 'on the search_path; name its schema, or create it first' : 'in the database; create it first'
    throw optionError(WHERE, `${watched.where}.table`, nameOf(watched), `there is no such table ${right}`)
  }
  return { oid: Number(row.oid), kind: row.kind, columns: JSON.parse(row.columns), triggers: JSON.parse(row.triggers) }
}

function checkTable (watched: Watched, { kind, columns }: Table): void {
  if (kind !== 'r' && kind !== 'p') {
    throw optionError(WHERE, `${watched.where}.table`, nameOf(watched), 'it is no ordinary or partitioned table; watch the tables behind it')
  }
  for (const name of watched.sets.flat()) {
    const column = Object.hasOwn(columns, name) ? columns[name] : undefined
    if (column === undefined) {
      throw optionError(WHERE, watched.where, `{${name}}`, `${nameOf(watched)} has no column of that name; it has: ${Object.keys(columns).join(', ')}`)
    }
    if (['A', 'C', 'R'].includes(column.category) || ['json', 'jsonb', 'bytea'].includes(column.type)) {
      throw optionError(WHERE, watched.where, `{${name}}`, `the column's type is ${column.type}; placeholders are of columns with a single value, ` +
        'such as numbers, texts and uuids')
    }
  }
}

/** Whether all of it tells of all that these watches name. */
export function isInstalled (watched: Watched, { triggers }: Table, shape: Shape): boolean {
  return EVENTS.every((event) => {
    const trigger = triggers[triggerName(shape.names, event)]
    return trigger !== undefined && trigger.isOn && covers(installedSets(trigger.source), watched.sets)
  })
}

function covers (installed: readonly string[][] | null, sets: Watched['sets']): boolean {
  const there = new Set(installed?.map((set) => JSON.stringify(set)))
  return installed !== null && sets.every((set) => there.has(JSON.stringify(set)))
}

/**
 * Installs what is not there, or not for these columns; where nothing is missing it touches nothing. What another version of
 * the app wants to be told stays, so that the two can run side by side.
 */
export async function install (client: pg.Client, watches: readonly Watched[], shape: Shape): Promise<void> {
  const { names } = shape
  await client.query('BEGIN')
  try {
    await client.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`)
    await client.query('SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))', ['fastify-route-cache', names.schema])
    if (!await hasOutbox(client, shape)) await client.query(tablesSql(names))
    for (const [watched, table] of await findTables(client, watches)) {
      if (isInstalled(watched, table, shape)) continue
      await client.query(triggersSql({ ...watched, sets: withFormer(watched, table, shape) }, shape))
    }
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

function withFormer ({ sets }: Watched, { columns, triggers }: Table, { names }: Shape): string[][] {
  const source = triggers[triggerName(names, 'update')]?.source ?? ''
  const former = (installedSets(source) ?? []).filter((set) => set.every((name) => Object.hasOwn(columns, name)))
  const all = new Map([...sets, ...former].map((set) => [JSON.stringify(set), [...set]]))
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, set]) => set)
}

/** Throws FRC_POSTGRES where something is missing, naming it and the way out. */
export async function checkInstalled (client: pg.Client, watches: readonly Watched[], shape: Shape): Promise<Relations> {
  const tables = await findTables(client, watches)
  const missing = [...tables.keys()].filter((watched) => !isInstalled(watched, tables.get(watched)!, shape)).map(nameOf)
  const isThere = await hasOutbox(client, shape)
  if (missing.length > 0 || !isThere) {
    const what = [...isThere ? [] : [`the outbox in schema "${shape.names.schema}"`], ...missing.map((name) => `the triggers of ${name}`)]
    throw new RouteCacheError('FRC_POSTGRES', `${WHERE}: the database lacks ${what.join(', ')}, or has them for other columns; run the SQL ` +
      'that installSql(watch) prints, or register with install: true')
  }
  return new Map([...tables].map(([watched, { oid }]) => [oid, watched]))
}

async function hasOutbox (client: pg.Client, { names: { outbox, readers } }: Shape): Promise<boolean> {
  const { rows: [row] } = await client.query<{ is_there: boolean }>(
    'SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL AS is_there', [outbox, readers])
  return row!.is_there
}

function nameOf ({ schema, name }: Watched): string {
  return schema === null ? name : `${schema}.${name}`
}
