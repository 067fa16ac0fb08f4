// The plugin's own Redis client, and the lines of an outage: which server, why, what becomes of requests, and how it ended.
import fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { routeCache, type RouteCacheOptions } from '../../plugin/index.js'
import { runCommand } from '../../plugin/extras/command/command.js'
import { causeOf } from '../../plugin/store/server/causes.js'
import { Outage } from '../../plugin/store/server/outage.js'
import { freePorts, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

interface Said { app: FastifyInstance, lines: string[] }

async function opened (t: Test, options: RouteCacheOptions, declare = (_app: FastifyInstance): void => {}): Promise<Said> {
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
  declare(app)
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
  t.ok(lines.some((line) => new RegExp(`^50 the cache could not be told of an invalidation, as ${server} did not take it: it is kept`).test(line)))
  t.notMatch(lines.join('\n'), /secret/)
  const redis = await startRedis({ port } as never)
  t.teardown(async () => { await redis.stop() })
  await until(async () => {
    const { headers } = await app.inject('/')
    return HIT.test(String(headers['cache-status']))
  }, 'no hit when it was back')
  t.ok(lines.some((line) => /^40 the cache uses its store again, Redis [\w.]+:\d+, after [\d.]+ s; \d+ lookups went past it meanwhile$/.test(line)), lines.join('\n'))
  t.ok(lines.some((line) => /^50 the cache, in Redis [\w.]+:\d+, was told of all invalidations, and serves again, after [\d.]+ s$/.test(line)))
  const { redis: own } = app.cache
  await app.close()
  await until(async () => own?.status === 'end', 'it was not closed with the app')
})

t.test('a start without Redis whose end no lookup has seen', async (t) => {
  const [port] = await freePorts(1) as [number]
  const { app, lines } = await opened(t, { redis: { host: '127.0.0.1', port } })
  t.equal(lines.length, 2, lines.join('\n'))
  const redis = await startRedis({ port } as never)
  t.teardown(async () => { await redis.stop() })
  await until(async () => lines.length > 2, 'it said so')
  t.match(lines.slice(2), [/^40 the cache uses its store again, Redis [\w.]+:\d+, after [\d.]+ s; 0 lookups went past it meanwhile$/])
  await app.close()
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

t.test('a full server: what is stored is served, and the end of it is said', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  const { app, lines } = await opened(t, { redis: client, deadline: 30 }, (app) => {
    app.get('/:id', { cache: { key: 'a:{id}' } }, async () => 'x')
  })
  await app.inject('/1')
  await app.cache.settled()
  await client.call('CONFIG', 'SET', 'maxmemory', '1mb')
  for (let i = 0; i < 3; i++) await app.inject(`/${i + 2}`)
  t.match((await app.inject('/1')).headers['cache-status'], HIT)
  await app.cache.invalidate('a:1')
  await client.call('CONFIG', 'SET', 'maxmemory', '0')
  await app.inject('/5')
  await app.cache.settled()
  t.match(lines, [
    /^40 cache lookup failed, so the request goes to its handler: Redis 127\.0\.0\.1:\d+ \(OOM: the server is full, and evicts nothing: raise its maxmemory, or/,
    /^40 cache lookups succeed again, Redis [\w.]+:\d+, after [\d.]+ s; 3 failed meanwhile$/
  ])
  t.equal(lines.length, 2)
})

t.test('a client for a single server on one of a Cluster', async (t) => {
  const server = await startRedis({ cluster: true })
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  const advice = /^40 the cache starts without its store, Redis \S+ \((?:MOVED|CROSSSLOT|CLUSTERDOWN): .*\): requests go to their handlers/
  const first = await opened(t, { redis: client })
  t.match(first.lines, [advice], 'it has no slots')
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'it has all slots')
  const { app, lines } = await opened(t, { redis: client, prefix: 'other' })
  t.match(lines, [/CROSSSLOT: the server is one of a Cluster, and the client is for a single one: give the plugin new Cluster\(/])
  await app.inject('/')
  t.ok(lines.every((line) => line.includes('CROSSSLOT')), lines.join('\n'))
})

type Change = (text: string) => string

/** Forwards to the server, and changes what is said, as a proxy does. */
async function startProxy (t: Test, to: number, [asked, answered]: [Change, Change]): Promise<number> {
  const proxy = createServer((socket) => {
    const other = connect(to, '127.0.0.1')
    socket.on('data', (data) => { other.write(asked(data.toString('latin1')), 'latin1') })
    other.on('data', (data) => { socket.write(answered(data.toString('latin1')), 'latin1') })
    for (const [one, its] of [[socket, other], [other, socket]] as const) one.on('error', () => {}).on('close', () => { its.destroy() })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => { proxy.close() })
  return (proxy.address() as AddressInfo).port
}

t.test('a server that does not say who it is', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const admin = server.client()
  await admin.call('ACL', 'SETUSER', 'cacher', 'on', '>right', '~*', '&*', '+@all', '-info')
  const { host, port } = (admin as unknown as { options: { host: string, port: number } }).options
  const remedy = /without INFO nobody can tell a server that was restarted, or replaced\. .* with \+info; or write trustFailover: true/
  const same: Change = (text) => text
  const nameless = await startProxy(t, port, [same, (text) => text.replaceAll('run_id:', 'nothing')])
  const silent = await startProxy(t, port, [(text) => text.replaceAll('$4\r\ninfo', '$4\r\nnone'), same])
  const places: Record<string, { redis: object, says: RegExp }> = {
    acl: { redis: { host, port, username: 'cacher', password: 'right', enableReadyCheck: false }, says: /NOPERM: the client's user lacks a right, for the 'info' command;/ },
    nameless: { redis: { host, port: nameless }, says: /INFO does not tell the server's run_id, as behind a proxy/ },
    'no such command': { redis: { host, port: silent, enableReadyCheck: false }, says: /INFO is refused \(ERR unknown command/ }
  }
  for (const [name, { redis, says }] of Object.entries(places)) {
    const { lines } = await opened(t, { redis: redis as never })
    t.equal(lines.length, 1, lines.join('\n'))
    t.match(lines[0], says, name)
    t.match(lines[0], remedy, name)
    const trusting = await opened(t, { redis: redis as never, trustFailover: true, deadline: 30 })
    t.strictSame(trusting.lines, [], `${name}: trusted`)
    await trusting.app.inject('/')
    await trusting.app.cache.settled()
    t.match((await trusting.app.inject('/')).headers['cache-status'], HIT, name)
    await trusting.app.cache.invalidate('k')
    t.match((await trusting.app.inject('/')).headers['cache-status'], /fwd=miss/, name)
    await trusting.app.close()
  }
  const primary = await startRedis()
  t.teardown(async () => { await primary.stop() })
  await admin.call('REPLICAOF', '127.0.0.1', String(primary.port))
  const replica = await opened(t, { redis: { host, port } as never, trustFailover: true })
  t.match(replica.lines, [/the server is a replica, which may lag behind: connect to its primary|READONLY/], 'a replica is not trusted')
})

t.test('a database that is refused is not used, nor is another in its place', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const admin = server.client()
  await admin.call('ACL', 'SETUSER', 'cacher', 'on', '>right', '~*', '&*', '+@all', '-select')
  const address = `${server.host}:${server.port}`
  const refused: Array<[url: string, why: RegExp]> = [
    [`redis://cacher:right@${address}/1`, /NOPERM: the client's user lacks a right, for the 'select' command/],
    [`redis://${address}/99`, /it is not connected: ERR DB index is out of range/]
  ]
  for (const [url, why] of refused) {
    const { app, lines } = await opened(t, { redis: { url }, deadline: 30, writeDeadline: 0.2 })
    t.match((await app.inject('/')).headers['cache-status'], /fwd=bypass/)
    await t.rejects(app.cache.invalidate('k'), { code: /FRC_STORE|FRC_DEADLINE/ })
    t.match(lines[0], why)
    for (const args of [['purge', '--key', 'k'], ['keys'], ['doctor']]) {
      t.match(await runCommand([...args, '--url', url], {}), { out: '', code: 3, problem: why }, args.join(' '))
    }
  }
  t.equal(await admin.dbsize(), 0)
  const right = await opened(t, { redis: { url: `redis://${address}/1` }, deadline: 30 })
  await right.app.inject('/')
  await right.app.cache.settled()
  t.match((await right.app.inject('/')).headers['cache-status'], HIT)
  t.equal(await admin.dbsize(), 0)
})

t.test('ioredis that is not installed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-alone-'))
  t.teardown(async () => { await rm(folder, { recursive: true }) })
  const root = new URL('../../', import.meta.url)
  // A copy, as Node looks for packages from where a file really lies.
  for (const part of ['dist', 'package.json']) await cp(new URL(part, root), join(folder, 'node_modules/fastify-route-cache', part), { recursive: true })
  for (const name of ['fastify', 'fastify-plugin', 'ms']) await symlink(fileURLToPath(new URL(`node_modules/${name}`, root)), join(folder, 'node_modules', name))
  const start = "fastify().register(routeCache, { redis: { url: 'redis://127.0.0.1' } }).ready().catch(({ code, message }) => { console.log(code, message) })"
  await writeFile(join(folder, 'app.mjs'), `import fastify from 'fastify'\nimport { routeCache } from 'fastify-route-cache'\n${start}`)
  await writeFile(join(folder, 'app.cjs'), `const fastify = require('fastify')\nconst { routeCache } = require('fastify-route-cache')\n${start}`)
  for (const file of ['app.mjs', 'app.cjs']) {
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, file)])
    t.match(stdout, /^FRC_OPTION fastify-route-cache: redis says where the server is, and the client for it is not installed: npm i ioredis\. Or give a client/, file)
  }
})

t.test('the causes of a store\'s errors, whatever they are wrapped in', async (t) => {
  const cases: Array<[error: unknown, cause: RegExp | null]> = [
    [new Error('x', { cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) }), /^ECONNREFUSED: nothing listens there$/],
    [Object.assign(new Error('no'), { lastNodeError: new Error('MOVED 866 127.0.0.1:1') }), /^MOVED: .* new Cluster\(/],
    [new AggregateError([Object.assign(new Error('a'), { code: 'ENOTFOUND' })]), /^ENOTFOUND/],
    [new Error('OOM command not allowed when used memory > \'maxmemory\'.'), /^OOM: the server is full/],
    [new Error('READONLY You can\'t write against a read only replica.'), /^READONLY: the server is a replica/],
    [new Error('NOPERM User x has no permissions to run the \'info\' command'), /for the 'info' command; without INFO/],
    ...['EPIPE', 'ECONNRESET'].map((code): [unknown, RegExp] =>
      [Object.assign(new Error('cut'), { code }), new RegExp(`^${code}: .*for TLS.*rediss://.*no Redis$`)]),
    [new Error('anything'), null], [null, null], [undefined, null], ['text', null]
  ]
  for (const [error, cause] of cases) {
    if (cause === null) t.equal(causeOf(error), null)
    else t.match(causeOf(error), cause)
  }
  const client = new Redis('redis://user:secret@localhost:1', { lazyConnect: true })
  t.equal(new Outage(client as never).describe(new Error('x')), 'Redis localhost:1 (it is not connected: the client connects with its first command (lazyConnect))')
  t.equal(new Outage(null).describe(new Error('x')), 'the in-process store (x)')
  client.disconnect()
})

t.test('a name that is nearly an option of ioredis is refused, others are not', async (t) => {
  for (const [name, meant] of [['pasword', 'password'], ['usrname', 'username'], ['Tls', 'tls'], ['sentinals', 'sentinels']] as const) {
    const redis = { url: 'redis://127.0.0.1:1', [name]: 'secret' }
    await t.rejects(opened(t, { redis }), { code: 'FRC_OPTION', message: new RegExp(`redis\\.${name} is no option of ioredis: is ${meant} meant`) })
  }
  await t.resolves(opened(t, { redis: { url: 'redis://127.0.0.1:1', autoResubscribe: false, offlineQueue: 1 } }))
})

t.test('what is neither a client nor a place is refused', async (t) => {
  for (const redis of [{}, { url: '' }, { url: 7 }, 'redis://127.0.0.1', [], { urll: 'x' }, null]) {
    await t.rejects(opened(t, { redis: redis as never }), { code: 'FRC_OPTION', message: /redis is .*or write \{ url: "redis:/ }, JSON.stringify(redis))
  }
})
