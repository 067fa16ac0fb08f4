// The schemas in which Postgres looks names up. A role that may create functions in a schema on the search_path (`public`,
// before Postgres 15) can make one that fits better than Postgres' own; each caller then runs it with the caller's rights
// (CVE-2018-1058).
// So the plugin's connections search only Postgres' own schema, and use the session's former path for names of tables.
import type pg from 'pg'

export const PINNED = 'pg_catalog, pg_temp'

const SET_PINNED = `SET search_path = ${PINNED}`

/** The search path that the session had. */
const paths = new WeakMap<pg.Client, string>()

export async function pinPath (client: pg.Client): Promise<void> {
  const { rows: [row] } = await client.query<{ path: string }>("SELECT pg_catalog.current_setting('search_path') AS path")
  await client.query(SET_PINNED)
  paths.set(client, row!.path)
}

/** Runs it with the path that the session had. It must not call functions or operators without their schema. */
export async function onFormerPath<T> (client: pg.Client, work: () => Promise<T>): Promise<T> {
  const path = paths.get(client)
  if (path === undefined) return await work()
  await client.query("SELECT set_config('search_path', $1, false)", [path])
  try {
    return await work()
  } finally {
    // A transaction that has failed takes it back itself.
    await client.query(SET_PINNED).catch(() => {})
  }
}
