// Which Varnish the tests start, with its module xkey. In this order: what VARNISHD names; a varnishd on PATH or in a
// usual place, where it has the module; our own folder, .cache/varnish, out of Debian's packages as Redis' is. Varnish
// compiles its configuration when it starts, so it needs a C compiler.
//
// Run by itself (`node test/helpers/varnish-server.mjs`) it does the set-up where one is needed and prints the path.
import { execFile } from 'node:child_process'
import { accessSync, constants, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { folderOf, librariesIn, librariesOf, unpackPackages } from './debian-packages.mjs'

const run = promisify(execFile)
const NAME = 'varnish'
const USUAL_PLACES = ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/sbin']
const ADVICE = 'Install Varnish with its module xkey and a C compiler (Debian: `apt-get install varnish varnish-modules gcc`), or set ' +
  'VARNISHD to the path of a varnishd.'
const CONFIGURATION = 'vcl 4.1; import xkey; backend default none;'

let ensured

/** The server to start, set up first where there is none. Rejects with a message that says what to do. */
export function ensureVarnish () {
  ensured ??= findOrSetUp()
  return ensured
}

async function findOrSetUp () {
  const found = await findVarnish()
  const problem = async (root) => await problemOf(ours(root))
  if (found === undefined) await unpackPackages(NAME, { advice: ADVICE, packages, problem })
  await mustCompile()
  return found ?? ours()
}

async function findVarnish () {
  const named = process.env.VARNISHD
  if (named) {
    const server = { path: named, args: [], env: {} }
    const problem = await problemOf(server)
    if (problem !== undefined) throw new Error(`VARNISHD=${named} can't be used: ${problem}`)
    return server
  }
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), ...USUAL_PLACES]
  const paths = [...new Set(folders.map((folder) => join(folder, 'varnishd')))].filter(isExecutable)
  const own = ours()
  for (const server of [...paths.map((path) => ({ path, args: [], env: {} })), ...isExecutable(own.path) ? [own] : []]) {
    const problem = await problemOf(server)
    if (problem === undefined) return server
    console.error(`varnish-server: passing over ${server.path}: ${problem}`)
  }
}

/** Its modules lie where they would be installed, seen from our folder. */
function ours (root = folderOf(NAME)) {
  const path = join(root, 'usr/sbin/varnishd')
  if (!isExecutable(path)) return { path, args: [], env: {} }
  const lib = join(root, 'usr/lib')
  const modules = readdirSync(lib).map((name) => join(lib, name, 'varnish/vmods'))
  return { path, args: ['-p', `vmod_path=${modules.join(':')}`], env: librariesIn(root) }
}

async function packages (apt) {
  const libraries = new Set()
  const add = async (name) => {
    for (const library of await librariesOf(name, apt)) {
      if (libraries.has(library)) continue
      libraries.add(library)
      await add(library)
    }
  }
  for (const name of ['varnish', 'varnish-modules']) await add(name)
  return ['varnish', 'varnish-modules', ...libraries]
}

function isExecutable (path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

// It translates a configuration, which says whether the module is there; that needs no compiler.
async function problemOf ({ path, args, env }) {
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-vcl-'))
  try {
    const file = join(folder, 'xkey.vcl')
    await writeFile(file, CONFIGURATION)
    const options = { env: { ...process.env, ...env }, maxBuffer: 1 << 26 }
    const { stdout, stderr } = await run(path, [...args, '-C', '-n', folder, '-f', file], options)
    return /BEGIN VMOD xkey/.test(stdout + stderr) ? undefined : 'it is no Varnish, or knows no xkey'
  } catch (error) {
    if (error.code === 'ENOENT') return 'there is no such file'
    if (error.code === 'EACCES') return 'it is not an executable file'
    return error.stderr?.trim() || error.message
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function mustCompile () {
  try {
    await run('gcc', ['--version'])
  } catch {
    throw new Error(`Varnish needs gcc to compile its configuration. ${ADVICE}`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log((await ensureVarnish()).path)
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
