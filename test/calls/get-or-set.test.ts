// `cache.getOrSet`, as users see it: who loads and who waits, what is stored, what ends it, and what it says of wrong input.
// What it gives is in values.test.ts.
import type { Redis } from 'ioredis'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { decode, encode } from '../../plugin/entry/entry.js'
import type { InvalidateTarget, RouteCacheOptions } from '../../plugin/index.js'
import { valueKey } from '../../plugin/store/keys.js'
import { writeValue } from '../../plugin/calls/value.js'
import { beyondLookup, cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { timed } from '../helpers/timed.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'

/** Longer than anything takes that does not hang. */
const LIMIT = 30_000
/** Who waits in vain shows: nobody would be let go in time. */
const OPTIONS = { waitTimeout: 10 * LIMIT / 1000 }
const NAME = '{cache:k}:value'

type Options = Parameters<CachedApp['cache']['getOrSet']>[1]

/** Where loads come from: each says what it read, and may be held behind its reading. */
interface Source {
  row: string
  loads: number
  pause: () => Promise<void>
  load: () => Promise<string>
}

function newSource (): Source {
  return {
    row: 'old',
    loads: 0,
    pause: async () => {},
    async load () {
      const { row } = this
      this.loads++
      await this.pause()
      return row
    }
  }
}

const asker = (source: Source, options: Options = {}) => async (app: CachedApp): Promise<string> =>
  await app.cache.getOrSet('k', options, async () => await source.load())

/** What it is given, when what it stores is. */
async function given (app: CachedApp, ask: (app: CachedApp) => Promise<string>): Promise<string> {
  const before = app.cache.stats().values.hits
  const value = await ask(app)
  await settled(app)
  return `${value}: ${app.cache.stats().values.hits > before ? 'hit' : 'miss'}`
}

/** Resolves once so many loads have begun; all of them are held, so none waits for another. */
async function all (source: Source, loads: number): Promise<void> {
  const limit = performance.now() + LIMIT
  while (source.loads < loads) {
    if (performance.now() > limit) throw new Error(`${loads - source.loads} of ${loads} wait for others`)
    await turn()
  }
}

/** So many at once, none waiting for another. */
async function sideBySide (t: Test, app: CachedApp, { source, ask, n = 3 }: {
  source: Source, ask: (app: CachedApp) => Promise<string>, n?: number
}): Promise<void> {
  const held = gate()
  source.pause = held.wait
  const before = source.loads
  const asked = Array.from({ length: n }, async () => await ask(app))
  await all(source, before + n)
  held.open()
  source.pause = async () => {}
  t.strictSame(await Promise.all(asked), asked.map(() => source.row))
  await settled(app)
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options: RouteCacheOptions = {}): Promise<CachedApp> =>
    await open({ prefix: `app-${++apps}`, ...OPTIONS, ...options })
  /** Another instance of the app; in-process stores are not shared: there it is the same one. */
  const other = async (app: CachedApp): Promise<CachedApp> =>
    app.cache.stats().store === 'redis' ? await open({ prefix: `app-${apps}`, ...OPTIONS }) : app

  await t.test('one load over two instances of the app', async (t) => {
    const here = await opened()
    const there = await other(here)
    const source = newSource()
    const loading = gate()
    source.pause = loading.wait
    const ask = asker(source)
    const asked = [ask(here)]
    await loading.reached
    for (let i = 0; i < 4; i++) asked.push(ask(here), ask(there))
    await Promise.all([beyondLookup(here), beyondLookup(there)])
    loading.open()
    t.strictSame(await Promise.all(asked), asked.map(() => 'old'))
    t.equal(source.loads, 1)
    await settled(here)
    t.strictSame([await given(there, ask), await given(here, ask)], ['old: hit', 'old: hit'])
    const counted = [...new Set([here, there])].map((app) => app.cache.stats().values)
    const sum = (of: 'hits' | 'collapsed' | 'misses' | 'stores'): number => counted.reduce((n, one) => n + one[of], 0)
    t.strictSame([sum('misses'), sum('stores'), sum('collapsed'), sum('hits')], [1, 1, 8, 10])
  })

  await t.test('`waitTimeout`: how long it waits for another\'s load', async (t) => {
    const app = await opened()
    const source = newSource()
    const loading = gate()
    source.pause = loading.wait
    const first = asker(source)(app)
    await loading.reached
    source.pause = async () => {}
    for (const waitTimeout of [0, '20ms']) t.equal(await asker(source, { waitTimeout })(app), 'old', `${waitTimeout}`)
    loading.open()
    t.equal(await first, 'old')
    t.equal(source.loads, 3)
    await settled(app)
    t.match(app.cache.stats().values, { misses: 3, stores: 1, refusals: { lease: 2 } })
  })

  const ends: InvalidateTarget[] = ['k', ['j', 'k'], { keys: ['k'] }, { tags: ['t'] }, { prefix: 'k' }, { all: true }]
  for (const target of ends) {
    const name = JSON.stringify(target)
    await t.test(`invalidated: ${name}`, async (t) => {
      const app = await opened()
      const source = newSource()
      const ask = asker(source, { tags: ['s', 't'] })
      t.strictSame([await given(app, ask), await given(app, ask)], ['old: miss', 'old: hit'])
      source.row = 'new'
      const writer = await other(app)
      const removed = await writer.cache.invalidate(target)
      t.equal(removed, typeof target === 'string' || 'keys' in target || Array.isArray(target) || 'prefix' in target ? 1 : 0)
      t.strictSame([await given(app, ask), await given(app, ask)], ['new: miss', 'new: hit'])
    })

    await t.test(`invalidated while it is loaded: it is not served to who asks later: ${name}`, async (t) => {
      for (const isHere of [true, false]) {
        const app = await opened()
        const source = newSource()
        const ask = asker(source, { tags: ['s', 't'] })
        const [loading, next] = [gate(), gate()]
        source.pause = loading.wait
        const asked = [ask(app)]
        await loading.reached
        for (let i = 0; i < 2; i++) asked.push(ask(app))
        await beyondLookup(app)
        source.row = 'new'
        const writer = isHere ? app : await other(app)
        await writer.cache.invalidate(target)
        source.pause = next.wait
        const later = ask(app)
        await beyondLookup(app)
        // Without its lease it must not overwrite what is newer. With a tag the lease stays, and it is waited for.
        const isLast = !JSON.stringify(target).includes('tags') && !JSON.stringify(target).includes('all')
        next.open()
        if (isLast) t.equal(await later, 'new', 'who asks later does not wait')
        loading.open()
        t.strictSame([await asked[0], await later], ['old', 'new'], 'its own caller has asked before')
        await settled(app)
        await Promise.all(asked)
        await settled(app)
        source.pause = async () => {}
        const before = source.loads
        t.equal(await ask(app), 'new', 'and what is stored')
        await settled(app)
        t.equal(await given(app, ask), 'new: hit')
        t.ok(source.loads <= before + 1, 'it is loaded once more at most')
      }
    })
  }

  await t.test('the same for the values of other keys: they stay', async (t) => {
    const app = await opened()
    const source = newSource()
    const ask = asker(source, { tags: ['t'] })
    await given(app, ask)
    for (const target of ['kk', { prefix: 'kk' }, { prefix: 'j' }, { tags: ['tt'] }]) {
      t.equal(await app.cache.invalidate(target), 0)
      t.equal(await given(app, ask), 'old: hit', JSON.stringify(target))
    }
  })

  await t.test('a load that throws: its error, nothing stored, and who waits loads himself', async (t) => {
    const app = await opened()
    const source = newSource()
    const error = new Error('no')
    const failing = gate()
    const first = app.cache.getOrSet('k', {}, async () => {
      await failing.wait()
      throw error
    })
    await failing.reached
    const held = gate()
    source.pause = held.wait
    const waiting = Array.from({ length: 3 }, async () => await asker(source)(app))
    await beyondLookup(app)
    t.equal(source.loads, 0, 'they wait')
    failing.open()
    t.equal(await first.catch((thrown: unknown) => thrown), error)
    await all(source, 3)
    held.open()
    t.strictSame(await Promise.all(waiting), ['old', 'old', 'old'])
    await settled(app)
    t.match(app.cache.stats().values, { hits: 0, misses: 4, errors: 0, refusals: { error: 1 } })

    const thrown = await app.cache.getOrSet('sync', {}, () => { throw error }).catch((thrown: unknown) => thrown)
    t.equal(thrown, error, 'also at once')
    t.equal(await app.cache.getOrSet('sync', {}, () => 'a value'), 'a value')
    await settled(app)
    t.equal(await app.cache.getOrSet('sync', {}, () => 'another'), 'a value', 'the next one is stored')
    t.equal(app.cache.stats().values.refusals.error, 2)
  })

  await t.test('ttl 0: it is not stored, and nobody waits', async (t) => {
    const app = await opened()
    for (const [ttl, options] of [[0, {}], ['0s', {}], [undefined, { ttl: 0 }]] as const) {
      const app = await opened(options)
      const source = newSource()
      const ask = asker(source, ttl === undefined ? {} : { ttl })
      await sideBySide(t, app, { source, ask })
      await sideBySide(t, app, { source, ask })
      t.match(app.cache.stats().values, { hits: 0, misses: 6, stores: 0, bytes: 0, refusals: { ttl: 6 } })
    }
    const source = newSource()
    t.equal(await given(app, asker(source, { ttl: '1m' })), 'old: miss')
    t.equal(await given(app, asker(source, { ttl: 0 })), 'old: hit', 'what is there is served all the same')
  })

  await t.test('larger than `maxBodyBytes`: it is given, and not stored', async (t) => {
    const most = 100
    const app = await opened({ maxBodyBytes: most })
    const source = newSource()
    source.row = 'x'.repeat(most - writeValue('x'.repeat(most)).length + most)
    const fitting = writeValue(source.row).length
    t.equal(fitting, most)
    const ask = asker(source)
    t.match([await given(app, ask), await given(app, ask)], [/: miss/, /: hit/])
    await app.cache.invalidate('k')
    source.row += 'x'
    t.match([await given(app, ask), await given(app, ask)], [/: miss/, /: miss/])
    await sideBySide(t, app, { source, ask })
    // One of those that don't wait for each other tries again whether it can be stored.
    t.match(app.cache.stats().values, { misses: 6, stores: 1, refusals: { size: 3, lease: 2 } })
  })

  await t.test('switched off: everybody loads, and nothing is stored', async (t) => {
    const app = await opened()
    const source = newSource()
    const ask = asker(source)
    await given(app, ask)
    app.cache.enabled = false
    source.row = 'new'
    await sideBySide(t, app, { source, ask })
    t.match(app.cache.stats().values, { hits: 0, misses: 1, bypasses: { disabled: 3 }, stores: 1 })
    app.cache.enabled = true
    t.equal(await given(app, ask), 'old: hit', 'what was there')

    await app.cache.invalidate('k')
    const switching = app.cache.getOrSet('k', {}, () => {
      app.cache.enabled = false
      return 'while it was loaded'
    })
    t.equal(await switching, 'while it was loaded')
    await settled(app)
    app.cache.enabled = true
    t.match(app.cache.stats().values, { misses: 2, stores: 1, refusals: { disabled: 1 } })
    const next = gate()
    source.pause = next.wait
    const asked = [ask(app)]
    await next.reached
    asked.push(ask(app))
    await beyondLookup(app)
    next.open()
    t.strictSame(await Promise.all(asked), ['new', 'new'])
    t.match(app.cache.stats().values, { misses: 3, collapsed: 1 }, 'who asks next to it waits for it')
  })

  await t.test('apart from a response under the same key, and both go', async (t) => {
    for (const target of ['k', { tags: ['t'] }, { prefix: 'k' }, { all: true }]) {
      const app = await opened()
      const source = newSource()
      const ask = asker(source, { tags: ['t'] })
      app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => 'a response')
      const response = async (): Promise<string> => {
        const { body, headers } = await app.inject('/')
        await settled(app)
        return `${body}: ${/; ttl=/.test(String(headers['cache-status'])) ? 'hit' : 'miss'}`
      }
      for (const sign of ['miss', 'hit', 'hit']) {
        t.equal(await response(), `a response: ${sign}`)
        t.equal(await given(app, ask), `old: ${sign}`)
      }
      t.match(await app.cache.get('k'), { body: Buffer.from('a response') })
      const loading = gate()
      const removed = await app.cache.invalidate(target)
      if (typeof target === 'string' || 'prefix' in target) t.equal(removed, 2)
      t.strictSame([await given(app, ask), await response()], ['old: miss', 'a response: miss'], JSON.stringify(target))
      // Neither waits for the other.
      await app.cache.invalidate(target)
      source.pause = loading.wait
      const asked = ask(app)
      await loading.reached
      t.equal((await app.inject('/')).body, 'a response')
      loading.open()
      t.equal(await asked, 'old')
      await settled(app)
    }
  })

  await t.test('stats: of values, and in all', async (t) => {
    const app = await opened()
    const source = newSource()
    const ask = asker(source, { tags: ['t'] })
    app.get('/', { cache: {} }, async () => 'x')
    t.match(app.cache.stats().values, { hits: 0, misses: 0, hitRate: 0 })
    await app.inject('/')
    await settled(app)
    await given(app, ask)
    for (let i = 0; i < 3; i++) await given(app, ask)
    await app.cache.invalidate({ tags: ['t'] })
    await given(app, ask)
    const { values, total, routes } = app.cache.stats()
    t.match(values, {
      hits: 3, collapsed: 0, stale: 0, misses: 2, outdated: 1, bypasses: {}, stores: 2, refusals: {}, errors: 0, hitRate: 0.6
    })
    t.ok(values.bytes > 2 * writeValue('old').length)
    t.match(total, { hits: 3, misses: 3, stores: 3, bytes: values.bytes + routes['GET /']!.bytes })
    t.strictSame(Object.keys(routes), ['GET /', 'HEAD /'].filter((name) => name in routes), 'values are of no route')
    t.match(app.lines.find(({ msg }) => msg === 'cache stored'), { level: 20 })
  })
})

t.test('what is no value any more is loaded, and overwritten', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, ...OPTIONS })
  const source = newSource()
  const ask = asker(source, { tags: ['t'] })
  await given(app, ask)
  const whole = (await redis.getBuffer(NAME))!
  const entry = decode(whole, valueKey('k'))!
  const odd = (change: (bytes: Buffer) => void, of: Buffer = whole): Buffer => {
    const bytes = Buffer.from(of)
    change(bytes)
    return bytes
  }
  const body = writeValue('old')
  /** Undamaged, but not by this build. */
  const foreign: Record<string, Buffer> = {
    'a newer V8': odd((bytes) => { bytes[1] = 127 }, body),
    'no value at all': Buffer.from('{"a":1}'),
    'the beginning of one': body.subarray(0, -1),
    nothing: Buffer.alloc(0)
  }
  for (const [name, bytes] of Object.entries(foreign)) {
    await redis.set(NAME, encode({ ...entry, body: bytes }, valueKey('k')))
    const { errors } = app.cache.stats().values
    source.row = name
    t.strictSame([await given(app, ask), await given(app, ask)], [`${name}: miss`, `${name}: hit`])
    t.equal(app.cache.stats().values.errors, errors + 1)
  }
  const said = app.lines.filter(({ msg }) => msg === 'a value of cache.getOrSet can not be read')
  t.equal(said.length, 4)
  t.match(said[0], { level: 40, err: { message: /./ } })

  await redis.set(NAME, encode({ ...entry, body: Buffer.from('odd') }, valueKey('k')))
  const loads = source.loads
  t.equal(await asker(source, { ttl: 0 })(app), 'nothing')
  t.equal(source.loads, loads + 1, 'also where it is not stored')
  await settled(app)

  /** No entry of ours: nothing to say. */
  const damaged: Record<string, Buffer> = {
    'a bit of the body': odd((bytes) => { bytes[bytes.length - 1]! ^= 1 }),
    'the layout of another build': odd((bytes) => { bytes[0] = 200 }),
    'half of it': whole.subarray(0, whole.length / 2),
    'an empty text': Buffer.alloc(0)
  }
  const { errors } = app.cache.stats().values
  for (const [name, bytes] of Object.entries(damaged)) {
    await redis.set(NAME, bytes)
    source.row = name
    t.strictSame([await given(app, ask), await given(app, ask)], [`${name}: miss`, `${name}: hit`])
  }
  await redis.del(NAME)
  await redis.hset(NAME, 'a', 'hash')
  source.row = 'a hash'
  t.strictSame([await given(app, ask), await given(app, ask)], ['a hash: miss', 'a hash: hit'])
  t.equal(app.cache.stats().values.errors, errors)
})

t.test('how long it is kept in Redis, and under which names', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, ttl: '10m' })
  const kept = async (key: string, options: Options): Promise<number> => {
    await app.cache.getOrSet(key, options, () => 'x')
    await settled(app)
    return Math.ceil(await redis.pttl(`{cache:${key}}:value`) / 60_000)
  }
  t.equal(await kept('seconds', { ttl: 180 }), 3)
  t.equal(await kept('text', { ttl: '5m' }), 5)
  t.equal(await kept('default', {}), 10)
  t.equal(await kept('undefined', { ttl: undefined as unknown as string, tags: undefined as unknown as string[] }), 10)
  const loading = gate()
  const asked = app.cache.getOrSet('k', {}, loading.wait)
  await loading.reached
  t.equal(await redis.exists(`lease:${NAME}`), 1)
  loading.open()
  await asked
  await settled(app)
  t.strictSame(await redis.exists(`lease:${NAME}`, NAME, 'cache:k'), 1, 'the value alone')
})

interface Outage { app: CachedApp, server: RedisServer, redis: Redis, source: Source }

const DEADLINE = 500

async function outage (t: Test, writeDeadline = '1s'): Promise<Outage> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, deadline: `${DEADLINE}ms`, writeDeadline })
  return { app, server, redis, source: newSource() }
}

t.test('Redis hangs: it is loaded one deadline later', async (t) => {
  const { app, server, source } = await outage(t)
  const ask = asker(source, { tags: ['t'] })
  await given(app, ask)
  source.row = 'new'
  await server.pause()
  const { result, time, late } = await timed(async () => await ask(app))
  t.equal(result, 'new')
  t.ok(time > DEADLINE * 0.9 && time < DEADLINE * 3 + 2 * late, `${time} ms, timers were late by ${late}`)
  t.match(app.cache.stats().values, { misses: 1, errors: 1, bypasses: { store: 1 } })
  t.match(app.lines.find(({ msg }) => String(msg).startsWith('cache lookup failed')), { level: 40, err: { code: 'FRC_DEADLINE' } })
  await t.rejects(app.cache.getOrSet('k', {}, () => { throw new Error('the load') }), /the load/, 'and its own error passes')
  server.resume()
  t.equal(await given(app, ask), 'old: hit', 'and works again')
})

t.test('Redis hangs while it is loaded: its caller does not wait for the fill', async (t) => {
  // A busy machine takes its time to get this far.
  const { app, server, source } = await outage(t, '3s')
  source.pause = async () => { await server.pause() }
  const began = performance.now()
  t.equal(await asker(source)(app), 'old')
  t.equal(app.cache.stats().values.errors, 0, `after ${performance.now() - began} ms: before the fill has failed`)
  await settled(app)
  t.match(app.cache.stats().values, { misses: 1, errors: 1, stores: 0, refusals: { store: 1 } })
  t.match(app.lines.find(({ msg }) => String(msg).startsWith('cache fill failed')), { level: 40, key: /^k/ })
  server.resume()
})

t.test('Redis is gone: it is loaded at once', async (t) => {
  const { app, server, redis, source } = await outage(t)
  await given(app, asker(source))
  const closed = new Promise((resolve) => redis.once('close', resolve))
  await server.kill()
  await closed
  source.row = 'new'
  await sideBySide(t, app, { source, ask: asker(source) })
  t.match(app.cache.stats().values, { hits: 0, errors: 3, bypasses: { store: 3 } })
  const said = app.lines.find(({ msg }) => String(msg).startsWith('cache lookup failed'))
  t.match(said, { level: 40, err: { code: 'FRC_STORE', message: /not connected/ } }, 'no deadline was waited for')
})

t.test('Redis is full: it is loaded', async (t) => {
  const { app, redis, source } = await outage(t)
  await redis.config('SET', 'maxmemory', '1')
  await redis.config('SET', 'maxmemory-policy', 'noeviction')
  t.equal(await given(app, asker(source, { tags: ['t'] })), 'old: miss')
  t.match(app.cache.stats().values, { errors: 1, bypasses: { store: 1 } })
})

t.test('wrong input: it says what is wrong, and does not load', async (t) => {
  const app = await cachedApp(t)
  const load = (): void => { t.fail('it ran') }
  const where = '^cache\\.getOrSet: '
  const options: Array<[options: unknown, message: RegExp]> = [
    [undefined, /options is undefined; write \{ ttl, tags \}$/],
    [null, /options is null; write \{ ttl, tags \}$/],
    [60, /options is 60; write \{ ttl, tags \}$/],
    ['1m', /options is "1m"; write \{ ttl, tags \}$/],
    [[], /options is \[\]; write \{ ttl, tags \}$/],
    [load, /options is a function \(load\); write \{ ttl, tags \}$/],
    [{ tll: 60 }, /tll is 60; there is no such option; there are: ttl, tags, waitTimeout$/],
    [{ ttl: 1, staleWhileRevalidate: '1m' }, /staleWhileRevalidate is "1m"; there is no such option/],
    [{ ttl: -1 }, /ttl is -1; a duration is a number of seconds, or a string with a unit/],
    [{ ttl: '10' }, /ttl is "10"; a duration is/],
    [{ ttl: null }, /ttl is null; a duration is/],
    [{ ttl: NaN }, /ttl is NaN; a duration is/],
    [{ ttl: Infinity }, /ttl is Infinity; a duration is/],
    [{ waitTimeout: -1 }, /waitTimeout is -1; a duration is/],
    [{ waitTimeout: '30 days' }, /waitTimeout is "30 days"; a duration is/],
    [{ tags: 't' }, /tags is "t"; it is an array of strings$/],
    [{ tags: new Set(['t']) }, /tags is \{\}; it is an array of strings$/]
  ]
  for (const [wrong, message] of options) {
    const refused = { code: 'FRC_OPTION', message: new RegExp(where + message.source), worked: false }
    await t.rejects(app.cache.getOrSet('k', wrong as Options, load), refused, String(message))
  }
  for (const tags of [[''], [7], ['t', null]]) {
    const refused = { code: 'FRC_TAG', message: /^a tag is a non-empty string, not / }
    await t.rejects(app.cache.getOrSet('k', { tags } as Options, load), refused)
  }
  for (const [key, shown] of [['', '""'], [7, '7'], [undefined, 'undefined'], [['k'], '["k"]']] as const) {
    const refused = { code: 'FRC_TARGET', message: `a key is a non-empty string, not ${shown}` }
    await t.rejects(app.cache.getOrSet(key as string, {}, load), refused)
  }
  for (const [wrong, shown] of [[undefined, 'undefined'], ['select', '"select"'], [Promise.resolve(1), '{}']] as const) {
    const message = `cache.getOrSet: load is ${shown}; it is a function: getOrSet(key, options, load)`
    await t.rejects(app.cache.getOrSet('k', {}, wrong as unknown as () => void), { code: 'FRC_OPTION', message })
  }
  app.cache.enabled = false
  await t.rejects(app.cache.getOrSet('k', { ttl: -1 }, load), { code: 'FRC_OPTION' }, 'also while it is switched off')
  t.match(app.cache.stats().values, { hits: 0, misses: 0, bypasses: {} }, 'nothing is counted')
})

t.test('a load that wants its own key, and two that want each other\'s: the log names the key when the wait has ended', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open({ waitTimeout: 0.4, deadline: 30 })
    const { cache } = app
    t.equal(await cache.getOrSet('own', {}, async () => await cache.getOrSet('own', {}, async () => 'inner')), 'inner')
    await Promise.all([
      cache.getOrSet('a', {}, async () => await cache.getOrSet('b', {}, async () => 'b')),
      cache.getOrSet('b', {}, async () => await cache.getOrSet('a', {}, async () => 'a'))
    ])
    const told = app.lines.filter(({ msg }) => /asks for this very key/.test(String(msg)))
    t.match(told[0], { level: 40, key: 'own', waitTimeout: 400 })
    t.match(told.slice(1).map(({ level }) => level), told.slice(1).map(() => 20), 'once in a while')
    t.ok(told.length >= 2, 'of the two at least one has waited')
  })
})
