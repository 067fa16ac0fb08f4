// Which Redis server the tests start. In this order: what REDIS_SERVER names; a redis-server or valkey-server on PATH
// or in a usual place; our own folder, .cache/redis, which the set-up fills with Debian's packages, unpacked and not
// installed, so it needs neither root nor a compiler. Valkey comes the same way, for the matrix, which asks for it by name.
// Plain JavaScript: it runs before anything is built.
//
// Run by itself (`node test/helpers/redis-server.mjs`) it does the set-up where one is needed and prints the path.
import { execFile } from 'node:child_process'
import { accessSync, constants, readdirSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const cache = fileURLToPath(new URL('../../.cache/', import.meta.url))
const usualPlaces = ['/usr/bin', '/usr/local/bin', '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin', '/home/linuxbrew/.linuxbrew/bin', '/opt/local/bin', '/snap/bin']
const advice = 'Install Redis 7 or Valkey (macOS: `brew install redis`), or set REDIS_SERVER to the path of a redis-server.'

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

// The packages' libraries lie beside the binary, in the folder of their architecture (x86_64-linux-gnu and the like).
function ours (kind, root = join(cache, kind)) {
  const path = join(root, `usr/bin/${kind}-server`)
  if (!isExecutable(path)) return []
  const lib = join(root, 'usr/lib')
  const libraries = readdirSync(lib).map((name) => join(lib, name))
  return [{ path, env: { LD_LIBRARY_PATH: [lib, ...libraries].join(':') } }]
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

// Two test commands may get here at once: each unpacks into a folder of its own, and the rename lets one of them win.
async function setUp (kind) {
  if (!await hasApt()) throw new Error(`No ${kind}-server was found. ${advice}`)
  await mkdir(cache, { recursive: true })
  const temp = await mkdtemp(join(cache, `${kind}-set-up-`))
  try {
    const root = join(temp, 'root')
    await mkdir(root)
    await unpack(await download(kind, temp), root)
    const [server] = ours(kind, root)
    const problem = server === undefined ? `the packages hold no ${kind}-server` : await problemOf(server)
    if (problem !== undefined) throw new Error(`The ${kind}-server from apt's packages can't be used: ${problem}. ${advice}`)
    await moveInto(root, kind)
  } finally {
    await rm(temp, { recursive: true, force: true })
  }
  return ours(kind)[0]
}

async function hasApt () {
  try {
    await Promise.all([run('apt-get', ['--version']), run('dpkg', ['--version'])])
    return true
  } catch {
    return false
  }
}

// First with the lists that the system has; where they are missing or out of date, with lists of our own, which takes
// some seconds longer but needs no root and leaves the system's alone.
async function download (kind, temp) {
  const debs = join(temp, 'debs')
  await mkdir(debs)
  try {
    return await downloadWith([], kind, debs)
  } catch {
    const apt = await privateApt(temp)
    try {
      return await downloadWith(apt, kind, debs)
    } catch (error) {
      const reason = (error.stderr ?? '').trim() || error.message
      throw new Error(`No ${kind}-server was found, and apt could not download one. ${advice}\napt said: ${reason}`)
    }
  }
}

async function privateApt (temp) {
  const lists = join(temp, 'lists')
  const archives = join(temp, 'archives')
  await mkdir(join(lists, 'partial'), { recursive: true })
  await mkdir(join(archives, 'partial'), { recursive: true })
  const sources = join(temp, 'sources.list')
  await writeFile(sources, await backports())
  const options = [`Dir::Etc::sourcelist=${sources}`, `Dir::State::lists=${lists}`, `Dir::Cache=${temp}`, 'APT::Sandbox::User=root']
    .flatMap((option) => ['-o', option])
  // One source of many that doesn't answer makes this fail though ours is there: the download decides.
  await run('apt-get', [...options, 'update'], { maxBuffer: 1 << 26 }).catch(() => {})
  return options
}

// Debian 12 has Valkey only there. Of a source that has none, apt says so and goes on.
async function backports () {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'])
  const sources = new Set(stdout.split('\n').filter((line) => /^\S+ [a-z]+$/.test(line)))
  return [...sources].map((source) => `deb ${source}-backports main\n`).join('')
}

// The server is a link into its tools, whose direct dependencies hold the libraries.
async function downloadWith (apt, kind, debs) {
  const { stdout } = await run('apt-cache', [...apt, 'depends', `${kind}-tools`])
  const depends = [...stdout.matchAll(/^\s+Depends: ((?:lib|lua)\S+)$/gm)].map((match) => match[1])
  const libraries = depends.filter((name) => !/^lib(?:c6|gcc-s1|stdc\+\+6)$/.test(name))
  // As root, apt would hand the download to a user of its own, who can't read our folder, and warn about that.
  const options = [...apt, '-o', 'APT::Sandbox::User=root']
  await run('apt-get', [...options, 'download', `${kind}-server`, `${kind}-tools`, ...libraries], { cwd: debs })
  return (await readdir(debs)).filter((name) => name.endsWith('.deb')).map((name) => join(debs, name))
}

async function unpack (debs, root) {
  for (const deb of debs) await run('dpkg', ['-x', deb, root])
  await chmod(root, 0o755)
}

async function moveInto (root, kind) {
  const target = join(cache, kind)
  try {
    await rename(root, target)
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    const [there] = ours(kind)
    if (there !== undefined && await problemOf(there) === undefined) return
    await rm(target, { recursive: true, force: true })
    await rename(root, target)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log((await ensureRedisServer()).path)
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
