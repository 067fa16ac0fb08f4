// A cache without routes on clients of node-redis, of one server and of a Cluster, beside an app that names its responses
// for a cache in front: every call ends what the app serves, and caches in front hear of the same names.
import t from 'tap'
import { createCache } from '../../plugin/extras/client/index.js'
import { cachedApp, settled } from '../helpers/app.js'
import { startCluster, startRedis } from '../helpers/redis.js'
import { nodeRedis } from '../race/checker/node-redis.js'

for (const kind of ['one server', 'a Cluster']) {
  t.test(kind, async (t) => {
    const server = kind === 'a Cluster' ? await startCluster() : await startRedis()
    t.teardown(async () => { await server.stop() })
    const client = await nodeRedis('servers' in server ? { nodes: server.servers } : server)
    t.teardown(() => { client.destroy() })
    const told: object[] = []
    const app = await cachedApp(t, { redis: client as never, prefix: 'shop', surrogateKeys: 'Surrogate-Key' })
    let runs = 0
    app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => `run ${++runs}`)
    const worker = await createCache({
      redis: client as never, prefix: 'shop', deadline: 30, writeDeadline: 30, logger: false, onInvalidate: (targets) => { told.push(targets) }
    })
    t.teardown(async () => { await worker.close() })
    const asked = async (): Promise<string> => {
      const { body, headers } = await app.inject('/')
      t.match(headers['surrogate-key'], /\bk\b.*\bt\b/)
      await settled(app)
      return body
    }
    t.strictSame([await asked(), await asked()], ['run 1', 'run 1'])
    for (const target of ['k', { tags: ['t'] }, { prefix: 'k' }, { all: true }] as const) {
      const before = runs
      await worker.invalidate(target)
      t.strictSame([await asked(), await asked()], [`run ${before + 1}`, `run ${before + 1}`], JSON.stringify(target))
    }
    t.equal(told.length, 4)
    t.match(told, [{ keys: ['k'] }, { tags: ['t'] }, {}, { all: true }])
    await worker.mutate({ keys: ['k'] }, () => {})
    t.equal(await asked(), 'run 6')
    t.equal(await worker.put('value', () => 'put'), 'put')
    t.equal(await app.cache.getOrSet('value', {}, () => 'loaded'), 'put')
    t.match(String((await worker.get('k'))?.body), 'run 6')
  })
}
