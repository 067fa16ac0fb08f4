// The test command: sees to a Redis server, builds, runs tap, and closes with `N passed, N failed` (assertions). With
// --browser it runs test/browser/ instead, which needs Chromium; with --fast only what needs neither a server nor a build.
// With --built, what was built just now is tested. Other arguments go to tap: files to run, options.
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from './redis-server.mjs'
import { serverless } from './serverless.mjs'
import { isEndOfTest, lineFilter } from './tap-lines.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const tapBin = join(root, 'node_modules/tap/dist/esm/run.mjs')
const argv = process.argv.slice(2).filter((argument) => argument !== '--built')

try {
  const run = argv.includes('--browser') ? browserTests : argv.includes('--fast') ? fastTests : tests
  const { passed, failed, reason } = await run()
  finish(passed, failed, reason)
} catch (error) {
  finish(0, 1, error.message)
}

async function tests () {
  const { path } = await ensureRedisServer()
  console.log(`Redis: ${path}`)
  if (argv.length === 0) console.log(`${testFiles().length} files, two at a time: about a quarter of an hour on two quiet cores.`)
  await build()
  return await runTap(argv)
}

async function browserTests () {
  const chromium = findChromium()
  console.log(`Chromium: ${chromium}`)
  await build()
  const folder = join(root, 'test/browser')
  if (!existsSync(folder)) throw new Error('there is no test/browser')
  const files = readdirSync(folder).filter((name) => /(?<!\.d)\.ts$/.test(name)).map((name) => join(folder, name))
  const others = argv.filter((argument) => argument !== '--browser')
  return await runTap([...files, ...others], { CHROMIUM: chromium })
}

async function fastTests () {
  return await runTap([...serverless(root, testFiles()), ...argv.filter((argument) => argument !== '--fast')])
}

/** Those that tap finds without arguments: see package.json. */
function testFiles (folder = 'test') {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(path)
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

async function build () {
  if (process.argv.includes('--built')) return
  const code = await ended(start([join(root, 'build.mjs')]))
  if (code !== 0) throw new Error('the build failed')
}

async function runTap (args, env = {}) {
  // tap makes a class of its plugins, once. Where it has to do that itself, this run still has those that are left out.
  if (!existsSync(join(root, '.tap/plugins'))) await ended(start([tapBin, 'build'], {}, 'ignore'))
  return await (process.stdout.isTTY ? runOnTerminal(args, env) : runForLog(args, env))
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
async function runForLog (args, env) {
  const child = start([tapBin, '--reporter=tap', ...args], env, 'pipe')
  const end = ended(child)
  const lines = []
  const all = args.length === 0 ? ` of ${testFiles().length}` : ''
  const isShown = lineFilter()
  let count = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const isEnd = isEndOfTest(line)
    if (isEnd) count++
    if (isShown(line)) console.log(isEnd && all !== '' ? `${line} (${count}${all})` : line)
    lines.push(line)
  }
  return judge(await end, lines.join('\n'))
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
