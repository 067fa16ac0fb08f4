// Checks the package as its users get it: packs it, lints the tarball, installs it into an empty project and uses it
// there from both module systems and from TypeScript. Closes with `N passed, N failed`.
import { execFile } from 'node:child_process'
import { copyFile, cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { checkDependencies, checkSize, statementOf } from './stated.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const consumer = fileURLToPath(new URL('consumer/', import.meta.url))
const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js')
const tsc = join(root, 'node_modules/typescript/bin/tsc')
/** What users have for a client: the last release of each major that the plugin is for. */
const clients = [['ioredis@5', '@fastify/redis@8'], ['ioredis@6', '@fastify/redis@9']]
const typed = ['typed-use', 'typed-metrics', 'typed-client', 'typed-old']
const totals = { passed: 0, failed: 0 }

const allowed = /^(?:package\.json|README\.md|LICENSE|(?:CHANGELOG|CONTRIBUTING|SECURITY)\.md|dist\/cjs\/package\.json|dist\/(?:esm|cjs)\/.+(?<!\.test)\.(?:js|d\.ts)|dist\/esm\/extras\/dashboard\/public\/[\w-]+\.(?:css|html|svg|txt)|docs\/[\w-]+\.(?:md|json)|examples\/[\w-]+\.(?:mjs|vcl))$/
const required = [
  'package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md',
  'dist/esm/index.js', 'dist/esm/index.d.ts', 'dist/cjs/index.js', 'dist/cjs/index.d.ts', 'dist/cjs/package.json',
  'dist/esm/extras/dashboard/public/uPlot.js', 'dist/esm/extras/dashboard/public/uPlot-LICENSE.txt',
  'dist/esm/extras/command/main.js',
  ...['client', 'dashboard', 'postgres', 'testing'].flatMap((name) => ['esm', 'cjs'].flatMap((form) =>
    ['js', 'd.ts'].map((end) => `dist/${form}/extras/${name}/index.${end}`)))
]

const folder = await mkdtemp(join(tmpdir(), 'route-cache-package-'))
try {
  const tarball = await check('npm pack', () => pack(folder))
  if (tarball !== undefined) {
    await checkTarball(tarball, join(folder, 'contents'))
    await checkStated(tarball, join(folder, 'contents'), join(folder, 'as-stated'))
    await checkUse(tarball, join(folder, 'project'))
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
process.exitCode = totals.failed > 0 ? 1 : 0
console.log(`${totals.passed} passed, ${totals.failed} failed`)

async function checkTarball (tarball, contents) {
  await mkdir(contents)
  await run('tar', ['-xzf', tarball, '-C', contents, '--strip-components=1'])
  await check('the tarball holds what is published and nothing else', () => checkFiles(contents))
  await check('no file of it names a path of this machine', () => checkPaths(contents))
  await check('publint', () => lint(tarball))
  await check('are the types wrong?', () => checkTypes(tarball))
}

async function checkStated (tarball, contents, project) {
  const statement = await check('the README states size and dependencies', async () =>
    statementOf(await readFile(join(contents, 'README.md'), 'utf8')))
  if (statement === undefined) return
  await check('its size is as stated', async () => checkSize(statement, { tarball, contents, files: await filesOf(contents) }))
  // The block 'install' of the README.
  await check('installed as the README says, it brings what is stated', () => checkDependencies(statement, { tarball, project, run }))
}

async function checkUse (tarball, project) {
  const installed = await check('npm install into an empty project', () => install(tarball, project))
  if (installed === undefined) return
  await check('no Redis client comes with it', () => checkAbsent(project, ['ioredis', '@fastify/redis']))
  await check('used by import', () => run(process.execPath, ['use.mjs'], project))
  for (const name of ['metrics', 'dashboard']) {
    await check(`${name}, by import`, () => run(process.execPath, [`use-${name}.mjs`], project))
    await check(`${name}, by require`, () => run(process.execPath, [`use-${name}.cjs`], project))
  }
  await check('used by require', () => run(process.execPath, ['use.cjs'], project))
  for (const file of ['typed-use.mts', 'typed-use.cts', 'typed-metrics.mts', 'typed-metrics.cts', 'typed-both.mts']) {
    await check(`tsc, ${file}`, () => compile(project, file))
  }
  // The nest types need Nest's own; the others are checked in full.
  await check('tsc, typed-exact.mts', () => compile(project, 'typed-exact.mts', ['--exactOptionalPropertyTypes', '--skipLibCheck', 'true']))
  await check('tsc, subpaths by node10', () => compile(project, 'typed-old.cts', [
    '--module', 'commonjs', '--moduleResolution', 'node10', '--ignoreDeprecations', '6.0', '--esModuleInterop', '--skipLibCheck', 'true'
  ]))
  for (const names of clients) {
    await check(`npm install ${names.join(' ')}`, () => add(project, names))
    for (const file of ['typed-client.mts', 'typed-client.cts']) await check(`tsc, ${file}, ${names[0]}`, () => compile(project, file))
  }
  await check('npm install redis', () => add(project, ['redis@6']))
  await check('tsc, typed-node-redis.mts', () => compile(project, 'typed-node-redis.mts', ['--skipLibCheck', 'true']))
}

// Resolves to what `act` gave, and to undefined where it failed.
async function check (name, act) {
  try {
    const result = await act()
    totals.passed++
    console.log(`ok      ${name}`)
    return result ?? true
  } catch (error) {
    totals.failed++
    console.log(`FAILED  ${name}\n${error.message.trim().replace(/^/gm, '        ')}`)
  }
}

async function pack (destination) {
  await run('npm', ['pack', '--pack-destination', destination], root)
  const tarball = (await readdir(destination)).find((name) => name.endsWith('.tgz'))
  return join(destination, tarball)
}

async function filesOf (contents) {
  const names = await readdir(contents, { recursive: true })
  const stats = await Promise.all(names.map((name) => stat(join(contents, name))))
  return names.filter((_, index) => stats[index].isFile()).map((name) => name.replaceAll('\\', '/'))
}

async function checkFiles (contents) {
  const files = await filesOf(contents)
  const problems = [
    ...files.filter((name) => !allowed.test(name)).map((name) => `${name} does not belong there`),
    ...required.filter((name) => !files.includes(name)).map((name) => `${name} is missing`)
  ]
  if (problems.length > 0) throw new Error(problems.join('\n'))
}

async function checkPaths (contents) {
  const paths = [root, `${homedir()}/`, `${tmpdir()}/`]
  for (const name of await filesOf(contents)) {
    const text = await readFile(join(contents, name), 'utf8')
    const path = paths.find((path) => text.includes(path))
    if (path !== undefined) throw new Error(`${name} names ${path}`)
  }
}

async function lint (tarball) {
  const bytes = await readFile(tarball)
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
  const { messages, pkg } = await publint({ pack: { tarball: data } })
  if (messages.length > 0) throw new Error(messages.map((message) => formatMessage(message, pkg)).join('\n'))
}

// By each way of resolving modules, that of node10 too, which finds subpaths by typesVersions.
async function checkTypes (tarball) {
  await run(process.execPath, [attw, tarball, '--profile', 'strict', '--no-definitely-typed', '--no-emoji'])
}

// @types/node is what any TypeScript project on Node has; Fastify's types need it.
async function install (tarball, project) {
  await cp(consumer, project, { recursive: true })
  for (const name of typed) await copyFile(join(project, `${name}.mts`), join(project, `${name}.cts`))
  await writeFile(join(project, 'package.json'), '{ "private": true }\n')
  const names = ['fastify', '@types/node', 'prom-client', '@opentelemetry/api', 'pg']
  const peers = await Promise.all(names.map(async (name) => `${name}@${await versionOf(name)}`))
  await add(project, [tarball, ...peers])
}

async function add (project, names) {
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...names], project)
}

async function versionOf (name) {
  return JSON.parse(await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8')).version
}

async function checkAbsent (project, names) {
  const there = await Promise.all(names.map((name) => stat(join(project, 'node_modules', name)).then(() => name, () => '')))
  const found = there.filter((name) => name !== '')
  if (found.length > 0) throw new Error(`${found.join(', ')} was installed`)
}

// No tsconfig on purpose but the strictest plain one, which also checks the package's own declaration files.
async function compile (project, file, more = []) {
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--skipLibCheck', 'false']
  await run(process.execPath, [tsc, ...options, ...more, file], project)
}

async function run (command, args, cwd = root) {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, timeout: 180_000, maxBuffer: 1 << 26 })
    return stdout
  } catch (error) {
    const said = `${error.stdout ?? ''}${error.stderr ?? ''}`.trim()
    throw new Error(said || error.message)
  }
}
