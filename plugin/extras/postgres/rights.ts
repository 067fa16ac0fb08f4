// Checks the rights of the connection's role before they are used: for each missing right the error names the GRANT.
import pg from 'pg'
import { RouteCacheError } from '../../errors.js'
import type { Names } from './shape.js'

interface Needs {
  names: Names
  /** Names are quoted; null: to be looked up. */
  tables: ReadonlyArray<{ name: string | null, oid: number }>
}

/** Throws FRC_POSTGRES where rights are missing. For `read`, the outbox must exist. */
export async function checkRights (client: pg.Client, work: 'install' | 'read', needs: Needs): Promise<void> {
  const { rows } = await client.query<{ missing: string }>(work === 'read' ? readingSql(needs) : installingSql(needs))
  if (rows.length === 0) return
  throw new RouteCacheError('FRC_POSTGRES', 'fastify-route-cache/postgres: the rights that it needs in the database are missing; run as their ' +
    `owner: ${rows.map(({ missing }) => `${missing};`).join(' ')}`)
}

const ROLE = 'quote_ident(current_user)'

function readingSql ({ names: { schema, outbox, readers } }: Needs): string {
  const table = (name: string, right: string): string => `('${right}', ${pg.escapeLiteral(name)}, ${oidOf(schema, name === outbox ? 'outbox' : 'readers')})`
  return `${schemaSql(schema, 'USAGE')}
    UNION ALL SELECT format('GRANT %s ON %s TO %s', kind, name, ${ROLE}) FROM (VALUES
      ${['SELECT', 'DELETE'].map((right) => table(outbox, right)).join(', ')},
      ${['SELECT', 'INSERT', 'UPDATE', 'DELETE'].map((right) => table(readers, right)).join(', ')}
    ) AS needed (kind, name, oid) WHERE NOT has_table_privilege(oid, kind)`
}

function installingSql ({ names: { schema }, tables }: Needs): string {
  return `${schemaSql(schema, 'CREATE')}
    UNION ALL SELECT format('GRANT CREATE ON DATABASE %I TO %s', current_database(), ${ROLE})
      WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = ${pg.escapeLiteral(schema)})
      AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL SELECT format('GRANT TRIGGER ON %s TO %s', coalesce(name, oid::regclass::text), ${ROLE})
      FROM (VALUES ${tables.map(({ name, oid }) => `(${name === null ? 'NULL' : pg.escapeLiteral(name)}, ${oid}::oid)`).join(', ')}) AS needed (name, oid)
      WHERE NOT has_table_privilege(oid, 'TRIGGER')`
}

function schemaSql (schema: string, right: 'USAGE' | 'CREATE'): string {
  const literal = pg.escapeLiteral(schema)
  return `SELECT format('GRANT ${right} ON SCHEMA %I TO %s', nspname, ${ROLE}) AS missing FROM pg_namespace
    WHERE nspname = ${literal} AND NOT has_schema_privilege(oid, '${right}')`
}

/** Without the schema's USAGE, a name of a table in it can't be looked up. */
function oidOf (schema: string, table: string): string {
  return `(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ${pg.escapeLiteral(schema)} AND c.relname = '${table}')`
}
