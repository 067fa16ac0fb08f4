// A Postgres of a test file's own: the demo's embedded one, in a temporary folder that goes when it stops. It ends with
// the test's process in every case (embedded-postgres.ts).
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prepareDatabase } from '../../demo-app/database.js'
import { startPostgres as startEmbedded } from '../../demo-app/embedded-postgres.js'

export interface TestPostgres {
  url: string
  /** Ends it and removes its folder. May be called twice. */
  stop (): Promise<void>
}

/** Starts it. It is empty unless `load` is true: then it has the demo's data. */
export async function startPostgres ({ load = false } = {}): Promise<TestPostgres> {
  const folder = await temporaryFolder()
  const postgres = await startEmbedded(folder)
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
  return { url: postgres.url, stop }
}

/** A folder for Postgres' data. */
export async function temporaryFolder (): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'route-cache-postgres-'))
}
