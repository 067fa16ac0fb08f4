// Never in the writer's way: each statement ends as it would without the triggers, and what it changed is seen.
import t from 'tap'
import pg from 'pg'
import { installSql, uninstallSql, type Watch } from '../../plugin/extras/postgres/index.js'
import { settled } from '../helpers/app.js'
import { startPostgres } from '../helpers/postgres.js'
import { until } from '../helpers/until.js'
import { CITIES, onRedis, openApp, openSite } from './postgres-site.js'

// A server where transactions can be prepared.
const postgres = await startPostgres({ settings: { max_prepared_transactions: '5', wal_level: 'logical' } })
t.teardown(async () => { await postgres.stop() })
const version = await majorOf(postgres.url)

/** Overloads of what Postgres has, for all pairs of types that a catalogue has. Gives how many. */
const shadowsSql = `create function shadow() returns integer language plpgsql as $do$
declare
  types text[] := array['text', 'name', 'oid', 'regclass', 'regnamespace', 'regprocedure', 'bigint', 'int2', '"char"', 'boolean', 'xid8', 'jsonb', 'text[]',
    'int2vector', 'pg_snapshot', 'tid', 'timestamptz', 'interval', 'json', 'integer'];
  body text := 'language plpgsql as $$ begin insert into public.caught values (current_user); return null; end $$';
  one text;
  two text;
  word text;
  n integer := 0;
begin
  foreach one in array types loop
    foreach word in array array['quote_ident', 'unnest', 'json_agg', 'jsonb_build_array', 'pg_column_size', 'octet_length', 'to_regclass', 'hashtext',
      'pg_get_userbyid', 'current_setting', 'row_number', 'array_agg', 'pg_notify', 'length'] loop
      begin execute format('create function public.%s(%s) returns text %s', word, one, body); n := n + 1; exception when others then null; end;
    end loop;
    foreach two in array types loop
      foreach word in array array['format', 'string_agg', 'concat', 'strpos', 'has_table_privilege', 'set_config', 'starts_with', 'nullif',
        'jsonb_build_array', 'json_build_object', 'json_object_agg', 'pg_visible_in_snapshot', 'left'] loop
        begin execute format('create function public.%s(%s, %s) returns text %s', word, one, two, body); n := n + 1; exception when others then null; end;
      end loop;
      foreach word in array array['=', '<>', '<', '>', '>=', '||', '~', '~~'] loop
        begin
          execute format('create function public.op(%s, %s) returns %s %s', one, two, case word when '||' then 'text' else 'boolean' end, body);
        exception when duplicate_function then null; end;
        begin
          execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.op)', word, one, two); n := n + 1;
        exception when others then null; end;
      end loop;
    end loop;
  end loop;
  return n;
end $do$; select shadow() as n`

async function majorOf (url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows: [row] } = await client.query<{ version: string }>("select current_setting('server_version_num') as version")
  await client.end()
  return Math.floor(Number(row!.version) / 10_000)
}

/** Of a migration: each of its blocks is one. */
function statementsOf (sql: string): string[] {
  return sql.split(/^(?=DO \$)/m)
}

interface Case {
  title: string
  /** Before the app starts. */
  before?: string
  watch?: Watch[]
  /** When it runs. */
  meanwhile?: string
  write: string
  /** The first major version of Postgres that knows it; default: all. */
  since?: number
  /** What the city is called then; default `new`. */
  expected?: string
  options?: Parameters<typeof openApp>[2]
}

const WHOLE = { tags: ['cities'], prefix: 'city:' }
const LONG = "repeat(md5('x'), 100)"

const PARTED = "drop table cities; create table cities (id integer, name text not null, country text) partition by list (country); create table c_ad partition of cities for values in ('AD'); create table c_rest partition of cities default; insert into cities values (1, 'old', 'FR'), (2, 'old', 'AD')"
const INHERITED = "create table towns () inherits (cities); delete from cities; insert into towns values (1, 'old', 'FR')"

/** The city is read from what is made of a table, and that is watched. */
const READ_BY_VIEW = 'alter table cities rename to stored'
const STORED: Watch[] = [{ ...CITIES, table: 'stored' }]

const CASES: Case[] = [
  { title: 'two-phase commit', write: "begin; update cities set name = 'new' where id = 1; prepare transaction 'p'; commit prepared 'p'" },
  { title: 'a savepoint that is rolled back to', write: "begin; update cities set name = 'new' where id = 1; savepoint s; delete from cities; rollback to s; commit" },
  { title: 'MERGE', since: 15, write: "merge into cities using (values (1)) as v (id) on v.id = cities.id when matched then update set name = 'new'" },
  { title: 'a serializable transaction', write: "begin isolation level serializable; update cities set name = 'new' where id = 1; commit" },
  { title: 'a table that got another name', meanwhile: 'alter table cities rename to towns', write: "update towns set name = 'new' where id = 1; alter table towns rename to cities" },
  { title: 'a table that went to another schema', meanwhile: 'create schema geo; alter table cities set schema geo', write: "update geo.cities set name = 'new' where id = 1; alter table geo.cities set schema public" },
  { title: 'a column that is gone', meanwhile: 'alter table cities drop column country', write: "update cities set name = 'new' where id = 1" },
  { title: 'a column of another type', meanwhile: 'alter table cities alter country type text[] using array[country]', write: "update cities set name = 'new' where id = 1" },
  { title: 'a column that became virtual', since: 18, meanwhile: 'alter table cities drop column country; alter table cities add column country text generated always as (upper(name)) virtual', write: "update cities set name = 'new' where id = 1" },
  { title: 'more than 256 MB of values', watch: [{ table: 'cities', keys: ['city:{id}', 'named:{name}'], whole: WHOLE }], meanwhile: "insert into cities select i, repeat('x', 300000), 'AD' from generate_series(10, 1000) as i", write: "update cities set name = case id when 1 then 'new' else name || id end" },
  { title: 'long values', watch: [{ table: 'cities', keys: ['city:{id}', 'named:{name}'], whole: WHOLE }], write: `update cities set name = case id when 1 then 'new' else ${LONG} || id end` },
  { title: 'columns named as the function\'s own words', before: 'alter table cities add found text, add tg_op text, add new text, add line text, add number text, add r text, add c0 text, add changed_rows text', watch: [{ table: 'cities', keys: ['city:{id}', ...['found', 'tg_op', 'new', 'line', 'number', 'r', 'c0', 'changed_rows'].map((name) => `x:{${name}}`)] }], write: "update cities set name = 'new' where id = 1" },
  { title: 'the outbox takes no lines', meanwhile: 'alter table route_cache.outbox add constraint c check (columns is null)', write: "update cities set name = 'new' where id = 1" },
  { title: 'settings of the writer\'s own', write: "set standard_conforming_strings = off; set plpgsql.extra_errors = 'all'; set timezone = 'Asia/Tokyo'; set search_path = pg_temp; update public.cities set name = 'new' where id = 1; reset all" },
  { title: 'INSERT', before: 'delete from cities', write: "insert into cities values (1, 'new', 'FR')" },
  { title: 'DELETE', write: 'delete from cities where id = 1', expected: 'undefined' },
  { title: 'TRUNCATE', write: 'truncate cities', expected: 'undefined' },
  { title: 'an upsert', write: "insert into cities values (1, 'x', 'FR') on conflict (id) do update set name = 'new'" },
  { title: 'COPY', before: 'delete from cities', write: "copy cities from program 'printf \"1\\tnew\\tFR\\n\"'" },
  { title: 'a WITH that writes', write: "with gone as (delete from cities where id = 1 returning *) insert into cities select id + 100, 'x', country from gone", expected: 'undefined' },
  { title: 'a cursor', write: "begin; declare c cursor for select * from cities where id = 1 for update; fetch c; update cities set name = 'new' where current of c; commit" },
  { title: 'a prepared statement', write: "prepare p as update cities set name = $1 where id = 1; execute p ('new')" },
  { title: 'a block that catches an error', write: "do $$ begin update cities set name = 'new' where id = 1 %% begin update cities set id = 1 %% exception when others then null %% end %% end $$" },
  { title: 'a view', before: 'create view seen as select * from cities', write: "update seen set name = 'new' where id = 1" },
  { title: 'a rule', before: "create table orders (id integer); create rule r as on insert to orders do also update cities set name = 'new' where id = new.id", write: 'insert into orders values (1)' },
  { title: 'a trigger of another table', before: "create table orders (id integer); create function f() returns trigger language plpgsql as $$ begin update cities set name = 'new' where id = new.id; return new; end $$; create trigger t before insert on orders for each row execute function f()", write: 'insert into orders values (1)' },
  { title: 'a foreign key that cascades, deferred', before: "create table countries (code text primary key); insert into countries values ('AD'), ('FR'), ('ES'); alter table cities add foreign key (country) references countries on delete cascade deferrable initially deferred", write: "begin; delete from countries where code = 'FR'; commit", expected: 'undefined' },
  { title: 'tables of the writer\'s by our names', write: "create temp table outbox (x text); create temp table changed_rows (x text); create temp table new_rows (x text); update cities set name = 'new' where id = 1; discard temp" },
  { title: 'a partitioned table', before: PARTED, write: "update cities set name = 'new', country = 'AD' where id = 1" },
  { title: 'a statement on a partition', before: PARTED, write: "update c_rest set name = 'new' where id = 1" },
  { title: 'a statement on a partition of a partition', before: `${PARTED}; create table c_es partition of cities for values in ('ES') partition by range (id); create table c_es_1 partition of c_es for values from (0) to (9); insert into cities values (9, 'x', 'FR'); delete from cities where id = 1; insert into cities values (1, 'old', 'ES')`, write: "update c_es_1 set name = 'new'" },
  { title: 'COPY into a partition', before: `${PARTED}; delete from cities`, write: "copy c_ad from program 'printf \"1\\tnew\\tAD\\n\"'" },
  { title: 'TRUNCATE of a partition', before: PARTED, write: 'truncate c_rest', expected: 'undefined' },
  { title: 'DROP of a partition', before: PARTED, write: 'drop table c_rest', expected: 'undefined' },
  { title: 'DETACH of a partition', before: PARTED, write: 'alter table cities detach partition c_rest', expected: 'undefined' },
  { title: 'ATTACH of a partition', before: `${PARTED}; delete from cities`, meanwhile: "create table c_es (like cities); insert into c_es values (1, 'new', 'ES')", write: "alter table cities attach partition c_es for values in ('ES')" },
  { title: 'a partition that was made later', before: PARTED, meanwhile: "delete from cities; create table c_es partition of cities for values in ('ES')", write: "insert into c_es values (1, 'new', 'ES')" },
  { title: 'a partition that was attached later', before: PARTED, meanwhile: "delete from cities; create table c_es (like cities); alter table cities attach partition c_es for values in ('ES')", write: "insert into c_es values (1, 'new', 'ES')" },
  { title: 'an inherited table', before: INHERITED, write: "update towns set name = 'new'" },
  { title: 'DROP of an inherited table', before: INHERITED, write: 'drop table towns', expected: 'undefined' },
  { title: 'a table that inherits no more', before: INHERITED, write: 'alter table towns no inherit cities', expected: 'undefined' },
  { title: 'DROP SCHEMA', before: `${INHERITED}; create schema more; alter table towns set schema more`, write: 'drop schema more cascade', expected: 'undefined' },
  { title: 'ALTER … USING of a parent', before: 'create table places (id integer, name text, country text); alter table cities inherit places', write: "alter table places alter name type varchar using 'new'" },
  { title: 'REFRESH of a materialized view, over a view', before: `${READ_BY_VIEW}; create view named as select id, name as called, country from stored; create materialized view cities as select id, called as name, country from named`, watch: STORED, meanwhile: "update stored set name = 'new'", write: 'refresh materialized view cities' },
  { title: 'REFRESH … CONCURRENTLY', before: `${READ_BY_VIEW}; create materialized view cities as select * from stored; create unique index on cities (id)`, watch: STORED, meanwhile: "update stored set name = 'new'", write: 'refresh materialized view concurrently cities' },
  { title: 'REFRESH of a materialized view of a partition\'s parent', before: "drop table cities; create table stored (id integer, name text, country text) partition by list (id); create table stored_1 partition of stored for values in (1); insert into stored values (1, 'old', 'FR'); create materialized view cities as select * from stored", watch: [{ ...CITIES, table: 'stored_1' }], meanwhile: "update stored set name = 'new'", write: 'refresh materialized view cities' },
  { title: 'a materialized view that takes another\'s place', before: `${READ_BY_VIEW}; create materialized view cities as select * from stored`, watch: STORED, meanwhile: "create materialized view next_cities as select id, 'new' as name, country from stored", write: 'begin; alter materialized view cities rename to former; alter materialized view next_cities rename to cities; commit' },
  { title: 'another label of an enum', before: "create type word as enum ('old', 'x'); alter table cities alter name type word using name::word", write: "alter type word rename value 'old' to 'new'" },
  { title: 'another label of an enum below a domain', before: "create type word as enum ('old', 'x'); create domain words as word; alter table cities alter name type words using name::word", write: "alter type word rename value 'old' to 'new'" },
  { title: 'an attribute of a composite type', before: "create type words as (word text, more text); alter table cities rename name to was; alter table cities add name words; update cities set name = row('(old', 'x')", write: 'alter type words drop attribute word cascade', expected: '(x)' },
  { title: 'DROP TYPE that takes a column along', before: "create type word as enum ('x'); alter table cities rename name to was; alter table cities add name text default 'new', add more word; alter table cities alter name set default 'new'; update cities set name = 'old'", write: 'begin; set local session_replication_role = replica; update cities set name = \'new\'; set local session_replication_role = origin; drop type word cascade; commit' },
  { title: 'SELECT with a function that writes, of another owner', before: "create function f() returns void language sql security definer set search_path = public as $$ update cities set name = 'new' where id = 1 $$", write: 'select f()' },
  { title: 'a foreign key that sets null', before: "create table words (word text primary key); insert into words values ('old'); alter table cities alter name drop not null, add foreign key (name) references words on delete set null", write: 'delete from words', expected: 'null' },
  { title: 'a foreign key that is updated', before: "create table words (word text primary key); insert into words values ('old'); alter table cities add foreign key (name) references words on update cascade", write: "update words set word = 'new'" },
  { title: 'TRUNCATE … CASCADE', before: "create table words (word text primary key); insert into words values ('old'); alter table cities add foreign key (name) references words", write: 'truncate words cascade', expected: 'undefined' },
  { title: 'a rule DO INSTEAD', before: "create table orders (id integer); create rule r as on insert to orders do instead update cities set name = 'new' where id = new.id", write: 'insert into orders values (1)' },
  { title: 'a view with an INSTEAD OF trigger', before: 'create view seen as select * from cities; create function f() returns trigger language plpgsql as $$ begin update cities set name = new.name where id = new.id %% return new %% end $$; create trigger t instead of update on seen for each row execute function f()', write: "update seen set name = 'new' where id = 1" },
  { title: 'COPY … FREEZE', write: "begin; truncate cities; copy cities from program 'printf \"1\\tnew\\tFR\\n\"' with (freeze); commit" },
  { title: 'row level security, forced', before: 'alter table cities enable row level security, force row level security; create policy p on cities using (id < 99)', write: "update cities set name = 'new' where id = 1" },
  { title: 'an unlogged table', before: 'alter table cities set unlogged', write: "update cities set name = 'new' where id = 1" },
  { title: 'a prepared transaction that is rolled back, then a write', write: "begin; delete from cities; prepare transaction 'q'; rollback prepared 'q'; update cities set name = 'new' where id = 1" },
  { title: 'a writer in LATIN1, with other texts', write: "set client_encoding = 'LATIN1'; set bytea_output = 'escape'; set datestyle = 'SQL, DMY'; set extra_float_digits = -9; set row_security = off; update cities set name = 'new' where id = 1; reset all" },
  { title: 'a writer whose transactions only read by default', write: "set default_transaction_read_only = on; begin read write; update cities set name = 'new' where id = 1; commit; reset all" },
  { title: 'ALTER … USING', write: "alter table cities alter name type text using 'new'" },
  { title: 'a writer who replicates', options: { replicated: true }, write: "set session_replication_role = replica; update cities set name = 'new' where id = 1; reset session_replication_role" },
  { title: 'one who replicates a DELETE', options: { replicated: true }, write: 'set session_replication_role = replica; delete from cities where id = 1; reset session_replication_role', expected: 'undefined' },
  { title: 'one who replicates a TRUNCATE', options: { replicated: true }, write: 'set session_replication_role = replica; truncate cities; reset session_replication_role', expected: 'undefined' },
  { title: 'one who replicates into a partition', before: PARTED, options: { replicated: true }, write: "set session_replication_role = replica; update cities set name = 'new', country = 'AD' where id = 1; reset session_replication_role" },
  { title: 'one who replicates long values', options: { replicated: true, watch: [{ table: 'cities', keys: ['city:{id}', 'named:{name}'], whole: WHOLE }] }, write: `set session_replication_role = replica; insert into cities values (99, ${LONG}, 'AD'); update cities set name = 'new' where id = 1; reset session_replication_role` }
]

for (const { title, before, watch = [CITIES], meanwhile, write, expected = 'new', options } of CASES.filter(({ since = 0 }) => since <= version)) {
  t.test(title, async (t) => {
    const site = await openSite(t, postgres.url)
    if (before !== undefined) await site.query(before.replaceAll(' %%', ';'))
    const app = await openApp(t, site, { watch, ...options })
    if (meanwhile !== undefined) await site.query(meanwhile)
    await app.postgresInvalidation.caughtUp()
    await app.warm('/cities/1')
    const writer = await site.connect()
    // One by one: a transaction can't be prepared amid others.
    for (const sql of write.split('; ')) await writer.query(sql.replaceAll(' %%', ';'))
    await app.postgresInvalidation.caughtUp()
    t.equal(await app.look('/cities/1'), `miss ${expected}`)
    t.equal(app.lines.filter(({ msg }) => String(msg).includes('does not understand')).length, 0)
  })
}

t.test('rows that logical replication brings', async (t) => {
  const [from, to] = [await openSite(t, postgres.url), await openSite(t, postgres.url)]
  const slot = new URL(to.url).pathname.slice(1)
  await from.query('create publication p for table cities')
  await from.query('select pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput'])
  const url = new URL(from.url)
  await to.query(`create subscription s connection 'host=127.0.0.1 port=${url.port} user=postgres password=${url.password} dbname=${url.pathname.slice(1)}'
    publication p with (create_slot = false, slot_name = '${slot}', copy_data = false)`)
  t.teardown(async () => { await to.query('drop subscription s') })
  const app = await openApp(t, to, { replicated: true, poll: '100ms' })
  const cases: Array<[string, string]> = [["update cities set name = 'new' where id = 1", 'new'], ['delete from cities where id = 1', 'undefined'],
    ["insert into cities values (1, 'again', 'FR')", 'again'], ['truncate cities', 'undefined']]
  for (const [sql, expected] of cases) {
    await app.warm('/cities/1', '/other')
    await from.query(sql)
    await until(async () => await app.look('/cities/1') === `hit ${expected}`, sql)
  }
  t.pass('each was seen')
})

t.test('where transactions can\'t be prepared, writers notify; or as the option says', async (t) => {
  // The smallest queue there is.
  const plain = await startPostgres(version < 17 ? {} : { settings: { max_notify_queue_pages: '64' } })
  t.teardown(async () => { await plain.stop() })
  const cases = [
    [plain, undefined, true], [plain, false, false], [postgres, undefined, false], [postgres, true, true]
  ] as const
  for (const [server, notify, expected] of cases) {
    const site = await openSite(t, server.url)
    await site.query(installSql([CITIES], notify === undefined ? {} : { notify }))
    const listener = await site.connect()
    let heard = 0
    listener.on('notification', () => { heard++ })
    await listener.query('listen route_cache')
    await site.query("update cities set name = 'x' where id = 1")
    await listener.query('select')
    t.equal(heard === 1, expected, `${server === plain} ${notify}`)
  }
  if (version < 17) return

  const [telling, silent] = [await openSite(t, plain.url), await openSite(t, plain.url)]
  await telling.query(installSql([CITIES]))
  const app = await openApp(t, silent, { notify: false, poll: '100ms' })
  await app.warm('/cities/1')
  const holder = await telling.connect()
  await holder.query('listen another')
  await holder.query('begin; select 1')
  await t.rejects(async () => { for (;;) await telling.query("select pg_notify('another', repeat('x', 7900))") }, { message: /NOTIFY queue/ })
  await t.rejects(telling.query("update cities set name = 'new' where id = 1"), { message: /too many notifications in the NOTIFY queue/ }, 'as documented')
  await silent.query("update cities set name = 'new' where id = 1")
  await until(async () => await app.look('/cities/1') === 'hit new', 'it is seen by the poll')
  await holder.query('commit')
})

t.test('children that come and go', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(PARTED)
  const app = await openApp(t, site)
  const triggers = async (): Promise<Record<string, number>> => Object.fromEntries((await site.query(`select tgrelid::regclass as name, count(*)::integer as n
    from pg_trigger where not tgisinternal group by 1 order by 1`)).map(({ name, n }) => [name, n]))
  t.same(await triggers(), { cities: 4, c_ad: 4, c_rest: 4 })
  await site.query("create table c_es partition of cities for values in ('ES')")
  t.same(await triggers(), { cities: 4, c_ad: 4, c_rest: 4, c_es: 4 })
  await site.query('alter table cities detach partition c_es; drop table c_ad')
  t.same(await triggers(), { cities: 4, c_rest: 4 }, 'one that has left is nobody\'s business')
  await app.postgresInvalidation.caughtUp()
  await app.warm('/cities/1')
  await site.query("insert into c_es values (9, 'x', 'ES')")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'hit old')
  await site.query(uninstallSql([CITIES]))
  t.same(await triggers(), {})
  t.same(await site.query('select evtname from pg_event_trigger'), [])
  await site.query('alter table c_rest add column more text; drop table c_es').catch(() => {})
})

t.test('event triggers of an older version are installed anew', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  for (const own of ['.ddl', '.drop']) {
    await site.query(`create or replace function route_cache."${own}"() returns event_trigger language plpgsql security definer
      as $$\n-- fastify-route-cache 2 {"ddl":1,"notify":null}\nbegin end $$`)
    await openApp(t, site)
    await site.query('delete from route_cache.outbox; create domain d as text; alter table cities add x d')
    t.match(await site.query('select relation::regclass::text as name from route_cache.outbox'), [{ name: 'cities' }], own)
    await site.query('delete from route_cache.outbox; drop domain d cascade')
    t.match(await site.query('select relation::integer from route_cache.outbox'), [{ relation: 0 }], own)
  }
})

/** Tables, what is watched, a statement, and the keys that it ends. */
const FAMILIES: Array<[string, Watch[], string, string[]]> = [
  ['create table a (id integer); create table b (id integer); create table kid () inherits (a, b)', [{ table: 'a', keys: 'a:{id}' }, { table: 'b', keys: 'b:{id}' }], 'insert into kid values (1)', ['a:1', 'b:1']],
  ['create table a (id integer); create table b (id integer, x integer); create table kid () inherits (a, b)', [{ table: 'a', keys: 'a:{id}' }, { table: 'b', keys: 'b:{x}' }], 'insert into kid values (1, 1)', ['a:1', 'b:1']],
  ['create table a (id integer) partition by list (id); create table k partition of a for values in (1)', [{ table: 'a', keys: 'a:{id}' }, { table: 'k', keys: 'b:{id}' }], 'insert into k values (1)', ['a:1', 'b:1']],
  ['create table a (id integer) partition by list (id); create table k partition of a for values in (1)', [{ table: 'k', keys: 'b:{id}' }, { table: 'a', keys: 'a:{id}' }], 'insert into k values (1)', ['a:1', 'b:1']],
  ['create table a (id integer) partition by list (id); create table k partition of a for values in (1)', [{ table: 'k', keys: 'b:{id}' }, { table: 'a', keys: 'a:{id}' }], 'insert into a values (1)', ['a:1', 'b:1']],
  ['create table a (id integer); create table b () inherits (a); create table c () inherits (b)', [{ table: 'a', keys: 'a:{id}' }, { table: 'b', keys: 'b:{id}' }], 'insert into c values (1)', ['a:1', 'b:1']]
]
for (const [i, [sql, watch, write, keys]] of FAMILIES.entries()) {
  for (const mode of ['install', 'sql']) {
    t.test(`tables of one family that are watched, ${i}, by ${mode}`, async (t) => {
      const site = await openSite(t, postgres.url)
      await site.query(sql)
      if (mode === 'sql') await site.query(installSql(watch))
      const app = await openApp(t, site, { watch, install: mode === 'install' })
      for (const key of keys) await app.cache.getOrSet(key, {}, () => 'old')
      await settled(app)
      await site.query(write)
      await app.postgresInvalidation.caughtUp()
      for (const key of keys) t.equal(await app.cache.getOrSet(key, {}, () => 'new'), 'new', key)
      await site.query(uninstallSql(watch))
    })
  }
}

t.test('temporary children are their session\'s business', async (t) => {
  const site = await openSite(t, postgres.url)
  const session = await site.connect()
  const triggers = async (): Promise<unknown> => await site.query('select distinct tgrelid::regclass::text as name from pg_trigger where not tgisinternal')
  await session.query("create temp table before () inherits (cities); insert into before values (7, 'x', 'FR')")
  await site.query(installSql([CITIES]))
  t.same(await triggers(), [{ name: 'cities' }], 'one that is there')
  await session.query('create temp table kids () inherits (cities)')
  await site.query(installSql([CITIES]))
  t.same(await triggers(), [{ name: 'cities' }], 'one that comes')
  const app = await openApp(t, site, { install: false })
  await openApp(t, site)
  t.same(await triggers(), [{ name: 'cities' }])
  await session.query("update cities set name = 'new'; delete from route_cache.outbox; drop table kids, before")
  t.same(await site.query('select * from route_cache.outbox'), [])
  await app.close()
})

t.test('what takes a column along is seen, whatever was dropped', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  const role = `of_${new URL(site.url).pathname.slice(1)}`
  const f = "create function f(text) returns text language sql immutable as 'select $1'"
  const drops = [
    [`${f}; alter table cities add g text generated always as (f(name)) stored`, 'drop function f cascade'],
    [`${f}; alter table cities add g text generated always as (f(name)) stored`, 'drop routine f cascade'],
    [`${f}; create operator ~~~~ (rightarg = text, function = f); alter table cities add g text generated always as (~~~~ name) stored`,
      'drop operator ~~~~ (none, text) cascade; drop function f'],
    ['create collation co from "C"; alter table cities add g text collate co', 'drop collation co cascade'],
    ['create domain d as text; alter table cities add g d', 'drop domain d cascade'],
    [`create role ${role}; grant create on schema public to ${role}; set role ${role}; create type w as enum ('a'); reset role; alter table cities add g w`,
      `drop owned by ${role} cascade`],
    ['create extension citext; alter table cities add g citext', 'drop extension citext cascade'],
    ['create extension postgres_fdw; create server s foreign data wrapper postgres_fdw; create foreign table far (x integer) server s; alter table cities add g far',
      'drop server s cascade'],
    ['create foreign data wrapper w; create server s foreign data wrapper w; create foreign table far (x integer) server s; alter table cities add g far',
      'drop foreign data wrapper w cascade'],
    [`create text search dictionary d (template = simple); create text search configuration co (copy = simple);
      alter text search configuration co alter mapping for asciiword with d;
      alter table cities add g tsvector generated always as (to_tsvector('co', name)) stored`, 'drop text search dictionary d cascade'],
    ['create view v as select 1 as x; alter table cities add g v', 'drop view v cascade'],
    ['create materialized view v as select 1 as x; alter table cities add g v', 'drop materialized view v cascade']
  ] as const
  for (const [before, drop] of drops) {
    await site.query(`${before}; delete from route_cache.outbox`)
    await site.query(drop)
    t.match(await site.query('select distinct relation::integer from route_cache.outbox'), [{ relation: 0 }], drop)
  }
  await site.query('create function f() returns integer return 1; delete from route_cache.outbox; drop function f()')
  t.same(await site.query('select * from route_cache.outbox'), [], 'one that takes nothing along')
})

t.test('an installer who may make no event triggers', async (t) => {
  const site = await openSite(t, postgres.url)
  const name = `owner_${new URL(site.url).pathname.slice(1)}`
  await site.query(`create role ${name} login password 'o'; grant all on schema public to ${name}; grant create on database ${new URL(site.url).pathname.slice(1)} to ${name};
    drop table cities; set role ${name}; ${PARTED.slice('drop table cities; '.length)}; reset role`)
  const theirs = { ...site, url: Object.assign(new URL(site.url), { username: name, password: 'o' }).href }
  const app = await openApp(t, theirs)
  t.same(await site.query('select 1 from pg_event_trigger'), [])
  await site.query(`set role ${name}; create table c_es partition of cities for values in ('ES'); reset role`)
  await app.close()
  await site.query('alter table c_es owner to postgres')
  await t.rejects(openApp(t, theirs), { code: 'FRC_POSTGRES', message: new RegExp(`GRANT TRIGGER ON public.c_es TO ${name};`) })
  await site.query(`alter table c_es owner to ${name}`)
  await t.rejects(openApp(t, theirs, { install: false }), { code: 'FRC_POSTGRES', message: /lacks the triggers of cities/ }, 'a partition without triggers is seen at the start')
  const next = await openApp(t, theirs)
  await next.warm('/cities/3')
  await site.query("insert into c_es values (3, 'new', 'ES')")
  await next.postgresInvalidation.caughtUp()
  t.equal(await next.look('/cities/3'), 'miss new')
  await t.rejects(site.query(installSql([CITIES])), { message: new RegExp(`belongs to ${name}`) }, 'nothing is added to what another role has installed')
  await site.query(`${uninstallSql([CITIES])}drop schema route_cache; ${installSql([CITIES])}`)
  t.equal((await site.query('select 1 from pg_event_trigger')).length, 2)
})

t.test('uninstalling takes all triggers off, whatever watch installed them', async (t) => {
  const changes: Array<[string, Watch[], string?]> = [
    ['the watch has changed', [{ table: 'countries', keys: 'country:{code}' }]],
    ['the table has another name', [CITIES], 'alter table cities rename to towns; create view cities as select * from towns'],
    ['it is named with its schema', [{ ...CITIES, table: 'public.cities' }]],
    ['an older version installed them', [CITIES], 'drop function route_cache.cities cascade; create function route_cache.f() returns trigger ' +
      'language plpgsql as $$\n-- fastify-route-cache 1 [["id"]]\nbegin insert into route_cache.outbox (relation) values (1); return null; end $$; ' +
      'create trigger route_cache_update after update on cities for each statement execute function route_cache.f()']
  ]
  for (const [title, watch, sql] of changes) {
    const site = await openSite(t, postgres.url)
    await site.query(installSql([CITIES]))
    if (sql !== undefined) await site.query(sql)
    await site.query(uninstallSql(watch))
    t.same(await site.query('select tgname from pg_trigger where not tgisinternal'), [], title)
    await site.query(`update ${sql?.includes('towns') === true ? 'towns' : 'cities'} set name = 'x'`)
  }
})

t.test('nothing of somebody else\'s is replaced or removed, whatever its name', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query('create schema app; set search_path = app, public')
  const own = 'create function % language plpgsql as $$ begin return null; end $$'
  const things: Array<[string, string, string]> = [
    ['create table outbox (id integer)', 'select id from outbox', 'drop table outbox'],
    ['create table outbox (xid integer, relation text)', 'select xid from outbox', 'drop table outbox'],
    ['create table readers (name text, id integer)', 'select id from readers', 'drop table readers'],
    ['create view readers as select 1 as id', 'select id from readers', 'drop view readers'],
    [own.replace('%', 'cities() returns trigger'), "select 1 / count(*) from pg_proc where proname = 'cities' and prosrc not like '%route%'", 'drop function cities'],
    [own.replace('%', '".drop"() returns event_trigger').replace('return null;', ''), "select 1 / count(*) from pg_proc where proname = '.drop' and prosrc not like '%route%'", 'drop function ".drop"'],
    [`${own.replace('%', 'f() returns trigger')}; create trigger app_insert before insert on cities for each row execute function f()`,
      "select 1 / count(*) from pg_trigger where tgname = 'app_insert' and tgfoid = 'f'::regproc", 'drop function f cascade'],
    [`create table kids () inherits (cities); ${own.replace('%', 'f() returns trigger')}; create trigger app_rows before insert on kids for each row execute function f()`,
      "select 1 / count(*) from pg_trigger where tgname = 'app_rows' and tgfoid = 'f'::regproc", 'drop function f cascade; drop table kids'],
    [`${own.replace('%', 'f() returns event_trigger').replace('return null;', '')}; create event trigger app_ddl on ddl_command_end when tag in ('DROP TEXT SEARCH PARSER') execute function f()`,
      "select 1 / count(*) from pg_event_trigger where evtname = 'app_ddl' and evtfoid = 'f'::regproc", 'drop function f cascade']
  ]
  for (const [make, isThere, drop] of things) {
    await site.query(make)
    const message = /is not of fastify-route-cache; install in another schema/
    await t.rejects(site.query(installSql([CITIES], { schema: 'app' })), { message }, make)
    await t.rejects(openApp(t, site, { schema: 'app' }), { code: 'FRC_POSTGRES', message }, make)
    await site.query(isThere)
    await site.query(uninstallSql([CITIES], { schema: 'app' }))
    await site.query(`${isThere}; ${drop}`)
  }
  await site.query(installSql([CITIES], { schema: 'app' }))
  await (await openApp(t, site, { schema: 'app', install: false })).close()
})

t.test('a table that can\'t be watched is refused, by the app and by the SQL', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`create extension postgres_fdw; create server s foreign data wrapper postgres_fdw;
    create table parted (id integer) partition by range (id);
    create table middle partition of parted for values from (0) to (100) partition by range (id);
    create foreign table far partition of middle for values from (0) to (10) server s;
    create table parent (id integer); create foreign table child () inherits (parent) server s;
    create table computed (id integer, twice integer generated always as (id * 2) ${version >= 18 ? 'virtual' : 'stored'}, stored integer generated always as (id * 2) stored);
    create view seen as select * from cities; create table lists (members integer[], data jsonb)`)
  const refused: Array<[Watch, RegExp]> = [
    [{ table: 'parted', keys: 'x:{id}' }, /child far is a foreign table/],
    [{ table: 'parent', keys: 'x:{id}' }, /child child is a foreign table/],
    [{ table: 'far', keys: 'x:{id}' }, /no ordinary or partitioned table/],
    [{ table: 'seen', keys: 'x:{id}' }, /no ordinary or partitioned table/],
    ...version < 18 ? [] : [[{ table: 'computed', keys: 'x:{twice}' }, /virtual generated/] as [Watch, RegExp]],
    [{ table: 'lists', keys: 'x:{members}' }, /type is _int4/],
    [{ table: 'lists', keys: 'x:{data}' }, /type is jsonb/],
    [{ table: 'cities', keys: 'x:{nr}' }, /has no column of that name; it has: id, name, country/]
  ]
  for (const [watch, message] of refused) {
    await t.rejects(site.query(installSql([watch])), { message }, `SQL for ${watch.table}`)
    await t.rejects(openApp(t, site, { watch: [watch] }), { code: 'FRC_OPTION', message }, `app on ${watch.table}`)
  }
  await site.query(installSql([{ table: 'computed', keys: 'x:{stored}' }]))
  await site.query('insert into computed values (1)')
})

t.test('who installs on several tables is in no deadlock with a writer', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query('create table first (id integer); create table second (id integer)')
  const writer = await site.connect()
  await writer.query('begin; insert into second values (1)')
  const opening = openApp(t, site, { watch: [{ table: 'first', keys: 'x:{id}' }, { table: 'second', keys: 'x:{id}' }] })
  const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
  await until(async () => (await site.query(waiting)).length === 1, 'it waits for the writer')
  await writer.query('insert into first values (1)')
  await writer.query('commit')
  await opening
})

t.test('the table\'s owner and whoever makes schemas get nobody\'s rights', async (t) => {
  const site = await openSite(t, postgres.url)
  const name = new URL(site.url).pathname.slice(1)
  await site.query(`create role mallory_${name} login password 'm'; grant create on database ${name} to mallory_${name}; create schema hers authorization mallory_${name}`)
  const url = Object.assign(new URL(site.url), { username: `mallory_${name}`, password: 'm' })
  const mallory = new pg.Client({ connectionString: url.href })
  await mallory.connect()
  t.teardown(async () => { await mallory.end() })
  const isSuper = async (): Promise<boolean> =>
    (await site.query(`select rolsuper from pg_roles where rolname = 'mallory_${name}'`))[0].rolsuper
  const take = `execute 'alter role mallory_${name} superuser'`

  await mallory.query(`set search_path = hers; create type evil as enum ('a', 'b');
    create function cast_of(evil) returns text language plpgsql as $$ begin ${take}; return 'x'; end $$;
    create cast (evil as text) with function cast_of(evil); create table things (id evil, name text);
    create function hers.format(text, text) returns text language plpgsql as $$ begin ${take}; return 'x'; end $$`)
  await site.query(installSql([{ schema: 'hers', table: 'things', keys: 'x:{id}' }]))
  await mallory.query("insert into things values ('a'); update things set id = 'b'; delete from things; truncate things")
  t.notOk(await isSuper(), 'a cast of her own')
  t.same((await site.query('select rows from route_cache.outbox where rows is not null order by ctid')).map(({ rows }) => rows.flat().sort()),
    [['a'], ['a', 'b'], ['b']])

  const evil = `create function %.evil() returns trigger language plpgsql as $$ begin ${take}; return new; end $$;
    create trigger evil before insert on %.outbox for each row execute function %.evil()`
  const table = '(xid xid8 default pg_current_xact_id(), relation oid, columns text[], rows jsonb, exact boolean default false, source jsonb)'
  await mallory.query(`create schema one; create table one.outbox ${table}; ${evil.replaceAll('%', 'one')}`)
  await site.query(`create schema two; grant usage, create on schema two to mallory_${name}; create schema three; grant usage, create on schema three to mallory_${name}`)
  await mallory.query(`create table two.outbox ${table}; ${evil.replaceAll('%', 'two')};
    create function three."hers.things"() returns trigger language plpgsql as $$ begin return null; end $$; create schema four`)
  for (const schema of ['one', 'two', 'three', 'four']) {
    const sql = installSql([{ schema: 'hers', table: 'things', keys: 'x:{id}' }], { schema })
    await t.rejects(site.query(sql), { message: new RegExp(`belongs to mallory_${name}`) }, schema)
    // As psql does, which goes on behind an error.
    for (const statement of statementsOf(sql)) await site.query(statement).catch(() => {})
    t.same(await site.query(`select 1 from pg_trigger where tgname like '${schema}\\_%'`), [], `${schema}: no trigger`)
    await t.rejects(openApp(t, site, { schema, watch: [{ schema: 'hers', table: 'things', keys: 'x:{id}' }] }), { code: 'FRC_POSTGRES', message: /belongs to/ }, schema)
  }
  await mallory.query("insert into hers.things values ('a')")
  t.notOk(await isSuper())
})

t.test('functions and operators of hers on the search_path run with nobody else\'s rights', async (t) => {
  const site = await openSite(t, postgres.url)
  const name = `eve_${new URL(site.url).pathname.slice(1)}`
  await site.query(`create role ${name} login password 'e'; grant all on schema public to ${name}; create table caught (by text);
    grant insert on caught to public`)
  const url = Object.assign(new URL(site.url), { username: name, password: 'e' })
  const eve = new pg.Client({ connectionString: url.href })
  await eve.connect()
  t.teardown(async () => { await eve.end() })
  // Each is nearer to the types at hand than Postgres' own, and so is taken for it where her schema is searched.
  const made = await eve.query(shadowsSql) as unknown as Array<pg.QueryResult<{ n: number }>>
  t.ok(made[1]!.rows[0]!.n > 1_000, 'her functions and operators are there')
  await site.query("select format('%s', 'cities'::regclass)")
  t.same(await site.query('select distinct "by" from caught'), [{ by: 'postgres' }], 'they are run by who is not careful')
  await site.query('delete from caught')

  const watch: Watch[] = [CITIES, { table: 'parents', keys: 'parent:{id}' }]
  await site.query('create table parents (id integer) partition by list (id); create table ones partition of parents for values in (1)')
  await site.query(installSql(watch))
  await site.query(installSql(watch))
  const app = await openApp(t, site, { watch })
  await (await openApp(t, site, { watch, maxTargets: 5, cache: await onRedis(t) })).postgresInvalidation.caughtUp()
  await app.warm('/cities/1')
  await site.query("set search_path = public; update cities set name = 'new' where id = 1; insert into ones values (1); truncate parents")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss new')
  await app.close()
  await site.query(uninstallSql(watch))
  t.same(await site.query('select * from caught'), [])
})

t.test('who may make functions in the schema, or has all rights on tables to come, gets nobody else\'s', async (t) => {
  const site = await openSite(t, postgres.url)
  const name = `may_${new URL(site.url).pathname.slice(1)}`
  await site.query(`create role ${name} login password 'm'; grant create on schema public to ${name};
    alter default privileges grant all on tables to ${name}; alter default privileges grant all on schemas to ${name};
    create schema one; create schema two`)
  const may = new pg.Client({ connectionString: Object.assign(new URL(site.url), { username: name, password: 'm' }).href })
  await may.connect()
  t.teardown(async () => { await may.end() })
  for (const [schema, own, mark] of [['one', '.ddl', ''], ['two', '.drop', ''], ['one', '.ddl', '-- fastify-route-cache 2 {}\n'], ['two', '.drop', '-- fastify-route-cache 2 {}\n']] as const) {
    await may.query(`create function ${schema}."${own}"() returns event_trigger language plpgsql as $$ ${mark}begin end $$`)
    await t.rejects(site.query(installSql([CITIES], { schema })), { message: new RegExp(`belongs to ${name}`) }, own)
    await t.rejects(openApp(t, site, { schema }), { code: 'FRC_POSTGRES', message: new RegExp(`belongs to ${name}`) }, own)
    t.same(await site.query('select evtname from pg_event_trigger'), [])
    await site.query(`${uninstallSql([CITIES], { schema })}drop function if exists ${schema}."${own}"`)
  }

  // Between two statements of the migration.
  const blocks = statementsOf(installSql([CITIES]))
  for (const block of blocks.slice(0, -1)) await site.query(block)
  await may.query('create function route_cache.".ddl"() returns event_trigger language plpgsql as $$\n-- fastify-route-cache 2 {}\nbegin end $$')
  await t.rejects(site.query(blocks.at(-1)!), { message: new RegExp(`belongs to ${name}`) })
  await site.query('drop function route_cache.".ddl"')
  await site.query(installSql([CITIES]))
  await may.query('create function evil() returns trigger language plpgsql as $$ begin raise division_by_zero; end $$; create function yes() returns boolean return true')
  const made = (table: string, call = 'evil', when = ''): string => `create trigger evil before insert on route_cache.${table} for each row ${when} execute function ${call}()`
  for (const table of ['outbox', 'readers']) {
    await t.rejects(may.query(made(table)), { message: /permission denied/ })
    // As it was before.
    for (const trigger of [made(table), made(table, 'suppress_redundant_updates_trigger', 'when (yes())')]) {
      await site.query(`grant trigger on route_cache.${table} to ${name}, public`)
      await may.query(trigger)
      await t.rejects(site.query(installSql([CITIES])), { message: /trigger evil on route_cache\.\w+ may belong to another role/ })
      await t.rejects(openApp(t, site), { code: 'FRC_POSTGRES', message: /may belong to another role/ })
      await site.query(`drop trigger evil on route_cache.${table}`)
      await openApp(t, site)
      await t.rejects(may.query(trigger), { message: /permission denied/ })
    }
  }
  t.match(await may.query('select * from route_cache.outbox'), { rows: [] }, 'other rights are as they were given')
})

t.test('types of hers in front of Postgres\' own run with nobody else\'s rights', async (t) => {
  const site = await openSite(t, postgres.url)
  const db = new URL(site.url).pathname.slice(1)
  const types = ['text', 'name', 'oid', 'regclass', 'regprocedure', 'regnamespace', 'record', 'bool', 'int4', 'int8', 'jsonb', 'trigger', 'xid8', 'pg_snapshot']
  await site.query(`create role eva_${db}; grant all on schema public to eva_${db}; create table kids () inherits (cities);
    create table caught (by text); grant insert on caught to public; alter database ${db} set search_path = public, pg_catalog; set role eva_${db};
    create function caught() returns boolean language plpgsql as $$ begin insert into public.caught values (current_user); return true; end $$;
    ${types.map((type) => `create domain public.${type} as pg_catalog.text check (public.caught());`).join('')} reset role`)
  const installer = await site.connect()
  await installer.query("do $$ declare x text := 'x'; begin end $$")
  t.same(await site.query('select distinct "by" from caught'), [{ by: 'postgres' }], 'they are run by who is not careful')
  await site.query('delete from caught')
  await installer.query(installSql([CITIES]))
  await installer.query(installSql([CITIES]))
  await (await openApp(t, site, { maxTargets: 5 })).close()
  await installer.query("update cities set name = 'new' where id = 1; insert into kids values (7, 'x', 'FR')")
  await installer.query(uninstallSql([CITIES]))
  t.same(await site.query('select * from caught'), [])
})

t.test('rights that are missing are named, each with its GRANT', async (t) => {
  const site = await openSite(t, postgres.url)
  const name = `app_${new URL(site.url).pathname.slice(1)}`
  await site.query(`create role ${name} login password 'a'; revoke create on schema public from public`)
  const url = Object.assign(new URL(site.url), { username: name, password: 'a' }).href
  const grants = async (install: boolean): Promise<string[]> => {
    try {
      await (await openApp(t, { ...site, url }, { install })).close()
      return []
    } catch (error) {
      return Array.from((error as Error).message.matchAll(/GRANT [^;]*;/g), ([sql]) => sql)
    }
  }
  const first = await grants(true)
  t.match(first.join(), new RegExp(`GRANT CREATE ON DATABASE site_\\w+ TO ${name};,GRANT TRIGGER ON "cities" TO ${name};`))
  await site.query(installSql([CITIES]))
  t.same(await grants(false), [`GRANT USAGE ON SCHEMA route_cache TO ${name};`,
    ...['SELECT', 'DELETE'].map((right) => `GRANT ${right} ON "route_cache".outbox TO ${name};`),
    ...['SELECT', 'INSERT', 'UPDATE', 'DELETE'].map((right) => `GRANT ${right} ON "route_cache".readers TO ${name};`)])
  for (const sql of await grants(false)) await site.query(sql)
  t.same(await grants(false), [])
})

t.test('triggers of an older version are refused, or installed anew', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(installSql([CITIES]))
  await site.query(`alter table route_cache.outbox drop column source; create or replace function route_cache.cities() returns trigger language plpgsql
    as $$\n-- fastify-route-cache 1 [["country"],["id"],[]]\nbegin insert into route_cache.outbox (relation) values (tg_relid); return null; end $$`)
  await t.rejects(openApp(t, site, { install: false }), { code: 'FRC_POSTGRES', message: /lacks the outbox .*, the triggers of cities, .*older version/ })
  const app = await openApp(t, site)
  await app.warm('/cities/1', '/other')
  await site.query("update cities set name = 'new' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.same([await app.look('/cities/1'), await app.look('/other')], ['miss new', 'hit other'])
})

t.test('another maxTargets is installed', async (t) => {
  const site = await openSite(t, postgres.url)
  await (await openApp(t, site)).close()
  await openApp(t, site, { maxTargets: 1 })
  await site.query('update cities set name = name')
  t.same((await site.query('select exact, rows from route_cache.outbox where columns = $1', [['id']])), [{ exact: true, rows: null }])
})
