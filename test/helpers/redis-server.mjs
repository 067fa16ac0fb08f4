// Which Redis server the tests start. In this order: what REDIS_SERVER names; a redis-server or valkey-server on PATH
// or in a usual place; our own folder, .cache/redis, which the set-up fills with Debian's packages, unpacked and not
// installed, so it needs neither root nor a compiler. Valkey comes the same way, for the matrix, which asks for it by name.
// Plain JavaScript: it runs before anything is built.
//
// Run by itself (`node test/helpers/redis-server.mjs`) it does the set-up where one is needed and prints the path.
import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { folderOf, librariesIn, librariesOf, unpackPackages } from './debian-packages.mjs'

const run = promisify(execFile)
const usualPlaces = ['/usr/bin', '/usr/local/bin', '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin', '/home/linuxbrew/.linuxbrew/bin', '/opt/local/bin', '/snap/bin']
const ADVICE = 'Install Redis 7 or Valkey (macOS: `brew install redis`), or set REDIS_SERVER to the path of a redis-server.'

let ensured

/** The server to start, set up first where there is none. Rejects with a message that says what to do. */
export function ensureRedisServer () {
  ensured ??= findRedisServer().then((found) => found ?? setUp('redis'))
  return ensured
}

/** The same for Valkey, and for no other: REDIS_SERVER is not looked at. */
export async function ensureValkeyServer () {
  return await firstGood([...installed(['valkey-server']), ...ours('valkey')]) ?? await setUp('valkey')
}

/** The server that is there already, or undefined. Rejects only for a REDIS_SERVER that can't be used. */
export async function findRedisServer () {
  const named = process.env.REDIS_SERVER
  if (named) {
    const server = { path: named, env: {} }
    const problem = await problemOf(server)
    if (problem !== undefined) throw new Error(`REDIS_SERVER=${named} can't be used: ${problem}`)
    return server
  }
  return await firstGood([...installed(['redis-server', 'valkey-server']), ...ours('redis')])
}

async function firstGood (servers) {
  for (const server of servers) {
    const problem = await problemOf(server)
    if (problem === undefined) return server
    console.error(`redis-server: passing over ${server.path}: ${problem}`)
  }
}

function installed (names) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...usualPlaces].filter((folder) => folder !== '')
  const paths = names.flatMap((name) => folders.map((folder) => join(folder, name)))
  return [...new Set(paths)].filter(isExecutable).map((path) => ({ path, env: {} }))
}

function ours (kind, root = folderOf(kind)) {
  const path = join(root, `usr/bin/${kind}-server`)
  return isExecutable(path) ? [{ path, env: librariesIn(root) }] : []
}

function isExecutable (path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

// 7.0 is the first that knows CLUSTER ADDSLOTSRANGE and --cluster-port, which the harness uses.
async function problemOf ({ path, env }) {
  try {
    const { stdout } = await run(path, ['--version'], { env: { ...process.env, ...env } })
    const version = /server v=(\d+)[\d.]*/.exec(stdout)
    if (version === null) return `it is no Redis server, \`--version\` says: ${stdout.trim().slice(0, 100)}`
    return Number(version[1]) >= 7 ? undefined : `it is too old (${version[0]}), the tests need 7.0`
  } catch (error) {
    if (error.code === 'ENOENT') return 'there is no such file'
    if (error.code === 'EACCES') return 'it is not an executable file'
    return error.stderr?.trim() || error.message
  }
}

async function setUp (kind) {
  const problem = async (root) => {
    const [server] = ours(kind, root)
    return server === undefined ? `the packages hold no ${kind}-server` : await problemOf(server)
  }
  // The server is a link into its tools, whose direct dependencies hold the libraries.
  const packages = async (apt) => [`${kind}-server`, `${kind}-tools`, ...await librariesOf(`${kind}-tools`, apt)]
  await unpackPackages(kind, { advice: ADVICE, packages, problem })
  return ours(kind)[0]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log((await ensureRedisServer()).path)
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
