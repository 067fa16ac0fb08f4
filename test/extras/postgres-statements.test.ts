// What the triggers write down: statements of any size, values of any type, whoever writes.
import t from 'tap'
import { installSql, uninstallSql, type Watch } from '../../plugin/extras/postgres/index.js'
import { startPostgres } from '../helpers/postgres.js'
import { settled } from '../helpers/app.js'
import { CITIES, openApp, openSite, type Site } from './postgres-site.js'

const postgres = await startPostgres()
t.teardown(async () => { await postgres.stop() })

/** The lines written by a statement: columns and number of rows each, null for "all of them". */
async function written ({ query }: Site, sql: string): Promise<Array<[string | null, number | null, boolean]>> {
  await query('truncate route_cache.outbox')
  await query(sql)
  const rows = await query(`select columns::text, jsonb_array_length(rows) as count, exact
    from route_cache.outbox order by columns::text, count desc`)
  return rows.map(({ columns, count, exact }) => [columns, count, exact])
}

t.test('a line for each thousand rows, and of many the columns one by one', async (t) => {
  const site = await openSite(t, postgres.url)
  const whole = { tags: ['cities'], prefix: 'city:' }
  const app = await openApp(t, site, {
    watch: [{ table: 'cities', keys: 'city:{id}', whole }, { table: 'cities', tags: ['cities', 'country:{country}'] }]
  })
  await site.query("insert into cities select id, 'old', case when id % 2 = 0 then 'AD' else 'FR' end from generate_series(7, 20000) as id")
  await app.postgresInvalidation.caughtUp()

  t.same(await written(site, "update cities set name = 'x' where id = 1"), [['{country,id}', 1, false]])
  t.same(await written(site, "update cities set country = 'ES' where id = 7"), [['{country,id}', 2, false]], 'before and after')
  t.same(await written(site, "update cities set name = 'x' where id <= 2500"),
    [['{country,id}', 1000, false], ['{country,id}', 1000, false], ['{country,id}', 500, false]])
  t.same(await written(site, "update cities set name = 'x' where id <= 10000"), Array(10).fill(['{country,id}', 1000, false]))
  t.same(await written(site, "update cities set name = 'x' where id > 7 and id <= 20000"),
    [['{country}', 2, true], ['{id}', null, true], ['{}', 1, true]])
  t.same(await written(site, 'truncate cities'), [[null, null, false]])
  await app.postgresInvalidation.caughtUp()

  await site.query("insert into cities select id, 'old', case when id % 2 = 0 then 'AD' else 'FR' end from generate_series(1, 20000) as id")
  await site.query("insert into cities values (20001, 'old', 'ES')")
  await app.postgresInvalidation.caughtUp()
  const paths = ['/cities/1', '/cities/20001', '/countries/AD', '/countries/ES', '/all', '/other']
  await app.warm(...paths)
  const before = app.postgresInvalidation.targets
  await site.query("update cities set name = 'new' where id <= 20000")
  await app.postgresInvalidation.caughtUp()
  const states = []
  for (const path of paths) states.push((await app.look(path)).slice(0, 4))
  t.same(states, ['miss', 'miss', 'miss', 'hit ', 'miss', 'hit '], 'a key more than had to, by prefix; tags exactly')
  t.equal(app.postgresInvalidation.targets - before, 4, 'a prefix and three tags')
})

t.test('a column makes the text that its value makes in a request', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`create type mood as enum ('so so', 'gut');
    create table things (name text, number bigint, id uuid, isit boolean, price numeric, feeling mood, day date, at timestamptz, x float8, code char(5),
      host inet, net cidr)`)
  const columns = ['name', 'number', 'id', 'isit', 'price', 'feeling', 'day', 'at', 'x', 'code', 'host', 'net']
  const app = await openApp(t, site, { watch: columns.map((name) => ({ table: 'things', keys: `thing:${name}:{${name}}` })) })
  const paths = new Map<string, string>()
  for (const name of columns) app.cache.key(`thing:${name}:{${name}}`, { [name]: 1 })
  const rows: Record<string, string | null>[] = [
    { name: 'a:b{c} ü/,% ', number: '9007199254740993', id: '123e4567-e89b-12d3-a456-426614174000', isit: 'true', price: '1.50' },
    { name: "it's \\ \"quoted\" $route_cache$\n🎈", number: '-1', id: null, isit: 'false', price: '0' },
    { name: '', feeling: 'so so', day: '2026-02-01', at: '2026-02-01 12:00:00+00', x: '0.1' },
    { name: null, feeling: 'gut', day: null, at: null, x: '1e+300' },
    { name: '%-', number: '0', x: '0.30000000000000004', code: 'ab', host: '10.0.0.1', net: '10.0.0.1' },
    { code: 'ab   ', host: '10.0.0.0/8', net: '10.0.0.1/32' },
    { code: 'abcde', host: '::1', net: '::1' }
  ]
  // A session that writes its dates and numbers in another way.
  await site.query("set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set extra_float_digits = -5; set search_path = pg_temp")
  let inserted = 0
  for (const row of rows) {
    for (const name of columns) {
      const key = app.cache.key(`thing:${name}:{${name}}`, { [name]: row[name] ?? undefined })
      await app.cache.getOrSet(key, {}, () => 1)
      paths.set(key, name)
    }
    await settled(app)
    const names = Object.keys(row)
    await site.query(`insert into public.things (${names.join(', ')}) values (${names.map((_, i) => `$${i + 1}`).join(', ')})`, Object.values(row))
    inserted++
  }
  await app.postgresInvalidation.caughtUp()
  t.equal(inserted, rows.length)
  let loads = 0
  for (const key of paths.keys()) await app.cache.getOrSet(key, {}, () => ++loads)
  t.equal(loads, paths.size, 'all were invalidated')
})

/** A type, a value, and what a URL may have for it. What node-postgres gives a handler is asked. */
const VALUES: Array<[type: string, value: string | null, ...urls: Array<string | undefined>]> = [
  ['text', 'ä/b c', 'ä/b c'], ['varchar(9)', 'x ', 'x '], ['char(5)', 'ab', 'ab', 'ab   '], ['"char"', 'q', 'q'], ['name', 'n', 'n'], ['text', '', ''],
  ['text', '2026-02-01', '2026-02-01'], ['text', '1.50', '1.50'], ['text', 'NaN', 'NaN'], ['text', 't', 't'],
  ['smallint', '-7', '-7'], ['integer', '0', '0'], ['bigint', '9007199254740993', '9007199254740993'], ['oid', '4000000000', '4000000000'],
  ['numeric', '1.50', '1.50', '1.5'], ['numeric(10, 2)', '100', '100.00', '100'], ['numeric', '123456789012345678901234567890.5', '123456789012345678901234567890.5'],
  ['numeric', 'NaN', 'NaN'], ['numeric', '-0.10', '-0.10', '-0.1'],
  ['real', '0.1', '0.1'], ['double precision', '0.30000000000000004', '0.30000000000000004'], ['double precision', '1e15', '1000000000000000'],
  ['double precision', '1e21', '1e+21'], ['double precision', '0.00001', '0.00001'], ['double precision', '1.5e-7', '1.5e-7'], ['double precision', '-0', '-0', '0'],
  ['double precision', 'Infinity', 'Infinity'], ['real', '-Infinity', '-Infinity'], ['real', 'NaN', 'NaN'],
  ['boolean', 'true', 'true', 't'], ['boolean', 'false', 'false', 'f'], ['boolean', null, undefined],
  ['uuid', '123E4567-E89B-12D3-A456-426614174000', '123e4567-e89b-12d3-a456-426614174000'],
  ['date', '2026-02-01', '2026-02-01'], ['date', '0044-03-15 BC'], ['date', '12026-01-01'], ['date', 'infinity', 'infinity'],
  ['timestamp', '2026-02-01 12:00:00', '2026-02-01 12:00:00', '2026-02-01T12:00:00'], ['timestamp', '2026-02-01 12:00:00.123456', '2026-02-01 12:00:00.123456', '2026-02-01T12:00:00.123456'],
  ['timestamptz', '2026-02-01 21:00:00+09', '2026-02-01T12:00:00.000Z', '2026-02-01T12:00:00Z', '2026-02-01 12:00:00+00'],
  ['timestamptz', '2026-02-01 12:00:00.1234Z', '2026-02-01T12:00:00.123Z', '2026-02-01T12:00:00.1234Z'], ['timestamptz', '-infinity', '-infinity'],
  ['time', '12:00:00', '12:00:00'], ['timetz', '12:00:00+09', '12:00:00+09'], ['interval', '1 day 02:00:00', '1 day 02:00:00'],
  ['inet', '10.0.0.1', '10.0.0.1'], ['inet', '10.0.0.0/8', '10.0.0.0/8'], ['inet', '::1', '::1'], ['cidr', '10.0.0.1', '10.0.0.1', '10.0.0.1/32'], ['cidr', '::1', '::1', '::1/128'],
  ['macaddr', '08:00:2b:01:02:03', '08:00:2b:01:02:03'], ['bit(4)', '1010', '1010'], ['xml', '<a/>', '<a/>'], ['pg_lsn', '0/16B3748', '0/16B3748'],
  ['mood', 'so so', 'so so'], ['year', '2026', '2026'], ['years', '2026', '2026']
]

t.test('each type: what node-postgres gives a handler, and what a URL has', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`create type mood as enum ('so so', 'gut'); create domain year as integer check (value > 0); create domain years as year;
    create table typed (${VALUES.map(([type], i) => `c${i} ${type}`).join(', ')})`)
  const template = (i: number): string => `c${i}:{c${i}}`
  const app = await openApp(t, site, { watch: [{ table: 'typed', keys: VALUES.map((_, i) => template(i)) }] })
  const handler = await site.connect()
  await site.query("set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set intervalstyle = 'iso_8601'; set extra_float_digits = -5; set search_path = pg_temp")
  for (const [i, [type, value, ...urls]] of VALUES.entries()) {
    const { rows: [row] } = await handler.query(`select $1::${type} as value`, [value])
    const given = typeof row.value === 'object' && row.value !== null && !(row.value instanceof Date) ? urls[0] : row.value
    const keys = [given ?? undefined, ...urls].map((one) => app.cache.key(template(i), { [`c${i}`]: one }))
    const other = app.cache.key(template(i), { [`c${i}`]: 'another one' })
    for (const key of [...keys, other]) await app.cache.getOrSet(key, {}, () => 'old')
    await settled(app)
    await site.query(`insert into public.typed (c${i}) values ($1)`, [value])
    await app.postgresInvalidation.caughtUp()
    for (const key of keys) t.equal(await app.cache.getOrSet(key, {}, () => 'new'), 'new', `${type} ${value}: ${key}`)
    t.equal(await app.cache.getOrSet(other, {}, () => 'new'), 'old', `${type}: another value`)
  }
})

t.test('types whose texts cannot agree are refused', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query('create type pair as (a integer, b integer); create domain document as jsonb; create domain documents as document; create domain list as integer[]')
  for (const type of ['money', 'bytea', 'json', 'jsonb', 'integer[]', 'int4range', 'int4multirange', 'pair', 'regclass', 'regproc', 'document', 'documents', 'list']) {
    await site.query(`drop table if exists typed; create table typed (c ${type})`)
    await t.rejects(openApp(t, site, { watch: [{ table: 'typed', keys: 'x:{c}' }] }), { code: 'FRC_OPTION', message: /"\{c\}"; the column's type is / }, type)
  }
})

/** Each of them names a schema, a table in it, a column of that, and the schema of the outbox. */
const NAMES = ['a\x01b\x02%1$s\x7f', '%I %%', 'E\'\\', 'we"ird.\'; drop table cities; --\nb', '$route_cache$ $1 $$', '$user', 'select', 'PUBLIC', 'a\t/*\rb', '😀'.repeat(15) + 'abc',
  'a\u2028b', 'a.b', '..', 'child', 'r']

t.test('names of any kind', async (t) => {
  const site = await openSite(t, postgres.url)
  const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`
  for (const name of NAMES) {
    const [own, table] = [quote(name), `${quote(name)}.${quote(name)}`]
    await site.query(`create schema ${own}; create table ${table} (id text, ${own} text) partition by list (id);
      create table ${own}.k partition of ${table} for values in ('1')`)
    for (const schema of [name, bounded(`out ${name}`)]) {
      const watch: Watch[] = [{ schema: name, table: name, keys: `odd:{${name}}`, whole: { prefix: 'odd:' } }]
      const options = { schema, replicated: true }
      const app = await openApp(t, site, { watch, ...options })
      await site.query(installSql(watch, options))
      const writes: Array<[string, string?]> = [[`insert into ${table} values ('1', '1')`], [`update ${own}.k set ${own} = '1'`],
        [`set session_replication_role = replica; delete from ${table}; reset session_replication_role`],
        [`insert into ${own}.k2 values ('2', '2')`, `create table ${own}.k2 partition of ${table} for values in ('2')`], [`drop table ${own}.k2`],
        [`alter table ${table} alter ${own} type text collate "C"`], [`truncate ${table}`]]
      for (const [write, before = 'select'] of writes) {
        await site.query(before)
        await app.postgresInvalidation.caughtUp()
        for (const key of ['odd:1', 'odd:2']) await app.cache.getOrSet(key, {}, () => 'old')
        await settled(app)
        await site.query(write)
        await app.postgresInvalidation.caughtUp()
        const key = write.includes("'2'") ? 'odd:2' : 'odd:1'
        t.equal(await app.cache.getOrSet(key, {}, () => 'new'), 'new', write.replace(/[^ -~]/gu, '?'))
        await settled(app)
        await app.cache.invalidate({ prefix: 'odd:' })
      }
      t.same(app.lines.filter(({ level }) => Number(level) >= 40), [])
      await app.close()
      await site.query(uninstallSql(watch, options))
      t.same(await site.query(`select tgname from pg_trigger where not tgisinternal union all select evtname from pg_event_trigger
        union all select proname from pg_proc where prosrc like '%fastify-route%' union all select relname from pg_class where relname in ('outbox', 'readers') and relkind = 'r'`), [])
      await site.query(`insert into ${table} values ('1', '1')`)
    }
  }
  t.equal((await site.query('select count(*)::integer as n from cities'))[0].n, 6)
})

/** What Postgres would keep of it. */
function bounded (name: string): string {
  return Buffer.byteLength(name) <= 63 ? name : name.slice(4)
}

t.test('two tables whose names are one when they are put together', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query('create schema x; create schema "x.a"; create table x."a.b" (id integer, one integer); create table "x.a".b (id integer, two integer)')
  const watch: Watch[] = [{ schema: 'x', table: 'a.b', keys: 'one:{one}' }, { schema: 'x.a', table: 'b', keys: 'two:{two}' }]
  await site.query(installSql(watch))
  const app = await openApp(t, site, { watch, install: false })
  for (const key of ['one:1', 'one:2', 'two:1', 'two:2']) await app.cache.getOrSet(key, {}, () => 'old')
  await settled(app)
  await site.query('insert into x."a.b" values (1, 1); insert into "x.a".b values (2, 2)')
  await app.postgresInvalidation.caughtUp()
  const found = await Promise.all(['one:1', 'one:2', 'two:1', 'two:2'].map(async (key) => await app.cache.getOrSet(key, {}, () => 'new')))
  t.same(found, ['new', 'old', 'old', 'new'])
})

t.test('a NUL in a name is refused', async (t) => {
  const wrong: Array<[Watch, RegExp]> = [[{ ...CITIES, table: 'a\0' }, /table is/], [{ ...CITIES, schema: 'a\0' }, /schema is/], [{ ...CITIES, keys: '{a\0}' }, /keys is .* NUL/]]
  for (const [watch, message] of wrong) t.throws(() => installSql([watch]), { code: 'FRC_OPTION', message })
  t.throws(() => installSql([CITIES], { schema: 'a\0' }), { code: 'FRC_OPTION' })
  const site = await openSite(t, postgres.url)
  await t.rejects(openApp(t, site, { reader: 'a\0' }), { code: 'FRC_OPTION' })
})

t.test('a table is searched for where the connection\'s own role does, also in the schema that "$user" is', async (t) => {
  const site = await openSite(t, postgres.url)
  const role = `user "${new URL(site.url).pathname.slice(1)}" %s`
  const quoted = `"${role.replaceAll('"', '""')}"`
  await site.query(`create role ${quoted} superuser login password 'u'`)
  await site.query(installSql([CITIES]))
  const theirs = { ...site, url: Object.assign(new URL(site.url), { username: encodeURIComponent(role), password: 'u' }).href }
  await (await openApp(t, theirs, { install: false })).close()
  await site.query(`create schema ${quoted}; create table ${quoted}.cities (like public.cities)`)
  await t.rejects(openApp(t, theirs, { install: false }), { code: 'FRC_POSTGRES', message: /lacks the triggers of cities/ }, 'it is another table now')
  await openApp(t, theirs, { install: false, watch: [{ ...CITIES, table: 'public.cities' }] })
  const app = await openApp(t, theirs)
  await app.warm('/cities/1', '/cities/2')
  await site.query(`insert into ${quoted}.cities values (2, 'new', 'FR')`)
  await app.postgresInvalidation.caughtUp()
  t.same([await app.look('/cities/1'), await app.look('/cities/2')], ['hit undefined', 'miss new'])
  await site.query(`${uninstallSql([CITIES])}drop schema ${quoted} cascade`)
  t.same(await site.query('select tgname from pg_trigger where not tgisinternal'), [])
})

t.test('a writer never fails because of it', async (t) => {
  const site = await openSite(t, postgres.url)
  const app = await openApp(t, site)
  const writer = await site.connect()
  await writer.query('create role writer; grant select, insert, update, delete on cities to writer; set role writer')
  await app.warm('/cities/1', '/countries/ES')
  await writer.query("update cities set name = 'theirs' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss theirs', 'without any right to the outbox')
  await t.rejects(writer.query('select * from route_cache.outbox'), /permission denied/)

  await app.warm('/cities/1', '/cities/2', '/countries/ES')
  await site.query('alter table cities rename column country to land')
  await app.postgresInvalidation.caughtUp()
  await writer.query("update cities set name = 'again' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss again')
  t.equal((await app.look('/cities/2')).slice(0, 4), 'miss', 'a column that is gone: all of them')

  await site.query('alter table cities rename column land to country; alter table cities rename to towns')
  await site.query('create view cities as select * from towns')
  await app.postgresInvalidation.caughtUp()
  await app.warm('/cities/1', '/cities/2')
  await site.query("update towns set name = 'renamed' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss renamed', 'a table that has another name')
  t.equal((await app.look('/cities/2')).slice(0, 4), 'hit ')
})

t.test('writers that say themselves what changes', async (t) => {
  const site = await openSite(t, postgres.url)
  const app = await openApp(t, site)
  const own = await site.connect()
  await app.warm('/cities/1')
  await own.query("set route_cache.skip = 'route_cache'; update cities set name = 'own' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'hit old')
  await own.query("set route_cache.skip = 'another'; update cities set name = 'new' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss new')
})

t.test('equal to the column is not equal to the cache', async (t) => {
  const site = await openSite(t, postgres.url)
  const [hasIcu] = await site.query("select 1 from pg_collation where collprovider = 'i'")
  t.ok(hasIcu, 'this Postgres has ICU')
  await site.query(`create collation lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table words (word text collate lax)`)
  const app = await openApp(t, site, { watch: [{ table: 'words', keys: 'word:{word}' }] })
  for (const key of ['word:a', 'word:A']) await app.cache.getOrSet(key, {}, () => 'old')
  await settled(app)
  await site.query("insert into words values ('a'), ('A')")
  await app.postgresInvalidation.caughtUp()
  for (const key of ['word:a', 'word:A']) t.equal(await app.cache.getOrSet(key, {}, () => 'new'), 'new', key)
})
