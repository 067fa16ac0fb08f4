// Runs Fastify's own test files, each in a process of its own, a few at a time, none for longer than 40 seconds.
//
// Most of a file's time is the start of its process, and waiting for timers and sockets: so there is one process more than
// there are cores, the longest files come first, and those that never end by themselves do their waiting beside all others.
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readTap } from './tap-output.mjs'

/** What the loader registers: nothing that caches, the plugin with no cached route, and with every GET route cached. */
export const SUBJECTS = ['twin', 'uncached', 'cached']
const LONGEST_FILE = 40_000
/** What files that are known not to end are given: their tests take a second. */
const ENDLESS_FILE = 15_000
const ENDLESS = ['test/diagnostics-channel/async-error-handler.test.js', 'test/internals/logger.test.js']

/** From five seconds on, on a busy machine; only their order counts. */
const LONG = [
  'hooks', 'schema-validation', 'schema-feature', 'skip-reply-send', 'build/error-serializer', 'schema-special-usage', 'http2/closing',
  'custom-parser.0', 'decorator', 'close', 'hooks.on-ready', 'route.1', 'request-header-host', 'http2/constraint', 'schema-examples',
  'schema-serialization', 'fastify-instance', 'validation-error-handling', 'route.3', 'server', 'route-hooks', 'handler-timeout'
].map((name) => `test/${name}.test.js`)

const own = (name) => fileURLToPath(new URL(name, import.meta.url))
export const fastifyFolder = own('node_modules/fastify/')

/** The test files that Fastify's own runner would take, by their paths in its package. */
export async function testFiles () {
  const names = await readdir(join(fastifyFolder, 'test'), { recursive: true })
  return names.filter((name) => /\.test\.m?js$/.test(name)).map((name) => `test/${name.replaceAll('\\', '/')}`).sort()
}

/** Runs `{ file, subject }` side by side; the results in the same order. `onEnd` hears of each. */
export async function runAll (runs, { jobs = Math.min(availableParallelism() + 1, 5), onEnd = () => {} } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-foreign-'))
  const results = []
  const run = async (i) => {
    results[i] = await runFile(runs[i], join(folder, String(i)))
    onEnd(results[i])
  }
  const all = [...runs.keys()]
  const isEndless = (i) => ENDLESS.includes(runs[i].file)
  const queue = all.filter((i) => !isEndless(i)).sort((i, j) => placeOf(runs[i]) - placeOf(runs[j]))
  const work = async () => {
    for (let i = queue.shift(); i !== undefined; i = queue.shift()) await run(i)
  }
  try {
    await Promise.all([...all.filter(isEndless).map(run), ...Array.from({ length: jobs }, work)])
    return results
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function placeOf ({ file }) {
  const place = LONG.indexOf(file)
  return place < 0 ? LONG.length : place
}

async function runFile ({ file, subject }, path) {
  const args = [`--require=${own('loader.cjs')}`, '--test-reporter=tap', `--test-reporter-destination=${path}`, file]
  const env = { ...process.env, FOREIGN_SUBJECT: subject, FOREIGN_COUNTS: `${path}.counts` }
  const { code, signal, said } = await ended(args, env, ENDLESS.includes(file) ? ENDLESS_FILE : LONGEST_FILE)
  const text = async (name) => await readFile(name, 'utf8').catch(() => '')
  const tests = readTap(await text(path))
  const hasFailed = [...tests.values()].some(({ isPassed }) => !isPassed)
  // The file itself counts as a test where its process ended otherwise than by its tests' results.
  if (signal !== null || tests.size === 0 || (code !== 0) !== hasFailed) {
    const reason = signal === null ? `exit code ${code}, ${tests.size} tests: ${said.slice(-400)}` : `ended by ${signal}`
    tests.set('(the file)', { isPassed: false, isSkipped: false, reason })
  }
  return { file, subject, tests, counts: (await text(`${path}.counts`)).trim().split('\n').filter(Boolean).map((line) => JSON.parse(line)) }
}

async function ended (args, env, limit) {
  const child = spawn(process.execPath, args, { cwd: fastifyFolder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said = (said + chunk).slice(-2000) })
  const timer = setTimeout(() => child.kill('SIGKILL'), limit)
  try {
    return await new Promise((resolve, reject) => child.on('error', reject).on('close', (code, signal) => resolve({ code, signal, said })))
  } finally {
    clearTimeout(timer)
  }
}
