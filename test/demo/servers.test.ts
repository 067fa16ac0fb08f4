// The demo on servers given by URL, with the same code: Postgres and Redis, one server or a Cluster.
import pg from 'pg'
import t from 'tap'
import { startPostgres } from '../helpers/postgres.js'
import { startCluster, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { checkDemo, clientOf } from './checks.js'
import { startDemo } from './demo-process.js'
import { checkCachesInFront } from './in-front.js'

const postgres = await startPostgres()
t.teardown(async () => await postgres.stop())

async function query (sql: string, url = postgres.url): Promise<any[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

async function newDatabase (name: string): Promise<string> {
  await query(`create database ${name}`)
  const url = new URL(postgres.url)
  url.pathname = `/${name}`
  return url.href
}

t.test('on a Redis and a Postgres', async (t) => {
  await query('create table cities (id integer)')
  const redis = await startRedis()
  t.teardown(async () => await redis.stop())
  const demo = startDemo(t, { DATABASE_URL: postgres.url, REDIS_URL: redis.url })
  const base = await demo.ready()
  t.match(demo.stdout, /Redis/)
  const client = redis.client()
  await client.set('demonstration', 'not ours')
  await checkDemo(t, base)

  const send = clientOf(base)
  for (const path of ['/users/1', '/cities/1', '/countries', '/countries/DE/cities?page=2', '/nearest?lat=-1.5&lng=2']) {
    await send('GET', path)
    // The answer doesn't wait for the fill; who asks again does.
    await send('GET', path)
  }
  const names = await client.keys('demo:*')
  for (const name of ['demo:user:1', 'demo:city:1', 'demo:countries', 'demo:cities:DE:page:2', 'demo:nearest:-1.5:2']) {
    t.ok(names.includes(name), name)
  }
  const ttl = await client.ttl('demo:user:1')
  t.ok(ttl > 590 && ttl <= 600, `${ttl} seconds`)
  t.equal(await client.get('demonstration'), 'not ours')
  t.same(await query('select * from public.cities'), [], 'tables of the same name are left alone')

  t.match(await send('GET', '/cities/1'), { cache: 'hit', json: { name: /^(?!psql)/ } })
  const [{ name }] = await query('select name from route_cache_demo.cities where id = 1')
  await query("update route_cache_demo.cities set name = 'psql' where id = 1")
  await until(async () => (await send('GET', '/cities/1')).json.name === 'psql', 'what another connection writes is seen')
  await query(`update route_cache_demo.cities set name = '${name}' where id = 1`)
  // Heard as well: what is filled next stays.
  await until(async () => (await send('GET', '/cities/1')).json.name === name, 'the second write is seen')

  await t.test('with caches in front', async (t) => { await checkCachesInFront(t, base) })

  await redis.kill()
  t.match(await send('GET', '/users/1'), { status: 200, cache: 'bypass', json: { name: 'Ada Brandt' } })
  t.match(await send('PUT', '/users/1', { name: 'Ada Brandt', email: 'ada.brandt@example.com' }),
    { status: 503, json: { detail: /the cache could not be told/ } }, 'who writes must know')
  t.equal(await demo.stop(), 0, 'it ends without Redis too')
})

t.test('on a Cluster, given by its nodes or by one of them', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => await cluster.stop())
  for (const urls of [cluster.urls.join(','), cluster.urls[0] ?? '']) {
    const demo = startDemo(t, { DATABASE_URL: postgres.url, REDIS_URL: urls })
    const send = clientOf(await demo.ready())
    const paths = Array.from({ length: 12 }, (_, i) => `/countries/DE/cities?page=${i + 1}`)
    const caches = async () => (await Promise.all(paths.map((path) => send('GET', path)))).map(({ cache }) => cache)
    t.same(await caches(), Array(12).fill('miss'))
    t.same(await caches(), Array(12).fill('hit'))
    t.match(await send('DELETE', '/cache/countries/DE/cities'), { json: { removed: 12 } }, 'on every node')
    t.same(await caches(), Array(12).fill('miss'))
    t.equal((await send('DELETE', '/cache/countries/DE/cities')).status, 200)
    t.equal(await demo.stop(), 0)
  }
})

t.test('a load that is killed leaves nothing behind, and two at once load once', async (t) => {
  const url = await newDatabase('fresh')
  const killed = startDemo(t, { DATABASE_URL: url })
  await killed.loading()
  await killed.stop('SIGKILL')

  const demos = [startDemo(t, { DATABASE_URL: url }), startDemo(t, { DATABASE_URL: url })]
  await Promise.all(demos.map(async (demo) => await demo.ready()))
  t.equal(demos.filter((demo) => demo.stderr.includes('Loading')).length, 1)
  t.same(await query('select count(*)::integer as cities from route_cache_demo.cities', url), [{ cities: 171_075 }])
  t.same((await Promise.all(demos.map(async (demo) => await demo.stop()))), [0, 0])
})

t.test('somebody else\'s schema of our name is left alone', async (t) => {
  const url = await newDatabase('strange')
  await query('create schema route_cache_demo; create table route_cache_demo.users (id integer)', url)
  const demo = startDemo(t, { DATABASE_URL: url })
  t.equal(await demo.ended(), 1)
  t.match(demo.stderr, /^demo: DATABASE_URL: .* route_cache_demo .* not the demo's\n$/)
  t.same(await query('select * from route_cache_demo.users', url), [])
})

t.test('a database that goes away is a problem of its own', async (t) => {
  const demo = startDemo(t, { DATABASE_URL: postgres.url })
  const send = clientOf(await demo.ready())
  t.equal((await send('GET', '/users/1')).cache, 'miss')
  await postgres.stop()
  t.equal((await send('GET', '/users/1')).cache, 'hit')
  t.match(await send('GET', '/users/2'), { status: 503, type: /problem/, json: { detail: 'the database cannot be reached' } })
  t.equal(await demo.stop(), 0)
})
