// Rows that change, whoever changes them, invalidate what stands for them: on a real Postgres, on each store.
import t, { type Test } from 'tap'
import { startPostgres } from '../helpers/postgres.js'
import { startRedis } from '../helpers/redis.js'
import { timed } from '../helpers/timed.js'
import { until } from '../helpers/until.js'
import { onRedis, openApp, openSite, type CitiesApp, type Site } from './postgres-site.js'

const postgres = await startPostgres()
t.teardown(async () => { await postgres.stop() })

type Open = (options?: Parameters<typeof openApp>[2]) => Promise<CitiesApp>

async function onEachStore (t: Test, run: (t: Test, site: Site, open: Open) => Promise<void>): Promise<void> {
  await t.test('in-process store', async (t) => {
    const site = await openSite(t, postgres.url)
    await run(t, site, async (options) => await openApp(t, site, options))
  })
  await t.test('redis', async (t) => {
    const site = await openSite(t, postgres.url)
    const cache = await onRedis(t)
    await run(t, site, async (options) => await openApp(t, site, { cache, ...options }))
  })
}

const ALL = ['/cities/1', '/cities/2', '/countries/FR', '/countries/ES', '/countries/AD', '/all', '/other']

async function states (app: CitiesApp, paths = ALL): Promise<string> {
  const states = []
  for (const path of paths) states.push((await app.look(path)).split(' ')[0])
  return states.join()
}

t.test('a statement invalidates what its rows stand for, before and after', async (t) => await onEachStore(t, async (t, site, open) => {
  const app = await open()
  const after = async (sql: string): Promise<string> => {
    await app.warm(...ALL)
    await site.query(sql)
    await app.postgresInvalidation.caughtUp()
    return await states(app)
  }
  t.equal(await after('select 1'), 'hit,hit,hit,hit,hit,hit,hit')
  // City 1 is in FR, 2 in ES, 3 in AD.
  t.equal(await after("update cities set name = 'new' where id = 1"), 'miss,hit,miss,hit,hit,miss,hit')
  t.equal(await app.look('/cities/1'), 'hit new')
  t.equal(await after("update cities set country = 'ES' where id = 1"), 'miss,hit,miss,miss,hit,miss,hit', 'both countries')
  t.equal(await after("insert into cities values (7, 'new', 'AD')"), 'hit,hit,hit,hit,miss,miss,hit')
  t.equal(await after('delete from cities where id = 2'), 'hit,miss,hit,miss,hit,miss,hit')
  t.equal(await after("insert into cities values (1, 'again', 'ES'), (8, 'new', 'FR') on conflict (id) do update set name = excluded.name"),
    'miss,hit,miss,miss,hit,miss,hit', 'insert and update in one')
  t.equal(await after('update cities set name = name where id = 99'), 'hit,hit,hit,hit,hit,hit,hit', 'no rows')
  t.equal(await after("begin; update cities set name = 'x' where id = 1; rollback"), 'hit,hit,hit,hit,hit,hit,hit', 'rolled back')
  await site.query('insert into cities values (9, \'new\', null)')
  await app.postgresInvalidation.caughtUp()
  await site.query('create table parts (id integer primary key, city integer references cities on delete cascade)')
  t.equal(await after('truncate cities cascade'), 'miss,miss,miss,miss,miss,miss,miss', 'of tags with placeholders: everything')
}))

t.test('what a cascade deletes counts', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(`create table countries (code text primary key); insert into countries values ('AD'), ('FR'), ('ES');
    alter table cities add foreign key (country) references countries on delete cascade`)
  const app = await openApp(t, site)
  await app.warm(...ALL)
  await site.query("delete from countries where code = 'FR'")
  await app.postgresInvalidation.caughtUp()
  t.equal(await states(app), 'miss,hit,miss,hit,hit,miss,hit')
})

t.test('by itself and soon: nobody asks for it', async (t) => await onEachStore(t, async (t, site, open) => {
  const app = await open({ poll: 10 })
  await app.warm('/cities/1')
  const { time, late } = await timed(async () => {
    await site.query("update cities set name = 'new' where id = 1")
    await until(async () => await app.look('/cities/1') === 'hit new', 'it shows the new name')
  })
  t.ok(time < 5_000 + late, `${time} ms: long before the next poll`)
}))

t.test('without a NOTIFY it is seen by the next poll', async (t) => {
  const site = await openSite(t, postgres.url)
  const app = await openApp(t, site, { poll: '50ms' })
  await app.warm('/cities/1', '/countries/FR')
  await site.query(`insert into route_cache.outbox (relation, columns, rows)
    values ('cities'::regclass, '{id,country}', '[["1", "ES"]]')`)
  await until(async () => (await app.look('/cities/1')).startsWith('miss'), 'it is invalidated')
  t.equal(await app.look('/countries/FR'), 'hit old,old')
})

t.test('a transaction that commits later than one that began after it', async (t) => await onEachStore(t, async (t, site, open) => {
  const app = await open()
  const [one, other] = [await site.connect(), await site.connect()]
  await app.warm('/cities/1', '/cities/2')
  await one.query("begin; update cities set name = 'one' where id = 1")
  await other.query("begin; update cities set name = 'other' where id = 2; commit")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/2'), 'miss other')
  t.equal(await app.look('/cities/1'), 'hit old', 'not committed')
  await one.query('commit')
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss one')
}))

t.test('what is written while no app runs is invalidated by the next one', async (t) => {
  const site = await openSite(t, postgres.url)
  const cache = await onRedis(t)
  const first = await openApp(t, site, { cache })
  await first.warm('/cities/1', '/cities/2')
  await first.close()
  await site.query("update cities set name = 'new' where id = 1")
  const next = await openApp(t, site, { cache, install: false })
  t.equal(await next.look('/cities/1'), 'miss new', 'before its first request')
  t.equal(await next.look('/cities/2'), 'hit old')
})

t.test('several processes: on one Redis each change is told once, on stores of their own to all', async (t) => {
  await onEachStore(t, async (t, site, open) => {
    const apps = [await open(), await open(), await open()]
    for (const app of apps) await app.warm('/cities/1')
    const before = apps.map(({ postgresInvalidation }) => postgresInvalidation.changes)
    for (let i = 0; i < 20; i++) await site.query('update cities set name = $1 where id = 1', [String(i)])
    for (const app of apps) await app.postgresInvalidation.caughtUp()
    const told = apps.map(({ postgresInvalidation }, i) => postgresInvalidation.changes - before[i]!)
    const isShared = apps[0]!.cache.stats().store === 'redis'
    t.equal(told.reduce((sum, n) => sum + n), isShared ? 20 : 60, told.join())
    for (const app of apps) t.match(await app.look('/cities/1'), / 19$/)
  })
})

t.test('where the process that did the work is gone, another one does it', async (t) => {
  const site = await openSite(t, postgres.url)
  const cache = await onRedis(t)
  const apps = [await openApp(t, site, { cache, poll: 10 }), await openApp(t, site, { cache, poll: 10 })]
  for (let round = 0; round < 2; round++) {
    const before = apps.map(({ postgresInvalidation: { changes } }) => changes)
    await site.query('update cities set name = name where id = 1')
    // Twice: it was one of them, and the other one sees that.
    for (const app of [...apps, ...apps]) await app.postgresInvalidation.caughtUp()
    const didIt = apps.findIndex(({ postgresInvalidation: { changes } }, i) => changes > before[i]!)
    const other = apps[1 - didIt]!
    await other.warm('/cities/1')
    await apps[didIt]!.close()
    await site.query('update cities set name = $1 where id = 1', [`new${round}`])
    await until(async () => await other.look('/cities/1') === `hit new${round}`, 'long before the next poll', 5_000)
    apps[didIt] = await openApp(t, site, { cache, poll: 10 })
  }
})

t.test('caches that share nothing read for themselves', async (t) => {
  const site = await openSite(t, postgres.url)
  const cache = await onRedis(t)
  const shop = await openApp(t, site, { cache: { ...cache, prefix: 'shop' } })
  const other = await openApp(t, site, { cache: { ...cache, prefix: 'other' }, reader: 'other' })
  for (const app of [shop, other]) await app.warm('/cities/1')
  await site.query("update cities set name = 'new' where id = 1")
  for (const app of [shop, other]) await app.postgresInvalidation.caughtUp()
  for (const app of [shop, other]) t.equal(await app.look('/cities/1'), 'miss new')
})

t.test('the connection ends while rows change', async (t) => await onEachStore(t, async (t, site, open) => {
  const app = await open({ poll: 10 })
  await app.warm('/cities/1', '/cities/2', '/other')
  const kill = async (): Promise<void> => {
    await site.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'fastify-route-cache'`)
  }
  await kill()
  await site.query("update cities set name = 'new' where id = 1")
  await until(async () => app.postgresInvalidation.reconnects === 1, 'it connects again')
  // By itself, long before the next poll.
  await until(async () => (await app.look('/cities/1')).endsWith('new'), 'what was missed is invalidated', 5_000)
  t.equal(await app.look('/cities/2'), 'hit old')
  t.ok(app.postgresInvalidation.isListening)
  const said = (words: string): number =>
    app.lines.filter(({ msg, level }) => Number(level) > 20 && String(msg).includes(words)).length
  t.equal(said('that tells what changes is gone'), 1)
  t.equal(said('Postgres tells what changes again'), 1)
}))

t.test('Redis is away: the change stays in the outbox until it was told', async (t) => {
  const site = await openSite(t, postgres.url)
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const cache = { redis, writeDeadline: '200ms' }
  const app = await openApp(t, site, { cache })
  await app.warm('/cities/1')
  await server.pause()
  await site.query("update cities set name = 'new' where id = 1")
  await until(async () => app.postgresInvalidation.failures > 1, 'it was tried again')
  const place = async (): Promise<string> =>
    (await site.query("select seen::text from route_cache.readers where name <> ''"))[0].seen
  const before = await place()
  await server.resume()
  await app.postgresInvalidation.caughtUp()
  t.not(await place(), before)
  t.match(await app.look('/cities/1'), /new$/)
  t.equal(app.lines.filter(({ msg }) => String(msg).includes('could not be told of changes in the database')).length, 1)
})

t.test('caches in front hear of it, and where that fails, the next changes are heard of all the same', async (t) => {
  const site = await openSite(t, postgres.url)
  const heard: string[][] = []
  const onInvalidate = ({ surrogateKeys }: { surrogateKeys: readonly string[] }): void => {
    heard.push([...surrogateKeys])
    throw new Error('the purge failed')
  }
  const app = await openApp(t, site, { cache: { ...await onRedis(t), onInvalidate } })
  for (const name of ['new', 'newer']) {
    await app.warm('/cities/1')
    heard.length = 0
    await site.query('update cities set name = $1 where id = 1', [name])
    await app.postgresInvalidation.caughtUp()
    t.ok(heard.flat().includes('cache:city:1'), JSON.stringify(heard))
    t.equal(heard.length, 1, 'once, and nothing else in place of it')
    t.equal(await app.look('/cities/1'), `miss ${name}`)
  }
  t.equal(app.postgresInvalidation.failures, 0)
})

t.test('closing ends its connection', async (t) => {
  const site = await openSite(t, postgres.url)
  const app = await openApp(t, site)
  const theirs = async (): Promise<number> =>
    (await site.query('select count(*)::integer as n from pg_stat_activity where datname = current_database()'))[0].n
  await app.warm('/cities/1')
  t.ok(await theirs() > 1)
  await app.close()
  await until(async () => await theirs() === 1, 'only this one is left')
  await t.rejects(app.postgresInvalidation.caughtUp(), { code: 'FRC_POSTGRES' })
})
