// A subject's process: what it loads from, counted, and what the driver asks it for over IPC.
import { setTimeout as delay } from 'node:timers/promises'
import { DELAYS, objectOf } from './body.js'

/** The ttl of all, in seconds: longer than any run. */
export const TTL = 600

let runs = 0
let version = 0

/** The "database": each call is a run of the handler. A versioned id's answer is what it was when the read began. */
export async function load (id) {
  runs++
  const kind = id[0]
  if (kind !== 's' && kind !== 'v') return objectOf(id)
  const value = objectOf(id, kind === 'v' ? version : 0)
  await delay(DELAYS[kind])
  return value
}

/** The answer by which it is seen what a stored response loses. */
export const PROBE = { status: 203, type: 'application/vnd.bench+json', header: 'x-made-by', made: 'the handler' }
export function probe () {
  runs++
  return '{"probe":true}'
}

/**
 * Serves until the driver goes. `start` gets `{ redisUrl, variant }` and gives `{ url, invalidate?, pids?, close?, version?
 * }`. The `id` that `invalidate` is called with was written just before, and its second argument counts the calls. `pids`:
 * processes that it has started, whose CPU time counts too, and which `close` ends.
 */
export async function serve (start) {
  // Ctrl-C reaches all processes of a terminal: the driver ends this one.
  process.on('SIGINT', () => {})
  let stop = async () => {}
  process.on('disconnect', async () => {
    await stop()
    process.exit()
  })
  const surroundings = { redisUrl: process.env.REDIS_URL, variant: process.argv[2] }
  const { url, invalidate, pids = [], close, version: software } = await start(surroundings)
  if (close !== undefined) stop = close
  let calls = 0
  const answers = {
    runs: () => runs,
    stop: async () => await stop(),
    invalidate: async ({ id }) => {
      const written = ++version
      const began = performance.now()
      await invalidate(id, calls++)
      const at = now()
      return { version: written, at, took: performance.now() - began }
    },
    memory: () => {
      globalThis.gc?.()
      const { rss, heapUsed, external } = process.memoryUsage()
      return { rss, heapUsed, external }
    }
  }
  process.on('message', async ({ call, ask, ...rest }) => {
    try {
      process.send({ call, result: await answers[ask](rest) })
    } catch (error) {
      process.send({ call, error: String(error?.stack ?? error) })
    }
  })
  process.send({ url, pids, version: software })
}

/** Milliseconds of a clock that all processes of a machine share. */
export function now () {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Where an app of Fastify listens: a port of the operating system's choice. */
export async function listen (app) {
  return await app.listen({ host: '127.0.0.1', port: 0 })
}
