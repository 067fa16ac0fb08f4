// A Postgres of our own, on a free port of the loopback interface, for people who have none at hand. It ends with this
// process: a small shell between the two reads from a pipe that only we hold open, and when the pipe ends, by `stop()`
// or by a kill -9, the shell tells Postgres to.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { findBinaries, type Binaries } from './postgres-binaries.js'
import { identity, makePrivate, takeFolder } from './postgres-folder.js'
import { StartError } from './start-error.js'

const run = promisify(execFile)
const host = '127.0.0.1'
const startDeadline = 60_000
const stopDeadline = 10_000

export interface EmbeddedPostgres {
  url: string
  /** The server's process. */
  pid: number
  /** Its data. */
  folder: string
  stop (): Promise<void>
}

/**
 * Starts it, on the data of the last time where there are any.
 * @param given A folder for its data. Undefined: one of this checkout.
 */
export async function startPostgres (given?: string): Promise<EmbeddedPostgres> {
  const folder = await takeFolder(given)
  try {
    const binaries = await findBinaries(dirname(folder.path))
    await endOrphan(folder.path)
    await initialise(binaries, folder.path)
    const { child, port } = await launch(binaries, folder.path)
    const password = await readFile(join(folder.path, passwordFile), 'utf8')
    return {
      url: `postgres://postgres:${password}@${host}:${port}/postgres?sslmode=disable`,
      pid: await runningPid(folder.path) ?? 0,
      folder: folder.path,
      async stop () {
        await end(child, binaries, folder.path)
        folder.release()
      }
    }
  } catch (error) {
    folder.release()
    throw error
  }
}

// Every user of this machine can reach the port, and a superuser of Postgres can run programs: so it has a password.
const passwordFile = 'demo-password'

// In a folder beside it first: a data folder exists when it is complete.
async function initialise (binaries: Binaries, path: string): Promise<void> {
  const parent = dirname(path)
  for (const name of await readdir(parent)) {
    if (name.startsWith(`${basename(path)}.new-`)) await rm(join(parent, name), { recursive: true, force: true })
  }
  const version = await readFile(join(path, 'PG_VERSION'), 'utf8').catch(() => null)
  if (version?.trim() === binaries.version.split('.')[0]) return
  // Nothing in it that a first start would not bring again.
  if (version !== null) await rm(path, { recursive: true })
  const draft = `${path}.new-${process.pid}`
  const pwfile = `${draft}-password`
  await makePrivate(draft)
  await writeFile(pwfile, randomBytes(18).toString('base64url'), { mode: 0o600 })
  if (identity !== undefined) await chown(pwfile, identity.uid, identity.gid)
  const flags = ['-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', pwfile, '-E', 'UTF8', '--locale=C', '--no-sync']
  await run(binaries.initdb, ['-D', draft, ...flags], { ...identity, cwd: draft }).catch((error) => {
    throw new StartError(`the embedded Postgres could not be set up in ${path}: ${lastLine(String(error.stderr))}`)
  })
  await rename(pwfile, join(draft, passwordFile))
  await chmod(draft, 0o700)
  await rename(draft, path)
}

// Kept from the tty's Ctrl-C by a session of its own. The shell's own input is the pipe; `read` returns at its end.
const supervisor = `
exec 3<&0
"$@" 3<&- </dev/null &
postgres=$!
{ read -r _ <&3; kill -INT $postgres; } &
wait $postgres; code=$?
kill $!
exit $code`

async function launch (binaries: Binaries, path: string): Promise<{ child: ChildProcess, port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const settings = [`listen_addresses=${host}`, 'unix_socket_directories=', 'max_connections=50', 'fsync=off']
    // fsync=off: all of it can be loaded again in seconds, so a power cut may cost it; a crash of the process doesn't.
    const args = [binaries.postgres, '-D', path, '-p', `${port}`, ...settings.flatMap((setting) => ['-c', setting])]
    const command = process.platform === 'win32' ? args : ['sh', '-c', supervisor, 'sh', ...args]
    const child = spawn(command[0] as string, command.slice(1), {
      ...identity, cwd: path, detached: process.platform !== 'win32', stdio: ['pipe', 'ignore', 'pipe']
    })
    const log = await readiness(child)
    if (log === null) return { child, port }
    child.stdin?.end()
    // Between our asking for a free port and Postgres' binding it, somebody else may have taken it.
    if (/Address already in use/.test(log) && attempt < 5) continue
    throw new StartError(`the embedded Postgres did not start: ${lastLine(log)} (to begin anew, remove ${path})`)
  }
}

/** Null once it accepts connections, else its output before it ended. */
async function readiness (child: ChildProcess): Promise<string | null> {
  const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream })
  let log = ''
  const outcome = new Promise<string | null>((resolve) => {
    lines.on('line', (line) => {
      if (/database system is ready to accept (?:read-only )?connections/.test(line)) resolve(null)
      else if (log.length < 20_000) log += `${line}\n`
    })
    child.once('error', (error) => resolve(error.message))
    // Not `exit`: its last words may still be on the way.
    child.once('close', () => resolve(log))
  })
  const timeout = new AbortController()
  const tooLate = delay(startDeadline, 'it is not ready after a minute', { signal: timeout.signal, ref: false })
  try {
    return await Promise.race([outcome, tooLate])
  } finally {
    timeout.abort()
    tooLate.catch(() => {})
  }
}

async function end (child: ChildProcess, binaries: Binaries, path: string): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  // Windows has neither that shell nor SIGINT for other processes.
  if (process.platform === 'win32') await run(binaries.pgCtl, ['stop', '-D', path, '-m', 'fast'])
  child.stdin?.end()
  await ended
}

// We hold the folder, so nobody else's demo uses it: a server that still runs in it lost its parent, and a pid file
// without a server is left from a kill -9. Its number may belong to another process by now, which Postgres would respect.
async function endOrphan (path: string): Promise<void> {
  const pid = await runningPid(path)
  if (pid === null) return
  const deadline = performance.now() + stopDeadline
  let asked = false
  while (await isServerOf(pid, path)) {
    if (performance.now() > deadline) throw new StartError(`an earlier Postgres (pid ${pid}) still runs in ${path}`)
    if (!asked) process.kill(pid, 'SIGINT')
    asked = true
    await delay(20)
  }
  await rm(join(path, 'postmaster.pid'), { force: true })
}

async function runningPid (path: string): Promise<number | null> {
  const text = await readFile(join(path, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number(text.split('\n')[0])
  return Number.isInteger(pid) && pid > 0 ? pid : null
}

async function isServerOf (pid: number, path: string): Promise<boolean> {
  if (process.platform === 'win32') return false
  const command = process.platform === 'linux'
    ? (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ')
    : (await run('ps', ['-ww', '-o', 'command=', '-p', `${pid}`]).catch(() => ({ stdout: '' }))).stdout
  return command.includes('postgres') && command.includes(`-D ${path} `)
}

async function freePort (): Promise<number> {
  const holder = createServer().listen(0, host)
  await once(holder, 'listening')
  const { port } = holder.address() as AddressInfo
  await new Promise((resolve) => holder.close(resolve))
  return port
}

function lastLine (log: string): string {
  const lines = log.trim().split('\n')
  return lines.find((line) => /FATAL|error:/.test(line)) ?? lines.at(-1) ?? ''
}
