// A database of a test's own, and apps that it drives: cities by id, by country, and as a whole.
import pg from 'pg'
import type { Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { postgresInvalidation, type PostgresInvalidationOptions, type Watch } from '../../plugin/extras/postgres/index.js'
import { startRedis } from '../helpers/redis.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'

export interface Site {
  url: string
  /** Somebody else's connection, as psql would have it. */
  query: (sql: string, values?: unknown[]) => Promise<any[]>
  /** One more, ended with the test. */
  connect: () => Promise<pg.Client>
}

export const CITIES: Watch = { table: 'cities', keys: 'city:{id}', tags: ['cities', 'country:{country}'] }

let databases = 0

/** A new database with six cities in three countries. */
export async function openSite (t: Test, server: string): Promise<Site> {
  const name = `site_${process.pid}_${++databases}`
  const first = await connected(t, server)
  await first.query(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const client = await connected(t, url.href)
  await client.query(`create table cities (id integer primary key, name text not null, country text);
    insert into cities select id, 'old', (array['AD', 'FR', 'ES'])[1 + id % 3] from generate_series(1, 6) as id`)
  return {
    url: url.href,
    query: async (sql, values) => (await client.query(sql, values)).rows,
    connect: async () => await connected(t, url.href)
  }
}

async function connected (t: Test, url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(async () => { await client.end().catch(() => {}) })
  return client
}

/** A Redis of the test's own, as options of the cache. */
export async function onRedis (t: Test): Promise<RouteCacheOptions> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  return { redis }
}

export interface CitiesApp extends CachedApp {
  /** What GET of a path says, and whether it was a hit. */
  look: (path: string) => Promise<string>
  /** Fills these, and waits until they are stored. */
  warm: (...paths: string[]) => Promise<void>
}

interface Opening extends Partial<PostgresInvalidationOptions> { cache?: RouteCacheOptions }

/** An app with routes over the cities, and the plugin under test; nothing in it invalidates. */
export async function openApp (t: Test, { url }: Site, { cache = {}, ...options }: Opening = {}): Promise<CitiesApp> {
  const app = await cachedApp(t, { ttl: 600, ...cache })
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  app.addHook('onClose', async () => { await pool.end() })
  await app.register(postgresInvalidation, { watch: [CITIES], connectionString: url, install: true, ...options })
  app.get<{ Params: { id: string } }>('/cities/:id', { cache: { key: 'city:{id}', tags: [] } }, async (request) => {
    const { rows } = await pool.query('select name from cities where id = $1', [request.params.id])
    return String(rows[0]?.name)
  })
  app.get<{ Params: { country: string } }>('/countries/:country', {
    cache: { key: 'list:{country}', tags: ['country:{country}'] }
  }, async (request) => {
    const { rows } = await pool.query('select name from cities where country = $1 order by id', [request.params.country])
    return rows.map(({ name }) => name).join()
  })
  app.get('/all', { cache: { key: 'all', tags: ['cities'] } }, async () => {
    return (await pool.query('select count(*)::text as count from cities')).rows[0].count
  })
  app.get('/other', { cache: { key: 'other' } }, async () => 'other')
  await app.ready()
  const look = async (path: string): Promise<string> => {
    const { body, headers } = await app.inject(path)
    return `${/hit/.test(String(headers['cache-status'])) ? 'hit' : 'miss'} ${body}`
  }
  const warm = async (...paths: string[]): Promise<void> => {
    for (const path of paths) await app.inject(path)
    await settled(app)
  }
  return Object.assign(app, { look, warm })
}
