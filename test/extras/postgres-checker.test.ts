// Looks for stale reads while writers write past the apps, in transactions that overlap, connections are killed, builds with
// other watches come and go, tables are swapped and a standby takes over: what was committed before `caughtUp` was called is
// in every response whose request begins after it has resolved.
//
// For longer: POSTGRES_CHECK_SECONDS=300 npx tap --timeout=900 test/extras/postgres-checker.test.ts
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type pg from 'pg'
import { installSql, type Watch } from '../../plugin/extras/postgres/index.js'
import { startPostgres } from '../helpers/postgres.js'
import { startStandby } from '../helpers/postgres-standby.js'
import { startForwarder } from '../helpers/tcp.js'
import { until } from '../helpers/until.js'
import { CITIES, onRedis, openApp, openSite, type CitiesApp, type Site } from './postgres-site.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

const TIME = Number(process.env.POSTGRES_CHECK_SECONDS ?? 3) * 1_000
const IDS = [1, 2, 3, 4, 5, 6]

t.test('on one Redis', async (t) => {
  const postgres = await startPostgres()
  t.teardown(async () => { await postgres.stop() })
  await check(t, { url: postgres.url, cache: await onRedis(t) })
})

t.test('on stores of their own', async (t) => {
  const postgres = await startPostgres()
  t.teardown(async () => { await postgres.stop() })
  await check(t, { url: postgres.url, cache: {} })
})

t.test('a rolling deploy, a table swap, and a failover to a standby', async (t) => {
  const primary = await startPostgres()
  t.teardown(async () => { await primary.stop() })
  const forwarder = await startForwarder(portOf(primary))
  t.teardown(() => { forwarder.close() })
  const url = Object.assign(new URL(primary.url), { port: String(forwarder.port) }).href
  const events = async (run: Run): Promise<void> => {
    const standby = await startStandby(primary)
    t.teardown(async () => { await standby.stop() })
    const [first, second] = run.apps as [CitiesApp, CitiesApp]
    const deploy = async (former: CitiesApp): Promise<void> => {
      await run.begin(NEXT)
      await run.end(former)
      await delay(TIME / 8)
    }
    await deploy(first)
    await swap(run.site)
    await delay(TIME / 8)
    forwarder.turn(null)
    await primary.stop()
    await standby.promote()
    forwarder.turn(portOf(standby))
    await run.inCalm(async () => {
      await until(async () => run.apps.every(({ postgresInvalidation }) => postgresInvalidation.isListening), 'all are connected again', 60_000)
    })
    await deploy(second)
    await swap(run.site)
    await delay(TIME / 4)
  }
  await check(t, { url, cache: await onRedis(t), watch: FORMER, events })
})

const FORMER: Watch[] = [{ table: 'cities', keys: 'city:{id}' }]
const NEXT: Watch[] = [{ ...CITIES, keys: ['city:{id}', 'other:{name}'] }]

function portOf ({ url }: { url: string }): number {
  return Number(new URL(url).port)
}

/** Another table takes the place of the watched one, as migrations do it. */
async function swap (site: Site): Promise<void> {
  const client = await site.connect()
  await client.query(`begin; lock table cities in access exclusive mode; create table next_cities (like cities including all);
    insert into next_cities select * from cities; alter table cities rename to old_cities; alter table next_cities rename to cities;
    drop table old_cities; ${installSql([...FORMER, ...NEXT])} commit`)
  await client.end()
}

interface Run {
  site: Site
  /** Those that are read from. */
  apps: CitiesApp[]
  begin: (watch: Watch[]) => Promise<void>
  end: (app: CitiesApp) => Promise<void>
  /** No connection is killed meanwhile. */
  inCalm: <T>(work: () => Promise<T>) => Promise<T>
}

interface Checked { url: string, cache: RouteCacheOptions, watch?: Watch[], events?: (run: Run) => Promise<void> }

async function check (t: Test, { url, cache, watch = [CITIES], events }: Checked): Promise<void> {
  const site = await openSite(t, url)
  await site.query("update cities set name = '0'")
  const committed = new Map(IDS.map((id) => [id, 0]))
  const counts = { reads: 0, hits: 0, kills: 0, writes: 0 }
  const stale: string[] = []
  const reading = new Map<CitiesApp, Promise<void>>()
  let isOn = true
  let isCalm = false
  const isRunning = (): boolean => isOn
  const isRead = (app: CitiesApp): boolean => isOn && run.apps.includes(app)

  const write = async (ids: number[]): Promise<void> => {
    let client = await site.connect()
    for (let version = 1; isRunning(); version++) {
      const id = ids[version % ids.length]!
      try {
        await client.query('begin')
        await client.query('update cities set name = $1 where id = $2', [String(version), id])
        await delay(Math.random() * 10)
        await client.query('commit')
        committed.set(id, version)
        counts.writes++
      } catch {
        client = await connectedAgain(site)
      }
      await delay(Math.random() * 20)
    }
  }
  const read = async (app: CitiesApp): Promise<void> => {
    while (isRead(app)) {
      const least = new Map(committed)
      await app.postgresInvalidation.caughtUp()
      for (const id of IDS) {
        const [state, version] = (await app.look(`/cities/${id}`)).split(' ')
        counts.reads++
        if (state === 'hit') counts.hits++
        if (Number(version) < least.get(id)!) stale.push(`city ${id}: ${state} ${version}, committed ${least.get(id)}`)
      }
      // Without it there would be no hits to be wrong.
      for (let i = 0; i < 5; i++) for (const id of IDS) await app.look(`/cities/${id}`)
    }
  }
  const killing = await startKilling(site, counts)
  const run: Run = {
    site,
    apps: [],
    async begin (watch) {
      // A start whose connection is killed fails, as it should.
      const app = await run.inCalm(async () => await openApp(t, site, { cache, watch }))
      run.apps.push(app)
      reading.set(app, read(app))
    },
    async inCalm (work) {
      isCalm = true
      await killing.settled()
      try {
        return await work()
      } finally {
        isCalm = false
      }
    },
    async end (app) {
      run.apps.splice(run.apps.indexOf(app), 1)
      await reading.get(app)
      await app.close()
    }
  }
  const writing = [write([1, 2, 3]), write([4, 5, 6]), killing.run(isRunning, () => !isCalm)]
  for (let i = 0; i < 2; i++) await run.begin(watch)
  const isEnough = (): boolean => counts.reads > 50 && counts.hits > 0 && counts.kills > 3 && counts.writes > 50
  await (events === undefined ? delay(TIME) : events(run))
  await until(async () => isEnough(), 'there was enough to be wrong', 60_000)
  isOn = false
  await Promise.all([...writing, ...reading.values()])
  t.same(stale, [])
  t.ok(isEnough(), JSON.stringify(counts))
  t.comment(JSON.stringify(counts))
  for (const app of run.apps) await app.postgresInvalidation.caughtUp()
  for (const app of run.apps) {
    for (const id of IDS) t.ok(Number((await app.look(`/cities/${id}`)).split(' ')[1]) >= committed.get(id)!)
  }
}

async function connectedAgain (site: Site): Promise<pg.Client> {
  for (;;) {
    try {
      return await site.connect()
    } catch {
      await delay(50)
    }
  }
}

/** Ends one connection that listens after another. */
async function startKilling (site: Site, counts: { kills: number }): Promise<{
  run: (isOn: () => boolean, isAllowed: () => boolean) => Promise<void>
  settled: () => Promise<void>
}> {
  let client = await site.connect()
  let last: Promise<unknown> = Promise.resolve()
  const kill = async (): Promise<void> => {
    try {
      const { rows } = await client.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
        and pid <> pg_backend_pid() and application_name = 'fastify-route-cache' order by random() limit 1`)
      counts.kills += rows.length
    } catch {
      client = await connectedAgain(site)
    }
  }
  return {
    async run (isOn, isAllowed) {
      while (isOn()) {
        if (isAllowed()) await (last = kill())
        await delay(100 + Math.random() * 200)
      }
    },
    async settled () { await last }
  }
}
