// The demo without any server: the embedded Postgres, which must survive restarts and never outlive the demo.
import { spawn } from 'node:child_process'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { identity } from '../../demo-app/postgres-folder.js'
import { temporaryFolder } from '../helpers/postgres.js'
import { checkDemo, clientOf } from './checks.js'
import { startDemo } from './demo-process.js'

const folder = await temporaryFolder()
const env = { DEMO_DATA: folder }
t.teardown(async () => await rm(folder, { recursive: true, force: true }))

t.test('a load that is killed leaves nothing behind', async (t) => {
  const demo = startDemo(t, env)
  await demo.loading()
  const pid = await postgresPid('data')
  await demo.stop('SIGKILL')
  await gone(pid)
  t.pass('Postgres ends with the demo')
})

t.test('the first start that is let through loads, and does what the demo promises', async (t) => {
  const demo = startDemo(t, env)
  const base = await demo.ready()
  t.match(demo.stderr, /^Loading 171,075 cities into Postgres \.\.\.\n.*: done in [\d.]+ s\n$/)
  await checkDemo(t, base)
  const send = clientOf(base)
  t.equal((await send('PUT', '/users/12', { name: 'Lars Holm II', email: 'lars@example.com' })).status, 200)

  const pid = await postgresPid('data')
  t.ok(isAlive(pid))
  t.equal(await demo.stop('SIGTERM'), 0)
  t.notOk(isAlive(pid), 'no Postgres is left')
  t.match(demo.stdout, /^The demo is ready at http:\/\/127\.0\.0\.1:\d+ \(an embedded Postgres, an in-process store\)\n$/)
})

t.test('later starts find the data, also after a kill -9', async (t) => {
  const killed = startDemo(t, env)
  await killed.ready()
  t.equal(killed.stderr, '', 'nothing is loaded')
  // At once: the next start may find its Postgres still there, or a pid file without one.
  await killed.stop('SIGKILL')

  const demo = startDemo(t, env)
  const send = clientOf(await demo.ready())
  t.match(await send('GET', '/users/12'), { json: { name: 'Lars Holm II' } })
  t.equal(demo.stderr, '')
  t.equal(await demo.stop('SIGINT'), 0)
})

const linux = process.platform === 'linux' ? {} : { skip: 'looks into /proc' }

t.test('an orphan of an earlier demo is ended, a stranger with its number is not', linux, async (t) => {
  const killed = startDemo(t, env)
  await killed.ready()
  const orphan = await postgresPid('data')
  let ended = false
  t.teardown(() => ended || process.kill(orphan, 'SIGINT'))
  // First those who would end it.
  for (const pid of await supervisors(orphan)) process.kill(pid, 'SIGKILL')
  await killed.stop('SIGKILL')
  t.ok(isAlive(orphan))

  const demo = startDemo(t, env)
  t.match(await clientOf(await demo.ready())('GET', '/users/12'), { json: { name: 'Lars Holm II' } })
  // It has let go of the data; init may take its time to clear it away.
  await gone(orphan)
  ended = true
  const left = await readFile(pidFile('data'), 'utf8')
  t.equal(await demo.stop(), 0)

  // As the user that Postgres runs as: others' processes it takes for none of its own.
  const stranger = spawn('sleep', ['600'], identity ?? {})
  t.teardown(() => stranger.kill())
  await writeFile(pidFile('data'), left.replace(/^\d+/, `${stranger.pid}`))
  await clientOf(await startDemo(t, env).ready())('GET', '/users/12')
  t.equal(stranger.exitCode ?? stranger.signalCode, null)
})

t.test('two at once have a database each', async (t) => {
  const [one, other] = [startDemo(t, env), startDemo(t, env)]
  const bases = await Promise.all([one.ready(), other.ready()])
  const pids = await Promise.all([postgresPid('data'), postgresPid('data-2')])
  t.not(pids[0], pids[1])
  const names = await Promise.all(bases.map(async (base) => (await clientOf(base)('GET', '/users/12')).json.name as string))
  t.same(names.sort(), ['Lars Holm', 'Lars Holm II'])
  await Promise.all([one.stop(), other.stop()])
  t.same(pids.map(isAlive), [false, false])
})

// As Postgres writes it down; the demo is ready, or loads, so it is there.
async function postgresPid (name: string): Promise<number> {
  return Number((await readFile(pidFile(name), 'utf8')).split('\n')[0])
}

function pidFile (name: string): string {
  return join(folder, name, 'postmaster.pid')
}

/** The processes between the demo and its Postgres: the parent, and the parent's other children. */
async function supervisors (postgres: number): Promise<number[]> {
  const parentOf = new Map<number, number>()
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '') : ''
    // The name of the program, in brackets, may hold anything.
    parentOf.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
  }
  const shell = parentOf.get(postgres) ?? 0
  return [...parentOf.keys()].filter((pid) => pid !== postgres && parentOf.get(pid) === shell).concat(shell)
}

function isAlive (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function gone (pid: number): Promise<void> {
  while (isAlive(pid)) await delay(10)
}
