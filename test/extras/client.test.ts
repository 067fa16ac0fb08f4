// A cache without routes, beside apps on the same Redis and prefix: what one of them ends, the other does not serve.
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createCache, type CacheClient, type CreateCacheOptions } from '../../plugin/extras/client/index.js'
import { routeCache } from '../../plugin/index.js'
import { cachedApp, gate, settled } from '../helpers/app.js'
import { startForwarder } from '../helpers/tcp.js'
import { freePorts, startCluster, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const server = await startRedis()
t.teardown(async () => { await server.stop() })

const PATIENT = { deadline: 30, writeDeadline: 30, logger: false } as const

async function opened (t: Test, options: Partial<CreateCacheOptions> = {}): Promise<CacheClient> {
  const cache = await createCache({ redis: { url: server.url }, ...PATIENT, ...options })
  t.teardown(async () => { await cache.close({ timeout: 1 }).catch(() => {}) })
  return cache
}

const never = async (): Promise<never> => { throw new Error('it was loaded') }

t.test('an app and a worker share entries and invalidations, whatever the key has in it', async (t) => {
  let prefixes = 0
  const keys = ['user:1', 'a b', 'ü:ä', 'x{y}z', '{x}', '%3A', 'quote"\'', 'long'.repeat(300), 'tab\there', '*', '\0', '\ud800', 'a%<b']
  for (const key of keys) {
    const prefix = `odd-${++prefixes}`
    const app = await cachedApp(t, { redis: server.client(), prefix })
    let runs = 0
    app.get('/', { cache: { key: () => key, tags: () => [`tag ${key}`] } }, async () => `run ${++runs}`)
    const worker = await opened(t, { prefix })
    const asked = async (): Promise<string> => {
      const { body } = await app.inject('/')
      await settled(app)
      return body
    }
    t.equal(await asked(), 'run 1', key)
    t.equal(String((await worker.get(key))?.body), 'run 1')
    t.match(await worker.inspect(key), { status: 200, ttl: 60 })
    t.equal(await worker.invalidate(key), 1)
    t.equal(await worker.inspect(key), null)
    t.equal(await asked(), 'run 2')
    await worker.invalidate({ tags: [`tag ${key}`] })
    t.equal(await asked(), 'run 3')
    await worker.invalidate({ prefix: key.slice(0, 1) })
    t.equal(await asked(), 'run 4')
    await worker.invalidate({ all: true })
    t.equal(await asked(), 'run 5')
    t.equal(await worker.mutate(key, async () => await asked()), 'run 6')
    t.equal(await asked(), 'run 7')
    t.equal(await worker.getOrSet(key, {}, async () => 'value'), 'value')
    await worker.settled()
    t.equal(await app.cache.getOrSet(key, {}, never), 'value')
    await app.cache.invalidate(key)
    t.equal(await worker.getOrSet(key, {}, async () => 'other'), 'other')
    await worker.settled()
    await worker.put(key, () => 'put')
    t.equal(await app.cache.getOrSet(key, {}, never), 'put')
  }
})

t.test('a slow handler can not bring back what a worker has ended: by key, by tags of route and response, softly', async (t) => {
  const targets = ['k', { tags: ['of-route'] }, { tags: ['of-response'] }, { prefix: 'k' }, { all: true }] as const
  for (const [i, target] of targets.entries()) {
    const app = await cachedApp(t, { redis: server.client(), prefix: `slow-${i}` })
    const slow = gate()
    let row = 'old'
    app.get('/', { cache: { key: 'k', tags: ['of-route'] } }, async (_request, reply) => {
      const read = row
      reply.cacheTags('of-response')
      if (read === 'old') await slow.wait()
      return read
    })
    const worker = await opened(t, { prefix: `slow-${i}` })
    const first = app.inject('/')
    await slow.reached
    row = 'new'
    await worker.invalidate(target as never)
    slow.open()
    t.equal((await first).body, 'old')
    await settled(app)
    t.equal((await app.inject('/')).body, 'new', JSON.stringify(target))
  }
})

t.test('soft: what a route may serve stale is, while it is made anew', async (t) => {
  const app = await cachedApp(t, { redis: server.client(), prefix: 'soft' })
  let runs = 0
  app.get('/', { cache: { key: 'k', tags: ['t'], staleWhileRevalidate: 60 } }, async () => `run ${++runs}`)
  const worker = await opened(t, { prefix: 'soft' })
  for (const target of ['k', { tags: ['t'] }]) {
    await worker.invalidate('k')
    const { body } = await app.inject('/')
    await settled(app)
    await worker.invalidate(target, { soft: true })
    t.equal((await app.inject('/')).body, body)
    await settled(app)
    await app.cache.settled()
    t.equal((await app.inject('/')).body, `run ${runs}`)
  }
})

t.test('two workers run `load` once, and on a Cluster as well', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  for (const redis of [() => server.client(), () => cluster.client()]) {
    const [one, two] = await Promise.all([1, 2].map(async () => await opened(t, { redis: redis() as never, prefix: 'two' }))) as [CacheClient, CacheClient]
    const running = gate()
    let runs = 0
    const load = async (): Promise<number> => {
      await running.wait()
      return ++runs
    }
    const first = one.getOrSet('k', { tags: ['t'] }, load)
    await running.reached
    const second = two.getOrSet('k', { tags: ['t'] }, load)
    running.open()
    t.strictSame([await first, await second], [1, 1])
    await one.settled()
    await two.invalidate({ tags: ['t'], keys: ['other'] })
    t.equal(await one.getOrSet('k', { tags: ['t'] }, load), 2)
    t.match(one.stats(), { store: 'redis', values: { misses: 2 } })
  }
})

t.test('options: those of routes are refused by name, as are unknown and wrong ones; no message has a password', async (t) => {
  const redis = { url: server.url }
  const wrong: Array<[options: unknown, message: RegExp]> = [
    [undefined, /^createCache: options is undefined; write \{ redis: \{ url: "redis:\/\/\.\.\." \}, prefix: "shop" \}$/],
    [{}, /^createCache: redis is undefined; a cache without routes shares what is in Redis/],
    [{ redis: null }, /^createCache: redis is null/],
    [{ redis: 'redis://:secret@h' }, /^createCache: redis is "redis:\/\/\*\*\*@h"; /],
    [{ redis: { uri: 'redis://:secret@h', password: 'secret' } }, /^createCache: redis is \{"uri":"redis:\/\/\*\*\*@h","password":"\*\*\*"\}; /],
    [{ redis, prefix: 'a{b}' }, /^createCache: prefix is "a\{b\}"; it has letters/],
    [{ redis, prefix: '' }, /^createCache: prefix is ""/],
    [{ redis, logger: {} }, /^createCache: logger is \{\}; it is a logger with debug, info, warn and error/],
    [{ redis, memory: { max: 1 } }, /^createCache: memory is /],
    [{ redis, memory: { maxBytes: -1 } }, /^createCache: memory\.maxBytes is -1/],
    [{ redis, perfix: 'x' }, /^createCache: perfix is "x"; there is no such option; there are: prefix, redis, .*logger$/],
    ...['namespace', 'version', 'credentials', 'cookies', 'decorator', 'maxVariants', 'maxHeaderBytes', 'maxStoreBytes', 'cacheStatus',
      'xCache', 'invalidateUnsafe', 'ignoreQuery', 'routes', 'quiet'].map((name): [unknown, RegExp] =>
      [{ redis, [name]: 1 }, new RegExp(`^createCache: ${name} is 1; it is for routes: give it to the plugin`)])
  ]
  for (const [options, message] of wrong) {
    await t.rejects(createCache(options as never), { code: 'FRC_OPTION', message })
    t.notMatch(await createCache(options as never).catch(({ message }: Error) => message), /secret/)
  }
  t.equal((await opened(t)).prefix, 'cache')
  await t.rejects((await opened(t)).close({ timeout: -1 }), { code: 'FRC_OPTION' })
})

t.test('each option of the plugin is an option here, or is refused by name', async (t) => {
  const app = fastify()
  t.teardown(async () => { await app.close() })
  const names = async (refused: Promise<unknown>): Promise<string[]> =>
    await refused.then(() => [], ({ message }: Error) => /there are: (.*)$/.exec(message)![1]!.split(', '))
  const ofPlugin = await names(Promise.resolve(app.register(routeCache, { x: 1 } as never)))
  const own = await names(createCache({ redis: { url: server.url }, x: 1 } as never))
  t.ok(ofPlugin.length > 25 && own.length > 15)
  for (const name of ofPlugin.filter((name) => !own.includes(name))) {
    await t.rejects(createCache({ redis: { url: server.url }, [name]: 1 } as never), { message: /it is for routes/ }, name)
  }
})

t.test('what is closed: its own client, and not one that was given', async (t) => {
  const given = server.client()
  await (await createCache({ redis: given, logger: false })).close()
  t.equal(await given.ping(), 'PONG')
  const clients = async (): Promise<number> => String(await server.ask('CLIENT', 'LIST')).split('\n').length
  const before = await clients()
  const own = await createCache({ redis: { url: server.url }, logger: false })
  t.equal(await clients(), before + 1)
  await Promise.all([own.close(), own.close()])
  await own[Symbol.asyncDispose]()
  await until(async () => await clients() === before, 'its connection is open')
  t.equal(await own.getOrSet('k', {}, async () => 'loaded'), 'loaded', 'as with a cache that is switched off')
  await t.rejects(own.invalidate('k'), { code: 'FRC_STORE', message: /the cache is closed: the invalidation is not tried again/ })
})

t.test('close() waits for what is under way', async (t) => {
  const cache = await createCache({ redis: { url: server.url }, ...PATIENT, prefix: 'closing' })
  const other = await opened(t, { prefix: 'closing' })
  await other.put('k', 'old')
  const load = gate()
  const value = cache.getOrSet('slow', {}, async () => { await load.wait(); return 'slow' })
  await load.reached
  const invalidation = cache.invalidate('k')
  await cache.close()
  await invalidation
  t.equal(await other.getOrSet('k', {}, async () => 'new'), 'new')
  load.open()
  t.equal(await value, 'slow')
})

t.test('close() tells Redis again and again, until it has everything; else it rejects, with what is left', async (t) => {
  const way = await startForwarder(server.port)
  t.teardown(() => { way.close() })
  const lines: string[] = []
  const note = (_details: object, message: string): void => { lines.push(message) }
  const logger = { debug () {}, info () {}, warn: note, error: note }
  const open = async (): Promise<CacheClient> =>
    await createCache({ redis: { url: `redis://:@127.0.0.1:${way.port}` }, ...PATIENT, writeDeadline: 0.05, logger, prefix: 'journal' })
  const app = await opened(t, { prefix: 'journal' })
  await app.put('k', 'old')
  const cache = await open()
  way.turn(null)
  await t.rejects(cache.invalidate({ keys: ['k', 'l'], tags: ['t'], prefix: 'p' }), { code: /FRC_STORE|FRC_DEADLINE/ })
  const closing = cache.close({ timeout: 60 })
  await t.rejects(cache.invalidate('late'), { code: /FRC_STORE|FRC_DEADLINE/ })
  way.turn(server.port)
  await closing
  t.equal(await app.getOrSet('k', {}, async () => 'new'), 'new', 'it was told')

  const lost = await open()
  way.turn(null)
  await lost.invalidate({ keys: ['k', 'l'], tags: ['t'], prefix: 'p' }).catch(() => {})
  const error = await lost.close({ timeout: 0.2 }).then(() => null, (error) => error)
  t.match(error, {
    code: 'FRC_STORE',
    message: /^cache\.close: Redis could not be told of 2 keys, 1 tag, 1 prefix: .* `untold`$/,
    untold: { keys: ['k', 'l'], tags: ['t'], prefix: ['p'] }
  })
  t.ok(lines.some((line) => /closes with invalidations that could not be told/.test(line)), lines.join('\n'))
  await app.put('k', 'old')
  await app.invalidate(error.untold)
  t.equal(await app.getOrSet('k', {}, async () => 'again'), 'again', 'as invalidate takes it')

  way.turn(server.port)
  const all = await open()
  way.turn(null)
  await all.invalidate({ all: true }).catch(() => {})
  await t.rejects(all.close({ timeout: 0.1 }), { untold: { all: true }, message: /of an invalidation of everything/ })
})

t.test('close() rejects with each call that is not confirmed in its time, whatever it does', async (t) => {
  const silent = createServer()
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { silent.close() })
  const way = await startForwarder(server.port)
  t.teardown(() => { way.close() })
  const { port } = silent.address() as AddressInfo

  type Call = (cache: CacheClient, hang: () => Promise<void>) => Promise<unknown>
  const calls: Record<string, [call: Call, untold: object]> = {
    invalidate: [async (cache, hang) => { await hang(); return await cache.invalidate({ tags: ['t'] }) }, { tags: ['t'] }],
    soft: [async (cache, hang) => { await hang(); return await cache.invalidate('k', { soft: true }) }, { keys: ['k'] }],
    all: [async (cache, hang) => { await hang(); return await cache.invalidate({ all: true }) }, { all: true }],
    mutate: [async (cache, hang) => { await hang(); return await cache.mutate({ tags: ['t'] }, () => 1) }, { tags: ['t'] }],
    'mutate, in its work': [async (cache, hang) => await cache.mutate('k', hang), { keys: ['k'] }],
    put: [async (cache, hang) => { await hang(); return await cache.put('k', 1) }, { keys: ['k'] }],
    'put, in its work': [async (cache, hang) => await cache.put('k', hang), { keys: ['k'] }]
  }
  for (const [name, [call, untold]] of Object.entries(calls)) {
    way.turn(server.port)
    const cache = await createCache({ redis: { url: `redis://127.0.0.1:${way.port}` }, logger: false, writeDeadline: 3, prefix: 'hung' })
    const hanging = gate()
    // What was connected is cut, and what connects is not answered.
    call(cache, async () => { way.turn(port); hanging.open() }).catch(() => {})
    await hanging.wait()
    const error = await cache.close({ timeout: 0.3 }).then(() => null, (error: unknown) => error)
    t.match(error, { code: 'FRC_STORE', untold }, name)
  }
  await t.rejects((await opened(t)).close({ timeoutt: 5 } as never), { code: 'FRC_OPTION', message: /^cache\.close: timeoutt is 5; there is no such option/ })
})

t.test('an invalidation that fails while the cache closes is tried once more', async (t) => {
  const way = await startForwarder(server.port)
  t.teardown(() => { way.close() })
  const cache = await createCache({ redis: { url: `redis://127.0.0.1:${way.port}` }, ...PATIENT, writeDeadline: 0.2, prefix: 'late' })
  const app = await opened(t, { prefix: 'late' })
  await app.put('k', 'old')
  await server.pause()
  const failing = cache.invalidate('k')
  const closing = cache.close({ timeout: 30 })
  await t.rejects(failing, { code: 'FRC_DEADLINE' })
  server.resume()
  await closing
  t.equal(await app.getOrSet('k', {}, async () => 'new'), 'new')
})

t.test('it opens while Redis is down, says so on stderr by default, and works when it is there', async (t) => {
  const [port] = await freePorts(1) as [number]
  const said: string[] = []
  const { warn, error } = console
  console.warn = (line: string) => { said.push(line) }
  console.error = (line: string) => { said.push(line) }
  t.teardown(() => { Object.assign(console, { warn, error }) })
  const cache = await createCache({ redis: { url: `redis://u:secret@127.0.0.1:${port}` }, writeDeadline: 0.1 })
  t.equal(await cache.getOrSet('k', {}, async () => 'loaded'), 'loaded')
  await t.rejects(cache.invalidate('k'))
  await t.rejects(cache.close({ timeout: 0.1 }), { code: 'FRC_STORE' })
  t.match(said.join('\n'), new RegExp(`^fastify-route-cache: Redis 127\\.0\\.0\\.1:${port} \\(ECONNREFUSED: .*\\) can't be used: getOrSet loads ` +
    'each time, and invalidations are kept, until it can'))
  t.notMatch(said.join('\n'), /secret/)
  t.ok(said.some((line) => /could not be told of an invalidation/.test(line)))
})

t.test('the default log: a value that can not be stored has a line with its key and why; an outage has one line', async (t) => {
  const said: string[] = []
  const { warn } = console
  console.warn = (line: string) => { said.push(line) }
  t.teardown(() => { Object.assign(console, { warn }) })
  const cache = await createCache({ redis: { url: server.url }, maxBodyBytes: 100, prefix: 'lines' })
  await cache.getOrSet('large\n', {}, () => 'x'.repeat(200))
  await cache.getOrSet('odd', {}, () => ({ f () {} }))
  await cache.put('again', 'x'.repeat(200))
  await cache.close()
  const none = 'a value of cache.getOrSet or cache.put can not be stored'
  t.equal(said.length, 2)
  t.match(said[0], `${none}: it is larger than maxBodyBytes {"key":"large\\n","reason":"size","size":`)
  t.match(said[1], new RegExp(`^${none} \\{"key":"odd","reason":"payload","cause":".*could not be cloned`))
  said.length = 0
  const [port] = await freePorts(1) as [number]
  const away = await createCache({ redis: { url: `redis://127.0.0.1:${port}` } })
  await away.close()
  t.equal(said.length, 1, said.join('\n'))
  t.notMatch(said[0], /requests|handlers/)
})

t.test('a tier, and stringNumbers, and a keyPrefix', async (t) => {
  const redis = new Redis(server.url, { keyPrefix: 'app:', stringNumbers: true })
  t.teardown(() => { redis.disconnect() })
  const near = await opened(t, { redis: redis as never, memory: {}, prefix: 'near' })
  await near.put('k', 1)
  t.equal(await near.getOrSet('k', {}, never), 1)
  t.equal(await near.invalidate('k'), 1)
  t.equal(await near.getOrSet('k', {}, async () => 2), 2)
})
