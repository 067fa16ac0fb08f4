// No object of another role may be part of an installation. The functions run with the rights of the installer. An outbox
// of another role could have a trigger, which would run with these rights, too; and a role can replace its own function at
// any time. Superusers have all rights anyway.
//
// Nor is any object of another role replaced or removed: the schema may have an `outbox`, a function or a trigger by a name
// that the installation needs. The plugin recognises its own tables by their columns, and its functions by the mark in
// their text.
//
// A role with the right TRIGGER on the outbox could make a trigger, too; ALTER DEFAULT PRIVILEGES may give that right with
// ALL. So the right is revoked, and an installation fails if such a trigger exists: one with another role's function, or
// with a condition.
import pg from 'pg'
import { SIGN, type Names } from './shape.js'

/** The condition of a row `c` of pg_class: it is one of the two tables, of any version. */
export function isTableSql ({ schema }: Names): string {
  const columns = (...pairs: string[]): string => `(SELECT count(*) = 2 FROM pg_attribute AS a WHERE a.attrelid = c.oid
      AND (a.attname, a.atttypid) IN (${pairs.join(', ')}))`
  return `c.relnamespace = to_regnamespace(${pg.escapeLiteral(pg.escapeIdentifier(schema))}) AND c.relkind = 'r' AND CASE c.relname
      WHEN 'outbox' THEN ${columns("('xid', 'xid8'::regtype)", "('relation', 'oid'::regtype)")}
      WHEN 'readers' THEN ${columns("('name', 'text'::regtype)", "('seen', 'pg_snapshot'::regtype)")} ELSE false END`
}

/**
 * Statements of a block that has a variable `part`: they end an installation that would replace a function of another kind.
 * `calls`: names, quoted.
 */
export function notReplacedSql (calls: readonly string[]): string {
  const { escapeLiteral: literal } = pg
  return `
  FOR part IN
    SELECT p.oid::regprocedure AS place, rolname FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner
    WHERE p.oid IN (${calls.map((call) => `to_regprocedure(${literal(`${call}()`)})`).join(', ')}) AND strpos(p.prosrc, ${literal(SIGN)}) = 0
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: the function % belongs to %, and is not of fastify-route-cache; install in another schema',
      part.place, part.rolname;
  END LOOP;
`
}

/** Likewise, triggers. `table`: an expression of its OID; null: event triggers. */
export function noTriggerReplacedSql (table: string | null, triggers: readonly string[]): string {
  const { escapeLiteral: literal } = pg
  const [from, name, call, of] = table === null
    ? ['pg_event_trigger AS t', 't.evtname', 't.evtfoid', 'true']
    : ['pg_trigger AS t', 't.tgname', 't.tgfoid', `t.tgrelid = ${table}`]
  return `
  FOR part IN
    SELECT ${name} AS name, p.oid::regprocedure AS call FROM ${from} JOIN pg_proc AS p ON p.oid = ${call}
    WHERE ${of} AND ${name} IN (${triggers.map(literal).join(', ')}) AND strpos(p.prosrc, ${literal(SIGN)}) = 0
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: the trigger % calls %, and is not of fastify-route-cache; install in another schema',
      part.name, part.call;
  END LOOP;
`
}

/**
 * Statements of a block that has a variable `part`: they end an installation, behind the tables and the function in it,
 * where one of them is another role's.
 */
export function guardSql (names: Names): string {
  const { schema } = names
  const { escapeIdentifier: quote, escapeLiteral: literal } = pg
  const space = `${literal(quote(schema))}::regnamespace`
  const tables = `relnamespace = ${space} AND relname IN ('outbox', 'readers')`
  return `
  FOR part IN
    SELECT DISTINCT c.oid::regclass AS place, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role
    FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE ${tables} AND a.privilege_type IN ('TRIGGER', 'REFERENCES')
    AND a.grantee <> c.relowner AND pg_has_role(c.relowner, 'USAGE')
  LOOP
    EXECUTE format('REVOKE TRIGGER, REFERENCES ON %s FROM %s CASCADE', part.place, part.role);
  END LOOP;
  FOR part IN
    SELECT what, rolname FROM (
      SELECT 'schema ' || oid::regnamespace AS what, nspowner AS owner FROM pg_namespace WHERE oid = ${space}
      UNION ALL SELECT 'table ' || oid::regclass, relowner FROM pg_class WHERE ${tables}
      UNION ALL SELECT 'function ' || oid::regprocedure, proowner FROM pg_proc WHERE pronamespace = ${space} AND strpos(prosrc, ${literal(SIGN)}) > 0
    ) AS parts JOIN pg_roles AS r ON r.oid = owner WHERE rolname <> current_user AND NOT rolsuper
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: the % belongs to %, who would get the rights of %; install as that role, or in another schema',
      part.what, part.rolname, current_user;
  END LOOP;
  FOR part IN SELECT c.oid::regclass AS place FROM pg_class AS c WHERE ${tables} AND NOT (${isTableSql(names)})
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: % is not of fastify-route-cache; install in another schema', part.place;
  END LOOP;
  FOR part IN
    SELECT t.tgname, c.oid::regclass AS place FROM pg_class AS c JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal
    JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_roles AS r ON r.oid = p.proowner
    WHERE ${tables} AND (t.tgqual IS NOT NULL OR (rolname <> current_user AND NOT rolsuper))
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: the trigger % on % may belong to another role, that would get the rights of %; drop it first',
      part.tgname, part.place, current_user;
  END LOOP;
`
}
