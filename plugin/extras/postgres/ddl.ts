// Commands that change a table's rows without firing its triggers: a partition is attached, detached or dropped, ALTER
// TABLE … TYPE … USING writes all rows again, an enum gets another label, REFRESH MATERIALIZED VIEW. Event triggers see
// these commands. Only a superuser, or a role with that right, may make event triggers, so they are installed where the
// installer may. For other installations docs/postgres.md lists the commands that are not seen.
//
// - Behind ALTER TABLE of a watched table, of a child or of a parent: "all rows may have changed". Children that have come
//   get triggers, those that have left lose them.
// - Behind ALTER TYPE: the same for each watched table with a column of that type, or of one that is made of it.
// - Behind REFRESH or ALTER MATERIALIZED VIEW: the same for each watched table that it reads, through whichever views. What
//   a function reads, no catalogue knows.
// - Behind CREATE TABLE of a child: it gets triggers.
// - When a table with triggers of ours has been dropped, nothing tells whose child it was: a line of relation 0 stands for
//   all that is watched. So it does when a type, a function, an extension or the like took a column with it.
//
// As in trigger-function.ts, whatever fails is a warning, never an error; and nothing of anybody else's runs in them.
import pg from 'pg'
import { doSql, dollarQuoted } from './dollar-quote.js'
import { guardSql, noTriggerReplacedSql, notReplacedSql } from './guard.js'
import { SIGN, OUTBOX_VERSION, notifying, type Shape } from './shape.js'
import { creationSql, descendantsSql, straysSql, triggerName, CHILD } from './triggers.js'

/** In a line: all that is watched. */
export const ALL_RELATIONS = 0

const SETTINGS = "SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms'"

const CHANGING = ['ALTER TABLE', 'CREATE TABLE', 'ALTER TYPE', 'REFRESH MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW']
/** Commands that may drop a table or a column along, a generated one with its function for example. */
const DROPPING = ['TABLE', 'SCHEMA', 'OWNED', 'TYPE', 'DOMAIN', 'EXTENSION', 'FUNCTION', 'ROUTINE', 'OPERATOR', 'COLLATION', 'LANGUAGE',
  'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SERVER', 'FOREIGN DATA WRAPPER', 'ACCESS METHOD', 'OPERATOR CLASS',
  'OPERATOR FAMILY', ...['CONFIGURATION', 'DICTIONARY', 'PARSER', 'TEMPLATE'].map((part) => `TEXT SEARCH ${part}`)]
  .map((kind) => `DROP ${kind}`)

/** The functions' names, quoted. No table's function has one with a dot in front. */
function functionsOf ({ names: { schema } }: Shape): { ddl: string, drop: string } {
  const { escapeIdentifier: quote } = pg
  return { ddl: `${quote(schema)}.${quote('.ddl')}`, drop: `${quote(schema)}.${quote('.drop')}` }
}

function markOf (shape: Shape): string {
  return `${SIGN}${OUTBOX_VERSION} ${JSON.stringify({ ddl: 4, notify: shape.notify })}`
}

/** Whether they are installed in this form: a query of one row. */
export function isWatchedDdlSql (shape: Shape): string {
  const { escapeLiteral: literal } = pg
  return `SELECT count(*) = 2 AS is_there FROM pg_event_trigger AS e JOIN pg_proc AS p ON p.oid = e.evtfoid
    WHERE evtenabled = 'O' AND evtname IN (${eventNames(shape).map(literal).join(', ')}) AND strpos(prosrc, ${literal(markOf(shape))}) > 0`
}

function eventNames ({ names }: Shape): [string, string] {
  return [triggerName(names, 'ddl'), triggerName(names, 'drop')]
}

/** Installs them where the role may; elsewhere nothing. */
export function ddlSql (shape: Shape): string {
  const { escapeIdentifier: quote, escapeLiteral: literal } = pg
  const [ddl, drop] = eventNames(shape)
  const functions = functionsOf(shape)
  const trigger = (name: string, event: string, tags: string[], call: string): string => `
    IF EXISTS (SELECT FROM pg_event_trigger WHERE evtname = ${literal(name)}) THEN
      DROP EVENT TRIGGER ${quote(name)};
    END IF;
    CREATE EVENT TRIGGER ${quote(name)} ON ${event} WHEN TAG IN (${tags.map(literal).join(', ')}) EXECUTE FUNCTION ${call}();`
  return doSql({
    declare: '  part pg_catalog.record;\n',
    body: `BEGIN
${notReplacedSql([functions.ddl, functions.drop])}${noTriggerReplacedSql(null, [ddl, drop])}${ddlFunctionSql(shape)}${dropFunctionSql(shape)}${guardSql(shape.names)}REVOKE ALL ON FUNCTION ${functions.ddl}(), ${functions.drop}() FROM PUBLIC;` +
      `${trigger(ddl, 'ddl_command_end', CHANGING, functions.ddl)}` +
      `${trigger(drop, 'sql_drop', DROPPING, functions.drop)}
EXCEPTION WHEN insufficient_privilege THEN NULL;
END;
`
  })
}

/** The tables that `command` changed, by its catalogue: children, types and columns made of it, tables that views read. */
const TOUCHED = `touched AS (
        SELECT command.classid AS kind, command.objid AS oid
        UNION SELECT more.kind, more.oid FROM touched AS t JOIN LATERAL (
          SELECT 'pg_class'::regclass::oid, inhrelid FROM pg_inherits WHERE t.kind = 'pg_class'::regclass AND inhparent = t.oid
          UNION ALL SELECT classid, objid FROM pg_depend WHERE refclassid = t.kind AND refobjid = t.oid
            AND (classid = 'pg_type'::regclass OR (classid = 'pg_class'::regclass AND refclassid = 'pg_type'::regclass))
          UNION ALL SELECT 'pg_type'::regclass, reltype FROM pg_class WHERE t.kind = 'pg_class'::regclass AND oid = t.oid AND relkind = 'c'
          UNION ALL SELECT d.refclassid, d.refobjid FROM pg_class AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid
            JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
            WHERE t.kind = 'pg_class'::regclass AND c.oid = t.oid AND c.relkind IN ('v', 'm')
        ) AS more (kind, oid) ON true
      )`

function ddlFunctionSql (shape: Shape): string {
  const { names: { schema, outbox } } = shape
  const { escapeLiteral: literal } = pg
  const root = triggerName(shape.names, 'truncate')
  const own = `SELECT oid FROM pg_proc WHERE proowner = current_user::regrole
        AND pronamespace = ${literal(pg.escapeIdentifier(schema))}::regnamespace AND strpos(prosrc, ${literal(SIGN)}) > 0`
  return functionSql(shape, functionsOf(shape).ddl, `
DECLARE
  command record;
  watched record;
  orphan regprocedure;
  child regclass;
  part record;
BEGIN
  FOR command IN SELECT classid, objid, command_tag FROM pg_event_trigger_ddl_commands()
    WHERE classid IN ('pg_class'::regclass, 'pg_type'::regclass)
  LOOP
    SELECT t.tgfoid INTO orphan FROM pg_trigger AS t WHERE command.classid = 'pg_class'::regclass AND t.tgrelid = command.objid AND t.tgname = ${literal(root)} AND t.tgnargs = 1
      AND t.tgfoid IN (${own}) AND NOT EXISTS (
        SELECT FROM pg_inherits AS i JOIN pg_trigger AS p ON p.tgrelid = i.inhparent WHERE i.inhrelid = t.tgrelid AND p.tgfoid = t.tgfoid);
    IF FOUND THEN
      INSERT INTO ${outbox} (relation) VALUES (${ALL_RELATIONS});
      IF true${notifying(shape)} THEN
        PERFORM pg_notify(${literal(schema)}, '');
      END IF;
${straysSql('orphan')}    END IF;
    FOR watched IN WITH RECURSIVE ${TOUCHED}, above AS (
        SELECT oid FROM touched WHERE kind = 'pg_class'::regclass UNION SELECT i.inhparent FROM pg_inherits AS i JOIN above ON i.inhrelid = above.oid
      ) SELECT t.tgrelid AS oid, t.tgfoid::regprocedure AS call, n.nspname, c.relname FROM above JOIN pg_trigger AS t ON t.tgrelid = above.oid
      JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE t.tgname = ${literal(root)} AND t.tgnargs = 0 AND t.tgfoid IN (${own})
    LOOP
      IF command.command_tag <> 'CREATE TABLE' THEN
        INSERT INTO ${outbox} (relation, source) VALUES (watched.oid, json_build_object(
          'version', ${OUTBOX_VERSION}, 'table', json_build_array(watched.nspname, watched.relname), 'sets', '[]'::json));
        IF true${notifying(shape)} THEN
          PERFORM pg_notify(${literal(schema)}, '');
        END IF;
      END IF;
      BEGIN
        FOR child IN SELECT below.oid FROM (${descendantsSql('watched.oid')}) AS below
          WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = below.oid AND tgname = ${literal(root)})
        LOOP
${creationSql('child', { call: 'watched.call', isVariable: true, shape, argument: CHILD })}        END LOOP;
${straysSql('watched.call')}      EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'fastify-route-cache: the children of % could not be watched: %', watched.oid::regclass, SQLERRM;
      END;
    END LOOP;
  END LOOP;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'fastify-route-cache: a change of a table could not be written down: %', SQLERRM;
END
`)
}

function dropFunctionSql (shape: Shape): string {
  const { names: { schema, outbox } } = shape
  const { escapeLiteral: literal } = pg
  return functionSql(shape, functionsOf(shape).drop, `
BEGIN
  IF NOT EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS o WHERE CASE object_type
      WHEN 'trigger' THEN address_names[3] = ${literal(triggerName(shape.names, 'truncate'))}
      WHEN 'table column' THEN EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = o.objid AND tgname = ${literal(triggerName(shape.names, 'truncate'))})
      END)
    OR to_regclass(${literal(outbox)}) IS NULL THEN
    RETURN;
  END IF;
  INSERT INTO ${outbox} (relation) VALUES (${ALL_RELATIONS});
  IF true${notifying(shape)} THEN
    PERFORM pg_notify(${literal(schema)}, '');
  END IF;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'fastify-route-cache: a table that was dropped could not be written down: %', SQLERRM;
END
`)
}

function functionSql (shape: Shape, name: string, body: string): string {
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
${SETTINGS}
AS ${dollarQuoted(`\n${markOf(shape)}${body}`)};
`
}
