// Each program of examples/ is started as its head says, and answers what stands beside each request there.
import { spawn } from 'node:child_process'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import t, { type Test } from 'tap'
import { curl, readExample, stepsOf, type Step } from './helpers/example.js'
import { startFrontCache } from './helpers/front-cache.js'
import { startPostgres } from './helpers/postgres.js'
import { freePorts, startRedis } from './helpers/redis.js'
import { until } from './helpers/until.js'

const folder = new URL('../examples/', import.meta.url)
// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const copies = new URL(`../.cache/examples-${process.pid}/`, import.meta.url)
const programs = new Map(await Promise.all((await readdir(folder)).filter((name) => name.endsWith('.mjs')).map(async (name) =>
  [name, await readExample(name)] as const)))
const redis = await startRedis()
const postgres = await startPostgres()
await mkdir(copies, { recursive: true })
t.teardown(async () => {
  await rm(copies, { recursive: true, force: true })
  await postgres.stop()
  await redis.stop()
})

interface Started { origins: Record<string, string>, warnings: () => string[] }

/** Where it answers, and what it warned of. */
async function start (t: Test, name: string, code: string): Promise<Started> {
  // A test that means a hit must not see a bypass because this machine was busy.
  const patient = code.replace('register(routeCache, {', 'register(routeCache, { deadline: 30,')
    .replace('fastify()', "fastify({ logger: { level: 'warn' } })")
  await writeFile(new URL(name, copies), patient)
  const [port] = await freePorts(1)
  const origin = `http://127.0.0.1:${port}`
  // test/in-front has a real Varnish.
  const front = await startFrontCache(origin)
  t.teardown(async () => { await front.stop() })
  const servers = { REDIS_URL: redis.url, DATABASE_URL: postgres.url, VARNISH_URL: front.origin }
  const env = { ...process.env, PORT: String(port), ...servers }
  const origins = { 3000: origin, 6081: front.origin }
  const child = spawn(process.execPath, [fileURLToPath(new URL(name, copies))], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let log = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { log += text })
  t.teardown(() => child.kill('SIGKILL'))
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    const answer = await fetch(origin).catch(() => null)
    if (answer !== null) return { origins, warnings: () => log.split('\n').filter((line) => line.startsWith('{')) }
    await delay(20)
  }
}

async function psql (client: pg.Client, { command }: Step): Promise<string> {
  const { command: done, rowCount } = await client.query(/^psql example -c "(.+)"$/.exec(command)![1]!)
  return `${done} ${rowCount}`
}

t.test('there are five', async (t) => {
  t.strictSame([...programs.keys()].sort(), ['accounts.mjs', 'blog.mjs', 'cities.mjs', 'in-front.mjs', 'shop.mjs'])
})

for (const [name, code] of programs) {
  t.test(name, async (t) => {
    const steps = stepsOf(code)
    t.ok(steps.length > 3)
    const { origins, warnings } = await start(t, name, code)
    const client = await connect(t)
    let isTold = true
    for (const step of steps) {
      if (step.command.startsWith('psql')) {
        t.equal(await psql(client, step), step.said, step.line)
        isTold = false
        continue
      }
      // Behind a change in the database the cache hears of it soon, not at once: the first request waits for that.
      const isSo = async () => await curl(origins, step) === step.said
      if (!isTold) await until(isSo, `${step.line} came true`)
      isTold = true
      t.equal(await curl(origins, step), step.said, step.line)
    }
    t.match(code, /= fastify\(\)/, 'so its log is read')
    t.strictSame(warnings(), [], 'it has nothing to say about marks of users, or else')
  })
}

async function connect (t: Test): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: postgres.url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(async () => { await client.end() })
  return client
}
