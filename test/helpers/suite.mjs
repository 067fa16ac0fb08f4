// The test command: sees to a Redis server, builds, runs tap, and closes with `N passed, N failed` (assertions). With
// --browser it runs test/browser/ instead, which needs Chromium; with --fast only what needs neither a server nor a build;
// with --long those that go on for longer, and those that only run then. With --built, what was built just now is tested.
// Other arguments go to tap: files to run, options.
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from './redis-server.mjs'
import { extensible, serverless } from './serverless.mjs'
import { isEndOfTest, lineFilter } from './tap-lines.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const tapBin = join(root, 'node_modules/tap/dist/esm/run.mjs')
const SWITCHES = ['--built', '--browser', '--fast', '--long']
const argv = process.argv.slice(2).filter((argument) => !SWITCHES.includes(argument))
const isOn = (name) => process.argv.slice(2).includes(name)

/** They prove little of the package for the time that they take: `npm run test:long` has them. */
const LONG_ONLY = [
  'test/demo/embedded.test.ts', 'test/demo/refusals.test.ts', 'test/demo/servers.test.ts',
  'test/extras/postgres-builds.test.ts', 'test/extras/postgres-docs.test.ts', 'test/extras/postgres-scale.test.ts',
  'test/in-front/varnish.test.ts', 'test/store/next-layout.test.ts'
]
/** On two quiet cores, from the start to the totals. */
const MINUTES = { short: 9, long: 6 }

try {
  const run = isOn('--browser') ? browserTests : isOn('--fast') ? fastTests : isOn('--long') ? longTests : tests
  const { passed, failed, reason } = await run()
  finish(passed, failed, reason)
} catch (error) {
  finish(0, 1, error.message)
}

async function tests () {
  const { path } = await ensureRedisServer()
  console.log(`Redis: ${path}`)
  const files = argv.length > 0 ? [] : testFiles().filter((file) => !LONG_ONLY.includes(file))
  if (files.length > 0) announce(files, MINUTES.short)
  await build()
  return await runTap([...files, ...argv], { files })
}

async function longTests () {
  const { path } = await ensureRedisServer()
  console.log(`Redis: ${path}`)
  const files = [...extensible(root, testFiles()), ...LONG_ONLY].sort()
  announce(files, MINUTES.long)
  await build()
  return await runTap([...files, ...argv], { files, env: { TEST_LONG: '1' } })
}

function announce (files, minutes) {
  console.log(`${files.length} files: about ${minutes} minutes on two quiet cores, several times that on busy ones.`)
}

async function browserTests () {
  const chromium = findChromium()
  console.log(`Chromium: ${chromium}`)
  await build()
  const folder = join(root, 'test/browser')
  if (!existsSync(folder)) throw new Error('there is no test/browser')
  const files = readdirSync(folder).filter((name) => /(?<!\.d)\.ts$/.test(name)).map((name) => join(folder, name))
  return await runTap([...files, ...argv], { files, env: { CHROMIUM: chromium } })
}

async function fastTests () {
  const files = serverless(root, testFiles())
  return await runTap([...files, ...argv], { files })
}

/** All: those that tap finds without arguments, see package.json. */
function testFiles (folder = 'test') {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(path)
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

async function build () {
  if (isOn('--built')) return
  const code = await ended(start([join(root, 'build.mjs')]))
  if (code !== 0) throw new Error('the build failed')
}

/** `files`: those among `args` whose number is known. */
async function runTap (args, { files, env = {} }) {
  // tap makes a class of its plugins, once. Where it has to do that itself, this run still has those that are left out.
  if (!existsSync(join(root, '.tap/plugins'))) await ended(start([tapBin, 'build'], {}, 'ignore'))
  return await (process.stdout.isTTY ? runOnTerminal(args, env) : runForLog(args, { files, env }))
}

// tap's closing comment is the only place that has the totals of all files; it stands in what it writes to a file.
async function runOnTerminal (args, env) {
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-tap-'))
  const output = join(folder, 'all.tap')
  try {
    const code = await ended(start([tapBin, `--output-file=${output}`, ...args], env))
    return judge(code, await readFile(output, 'utf8').catch(() => ''))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

// Without a terminal tap prints each assertion of every test, and its shorter reporters redraw the screen or lose the
// failures when a file runs out of time. So: a line for each file as it ends, and whatever is not ok, with its details.
async function runForLog (args, { files, env }) {
  const child = start([tapBin, '--reporter=tap', ...args], env, 'pipe')
  const end = ended(child)
  const lines = []
  const began = performance.now()
  const all = files.length === 0 ? '' : ` of ${files.length}`
  const isShown = lineFilter()
  let count = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const isEnd = isEndOfTest(line)
    if (isEnd) count++
    if (isShown(line)) console.log(isEnd && all !== '' ? `${line} (${count}${all}, ${minutes(performance.now() - began)})` : line)
    lines.push(line)
  }
  return judge(await end, lines.join('\n'))
}

/** `3:07`. */
function minutes (time) {
  const seconds = Math.floor(time / 1_000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

function judge (code, output) {
  const totals = [...output.matchAll(/^# \{ (total: .*) \}$/gm)].at(-1)?.[1] ?? ''
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  const passed = count('pass')
  const failed = count('fail')
  if (failed > 0) return { passed, failed }
  // None of these is a test that failed, all of them are failures.
  if (totals === '') return { passed, failed: 1, reason: `tap gave no totals (exit code ${code})` }
  const empty = /^ok \d+ - (.*) # SKIP no tests found$/m.exec(output)?.[1]
  if (empty !== undefined) return { passed, failed: 1, reason: `${empty} holds no test` }
  if (passed === 0) return { passed, failed: 1, reason: 'tap ran no test' }
  if (code !== 0) return { passed, failed: 1, reason: `no test failed, but tap ended with exit code ${code}` }
  return { passed, failed }
}

function start (args, env = {}, stdout = 'inherit') {
  const stdio = ['inherit', stdout, 'inherit']
  return spawn(process.execPath, args, { cwd: root, stdio, env: { ...process.env, ...env } })
}

async function ended (child) {
  return await new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve(code ?? signal))
  })
}

function findChromium () {
  const named = process.env.CHROMIUM
  if (named) {
    if (isExecutable(named)) return named
    throw new Error(`CHROMIUM=${named} is not an executable file`)
  }
  const folders = ['/usr/bin', ...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')]
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  const paths = names.flatMap((name) => folders.map((folder) => join(folder, name)))
  const found = [...paths, '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'].find(isExecutable)
  if (found !== undefined) return found
  throw new Error('The browser tests need Chromium: `apt-get install chromium` (Debian), `brew install --cask chromium` ' +
    '(macOS), or set CHROMIUM to the path of a Chromium or Chrome.')
}

function isExecutable (path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function finish (passed, failed, reason) {
  if (reason !== undefined) console.error(`Failed: ${reason}`)
  process.exitCode = failed > 0 ? 1 : 0
  console.log(`${passed} passed, ${failed} failed`)
}
