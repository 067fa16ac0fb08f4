// What a request costs while the in-process store, and the tier, fill up and are full: each request another key, until
// several times their size has passed. In slices of a quarter of it, all in turns, each behind one of the route without a
// cache: what slows the machine slows both. A store that walks past all that went to find its oldest is not flat.
//
//   npm run bench:full -- [times its size] [MB,MB] [a built checkout to compare with]
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { startRedis, type RedisServer } from '../test/helpers/redis.js'
import { Load } from './driver/load.js'
import { AskedProcess } from './driver/process.js'
import { spread } from './driver/statistics.js'
import { storeCopies } from './driver/stored.js'
import { line, text } from './driver/table.js'
import { cpuSeconds } from './driver/usage.js'

const [times = '3', sizes = '64,256', beside] = process.argv.slice(2)
const MB = 2 ** 20
const CONNECTIONS = 64
/** Slices while as much passes as there is room for. */
const QUARTERS = 4
/** The tier asks for so many quarters in a ring: for what Redis has, and it has dropped. */
const RING = QUARTERS + 2
/** Of an entry of 1 kB, roughly: key, bytes, and what is counted beside them. */
const ENTRY = 2_450
const CONTROL = 10_000
const WARM = 3_000

interface App { process: AskedProcess, url: string, redis: Redis | null }
interface Setting { store: 'memory' | 'tier' | 'none', megabytes: number, plugin: string }
/** `slices`: CPU time a request, in that of one without a cache. */
interface Running extends App { setting: Setting, amount: number, slices: number[] }

const ours = fileURLToPath(new URL('..', import.meta.url))
const servers: RedisServer[] = []
const apps: App[] = []
const load = await Load.start()
try {
  const control = await start({ store: 'none', megabytes: 0, plugin: ours })
  const running: Running[] = []
  for (const setting of settings()) running.push(await prepare(setting))
  const slices = (Number(times) + 1) * QUARTERS
  for (let slice = 0; slice < slices; slice++) {
    for (const one of running) one.slices.push(await slicedBeside(control, one, slice))
    console.error(`bench: slice ${slice + 1} of ${slices}`)
  }
  report(running)
} finally {
  for (const { process } of apps) await process.stop()
  for (const server of servers) await server.stop()
  await load.stop()
}

function settings (): Setting[] {
  const plugins = beside === undefined ? [ours] : [beside, ours]
  return sizes.split(',').map(Number).flatMap((megabytes) => (['memory', 'tier'] as const).flatMap((store) =>
    plugins.map((plugin) => ({ store, megabytes, plugin }))))
}

async function start ({ store, megabytes, plugin }: Setting): Promise<App> {
  const server = store === 'tier' ? await startRedis() : null
  if (server !== null) servers.push(server)
  const variant = JSON.stringify({ store, maxBytes: megabytes * MB, plugin })
  const env = server === null ? {} : { REDIS_URL: server.url }
  const { process, first } = await AskedProcess.start<{ url: string }>('subjects/full.js', [variant], { env })
  const app = { process, url: first.url, redis: server?.client() ?? null }
  apps.push(app)
  await costOf(app, 'm1-w-', WARM)
  return app
}

/** In front of the tier Redis has all that is asked for. */
async function prepare (setting: Setting): Promise<Running> {
  const app = await start(setting)
  const amount = Math.ceil(setting.megabytes * MB / ENTRY / QUARTERS)
  if (app.redis !== null) {
    // Some more than are asked for: each connection ends with an answer.
    const size = amount + CONNECTIONS
    const ids = Array.from({ length: RING * size }, (_, i) => `h1-${Math.floor(i / size)}-${i % size}`)
    await storeCopies(app.redis, 'm1-w-0', ids)
  }
  return { ...app, setting, amount, slices: [] }
}

async function slicedBeside (control: App, one: Running, slice: number): Promise<number> {
  const plain = await costOf(control, 'm1-0-', CONTROL)
  return await costOf(one, one.setting.store === 'tier' ? `h1-${slice % RING}-` : `m1-${slice}-`, one.amount) / plain
}

/** Seconds of CPU time a request. */
async function costOf ({ process, url }: App, fresh: string, amount: number): Promise<number> {
  const before = cpuSeconds(process.pid)
  const steady = { urls: [url], fresh, connections: CONNECTIONS, seconds: 0, amount }
  const { requests, wrong, example } = await load.steady(steady)
  if (wrong > 0) throw new Error(`${wrong} wrong answers: ${example}`)
  return (cpuSeconds(process.pid) - before) / requests
}

function report (running: readonly Running[]): void {
  const passes = Array.from({ length: Number(times) + 1 }, (_, i) => i)
  const columns = passes.map((pass) => pass === 0 ? 'filling' : `${pass} x its size`)
  const head = ['CPU of a request: x no cache', ...columns, 'full / filling']
  console.log(`${line(head)}\n${line(head.map((_, i) => i === 0 ? '---' : '---:'))}`)
  for (const { setting: { store, megabytes, plugin }, slices } of running) {
    const name = `${store === 'memory' ? 'in-process store' : 'tier'}, ${megabytes} MB${plugin === ours ? '' : `, ${plugin}`}`
    const of = passes.map((pass) => slices.slice(pass * QUARTERS, (pass + 1) * QUARTERS))
    const [filling, full] = [spread(of[0]!)!, spread(of.slice(1).flat())!]
    console.log(line([name, ...of.map((values) => text(spread(values), 2)), (full.median / filling.median).toFixed(2)]))
  }
}
