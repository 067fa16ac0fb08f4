// The responses after an entry's time is over: stale ones while one run refreshes them, hot keys that never end, and stale
// entries that stand in for a database that is down. Over several processes on one Redis, and one Postgres that is stopped.
//
//   npm run bench:stale -- [seconds of the hot key]
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../test/helpers/postgres.js'
import { startRedis } from '../test/helpers/redis.js'

const [seconds = 60] = process.argv.slice(2).map(Number)
const PROCESSES = 4
const RATE = 500
const app = fileURLToPath(new URL('stale-app.ts', import.meta.url))
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

interface Member { child: ChildProcess, url: string }
interface Answer { status: number, cache: string, time: number }
type Totals = Record<'runs' | 'misses' | 'refreshes' | 'rescued' | 'stale', number>

const [redis, postgres] = await Promise.all([startRedis(), startPostgres()])
const crowd: Member[] = []
try {
  for (let i = 0; i < PROCESSES; i++) crowd.push(await start())
  for (const path of ['/stale', '/hot', '/late', '/rescued']) await wave(path, 40)
  await stale()
  await hot('/late', 'without earlyRefresh')
  await hot('/hot', 'with earlyRefresh')
  await rescued()
} finally {
  for (const { child } of crowd) child.kill('SIGKILL')
  agent.destroy()
  await Promise.all([redis.stop(), postgres.stop()])
}

async function start (): Promise<Member> {
  const env = { ...process.env, REDIS_URL: redis.url, POSTGRES_URL: postgres.url }
  const child = fork(app, { execArgv: ['--import=./test/helpers/typescript.mjs'], env })
  const [{ url }] = await once(child, 'message') as [{ url: string }]
  return { child, url }
}

function ask (url: string): Promise<Answer> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume().on('end', () => {
        const cache = String(response.headers['cache-status']).replace(/^[^;]*; /, '').replace(/; ttl=-?\d+/, '')
        resolve({ status: response.statusCode!, cache, time: performance.now() - began })
      })
    }).on('error', reject)
  })
}

async function wave (path: string, count: number): Promise<Answer[]> {
  return await Promise.all(Array.from({ length: count }, async (_, i) => await ask(crowd[i % crowd.length]!.url + path)))
}

/** One after another at a steady rate, whatever the answers take. */
async function steady (path: string, rate: number, time: number): Promise<Answer[]> {
  const answers: Array<Promise<Answer>> = []
  const began = performance.now()
  for (let i = 0; i < rate * time; i++) {
    const due = began + i * 1000 / rate
    if (due > performance.now()) await delay(due - performance.now())
    answers.push(ask(crowd[i % crowd.length]!.url + path))
  }
  return await Promise.all(answers)
}

async function totals (): Promise<Totals> {
  const sum: Totals = { runs: 0, misses: 0, refreshes: 0, rescued: 0, stale: 0 }
  for (const { url } of crowd) {
    const one = await (await fetch(`${url}/runs`)).json() as Totals
    for (const name of Object.keys(sum) as Array<keyof Totals>) sum[name] += one[name]
  }
  return sum
}

async function counted (what: string, work: () => Promise<Answer[]>): Promise<void> {
  const before = await totals()
  const answers = await work()
  // The last refresh.
  await delay(700)
  const after = await totals()
  const grown = Object.entries(after).map(([name, n]) => `${n - before[name as keyof Totals]} ${name}`)
  show(what, answers, grown.join(', '))
}

async function stale (): Promise<void> {
  // Connections are opened, and code is compiled, before anything is measured.
  for (let i = 0; i < 3; i++) await wave('/stale', 1_000)
  // That may have taken longer than the entry is fresh: this has it refreshed.
  await wave('/stale', 1)
  await delay(700)
  await counted('1,000 requests at once for an entry that is fresh', async () => await wave('/stale', 1_000))
  // Stale, but not dead.
  await delay(3_500)
  await counted('1,000 requests at once for an entry that is stale, handler 500 ms', async () => await wave('/stale', 1_000))
}

async function hot (path: string, what: string): Promise<void> {
  await wave(path, 1)
  await counted(`${RATE} requests a second for ${seconds} s, ttl 2 s, handler 100 ms, ${what}`, async () => await steady(path, RATE, seconds))
}

async function rescued (): Promise<void> {
  await wave('/rescued', 1)
  await postgres.stop()
  await delay(1_100)
  await counted('the database is down: 100 requests a second for 5 s', async () => await steady('/rescued', 100, 5))
  await delay(4_000)
  await counted('the same beyond staleIfError', async () => await steady('/rescued', 100, 1))
}

function show (what: string, answers: Answer[], counts: string): void {
  const times = answers.map(({ time }) => time).sort((a, b) => a - b)
  const at = (share: number): string => `${times[Math.min(times.length - 1, Math.floor(times.length * share))]!.toFixed(1)} ms`
  const statuses = new Map<string, number>()
  for (const { status, cache } of answers) statuses.set(`${status} ${cache}`, (statuses.get(`${status} ${cache}`) ?? 0) + 1)
  console.log(`${what}\n  ${PROCESSES} processes: ${counts}; p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`)
  console.log(`  ${[...statuses].map(([name, n]) => `${n} × ${name}`).join(', ')}`)
}
