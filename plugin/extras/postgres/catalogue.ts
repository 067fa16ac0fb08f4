// The database's catalogue: whether the watched tables and columns exist, and whether triggers tell of them.
import type pg from 'pg'
import { RouteCacheError, optionError } from '../../errors.js'
import { ddlSql, isWatchedDdlSql } from './ddl.js'
import { doSql } from './dollar-quote.js'
import { guardSql } from './guard.js'
import { checkRights } from './rights.js'
import { onFormerPath } from './search-path.js'
import { OUTBOX_VERSION, readMark, type Shape } from './shape.js'
import { EVENTS, childSql, descendantsSql, quoted, tableSql, tablesSql, triggerName } from './triggers.js'
import { unwatchableSql } from './unwatchable.js'
import type { Watched } from './watch.js'

/** Watched tables and their children by their OIDs: a table that is renamed stays the same. */
export type Relations = ReadonlyMap<number, Relation>

interface Relation {
  watched: Watched
  isChild: boolean
  /** Others whose rows are changed with its own: of a second parent, or of a partition that is watched itself. */
  also: readonly Watched[]
}

interface Table {
  oid: number
  columns: string[]
  triggers: Triggers
  /** Its partitions and inherited tables, and theirs. */
  children: Child[]
}

/** `isOwn`: as of a table that is watched itself, not of a child. */
type Triggers = Record<string, { isOn: boolean, isOwn: boolean, source: string }>

interface Child { oid: number, triggers: Triggers }

const WHERE = 'fastify-route-cache/postgres'
const OLDEST = 140_000
/** How long an installation waits for writers of a table; later writers wait behind it. */
const LOCK_WAIT = '5s'

const TRIGGERS = `(SELECT coalesce(json_object_agg(g.tgname, json_build_object(
    'isOn', g.tgenabled IN ('O', 'A', 'R'), 'isOwn', g.tgnargs = 0, 'source', p.prosrc)), '{}')
    FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)`

const FIND = `
SELECT
  (SELECT coalesce(json_agg(attname ORDER BY attnum), '[]')::text
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
  ${TRIGGERS}::text AS triggers,
  (SELECT coalesce(json_agg(json_build_object('oid', c.oid::bigint, 'triggers', ${TRIGGERS}) ORDER BY c.oid), '[]')::text
    FROM (${descendantsSql('$1::oid')}) AS below JOIN pg_class AS c ON c.oid = below.oid) AS children
FROM pg_class AS c WHERE c.oid = $1::oid`

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
  const oid = await oidOf(client, watched)
  const { rows: [row] } = await client.query<Record<'columns' | 'triggers' | 'children', string>>(FIND, [oid])
  if (oid === null || row === undefined) {
    const right = watched.schema === null ? 'on the search_path; name its schema, or create it first' : 'in the database; create it first'
    throw optionError(WHERE, `${watched.where}.table`, nameOf(watched), `there is no such table ${right}`)
  }
  return {
    oid, columns: JSON.parse(row.columns), triggers: JSON.parse(row.triggers), children: JSON.parse(row.children)
  }
}

/** Null: there is none. */
async function oidOf (client: pg.Client, watched: Watched): Promise<number | null> {
  return await onFormerPath(client, async () => {
    const { rows: [row] } = await client.query<{ oid: string | null }>(
      'SELECT pg_catalog.to_regclass($1)::pg_catalog.oid::pg_catalog.text AS oid', [quoted(watched)])
    return row!.oid === null ? null : Number(row!.oid)
  })
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

/** Whether all of it, children too, tells of all that these watches name. */
function isInstalled (watched: Watched, table: Table, shape: Shape): boolean {
  return tells(watched, table.triggers, shape) && table.children.every(({ triggers }) => tellsSomehow(triggers, shape))
}

/** A child may have another parent's function, or one of its own: a column that this lacks counts as the whole table. */
function tellsSomehow (triggers: Triggers, { names }: Shape): boolean {
  return EVENTS.every((event) => {
    const trigger = triggers[triggerName(names, event)]
    return trigger !== undefined && trigger.isOn && readMark(trigger.source)?.version === OUTBOX_VERSION
  })
}

function tells ({ sets }: Watched, triggers: Triggers, { names }: Shape): boolean {
  return EVENTS.every((event) => {
    const trigger = triggers[triggerName(names, event)]
    return trigger !== undefined && trigger.isOn && covers(trigger.source, sets)
  })
}

function covers (source: string, sets: Watched['sets']): boolean {
  const installed = readMark(source)
  const there = new Set(installed?.sets.map((set) => JSON.stringify(set)))
  return installed?.version === OUTBOX_VERSION && sets.every((set) => there.has(JSON.stringify(set)))
}

/** Whether it does so in the way that these options say. */
function isLike ({ triggers }: Pick<Table, 'triggers'>, { names, maxTargets, notify, replicated }: Shape): boolean {
  return EVENTS.every((event) => {
    const installed = readMark(triggers[triggerName(names, event)]?.source ?? '')
    return installed?.maxTargets === maxTargets && installed.notify === notify && installed.replicated === replicated
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
    const tables = await findTables(client, watches)
    if (await hasOutbox(client, shape)) await client.query(doSql({ declare: '  part pg_catalog.record;\n', body: guardSql(names) }))
    else await granted(client, { shape, tables }, tablesSql(names))
  })
  for (const watched of watches) await installOn(client, watched, shape)
  await alone(client, shape, async () => {
    const { rows: [row] } = await client.query<{ is_there: boolean }>(isWatchedDdlSql(shape))
    if (!row!.is_there) await client.query(ddlSql(shape))
  })
}

async function installOn (client: pg.Client, watched: Watched, shape: Shape): Promise<void> {
  const { table, isAll } = await alone(client, shape, async () => {
    const table = await findTable(client, watched)
    const isAll = !tells(watched, table.triggers, shape) || !isLike(table, shape)
    const told = { ...watched, sets: withFormer(watched, table, shape) }
    if (isAll) await granted(client, { shape, tables: new Map([[watched, table]]) }, tableSql(told, shape))
    return { table, isAll }
  })
  for (const { oid, triggers } of table.children) {
    const isOwn = triggers[triggerName(shape.names, 'truncate')]?.isOwn === true
    if ((isOwn || !isAll) && tellsSomehow(triggers, shape)) continue
    await alone(client, shape, async () => {
      await granted(client, { shape, tables: new Map([[watched, table]]) }, childSql(watched, shape, oid))
    })
  }
}

async function alone<T> (client: pg.Client, { names }: Shape, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  try {
    await client.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`)
    await client.query('SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))', ['fastify-route-cache', names.schema])
    const result = await work()
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

/** Runs it; throws FRC_POSTGRES first where rights for it are missing. */
async function granted (
  client: pg.Client, { shape, tables }: { shape: Shape, tables: ReadonlyMap<Watched, Table> }, sql: string
): Promise<void> {
  const needed = [...tables].flatMap(([watched, { oid, children }]) =>
    [{ name: quoted(watched), oid }, ...children.map((child) => ({ name: null, oid: child.oid }))])
  await checkRights(client, 'install', { names: shape.names, tables: needed })
  await onFormerPath(client, async () => { await client.query(sql) })
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
  const owners = new Map([...tables].map(([watched, { oid }]) => [oid, watched]))
  const told = new Map<number, Set<Watched>>([...owners].map(([oid, watched]) => [oid, new Set([watched])]))
  for (const [watched, { oid, children }] of tables) {
    // A statement on any of them may change rows of each that is below it.
    const below = children.flatMap((child) => owners.get(child.oid) ?? [])
    for (const relation of [oid, ...children.map((child) => child.oid)]) {
      told.set(relation, new Set([...told.get(relation) ?? [], watched, ...below]))
    }
  }
  return new Map([...told].map(([oid, [watched, ...also]]) => [oid, { watched: watched!, isChild: !owners.has(oid), also }]))
}

/** Both tables, in the form of this version. */
async function hasOutbox (client: pg.Client, { names: { schema } }: Shape): Promise<boolean> {
  const { rows: [row] } = await client.query<{ is_there: boolean }>(`SELECT count(*) = 3 AS is_there
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
    WHERE n.nspname = $1 AND (c.relname, a.attname) IN (('outbox', 'source'), ('outbox', 'at'), ('readers', 'seen'))`, [schema])
  return row!.is_there
}

function nameOf ({ schema, name }: Watched): string {
  return schema === null ? name : `${schema}.${name}`
}
