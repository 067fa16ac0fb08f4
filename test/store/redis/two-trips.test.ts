// An entry whose tags only its handler knew is judged in two trips. On a Cluster its tags' server may have come back with an
// older memory before the second one, unnoticed by the first, which asked others.
import t from 'tap'
import { slotOf, SLOTS } from '../../../plugin/store/server/topology.js'
import { cachedApp, settled, type CachedApp } from '../../helpers/app.js'
import { startCluster } from '../../helpers/redis.js'

const serverOf = (name: string): number => Math.floor(slotOf(name) / (SLOTS / 3))
const numbers = Array.from({ length: 100 }, (_, i) => i)

t.test('the first to ask a tag\'s server that came back knows what its entry was stored under', async (t) => {
  const cluster = await startCluster({ args: ['--dbfilename', 'dump.rdb'] })
  t.teardown(async () => { await cluster.stop() })
  let name = 'old'
  // The tag's server has neither the floor nor the entry.
  const floor = serverOf('shop#floor')
  const tag = numbers.map((i) => `user:${i}`).find((tag) => serverOf(`shop#tag:${tag}`) !== floor)!
  const reborn = serverOf(`shop#tag:${tag}`)
  const id = numbers.find((i) => serverOf(`shop:k${i}`) !== reborn)!
  const open = async (): Promise<CachedApp> => {
    const redis = cluster.client()
    await redis.ping()
    const app = await cachedApp(t, { redis, prefix: 'shop' })
    app.get('/:id', { cache: { key: 'k{id}' } }, async (_request, reply) => {
      reply.cacheTags(tag)
      return name
    })
    return app
  }
  const [app, other] = await Promise.all([open(), open()])
  await other.ready()
  await app.inject(`/${id}`)
  await settled(app)
  t.match(await app.inject(`/${id}`), { body: 'old', headers: { 'cache-status': /hit/ } })

  const server = cluster.servers[reborn]!
  await server.client().save()
  name = 'new'
  await app.cache.invalidate({ tags: [tag] })
  await server.kill()
  await server.restart()
  await cluster.ready()
  t.equal((await other.inject(`/${id}`)).body, 'new')
  t.match(other.cache.stats().total, { errors: 0 })
  await settled(other)
  t.match(await app.inject(`/${id}`), { body: 'new', headers: { 'cache-status': /hit/ } })
})
