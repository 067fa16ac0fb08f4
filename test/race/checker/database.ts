// The truth: rows with versions, and views, whose row only the database knows.
import pg from 'pg'
import { PAGES } from './composition.js'
import { FORMS_OF, MODES, rowsOf } from './workload.js'

export type Versions = Record<number, number>

/** Creates the tables anew, with the rows of every mode at version 1. */
export async function createTables (url: string, rows: number): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('create table rows (id integer primary key, version integer not null) with (fillfactor = 10)')
    await client.query('create table views (id integer primary key, row_id integer not null references rows)')
    const ids = MODES.flatMap((mode) => rowsOf(mode, rows))
    await client.query('insert into rows select id, 1 from unnest($1::integer[]) as id', [ids])
    const viewed = MODES.filter((mode) => FORMS_OF[mode].includes('view')).flatMap((mode) => rowsOf(mode, rows))
    const views = viewed.flatMap((row) => PAGES.map((page) => [row * 10 + page, row]))
    await client.query('insert into views select * from unnest($1::integer[], $2::integer[])',
      [views.map(([id]) => id), views.map(([, row]) => row)])
  } finally {
    await client.end()
  }
}

/** One process' connections. */
export class Database {
  readonly #pool: pg.Pool

  constructor (url: string, connections: number) {
    this.#pool = new pg.Pool({ connectionString: url, max: connections, connectionTimeoutMillis: 20_000 })
    // A connection that breaks while idle would end the process; a query on it rejects as well.
    this.#pool.on('error', () => {})
  }

  async row (id: number): Promise<Versions> {
    return await this.#read('row', 'select id, version from rows where id = $1', [id])
  }

  async rowsFrom (id: number): Promise<Versions> {
    return await this.#read('rows', 'select id, version from rows where id >= $1 and id < $1 + 100', [id])
  }

  async rowOfView (id: number): Promise<Versions> {
    return await this.#read('view', 'select rows.id, version from views join rows on rows.id = row_id where views.id = $1', [id])
  }

  /** In one transaction, and committed when this has resolved. */
  async bump (ids: readonly number[]): Promise<Versions> {
    const client = await this.#pool.connect()
    const versions: Versions = {}
    try {
      await client.query('begin')
      for (const id of ids) {
        const { rows: [row] } = await client.query<{ version: number }>({
          name: 'bump', text: 'update rows set version = version + 1 where id = $1 returning version', values: [id]
        })
        versions[id] = row!.version
      }
      await client.query('commit')
      client.release()
      return versions
    } catch (error) {
      // Closed, as nobody knows in which state it is.
      client.release(true)
      throw error
    }
  }

  async close (): Promise<void> {
    await this.#pool.end()
  }

  async #read (name: string, text: string, values: number[]): Promise<Versions> {
    const { rows } = await this.#pool.query<{ id: number, version: number }>({ name, text, values })
    return Object.fromEntries(rows.map(({ id, version }) => [id, version]))
  }
}
