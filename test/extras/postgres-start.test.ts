// What is installed, what is refused at the start, and what counts as "anything may have changed".
import fastify from 'fastify'
import pg from 'pg'
import t from 'tap'
import fastifyPostgres from '@fastify/postgres'
import routeCache from '../../plugin/index.js'
import { postgresInvalidation, installSql, uninstallSql, type Watch } from '../../plugin/extras/postgres/index.js'
import { historyOf, lookAlone, lookShared, type OutboxPlace, type OutboxReader } from '../../plugin/extras/postgres/outbox.js'
import { Pruner } from '../../plugin/extras/postgres/pruning.js'
import { namesIn } from '../../plugin/extras/postgres/shape.js'
import type { TableChange } from '../../plugin/extras/postgres/watch.js'
import { startPostgres } from '../helpers/postgres.js'
import { freePorts } from '../helpers/redis.js'
import { CITIES, openApp, openSite, type Site } from './postgres-site.js'

const postgres = await startPostgres()
t.teardown(async () => { await postgres.stop() })

async function start (options: object, { withCache = true, databaseUrl = '' } = {}): Promise<unknown> {
  const app = fastify()
  try {
    if (withCache) await app.register(routeCache)
    if (databaseUrl !== '') await app.register(fastifyPostgres, { connectionString: databaseUrl })
    await app.register(postgresInvalidation, options as never)
    await app.ready()
    return null
  } catch (error) {
    return error
  } finally {
    await app.close()
  }
}

t.test('what is wrong is said at the start', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query('create view seen as select * from cities; create table lists (id integer, members integer[], data jsonb)')
  const { url } = site
  const [closed] = await freePorts(1)
  const watch = [CITIES]
  const wrong: Array<[object, RegExp]> = [
    [{}, /: watch is undefined; it is a list such as/],
    [{ watch: [] }, /: watch is \[\]; it is a list/],
    [{ watch: ['cities'] }, /: watch\[0\] is "cities"; write \{ table, keys, tags \}/],
    [{ watch: [{ table: 'cities', key: 'city:{id}' }] }, /: watch\[0\]\.key is "city:\{id\}"; there is no such option; there are: table, schema, keys/],
    [{ watch: [{ table: 'cities' }] }, /: watch\[0\] is .* says neither keys nor tags/],
    [{ watch: [{ table: '', keys: 'a' }] }, /: watch\[0\]\.table is ""; write "cities", or "geo\.cities"/],
    [{ watch: [{ table: 'a.b.c', keys: 'a' }] }, /: watch\[0\]\.table is "a\.b\.c"; .* give schema as well/],
    [{ watch: [{ ...CITIES, schema: 5 }] }, /: watch\[0\]\.schema is 5;/],
    [{ watch: [{ table: 'cities', keys: 'city:{id' }] }, /: watch\[0\]\.keys: key template "city:\{id": a brace has no partner/],
    [{ watch: [{ table: 'cities', tags: [''] }] }, /: watch\[0\]\.tags is \[""\]; write a template such as "country:\{country\}"/],
    [{ watch: [{ ...CITIES, whole: { tag: 'x' } }] }, /: watch\[0\]\.whole is \{"tag":"x"\}; write what cache\.invalidate takes/],
    [{ watch, polls: 1 }, /: polls is 1; there is no such option; there are: watch, install/],
    [{ watch, poll: '1m' }, /: poll is "1m"; it is more than 0, and at most 10 seconds/],
    [{ watch, poll: 'soon' }, /: poll is "soon"; a duration is/],
    [{ watch, install: 1 }, /: install is 1; it is true or false/],
    [{ watch, reader: '' }, /: reader is ""; it is a name/],
    [{ watch, schema: 'x'.repeat(64) }, /: schema is "x+"; it is the name of a schema, of 63 bytes at most/],
    [{ watch, maxTargets: -1 }, /: maxTargets is -1; it is a number of rows/],
    [{ watch, decorator: 'routeCache' }, /: decorator is "routeCache"; fastify-route-cache is not there under this name/],
    [{ watch, connectionString: url, namespace: 'a' }, /: namespace is "a"; connectionString says already where Postgres is/],
    [{ watch, namespace: 'a' }, /: namespace is "a"; fastify\.pg has no connection of this name/],
    [{ watch }, /: nothing says where Postgres is; register @fastify\/postgres first/],
    [{ watch: [{ ...CITIES, table: 'citties' }], connectionString: url }, /: watch\[0\]\.table is "citties"; there is no such table on the search_path/],
    [{ watch: [{ ...CITIES, table: 'geo.cities' }], connectionString: url }, /: watch\[0\]\.table is "geo\.cities"; there is no such table in the database/],
    [{ watch: [{ table: 'cities', keys: 'city:{nr}' }], connectionString: url }, /: watch\[0\] is "\{nr\}"; cities has no column of that name; it has: id, name, country/],
    [{ watch: [CITIES, { ...CITIES, table: 'public.cities' }], connectionString: url }, /: watch\[1\]\.table is "public\.cities"; it is the same table as that of watch\[0\]/],
    [{ watch: [{ table: 'seen', keys: 'a' }], connectionString: url }, /: watch\[0\]\.table is "seen"; it is no ordinary or partitioned table/],
    [{ watch: [{ table: 'lists', keys: '{members}' }], connectionString: url }, /"\{members\}"; the column's type is _int4;/],
    [{ watch: [{ table: 'lists', keys: '{data}' }], connectionString: url }, /"\{data\}"; the column's type is jsonb;/]
  ]
  for (const [options, message] of wrong) {
    for (const install of 'connectionString' in options ? [true, false] : [undefined]) {
      t.match(await start({ ...install !== undefined && { install }, ...options }), { code: 'FRC_OPTION', message }, String(message))
    }
  }
  const nowhere = `postgres://postgres@127.0.0.1:${closed}/x`
  t.match(await start({ watch, connectionString: nowhere }), { code: 'FRC_POSTGRES', message: /Postgres can't be used: .*ECONNREFUSED/ })
  t.match(await start({ watch, connectionString: url }), { code: 'FRC_POSTGRES', message: /lacks the outbox in schema "route_cache", the triggers of cities/ })
  t.match(await start({ watch, connectionString: url }, { withCache: false }), { code: 'FRC_OPTION', message: /register it first/ })
  t.throws(() => installSql([{ table: 'cities' }]), { code: 'FRC_OPTION' })
  t.throws(() => installSql([CITIES], { shema: 'x' } as never), { code: 'FRC_OPTION', message: /shema is "x"; there is no such option; there are: schema, maxTargets/ })
  t.same(await site.query("select 1 from pg_trigger where not tgisinternal union select 1 from pg_namespace where nspname = 'route_cache'"), [], 'and nothing is left behind')
})

function placeOf (name: string): OutboxReader {
  return { name, mine: null, isActive: true }
}

async function installed ({ query }: Site): Promise<unknown[]> {
  return await query(`select tgname, xmin::text, oid::text from pg_trigger where not tgisinternal
    union select proname, xmin::text, oid::text from pg_proc where prosrc like '%fastify-route-cache%' order by 1`)
}

t.test('the SQL of a migration is what the app wants, and can be taken away', async (t) => {
  const site = await openSite(t, postgres.url)
  const watch: Watch[] = [CITIES]
  await site.query(installSql(watch))
  const before = await installed(site)
  t.equal(before.length, 7, 'a function and four triggers, and two functions of event triggers')
  t.equal(await start({ watch }, { databaseUrl: site.url }), null, 'over the connection of @fastify/postgres')
  t.equal(await start({ watch, install: true }, { databaseUrl: site.url }), null)
  t.same(await installed(site), before, 'where nothing is missing nothing is touched')
  await site.query(installSql(watch))

  const more = [{ table: 'cities', keys: ['city:{id}', 'named:{name}'] }]
  t.match(await start({ watch: more, connectionString: site.url }), { code: 'FRC_POSTGRES', message: /triggers of cities, or has them for other columns/ })
  await openApp(t, site, { watch: more })
  t.equal(await start({ watch, connectionString: site.url }), null, 'the version before can still start')
  const wider = await installed(site)
  t.equal(await start({ watch, connectionString: site.url, install: true }), null)
  t.same(await installed(site), wider, 'and takes nothing away')

  await site.query('alter table cities disable trigger route_cache_delete')
  t.match(await start({ watch, connectionString: site.url }), { code: 'FRC_POSTGRES', message: /triggers of cities/ })

  await site.query(uninstallSql(watch))
  t.same(await installed(site), [])
  t.same(await site.query("select relname from pg_class where relnamespace = 'route_cache'::regnamespace"), [])
})

t.test('two that install at once', async (t) => {
  const site = await openSite(t, postgres.url)
  const starts = await Promise.all(Array.from({ length: 3 }, async () =>
    await start({ watch: [CITIES], connectionString: site.url, install: true })))
  t.same(starts, [null, null, null])
})

t.test('an installation does not wait for ever behind a writer, nor for the lock that any role may take', async (t) => {
  const site = await openSite(t, postgres.url)
  const writer = await site.connect()
  await writer.query("begin; update cities set name = 'x' where id = 1")
  const other = await openSite(t, postgres.url)
  const role = `low_${new URL(other.url).pathname.slice(1)}`
  const low = await other.connect()
  await low.query(`create role ${role}; set role ${role}; select pg_advisory_lock(hashtext('fastify-route-cache'), hashtext('route_cache'))`)
  const starts = [site, other].map(async ({ url }) => await start({ watch: [CITIES], connectionString: url, install: true }))
  for (const refusal of await Promise.all(starts)) t.match(refusal, { code: 'FRC_POSTGRES', message: /lock timeout/ })
  await other.query(installSql([CITIES]))
  t.equal(await start({ watch: [CITIES], connectionString: other.url }), null, 'installSql and a start without install take no such lock')
})

t.test('where changes may have been missed, all that is watched is invalidated', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  const client = await site.connect()
  const history = await historyOf(client)
  t.match(history, /^\d+:[\dA-F]{8}$/)
  const heard: Array<number | null> = []
  const tell = async (changes: readonly TableChange[] | null): Promise<void> => { heard.push(changes?.length ?? null) }
  const reading = { client, names: namesIn('route_cache'), history, tell }
  const change = async (): Promise<void> => { await site.query("update cities set name = 'x' where id = 1") }
  const said = async (look: () => Promise<unknown>): Promise<Array<number | null>> => {
    heard.length = 0
    await look()
    return [...heard]
  }

  const place: OutboxPlace = { seen: null, at: 0, history: '' }
  const alone = async (): Promise<unknown> => await lookAlone(reading, place)
  t.same(await said(alone), [null], 'a place that is new')
  t.same(await said(alone), [])
  await change()
  t.same(await said(alone), [1])
  place.at -= 31_000
  t.same(await said(alone), [null], 'one that may be behind what was removed')
  place.history = '1:00000001'
  t.same(await said(alone), [null], 'one of another server')
  place.seen = '999999999:999999999:'
  t.same(await said(alone), [null], 'one from the future of this server: it was restored')
  t.same(await said(alone), [])

  await site.query("insert into route_cache.readers (name) values ('r')")
  const shared = async (): Promise<unknown> => await lookShared(reading, placeOf('r'))
  t.same(await said(shared), [null])
  await change()
  await change()
  t.same(await said(shared), [2])
  await site.query("update route_cache.readers set history = '1:00000001' where name = 'r'")
  t.same(await said(shared), [null])
  await site.query("update route_cache.readers set seen = '999999999:999999999:' where name = 'r'")
  t.same(await said(shared), [null])
  t.same(await said(shared), [])
  await site.query("delete from route_cache.readers where name = 'r'")
  t.match(await lookShared(reading, placeOf('r')), { result: 'busy' })
  t.same(await said(shared), [null], 'a place that was removed by hand')

  const failing = { ...reading, tell: async () => { throw new Error('away') } }
  await change()
  t.match(await lookShared(failing, placeOf('r')), { result: 'failed', error: { message: 'away' } })
  t.match(await lookAlone(failing, place), { result: 'failed' })
  t.same(await said(shared), [1], 'what could not be told is still there')
  t.same(await said(alone), [3])
})

t.test('a backlog is read in parts, all of it, and no more', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  const client = await site.connect()
  const heard: string[] = []
  let between = async (): Promise<void> => {}
  const tell = async (changes: readonly TableChange[] | null): Promise<void> => {
    heard.push(...(changes ?? []).flatMap(({ rows }) => rows!.map((row) => row.join())))
    await between()
  }
  const reading = { client, names: namesIn('route_cache'), history: await historyOf(client), tell }
  const place: OutboxPlace = { seen: null, at: 0, history: '' }
  await lookAlone(reading, place)
  const line = "insert into route_cache.outbox (relation, columns, rows) values ('cities'::regclass, '{id}', '[[\"%s\"]]')"
  const sql = (from: number, to: number): string => `do $$ begin for i in ${from}..${to} loop execute format($f$${line}$f$, i); end loop; end $$`
  await site.query(sql(1, 350))
  for (let i = 351; i <= 450; i++) await site.query(line.replace('%s', String(i)))
  // What is committed while it is read comes with the next look.
  between = async () => {
    between = async () => {}
    await site.query(sql(451, 460))
  }
  t.match(await lookAlone(reading, place), { result: 'told', changes: 450 })
  t.same(heard.toSorted((a, b) => Number(a) - Number(b)), Array.from({ length: 450 }, (_, i) => String(i + 1)))
  t.match(await lookAlone(reading, place), { result: 'told', changes: 10 })
  t.equal(new Set(heard).size, 460)
})

t.test('what everybody has read is removed, later', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  const client = await site.connect()
  const names = namesIn('route_cache')
  const pruner = new Pruner(names, 86_400_000)
  const reading = { client, names, history: '', tell: async () => {} }
  await site.query("insert into route_cache.readers (name) values ('a'), ('b')")
  for (const reader of ['a', 'b']) await lookShared(reading, placeOf(reader))
  const change = async (): Promise<void> => { await site.query("update cities set name = 'x' where id = 1") }
  const left = async (): Promise<number> => (await site.query('select count(*)::integer as n from route_cache.outbox'))[0].n
  const later = async (): Promise<void> => {
    await site.query("update route_cache.readers set at = at - interval '2 minutes' where name = ''")
    await pruner.prune(client)
  }
  await change()
  await pruner.prune(client)
  t.equal(await left(), 1, 'too early')
  await lookShared(reading, placeOf('a'))
  await later()
  await later()
  t.equal(await left(), 1, 'b has not read it')
  await lookShared(reading, placeOf('b'))
  await change()
  for (const reader of ['a', 'b']) await lookShared(reading, placeOf(reader))
  await later()
  t.equal(await left(), 1, 'the second one was not there yet at the mark')
  await later()
  t.equal(await left(), 0)
})

t.test('another server has another history', async (t) => {
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  t.teardown(async () => { await client.end() })
  t.equal(await historyOf(client), await historyOf(client))
  await client.query('create role nobody; set role nobody')
  t.match(await historyOf(client), /^(?:\d+:[\dA-F]{8})?$/, 'or none, where it must not be asked')
})
