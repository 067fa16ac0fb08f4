// A streaming replica of a test's Postgres: a copy of its data, taken while it runs, on a port of its own. Embedded binaries
// have no pg_basebackup; these are its steps.
import { execFile } from 'node:child_process'
import { appendFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { startPostgres as startEmbedded } from '../../demo-app/embedded-postgres.js'
import { identity } from '../../demo-app/postgres-folder.js'
import { temporaryFolder, type TestPostgres } from './postgres.js'
import { until } from './until.js'

const run = promisify(execFile)

export interface Standby extends TestPostgres {
  /** Makes a primary of it; resolves when it takes writes. */
  promote: () => Promise<void>
}

/** From then on the primary answers a commit when the standby has it, too: so none is lost in a failover. */
export async function startStandby (primary: TestPostgres): Promise<Standby> {
  const client = new pg.Client({ connectionString: primary.url })
  client.on('error', () => {})
  await client.connect()
  const parent = await temporaryFolder()
  const folder = join(parent, 'data')
  const { rows: [row] } = await client.query<{ version: string }>("select current_setting('server_version_num') as version")
  const isOld = Number(row!.version) < 150_000
  await client.query(isOld ? "select pg_start_backup('standby', true, false)" : "select pg_backup_start('standby', true)")
  await run('cp', ['-a', primary.folder, folder])
  const { rows: [backup] } = await client.query<{ labelfile: string }>(`select labelfile from ${isOld ? 'pg_stop_backup(false)' : 'pg_backup_stop()'}`)
  for (const name of ['postmaster.pid', 'postmaster.opts']) await rm(join(folder, name), { force: true })
  await writeFile(join(folder, 'backup_label'), backup!.labelfile)
  await writeFile(join(folder, 'standby.signal'), '')
  const { port, password } = new URL(primary.url)
  await appendFile(join(folder, 'postgresql.auto.conf'),
    `\nprimary_conninfo = 'host=127.0.0.1 port=${port} user=postgres password=${password} sslmode=disable'\n`)
  if (identity !== undefined) await run('chown', ['-R', `${identity.uid}:${identity.gid}`, folder])
  const standby = await startEmbedded(parent)
  await until(async () => (await client.query("select 1 from pg_stat_replication where state = 'streaming'")).rows.length === 1, 'it streams')
  await client.query("alter system set synchronous_standby_names = '*'")
  await client.query('select pg_reload_conf()')
  await until(async () => (await client.query("select 1 from pg_stat_replication where sync_state = 'sync'")).rows.length === 1, 'commits wait for it')
  await client.end()
  return {
    url: standby.url,
    folder: standby.folder,
    async stop () {
      await standby.stop()
      await rm(parent, { recursive: true, force: true })
    },
    async promote () {
      const own = new pg.Client({ connectionString: standby.url })
      await own.connect()
      await own.query('select pg_promote()')
      await own.end()
    }
  }
}
