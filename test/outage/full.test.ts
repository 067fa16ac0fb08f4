// A server that is full and evicts nothing (maxmemory-policy noeviction) refuses what it has no room for. Invalidations must
// be done all the same, and nobody waits for a fill that was refused.
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { beyondLookup, cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startCluster, startRedis, type RedisServer } from '../helpers/redis.js'

type Client = Redis | Cluster

interface Stage { client: () => Client, servers: readonly RedisServer[] }

async function fill ({ servers }: Stage): Promise<void> {
  for (const server of servers) await server.ask('CONFIG', 'SET', 'maxmemory-policy', 'noeviction', 'maxmemory', 1)
}

async function empty ({ servers }: Stage): Promise<void> {
  for (const server of servers) await server.ask('CONFIG', 'SET', 'maxmemory', 0)
}

const INVALIDATIONS: Record<string, (app: CachedApp, key: string) => Promise<unknown>> = {
  key: async (app, key) => await app.cache.invalidate(key),
  'keys and tags': async (app, key) => await app.cache.invalidate({ keys: [key, 'x'], tags: ['other'] }),
  tag: async (app, key) => await app.cache.invalidate({ tags: [`of ${key}`] }),
  'a tag that nothing has yet': async (app, key) => await app.cache.invalidate({ tags: [`of ${key}`, 'new'] }),
  prefix: async (app, key) => await app.cache.invalidate({ prefix: key }),
  all: async (app) => await app.cache.invalidate({ all: true }),
  mutate: async (app, key) => await app.cache.mutate(key, () => {}),
  'mutate of a tag': async (app, key) => await app.cache.mutate({ tags: [`of ${key}`] }, () => {}),
  'soft, by key': async (app, key) => await app.cache.invalidate(key, { soft: true }),
  'soft, by tag': async (app, key) => await app.cache.invalidate({ tags: [`of ${key}`] }, { soft: true }),
  'soft, by key and tag': async (app, key) => await app.cache.invalidate({ keys: [key], tags: [`of ${key}`] }, { soft: true })
}

async function full (t: Test, stage: Stage): Promise<void> {
  const client = stage.client()
  await client.ping()
  const app = await cachedApp(t, { redis: client })
  let runs = 0
  let stop: (() => Promise<void>) | null = null
  app.get('/:name', { cache: { key: '{name}', tags: ['of {name}'] } }, async (request, reply) => {
    runs++
    const { name } = request.params as { name: string }
    if (name.startsWith('private')) reply.header('cache-control', 'private')
    await stop?.()
    return { name, runs }
  })

  for (const [name, invalidate] of Object.entries(INVALIDATIONS)) {
    await t.test(`an invalidation is done: ${name}`, async (t) => {
      const key = name.replaceAll(/[ ,]+/g, '-')
      await app.inject(`/${key}`)
      await settled(app)
      await fill(stage)
      try {
        t.equal((await app.inject(`/${key}`)).headers['cache-status']?.toString().includes('hit'), true, 'what is there is served')
        const before = runs
        await invalidate(app, key)
        await app.inject(`/${key}`)
        t.equal(runs, before + 1, 'it is not served any more')
        t.equal(app.cache.stats().journal, 0)
      } finally {
        await empty(stage)
      }
      await settled(app)
    })
  }

  for (const name of ['stored', 'private']) {
    await t.test(`a lease is given back, of what would have been ${name}`, async (t) => {
      const { wait, reached, open } = gate()
      stop = wait
      const first = app.inject(`/${name}`)
      await reached
      stop = null
      t.equal(await client.exists(`lease:{cache:${name}}`), 1)
      await fill(stage)
      try {
        open()
        await first
        await settled(app)
        await beyondLookup(app)
        const left = await client.get(`lease:{cache:${name}}`)
        t.equal(left, name === 'private' ? '~' : null, 'nobody is to wait')
      } finally {
        await empty(stage)
      }
    })
  }
}

t.test('redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  await full(t, { client: () => server.client(), servers: [server] })
})

t.test('cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  await full(t, { client: () => cluster.client(), servers: cluster.servers })
})
