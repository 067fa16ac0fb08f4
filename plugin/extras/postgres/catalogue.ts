// What there is in the database: whether the tables and columns that are watched exist, and whether triggers tell of them.
import type pg from 'pg'
import { RouteCacheError, optionError } from '../../errors.js'
import { guardSql } from './guard.js'
import { checkRights } from './rights.js'
import { VERSION, readMark, type Shape } from './shape.js'
import { EVENTS, quoted, tablesSql, triggerName, triggersSql } from './triggers.js'
import { unwatchableSql } from './unwatchable.js'
import type { Watched } from './watch.js'

/** Watched tables by their OIDs: a table that is renamed stays the same. */
export type Relations = ReadonlyMap<number, Watched>

interface Table {
  oid: number
  columns: string[]
  triggers: Record<string, { isOn: boolean, source: string }>
}

const WHERE = 'fastify-route-cache/postgres'
const OLDEST = 140_000
/** How long an installation waits for those who write to a table; who comes to write meanwhile waits behind it. */
const LOCK_WAIT = '5s'

const FIND = `
SELECT c.oid::bigint::text AS oid,
  (SELECT coalesce(json_agg(attname ORDER BY attnum), '[]')::text
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
  (SELECT coalesce(json_object_agg(g.tgname, json_build_object('isOn', g.tgenabled IN ('O', 'A'), 'source', p.prosrc)),
    '{}')::text
    FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) AS triggers
FROM pg_class AS c WHERE c.oid = to_regclass($1)`

/** Throws FRC_OPTION for a table or column that is not there or can't be watched, FRC_POSTGRES for a server too old. */
async function findTables (client: pg.Client, watches: readonly Watched[]): Promise<Map<Watched, Table>> {
  const { rows } = await client.query<{ version: string }>('SELECT current_setting(\'server_version_num\') AS version')
  if (Number(rows[0]!.version) < OLDEST) {
    throw new RouteCacheError('FRC_POSTGRES', `${WHERE}: PostgreSQL 14 or later is needed, and this one is ${rows[0]!.version}`)
  }
  const tables = new Map<Watched, Table>()
  for (const watched of watches) {
    const table = await findTable(client, watched)
    await checkTable(client, watched, table)
    const same = [...tables].find(([, { oid }]) => oid === table.oid)?.[0]
    if (same !== undefined) {
      throw optionError(WHERE, `${watched.where}.table`, nameOf(watched), `it is the same table as that of ${same.where}: write it the same way`)
    }
    tables.set(watched, table)
  }
  return tables
}

async function findTable (client: pg.Client, watched: Watched): Promise<Table> {
  const { rows: [row] } = await client.query<Record<'oid' | 'columns' | 'triggers', string>>(FIND, [quoted(watched)])
  if (row === undefined) {
    const right = watched.schema === null ? 'on the search_path; name its schema, or create it first' : 'in the database; create it first'
    throw optionError(WHERE, `${watched.where}.table`, nameOf(watched), `there is no such table ${right}`)
  }
  return { oid: Number(row.oid), columns: JSON.parse(row.columns), triggers: JSON.parse(row.triggers) }
}

async function checkTable (client: pg.Client, watched: Watched, { oid }: Table): Promise<void> {
  const name = nameOf(watched)
  const { rows: [found] } = await client.query<{ placeholder: string | null, reason: string }>(
    unwatchableSql(String(oid), [...new Set(watched.sets.flat())], name))
  if (found === undefined) return
  const { placeholder, reason } = found
  if (placeholder === null) throw optionError(WHERE, `${watched.where}.table`, name, reason)
  throw optionError(WHERE, watched.where, `{${placeholder}}`, reason)
}

/** Whether all of it tells of all that these watches name. */
function isInstalled (watched: Watched, { triggers }: Table, { names }: Shape): boolean {
  return EVENTS.every((event) => {
    const trigger = triggers[triggerName(names, event)]
    return trigger !== undefined && trigger.isOn && covers(trigger.source, watched.sets)
  })
}

function covers (source: string, sets: Watched['sets']): boolean {
  const installed = readMark(source)
  const there = new Set(installed?.sets.map((set) => JSON.stringify(set)))
  return installed?.version === VERSION && sets.every((set) => there.has(JSON.stringify(set)))
}

/** Whether it does so in the way that these options say. */
function isLike ({ triggers }: Table, { names, maxTargets, notify }: Shape): boolean {
  return EVENTS.every((event) => {
    const installed = readMark(triggers[triggerName(names, event)]?.source ?? '')
    return installed?.maxTargets === maxTargets && installed.notify === notify
  })
}

/**
 * Installs what is not there, or not for these columns or options; where nothing is missing it touches nothing. What another
 * version of the app wants to be told stays, so that the two can run side by side.
 *
 * Each table in a transaction of its own: one that holds a table while it waits for another could have a writer who wants
 * both be ended by Postgres, as a deadlock.
 */
export async function install (client: pg.Client, watches: readonly Watched[], shape: Shape): Promise<void> {
  const { names } = shape
  await alone(client, shape, async () => {
    await findTables(client, watches)
    if (await hasOutbox(client, shape)) await client.query(guardSql(names))
    else await granted(client, { shape, watches }, tablesSql(names))
  })
  for (const watched of watches) {
    await alone(client, shape, async () => {
      const table = await findTable(client, watched)
      if (isInstalled(watched, table, shape) && isLike(table, shape)) return
      await granted(client, { shape, watches }, triggersSql({ ...watched, sets: withFormer(watched, table, shape) }, shape))
    })
  }
}

async function alone (client: pg.Client, { names }: Shape, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN')
  try {
    await client.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`)
    await client.query('SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))', ['fastify-route-cache', names.schema])
    await work()
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

/** Runs it; throws FRC_POSTGRES first where rights for it are missing. */
async function granted (
  client: pg.Client, { shape, watches }: { shape: Shape, watches: readonly Watched[] }, sql: string
): Promise<void> {
  await checkRights(client, 'install', { names: shape.names, tables: watches.map(quoted) })
  await client.query(sql)
}

function withFormer ({ sets }: Watched, { columns, triggers }: Table, { names }: Shape): string[][] {
  const former = (readMark(triggers[triggerName(names, 'update')]?.source ?? '')?.sets ?? [])
    .filter((set) => set.every((name) => columns.includes(name)))
  const all = new Map([...sets, ...former].map((set) => [JSON.stringify(set), [...set]]))
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, set]) => set)
}

/** Throws FRC_POSTGRES where something is missing, naming it and the way out. */
export async function checkInstalled (client: pg.Client, watches: readonly Watched[], shape: Shape): Promise<Relations> {
  const { names } = shape
  const tables = await findTables(client, watches)
  const missing = [...tables.keys()].filter((watched) => !isInstalled(watched, tables.get(watched)!, shape)).map(nameOf)
  const isThere = await hasOutbox(client, shape)
  if (missing.length > 0 || !isThere) {
    const what = [...isThere ? [] : [`the outbox in schema "${names.schema}"`], ...missing.map((name) => `the triggers of ${name}`)]
    throw new RouteCacheError('FRC_POSTGRES', `${WHERE}: the database lacks ${what.join(', ')}, or has them for other columns or from an ` +
      'older version; run the SQL that installSql(watch) prints, or register with install: true')
  }
  await checkRights(client, 'read', { names, tables: [] })
  return relationsOf(tables)
}

/** As they are now. Throws FRC_OPTION where one is gone or can't be watched any more. */
export async function findRelations (client: pg.Client, watches: readonly Watched[]): Promise<Relations> {
  return relationsOf(await findTables(client, watches))
}

function relationsOf (tables: ReadonlyMap<Watched, Table>): Relations {
  return new Map([...tables].map(([watched, { oid }]) => [oid, watched]))
}

/** Both tables, in the form of this version. */
async function hasOutbox (client: pg.Client, { names: { schema } }: Shape): Promise<boolean> {
  const { rows: [row] } = await client.query<{ is_there: boolean }>(`SELECT count(*) = 2 AS is_there
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
    WHERE n.nspname = $1 AND (c.relname, a.attname) IN (('outbox', 'source'), ('readers', 'seen'))`, [schema])
  return row!.is_there
}

function nameOf ({ schema, name }: Watched): string {
  return schema === null ? name : `${schema}.${name}`
}
