// A Postgres of a test file's own: the demo's embedded one, in a temporary folder that goes when it stops. It ends with
// the test's process in every case (embedded-postgres.ts).
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { prepareDatabase } from '../../demo-app/database.js'
import { startPostgres as startEmbedded } from '../../demo-app/embedded-postgres.js'

export interface TestPostgres {
  url: string
  /** Its data. */
  folder: string
  /** Ends it and removes its folder. May be called twice. */
  stop (): Promise<void>
}

/**
 * Starts it. It is empty unless `load` is true: then it has the demo's data.
 * @param options.settings What else its configuration says.
 */
export async function startPostgres (
  { load = false, settings = {} }: { load?: boolean, settings?: Record<string, string> } = {}
): Promise<TestPostgres> {
  const folder = await temporaryFolder()
  let postgres = await startEmbedded(folder)
  if (Object.keys(settings).length > 0) {
    await configure(postgres.url, settings)
    await postgres.stop()
    postgres = await startEmbedded(folder)
  }
  const stop = async () => {
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    if (load) await prepareDatabase(postgres.url, () => ({ update () {}, end () {} }))
  } catch (error) {
    await stop()
    throw error
  }
  return { url: postgres.url, folder: postgres.folder, stop }
}

async function configure (url: string, settings: Record<string, string>): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (const [name, value] of Object.entries(settings)) await client.query(`ALTER SYSTEM SET ${name} = ${pg.escapeLiteral(value)}`)
  await client.end()
}

/** A folder for Postgres' data. */
export async function temporaryFolder (): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'route-cache-postgres-'))
}
