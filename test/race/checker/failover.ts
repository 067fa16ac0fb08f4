// Primaries that are replaced by their replicas, in a Cluster or by sentinels. `failover`: one is killed after its replica
// has lost touch with it for a moment, so that what was written last, invalidations too, is lost; the killed one comes back
// as a replica. `handover`: a replica is told to take over while its primary runs, which goes on as a replica.
// `standstill`: a primary stands still until it is replaced, and then goes on as if nothing had been, until it is told.
import { RedisCluster, RedisServer, type RedisSentinel } from '../../helpers/redis.js'
import { isPrimary } from '../../helpers/redis-sentinel.js'
import { until } from '../../helpers/until.js'
import type { Fault, Scene } from './scene.js'

interface Pair {
  primary: RedisServer
  replica: RedisServer
  /** Tells the replica to take over. */
  tell: () => Promise<unknown>
  /** Resolves once everybody knows that it has. */
  taken: () => Promise<unknown>
}

export const failover: Fault = async (scene) => await eachPair(scene, 'failovers', async (pair) => {
  const { primary, replica, taken } = pair
  await loseTouch(pair, scene)
  await primary.kill()
  replica.resume()
  scene.note(`killed the primary on port ${primary.port}`)
  await taken()
  scene.note(`the one on port ${replica.port} has taken over`)
  await scene.wait(300, 1_000)
  await primary.restart()
  scene.note(`port ${primary.port} is back`)
})

export const handover: Fault = async (scene) => await eachPair(scene, 'handovers', async ({ replica, tell, taken }) => {
  scene.note(`the replica on port ${replica.port} is told to take over`)
  await tell()
  await taken()
  scene.note(`the one on port ${replica.port} has taken over`)
})

type Replacement = (pair: Pair) => Promise<void>

export const standstill: Fault = async (scene) => await eachPair(scene, 'standstills', async ({ primary, replica, taken }) => {
  await primary.pause()
  scene.note(`the primary on port ${primary.port} stands still`)
  await taken()
  scene.note(`the one on port ${replica.port} has taken over`)
  await scene.wait(0, 1_000)
  primary.resume()
  scene.note(`the one on port ${primary.port} goes on`)
})

async function eachPair (scene: Scene, name: string, replace: Replacement): Promise<Record<string, number>> {
  const { redis } = scene
  if (redis instanceof RedisServer) throw new Error('a server that stands alone has no replica that takes over')
  let times = 0
  await scene.wait(500, 1_000)
  while (!scene.isOver) {
    await replace(redis instanceof RedisCluster ? await pairOfCluster(redis, times) : await pairOfSentinel(redis))
    times++
    await redis.ready()
    await scene.wait(500, 1_500)
  }
  return { [name]: times }
}

async function pairOfCluster ({ servers }: RedisCluster, times: number): Promise<Pair> {
  const half = servers.length / 2
  const two = [servers[times % half]!, servers[times % half + half]!] as const
  const [primary, replica] = await isPrimary(two[0]) ? two : two.toReversed() as [RedisServer, RedisServer]
  return {
    primary,
    replica,
    tell: async () => await replica.ask('CLUSTER', 'FAILOVER'),
    taken: async () => { await until(async () => await isPrimary(replica), 'a replica takes over') }
  }
}

async function pairOfSentinel (sentinels: RedisSentinel): Promise<Pair> {
  const primary = await sentinels.primary()
  const replica = sentinels.servers.find((server) => server !== primary)
  if (primary === undefined || replica === undefined) throw new Error('the sentinels disagree on the primary')
  return {
    primary,
    replica,
    tell: async () => { await sentinels.handOver() },
    taken: async () => await sentinels.replaced(primary)
  }
}

/** For less time than it takes to count as failing. */
async function loseTouch ({ primary, replica }: Pair, scene: Scene): Promise<void> {
  await replica.pause()
  await primary.ask('CLIENT', 'KILL', 'TYPE', 'replica')
  scene.note(`the replica of the primary on port ${primary.port} has lost touch`)
  await scene.wait(100, 500)
}
