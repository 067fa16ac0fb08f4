// The plugin on clients of node-redis, of one server and of a Cluster: what every store must do, options that change how
// commands go out and how their replies come back, connections that end, and kinds of clients that are refused.
import { createClient, createClientPool, createSentinel } from 'redis'
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../../plugin/index.js'
import { healthOf } from '../../../plugin/extras/dashboard/health.js'
import { Keys } from '../../../plugin/store/keys.js'
import { RedisStore } from '../../../plugin/store/redis/redis.js'
import { clientFrom } from '../../../plugin/store/server/clients.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { cachedApp, settled, type CachedApp } from '../../helpers/app.js'
import { nodeRedisOf } from '../../helpers/node-redis.js'
import { startCluster, startRedis } from '../../helpers/redis.js'
import { until } from '../../helpers/until.js'
import { nodeRedis, type AppClient } from '../../race/checker/node-redis.js'
import { contract } from '../contract.js'
import { cachesBy } from './caches-by.js'

const NUMBERS = { 58: String, 36: Buffer, 43: Buffer }
const OPTIONS: Record<string, object> = {
  none: {},
  'RESP 2': { RESP: 2 },
  'RESP 3': { RESP: 3 },
  'types of its own': { commandOptions: { typeMapping: NUMBERS } },
  'a time limit': { commandOptions: { timeout: 30_000 } }
}
/** Of one server. */
const ALONE: Record<string, object> = {
  name: { name: 'shop' },
  database: { database: 3 },
  disableOfflineQueue: { disableOfflineQueue: true },
  commandsQueueMaxLength: { commandsQueueMaxLength: 1_000 },
  pingInterval: { pingInterval: 10 },
  clientSideCache: { RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0 } },
  emitInvalidate: { RESP: 3, emitInvalidate: true }
}
const OF_CLUSTER: Record<string, object> = {
  useReplicas: { useReplicas: true },
  minimizeConnections: { minimizeConnections: true },
  maxCommandRedirections: { maxCommandRedirections: 1 }
}

const storeOf = (client: RedisClient): RedisStore =>
  new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 20_000, now: Date.now })

async function opened (t: Test, ...[place, options]: Parameters<typeof nodeRedis>): Promise<AppClient> {
  const client = await nodeRedis(place, options)
  t.teardown(() => { client.destroy() })
  return client
}

async function ask (app: CachedApp): Promise<string> {
  const { headers } = await app.inject('/')
  await settled(app)
  return /hit|fwd=\w+/.exec(String(headers['cache-status']))![0]
}

async function openApp (t: Test, redis: NonNullable<RouteCacheOptions['redis']>, options: object = {}): Promise<CachedApp> {
  const app = await cachedApp(t, { redis, ...options })
  app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => 'x')
  await app.ready()
  return app
}

t.test('one server', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  await contract(t, storeOf(await nodeRedisOf(t, server)))
  for (const [name, options] of Object.entries({ ...OPTIONS, ...ALONE })) {
    await t.test(name, async (t) => { await cachesBy(t, await opened(t, server, options), name.replaceAll(' ', '-')) })
  }

  await t.test('by a client that is not connected yet, requests go past; by the same one, connected, they are hits', async (t) => {
    const client = createClient({ socket: { host: server.host, port: server.port } })
    client.on('error', () => {})
    const app = await openApp(t, client, { prefix: 'late' })
    t.equal(await ask(app), 'fwd=bypass')
    t.match(app.lines.find(({ level }) => level === 40)?.msg, new RegExp(`Redis ${server.host}:${server.port} \\(it is not connected: .*await client\\.connect\\(\\)`))
    await client.connect()
    t.teardown(() => { client.destroy() })
    await until(async () => await ask(app) === 'hit', 'it is served')
  })

  await t.test('caches of one client share what listens to it, and leave nothing', async (t) => {
    const client = await opened(t, server)
    const count = (): number[] => ['error', 'reconnecting', 'end'].map((event) => client.listenerCount(event))
    const before = count()
    const prefixes = Array.from({ length: 12 }, (_, i) => `shared-${i}`)
    const apps = await Promise.all(prefixes.map(async (prefix) => await openApp(t, client, { prefix, memory: {} })))
    t.ok(count().every((n, i) => n <= before[i]! + 2), `${before} -> ${count()}`)
    for (const app of apps) t.strictSame([await ask(app), await ask(app)], ['fwd=miss', 'hit'])
    for (const app of apps) await app.close()
    t.strictSame(count(), before)
  })

  await t.test('the dashboard has its figures', async (t) => {
    const { status, servers } = await healthOf(await nodeRedisOf(t, server))
    t.match({ status, servers }, { status: 'ready', servers: [{ address: `${server.host}:${server.port}`, error: null, version: /\d\.\d/ }] })
  })
})

t.test('a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const place = { nodes: cluster.servers }
  await contract(t, storeOf(await nodeRedisOf(t, place)))
  for (const [name, options] of Object.entries({ ...OPTIONS, ...OF_CLUSTER })) {
    await t.test(name, async (t) => { await cachesBy(t, await opened(t, place, options), name.replaceAll(' ', '-')) })
  }

  await t.test('a slot moves: the client is made to read its slots anew', async (t) => {
    const client = await nodeRedisOf(t, place)
    const known = client.ownerOf!(0)
    const other = cluster.servers.find(({ host, port }) => `${host}:${port}` !== known)!
    const id = String(await other.ask('CLUSTER', 'MYID'))
    for (const server of cluster.servers) await server.ask('CLUSTER', 'SETSLOT', '0', 'NODE', id)
    t.equal(await new Promise((resolve) => client.refreshSlotsCache!(resolve)), undefined)
    t.equal(client.ownerOf!(0), `${other.host}:${other.port}`)
  })
})

t.test('a server that comes back with an old memory: what it has is not served', async (t) => {
  const server = await startRedis({ args: ['--dbfilename', 'dump.rdb'] })
  t.teardown(async () => { await server.stop() })
  const app = await openApp(t, await opened(t, server))
  t.strictSame([await ask(app), await ask(app)], ['fwd=miss', 'hit'])
  await server.ask('SAVE')
  await app.cache.invalidate('k')
  await server.kill()
  await server.start()
  const seen: string[] = []
  await until(async () => {
    seen.push(await ask(app))
    return seen.at(-1) === 'fwd=miss'
  }, async () => `it is a miss, not ${seen.at(-1)}`)
  t.notOk(seen.includes('hit'), seen.join(' '))
  t.equal(await ask(app), 'hit')
})

t.test('the tier hears of what others change, and drops all where a connection ends', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = await opened(t, server)
  const [app, other] = [await openApp(t, client, { memory: {} }), await openApp(t, server.client() as RedisClient)]
  await until(async () => app.cache.stats().tier?.isLive === true, 'the tier is live')
  await ask(app)
  await until(async () => {
    await ask(app)
    return app.cache.stats().tier!.hits > 0
  }, 'a hit comes from the tier')
  await other.cache.invalidate('k')
  await until(async () => await ask(app) === 'fwd=miss', 'it has heard of it')
  await server.ask('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(async () => app.cache.stats().tier!.drops > 0, 'it drops')
  await until(async () => app.cache.stats().tier?.isLive === true, 'it is live again')
})

t.test('kinds that are refused, each with its reason', async (t) => {
  const socket = { host: '127.0.0.1', port: 1 }
  const kinds: Array<[string, unknown, RegExp]> = [
    ['a pool', createClientPool({ socket }), /pool or a sentinel of node-redis.*createClient\(\) or createCluster\(\)/],
    ['a sentinel', createSentinel({ name: 'a', sentinelRootNodes: [socket] }), /pool or a sentinel.*new Redis\(\{ sentinels \}\)/],
    ['keyPrefix', createClient({ socket, keyPrefix: 'app:' } as object), /keyPrefix "app:".*its own prefix option/],
    ['node-redis 4', { isOpen: false, sendCommand: () => {}, on: () => {} }, /node-redis 4 or older.*5 or later/]
  ]
  for (const [name, redis, message] of kinds) {
    await t.rejects(cachedApp(t, { redis: redis as RedisClient }), { code: 'FRC_OPTION', message }, name)
  }
  t.throws(() => clientFrom({ isOpen: true, sendCommand: async () => {}, on: () => {}, off: () => {} }), { code: 'FRC_OPTION' })
})
