// `cache.mutate` with a Redis that is away, or a process that goes: what its caller hears, and that the quarantine runs out
// as an invalidation. And that it is renewed while the work runs.
import type { Redis } from 'ioredis'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import type { RedisClient } from '../../plugin/store/server/redis-client.js'
import { beyondLookup, cachedApp, gate, onEachStore, settled, told, type CachedApp } from '../helpers/app.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'

interface Parts {
  server: RedisServer
  /** Of the test's own. */
  admin: Redis
  database: { row: string, pause: () => Promise<void> }
  /** An instance of the app, with a client of its own. */
  open: (options?: RouteCacheOptions) => Promise<{ app: CachedApp, redis: Redis, ask: () => Promise<string> }>
}

async function parts (t: Test): Promise<Parts> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const database = { row: 'old', pause: async () => {} }
  const open: Parts['open'] = async (options = {}) => {
    const redis = server.client()
    await redis.ping()
    const app = await cachedApp(t, { redis, ...options })
    app.get('/', { cache: { key: 'k', tags: ['t'] } }, async (_, reply) => {
      reply.cacheTags('own')
      const { row } = database
      await database.pause()
      return row
    })
    return { app, redis, ask: async () => await ask(app) }
  }
  return { server, admin: server.client(), database, open }
}

/** What it is answered, when its fill is done. */
async function ask (app: CachedApp, url = '/'): Promise<string> {
  const { body, headers } = await app.inject(url)
  await settled(app)
  return `${body}: ${/; ttl=/.test(String(headers['cache-status'])) ? 'hit' : 'miss'}`
}

/** Longer than anything takes that does not hang. */
const LIMIT = 30_000

async function until (isTrue: () => Promise<boolean>): Promise<void> {
  const limit = performance.now() + LIMIT
  while (!await isTrue()) {
    if (performance.now() > limit) throw new Error(`it was not true within ${LIMIT} ms`)
    await delay(5)
  }
}

const lineOf = (app: CachedApp, text: string): Record<string, unknown> | undefined =>
  app.lines.find(({ msg }) => String(msg).includes(text))

const TARGETS = [['k', 'lease:{cache:k}'], [{ tags: ['t'] }, 'cache#tag:t'], [{ tags: ['own'] }, 'cache#tag:own']] as const
/** A busy machine needs some of it for what is to succeed. */
const DEADLINES = { writeDeadline: '1s' }

t.test('Redis can not be told before the work: it does not run', async (t) => {
  const { server, admin, open } = await parts(t)
  const { app, ask } = await open(DEADLINES)
  const work = (): void => { t.fail('it ran') }
  await app.cache.mutate({ keys: ['k'], tags: ['t'] }, () => {})
  await ask()

  await t.test('it hangs', async (t) => {
    for (const [target, name] of TARGETS) {
      await server.pause()
      await t.rejects(app.cache.mutate(target, work), { code: 'FRC_DEADLINE', message: /within 1000 ms/, worked: false })
      server.resume()
      const began = performance.now()
      await until(async () => !String(await admin.get(name)).startsWith('!'))
      t.ok(performance.now() - began < LIMIT / 2, 'what it did late is undone')
      t.match(app.cache.stats(), { invalidationsFailed: 0, journal: 0 })
    }
  })

  await t.test('it refuses', async (t) => {
    // Under the short deadline, a busy machine may lose sight of the server, and each read would have to write its floor.
    const { app, ask } = await open()
    await ask()
    await admin.config('SET', 'min-replicas-to-write', '1')
    for (const [target] of TARGETS) {
      const refused = { code: 'FRC_STORE', message: /^quarantine: redis failed \(NOREPLICAS: /, worked: false, cause: { message: /NOREPLICAS/ } }
      await t.rejects(app.cache.mutate(target, work), refused)
      await beyondLookup(app)
      t.match(app.cache.stats(), { invalidationsFailed: 0, journal: 0 }, 'nothing was written')
    }
    await admin.config('SET', 'min-replicas-to-write', '0')
  })

  await t.test('it is gone', async (t) => {
    await server.kill()
    await t.rejects(app.cache.mutate('k', work), { code: 'FRC_DEADLINE', worked: false })
  })
})

t.test('Redis can not be told after the work', async (t) => {
  for (const [target, name] of TARGETS) {
    await t.test(`the error says that it is done: ${JSON.stringify(target)}`, async (t) => {
      const { server, admin, database, open } = await parts(t)
      const { app, ask } = await open(DEADLINES)
      await ask()
      const mutation = app.cache.mutate(target, async () => {
        database.row = 'new'
        await server.pause()
      })
      const message = /^the work is done, but the cache could not be told: .*within 1000 ms/
      await t.rejects(mutation, { code: 'FRC_DEADLINE', message, worked: true, cause: { code: 'FRC_DEADLINE', worked: false } })
      t.match(app.cache.stats(), { invalidationsFailed: 1, journal: 1 })
      server.resume()
      await told(app)
      await until(async () => !String(await admin.get(name)).startsWith('!'))
      t.strictSame([await ask(), await ask()], ['new: miss', 'new: hit'])
    })
  }

  await t.test('work that throws: its own error, and the log has the other', async (t) => {
    const { server, open } = await parts(t)
    const { app, redis, ask } = await open(DEADLINES)
    await ask()
    const error = new Error('no')
    t.equal(await app.cache.mutate('k', async () => {
      await server.pause()
      throw error
    }).catch((thrown: unknown) => thrown), error)
    t.match(lineOf(app, 'could not be told that a quarantine ends'), { level: 50, err: { code: 'FRC_DEADLINE' } })
    redis.disconnect()
  })
})

for (const [target, name] of TARGETS) {
  for (const isKnown of [true, false]) {
    const of = `${JSON.stringify(target)}${isKnown ? '' : ', never stored before'}`
    t.test(`a process that goes after its commit: its quarantine runs out as an invalidation, ${of}`, async (t) => {
      const { admin, database, open } = await parts(t)
      const [writer, reader] = [await open({ quarantineTime: '600ms' }), await open()]
      if (isKnown) await reader.ask()
      const slow = gate()
      let asked
      const mutation = writer.app.cache.mutate(target, async () => {
        database.pause = slow.wait
        asked = reader.ask()
        await slow.reached
        database.pause = async () => {}
        database.row = 'new'
        writer.redis.disconnect()
      })
      await t.rejects(mutation, { code: 'FRC_STORE', worked: true })
      await until(async () => !String(await admin.get(name)).startsWith('!'))
      slow.open()
      t.equal(await asked, 'old: miss')
      t.equal(await reader.ask(), 'new: miss')
      // A busy machine may need more than one.
      await until(async () => {
        const answer = await reader.ask()
        if (!answer.startsWith('new')) t.fail(answer)
        return answer === 'new: hit'
      })
    })
  }
}

t.test('a quarantine is renewed while its work runs', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ quarantineTime: '1500ms' })
    app.get('/key', { cache: { key: 'k' } }, async () => 'x')
    app.get('/tag', { cache: { tags: ['t'] } }, async () => 'x')
    await Promise.all([['/key', 'k'] as const, ['/tag', { tags: ['t'] }] as const].map(async ([url, target]) => {
      let asked = 0
      await app.cache.mutate(target, async () => {
        const longer = performance.now() + 2_000
        for (; performance.now() < longer || asked <= 10; asked++) {
          if (await ask(app, url) !== 'x: miss') t.fail(`${url}: a hit, the ${asked}th`)
          await delay(5)
        }
      })
      t.strictSame([await ask(app, url), await ask(app, url)], ['x: miss', 'x: hit'])
    }))
    t.notOk(lineOf(app, 'quarantine'), 'and never lost')
  })
})

for (const [target, name] of TARGETS) {
  t.test(`a quarantine that Redis has lost is there again with its renewal: ${JSON.stringify(target)}`, async (t) => {
    const { admin, database, open } = await parts(t)
    const [writer, reader] = [await open({ quarantineTime: 1.5 }), await open()]
    await reader.ask()
    await writer.app.cache.mutate(target, async () => {
      await admin.del(name)
      await reader.ask()
      t.equal(await reader.ask(), 'old: hit', 'lost')
      await until(async () => String(await admin.get(name)).startsWith('!'))
      t.strictSame([await reader.ask(), await reader.ask()], ['old: miss', 'old: miss'])
      database.row = 'new'
    })
    t.match(lineOf(writer.app, 'a quarantine was lost while its work ran, and is there again'), { level: 40 })
    t.strictSame([await reader.ask(), await reader.ask()], ['new: miss', 'new: hit'])
  })
}

t.test('a renewal that fails is said, and hinders nothing', async (t) => {
  const { server, open } = await parts(t)
  const { app, ask } = await open({ ...DEADLINES, quarantineTime: '1s' })
  await app.cache.mutate('k', async () => {
    await server.pause()
    await until(async () => lineOf(app, 'a quarantine could not be renewed') !== undefined)
    server.resume()
  })
  t.match(lineOf(app, 'a quarantine could not be renewed'), { level: 40, err: { code: 'FRC_DEADLINE' } })
  t.strictSame([await ask(), await ask()], ['old: miss', 'old: hit'])
})

t.test('no renewal comes behind the end, however many are due', async (t) => {
  const { server, admin } = await parts(t)
  const redis = server.client()
  await redis.ping()
  const [renewal, sent] = [gate(), [] as string[]]
  /** The first renewal is held on its way. */
  const gated = new Proxy(redis, {
    get: (target, name) => name !== 'evalsha'
      ? Reflect.get(target, name)
      : async (...args: Parameters<RedisClient['evalsha']>) => {
        if (args[2] === 'cache:k' && sent.push(args[0]) === 2) await renewal.wait()
        return await redis.evalsha(...args)
      }
  })
  const app = await cachedApp(t, { redis: gated })
  let renew!: () => void
  const never = setInterval(() => {}, LIMIT).unref()
  t.teardown(() => { clearInterval(never) })
  t.intercept(globalThis, 'setInterval', { value: (due: () => void) => { renew = due; return never } })
  const mutation = app.cache.mutate('k', async () => {
    for (let i = 0; i < 3; i++) renew()
    await renewal.reached
  })
  await renewal.reached
  await beyondLookup(app)
  t.equal(new Set(sent).size, 1, 'nothing but renewals')
  renewal.open()
  await mutation
  t.equal(new Set(sent).size, 2, 'and then the end')
  t.equal(await admin.exists('lease:{cache:k}'), 0)
})
