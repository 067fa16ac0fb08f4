// Whether the connection is to one session of Postgres. A pooler in transaction mode (PgBouncer's `pool_mode`) gives each
// transaction to any free session: LISTEN hears nothing there, and the plugin's settings would stay for others. So this is
// checked before anything is set.
//
// A pooler gives out process numbers of its own. If the number is the session's, there is no pooler, and the check costs
// one query. Behind a pooler, a second connection decides: in session mode it never gets the session of the first.
import type pg from 'pg'
import { RouteCacheError } from '../../errors.js'

const TRIES = 3
const ASK = 'SELECT pg_catalog.pg_backend_pid() AS pid'

/** Throws FRC_POSTGRES where transactions of a connection are given to several sessions. */
export async function checkSession (client: pg.Client, connect: () => Promise<pg.Client>): Promise<void> {
  const { processID } = client as unknown as { processID?: number | null }
  const first = await pidOf(client)
  if (typeof processID !== 'number' || processID === first) return
  const other = await connect()
  try {
    for (let i = 0; i < TRIES; i++) {
      const mine = await pidOf(client)
      await other.query('BEGIN')
      const theirs = await pidOf(other)
      const again = await pidOf(client)
      await other.query('COMMIT')
      if (mine === theirs || mine !== first || again !== first) throw pooled()
    }
  } finally {
    await other.end().catch(() => {})
  }
}

async function pidOf (client: pg.Client): Promise<number> {
  return (await client.query<{ pid: number }>(ASK)).rows[0]!.pid
}

function pooled (): RouteCacheError {
  return new RouteCacheError('FRC_POSTGRES', 'fastify-route-cache/postgres: the connection goes through a pooler in transaction mode, where ' +
    'LISTEN does not work; give connectionString of the server itself, or of a pool in session mode')
}
