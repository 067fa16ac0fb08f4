// Primaries of a Cluster that are replaced by their replicas. `failover`: one is killed after its replica has lost touch
// with it for a moment, so that what was written last, invalidations too, is lost; the killed one comes back as a replica.
// `handover`: a replica is told to take over, in agreement with its primary, which goes on as a replica.
import { setTimeout as delay } from 'node:timers/promises'
import { RedisCluster } from '../../helpers/redis-cluster.js'
import type { RedisServer } from '../../helpers/redis-instance.js'
import type { Fault, Scene } from './scene.js'

const DEADLINE = 20_000
const POLL = 20

interface Pair {
  primary: RedisServer
  replica: RedisServer
}

export const failover: Fault = async (scene) => await eachPair(scene, 'failovers', async ({ primary, replica }) => {
  await loseTouch({ primary, replica }, scene)
  await primary.kill()
  replica.resume()
  scene.note(`killed the primary on port ${primary.port}`)
  await until(async () => await isPrimary(replica), 'no replica took over')
  scene.note(`the one on port ${replica.port} has taken over`)
  await scene.wait(300, 1_000)
  await primary.restart()
  scene.note(`port ${primary.port} is back`)
})

export const handover: Fault = async (scene) => await eachPair(scene, 'handovers', async ({ replica }) => {
  scene.note(`the replica on port ${replica.port} is told to take over`)
  await asked(replica, 'CLUSTER', 'FAILOVER')
  await until(async () => await isPrimary(replica), 'no replica took over')
  scene.note(`the one on port ${replica.port} has taken over`)
})

type Replacement = (pair: Pair) => Promise<void>

async function eachPair (scene: Scene, name: string, replace: Replacement): Promise<Record<string, number>> {
  const cluster = scene.redis
  if (!(cluster instanceof RedisCluster)) throw new Error('only a Cluster has replicas that take over')
  const half = cluster.servers.length / 2
  let times = 0
  await scene.wait(500, 1_000)
  while (!scene.isOver) {
    const [first, second] = [cluster.servers[times % half]!, cluster.servers[times % half + half]!]
    await replace(await isPrimary(first) ? { primary: first, replica: second } : { primary: second, replica: first })
    times++
    await cluster.ready()
    await scene.wait(500, 1_500)
  }
  return { [name]: times }
}

/** For less time than it takes to count as failing. */
async function loseTouch ({ primary, replica }: Pair, scene: Scene): Promise<void> {
  await replica.pause()
  await asked(primary, 'CLIENT', 'KILL', 'TYPE', 'replica')
  scene.note(`the replica of the primary on port ${primary.port} has lost touch`)
  await scene.wait(100, 500)
}

async function isPrimary (server: RedisServer): Promise<boolean> {
  return String(await asked(server, 'INFO', 'replication')).includes('role:master')
}

async function asked (server: RedisServer, command: string, ...args: string[]): Promise<unknown> {
  const client = server.client()
  try {
    return await client.call(command, ...args)
  } finally {
    client.disconnect()
  }
}

async function until (holds: () => Promise<boolean>, otherwise: string): Promise<void> {
  const deadline = performance.now() + DEADLINE
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`${otherwise} within ${DEADLINE} ms`)
    await delay(POLL)
  }
}
