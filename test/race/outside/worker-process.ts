// A worker: a cache without routes in a process of its own, which invalidates what it is told to.
import { Cluster, Redis } from 'ioredis'
import { createCache } from '../../../plugin/extras/client/index.js'
import type { Named, Place } from './messages.js'

const { prefix, nodes, cluster } = JSON.parse(process.argv[2]!) as Place
const redis = cluster ? new Cluster(nodes) : new Redis(nodes[0]!)
const cache = await createCache({ redis: redis as never, prefix, writeDeadline: 30 })

process.on('message', (targets: Named | null) => {
  if (targets === null) {
    cache.close().finally(() => {
      redis.disconnect()
      process.disconnect()
    })
  } else {
    const tell = (answer: object): void => { process.send!(answer) }
    cache.invalidate(targets).then(() => { tell({ result: null }) }, (error: Error) => { tell({ error: error.message }) })
  }
})
process.send!({ result: null })
