// Tables and columns that can't be watched, and why: checked by the app at its start, and by the SQL of a migration. One
// query returns the first reason: a placeholder, or NULL for the table itself, and the reason.
import pg from 'pg'
import type { Watched } from './watch.js'

/** A virtual column has no value in a trigger's transition tables; a foreign table fills none: writers would fail. */
const FOREIGN = 'is a foreign table, which no trigger can tell of: a statement that writes to it by this table would fail'
const VIRTUAL = 'the column is a virtual generated one, which triggers don\'\'t see; make it STORED, or name the columns that it is made of'
const SETTINGS = 'its text depends on the settings of whoever reads it; use numeric for money, and oid or name for what is registered'
const SINGLE = 'placeholders are of columns with a single value, such as numbers, texts and uuids'

/** `table`: an expression of its OID. */
export function unwatchableSql (table: string, columns: readonly string[], name: string): string {
  const { escapeLiteral: literal } = pg
  return `
WITH RECURSIVE watched AS (SELECT c.* FROM pg_class AS c WHERE c.oid = ${table}),
children AS (
  SELECT oid FROM watched UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN children AS c ON i.inhparent = c.oid
), there AS (
  SELECT a.attname, a.attnum, a.attgenerated, base.typname, base.typcategory FROM watched JOIN pg_attribute AS a ON a.attrelid = watched.oid
  JOIN LATERAL (
    WITH RECURSIVE types AS (
      SELECT * FROM pg_type WHERE oid = a.atttypid UNION ALL SELECT t.* FROM pg_type AS t JOIN types AS d ON t.oid = d.typbasetype
    ) SELECT typname, typcategory FROM types WHERE typbasetype = 0
  ) AS base ON true WHERE a.attnum > 0 AND NOT a.attisdropped
), named AS (
  SELECT * FROM unnest(ARRAY[${columns.map(literal).join(', ')}]::text[]) WITH ORDINALITY AS n (name, place) LEFT JOIN there ON attname = name
)
SELECT placeholder, reason FROM (
  SELECT 1 AS rank, NULL::bigint AS place, NULL AS placeholder, CASE relkind WHEN 'm' THEN
    'it is a materialized view, of which no trigger tells: watch the tables behind it, and call invalidate after each REFRESH'
    ELSE 'it is no ordinary or partitioned table; watch the tables behind it' END AS reason
  FROM watched WHERE relkind NOT IN ('r', 'p')
  UNION ALL SELECT 2, NULL, NULL, 'it is a temporary table, that others don''t see' FROM watched WHERE relpersistence = 't'
  UNION ALL SELECT 3, NULL, NULL, format('its partition or child %s ${FOREIGN}', c.relname)
  FROM children JOIN pg_class AS c USING (oid) WHERE c.relkind = 'f'
  UNION ALL SELECT 4, place, name, ${literal(name)} || ' has no column of that name; it has: ' || (SELECT coalesce(string_agg(attname, ', ' ORDER BY attnum), '') FROM there)
  FROM named, watched WHERE attname IS NULL
  UNION ALL SELECT 5, place, name, format('the column''s type is %s; ${SINGLE}', typname)
  FROM named WHERE typcategory IN ('A', 'C', 'R') OR typname IN ('json', 'jsonb', 'bytea')
  UNION ALL SELECT 5, place, name, format('the column''s type is %s; ${SETTINGS}', typname) FROM named WHERE typname = 'money' OR typname LIKE 'reg%'
  UNION ALL SELECT 6, place, name, '${VIRTUAL}' FROM named WHERE attgenerated = 'v'
) AS reasons ORDER BY rank, place LIMIT 1`
}

/**
 * Statements of a block that has a variable `refusal`; they end a migration where the table can't be watched. A table that
 * isn't there ends it by itself. `table`: an expression of its OID.
 */
export function refusalSql ({ sets, schema, name }: Watched, table: string): string {
  const { escapeLiteral: literal } = pg
  const shown = schema === null ? name : `${schema}.${name}`
  return `
  FOR refusal IN ${unwatchableSql(table, [...new Set(sets.flat())], shown)}
  LOOP
    RAISE EXCEPTION 'fastify-route-cache/postgres: %: %', ${literal(shown)} || coalesce('.' || refusal.placeholder, ''), refusal.reason;
  END LOOP;
`
}
