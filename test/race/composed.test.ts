// Responses made of cached values, and a call that invalidates both: whichever command of that call is held back by a gate
// in the writer's client, a reader in another process who makes the page meanwhile leaves nothing old behind. See the head
// of store/redis/joint-invalidation.ts for the interleaving.
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { extent } from '../helpers/extent.js'
import { beyondLookup, cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startCluster, startRedis } from '../helpers/redis.js'

type Client = Redis | Cluster

interface Case {
  /** What is in its names is held: of scripts and of SCAN. */
  held: RegExp
  /** Of the page, of its value, and of the value that this is made of. */
  keys?: [page: string, value: string, inner: string]
  tags?: [page: string[], value: string[], inner: string[]]
  /** The page varies. */
  varies?: boolean
  /** Who may be served a stale page is. */
  isSoft?: boolean
  write: (app: CachedApp, commit: () => void) => Promise<unknown>
}

const KEYS: [string, string, string] = ['page', 'value', 'inner']
const UNDER: [string, string, string] = ['p:page', 'p:value', 'p:inner']
const TAGS: [string[], string[], string[]] = [['a'], ['b'], ['c']]
const all = (target: object, options?: object): Case['write'] => async (app, commit) => {
  commit()
  await app.cache.invalidate(target as never, options as never)
}

const CASES: Record<string, Case> = {
  keys: { held: /value|inner/, write: all(KEYS) },
  'keys, in another order': { held: /page|inner/, write: all(KEYS.toReversed()) },
  'keys, of a page that varies': { held: /value|inner/, varies: true, write: all(KEYS) },
  'very many keys': { held: /value|inner/, write: all([...KEYS, ...Array.from({ length: 600 }, (_, i) => `other:${i}`)]) },
  'one tag of all': { held: /#tag/, tags: [['a'], ['a'], ['a']], write: all({ tags: ['a'] }) },
  'a tag each': { held: /#tag:[bc]/, tags: TAGS, write: all({ tags: ['a', 'b', 'c'] }) },
  'a tag each, in another order': { held: /#tag:[ac]/, tags: TAGS, write: all({ tags: ['c', 'b', 'a'] }) },
  'key and tags': { held: /#tag/, tags: TAGS, write: all({ keys: ['page'], tags: ['b', 'c'] }) },
  'tag and keys': { held: /value|inner/, tags: [['a'], [], []], write: all({ keys: ['value', 'inner'], tags: ['a'] }) },
  'a prefix': { held: /p:/, keys: UNDER, write: all({ prefix: 'p:' }) },
  'several prefixes': { held: /p:value|p:inner/, keys: UNDER, write: all({ prefix: ['p:page', 'p:value', 'p:inner'] }) },
  'prefix and key': { held: /value|inner/, keys: ['p:page', 'value', 'p:inner'], write: all({ prefix: 'p:', keys: ['value'] }) },
  'key and prefix': { held: /p:/, keys: ['page', 'p:value', 'p:inner'], write: all({ prefix: 'p:', keys: ['page'] }) },
  'prefix and tag': { held: /#tag|p:/, keys: UNDER, tags: [[], ['b'], []], write: all({ prefix: 'p:', tags: ['b'] }) },
  everything: { held: /#floor/, write: all({ all: true }) },
  declared: {
    held: /value|inner/, write: async (app, commit) => { commit(); await app.inject({ method: 'POST', url: '/declared' }) }
  },
  'declared, with a prefix': {
    held: /p:/,
    keys: ['page', 'p:value', 'p:inner'],
    write: async (app, commit) => { commit(); await app.inject({ method: 'POST', url: '/declared-prefix' }) }
  },
  mutate: { held: /value|inner/, write: async (app, commit) => await app.cache.mutate(KEYS, commit) },
  'mutate, tags and a key': {
    held: /#tag/,
    tags: TAGS,
    write: async (app, commit) => await app.cache.mutate({ keys: ['page'], tags: ['b', 'c'] }, commit)
  },
  'soft, keys': { held: /value|inner/, isSoft: true, write: all(KEYS, { soft: true }) },
  'soft, tags': { held: /#tag/, isSoft: true, tags: TAGS, write: all({ tags: ['a', 'b', 'c'] }, { soft: true }) },
  'soft, key and tags': { held: /#tag/, isSoft: true, tags: TAGS, write: all({ keys: ['page'], tags: ['b', 'c'] }, { soft: true }) }
}
/** Of the commands that match, which is held; those that a call does not have hold nothing. */
const MOST_HELD = extent(2, 4)

/** Waits before the n-th command with such names, since it was armed. */
function gated (client: Client, held: RegExp, stage: { left: number, wait: () => Promise<void> }): Client {
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name === 'nodes') return (role: 'master') => (target as Cluster).nodes(role).map((node) => gatedScan(node, pass))
      if (name === 'scan') return gatedScan(target as Redis, pass).scan
      if (name !== 'evalsha') return method.bind(target)
      return async (...args: [sha: string, keys: number, ...names: string[]]) => {
        await pass(String(args[2]))
        return await (method as (...args: unknown[]) => Promise<unknown>).apply(target, args)
      }
    }
  })

  async function pass (what: string): Promise<void> {
    if (held.test(what) && --stage.left === 0) await stage.wait()
  }
}

function gatedScan (client: Redis, pass: (what: string) => Promise<void>): Redis {
  return new Proxy(client, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      if (name !== 'scan') return method.bind(target)
      return async (...args: [string, 'MATCH', string, ...unknown[]]) => {
        await pass(args[2])
        return await (method as (...args: unknown[]) => Promise<unknown>).apply(target, args)
      }
    }
  })
}

async function appOf (t: Test, redis: Client, of: Case & { row: { now: string } }): Promise<CachedApp> {
  const { keys = KEYS, tags = [[], [], []], varies = false, row } = of
  const app = await cachedApp(t, { redis, ttl: '1h', writeDeadline: 30 } as RouteCacheOptions)
  const [page, value, inner] = keys
  const cache = { key: page, tags: tags[0], staleWhileRevalidate: '1h', ...varies && { vary: ['accept-language'] } }
  app.get('/page', { cache }, async () => {
    const made = await app.cache.getOrSet(value, { tags: tags[1] }, async () =>
      await app.cache.getOrSet(inner, { tags: tags[2] }, () => row.now))
    return { made }
  })
  app.post('/declared', { cache: { invalidates: [page, { keys: [value, inner] }] } }, async () => 'done')
  app.post('/declared-prefix', { cache: { invalidates: [page, { prefix: 'p:' }] } }, async () => 'done')
  await app.ready()
  return app
}

async function made (app: CachedApp): Promise<{ made: string, status: string }> {
  const response = await app.inject('/page')
  return { ...response.json(), status: String(response.headers['cache-status']) }
}

/** Something of the call is held; what a reader makes then must not outlive it. */
async function held (t: Test, client: () => Client, of: Case, n: number): Promise<void> {
  const row = { now: 'old' }
  const { wait, reached, open } = gate()
  const reader = await appOf(t, client(), { ...of, row })
  const stage = { left: Infinity, wait }
  const writer = await appOf(t, gated(client(), of.held, stage), { ...of, row })
  // All is there, and was made in the other process.
  for (let i = 0; i < 2; i++) await made(writer)
  await settled(writer)
  t.match(await made(reader), { made: 'old', status: /hit/ })
  stage.left = n
  const writing = of.write(writer, () => { row.now = 'new' })
  await Promise.race([reached, writing])
  await made(reader)
  // A stale one is refreshed behind its answer.
  await beyondLookup(reader)
  await settled(reader)
  open()
  await writing
  for (const app of [reader, writer, reader]) {
    const { made: found, status } = await made(app)
    const isStale = of.isSoft === true && /ttl=-/.test(status)
    if (!isStale) t.equal(found, 'new', status)
    await settled(app)
    await settled(reader)
  }
}

for (const [target, start] of Object.entries({
  redis: async (t: Test) => {
    const server = await startRedis()
    t.teardown(async () => { await server.stop() })
    return { client: () => server.client(), clear: async () => { await server.ask('FLUSHALL') } }
  },
  cluster: async (t: Test) => {
    const cluster = await startCluster()
    t.teardown(async () => { await cluster.stop() })
    const clear = async (): Promise<void> => { for (const server of cluster.servers) await server.ask('FLUSHALL') }
    return { client: () => cluster.client(), clear }
  }
})) {
  t.test(target, async (t) => {
    const { client, clear } = await start(t)
    for (const [name, of] of Object.entries(CASES)) {
      for (let n = 1; n <= MOST_HELD; n++) {
        await t.test(`${name}: ${n}`, async (t) => {
          await clear()
          await held(t, client, of, n)
        })
      }
    }
  })
}
