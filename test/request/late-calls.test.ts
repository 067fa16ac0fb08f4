// `reply.cacheTags` and `reply.noCache` when the response is on its way to the store, or there: it is not kept, and that is
// counted and said. Where it makes no difference nothing is. (What comes in time: late-marks.test.ts.)
import type { FastifyInstance, FastifyReply } from 'fastify'
import { setImmediate as turn } from 'node:timers/promises'
import { Readable } from 'node:stream'
import t from 'tap'
import type { CacheOptions, RouteCacheOptions } from '../../plugin/index.js'
import { faultyStore } from '../../plugin/extras/testing/index.js'
import { cachedApp, gate, onEachStore, send, told, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

type Say = (reply: FastifyReply) => void

/** Calls that come too late, whatever was said before. */
const CALLS: Record<string, Say> = {
  'a tag': (reply) => { reply.cacheTags('late') },
  'a tag among those that are known': (reply) => { reply.cacheTags('early', 'late') },
  'what is no tag': (reply) => { reply.cacheTags('') },
  noCache: (reply) => { reply.noCache() }
}

/** Where they may come from; each declares GET / with the key `k`. */
const PLACES: Record<string, (app: FastifyInstance, cache: CacheOptions, say: Say) => void> = {
  'in the same breath with reply.send': (app, cache, say) => {
    app.get('/', { cache }, (_, reply) => {
      reply.send('x')
      say(reply)
    })
  },
  'a turn behind reply.send': (app, cache, say) => {
    app.get('/', { cache }, async (_, reply) => {
      reply.send('x')
      await turn()
      say(reply)
      return reply
    })
  },
  'while the body is compressed': (app, cache, say) => {
    app.get('/', { cache: { ...cache, compress: true } }, async (_, reply) => {
      reply.type('text/plain').send('x'.repeat(300_000))
      await turn()
      say(reply)
      return reply
    })
  },
  'in onResponse': (app, cache, say) => {
    app.get('/', { cache, onResponse: async (_, reply) => { say(reply) } }, async () => 'x')
  },
  'in onResponse of a plugin': (app, cache, say) => {
    app.addHook('onResponse', (_, reply, done) => {
      say(reply)
      done()
    })
    app.get('/', { cache }, async () => Buffer.from('x'))
  },
  'when a stream is closed': (app, cache, say) => {
    app.get('/', { cache }, async (_, reply) => {
      reply.raw.once('close', () => { say(reply) })
      return Readable.from(['x', 'y'])
    })
  },
  'of a response that varies': (app, cache, say) => {
    app.get('/', { cache }, (_, reply) => {
      reply.header('vary', 'accept-language').send('x')
      say(reply)
    })
  }
}

interface Late { isHit: () => Promise<boolean>, warnings: () => unknown[], counted: () => number }

function late (app: CachedApp): Late {
  return {
    isHit: async () => {
      const { headers } = await app.inject('/')
      await app.cache.settled()
      return /; hit/.test(String(headers['cache-status']))
    },
    warnings: () => app.lines.filter(({ level, msg }) => level === 40 && /was called when/.test(String(msg))),
    counted: () => app.cache.stats().total.refusals['called-late'] ?? 0
  }
}

const HINTS = { noCache: /^reply\.noCache\(\) was called .* storeIf: /, tags: /^reply\.cacheTags\(\) was called .* cache: \{ tags: / }

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options: RouteCacheOptions = {}): Promise<CachedApp> => await open({ prefix: `late-${++apps}`, ...options })

  for (const [what, say] of Object.entries(CALLS)) {
    for (const [place, declare] of Object.entries(PLACES)) {
      await t.test(`${what}, ${place}`, async (t) => {
        const app = await opened()
        let said = 0
        declare(app, { key: 'k', tags: ['early'] }, (reply) => {
          say(reply)
          said++
        })
        const { isHit, warnings, counted } = late(app)
        for (let run = 1; run < 4; run++) {
          t.equal(await isHit(), false, 'it is not kept')
          await until(async () => said === run, 'it is said')
          await app.cache.settled()
          t.equal(counted(), run, 'counted')
        }
        const msg = what === 'noCache' ? HINTS.noCache : HINTS.tags
        t.match(warnings(), [{ route: 'GET /', call: what === 'noCache' ? 'reply.noCache' : 'reply.cacheTags', msg }], 'said')
        t.equal(warnings().length, 1, 'once')
      })
    }

    await t.test(`${what}, long after it was stored`, async (t) => {
      const app = await opened()
      const held: FastifyReply[] = []
      app.get('/', { cache: { key: 'k', tags: ['early'] } }, async (_, reply) => {
        held.push(reply)
        return 'x'
      })
      const { isHit, warnings, counted } = late(app)
      t.equal(await isHit(), false)
      t.equal(await isHit(), true, 'stored')
      say(held[0]!)
      await app.cache.settled()
      t.equal(await isHit(), false, 'ended')
      t.equal(counted(), 1)
      t.equal(warnings().length, 1)
      // Of the next one nothing was said.
      say(held[0]!)
      await app.cache.settled()
      t.equal(await isHit(), true)
      t.equal(counted(), 1)
    })
  }

  await t.test('before it is sent the store is not told of it', async (t) => {
    const app = await opened()
    PLACES['in the same breath with reply.send']!(app, { key: 'k' }, CALLS.noCache!)
    await late(app).isHit()
    t.match(app.cache.stats(), { invalidations: 0, total: { stores: 0, bytes: 0 } })
  })

  await t.test('while it is on its way it is not handed out, nor counted as stored', async (t) => {
    const held = gate()
    const done = gate()
    const app = await opened({
      store: (store) => new Proxy(store, {
        get: (target, name) => {
          const method: unknown = Reflect.get(target, name, target)
          if (typeof method !== 'function') return method
          if (name !== 'fill') return method.bind(target)
          return async (...args: unknown[]) => {
            const result = await method.apply(target, args)
            await held.wait()
            return result
          }
        }
      })
    })
    let runs = 0
    app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
      const run = ++runs
      reply.send(`run ${run}`)
      if (run === 1) {
        await done.wait()
        reply.noCache()
      }
      return reply
    })
    const first = await app.inject('/')
    await held.reached
    const second = app.inject('/')
    await turn()
    done.open()
    await turn()
    held.open()
    t.equal(first.body, 'run 1')
    // It may have looked it up before it was ended.
    t.match((await second).body, /^run [12]$/)
    await app.cache.settled()
    t.match(app.cache.stats().routes['GET /'], { refusals: { 'called-late': 1 } })
    t.equal((await app.inject('/')).body === 'run 1', false, 'it is not kept')
  })

  await t.test('of a run in the background', async (t) => {
    let now = Date.now()
    const app = await opened({ now: () => now })
    let runs = 0
    app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 100 } }, (_, reply) => {
      const run = ++runs
      reply.send(`run ${run}`)
      if (run === 2) reply.cacheTags('late')
    })
    await app.inject('/')
    await app.cache.settled()
    now += 20_000
    t.equal((await app.inject('/')).body, 'run 1')
    await app.cache.settled()
    t.match(app.cache.stats().total, { refreshes: 1, stores: 1, refusals: { 'called-late': 1 } })
    t.equal(late(app).warnings().length, 1)
    t.equal((await app.inject('/')).body, 'run 1', 'what was there stays')
  })

  for (const [how, fill] of Object.entries({
    warm: async (app: CachedApp) => { await app.cache.warm(['/']) },
    set: async (app: CachedApp) => { await app.cache.set('k', async () => 'set', { route: '/' }) }
  })) {
    await t.test(`of cache.${how}`, async (t) => {
      const app = await opened()
      app.get('/', { cache: { key: 'k' }, onResponse: async (_, reply) => { reply.cacheTags('late') } }, async () => 'x')
      const { isHit, warnings, counted } = late(app)
      await fill(app)
      await app.cache.settled()
      t.equal(counted(), 1)
      t.equal(warnings().length, 1)
      t.equal(await isHit(), false, 'it is not kept')
    })
  }

  await t.test('where it makes no difference nothing is said, and what is stored stays', async (t) => {
    const app = await opened()
    const held: FastifyReply[] = []
    const all: Say = (reply) => { for (const say of Object.values(CALLS).filter((say) => say !== CALLS['what is no tag'])) say(reply) }
    const known: Say = (reply) => { reply.cacheTags('early', 'own').cacheTags() }
    const onHit: Say = (reply) => { if (reply.request.cacheOutcome?.type === 'hit') all(reply) }
    app.get('/known', { cache: { tags: ['early'] }, onResponse: async (_, reply) => { known(reply) } }, async (_, reply) => {
      reply.cacheTags('own').send('x')
      known(reply)
      return reply
    })
    app.get('/hit', {
      cache: true,
      onSend: async (_, reply, payload) => { onHit(reply); return payload },
      onResponse: async (_, reply) => { onHit(reply) }
    }, async () => 'x')
    const after = async (_: unknown, reply: FastifyReply): Promise<void> => { all(reply) }
    app.get('/uncached', { onResponse: after }, async () => 'x')
    app.get('/bypass', { cache: true, onResponse: after }, async () => 'x')
    app.get('/head', { cache: true, onResponse: after }, async () => 'x')
    app.get('/refused', { cache: true, onResponse: after }, async (_, reply) => reply.code(500).send('x'))
    app.get('/never', { cache: { ttl: 0 }, onResponse: after }, async () => 'x')
    app.get('/time-out', { cache: true, handlerTimeout: 1 }, async (_, reply) => {
      await until(async () => reply.sent, 'the time-out answers')
      all(reply)
      return reply
    })
    app.get('/hijack', { cache: true, onResponse: after }, (_, reply) => {
      reply.hijack()
      reply.raw.end('x')
      all(reply)
    })
    app.get('/lost', { cache: { key: 'lost' } }, async (_, reply) => {
      held.push(reply)
      await app.cache.invalidate('lost')
      return 'x'
    })
    for (const url of ['/known', '/hit']) {
      await app.inject(url)
      await app.cache.settled()
      for (let i = 0; i < 2; i++) t.match((await app.inject(url)).headers['cache-status'], /; hit/, url)
    }
    await app.inject({ url: '/bypass', headers: { authorization: 'x' } })
    await app.inject({ url: '/head', method: 'HEAD' })
    for (const url of ['/uncached', '/refused', '/never', '/time-out', '/hijack', '/lost']) await app.inject(url)
    await app.cache.settled()
    all(held[0]!)
    await app.cache.settled()
    t.strictSame(late(app).warnings(), [])
    t.equal(late(app).counted(), 0)
    t.equal(app.cache.stats().invalidations, 1, 'none but the handler\'s own')
  })

  await t.test('nor of one that has had its time', async (t) => {
    let now = Date.now()
    const app = await opened({ now: () => now })
    const held: FastifyReply[] = []
    app.get('/', { cache: { key: 'k', ttl: 10 } }, async (_, reply) => {
      held.push(reply)
      return 'x'
    })
    const { isHit, warnings } = late(app)
    await isHit()
    now += 11_000
    await isHit()
    CALLS.noCache!(held[0]!)
    await app.cache.settled()
    t.equal(await isHit(), true, 'the next one is there')
    t.strictSame(warnings(), [])
  })

  await t.test('behind a time-out whose answer is stored', async (t) => {
    const app = await opened()
    let said = false
    // Long enough for the lookup to be done by then.
    app.get('/', { cache: { key: 'k', statuses: { 503: 10 } }, handlerTimeout: 1_000 }, async (_, reply) => {
      await until(async () => reply.sent, 'the time-out answers')
      CALLS.noCache!(reply)
      said = true
      return reply
    })
    t.equal((await app.inject('/')).statusCode, 503)
    await until(async () => said, 'it is said')
    await app.cache.settled()
    t.equal(late(app).counted(), 1)
    t.equal(await app.cache.get('k'), null)
  })

  await t.test('each route is told of once', async (t) => {
    const app = await opened()
    for (const url of ['/a', '/b']) app.get(url, { cache: true, onResponse: async (_, reply) => { reply.noCache() } }, async () => 'x')
    for (const url of ['/a', '/b', '/a', '/b']) {
      await app.inject(url)
      await app.cache.settled()
    }
    t.match(late(app).warnings(), [{ route: 'GET /a' }, { route: 'GET /b' }])
    t.equal(late(app).warnings().length, 2)
  })

  await t.test('where the store can not be told, nothing is served until it can', async (t) => {
    const store = faultyStore()
    const app = await opened({ store })
    const held: FastifyReply[] = []
    app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
      held.push(reply)
      return 'x'
    })
    const { isHit, counted } = late(app)
    await isHit()
    store.fail('writes')
    CALLS.noCache!(held[0]!)
    await app.cache.settled()
    t.equal(counted(), 1)
    t.equal(app.cache.stats().journal, 1)
    t.match(app.lines.filter(({ msg }) => msg === 'cache could not be told of a response that is not to be kept'), [{ level: 50, key: 'k' }])
    t.equal(await isHit(), false)
    store.mend()
    await told(app)
    t.equal(await isHit(), false, 'it has gone')
  })

  await t.test('where nobody knows whether it was stored, it is ended all the same', async (t) => {
    const store = faultyStore()
    const app = await opened({ store, writeDeadline: 0.2 })
    const held: FastifyReply[] = []
    app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
      held.push(reply)
      store.hang('writes')
      return 'x'
    })
    await app.inject('/')
    await until(async () => app.cache.stats().total.refusals.store === 1, 'the fill fails')
    CALLS.noCache!(held[0]!)
    store.mend()
    await told(app)
    await app.cache.settled()
    t.match(app.cache.stats(), { invalidations: 1, total: { refusals: { store: 1, 'called-late': 1 } } })
  })
})

t.test('over the network, with a tier, in another process too', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const open = async (): Promise<CachedApp> => {
    const redis = server.client()
    await redis.ping()
    const app = await cachedApp(t, { redis, memory: {} })
    app.get('/', { cache: { key: 'k' }, onResponse: async (_, reply) => { reply.cacheTags('late') } }, async () => 'x')
    await app.listen({ host: '127.0.0.1', port: 0 })
    return app
  }
  const [app, other] = await Promise.all([open(), open()])
  for (let run = 1; run < 4; run++) {
    await new Promise<void>((resolve, reject) => {
      send(app, 'GET', '/').on('error', reject).on('response', (response) => response.resume().on('end', resolve))
    })
    await until(async () => late(app).counted() === run, 'it is counted')
    await app.cache.settled()
    t.equal(await other.cache.get('k'), null)
  }
})

t.test('the handler may use its bytes for something else at once', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: true }, (_, reply) => {
    const bytes = Buffer.from('as sent')
    reply.send(bytes)
    bytes.fill('!')
  })
  await app.inject('/')
  await app.cache.settled()
  t.match(await app.inject('/'), { headers: { 'cache-status': /; hit/ }, body: 'as sent' })
})
