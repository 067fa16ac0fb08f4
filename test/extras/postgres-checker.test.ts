// Looks for stale reads while writers write past the apps, in transactions that overlap, and connections are killed: what
// was committed before `caughtUp` was called is in every response whose request begins after it has resolved.
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startPostgres } from '../helpers/postgres.js'
import { startRedis } from '../helpers/redis.js'
import { openApp, openSite, type CitiesApp, type Site } from './postgres-site.js'
import type { RouteCacheOptions } from '../../plugin/index.js'

const TIME = 4_000
const IDS = [1, 2, 3, 4, 5, 6]

const postgres = await startPostgres()
t.teardown(async () => { await postgres.stop() })

t.test('on one Redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  await check(t, { redis })
})

t.test('on stores of their own', async (t) => { await check(t, {}) })

async function check (t: Test, cache: RouteCacheOptions): Promise<void> {
  const site = await openSite(t, postgres.url)
  await site.query("update cities set name = '0'")
  const apps = [await openApp(t, site, { cache }), await openApp(t, site, { cache })]
  const committed = new Map(IDS.map((id) => [id, 0]))
  const end = performance.now() + TIME
  const isOn = (): boolean => performance.now() < end
  const counts = { reads: 0, hits: 0, kills: 0, writes: 0 }

  const write = async (ids: number[]): Promise<void> => {
    const client = await site.connect()
    for (let version = 1; isOn(); version++) {
      const id = ids[version % ids.length]!
      await client.query('begin')
      await client.query('update cities set name = $1 where id = $2', [String(version), id])
      await delay(Math.random() * 10)
      await client.query('commit')
      committed.set(id, version)
      counts.writes++
      await delay(Math.random() * 20)
    }
  }
  const read = async (app: CitiesApp): Promise<string[]> => {
    const stale = []
    while (isOn()) {
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
    return stale
  }
  const [first, second] = await Promise.all([
    read(apps[0]!), read(apps[1]!), write([1, 2, 3]), write([4, 5, 6]), kill(site, { isOn, counts })
  ])
  t.same([...first, ...second], [])
  t.ok(counts.reads > 50 && counts.hits > 0 && counts.kills > 3 && counts.writes > 50, JSON.stringify(counts))
  for (const app of apps) await app.postgresInvalidation.caughtUp()
  for (const app of apps) {
    for (const id of IDS) t.equal((await app.look(`/cities/${id}`)).split(' ')[1], String(committed.get(id)))
  }
}

/** Ends one connection that listens after another. */
async function kill (site: Site, { isOn, counts }: { isOn: () => boolean, counts: { kills: number } }): Promise<void> {
  while (isOn()) {
    const killed = await site.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
      and pid <> pg_backend_pid() and application_name = 'fastify-route-cache' order by random() limit 1`)
    counts.kills += killed.length
    await delay(100 + Math.random() * 200)
  }
}
