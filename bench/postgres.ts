// The cost and the delay of invalidation by Postgres: UPDATEs by another connection, as psql's
// would be; nothing in the app invalidates. One Postgres, one Redis and one app process, on loopback.
//
//   npm run bench:postgres -- [updates]
import fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import { setImmediate as turn } from 'node:timers/promises'
import { installSql, postgresInvalidation, uninstallSql, type Watch } from '../plugin/extras/postgres/index.js'
import routeCache from '../plugin/index.js'
import { startPostgres } from '../test/helpers/postgres.js'
import { startRedis } from '../test/helpers/redis.js'

const [updates = 1_000] = process.argv.slice(2).map(Number)
const MANY = 100_000
const WATCH: Watch[] = [{ table: 'cities', keys: 'city:{id}', tags: ['country:{country}'], whole: { tags: ['cities'] } }]
const ROUNDS = 9
const PER_ROUND = 300

const postgres = await startPostgres()
const server = await startRedis()
const writer = new pg.Client({ connectionString: postgres.url })
writer.on('error', () => {})
await writer.connect()
try {
  await writer.query('create table cities (id integer primary key, name text not null, country text not null, lat float8, lng float8)')
  await writer.query(`insert into cities select id, 'old', chr(65 + id % 26) || chr(65 + id / 26 % 9), 1.5, 2.5 from generate_series(1, ${MANY}) as id`)
  await writer.query('analyze cities')
  await writersCost()
  await writer.query(installSql(WATCH))
  const redis = server.client()
  await redis.ping()
  const app = await open(redis)
  await delays(app)
  await big(app)
  await manyStatements(app)
  await app.close()
} finally {
  await writer.end()
  await server.stop()
  await postgres.stop()
}

async function open (redis: ReturnType<typeof server.client>): Promise<FastifyInstance> {
  const app = fastify()
  await app.register(routeCache, { redis, ttl: 3600, deadline: 30, writeDeadline: 30 })
  await app.register(postgresInvalidation, { connectionString: postgres.url, watch: WATCH })
  const pool = new pg.Pool({ connectionString: postgres.url, max: 2 })
  pool.on('error', () => {})
  app.addHook('onClose', async () => { await pool.end() })
  app.get<{ Params: { id: string } }>('/cities/:id', { cache: { key: 'city:{id}', tags: ['cities'] } }, async (request) => {
    return (await pool.query('select name from cities where id = $1', [request.params.id])).rows[0].name
  })
  app.get<{ Params: { country: string } }>('/countries/:country', { cache: { key: 'list:{country}', tags: ['country:{country}'] } }, async () => 'x')
  await app.listen()
  return app
}

/** From the writer's COMMIT to the first GET, of one after the other, that shows the new name. */
async function delays (app: FastifyInstance): Promise<void> {
  const get = async (): Promise<string> => await (await fetch(`${app.listeningOrigin}/cities/1`)).text()
  const next: number[] = []
  const alone: number[] = []
  let fresh = 0
  for (let i = 0; i < updates; i++) {
    while ((await app.cache.inspect('city:1')) === null) await get()
    await writer.query('update cities set name = $1 where id = 1', [String(i)])
    const began = performance.now()
    if (await get() === String(i)) fresh++
    while (await app.cache.inspect('city:1') !== null && await get() !== String(i)) await turn()
    next.push(performance.now() - began)
    const before = performance.now()
    await writer.query('select 1')
    await get()
    alone.push(performance.now() - before)
  }
  console.log(`delay from an UPDATE's answer to the first GET with the new name, ${updates} times: ${spread(next)}; ${fresh} of the GETs sent at ` +
    'once had it')
  console.log(`for comparison, a query and a GET, in turns with them: ${spread(alone)}`)
}

async function big (app: FastifyInstance): Promise<void> {
  const { pid } = (await writer.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!
  let heard = 0
  const listener = new pg.Client({ connectionString: postgres.url })
  await listener.connect()
  listener.on('notification', ({ processId }) => { if (processId === pid) heard++ })
  await listener.query('listen route_cache')
  for (const [what, country] of [['cities', '1'], ['countries', 'AA']]) await app.inject(`/${what}/${country}`)
  const before = app.postgresInvalidation.targets
  const began = performance.now()
  const { rowCount } = await writer.query("update cities set name = 'all'")
  const written = performance.now()
  await app.postgresInvalidation.caughtUp()
  const told = performance.now()
  const { rows: [lines] } = await writer.query('select count(*) as n, pg_size_pretty(coalesce(sum(pg_column_size(o)), 0)) as size ' +
    'from route_cache.outbox as o where xid = (select max(xid) from route_cache.outbox)')
  console.log(`an UPDATE of ${rowCount} rows: ${(written - began).toFixed(0)} ms; invalidated ${(told - written).toFixed(1)} ms later, ` +
    `${app.postgresInvalidation.targets - before} targets, ${lines.n} lines of ${lines.size} in the outbox, ${heard} notification(s); ` +
    `then GET says ${(await app.inject('/cities/1')).body}`)
  await listener.end()
}

/** One transaction of many statements: a line each. */
async function manyStatements (app: FastifyInstance): Promise<void> {
  for (const statements of [2_000, 20_000]) {
    await writer.query(`do $$ begin for i in 1..${statements} loop update cities set name = 'many' where id = i; end loop; end $$`)
    const began = performance.now()
    await app.postgresInvalidation.caughtUp()
    console.log(`one transaction of ${statements} statements: invalidated ${(performance.now() - began).toFixed(0)} ms after its commit`)
  }
}

/** In turns, so that whatever else this machine does meets all of them. */
async function writersCost (): Promise<void> {
  const statements: Array<[string, string, number]> = [
    ['1 row', 'update cities set name = name where id = 7', PER_ROUND],
    ['1,000 rows', 'update cities set name = name where id <= 1000', 5],
    [`${MANY} rows`, 'update cities set name = name', 1]
  ]
  for (const [what, sql, times] of statements) {
    const taken: Record<string, number[]> = { without: [], with: [] }
    const rounds = times === 1 ? 3 : ROUNDS
    for (let round = 0; round < rounds; round++) {
      for (const how of ['without', 'with']) {
        if (how === 'with') await writer.query(installSql(WATCH))
        await writer.query('vacuum analyze cities')
        await writer.query(sql)
        const began = performance.now()
        for (let i = 0; i < times; i++) await writer.query(sql)
        taken[how]!.push((performance.now() - began) / times)
        if (how === 'with') await writer.query(uninstallSql(WATCH))
      }
    }
    const median = (list: number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!
    const range = (list: number[]): string => `${Math.min(...list).toFixed(3)} to ${Math.max(...list).toFixed(3)}`
    console.log(`UPDATE of ${what}: median ${median(taken.without!).toFixed(3)} ms (${range(taken.without!)}) without triggers, ` +
      `${median(taken.with!).toFixed(3)} ms (${range(taken.with!)}) with, ${rounds} rounds of ${times}`)
  }
}

function spread (times: number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part: number): string => `${sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)]!.toFixed(2)} ms`
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)}`
}
