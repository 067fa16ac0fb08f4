// The plugin's own Redis client, and the lines of an outage: which server, why, what becomes of requests, and how it ended.
import fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { routeCache, type RouteCacheOptions } from '../../plugin/index.js'
import { causeOf, Outage } from '../../plugin/store/server/outage.js'
import { freePorts, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

interface Said { app: FastifyInstance, lines: string[] }

async function opened (t: Test, options: RouteCacheOptions): Promise<Said> {
  const lines: string[] = []
  const stream = {
    write: (line: string) => {
      const { level, msg } = JSON.parse(line) as { level: number, msg: string }
      lines.push(`${level} ${msg}`)
    }
  }
  const app = fastify({ logger: { level: 'warn', stream } })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, options)
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  app.post('/', async () => { await app.cache.invalidate('k') })
  await app.ready()
  return { app, lines }
}

const HIT = /; hit/

t.test('it starts while Redis is down, and works as soon as it is there', async (t) => {
  const [port] = await freePorts(1) as [number]
  const { app, lines } = await opened(t, { redis: { url: `redis://:secret@127.0.0.1:${port}` }, writeDeadline: 0.1, breakerThreshold: 2 })
  const server = `Redis 127\\.0\\.0\\.1:${port} \\(ECONNREFUSED: nothing listens there\\)`
  t.match(lines, [
    new RegExp(`^40 fastify-route-cache: ${server} can't be used: requests go to their handlers until it can`),
    new RegExp(`^40 the cache starts without its store, ${server}: requests go to their handlers, until it is there$`)
  ])
  for (let i = 0; i < 3; i++) t.match((await app.inject('/')).headers['cache-status'], /detail=(?:store|breaker)/)
  await until(async () => app.cache.stats().breaker === 'open', 'the breaker did not open')
  const { statusCode, body } = await app.inject({ method: 'POST', url: '/' })
  t.equal(statusCode, 503)
  t.match(JSON.parse(body), { error: 'Service Unavailable' })
  t.notMatch(body, /127\.0\.0\.1|ECONN|"k"/, 'it names neither key nor server')
  t.ok(lines.some((line) => new RegExp(`^40 the cache does without its store, ${server}`).test(line)), 'the breaker')
  t.ok(lines.some((line) => new RegExp(`^50 the cache could not be told of an invalidation, as ${server} did not take it: it is kept`).test(line)))
  t.notMatch(lines.join('\n'), /secret/)
  const redis = await startRedis({ port } as never)
  t.teardown(async () => { await redis.stop() })
  await until(async () => {
    const { headers } = await app.inject('/')
    return HIT.test(String(headers['cache-status']))
  }, 'no hit when it was back')
  t.ok(lines.some((line) => /^40 the cache uses its store again, after [\d.]+ s; \d+ lookups went past it meanwhile$/.test(line)), lines.join('\n'))
  t.ok(lines.some((line) => /^50 the cache was told of all invalidations, and serves again, after [\d.]+ s$/.test(line)))
  const { redis: own } = app.cache
  await app.close()
  await until(async () => own?.status === 'end', 'it was not closed with the app')
})

t.test('a wrong password, and rights that are lacking, by their causes', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const admin = server.client()
  await admin.call('ACL', 'SETUSER', 'cacher', 'on', '>right', '~*', '&*', '+@all', '-eval', '-evalsha')
  const { host, port } = (admin as unknown as { options: { host: string, port: number } }).options
  const wrong = await opened(t, { redis: { host, port, username: 'cacher', password: 'wrong' } })
  t.ok(wrong.lines.some((line) => /WRONGPASS: the password or the user name is wrong/.test(line)), wrong.lines.join('\n'))
  const poor = await opened(t, { redis: { host, port, username: 'cacher', password: 'right' } })
  t.ok(poor.lines.some((line) => /NOPERM: the client's user lacks a right, for the 'eval(?:sha)?' command/.test(line)), poor.lines.join('\n'))
})

t.test('the causes of a store\'s errors, whatever they are wrapped in', async (t) => {
  const cases: Array<[error: unknown, cause: RegExp | null]> = [
    [new Error('x', { cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) }), /^ECONNREFUSED: nothing listens there$/],
    [Object.assign(new Error('no'), { lastNodeError: new Error('MOVED 866 127.0.0.1:1') }), /^MOVED: .* new Cluster\(/],
    [new AggregateError([Object.assign(new Error('a'), { code: 'ENOTFOUND' })]), /^ENOTFOUND/],
    [new Error('OOM command not allowed when used memory > \'maxmemory\'.'), /^OOM: the server is full/],
    [new Error('READONLY You can\'t write against a read only replica.'), /^READONLY: the server is a replica/],
    [new Error('NOPERM User x has no permissions to run the \'info\' command'), /for the 'info' command$/],
    [new Error('anything'), null], [null, null], [undefined, null], ['text', null]
  ]
  for (const [error, cause] of cases) {
    if (cause === null) t.equal(causeOf(error), null)
    else t.match(causeOf(error), cause)
  }
  const client = new Redis('redis://user:secret@localhost:1', { lazyConnect: true })
  t.equal(new Outage(client as never).describe(new Error('x')), 'Redis localhost:1 (it is not connected)')
  t.equal(new Outage(null).describe(new Error('x')), 'the in-process store (x)')
  client.disconnect()
})

t.test('what is neither a client nor a place is refused', async (t) => {
  for (const redis of [{}, { url: '' }, { url: 7 }, 'redis://127.0.0.1', [], { urll: 'x' }, null]) {
    await t.rejects(opened(t, { redis: redis as never }), { code: 'FRC_OPTION', message: /redis is .*or write \{ url: "redis:/ }, JSON.stringify(redis))
  }
})
