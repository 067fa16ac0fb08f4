// Where the process is frozen as soon as the answer is given, as serverless platforms do it, nothing is stored unless the
// handler waits for `settled`, as docs/operating.md shows it. The process freezes itself, in the very turn in which it has
// the answer, so nothing depends on how fast somebody else does it.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { isStopped } from '../helpers/redis-probe.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'

// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const folder = new URL(`../../.cache/serverless-${process.pid}/`, import.meta.url)
const page = await readFile(new URL('../../docs/operating.md', import.meta.url), 'utf8')
const [, example] = new RegExp(`<!-- run: ${'serverless'} -->\n\`\`\`js\n([^]*?)\`\`\``).exec(page)!

const WAIT = /^ {2}await app\.cache\.settled.*\n/m
const ENTRY = 'shop:page:about'
const LEASE = 'lease:{shop:page:about}'

/** The platform: one event, the answer, and then nothing of this process runs until it is thawed for the next event. */
const PLATFORM = `
import { writeSync } from 'node:fs'

const event = { httpMethod: 'GET', path: '/pages/about', headers: { 'accept-encoding': 'gzip' } }
const answer = await handler(event)
writeSync(1, answer.headers['cache-status'] + '\\n')
process.kill(process.pid, 'SIGSTOP')
await app.cache.settled()
const { stores, refusals } = app.cache.stats().total
writeSync(1, JSON.stringify({ stores, lease: refusals.lease ?? 0 }) + '\\n')
await app.close()
`

t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

t.test('the example waits: its response is stored when the process is frozen', async (t) => {
  const { server, child, lines } = await invoke(t, example!)
  t.match(await nextOf(lines), /fwd=miss$/)
  await untilFrozen(child)
  t.equal(await server.client().exists(ENTRY), 1)
  child.kill('SIGCONT')
  t.strictSame(JSON.parse(await nextOf(lines)), { stores: 1, lease: 0 })
})

for (const [name, code] of [['with compress', without(WAIT)], ['without compress', without(WAIT).replace(', compress: true', '')]] as const) {
  t.test(`${name}, without that line: nothing is stored, nor later than the lease`, async (t) => {
    const { server, child, lines } = await invoke(t, code)
    t.match(await nextOf(lines), /fwd=miss$/)
    await untilFrozen(child)
    const client = server.client()
    t.equal(await client.exists(ENTRY), 0, 'as long as it is frozen')
    t.equal(await client.del(LEASE), 1, 'its lease ends')
    child.kill('SIGCONT')
    t.strictSame(JSON.parse(await nextOf(lines)), { stores: 0, lease: 1 })
    t.equal(await client.exists(ENTRY), 0)
  })
}

function without (line: RegExp): string {
  if (!line.test(example!)) throw new Error(`the example has no line ${line}`)
  return example!.replace(line, '')
}

interface Invoked { server: RedisServer, child: ChildProcess, lines: AsyncIterator<string> }

async function invoke (t: Test, code: string): Promise<Invoked> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const file = new URL(`${Math.random().toString(36).slice(2)}.mjs`, folder)
  // A test that means a miss must not see a bypass because this machine was busy.
  const patient = code.replace("{ prefix: 'shop' }", "{ prefix: 'shop', deadline: 30, writeDeadline: 30 }")
  await writeFile(file, patient.replace("timeout: '1s'", "timeout: '30s'") + PLATFORM)
  const child = spawn(process.execPath, [fileURLToPath(file)], {
    env: { ...process.env, REDIS_URL: server.url }, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  return { server, child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator]() }
}

async function nextOf (lines: AsyncIterator<string>): Promise<string> {
  const { value, done } = await lines.next()
  if (done === true) throw new Error('it ended')
  return value
}

/** It stands still by a signal of its own, which may not be delivered yet when the answer has come. */
async function untilFrozen ({ pid }: ChildProcess): Promise<void> {
  while (!await isStopped(pid!)) await turn()
}
