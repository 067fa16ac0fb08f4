// What is wrong in the environment is said in one line, without a password, and soon.
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { startPostgres } from '../helpers/postgres.js'
import { freePorts, startRedis } from '../helpers/redis.js'
import { startDemo } from './demo-process.js'

const secret = 'hunter2'

t.test('each mistake gets its line', async (t) => {
  const redis = await startRedis({ args: ['--requirepass', 'another'] })
  const postgres = await startPostgres()
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(async () => {
    taken.close()
    await Promise.all([redis.stop(), postgres.stop()])
  })
  const { port } = taken.address() as AddressInfo
  const [closed] = await freePorts(1)
  const wrong = new URL(postgres.url)
  wrong.password = secret
  const nowhere = new URL(postgres.url)
  nowhere.pathname = '/nowhere'

  const mistakes: [Record<string, string>, RegExp][] = [
    [{ PORT: 'http' }, /^demo: PORT is "http"; it must be a number from 0 to 65535$/],
    [{ PORT: '65536' }, /^demo: PORT is "65536"/],
    [{ PORT: `${port}` }, /^demo: HOST and PORT: .*:\d+: already in use$/],
    [{ HOST: 'nohost.invalid' }, /^demo: HOST and PORT: .*nohost\.invalid/],
    [{ LOG_LEVEL: 'loud' }, /^demo: LOG_LEVEL is "loud"; it must be one of trace, /],
    [{ CACHE_DEADLINE: 'soon' }, /^demo: CACHE_DEADLINE is "soon"; it must be a time such as 50ms or 2s$/],
    [{ DEMO_DATA: '/dev/null/data' }, /^demo: no folder for the embedded Postgres .*; set DATABASE_URL/],
    [{ DATABASE_URL: 'localhost/db' }, /^demo: DATABASE_URL is not of the form postgres:/],
    [{ DATABASE_URL: `mysql://root:${secret}@127.0.0.1/db` }, /^demo: DATABASE_URL is not of the form/],
    [{ DATABASE_URL: `postgres://a:${secret}%@127.0.0.1/db` }, /^demo: DATABASE_URL is not of the form/],
    [{ DATABASE_URL: `postgres://a:${secret}@127.0.0.1:${closed}/db` }, /^demo: DATABASE_URL: .* connection refused$/],
    [{ DATABASE_URL: wrong.href }, /^demo: DATABASE_URL: .* password authentication failed/],
    [{ DATABASE_URL: nowhere.href }, /^demo: DATABASE_URL: .* database "nowhere" does not exist$/],
    [{ REDIS_URL: 'localhost:6379' }, /^demo: REDIS_URL is not of the form redis:/],
    [{ REDIS_URL: `redis://:${secret}@127.0.0.1:${closed}` }, /^demo: REDIS_URL: .* connection refused$/],
    [{ REDIS_URL: `redis://:${secret}@127.0.0.1:${redis.port}` }, /^demo: REDIS_URL: .* WRONGPASS/],
    [{ REDIS_URL: redis.url }, /^demo: REDIS_URL: .* it wants a password$/],
    [{ REDIS_URL: `redis://:another@127.0.0.1:${redis.port}/99` }, /^demo: REDIS_URL: .* out of range$/],
    [{ REDIS_URL: `redis://127.0.0.1:${closed},redis://127.0.0.1:${closed}` }, /^demo: REDIS_URL: .* connection refused$/],
    [{ REDIS_URL: `redis://:another@127.0.0.1:${redis.port},redis://:another@127.0.0.1:${redis.port}` }, /^demo: REDIS_URL: .* cluster support disabled$/],
    [{ REDIS_URL: `redis://127.0.0.1:${closed},127.0.0.1:${closed}` }, /^demo: REDIS_URL is not of the form/]
  ]
  for (const [env, line] of mistakes) {
    const demo = startDemo(t, { DATABASE_URL: postgres.url, ...env, ...(env.DEMO_DATA === undefined ? {} : { DATABASE_URL: '' }) })
    t.equal(await demo.ended(), 1, JSON.stringify(env))
    t.match(demo.stderr.replace(/\n$/, ''), line)
    t.equal(demo.stderr.split('\n').length, 2, 'one line')
    t.notMatch(demo.stderr + demo.stdout, secret)
    t.equal(demo.stdout, '')
  }
})
