// One server of a Cluster goes, and its client is ready all the same: the log names the server and the cause.
import { Cluster } from 'ioredis'
import t from 'tap'
import { createCache } from '../../../plugin/extras/client/index.js'
import { startCluster } from '../../helpers/redis.js'
import { until } from '../../helpers/until.js'
import { nodeRedis } from '../../race/checker/node-redis.js'

for (const name of ['node-redis', 'ioredis']) {
  t.test(name, async (t) => {
    const cluster = await startCluster()
    t.teardown(async () => { await cluster.stop() })
    const client = name === 'ioredis'
      ? new Cluster(cluster.servers.map(({ host, port }) => ({ host, port })))
      : await nodeRedis({ nodes: cluster.servers })
    t.teardown(() => { 'disconnect' in client && name === 'ioredis' ? client.disconnect() : (client as { destroy: () => void }).destroy() })
    client.on('error', () => {})
    const lines: string[] = []
    const note = (_details: object, message: string): void => { lines.push(message) }
    const logger = { debug () {}, info () {}, warn: note, error: note }
    const cache = await createCache({ redis: client as never, prefix: 'gone', writeDeadline: 0.5, logger })
    t.teardown(async () => { await cache.close({ timeout: 0.01 }).catch(() => {}) })
    const gone = cluster.servers[0]!
    await gone.kill()
    let number = 0
    await until(async () => {
      await Promise.all(Array.from({ length: 9 }, async () => await cache.invalidate(`k${number++}`).catch(() => {})))
      return lines.length > 0
    }, 'the log has a line')
    t.match(lines.join('\n'), /Redis Cluster at .* \(.*ECONNREFUSED: nothing listens there\)/)
    t.match(lines.join('\n'), new RegExp(`its server ${gone.host}:${gone.port} can't be used`))
  })
}
