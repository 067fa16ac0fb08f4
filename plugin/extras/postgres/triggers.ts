// The SQL that has Postgres write down what changes: an outbox, the places up to which it was read, and for each table one
// function with four triggers. Each statement writes what it changed once, whatever the number of rows, in its own
// transaction; so it is there when the change is, and not there when that is rolled back.
//
// Up to `maxTargets` distinct rows (of the columns that templates name) it writes them, a thousand to a line. Of more, it
// looks at each set of columns alone, so that 100,000 cities in 246 countries are 246 tags and one "all of them" for keys.
//
// What must never happen is that a writer fails because of a cache: so a column that is gone or renamed counts as "all of
// them", and writers need no rights to what is written here, as the function runs with those of its owner.
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { Watched } from './watch.js'

/** What is installed, by names that are quoted. */
export interface Names {
  /** As it was given. */
  schema: string
  outbox: string
  readers: string
  /** In NOTIFY, as it was given. */
  channel: string
}

export interface Shape {
  names: Names
  maxTargets: number
}

export const EVENTS = ['insert', 'update', 'delete', 'truncate'] as const

/** The outbox's form, and that of what the function writes. */
const VERSION = 1
const MARK = `-- fastify-route-cache ${VERSION} `
const LINE = 1_000
const LONGEST_NAME = 63

export function namesIn (schema: string): Names {
  const { escapeIdentifier: quote } = pg
  return { schema, outbox: `${quote(schema)}.outbox`, readers: `${quote(schema)}.readers`, channel: schema }
}

/** The table's name for SQL; one without a schema is searched for. */
export function quoted ({ schema, name }: Pick<Watched, 'schema' | 'name'>): string {
  return [schema, name].flatMap((part) => part === null ? [] : pg.escapeIdentifier(part)).join('.')
}

/** By event; one schema's are apart from another's. */
export function triggerName ({ schema }: Names, event: string): string {
  return bounded(`${schema}_${event}`)
}

function functionName ({ schema }: Names, { schema: of, name }: Watched): string {
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(bounded(of === null ? name : `${of}.${name}`))}`
}

/** Postgres cuts longer names off, and two could become one. */
function bounded (name: string): string {
  if (Buffer.byteLength(name) <= LONGEST_NAME) return name
  // Of a character that is cut in the middle nothing is left.
  const head = new TextDecoder().decode(Buffer.from(name).subarray(0, 46), { stream: true })
  return `${head}_${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
}

/** The sets of columns that an installed function tells of; null where it is none of ours, or of another version. */
export function installedSets (source: string): string[][] | null {
  const line = source.split('\n').find((line) => line.startsWith(MARK))
  return line === undefined ? null : JSON.parse(line.slice(MARK.length)) as string[][]
}

/** The tables that everything is written to. */
export function tablesSql ({ schema, outbox, readers }: Names): string {
  return `CREATE SCHEMA IF NOT EXISTS ${pg.escapeIdentifier(schema)};
CREATE TABLE IF NOT EXISTS ${outbox} (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  relation oid NOT NULL,
  columns text[],
  rows jsonb,
  exact boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS outbox_xid ON ${outbox} (xid);
CREATE TABLE IF NOT EXISTS ${readers} (
  name text PRIMARY KEY,
  seen pg_snapshot,
  history text,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO ${readers} (name, seen) VALUES ('', pg_current_snapshot()) ON CONFLICT DO NOTHING;
`
}

/** The function and the triggers of one table. */
export function triggersSql (watched: Watched, shape: Shape): string {
  const { names } = shape
  const table = quoted(watched)
  const call = functionName(names, watched)
  const trigger = (event: string, referencing: string): string =>
    `CREATE OR REPLACE TRIGGER ${pg.escapeIdentifier(triggerName(names, event))} AFTER ${event.toUpperCase()} ON ${table}
  ${referencing}FOR EACH STATEMENT EXECUTE FUNCTION ${call}();
`
  return `${functionSql(call, watched, shape)}REVOKE ALL ON FUNCTION ${call}() FROM PUBLIC;
${trigger('insert', 'REFERENCING NEW TABLE AS changed_rows ')}${trigger('delete', 'REFERENCING OLD TABLE AS changed_rows ')}` +
    `${trigger('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ')}${trigger('truncate', '')}`
}

/** Takes the triggers off, and with the outbox what was not read yet. The schema stays: it may hold more. */
export function removalSql (watches: readonly Watched[], names: Names): string {
  const functions = watches.map((watched) => `DROP FUNCTION IF EXISTS ${functionName(names, watched)}() CASCADE;\n`)
  return `${functions.join('')}DROP TABLE IF EXISTS ${names.outbox}, ${names.readers};\n`
}

// The settings make one text of one value, whoever writes: dates and floating-point numbers have several.
function functionSql (name: string, { sets }: Watched, { names, maxTargets }: Shape): string {
  const columns = [...new Set(sets.flat())].sort()
  const { escapeLiteral: literal } = pg
  const body = `
${MARK}${JSON.stringify(sets)}
BEGIN
  IF current_setting('route_cache.skip', true) = ${literal(names.schema)} THEN
    RETURN NULL;
  ELSIF TG_OP = 'TRUNCATE'${lacking(columns)} THEN
    INSERT INTO ${names.outbox} (relation) VALUES (TG_RELID);
  ELSIF TG_OP = 'UPDATE' THEN${writing(['old_rows', 'new_rows'], { sets, columns, names, maxTargets })}
  ELSE${writing(['changed_rows'], { sets, columns, names, maxTargets })}
  END IF;
  IF FOUND THEN
    PERFORM pg_notify(${literal(names.channel)}, '');
  END IF;
  RETURN NULL;
END
`
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET extra_float_digits = 1
AS ${dollarQuoted(body)};
`
}

/** Whether the table has lost any of its columns. */
function lacking (columns: readonly string[]): string {
  if (columns.length === 0) return ''
  return ` OR (SELECT count(*) FROM pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped
      AND attname IN (${columns.map(pg.escapeLiteral).join(', ')})) < ${columns.length}`
}

interface Writing extends Shape { sets: Watched['sets'], columns: readonly string[] }

/** FOUND is true behind it where rows were changed. */
function writing (tables: readonly string[], { sets, columns, names, maxTargets }: Writing): string {
  const into = `INSERT INTO ${names.outbox} (relation, columns, rows, exact)`
  const some = tables.map((table) => `EXISTS (SELECT FROM ${table})`).join(' OR ')
  const most = maxTargets
  const together = columns.length === 0
    ? `
    ${into}
    SELECT TG_RELID, '{}', '[[]]', false WHERE ${some};`
    : `
    ${into}
    SELECT TG_RELID, ${textArray(columns)}, jsonb_agg(line), false
    FROM (${numbered(tables, columns, most)}) AS numbered
    WHERE total <= ${most} GROUP BY (number - 1) / ${LINE};`
  if (columns.length === 0) return together
  const apart = sets.map((set) => set.length === 0
    ? `
      ${into} VALUES (TG_RELID, '{}', '[[]]', true);`
    : `
      ${into}
      SELECT TG_RELID, ${textArray(set)}, CASE WHEN total <= ${most} THEN jsonb_agg(line) END, true
      FROM (${numbered(tables, set, most)}) AS numbered
      WHERE total <= ${most} OR number = 1 GROUP BY total, (number - 1) / ${LINE};`)
  return `${together}
    IF NOT FOUND AND (${some}) THEN${apart.join('')}
    END IF;`
}

/** Each combination of values once, with its number and how many there are, one more than `most` at most. */
function numbered (tables: readonly string[], columns: readonly string[], most: number): string {
  const aliases = columns.map((_, i) => `c${i}`)
  // By bytes: an equality of the column's own may take two texts for one, and then one of them would be lost.
  const values = columns.map((column, i) => `${pg.escapeIdentifier(column)}::text COLLATE "C" AS c${i}`).join(', ')
  const rows = tables.map((table) => `SELECT ${values} FROM ${table}`).join(' UNION ALL ')
  return `SELECT jsonb_build_array(${aliases.join(', ')}) AS line, row_number() OVER () AS number, count(*) OVER () AS total
      FROM (SELECT DISTINCT ${aliases.join(', ')} FROM (${rows}) AS changed LIMIT ${most + 1}) AS found`
}

function textArray (texts: readonly string[]): string {
  return `ARRAY[${texts.map(pg.escapeLiteral).join(', ')}]::text[]`
}

/** A quote that the text does not hold. */
function dollarQuoted (text: string): string {
  let tag = '$route_cache$'
  for (let i = 1; text.includes(tag); i++) tag = `$route_cache_${i}$`
  return `${tag}${text}${tag}`
}
