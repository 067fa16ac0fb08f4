// A server that dies and comes back as it was at its last SAVE: what was invalidated since lies there again, and so do the
// leases of then. Now and then it comes back older still, as it was before its last restart.
import type { Redis } from 'ioredis'
import { RedisServer } from '../../helpers/redis.js'
import type { Fault, Scene } from './scene.js'

export const restart: Fault = async (scene) => {
  const server = scene.redis
  if (!(server instanceof RedisServer)) throw new Error('only a server that stands alone is restarted from a snapshot')
  const client = server.client()
  const done = { restarts: 0, snapshots: 0 }
  try {
    await scene.wait(300, 700)
    while (!scene.isOver) {
      if (done.restarts === 0 || scene.random.chance(0.7)) {
        await save(client, scene)
        done.snapshots++
      }
      await scene.wait(50, 1_100)
      await server.kill()
      scene.note('killed')
      await scene.wait(0, 250)
      await server.restart()
      scene.note('restarted from the snapshot')
      done.restarts++
      await scene.wait(300, 900)
    }
    return done
  } finally {
    client.disconnect()
  }
}

async function save (client: Redis, scene: Scene): Promise<void> {
  await client.save()
  scene.note('SAVE')
}
