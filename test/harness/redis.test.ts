// The harness itself: every other test believes it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { freePorts, startCluster, startRedis, type RedisServer } from '../helpers/redis.js'

t.test('a server starts empty on a port of its own and is gone after stop()', async (t) => {
  const [one, other] = await Promise.all([startRedis(), startRedis({ args: ['--maxmemory', '3mb'] })])
  t.teardown(() => Promise.all([one.stop(), other.stop()]))
  t.not(one.port, other.port)
  t.match(one.url, /^redis:\/\/127\.0\.0\.1:\d+$/)
  const client = other.client()
  t.equal(await client.dbsize(), 0)
  t.same(await client.config('GET', 'maxmemory'), ['maxmemory', `${3 * 1024 * 1024}`])
  t.same(await client.config('GET', 'bind'), ['bind', '127.0.0.1'])
  const folder = (await client.config('GET', 'dir') as string[])[1] ?? ''
  t.ok(existsSync(folder))

  const pid = pidOf(other)
  await other.stop()
  await other.stop()
  t.notOk(isAlive(pid))
  t.notOk(existsSync(folder), 'its folder is removed')
  t.equal(client.status, 'end', 'its clients are closed')
  t.equal(other.pid, undefined)
  t.equal(await one.client().ping(), 'PONG', 'the other one still runs')
})

t.test('a paused server answers only once it is resumed', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const client = server.client()
  await client.ping()
  await server.pause()
  let answered = false
  const ping = client.ping().then(() => { answered = true })
  // Nothing tells that an answer doesn't come; 200 ms is a thousand times what one takes.
  await delay(200)
  t.notOk(answered)
  server.resume()
  await ping
  t.ok(answered)
  await server.pause()
  const pid = pidOf(server)
  await server.stop()
  t.notOk(isAlive(pid), 'a paused one can be stopped')
})

t.test('a killed server comes back on its port, empty', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const client = server.client()
  await client.set('a', '1')
  const pid = pidOf(server)
  await server.kill()
  t.notOk(isAlive(pid))
  t.equal(server.pid, undefined)
  await t.rejects(server.pause(), /is not running/)
  await server.restart()
  t.not(server.pid, pid)
  t.equal(await client.get('a'), null, 'the client has found the way back')
  await client.set('a', '2')
  await server.restart()
  t.equal(await client.get('a'), null, 'restart() alone also ends the old one')
})

t.test('with its own arguments for it, a server keeps its data over a restart', async (t) => {
  const server = await startRedis({ args: ['--appendonly', 'yes'] })
  t.teardown(() => server.stop())
  await server.client().set('a', '1')
  await server.restart()
  t.equal(await server.client().get('a'), '1')
})

t.test('a start that fails says what Redis printed', async (t) => {
  await t.rejects(startRedis({ args: ['--no-such-option', '1'] }), /did not start[^]*no-such-option/)
})

t.test('a port that is taken', async (t) => {
  const [port = 0] = await freePorts(1)
  const holder = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1')
  await once(holder, 'listening')
  await t.rejects(startRedis({ port }), /did not start[^]*Address already in use/)
  holder.close()
  await once(holder, 'close')

  const server = await startRedis({ port })
  t.teardown(() => server.stop())
  await t.rejects(startRedis({ port }), /did not start/, 'a stranger on the port is not taken for ours')
})

// These wait most of their time, each for its own servers: side by side they take half as long.
t.jobs = 3
const aside = { buffered: true }

t.test('a cluster serves every slot, and is gone after stop()', aside, async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  t.equal(cluster.nodes.length, 3)
  t.equal(new Set(cluster.urls).size, 3)
  const client = cluster.client()
  const names = Array.from({ length: 300 }, (_, index) => `key:${index}`)
  await Promise.all(names.map((name) => client.set(name, name)))
  t.same(await Promise.all(names.map((name) => client.get(name))), names)
  const sizes = await Promise.all(cluster.servers.map((server) => server.client().dbsize()))
  t.equal(sizes.reduce((sum, size) => sum + size), names.length)
  t.ok(sizes.every((size) => size > 0), `each node holds some: ${sizes.join(', ')}`)

  const [node] = cluster.servers
  await node?.restart()
  await cluster.ready()
  await Promise.all(names.map((name) => client.set(name, 'again')))
  t.equal(await client.get('key:1'), 'again', 'a node can be restarted')

  const pids = cluster.servers.map(pidOf)
  await cluster.stop()
  t.notOk(pids.some(isAlive))
})

t.test('a cluster with replicas', aside, async (t) => {
  const cluster = await startCluster({ primaries: 3, replicas: 1 })
  t.teardown(() => cluster.stop())
  const roles = await Promise.all(cluster.servers.map((server) => server.client().role()))
  t.same(roles.map(([role]) => role), ['master', 'master', 'master', 'slave', 'slave', 'slave'])
})

t.test('servers end with the process that started them, however that ends', aside, async (t) => {
  await Promise.all((['SIGKILL', 'SIGTERM', 'throw', 'end'] as const).map(async (how) => {
    const { folder, pids } = await startElsewhere(how)
    t.equal(pids.length, 2, `${how}: two servers ran`)
    t.ok(await becomes(() => !pids.some(isAlive)), `${how}: none is left`)
    t.ok(await becomes(() => !existsSync(folder)), `${how}: nor is their folder`)
  }))
})

interface Ended {
  folder: string
  pids: number[]
}

function pidOf (server: RedisServer): number {
  if (server.pid === undefined) throw new Error('it does not run')
  return server.pid
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

// Another process, started as this one was, starts two servers (one of them paused), says their pids and ends.
async function startElsewhere (how: 'SIGKILL' | 'SIGTERM' | 'throw' | 'end'): Promise<Ended> {
  const script = fileURLToPath(new URL('./deserter.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, how], { stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
    if (output.endsWith('\n') && how.startsWith('SIG')) child.kill(how as NodeJS.Signals)
  })
  await once(child, 'close')
  return JSON.parse(output)
}

async function becomes (holds: () => boolean): Promise<boolean> {
  const deadline = performance.now() + 5000
  while (!holds() && performance.now() < deadline) await delay(5)
  return holds()
}
