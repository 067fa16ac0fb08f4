// Nothing of somebody else's may take part in what is installed. The functions run with the rights of whoever installs, so
// an outbox that somebody else has made could have a trigger of his own, which would have those rights, too; and a function
// that somebody else owns he can replace at any time. Superusers have all rights anyway.
import pg from 'pg'
import { SIGN, type Names } from './shape.js'

/**
 * Statements of a block that has a variable `part`: they end an installation, behind the tables and the function in it,
 * where one of them is another role's.
 */
export function guardSql ({ schema }: Names): string {
  const { escapeIdentifier: quote, escapeLiteral: literal } = pg
  const space = `${literal(quote(schema))}::regnamespace`
  return `
  FOR part IN
    SELECT what, rolname FROM (
      SELECT 'schema ' || oid::regnamespace AS what, nspowner AS owner FROM pg_namespace WHERE oid = ${space}
      UNION ALL SELECT 'table ' || oid::regclass, relowner FROM pg_class WHERE relnamespace = ${space} AND relname IN ('outbox', 'readers')
      UNION ALL SELECT 'function ' || oid::regprocedure, proowner FROM pg_proc WHERE pronamespace = ${space} AND strpos(prosrc, ${literal(SIGN)}) > 0
    ) AS parts JOIN pg_roles AS r ON r.oid = owner WHERE rolname <> current_user AND NOT rolsuper
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: the % belongs to %, who would get the rights of %; install as that role, or in another schema',
      part.what, part.rolname, current_user;
  END LOOP;
`
}
