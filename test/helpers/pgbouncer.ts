// A PgBouncer of a test's own, in front of one Postgres: the one on PATH or in a usual place, else Debian's package,
// unpacked into .cache/pgbouncer and not installed.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { connects } from './tcp.js'
import { freePorts } from './redis.js'
import { until } from './until.js'

const run = promisify(execFile)
const cache = fileURLToPath(new URL('../../.cache/pgbouncer/', import.meta.url))
const PLACES = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', join(cache, 'usr/sbin')]

/** Its URL, for the database that `url` names. It ends with the test. */
export async function startPgBouncer (t: Test, url: string, mode: 'session' | 'transaction'): Promise<string> {
  const { path, env } = await ensured()
  const server = new URL(url)
  const [port] = await freePorts(1)
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-pgbouncer-'))
  const file = join(folder, 'pgbouncer.ini')
  await writeFile(file, `[databases]
* = host=127.0.0.1 port=${server.port} user=${server.username} password=${server.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
ignore_startup_parameters = extra_float_digits
`)
  await chmod(folder, 0o755)
  // It refuses to run as root.
  const identity = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  const child = spawn(path, ['-q', file], { ...identity, env: { ...process.env, ...env }, stdio: 'ignore' })
  t.teardown(async () => {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    if (child.exitCode === null) await ended
    await rm(folder, { recursive: true, force: true })
  })
  await until(async () => await connects(port!), 'PgBouncer accepts connections')
  return Object.assign(new URL(url), { port: String(port) }).href
}

async function ensured (): Promise<{ path: string, env: Record<string, string> }> {
  const found = await firstThere()
  if (found !== undefined) return found
  await mkdir(cache, { recursive: true })
  const debs = await mkdtemp(join(cache, 'debs-'))
  const { stdout } = await run('apt-cache', ['depends', 'pgbouncer'])
  const libraries = [...stdout.matchAll(/Depends: (lib(?:c-ares|event)\S*)/g)].map(([, name]) => name!)
  await run('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', 'pgbouncer', ...libraries], { cwd: debs })
  for (const name of await readdir(debs)) await run('dpkg', ['-x', join(debs, name), cache])
  await rm(debs, { recursive: true })
  return (await firstThere())!
}

async function firstThere (): Promise<{ path: string, env: Record<string, string> } | undefined> {
  for (const place of PLACES) {
    const path = join(place, 'pgbouncer')
    const isThere = await access(path).then(() => true, () => false)
    if (!isThere) continue
    const lib = join(cache, 'usr/lib')
    const libraries = place.startsWith(cache) ? (await readdir(lib)).map((name) => join(lib, name)).join(':') : ''
    return { path, env: libraries === '' ? {} : { LD_LIBRARY_PATH: libraries } }
  }
  return undefined
}
