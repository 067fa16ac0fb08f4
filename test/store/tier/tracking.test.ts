// The tier on real servers: whoever changes a name drops its copy, and nothing is served from here while Redis doesn't tell.
import type { Cluster, Redis } from 'ioredis'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { slotOf } from '../../../plugin/store/server/topology.js'
import { NO_TARGETS } from '../../../plugin/store/store.js'
import { Tiered } from '../../../plugin/store/tier/tiered.js'
import { CONNECTION_NAME } from '../../../plugin/store/tier/tracked-server.js'
import { DEADLINE, INTERVAL } from '../../../plugin/store/tier/tracking.js'
import { startCluster, startRedis, type RedisServer } from '../../helpers/redis.js'
import { timed } from '../../helpers/timed.js'
import { until } from '../../helpers/until.js'

const ASK = { key: 'user:1', variant: null, tags: ['users'] }
const NAMES = ['shop#floor', 'shop:user:1', 'shop#tag:users']
const VALUES = ['history12345 runs', 'the entry', '7']

interface Open {
  tiered: Tiered
  complaints: unknown[]
  /** Resolves with the next one. */
  complained: () => Promise<void>
  /** Asks Redis for these names, and has them kept. */
  read: (names?: readonly string[]) => Promise<void>
  /** What is at hand of user:1. */
  glance: () => string | null
}

async function open (t: Test, client: Redis | Cluster, limits = { maxBytes: 1_000_000, maxAge: 60_000 }): Promise<Open> {
  await client.ping()
  const complaints: unknown[] = []
  let told = (): void => {}
  const complain = (error: unknown): void => {
    complaints.push(error)
    told()
  }
  const tiered = new Tiered({ client: client as RedisClient, keys: new Keys('shop'), limits, now: () => Date.now(), complain })
  t.teardown(() => { tiered.close() })
  await tiered.begin()
  return {
    tiered,
    complaints,
    complained: async () => { await new Promise<void>((resolve) => { told = resolve }) },
    read: async (names = NAMES) => {
      const ticket = tiered.sent()
      const values = await Promise.all(names.map(async (name) => await client.getBuffer(name)))
      tiered.answered(ticket, names, values)
    },
    glance: () => tiered.glance(ASK)?.main?.toString() ?? null
  }
}

async function write (client: Redis | Cluster): Promise<void> {
  await Promise.all(NAMES.map(async (name, i) => await client.set(name, VALUES[i]!)))
}

/** Writes what user:1 needs, and reads it until it is at hand: messages of the writing may still come. */
async function load (client: Redis | Cluster, { read, glance }: Open): Promise<void> {
  await write(client)
  await until(async () => {
    await read()
    await client.ping()
    return glance() === 'the entry'
  }, 'it is kept')
}

const live = async ({ tiered }: Open): Promise<void> => { await until(async () => tiered.stats.isLive, 'it is live') }

t.test('a client that can not be asked, or not be copied, for now', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const breaks: Record<string, (client: Redis) => () => void> = {
    'no second connection can be made': (client) => {
      const { duplicate } = client
      client.duplicate = () => { throw new Error('no more connections') }
      return () => { client.duplicate = duplicate }
    },
    'it does not say how it is': (client) => {
      Object.defineProperty(client, 'status', { get () { throw new Error('no status') }, configurable: true })
      return () => { Object.defineProperty(client, 'status', { value: 'ready', writable: true }) }
    }
  }
  for (const [name, breakIt] of Object.entries(breaks)) {
    await t.test(name, async (t) => {
      const client = server.client()
      await client.ping()
      const mend = breakIt(client)
      const complaints: unknown[] = []
      const complain = (error: unknown): void => { complaints.push(error) }
      const limits = { maxBytes: 1_000_000, maxAge: 60_000 }
      const tiered = new Tiered({ client: client as RedisClient, keys: new Keys('shop'), limits, now: () => Date.now(), complain })
      t.teardown(() => { tiered.close() })
      await t.resolves(tiered.begin(), 'begin never rejects')
      t.equal(tiered.stats.isLive, false)
      t.match(complaints, [/no (?:more connections|status)/], 'it is said once')
      mend()
      await until(async () => tiered.stats.isLive, 'it is tried again')
      t.equal(complaints.length, 1)
    })
  }
})

t.test('one server', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const [client, other] = [server.client(), server.client()]
  const tier = await open(t, client)
  const { tiered, glance } = tier
  t.match(tiered.stats, { isLive: true, entries: 0, hits: 0, drops: 0, delay: { p50: Number, p99: Number, max: Number } })

  await t.test('what lies in Redis is at hand, decoded', async (t) => {
    await load(client, tier)
    t.match(tiered.glance(ASK), { main: Buffer.from('the entry'), varied: null, history: 'history12345', generations: [7], softened: [0], isKept: true, isNear: true })
    t.equal(tiered.glance({ ...ASK, tags: ['other'] }), null, 'a generation is missing')
    t.equal(tiered.glance({ ...ASK, key: 'user:2' }), null)
    t.equal(tiered.glance({ ...ASK, variant: 'x' })?.varied, null)
    await other.set('{shop:user:1}:v:x', 'varied')
    await until(async () => {
      await tier.read(['{shop:user:1}:v:x'])
      return tiered.glance({ ...ASK, variant: 'x' })?.varied?.toString() === 'varied'
    }, 'the variant is kept')
    t.equal(tiered.glance({ ...ASK, tags: [] })?.generations.length, 0)
    t.equal(tiered.glance(ASK)?.generations, tiered.glance({ ...ASK, tags: [...ASK.tags] })?.generations, 'decided once')
    await other.set('shop#tag:users', '9')
    await until(async () => {
      await tier.read()
      return tiered.glance(ASK)?.generations[0] === 9
    }, 'and anew when what it was decided by has changed')
    await other.set('{shop:user:1}:value', 'value')
    const { entries } = tiered.stats
    await tier.read(['{shop:user:1}:value'])
    t.equal(tiered.stats.entries, entries, 'what getOrSet keeps is not')
  })

  await t.test('whoever changes one of its names drops it', async (t) => {
    const changes: Record<string, (name: string) => Promise<unknown>> = {
      'another client deletes it': async (name) => await other.del(name),
      'and writes it': async (name) => await other.set(name, 'other'),
      'and changes a part': async (name) => await other.setrange(name, 0, '8'),
      'a script': async (name) => await other.eval('return redis.call(\'UNLINK\', KEYS[1])', 1, name),
      'a transaction': async (name) => await other.multi().set(name, 'x').exec(),
      'its life ends': async (name) => await other.pexpire(name, 1),
      FLUSHALL: async () => await other.flushall(),
      FLUSHDB: async () => await other.flushdb(),
      'the same client': async (name) => await client.del(name)
    }
    for (const [what, change] of Object.entries(changes)) {
      for (const name of NAMES) {
        await load(client, tier)
        await change(name)
        await until(async () => glance() === null, `${name}: ${what}`)
      }
      t.pass(what)
    }
    t.equal(tiered.stats.drops, 0)
  })

  await t.test('but not who changes another one', async (t) => {
    await load(client, tier)
    await other.set('shop:user:2', 'x')
    await other.set('shop2:user:1', 'x')
    await other.set('lease:{shop:user:1}', 'x')
    // Messages come in their order.
    await tier.read(['shop#tag:last'])
    await other.set('shop#tag:last', '1')
    await until(async () => {
      await tier.read(['shop#tag:last'])
      return tiered.glance({ ...ASK, tags: ['last'] }) !== null
    }, 'the last one is kept')
    await other.del('shop#tag:last')
    await until(async () => tiered.glance({ ...ASK, tags: ['last'] }) === null, 'the last message has come')
    t.equal(glance(), 'the entry')
  })

  await t.test('eviction', async () => {
    await load(client, tier)
    const used = Number(/used_memory:(\d+)/.exec(String(await other.info('memory')))?.[1])
    await other.config('SET', 'maxmemory-policy', 'allkeys-random')
    await other.config('SET', 'maxmemory', used + 100_000)
    await until(async () => {
      await other.set(`ballast:${Math.random()}`, 'x'.repeat(10_000))
      return await other.exists(...NAMES) < NAMES.length
    }, 'one of them is evicted')
    await until(async () => glance() === null, 'it is dropped')
    await other.config('SET', 'maxmemory', 0)
    await other.flushall()
  })

  await t.test('a reply that was asked for before is spoiled by a change, this process\' own too', async (t) => {
    await load(client, tier)
    for (const change of [
      () => { tiered.write({ keys: ['user:1'], tags: [] }) }, () => { tiered.write({ keys: [], tags: ['users'] }) },
      () => { tiered.fill('user:1', 'x') }, () => { tiered.invalidate({ ...NO_TARGETS, prefixes: ['user:'] }) }, () => { tiered.writeAll() }
    ]) {
      await load(client, tier)
      const reading = tier.read()
      t.equal(glance(), 'the entry')
      change()
      t.equal(glance(), null)
      await reading
      t.equal(glance(), null, String(change))
    }
  })

  await t.test('the tracking connection is killed', async (t) => {
    await load(client, tier)
    const { drops } = tiered.stats
    const complained = tier.complained()
    const id = await trackingId(other)
    const { time, late } = await timed(async () => await Promise.all([other.call('CLIENT', 'KILL', 'ID', id), complained]))
    t.match(tiered.stats, { isLive: false, entries: 0, drops: drops + 1 })
    const reading = tier.read()
    const early = tiered.sent()
    t.ok(time < INTERVAL + 2 * late, `${time} ms, timers were late by ${late}: not by a heartbeat`)
    t.match(tier.complaints, [{ message: /tracking connection broke/ }])
    await reading
    t.equal(tiered.stats.entries, 0, 'nothing is kept of what was asked for meanwhile')
    await live(tier)
    tiered.answered(early, NAMES, VALUES.map((value) => Buffer.from(value)))
    t.equal(tiered.stats.entries, 0, 'nor of what is answered later')
    await load(client, tier)
    t.equal(tier.complaints.length, 1)
  })

  await t.test('the client\'s own connection is killed: it may come to another server', async (t) => {
    await load(client, tier)
    const { drops } = tiered.stats
    const reading = tier.read().catch(() => {})
    client.disconnect(true)
    await reading
    await until(async () => tiered.stats.drops === drops + 1, 'it is noticed')
    t.equal(glance(), null)
    await live(tier)
    t.equal(tiered.stats.entries, 0)
    await load(client, tier)
  })

  await t.test('a server that stands still', async (t) => {
    await load(client, tier)
    const { drops } = tiered.stats
    await server.pause()
    try {
      const { time, late } = await timed(async () => { await until(async () => glance() === null, 'it is not trusted any more') })
      t.ok(time < INTERVAL + DEADLINE + 200 + 2 * late, `${time} ms, timers were late by ${late}`)
      await until(async () => tiered.stats.drops === drops + 1, 'it is dropped')
    } finally {
      server.resume()
    }
    await live(tier)
    await load(client, tier)
  })

  await t.test('a process that was busy does not trust its copies until it has heard again', async (t) => {
    await load(client, tier)
    const { drops } = tiered.stats
    const until = performance.now() + INTERVAL + DEADLINE + 50
    while (performance.now() < until);
    t.equal(glance(), null)
    await live(tier)
    t.equal(glance(), 'the entry', 'nothing had changed')
    t.equal(tiered.stats.drops, drops)
  })

  await t.test('a server that takes no writes', async () => {
    await load(client, tier)
    const replicas = await startRedis()
    try {
      await other.call('REPLICAOF', replicas.host, replicas.port)
      await until(async () => glance() === null, 'it is a replica now')
      await until(async () => tier.complaints.some((error) => /READONLY/.test(String(error))), 'it has refused')
      await other.call('REPLICAOF', 'NO', 'ONE')
      await live(tier)
    } finally {
      await replicas.stop()
    }
  })

  await t.test('a server that was restarted', async () => {
    await load(client, tier)
    await server.restart()
    await until(async () => glance() === null, 'it is gone')
    await live(tier)
    await load(client, tier)
  })

  await t.test('closed, it has left', async (t) => {
    tiered.close()
    await until(async () => !String(await other.client('LIST')).includes(CONNECTION_NAME), 'the connection is closed')
    t.match(tiered.stats, { isLive: false, entries: 0 })
    tiered.close()
    t.equal(glance(), null)
  })
})

async function trackingId (client: Redis): Promise<number> {
  const line = String(await client.client('LIST')).split('\n').find((line) => line.includes(CONNECTION_NAME))
  return Number(/^id=(\d+)/.exec(line ?? '')?.[1])
}

t.test('through a client with a keyPrefix, and in another database', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client({ keyPrefix: 'app*{x}:', db: 3 })
  const tier = await open(t, client)
  t.equal(tier.tiered.stats.isLive, true)
  const other = server.client({ db: 3 })
  for (const name of NAMES) {
    await load(client, tier)
    await other.del(`app*{x}:${name}`)
    await until(async () => tier.glance() === null, `${name} is dropped`)
  }
  t.ok((await other.keys('*')).every((name) => name.startsWith('app*{x}:')), 'heartbeats too')
})

t.test('messages that are lost in silence', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  // Goes between the tier and Redis, and lets nothing more through to connections that track, when it is told so.
  const sockets = new Set<Socket>()
  let isCut = false
  const between = createServer((inner) => {
    const outer = connect(server.port, server.host)
    let isTracking = false
    inner.on('data', (data) => {
      isTracking ||= data.includes('TRACKING')
      outer.write(data)
    })
    outer.on('data', (data) => { if (!(isTracking && isCut)) inner.write(data) })
    for (const socket of [inner, outer]) sockets.add(socket.on('error', () => {}))
  }).listen(0, server.host)
  await once(between, 'listening')
  t.teardown(() => {
    between.close()
    for (const socket of sockets) socket.destroy()
  })
  const client = server.client({ port: (between.address() as AddressInfo).port })
  const tier = await open(t, client)
  await load(client, tier)
  isCut = true
  const other = server.client()
  await other.ping()
  await other.del(NAMES[1]!)
  const began = performance.now()
  let last = began
  t.equal(tier.glance(), 'the entry')
  while (tier.glance() !== null) {
    last = performance.now()
    await delay(1)
  }
  t.ok(last - began <= INTERVAL + DEADLINE, `served for ${last - began} ms`)
  await until(async () => tier.tiered.stats.drops === 1, 'it is dropped')
  t.match(tier.complaints, [{ code: 'FRC_DEADLINE' }])
  await tier.read()
  t.equal(tier.tiered.stats.entries, 0)
  isCut = false
  await live(tier)
  await load(client, tier)
})

t.test('a server that can\'t be asked', async (t) => {
  const server = await startRedis({ args: ['--rename-command', 'CLIENT', ''] })
  t.teardown(async () => { await server.stop() })
  const tier = await open(t, server.client())
  t.equal(tier.tiered.stats.isLive, false)
  t.match(tier.complaints, [{ message: /CLIENT/ }])
  await write(server.client())
  await tier.read()
  t.match(tier.tiered.stats, { entries: 0, drops: 0 })
  t.throws(() => new Tiered({
    client: { status: 'ready', options: {} } as RedisClient,
    keys: new Keys('shop'),
    limits: { maxBytes: 1, maxAge: 1 },
    now: () => 0,
    complain: () => {}
  }), { code: 'FRC_OPTION', message: /duplicate/ })
})

t.test('a Cluster', async (t) => {
  const cluster = await startCluster({ replicas: 1, nodeTimeout: 1_000 })
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  const tier = await open(t, client)
  const { tiered, glance } = tier
  await live(tier)
  const serverOf = (name: string): RedisServer => {
    const [address] = client.slots[slotOf(name)]!
    return cluster.servers.find(({ host, port }) => address === `${host}:${port}`)!
  }

  await t.test('each primary tells of its names', async (t) => {
    for (const server of cluster.servers.slice(0, 3)) {
      t.match(String(await server.ask('CLIENT', 'LIST')), CONNECTION_NAME)
    }
    for (const name of NAMES) {
      await load(client, tier)
      await serverOf(name).ask('DEL', name)
      await until(async () => glance() === null, `${name} is dropped`)
    }
    await load(client, tier)
    await serverOf(NAMES[0]!).ask('FLUSHALL')
    await until(async () => glance() === null, 'FLUSHALL on one of them')
  })

  await t.test('a slot that moves', async (t) => {
    const name = NAMES[1]!
    for (const round of ['there', 'and back']) {
      await load(client, tier)
      const from = serverOf(name)
      const to = cluster.servers.slice(0, 3).find((server) => server !== from)!
      await move(cluster.servers, name, { from, to })
      await until(async () => glance() === null, `${round}: it is dropped`)
      await load(client, tier)
      t.equal(serverOf(name), to)
      await to.ask('SET', name, 'new')
      await until(async () => glance() === null, `${round}: its new server tells`)
    }
  })

  await t.test('a replica is told to take over', async (t) => {
    await load(client, tier)
    const { drops } = tiered.stats
    const from = serverOf(NAMES[1]!)
    const to = cluster.servers[cluster.servers.indexOf(from) + 3]!
    await to.ask('CLUSTER', 'FAILOVER')
    await until(async () => String(await to.ask('ROLE')).startsWith('master'), 'it has')
    await until(async () => tiered.stats.drops > drops, 'it is noticed')
    t.equal(glance(), null)
    await live(tier)
    await load(client, tier)
    t.equal(serverOf(NAMES[1]!), to)
    await to.ask('DEL', NAMES[1]!)
    await until(async () => glance() === null, 'the new one tells')
  })

  await t.test('a primary dies, and a replica takes over', async (t) => {
    await load(client, tier)
    const from = serverOf(NAMES[1]!)
    const to = cluster.servers.find((server, i) => i % 3 === cluster.servers.indexOf(from) % 3 && server !== from)!
    await from.kill()
    await until(async () => glance() === null, 'it is noticed')
    await until(async () => String(await to.ask('ROLE')).startsWith('master'), 'it has')
    await live(tier)
    await load(client, tier)
    t.equal(serverOf(NAMES[1]!), to)
    await to.ask('DEL', NAMES[1]!)
    await until(async () => glance() === null, 'the new one tells')
  })
})

interface Move { from: RedisServer, to: RedisServer }

/** Moves the slot of a name, and the name. */
async function move (servers: readonly RedisServer[], name: string, { from, to }: Move): Promise<void> {
  const slot = slotOf(name)
  const [fromId, toId] = await Promise.all([from, to].map(async (server) => String(await server.ask('CLUSTER', 'MYID'))))
  await to.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId!)
  await from.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId!)
  await from.ask('MIGRATE', to.host, to.port, name, 0, 5_000)
  for (const server of [to, from, ...servers.slice(0, 3)]) await server.ask('CLUSTER', 'SETSLOT', slot, 'NODE', toId!)
}
