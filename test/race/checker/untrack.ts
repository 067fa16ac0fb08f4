// Somebody who ends the connections over which tiers are told what changed, again and again.
import type { Fault } from './scene.js'

export const untrack: Fault = async (scene) => {
  let untracked = 0
  await scene.wait(500, 1_000)
  while (!scene.isOver) {
    const server = scene.random.pick(scene.servers)
    // They are subscribers to Redis, the only ones of these processes.
    untracked += Number(await server.ask('CLIENT', 'KILL', 'TYPE', 'pubsub'))
    scene.note(`the tracking connections to port ${server.port} are ended`)
    await scene.wait(500, 2_000)
  }
  return { untracked }
}
