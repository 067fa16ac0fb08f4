// Reads of one turn of the event loop: one command on one server, one pipeline a server on a Cluster; and who waits how
// long.
import type { Cluster, Redis } from 'ioredis'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Batches, promised, RedisStore, type BatchAnswer } from '../../../plugin/store/redis/redis.js'
import { Keys } from '../../../plugin/store/keys.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import type { Ask, Reading } from '../../../plugin/store/store.js'
import { NOTHING_SEEN } from '../../helpers/plain-store.js'
import { startCluster, startRedis } from '../../helpers/redis.js'

const ask = (key: string, tags: readonly string[] = [], variant: string | null = null): Ask => ({ key, variant, tags })
const NUMBERS = Array.from({ length: 50 }, (_, i) => i)

function storeOf (client: Redis | Cluster): RedisStore {
  const times = { deadline: 5_000, writeDeadline: 5_000, now: Date.now }
  return new RedisStore({ client: client as unknown as RedisClient, keys: new Keys('p'), ...times })
}

async function calls (server: Redis, name: string): Promise<number> {
  return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await server.info('commandstats'))?.[1] ?? 0)
}

t.test('on one server they are one MGET, with each name once', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  const store = storeOf(client)
  await store.connect()
  for (const i of NUMBERS) await client.set(`p:k${i}`, `v${i}`)
  await client.mset('p#tag:a', '5', 'p#tag:b', '7~9', '{p:k1}:v:x', 'variant')
  const before = await calls(client, 'mget')
  const heard: unknown[] = []
  const hear = (what: unknown): void => { heard.push(what) }
  store.ask(ask('k1', ['b', 'a', 'none'], 'x'), { read: hear, failed: hear })
  const readings = await Promise.all([...NUMBERS, ...NUMBERS].map(async (i) => await store.read(ask(`k${i}`, ['a']))))
  const later = store.read(ask('k1'))
  t.equal(await calls(client, 'mget') - before, 1, 'the later one is another turn\'s')
  const got = readings.map(({ main, generations }) => [String(main), ...generations])
  t.strictSame(got, [...NUMBERS, ...NUMBERS].map((i) => [`v${i}`, 5]))
  const { history } = readings[0]!
  t.equal(history.length, 12)
  t.match(heard, [{ history, generations: [7, 5, null], softened: [9, 0, 0], isKept: false, isNear: false }])
  const [{ main, varied }] = heard as [Reading]
  t.strictSame([String(main), String(varied)], ['v1', 'variant'])
  t.ok(readings.every(({ isKept }) => isKept), 'two readers have them')
  t.match(await later, { main: Buffer.from('v1'), isKept: false })
  await store.generations(['b']).then(({ generations, softened }) => { t.strictSame([generations, softened], [[7], [9]]) })
  store.close()
})

t.test('scripts that are called together leave in one write, of a client that has a stream to cork', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const [client, other] = [server.client(), server.client()]
  const reads = async (): Promise<number> => Number(/total_reads_processed:(\d+)/.exec(await other.info('stats'))![1])
  const together = async (store: RedisStore, name: string): Promise<number> => {
    await store.connect()
    await store.take(`${name}-warm`, null, NOTHING_SEEN)
    const { clock } = await store.read(ask(name))
    const before = await reads()
    const taken = await Promise.all(NUMBERS.map(async (i) => await store.take(`${name}-${i}`, null, { ...NOTHING_SEEN, clock })))
    t.ok(taken.every((lease) => typeof lease !== 'string' && lease.asOf === clock), 'the clock is not read again')
    return await reads() - before
  }
  const store = storeOf(client)
  const all = await together(store, 'held')
  t.ok(all <= 3, `${all} reads: the scripts, this question, and perhaps one for the server's role`)
  await together(storeOf(new Proxy(client, {
    get: (target, name) => {
      const value: unknown = name === 'stream' ? {} : Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) as unknown : value
    }
  })), 'each')
  store.close()
})

t.test('on a Cluster each server has them in one pipeline, and what is no string or has moved is asked for by itself', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  const client = cluster.client()
  await client.ping()
  const store = storeOf(client)
  await store.connect()
  for (const i of NUMBERS) await client.set(`p:k${i}`, `v${i}`)
  await client.del('p:k7')
  await client.hset('p:k7', 'a', 'b')
  let sent = 0
  for (const node of client.nodes('master')) {
    const { pipeline } = node
    node.pipeline = (...args: Parameters<typeof pipeline>) => { sent++; return pipeline.apply(node, args) }
  }
  const read = async (): Promise<string[]> =>
    (await Promise.all(NUMBERS.map(async (i) => await store.read(ask(`k${i}`))))).map(({ main }) => String(main))
  const expected = NUMBERS.map((i) => i === 7 ? 'null' : `v${i}`)
  t.strictSame(await read(), expected)
  t.equal(sent, 3)
  // As after a slot's move that the client has not heard of: all names are asked of one server.
  const wrong = client.slots[0]![0]!
  const slots = client.slots.map((slot) => [...slot])
  for (const slot of client.slots) slot[0] = wrong
  t.strictSame(await read(), expected)
  slots.forEach((slot, i) => { client.slots[i] = slot })
  store.close()
})

interface Question { names: readonly string[], answer: (answer: BatchAnswer) => void, fail: (error: Error) => void }

/** Batches whose answers come when the test says so. */
function gated (deadline: number): { batches: Batches, asked: Question[] } {
  const asked: Question[] = []
  const batches = new Batches({
    keys: new Keys('p'),
    clock: null,
    deadline,
    giveBack: () => {},
    ask: async (names) => await new Promise((resolve, reject) => { asked.push({ names, answer: resolve, fail: reject }) })
  })
  return { batches, asked }
}

const read = async (batches: Batches, key: string, isPatient = false): Promise<Reading> =>
  await promised((reader) => { batches.add(ask(key), reader, isPatient) })

t.test('a read joins the batch that is not sent yet, and no other', async (t) => {
  const { batches, asked } = gated(0)
  const [one, two] = [read(batches, 'a'), read(batches, 'b')]
  t.equal(asked.length, 0)
  await turn()
  const three = read(batches, 'a')
  await turn()
  t.strictSame(asked.map(({ names }) => names), [['p#floor', 'p:a', 'p:b'], ['p#floor', 'p:a']])
  asked[1]!.answer({ values: [null, Buffer.from('new')], history: 'h', prefixes: [] })
  t.equal(String((await three).main), 'new')
  asked[0]!.answer({ values: [null, Buffer.from('old'), null], history: 'h', prefixes: [] })
  t.strictSame([String((await one).main), (await two).main], ['old', null])
})

t.test('thousands are sent in several', async (t) => {
  const { batches, asked } = gated(0)
  const all = Array.from({ length: 2_500 }, (_, i) => read(batches, `k${i}`))
  await turn()
  t.strictSame(asked.map(({ names }) => names.length), [1_000, 1_000, 503])
  for (const { names, answer } of asked) answer({ values: names.map((name) => Buffer.from(name)), history: 'h', prefixes: [] })
  t.strictSame((await Promise.all(all)).map(({ main }) => String(main)), Array.from({ length: 2_500 }, (_, i) => `p:k${i}`))
})

t.test('after the deadline only the patient ones wait, and a store that hangs is asked no more', async (t) => {
  const { batches, asked } = gated(1)
  const patient = read(batches, 'a', true)
  await t.rejects(read(batches, 'a'), { code: 'FRC_DEADLINE' })
  for (let i = 0; i < 99; i++) await t.rejects(read(batches, 'a'), { code: 'FRC_DEADLINE' })
  t.equal(asked.length, 100)
  await t.rejects(read(batches, 'a'), { code: 'FRC_STORE', message: /100 reads/ })
  t.equal(asked.length, 100)
  asked[0]!.answer({ values: [null, Buffer.from('late')], history: 'h', prefixes: [] })
  t.equal(String((await patient).main), 'late')
  await turn()
  const again = read(batches, 'a', true)
  await turn()
  t.equal(asked.length, 101, 'one has answered')
  asked[100]!.fail(new Error('gone'))
  await t.rejects(again, { message: 'gone' })
})

t.test('the clock of a read counts only beside the floor: without one a history begins behind the read', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const client = server.client()
  await client.ping()
  const store = storeOf(client)
  t.teardown(() => { store.close() })
  const { clock: clockName, floor: floorName } = new Keys('p')
  const { clock } = await store.read(ask('k'))
  t.equal(clock, Number(await client.get(clockName)), 'both are there')
  await client.del(floorName)
  t.equal((await store.read(ask('k'))).clock, null, 'the floor was evicted')
  // The server's time stands behind the clock: the clock that begins anew is lower than it was.
  await client.set(clockName, String(clock! + 60_000_000))
  await client.del(floorName)
  const seen = await store.read(ask('k'))
  await client.del(clockName)
  await store.invalidate({ tags: ['users'] })
  const taken = await store.take('k', null, { ...NOTHING_SEEN, clock: seen.clock })
  t.ok(typeof taken !== 'string' && taken.asOf <= Number(await client.get(clockName)), 'no lease is ahead of the clock')
})
