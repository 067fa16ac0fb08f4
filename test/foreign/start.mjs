// `npm run test:foreign`: the plugin in apps that nobody here wrote. Fastify's own tests (fastify/), other plugins beside
// ours (plugins/), apps as their makers write them (apps/). Arguments choose among these three. Needs neither Redis nor a
// network but for what it installs. Closes with `N passed, N failed`. Fastify's tests, which wait most of their time, run
// beside the other parts; `twin` runs all of them beside the twin as well.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { installForeign } from './install.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const APPS = ['answers', 'generated', 'nest', 'graphql', 'trpc', 'gateway']
const PARTS = { plugins: testPlugins, apps: testApps, fastify: testFastify }

const WHOLE_TWIN = 'twin'

const totals = { passed: 0, failed: 0 }
try {
  const asked = process.argv.slice(2).filter((name) => name !== WHOLE_TWIN)
  const unknown = asked.find((name) => !Object.hasOwn(PARTS, name))
  if (unknown !== undefined) throw new Error(`there is no part "${unknown}"; there are: ${Object.keys(PARTS).join(', ')}`)
  await build()
  await installForeign()
  const run = async (name) => {
    if (asked.length === 0 || asked.includes(name)) await PARTS[name]()
  }
  const beside = run('fastify')
  // Told of below, with what comes first.
  beside.catch(() => {})
  await run('plugins')
  await run('apps')
  await beside
} catch (error) {
  totals.failed++
  console.error(`Failed: ${error.stack}`)
}
process.exitCode = totals.failed > 0 ? 1 : 0
console.log(`${totals.passed} passed, ${totals.failed} failed`)

async function testPlugins () {
  const { ORDERS, compare } = await import('./plugins/side-by-side.mjs')
  const { DIFFERENCES, USES } = await import('./plugins/uses.mjs')
  for (const use of USES) {
    for (const order of ORDERS) {
      const name = `${use.plugin}, ${order}`
      await check(name, () => compare(use, order), DIFFERENCES[name])
    }
  }
  console.log(`${USES.length} plugins, ${Object.keys(DIFFERENCES).length} of ${2 * USES.length} uses differ`)
}

async function testApps () {
  for (const name of APPS) {
    const { default: checks } = await import(`./apps/${name}.mjs`)
    for (const { name, run } of checks) await check(name, run)
  }
}

async function testFastify () {
  const { testFastify } = await import('./fastify/suite.mjs')
  const { passed, failed } = await testFastify({ isTwinWhole: process.argv.includes(WHOLE_TWIN) })
  totals.passed += passed
  totals.failed += failed
}

/** `run` gives the differences; `known`: why there are some, for now. */
async function check (name, run, known) {
  const found = await run().catch((error) => [error.stack])
  const isRight = known === undefined ? found.length === 0 : found.length > 0
  totals[isRight ? 'passed' : 'failed']++
  if (isRight) return console.log(known === undefined ? `ok      ${name}` : `differs ${name}: ${known}`)
  console.log(`FAILED  ${name}`)
  for (const line of known === undefined ? found : [`it does not differ any more: take it off the list (${known})`]) console.log(`        ${line}`)
}

async function build () {
  const child = spawn(process.execPath, [`${root}build.mjs`, '--quick', 'esm', 'cjs'], { stdio: 'inherit' })
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve))
  if (code !== 0) throw new Error('the build failed')
}
