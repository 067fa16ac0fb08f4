// Several builds on one database: a line that one of them does not understand is never lost for another, nor for itself.
import t, { type Test } from 'tap'
import { installSql } from '../../plugin/extras/postgres/index.js'
import { Pruner } from '../../plugin/extras/postgres/pruning.js'
import { namesIn } from '../../plugin/extras/postgres/shape.js'
import { startPostgres } from '../helpers/postgres.js'
import { CITIES, onRedis, openApp, openSite, type Site } from './postgres-site.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

const postgres = await startPostgres()
t.teardown(async () => { await postgres.stop() })

/** Runs it on each store. */
async function onEachStore (t: Test, run: (t: Test, site: Site, cache: RouteCacheOptions) => Promise<void>): Promise<void> {
  await t.test('in-process store', async (t) => { await run(t, await openSite(t, postgres.url), {}) })
  await t.test('redis', async (t) => { await run(t, await openSite(t, postgres.url), await onRedis(t)) })
}

t.test('a rolling deploy: one build watches a template more than the other', async (t) => {
  await onEachStore(t, async (t, site, cache) => {
    const former = await openApp(t, site, { cache, watch: [{ table: 'cities', keys: 'other:{id}' }] })
    const next = await openApp(t, site, { cache, watch: [{ table: 'cities', keys: ['other:{id}', 'city:{id}'], tags: 'country:{country}' }] })
    const missed = []
    for (let i = 0; i < 10; i++) {
      await next.warm('/cities/1', '/countries/FR')
      await site.query('update cities set name = $1 where id = 1', [`new${i}`])
      for (const app of [former, next]) await app.postgresInvalidation.caughtUp()
      for (const path of ['/cities/1', '/countries/FR']) missed.push(await next.look(path))
    }
    t.same(missed.filter((look) => look.startsWith('hit')), [])
  })
})

t.test('another table takes the place of a watched one', async (t) => {
  await onEachStore(t, async (t, site, cache) => {
    const app = await openApp(t, site, { cache })
    await app.warm('/cities/1', '/cities/2', '/other')
    await site.query(`create table next_cities (like cities including all); insert into next_cities select * from cities;
      alter table cities rename to old_cities; alter table next_cities rename to cities; ${installSql([CITIES])}
      update cities set name = 'new' where id = 1`)
    await app.postgresInvalidation.caughtUp()
    t.equal(await app.look('/cities/1'), 'miss new')
    // Where the installer may have event triggers, to rename a watched table has ended all that is watched.
    await app.warm('/cities/1', '/cities/2', '/other')
    await site.query("update cities set name = 'newer' where id = 1")
    await app.postgresInvalidation.caughtUp()
    t.equal(await app.look('/cities/1'), 'miss newer')
    t.same([await app.look('/cities/2'), await app.look('/other')], ['hit old', 'hit other'], 'it knows the table now')
  })
})

t.test('what is not understood: all that is watched, and the log says so', async (t) => {
  const site = await openSite(t, postgres.url)
  const app = await openApp(t, site, { watch: [{ ...CITIES, whole: { prefix: 'city:' } }] })
  const cities = "'cities'::regclass"
  const lines = [
    '(relation) values (4000000000)',
    `(relation, columns, rows, source) values (${cities}, '{id}', '[["9"]]', '{"version":3,"table":[null,"cities"],"sets":[["id"]]}')`,
    `(relation, columns, rows, source) values (${cities}, '{id}', '[["9"]]', '{"form":"another"}')`,
    `(relation, columns, rows) values (${cities}, '{id}', '{"9":1}')`,
    `(relation, columns, rows) values (${cities}, '{id}', '[[]]')`,
    `(relation, columns, rows) values (${cities}, '{id}', '[[{"a":1}]]')`,
    `(relation, rows) values (${cities}, '[["9"]]')`,
    // Of a table by a watched one's name.
    '(relation, columns, rows, source) values (4000000001, \'{id}\', \'[["9"]]\', \'{"version":2,"table":["public","cities"],"sets":[["id"]]}\')',
    // For templates of another build only.
    `(relation, columns, rows, exact, source) values (${cities}, '{name}', '[["9"]]', true, '{"version":2,"table":[null,"cities"],"sets":[["name"]]}')`,
    `(relation, columns, rows, exact) values (${cities}, '{name}', '[["9"]]', true)`
  ]
  for (const line of lines) {
    await app.warm('/cities/1')
    await site.query(`insert into route_cache.outbox ${line}`)
    await app.postgresInvalidation.caughtUp()
    t.match(await app.look('/cities/1'), /^miss/, line)
  }
  t.ok(app.lines.some(({ msg, level }) => Number(level) > 30 && String(msg).includes('does not understand')))
  t.equal(app.postgresInvalidation.failures, 0)

  await app.warm('/cities/1')
  await site.query('create table countries (code text)')
  await site.query(`${installSql([{ table: 'countries', keys: 'country:{code}' }])}insert into countries values ('AD')`)
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'hit old', 'a table that only another build watches')
})

t.test('the same watch under another search_path', async (t) => {
  await onEachStore(t, async (t, site, cache) => {
    const apps = []
    for (const schema of ['one', 'two']) {
      await site.query(`create schema ${schema}; create table ${schema}.cities as select * from public.cities`)
      const url = new URL(site.url)
      url.searchParams.set('options', `-c search_path=${schema}`)
      apps.push(await openApp(t, { ...site, url: url.href }, { cache }))
    }
    for (const [i, schema] of ['one', 'two'].entries()) {
      await apps[i]!.warm('/cities/1')
      await site.query(`update ${schema}.cities set name = 'new' where id = 1`)
      for (const app of apps) await app.postgresInvalidation.caughtUp()
      t.equal(await apps[i]!.look('/cities/1'), 'miss new', schema)
    }
  })
})

t.test('caches with two prefixes on one Redis, with the default reader', async (t) => {
  const site = await openSite(t, postgres.url)
  const cache = await onRedis(t)
  const apps = []
  for (const prefix of ['shop', 'blog']) apps.push(await openApp(t, site, { cache: { ...cache, prefix } }))
  for (let i = 0; i < 5; i++) {
    for (const app of apps) await app.warm('/cities/1')
    await site.query('update cities set name = $1 where id = 1', [`new${i}`])
    for (const app of apps) await app.postgresInvalidation.caughtUp()
    for (const app of apps) t.equal(await app.look('/cities/1'), `miss new${i}`)
  }
  t.match((await site.query("select name from route_cache.readers where name <> '' order by 1")).map(({ name }) => name),
    [/^blog [\da-f]{16}$/, /^shop [\da-f]{16}$/])
})

t.test('a function that was installed without a build\'s templates', async (t) => {
  await onEachStore(t, async (t, site, cache) => {
    const app = await openApp(t, site, { cache, maxTargets: 0 })
    await site.query(installSql([{ table: 'cities', keys: 'city:{id}' }], { maxTargets: 0 }))
    await app.warm('/countries/FR', '/all')
    await site.query("update cities set name = 'new' where id = 1")
    await app.postgresInvalidation.caughtUp()
    t.same([await app.look('/countries/FR'), await app.look('/all')], ['miss new,old', 'miss 6'])
  })
})

t.test('places that nobody uses any more go, those in use stay', async (t) => {
  const site = await openSite(t, postgres.url)
  const cache = await onRedis(t)
  const app = await openApp(t, site, { cache })
  await site.query("insert into route_cache.readers (name, at) values ('gone', now() - interval '25 hours'), ('young', now() - interval '23 hours')")
  await site.query("update route_cache.readers set at = now() - interval '25 hours' where name not in ('gone', 'young')")
  const [{ name }] = await site.query("select name from route_cache.readers where name not in ('', 'gone', 'young')")
  // Who reads moves its place, also where nothing is new.
  await app.postgresInvalidation.caughtUp()
  await new Pruner(namesIn('route_cache'), 86_400_000).prune(await site.connect())
  t.same((await site.query('select name from route_cache.readers order by 1')).map(({ name }) => name), ['', name, 'young'].sort())
})
