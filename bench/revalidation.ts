// The cost of asking the handler about a stale entry, against a new response: the demo's `/nearest`, which looks at
// every city there is, or at whether any has changed. In turns, in one app; processor time of the app's process and of
// Postgres' processes, a request. (The latter on Linux only.)
//
//   npm run bench:revalidation -- [rounds] [requests a turn]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../test/helpers/postgres.js'
import { startRedis } from '../test/helpers/redis.js'
import { ratio, spread, type Round, type Spread } from './driver/statistics.js'

const [rounds = 9, requests = 20] = process.argv.slice(2).map(Number)
/** Of Linux. */
const TICK_MS = 10
const WAYS = { revalidated: { prepare: '/pass', is: /fwd=stale; fwd-status=304/ }, full: { prepare: '/drop', is: /fwd=(uri-)?miss$/ } } as const

type Way = keyof typeof WAYS
type Measure = 'app' | 'postgres' | 'time'
interface Usage { milliseconds: number, refusals: object }

const [redis, postgres] = await Promise.all([startRedis(), startPostgres({ load: true })])
const server = Number((await readFile(join(postgres.folder, 'postmaster.pid'), 'utf8')).split('\n')[0])
const child = fork(fileURLToPath(new URL('revalidation-app.ts', import.meta.url)), {
  execArgv: ['--import=./test/helpers/typescript.mjs'], env: { ...process.env, REDIS_URL: redis.url, POSTGRES_URL: postgres.url }
})
try {
  const [{ url }] = await once(child, 'message') as [{ url: string }]
  await measure(url)
} finally {
  child.kill('SIGKILL')
  await Promise.all([redis.stop(), postgres.stop()])
}

async function measure (url: string): Promise<void> {
  const seen: Record<Way, Record<Measure, Round[]>> = { revalidated: none(), full: none() }
  const ways = Object.keys(WAYS) as Way[]
  // Code is compiled, and connections are opened, before anything counts.
  for (const way of ['full', ...ways] as Way[]) await turn(url, way)
  for (let round = 0; round < rounds; round++) {
    for (const way of round % 2 === 0 ? ways : [...ways].reverse()) {
      for (const [name, value] of Object.entries(await turn(url, way))) seen[way][name as Measure].push({ round, value })
    }
  }
  console.log(`${rounds} rounds of ${requests} requests, one after another: ms a request, median (least to most)`)
  for (const [name, what] of [['app', "CPU of the app's process"], ['postgres', "CPU of Postgres' processes"], ['time', 'until it is answered']] as const) {
    const [revalidated, full] = ways.map((way) => seen[way][name]) as [Round[], Round[]]
    const both = [revalidated, full].map((values) => text(spread(values.map(({ value }) => value))))
    console.log(`  ${what}: revalidated ${both[0]}, full ${both[1]}, the latter is ${text(ratio(full, revalidated), 1)} times as much`)
  }
}

function none (): Record<Measure, Round[]> {
  return { app: [], postgres: [], time: [] }
}

async function turn (url: string, way: Way): Promise<Record<Measure, number | null>> {
  await (await fetch(url + WAYS[way].prepare)).text()
  const before = await usage(url)
  const began = performance.now()
  for (let i = 0; i < requests; i++) {
    const response = await fetch(`${url}/nearest?lat=${i}.5&lng=${i}`)
    await response.text()
    const field = String(response.headers.get('cache-status'))
    if (response.status !== 200 || !WAYS[way].is.test(field)) throw new Error(`${way}: ${response.status} ${field}`)
  }
  const time = (performance.now() - began) / requests
  const after = await usage(url)
  const share = (name: 'app' | 'postgres'): number | null => after[name] === null ? null : (after[name] - before[name]!) / requests
  return { app: share('app'), postgres: share('postgres'), time }
}

async function usage (url: string): Promise<{ app: number, postgres: number | null }> {
  const { milliseconds } = await (await fetch(`${url}/usage`)).json() as Usage
  return { app: milliseconds, postgres: process.platform === 'linux' ? await ofPostgres() : null }
}

/** Of the server, its children, and those that have ended. */
async function ofPostgres (): Promise<number> {
  let ticks = 0
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '') : ''
    // The name of the program, in brackets, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number)
    if (Number(name) === server) ticks += sum(fields.slice(11, 15))
    else if (fields[1] === server) ticks += sum(fields.slice(11, 13))
  }
  return ticks * TICK_MS
}

function sum (values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0)
}

function text (found: Spread | null, digits = 2): string {
  if (found === null) return 'not known'
  const [median, min, max] = [found.median, found.min, found.max].map((value) => value.toFixed(digits))
  return `${median} (${min} to ${max})`
}
