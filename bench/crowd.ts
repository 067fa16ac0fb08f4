// One run for a crowd: many requests at once for one cold key, over several processes on one Redis. Also for a response that
// can't be stored, and for a leader that is killed while it runs.
//
//   npm run bench:crowd -- [requests] [processes]
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { fileURLToPath } from 'node:url'
import { startRedis } from '../test/helpers/redis.js'

const [requests = 1000, processes = 4] = process.argv.slice(2).map(Number)
const app = fileURLToPath(new URL('crowd-app.ts', import.meta.url))
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

interface Member { child: ChildProcess, url: string }
interface Answer { status: number, cache: string, time: number, by: number }

const server = await startRedis()
const crowd: Member[] = []
try {
  for (let i = 0; i < processes; i++) crowd.push(await start())
  // Connections are opened, and code is compiled, before anything is measured.
  for (let i = 0; i < 3; i++) await wave(crowd, `/shared/warm-${i}?ms=50`)
  await report('a cold key, handler 300 ms', '/shared/one')
  await report('the same again', '/shared/one')
  await report('not storable, handler 300 ms: first wave', '/private/one')
  await report('not storable: second wave', '/private/one')
  await killed()
} finally {
  for (const { child } of crowd) child.kill('SIGKILL')
  agent.destroy()
  await server.stop()
}

async function start (): Promise<Member> {
  const child = fork(app, { execArgv: ['--import=./test/helpers/typescript.mjs'], env: { ...process.env, REDIS_URL: server.url } })
  const [{ url }] = await once(child, 'message') as [{ url: string }]
  return { child, url }
}

function ask (url: string): Promise<Answer> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk) => { body += chunk }).on('end', () => {
        const time = performance.now() - began
        resolve({ status: response.statusCode!, cache: String(response.headers['cache-status']), time, by: JSON.parse(body).by })
      })
    }).on('error', reject)
  })
}

async function wave (members: readonly Member[], path: string, count = requests): Promise<Answer[]> {
  return await Promise.all(Array.from({ length: count }, async (_, i) => await ask(members[i % members.length]!.url + path)))
}

async function runs (members: readonly Member[] = crowd): Promise<number> {
  const counts = await Promise.all(members.map(async ({ url }) => await (await fetch(`${url}/runs`)).json() as { runs: number }))
  return counts.reduce((sum, { runs }) => sum + runs, 0)
}

async function report (what: string, path: string): Promise<void> {
  const before = await runs()
  const answers = await wave(crowd, path)
  show(what, answers, await runs() - before)
}

/** The process that leads is killed in the middle of a handler of 2 s. */
async function killed (): Promise<void> {
  const leading = new Promise<Member>((resolve) => {
    for (const member of crowd) {
      // Messages that nobody listened for are kept: those of earlier runs come first.
      member.child.on('message', ({ running = '' }: { running?: string }) => { if (running.includes('killed')) resolve(member) })
    }
  })
  const first = ask(`${crowd[0]!.url}/shared/killed?ms=2000`).catch(() => null)
  const leader = await leading
  const others = crowd.filter((member) => member !== leader)
  const before = await runs(others)
  const waiting = wave(others, '/shared/killed?ms=2000', 300)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  leader.child.kill('SIGKILL')
  crowd.splice(crowd.indexOf(leader), 1)
  await first
  const answers = await waiting
  show('leader killed after 1 s of 2 s, 300 others waiting', answers, await runs() - before)
}

function show (what: string, answers: Answer[], ran: number): void {
  const times = answers.map(({ time }) => time).sort((a, b) => a - b)
  const at = (share: number): string => `${Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))]!)} ms`
  const statuses = new Map<string, number>()
  for (const { status, cache } of answers) {
    const name = `${status} ${cache.replace(/^[^;]*; /, '').replace(/; ttl=\d+/, '')}`
    statuses.set(name, (statuses.get(name) ?? 0) + 1)
  }
  console.log(`${what}\n  ${answers.length} requests, ${processes} processes: ${ran} runs; p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`)
  console.log(`  ${[...statuses].map(([name, n]) => `${n} × ${name}`).join(', ')}`)
}
