// The SQL that has Postgres write down what changes: an outbox, the places up to which it was read, and for each table one
// function with four triggers. Each statement writes what it changed once, whatever the number of rows, in its own
// transaction; so it is there when the change is, and not there when that is rolled back.
//
// Up to `maxTargets` distinct rows (of the columns that templates name) it writes them, a thousand to a line. Of more, it
// looks at each set of columns alone, so that 100,000 cities in 246 countries are 246 tags and one "all of them" for keys.
//
// What must never happen is that a writer fails because of a cache: trigger-function.ts says how.
import { createHash } from 'node:crypto'
import pg from 'pg'
import { doSql } from './dollar-quote.js'
import { guardSql } from './guard.js'
import { SIGN, type Names, type Shape } from './shape.js'
import { functionSql } from './trigger-function.js'
import { refusalSql } from './unwatchable.js'
import type { Watched } from './watch.js'

export const EVENTS = ['insert', 'update', 'delete', 'truncate'] as const

const LONGEST_NAME = 63

/** The table's name for SQL; one without a schema is searched for. */
export function quoted ({ schema, name }: Pick<Watched, 'schema' | 'name'>): string {
  return [schema, name].flatMap((part) => part === null ? [] : pg.escapeIdentifier(part)).join('.')
}

/** By event; one schema's are apart from another's. */
export function triggerName ({ schema }: Names, event: string): string {
  return bounded(`${schema}_${event}`)
}

/** Quoted, with its schema. */
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

/** The tables that everything is written to; those of an older version get what they lack. */
export function tablesSql (names: Names): string {
  const { schema, outbox, readers } = names
  return doSql(`
BEGIN
CREATE SCHEMA IF NOT EXISTS ${pg.escapeIdentifier(schema)};
CREATE TABLE IF NOT EXISTS ${outbox} (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  relation oid NOT NULL,
  columns text[],
  rows jsonb,
  exact boolean NOT NULL DEFAULT false,
  source jsonb
);
IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = ${pg.escapeLiteral(outbox)}::regclass AND attname = 'source') THEN
  ALTER TABLE ${outbox} ADD COLUMN source jsonb;
END IF;
CREATE INDEX IF NOT EXISTS outbox_xid ON ${outbox} (xid);
CREATE TABLE IF NOT EXISTS ${readers} (
  name text PRIMARY KEY,
  seen pg_snapshot,
  history text,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO ${readers} (name, seen) VALUES ('', pg_current_snapshot()) ON CONFLICT DO NOTHING;
${guardSql(names)}END
`)
}

/** The function and the triggers of one table: all of it, or nothing. */
export function triggersSql (watched: Watched, shape: Shape): string {
  const { names } = shape
  const table = quoted(watched)
  const call = functionName(names, watched)
  const trigger = (event: string, referencing = ''): string =>
    `CREATE OR REPLACE TRIGGER ${pg.escapeIdentifier(triggerName(names, event))} AFTER ${event.toUpperCase()} ON ${table}
  ${referencing}FOR EACH STATEMENT EXECUTE FUNCTION ${call}();
`
  return doSql(`
BEGIN
${refusalSql(watched, table)}${functionSql(call, watched, shape)}REVOKE ALL ON FUNCTION ${call}() FROM PUBLIC;
${guardSql(names)}${trigger('insert', 'REFERENCING NEW TABLE AS changed_rows ')}` +
    `${trigger('delete', 'REFERENCING OLD TABLE AS changed_rows ')}` +
    `${trigger('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ')}${trigger('truncate')}END
`)
}

/**
 * Takes off all triggers that write to this outbox, whichever watch or version installed them, and then the outbox, with
 * what was not read yet: in one statement, as a trigger without an outbox would be in its writers' way. The schema stays: it
 * may hold more.
 */
export function removalSql ({ schema, outbox, readers }: Names): string {
  return doSql(`
DECLARE
  name text;
BEGIN
  FOR name IN SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = to_regnamespace(${pg.escapeLiteral(pg.escapeIdentifier(schema))}) AND strpos(prosrc, ${pg.escapeLiteral(SIGN)}) > 0
  LOOP
    EXECUTE 'DROP FUNCTION ' || name || ' CASCADE';
  END LOOP;
  DROP TABLE IF EXISTS ${outbox}, ${readers};
END
`)
}
