// Runs Fastify's own test files, each in a process of its own, a few at a time, none for longer than 40 seconds.
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readTap } from './tap-output.mjs'

/** What the loader registers: nothing that caches, the plugin with no cached route, and with every GET route cached. */
export const SUBJECTS = ['twin', 'uncached', 'cached']
const LONGEST_FILE = 40_000

const own = (name) => fileURLToPath(new URL(name, import.meta.url))
export const fastifyFolder = own('node_modules/fastify/')

/** The test files that Fastify's own runner would take, by their paths in its package. */
export async function testFiles () {
  const names = await readdir(join(fastifyFolder, 'test'), { recursive: true })
  return names.filter((name) => /\.test\.m?js$/.test(name)).map((name) => `test/${name.replaceAll('\\', '/')}`).sort()
}

/** Runs `{ file, subject }` side by side; the results in the same order. `onEnd` hears of each. */
export async function runAll (runs, { jobs = Math.min(availableParallelism(), 4), onEnd = () => {} } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-foreign-'))
  const results = []
  let next = 0
  const work = async () => {
    while (next < runs.length) {
      const i = next++
      results[i] = await runFile(runs[i], join(folder, String(i)))
      onEnd(results[i])
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, work))
    return results
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function runFile ({ file, subject }, path) {
  const args = [`--require=${own('loader.cjs')}`, '--test-reporter=tap', `--test-reporter-destination=${path}`, file]
  const env = { ...process.env, FOREIGN_SUBJECT: subject, FOREIGN_COUNTS: `${path}.counts` }
  const { code, signal, said } = await ended(args, env)
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

async function ended (args, env) {
  const child = spawn(process.execPath, args, { cwd: fastifyFolder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said = (said + chunk).slice(-2000) })
  const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_FILE)
  try {
    return await new Promise((resolve, reject) => child.on('error', reject).on('close', (code, signal) => resolve({ code, signal, said })))
  } finally {
    clearTimeout(timer)
  }
}
