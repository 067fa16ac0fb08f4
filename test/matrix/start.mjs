// The test command with each Node, Redis client and server that the plugin is for: `npm run test:matrix`, an hour or two.
// It tests what is committed, in a clone of its own that goes at the end; what it downloads and what the runs print is kept
// in .cache/matrix. Closes with a line of totals for each run, and their sum as `N passed, N failed`.
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { ensureRedisServer, ensureValkeyServer } from '../helpers/redis-server.mjs'

/** Node's major, ioredis' major, the server. */
const RUNS = [
  ...[20, 22, 24].flatMap((node) => [6, 5].map((ioredis) => ({ node, ioredis, server: 'redis' }))),
  { node: 24, ioredis: 6, server: 'valkey' },
  { node: 20, ioredis: 5, server: 'valkey' }
]
/** Of @fastify/redis, which brings the client: the last major for each of ioredis'. */
const FASTIFY_REDIS = { 5: 8, 6: 9 }
/** Of node-redis, by ioredis'. */
const NODE_REDIS = { 5: 5, 6: 6 }
/** Of Nest, by ioredis'. */
const NEST = { 5: 11, 6: 12 }
const SERVERS = { redis: ensureRedisServer, valkey: ensureValkeyServer }
const USAGE = `npm run test:matrix -- [options] [files for the test command]
  --node MAJORS     only with these, with commas between them: ${valuesOf('node')}
  --ioredis MAJORS  ${valuesOf('ioredis')}
  --server NAMES    ${valuesOf('server')}`

const root = fileURLToPath(new URL('../../', import.meta.url))
const kept = join(root, '.cache/matrix')

try {
  const { runs, files } = readSettings()
  process.exitCode = await inClone(async (clone) => await runAll(runs, files, clone)) ? 0 : 1
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}

/** Whether nothing failed. */
async function runAll (runs, files, clone) {
  const totals = []
  for (const run of runs) {
    const notRun = (error) => ({ ...run, passed: 0, failed: 1, reason: error.message })
    const result = await runOne(run, files, clone).catch(notRun)
    console.log(lineOf(result))
    totals.push(result)
  }
  const [passed, failed] = ['passed', 'failed'].map((name) => totals.reduce((sum, result) => sum + result[name], 0))
  console.log(`\n${totals.map(lineOf).join('\n')}\n${passed} passed, ${failed} failed`)
  return failed === 0
}

async function runOne ({ node, ioredis, server }, files, clone) {
  const path = await nodeOf(node)
  const binary = await SERVERS[server]()
  const client = await useClient(clone, ioredis)
  const log = join(kept, `node-${node}-ioredis-${ioredis}-${server}.log`)
  const env = {
    ...process.env,
    ...binary.env,
    PATH: [dirname(path), process.env.PATH].join(delimiter),
    REDIS_SERVER: binary.path
  }
  const began = performance.now()
  await runTests(clone, files, { env, log })
  const minutes = (performance.now() - began) / 60_000
  const output = await readFile(log, 'utf8')
  const [, passed, failed] = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1) ?? [null, '0', '1']
  if (failed !== '0') console.log(output)
  const versions = { node: await versionOf(path, env), ioredis: client, server: await versionOf(binary.path, env) }
  const reason = `${minutes.toFixed(1)} min, ${log.slice(root.length)}`
  return { ...versions, passed: Number(passed), failed: Number(failed), reason }
}

function lineOf ({ node, ioredis, server, passed, failed, reason }) {
  return `Node ${node}, ioredis ${ioredis}, ${server}: ${passed} passed, ${failed} failed (${reason})`
}

/** The binary of such a Node: the one that runs this, or the newest that npm has for this machine. */
async function nodeOf (major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(kept, `node-${major}`)
  const path = join(folder, 'node_modules', name, 'bin/node')
  if (existsSync(path)) return path
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{ "private": true }\n')
  await call('npm', ['install', '--no-save', '--ignore-scripts', `${name}@${major}`], folder)
  return path
}

/** Has the clone use this major, also in what is between us and the client, and what goes with it; its version. */
async function useClient (clone, major) {
  const nest = ['common', 'core', 'platform-fastify', 'testing'].map((name) => `@nestjs/${name}@${NEST[major]}`)
  const names = [`ioredis@${major}`, `@fastify/redis@${FASTIFY_REDIS[major]}`, `redis@${NODE_REDIS[major]}`, ...nest]
  await call('npm', ['install', '--no-save', '--ignore-scripts', '--prefer-offline', ...names], clone)
  const ours = createRequire(join(clone, 'package.json'))
  const theirs = createRequire(ours.resolve('@fastify/redis'))
  const manifests = [ours, theirs].map((require) => require.resolve('ioredis/package.json'))
  const versions = await Promise.all(manifests.map(async (path) => JSON.parse(await readFile(path, 'utf8')).version))
  if (versions.every((version) => version.startsWith(`${major}.`))) return versions[0]
  throw new Error(`ioredis ${major} was to be installed, but the tests have ${versions[0]}, and @fastify/redis ${versions[1]}`)
}

async function runTests (clone, files, { env, log }) {
  const output = await open(log, 'w')
  try {
    const child = spawn('npm', ['test', '--', ...files], { cwd: clone, env, stdio: ['ignore', output.fd, output.fd] })
    await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve))
  } finally {
    await output.close()
  }
}

async function inClone (work) {
  if (await call('git', ['status', '--porcelain']) !== '') console.log('What is not committed is not tested.')
  await mkdir(kept, { recursive: true })
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-matrix-'))
  try {
    const clone = join(folder, basename(root))
    await call('git', ['clone', '--quiet', root, clone])
    await call('npm', ['ci', '--prefer-offline', '--ignore-scripts'], clone)
    return await work(clone)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** `v22.23.3` is 22.23.3; `Valkey server v=8.0.1 sha=…` is Valkey 8.0.1. */
async function versionOf (path, env) {
  const { stdout } = await promisify(execFile)(path, ['--version'], { env })
  const [, name, version] = /^(?:(\w+) server )?v=?([\d.]+)/.exec(stdout) ?? [null, undefined, stdout.trim()]
  return [name, version].filter((part) => part !== undefined).join(' ')
}

async function call (command, args, cwd = root) {
  const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 1 << 26 })
  return stdout
}

function readSettings () {
  const names = ['node', 'ioredis', 'server']
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' }]))
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const runs = RUNS.filter((run) => names.every((name) => values[name]?.split(',').includes(String(run[name])) ?? true))
  if (runs.length === 0) throw new Error(`There is no such run.\n${USAGE}`)
  return { runs, files: positionals }
}

function valuesOf (name) {
  return [...new Set(RUNS.map((run) => run[name]))].join(', ')
}
