// The SQL that makes Postgres record changes: an outbox, the places up to which it was read, and for each table one
// function with four triggers. Each statement records its changes once, whatever the number of rows, in its own
// transaction: the lines are there when the change is committed, and gone when it is rolled back.
//
// A statement fires the triggers of the table that it names, and not those of its partitions or inherited children, nor they
// its own. So all of them have triggers, which call the same function; those of children carry an argument, by which they
// are known when a child has left.
//
// Logical replication fires row triggers only, and of these only triggers that are made for it. So with `replicated` each
// table that holds rows has one. It costs other writers nothing, as they don't fire it.
//
// Up to `maxTargets` distinct rows (of the columns that templates name) are written, a thousand to a line. Beyond that,
// each set of columns counts by itself, so that 100,000 cities in 246 countries are 246 tags and one "all of them" for
// keys.
//
// No writer may fail because of a cache: trigger-function.ts says how that is kept.
import { createHash } from 'node:crypto'
import pg from 'pg'
import { doSql } from './dollar-quote.js'
import { guardSql, isTableSql, noTriggerReplacedSql, notReplacedSql } from './guard.js'
import { SIGN, OUTBOX_VERSION, type Names, type Shape } from './shape.js'
import { functionSql } from './trigger-function.js'
import { refusalSql } from './unwatchable.js'
import type { Watched } from './watch.js'

export const EVENTS = ['insert', 'update', 'delete', 'truncate'] as const

const LONGEST_NAME = 63
/** The argument of a child's triggers. */
export const CHILD = 'child'
/**
 * How long a migration waits for a child, while it holds its parent: less than `deadlock_timeout`, so that of a writer who
 * wants both and the migration, it is the migration that ends.
 */
const CHILD_WAIT = '500ms'

/** The table's name for SQL; one without a schema is searched for. */
export function quoted ({ schema, name }: Pick<Watched, 'schema' | 'name'>): string {
  return [schema, name].flatMap((part) => part === null ? [] : pg.escapeIdentifier(part)).join('.')
}

/** By event, and `rows`; one schema's are apart from another's. */
export function triggerName ({ schema }: Names, event: string): string {
  return bounded(`${schema}_${event}`)
}

/** Quoted, with its schema. Of `x.a` and `b` it is another one than of `x` and `a.b`. */
export function functionName ({ schema }: Names, { schema: of, name }: Pick<Watched, 'schema' | 'name'>): string {
  const parts = of === null ? [name] : [of, name].map((part) => /[."]/.test(part) ? pg.escapeIdentifier(part) : part)
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(bounded(parts.join('.')))}`
}

/** Postgres cuts longer names off, and two could become one. */
function bounded (name: string): string {
  if (Buffer.byteLength(name) <= LONGEST_NAME) return name
  // A character that is cut in the middle is dropped.
  const head = new TextDecoder().decode(Buffer.from(name).subarray(0, 46), { stream: true })
  return `${head}_${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
}

/**
 * The tables that everything is written to; those of an older version get what they lack. Nothing is done to a table that
 * was there before it is known whose it is: a trigger of somebody else's would run.
 */
export function tablesSql (names: Names): string {
  const { schema, outbox, readers } = names
  return doSql({
    declare: '  part pg_catalog.record;\n',
    body: `CREATE SCHEMA IF NOT EXISTS ${pg.escapeIdentifier(schema)};
CREATE TABLE IF NOT EXISTS ${outbox} (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  relation oid NOT NULL,
  columns text[],
  rows jsonb,
  exact boolean NOT NULL DEFAULT false,
  source jsonb,
  at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS ${readers} (
  name text PRIMARY KEY,
  seen pg_snapshot,
  history text,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
${guardSql(names)}ALTER TABLE ${outbox} ADD COLUMN IF NOT EXISTS source jsonb, ADD COLUMN IF NOT EXISTS at timestamptz;
ALTER TABLE ${outbox} ALTER COLUMN at SET DEFAULT clock_timestamp();
CREATE INDEX IF NOT EXISTS outbox_xid ON ${outbox} (xid);
INSERT INTO ${readers} (name, seen) VALUES ('', pg_current_snapshot()) ON CONFLICT DO NOTHING;
`
  })
}

/** The function and the triggers of one table, all of it or nothing; then, likewise, the triggers of its children. */
export function triggersSql (watched: Watched, shape: Shape): string {
  return tableSql(watched, shape) + childrenSql(watched, shape)
}

/** Without its children. */
export function tableSql (watched: Watched, shape: Shape): string {
  const { names } = shape
  const call = functionName(names, watched)
  return doSql({
    declare: `  watched pg_catalog.regclass := ${pg.escapeLiteral(quoted(watched))};
  part pg_catalog.record;
  refusal pg_catalog.record;
`,
    body: `${refusalSql(watched, 'watched')}${notReplacedSql([call])}${functionSql(call, watched, shape)}${ownSql(call)}${guardSql(names)}` +
      `${creationSql('watched', { call, shape })}`
  })
}

/** Nobody else may make triggers of it: what a table's owner names like its transition tables would run with its rights. */
function ownSql (call: string): string {
  return `REVOKE ALL ON FUNCTION ${call}() FROM PUBLIC;
  FOR part IN SELECT DISTINCT a.grantee::regrole::text AS role FROM pg_proc AS p, aclexplode(p.proacl) AS a
    WHERE p.oid = ${pg.escapeLiteral(`${call}()`)}::regprocedure AND a.grantee NOT IN (0, p.proowner)
  LOOP
    EXECUTE ${pg.escapeLiteral(`REVOKE ALL ON FUNCTION ${call}() FROM `)} || part.role;
  END LOOP;
`
}

/** Makes the triggers of children that are not watched themselves; drops those of tables that are no children any more. */
function childrenSql (watched: Watched, shape: Shape): string {
  const { names } = shape
  const call = functionName(names, watched)
  return doSql({
    declare: `  watched pg_catalog.regclass := ${pg.escapeLiteral(quoted(watched))};
  wait_before pg_catalog.text := pg_catalog.current_setting('lock_timeout');
  child pg_catalog.regclass;
  part pg_catalog.record;
`,
    body: `PERFORM set_config('lock_timeout', '${CHILD_WAIT}', true);
  FOR child IN SELECT below.oid FROM (${descendantsSql('watched')}) AS below WHERE NOT EXISTS (
    SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE t.tgrelid = below.oid AND t.tgnargs = 0
    AND t.tgname = ${pg.escapeLiteral(triggerName(names, 'truncate'))} AND strpos(p.prosrc, ${pg.escapeLiteral(`${SIGN}${OUTBOX_VERSION} `)}) > 0)
  LOOP
${creationSql('child', { call, shape, argument: CHILD })}  END LOOP;
${straysSql(`${pg.escapeLiteral(`${call}()`)}::regprocedure`)}PERFORM set_config('lock_timeout', wait_before, true);
`
  })
}

/** The triggers of one child of a watched table. */
export function childSql (watched: Watched, shape: Shape, child: number): string {
  return doSql({
    declare: `  child pg_catalog.regclass := ${child};\n  part pg_catalog.record;\n`,
    body: creationSql('child', { call: functionName(shape.names, watched), shape, argument: CHILD })
  })
}

/** The tables below one, each once. Temporary ones are seen by one session only, whose rows no app reads. */
export function descendantsSql (table: string): string {
  return `WITH RECURSIVE below AS (
    SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = ${table}
    UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN below ON i.inhparent = below.oid
  ) SELECT c.oid::regclass FROM below JOIN pg_class AS c USING (oid) WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'`
}

/** Statements of a block that has a variable `part`. `call`: an expression of the function. */
export function straysSql (call: string): string {
  return `  FOR part IN SELECT t.tgname, t.tgrelid::regclass AS child FROM pg_trigger AS t
    WHERE t.tgfoid = ${call} AND t.tgnargs = 1 AND NOT EXISTS (
      SELECT FROM pg_inherits AS i JOIN pg_trigger AS p ON p.tgrelid = i.inhparent WHERE i.inhrelid = t.tgrelid AND p.tgfoid = t.tgfoid)
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', part.tgname, part.child);
  END LOOP;
`
}

interface Creation {
  /** The function's name, quoted. */
  call: string
  /** `call` is a variable of type regprocedure instead. */
  isVariable?: boolean
  shape: Shape
  argument?: string
}

/** Statements of a block with a variable `part`: they put the triggers on a table. `table`: a variable of type regclass. */
export function creationSql (
  table: string, { call, isVariable = false, shape: { names, replicated }, argument }: Creation
): string {
  const { escapeIdentifier: quote, escapeLiteral: literal } = pg
  // Names stand in texts or come from variables: in no format string, where a character of a name could be a placeholder.
  const execute = (...parts: string[]): string => `    EXECUTE ${parts.join(' || ')};\n`
  const name = `${table}::text`
  const run = [literal('EXECUTE FUNCTION '), isVariable ? `left(${call}::text, -2)` : literal(call),
    literal(`(${argument === undefined ? '' : literal(argument)})`)]
  const trigger = (event: string, referencing = ''): string => execute(
    literal(`CREATE OR REPLACE TRIGGER ${quote(triggerName(names, event))} AFTER ${event.toUpperCase()} ON `), name,
    literal(` ${referencing}FOR EACH STATEMENT `), ...run)
  const [rows, truncate] = ['rows', 'truncate'].map((event) => quote(triggerName(names, event)))
  const byRow = replicated
    ? `    IF (SELECT relkind = 'r' FROM pg_class WHERE oid = ${table}) THEN
${execute(literal(`CREATE OR REPLACE TRIGGER ${rows} AFTER INSERT OR UPDATE OR DELETE ON `), name, literal(' FOR EACH ROW '), ...run)}` +
      `${execute(literal('ALTER TABLE ONLY '), name, literal(` ENABLE REPLICA TRIGGER ${rows}, ENABLE ALWAYS TRIGGER ${truncate}`))}    END IF;\n`
    : `    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = ${table} AND tgname = ${literal(triggerName(names, 'rows'))}) THEN
${execute(literal(`DROP TRIGGER ${rows} ON `), name)}    END IF;\n`
  const own = [...EVENTS, 'rows'].map((event) => triggerName(names, event))
  return noTriggerReplacedSql(table, own) + trigger('insert', 'REFERENCING NEW TABLE AS changed_rows ') + trigger('delete', 'REFERENCING OLD TABLE AS changed_rows ') +
    trigger('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ') + trigger('truncate') + byRow
}

/**
 * Takes off all triggers that write to this outbox, whichever watch or version installed them, and then the outbox, with
 * what was not read yet: in one statement, as a trigger without an outbox would be in its writers' way. The schema stays: it
 * may hold more.
 */
export function removalSql (names: Names): string {
  const { schema } = names
  return doSql({
    declare: '  name pg_catalog.text;\n',
    body: `FOR name IN SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = to_regnamespace(${pg.escapeLiteral(pg.escapeIdentifier(schema))}) AND strpos(prosrc, ${pg.escapeLiteral(SIGN)}) > 0
  LOOP
    EXECUTE 'DROP FUNCTION ' || name || ' CASCADE';
  END LOOP;
  FOR name IN SELECT c.oid::regclass FROM pg_class AS c WHERE ${isTableSql(names)}
  LOOP
    EXECUTE 'DROP TABLE ' || name;
  END LOOP;
`
  })
}
