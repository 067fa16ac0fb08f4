// Scale and age: backlogs of any size, servers with any timeouts, and what holds the outbox back for days.
import t from 'tap'
import pg from 'pg'
import { installSql, type PostgresInvalidationOptions } from '../../plugin/extras/postgres/index.js'
import { backlogOf } from '../../plugin/extras/postgres/backlog.js'
import { historyOf, lookAlone, lookShared, type Tell } from '../../plugin/extras/postgres/outbox.js'
import { Pruner } from '../../plugin/extras/postgres/pruning.js'
import { namesIn } from '../../plugin/extras/postgres/shape.js'
import type { TableChange } from '../../plugin/extras/postgres/watch.js'
import { startPostgres } from '../helpers/postgres.js'
import { until } from '../helpers/until.js'
import { CITIES, onRedis, openApp, openSite, type Site } from './postgres-site.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

const postgres = await startPostgres({ settings: { max_prepared_transactions: '5' } })
t.teardown(async () => { await postgres.stop() })

const names = namesIn('route_cache')
const DAY = 86_400_000

/** So many lines, of one transaction. */
async function fill ({ query }: Site, lines: number, xid = 'pg_current_xact_id()'): Promise<void> {
  await query(`insert into route_cache.outbox (xid, relation, columns, rows, source) select ${xid}, 'cities'::regclass, '{country,id}',
    format('[["FR", "%s"]]', i)::jsonb, '{"version":2,"table":[null,"cities"],"sets":[["country"],["id"],[]]}' from generate_series(1, ${lines}) as i`)
}

async function left ({ query }: Site): Promise<number> {
  return (await query('select count(*)::integer as n from route_cache.outbox'))[0].n
}

t.test('one transaction of 20,000 statements: each line is read once, from either kind of place', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  const heard: TableChange[] = []
  const client = await site.connect()
  const tell = async (changes: readonly TableChange[] | null): Promise<void> => { heard.push(...changes ?? []) }
  const reading = { client, names, history: await historyOf(client), tell }
  const place = { seen: null, at: 0, history: '' }
  const reader = { name: 'r', mine: null, isActive: true }
  await site.query("insert into route_cache.readers (name) values ('r')")
  await lookAlone(reading, place)
  await lookShared(reading, reader)
  await fill(site, 20_000)
  const read = async (): Promise<number> => {
    // Postgres 14 has it not, and counts a little later by itself.
    await client.query('select pg_stat_force_next_flush()').catch(() => {})
    return Number((await site.query("select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) as n from pg_stat_user_tables where relname = 'outbox'"))[0].n)
  }
  for (const look of [async () => await lookAlone(reading, place), async () => await lookShared(reading, reader)]) {
    heard.length = 0
    const before = await read()
    t.match(await look(), { result: 'told', changes: 20_000 })
    t.equal(new Set(heard.map(({ rows }) => rows![0]![1])).size, 20_000)
    let rows = 0
    await until(async () => (rows = await read() - before) >= 20_000, 'it was counted')
    t.ok(rows < 50_000, `rows that Postgres read for 20,000 lines: ${rows}`)
  }
})

t.test('a database whose transactions are serializable by default', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`alter database ${new URL(site.url).pathname.slice(1)} set default_transaction_isolation = 'serializable'`)
  const cache = await onRedis(t)
  const apps = [await openApp(t, site, { cache, poll: '20ms' }), await openApp(t, site, { cache, poll: '20ms' })]
  for (let i = 0; i < 6; i++) {
    await site.query('update cities set name = $1 where id = 1', [`new${i}`])
    await Promise.all(apps.map(async ({ postgresInvalidation }) => { await postgresInvalidation.caughtUp() }))
    t.match(await apps[i % 2]!.look('/cities/1'), new RegExp(` new${i}$`))
  }
  t.same(apps.map(({ postgresInvalidation: { refusals, reconnects } }) => refusals + reconnects), [0, 0])

  // Another process that moves the place at the same time would be a failure; whether they meet is chance, so it is asked.
  const client = await site.connect()
  const levels: string[] = []
  const tell: Tell = async (_, client) => { levels.push((await client.query('show transaction_isolation')).rows[0].transaction_isolation) }
  const reading = { client, names, history: await historyOf(client), tell }
  await lookAlone(reading, { seen: null, at: 0, history: '' })
  await site.query("insert into route_cache.readers (name) values ('r')")
  await lookShared(reading, { name: 'r', mine: null, isActive: true })
  t.same(levels, ['read committed', 'read committed'])
})

t.test('old lines go in batches that statement_timeout lets through', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`${installSql([CITIES])}create function slow() returns trigger language plpgsql as
    $$ begin perform pg_sleep(0.002); return old; end $$;
    create trigger slow before delete on route_cache.outbox for each row execute function slow()`)
  await fill(site, 500)
  await site.query("update route_cache.readers set seen = pg_current_snapshot(), at = now() - interval '1 hour'")
  const client = await site.connect()
  // All of them take a second at least.
  await client.query("set statement_timeout = '300ms'")
  const pruner = new Pruner(names, DAY)
  let removed = 0
  await until(async () => {
    removed += (await pruner.prune(client)).removed
    return removed === 500
  }, 'all are removed')
  t.equal(await left(site), 0)
  t.same(await pruner.prune(client), { removed: 0, future: 0 })
})

t.test('a dump of a server that was ahead: all that is watched once, and its lines go', async (t) => {
  for (const cache of [{}, await onRedis(t)]) {
    const site = await openSite(t, postgres.url)
    await (await openApp(t, site, { cache })).close()
    // As the dump of a server brings it whose transactions had higher numbers.
    await fill(site, 1_500, "'99999999'::xid8")
    await site.query("update route_cache.readers set seen = '99999990:99999995:', history = 'another', at = now() - interval '1 hour'")
    const app = await openApp(t, site, { cache, poll: '20ms' })
    await until(async () => await left(site) === 0, 'they are removed')
    await app.warm('/cities/1', '/cities/2')
    const { changes, targets } = app.postgresInvalidation
    for (let i = 0; i < 3; i++) await app.postgresInvalidation.caughtUp()
    t.same([app.postgresInvalidation.changes, app.postgresInvalidation.targets], [changes, targets], 'nothing at each look')
    t.equal(changes, 0)
    t.equal(await app.look('/cities/1'), 'hit old')
    await site.query("update cities set name = 'new' where id = 1")
    await app.postgresInvalidation.caughtUp()
    t.same([await app.look('/cities/1'), await app.look('/cities/2')], ['miss new', 'hit old'])
    t.equal(app.lines.filter(({ msg }) => String(msg).includes('a dump was restored')).length, 1)
  }
})

t.test('lines of the future are told to nobody, also before they are removed', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`${installSql([CITIES])}insert into route_cache.readers (name) values ('r')`)
  const client = await site.connect()
  const reading = { client, names, history: await historyOf(client), tell: async () => {} }
  const place = { seen: null, at: 0, history: '' }
  const looks = [async () => await lookAlone(reading, place), async () => await lookShared(reading, { name: 'r', mine: null, isActive: true })]
  for (const look of looks) await look()
  await fill(site, 10, "'99999999'::xid8")
  await site.query("update cities set name = 'new' where id = 1")
  for (const look of looks) t.match(await look(), { result: 'told', changes: 1 })
})

t.test('the mark of another server removes nothing that is new', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  await fill(site, 10)
  await site.query("update route_cache.readers set seen = '99999990:99999995:', at = now() - interval '1 hour'")
  await new Pruner(names, DAY).prune(await site.connect())
  t.equal(await left(site), 10)
  t.match(await site.query("select pg_snapshot_xmax(seen)::text::bigint < 99999990 as here from route_cache.readers where name = ''"), [{ here: true }])
})

t.test('who keeps lines in the outbox is said: in the log, and by postgresInvalidation.outbox', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  const client = await site.connect()
  t.same(await backlogOf(client, names), { lines: 0, age: null, holder: null })
  const old = async (): Promise<void> => { await site.query("update route_cache.outbox set at = now() - interval '20 minutes'") }

  await site.query("insert into route_cache.readers (name, seen, at) values ('gone', pg_current_snapshot(), now() - interval '5 hours')")
  await site.query("update cities set name = 'x' where id = 1")
  t.match(await backlogOf(client, names), { lines: 1, holder: 'the place "gone", that nobody has read from for 5 hours' })
  await site.query("delete from route_cache.readers where name = 'gone'")

  const holder = await site.connect()
  await holder.query("set application_name = 'report'; begin; select pg_current_xact_id()")
  await site.query("update cities set name = 'y' where id = 1")
  await site.query('delete from route_cache.outbox where xid < pg_snapshot_xmin(pg_current_snapshot())')
  await old()
  const found = await backlogOf(client, names)
  t.match(found, { lines: 1, holder: /^a transaction of postgres, process \d+ \(report\), for \d seconds$/ })
  t.ok(found.age! > 1_190 && found.age! < 1_300, String(found.age))
  const app = await openApp(t, site, { install: false })
  const said = (words: string): number => app.lines.filter(({ msg }) => String(msg).includes(words)).length
  await until(async () => said('the outbox keeps its lines: the oldest waits for a transaction of postgres') === 1, 'the log says so')
  t.match(app.postgresInvalidation.outbox, { lines: 1, holder: /report/ })
  await holder.query('rollback')

  const preparing = await site.connect()
  for (const sql of ['begin', 'select pg_current_xact_id()', "prepare transaction 'forgotten'"]) await preparing.query(sql)
  await site.query("delete from route_cache.outbox; update cities set name = 'z' where id = 1")
  t.match(await backlogOf(client, names), { lines: 1, holder: /^the prepared transaction "forgotten" of postgres, for \d seconds$/ })
  await preparing.query("rollback prepared 'forgotten'")
  t.match(await backlogOf(client, names), { lines: 1, holder: null })
})

t.test('a role that may see nothing of others', async (t) => {
  const site = await openSite(t, postgres.url)
  const role = `app_${new URL(site.url).pathname.slice(1)}`
  await site.query(`${installSql([CITIES])}create role ${role} login password 'a'; grant usage on schema route_cache to ${role};
    grant select on route_cache.outbox, route_cache.readers to ${role}`)
  const holder = await site.connect()
  await holder.query('begin; select pg_current_xact_id()')
  await site.query("update cities set name = 'y' where id = 1")
  const client = new pg.Client({ connectionString: Object.assign(new URL(site.url), { username: role, password: 'a' }).href })
  await client.connect()
  t.teardown(async () => { await client.end() })
  t.match(await backlogOf(client, names), { lines: 1, holder: /^a transaction of postgres, process \d+/ })
})

t.test('a place that nobody reads from goes after placeLife, and who comes back begins anew', async (t) => {
  const site = await openSite(t, postgres.url)
  const cache = await onRedis(t)
  const options: Partial<PostgresInvalidationOptions> & { cache: RouteCacheOptions } = { cache, placeLife: '10m', poll: '20ms' }
  const first = await openApp(t, site, options)
  await first.warm('/cities/1', '/cities/2')
  await first.close()
  await site.query("update cities set name = 'new' where id = 1; update route_cache.readers set at = now() - interval '11 minutes'")
  // Of another prefix.
  const other = await openApp(t, site, { ...options, cache: { ...cache, prefix: 'other' } })
  const places = async (): Promise<string[]> => (await site.query("select name from route_cache.readers where name <> ''")).map(({ name }) => name.split(' ')[0])
  await until(async () => !(await places()).includes('cache'), 'it is gone')
  await until(async () => {
    await site.query("update route_cache.readers set at = now() - interval '2 minutes' where name = ''; update cities set name = name where id = 3")
    await other.postgresInvalidation.caughtUp()
    return !(await site.query('select 1 from route_cache.outbox where rows::text like \'%"1"%\'')).length
  }, 'and so are its lines')
  const next = await openApp(t, site, options)
  t.same([await next.look('/cities/1'), await next.look('/cities/2')], ['miss new', 'miss old'], 'all that is watched')
  for (const placeLife of ['4m', 0, 'long']) {
    await t.rejects(openApp(t, site, { placeLife } as never), { code: 'FRC_OPTION', message: /: placeLife is / })
  }
})
