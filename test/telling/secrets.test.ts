// No line of the log, no error that a call rejects with, and no event has a password, however the client fails.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { withoutPasswords, withoutSecrets } from '../../plugin/errors.js'
import { createCache } from '../../plugin/extras/client/index.js'
import { healthOf } from '../../plugin/extras/dashboard/health.js'
import { runCommand } from '../../plugin/extras/command/command.js'
import { routeCache, type RouteCacheOptions } from '../../plugin/index.js'
import { startRedis } from '../helpers/redis.js'

const SECRET = 's3cret'

/** All that an app says with these options: its log, what its calls reject with, its events. */
async function saidBy (t: Test, redis: unknown): Promise<string> {
  const lines: string[] = []
  const hear = (message: unknown): void => { lines.push(inspect(message, { depth: 12, showHidden: true })) }
  // Its member `cache` has the client, with its options.
  const hearEvent = (event: unknown): void => { hear((event as { error: unknown }).error) }
  for (const name of ['breaker', 'invalidation']) subscribe(`fastify-route-cache:${name}`, hearEvent)
  const app = fastify({ logger: { level: 'debug', stream: { write: (line: string) => { lines.push(line) } } } })
  await app.register(routeCache, { redis, prefix: 'secret', writeDeadline: 0.3, breakerThreshold: 1 } as RouteCacheOptions)
  app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => 'x')
  app.post('/', async () => { await app.cache.invalidate('k') })
  await app.ready()
  for (let i = 0; i < 3; i++) await app.inject('/')
  await app.inject({ method: 'POST', url: '/' })
  const calls = [
    async () => await app.cache.invalidate({ tags: ['t'] }), async () => await app.cache.mutate('k', () => 1),
    async () => await app.cache.put('k', 1), async () => await app.cache.get('k')
  ]
  for (const call of calls as ReadonlyArray<() => Promise<unknown>>) {
    await t.rejects(call(), { code: /FRC_STORE|FRC_DEADLINE/ })
    hear(await call().catch((error: unknown) => error))
  }
  hear(await app.cache.explain({ key: 'k' }))
  if (app.cache.redis !== null) hear(await healthOf(app.cache.redis))
  await app.close()
  for (const name of ['breaker', 'invalidation']) unsubscribe(`fastify-route-cache:${name}`, hearEvent)
  return lines.join('\n')
}

t.test('a wrong password, by each client', async (t) => {
  const server = await startRedis({ args: ['--requirepass', 'right'] })
  t.teardown(async () => { await server.stop() })
  const { host, port } = server
  const closing: Array<() => void> = []
  t.teardown(() => { for (const close of closing) close() })
  const kept = <C extends { disconnect: () => unknown, on: (event: 'error', listener: () => void) => unknown }>(client: C): C => {
    client.on('error', () => {})
    closing.push(() => { client.disconnect() })
    return client
  }
  const nodeRedis = createClient({ url: `redis://:${SECRET}@${host}:${port}` })
  nodeRedis.on('error', () => {})
  nodeRedis.connect().catch(() => {})
  closing.push(() => { nodeRedis.destroy() })
  const wrong: Record<string, unknown> = {
    url: { url: `redis://:${SECRET}@${host}:${port}` },
    'url, with a user': { url: `redis://${SECRET}-user:${SECRET}@${host}:${port}` },
    options: { host, port, password: SECRET },
    'RESP2, so AUTH': { host, port, password: SECRET, protocol: 2 },
    'a client': kept(new Redis({ host, port, password: SECRET })),
    'a Cluster': kept(new Cluster([{ host, port }], { redisOptions: { password: SECRET } })),
    'a Cluster, by URL': kept(new Cluster([`redis://:${SECRET}@${host}:${port}`])),
    sentinels: { sentinels: [{ host, port }], name: 'shop', sentinelPassword: SECRET, password: SECRET },
    iovalkey: kept(new Valkey({ host, port, password: SECRET })),
    'node-redis': nodeRedis,
    'a URL as host': { host: `redis://:${SECRET}@${host}`, port },
    'a URL as path': { path: `redis://:${SECRET}@${host}` }
  }
  for (const [name, redis] of Object.entries(wrong)) {
    const said = await saidBy(t, redis)
    t.match(said, /the cache could not be told of an invalidation/, name)
    const at = said.indexOf(`${SECRET}`)
    t.equal(at < 0 ? '' : said.slice(Math.max(0, at - 300), at + 50), '', name)
  }
  const urls = [['--url', `redis://:${SECRET}@${host}:${port}`], ['--url', `redis://:${SECRET}@${host}:${port}`, '--cluster']]
  for (const args of urls) t.notMatch((await runCommand(['doctor', ...args], {})).problem, new RegExp(SECRET))
})

t.test('a server that does not know HELLO repeats its arguments', async (t) => {
  const renamed = ['AUTH', 'HELLO'].flatMap((command) => ['--rename-command', command, ''])
  const server = await startRedis({ args: ['--requirepass', 'right', ...renamed] })
  t.teardown(async () => { await server.stop() })
  const { host, port } = server
  for (const redis of [{ host, port, password: SECRET }, { host, port, password: SECRET, protocol: 2 }]) {
    t.notMatch(await saidBy(t, redis), new RegExp(SECRET))
  }
  t.notMatch(Object.values(await runCommand(['doctor', '--url', `redis://:${SECRET}@${host}:${port}`], {})).join(), new RegExp(SECRET))
})

t.test('places that are none are refused, without what was given', async (t) => {
  const wrong = [
    { url: `redis://:${SECRET}#x@127.0.0.1:1` }, { url: `redis://:${SECRET}/x@127.0.0.1:1` }, { url: `redis://:${SECRET}?x@127.0.0.1:1` },
    { url: `redis://user:12?${SECRET}@127.0.0.1` }, { url: `redis://user:12#${SECRET}@127.0.0.1` }, { url: `redis://user:12/${SECRET}@h` },
    { url: `redis://:${SECRET}%@127.0.0.1` }, { url: `redis://:${SECRET}@127.0.0.1:99999` }, { url: `redis://:${SECRET}@127.0.0.1:x` },
    { url: `http://:${SECRET}@127.0.0.1:1` }, { url: `REDISS://:${SECRET}@127.0.0.1:1` }, { url: `:${SECRET}@127.0.0.1` },
    { url: `redis://:${SECRET}@127.0.0.1/abc` }, { url: `redis://:${SECRET}@127.0.0.1?db=abc` }, { url: `//:${SECRET}@127.0.0.1` },
    { url: `/${SECRET}.sock?db=x` }, { url: `redis://:${SECRET}@127.0.0.1`, db: 'x' }, { host: 'h', password: SECRET, db: Number.NaN },
    { host: 'h', password: SECRET, port: 'x' }, { url: '', password: SECRET }, { urll: 'x', pasword: SECRET }, { url: undefined, password: SECRET },
    { url: `redis://:${SECRET}" x@h`, host: 7, db: {} }, `redis://:${SECRET}" 'x@h`, [`redis://:${SECRET} x@h`], { uri: `redis://:${SECRET} x@h` }
  ]
  for (const redis of wrong) {
    const opened = createCache({ redis: redis as never, logger: false })
    await t.rejects(opened, { code: 'FRC_OPTION' }, JSON.stringify(redis))
    t.notMatch(inspect(await opened.catch((error: unknown) => error),
      { showHidden: true }), new RegExp(SECRET), JSON.stringify(redis))
  }
  await t.rejects(createCache({ redis: { url: undefined } as never }), { message: /its url is undefined, as of an environment variable/ })
})

t.test('what an error carries is left out of a copy, wherever it lies, and the error itself stays as it is', async (t) => {
  const refused = Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['u', SECRET] } })
  const named = Object.assign(new Error(`getaddrinfo ENOTFOUND u:${SECRET}@h`), { code: 'ENOTFOUND', hostname: `u:${SECRET}@h` })
  const round = Object.assign(new Error('round'), { again: refused as Error })
  round.again = Object.assign(new Error('and round'), { cause: round, errors: [refused] })
  const telling = [
    refused, named, round, new Error('x', { cause: refused }), new AggregateError([new Error('y'), refused]),
    Object.assign(new Error('x'), { lastNodeError: refused }), Object.assign(new Error('x'), { errors: [[refused]] }),
    new Error(`ERR unknown command 'AUTH', with args beginning with: '${SECRET}' `),
    Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: SECRET, base: SECRET })
  ]
  for (const error of telling) {
    const copy = withoutSecrets(error) as Error & { command?: object }
    t.not(copy, error)
    t.notMatch(inspect(copy, { depth: 9, showHidden: true }), new RegExp(SECRET))
    t.equal(Object.getPrototypeOf(copy), Object.getPrototypeOf(error))
    t.equal(copy.message.slice(0, 8), error.message.slice(0, 8))
    t.match(inspect(error, { depth: 9, showHidden: true }), new RegExp(SECRET), 'the error itself')
  }
  t.strictSame((withoutSecrets(refused) as typeof refused).command, { name: 'auth' })
  for (const other of [new Error('x', { cause: new Error('y') }), null, undefined, 'text', { command: { args: [] } }]) t.equal(withoutSecrets(other), other)
  t.equal(withoutPasswords(`a redis://u:${SECRET}@h b`), 'a redis://***@h b')
})
