// Never silently deaf: what the database or the cache refuses is said, tried again, and blocks nothing for ever.
import t, { type Test } from 'tap'
import pg from 'pg'
import { installSql, uninstallSql, postgresInvalidation, type Watch } from '../../plugin/extras/postgres/index.js'
import { RouteCacheError } from '../../plugin/errors.js'
import { cachedApp } from '../helpers/app.js'
import { startPostgres } from '../helpers/postgres.js'
import { startPgBouncer } from '../helpers/pgbouncer.js'
import { timed } from '../helpers/timed.js'
import { until } from '../helpers/until.js'
import { CITIES, onRedis, openApp, openSite, type CitiesApp, type Site } from './postgres-site.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

const postgres = await startPostgres()
t.teardown(async () => { await postgres.stop() })

async function onEachStore (t: Test, run: (t: Test, cache: RouteCacheOptions) => Promise<void>): Promise<void> {
  await t.test('in-process store', async (t) => { await run(t, {}) })
  await t.test('redis', async (t) => { await run(t, await onRedis(t)) })
}

function said ({ lines }: CitiesApp, words: string): number {
  return lines.filter(({ msg, level }) => Number(level) > 30 && String(msg).includes(words)).length
}

/** A role that may read what an app needs, and the site as it sees it. */
async function withRole (site: Site): Promise<{ role: string, theirs: Site }> {
  const role = `app_${new URL(site.url).pathname.slice(1)}`
  await site.query(`${installSql([CITIES])}create role ${role} login password 'a'; grant select on cities to ${role};
    grant usage on schema route_cache to ${role}; grant select, delete on route_cache.outbox to ${role};
    grant select, insert, update, delete on route_cache.readers to ${role}`)
  return { role, theirs: { ...site, url: Object.assign(new URL(site.url), { username: role, password: 'a' }).href } }
}

t.test('a child that is watched without its parent is warned of', async (t) => {
  const tree = `create table p (id integer, name text) partition by range (id);
    create table q partition of p for values from (0) to (99) partition by range (id);
    create table r partition of q for values from (0) to (9); create table s partition of q for values from (9) to (99);
    create table a (id integer); create table b (id integer); create table "C 1" () inherits (a, b)`
  const watches: Array<[tables: string[], warnings: string[]]> = [
    [['p'], []], [['p', 'r'], []], [['a', 'b', '"C 1"'], []], [['a', 'b'], []],
    [['q'], ['q p']], [['r', 'q'], ['q p', 'r p']], [['r'], ['r p', 'r q']], [['r', 's', 'q'], ['q p', 'r p', 's p']],
    [['"C 1"'], ['"C 1" a', '"C 1" b']], [['a', '"C 1"'], ['"C 1" b']]
  ]
  for (const [tables, expected] of watches) {
    const site = await openSite(t, postgres.url)
    await site.query(tree)
    const watch = tables.map((table) => ({ table: table.replaceAll('"', ''), tags: `${table}:{id}` }))
    const app = await openApp(t, site, { watch })
    const warned = app.lines.filter(({ msg }) => String(msg).includes('nothing tells of it'))
    t.same(warned.map(({ table, parent }) => `${String(table)} ${String(parent)}`.replaceAll('public.', '')).sort(), expected, tables.join(', '))
  }
})

t.test('a whole that the cache would always refuse is refused at the start, and by installSql', async (t) => {
  const site = await openSite(t, postgres.url)
  const wholes: unknown[] = [
    { tags: 'cities' }, { keys: 'city' }, { tags: [''] }, { keys: [''] }, [''], '', { prefix: '' }, { prefix: [''] }, { all: false },
    { all: true, tags: ['x'] }, { tags: [5] }, {}, 5, null, { tag: ['x'] }, [], { tags: [] }, { keys: [], prefix: [] },
    { keys: ['city:{id}'] }, 'city:{id}', ['cities', 'country:{country}'], { tags: ['cities', 'country:{country}'] }, { prefix: 'city:{id}' }
  ]
  for (const whole of wholes) {
    const watch = [{ ...CITIES, whole }] as unknown as Watch[]
    t.throws(() => installSql(watch), { code: 'FRC_OPTION', message: /watch\[0\]\.whole/ }, JSON.stringify(whole))
    await t.rejects(openApp(t, site, { watch }), { code: 'FRC_OPTION' })
  }
  const app = await openApp(t, site, { watch: [{ table: 'cities', keys: ['all', 'a {id}'], tags: 'cities' }] })
  await app.warm('/all')
  await site.query('truncate cities; insert into cities values (1, \'x\')')
  await app.postgresInvalidation.caughtUp()
  t.match(await app.look('/all'), /^miss/, 'a template without a placeholder')
})

t.test('behind PgBouncer: in session mode as without, in transaction mode it is said at the start', async (t) => {
  const site = await openSite(t, postgres.url)
  const url = await startPgBouncer(t, site.url, 'session')
  const app = await openApp(t, { ...site, url }, { poll: '10s' })
  await app.warm('/cities/1')
  const { time, late } = await timed(async () => {
    await site.query("update cities set name = 'new' where id = 1")
    await until(async () => await app.look('/cities/1') === 'hit new', 'it is notified')
  })
  t.ok(time < 9_000 + late, `${time} ms: not by the next poll`)
  const pooled = await startPgBouncer(t, site.url, 'transaction')
  for (const install of [false, true]) {
    await t.rejects(openApp(t, { ...site, url: pooled }, { install }), { code: 'FRC_POSTGRES', message: /pooler in transaction mode.*connectionString/ })
  }
  const other = new pg.Client({ connectionString: pooled })
  await other.connect()
  t.match((await other.query("select current_setting('search_path') as path, current_setting('statement_timeout') as timeout")).rows,
    [{ path: '"$user", public', timeout: '0' }], 'and nothing was set for others')
  await other.end()
})

t.test('what the cache refuses each time is everything instead', async (t) => {
  const site = await openSite(t, postgres.url)
  const app = await cachedApp(t)
  const told: unknown[] = []
  app.decorate('picky', {
    stats: () => ({ store: 'memory' }),
    invalidate: async (target: object) => {
      told.push(target)
      if (!('all' in target)) throw new RouteCacheError('FRC_TAG', 'not that one')
    }
  })
  await app.register(postgresInvalidation, { watch: [CITIES], connectionString: site.url, install: true, decorator: 'picky' })
  await app.ready()
  await app.postgresInvalidation.caughtUp()
  told.length = 0
  await site.query("update cities set name = 'new' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.match(told, [{ keys: ['city:1'] }, { all: true }])
  t.equal(app.postgresInvalidation.failures, 0)
  t.equal(app.lines.filter(({ msg }) => String(msg).includes('the cache refuses')).length, 1)
})

t.test('a right that is taken away: it is said, nothing is made anew, and it goes on when it is back', async (t) => {
  await onEachStore(t, async (t, cache) => {
    const site = await openSite(t, postgres.url)
    const { role, theirs } = await withRole(site)
    const app = await openApp(t, theirs, { cache, install: false })
    await app.warm('/cities/1')
    await site.query(`revoke select on route_cache.outbox from ${role}; update cities set name = 'new' where id = 1`)
    await until(async () => app.postgresInvalidation.refusals > 2, 'it was tried again')
    t.notOk(app.postgresInvalidation.isListening)
    t.equal(app.postgresInvalidation.reconnects, 0)
    t.equal(said(app, 'Postgres refuses that the outbox is read'), 1)
    await site.query(`grant select on route_cache.outbox to ${role}`)
    await app.postgresInvalidation.caughtUp()
    t.ok(app.postgresInvalidation.isListening)
    t.equal(await app.look('/cities/1'), 'miss new')
  })
})

t.test('tries follow each other ever later', async (t) => {
  const site = await openSite(t, postgres.url)
  const { role, theirs } = await withRole(site)
  const app = await openApp(t, theirs, { install: false })
  await site.query(`revoke select on route_cache.outbox from ${role}`)
  const began = performance.now()
  app.postgresInvalidation.caughtUp().catch(() => {})
  await until(async () => app.postgresInvalidation.refusals === 5, 'five tries')
  t.ok(performance.now() - began >= 0.75 * 1_500, 'pauses of 100, 200, 400 and 800 ms, each a quarter shorter at most')
})

t.test('old lines that may not be removed are in nobody\'s way', async (t) => {
  const site = await openSite(t, postgres.url)
  const { role, theirs } = await withRole(site)
  const app = await openApp(t, theirs, { install: false, poll: '50ms' })
  await site.query(`revoke delete on route_cache.outbox from ${role}`)
  await until(async () => said(app, 'old lines of the outbox') === 1, 'it is said')
  await app.warm('/cities/1')
  await site.query("update cities set name = 'new' where id = 1")
  await app.postgresInvalidation.caughtUp()
  t.equal(await app.look('/cities/1'), 'miss new')
  t.ok(app.postgresInvalidation.isListening)
})

t.test('an outbox that was taken away and made anew: what is watched is invalidated', async (t) => {
  await onEachStore(t, async (t, cache) => {
    for (const away of [uninstallSql([CITIES]), 'drop table route_cache.outbox']) {
      const site = await openSite(t, postgres.url)
      const app = await openApp(t, site, { cache: { ...cache, prefix: away.startsWith('DO') ? 'a' : 'b' } })
      await app.warm('/cities/1')
      await site.query(`${away}; update cities set name = 'new' where id = 1; ${installSql([CITIES])}`)
      await app.postgresInvalidation.caughtUp()
      t.equal(await app.look('/cities/1'), 'miss new')
    }
  })
})
