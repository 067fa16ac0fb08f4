// What the README states of size and dependencies, compared with what is so. A number of packages must be right; sizes may
// drift, by less than what would be noticed.
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const DRIFT = 0.2
const MEGABYTE = 1e6

/** What it states. Throws where it does so in words that are not understood here. */
export function statementOf (readme) {
  const prose = readme.replaceAll('\n', ' ')
  const [, count, names] = match(prose, /has (\d+) runtime dependencies, (`[^`]+`(?:(?:,| and) `[^`]+`)*)/, 'runtime dependencies')
  const [, unpacked, packed] = match(prose, /is ([\d.]+) MB on disk \(([\d.]+) MB packed\)/, 'the size')
  const [, others, added] = match(prose, /Fastify and @fastify\/redis, (\d+) packages, [^.]* adds (\d+) packages?\b/, 'what it adds')
  const [, command] = match(readme, /<!-- run: install -->\n```sh\nnpm (install .+)\n```/, 'how it is installed')
  return {
    count: Number(count),
    names: Array.from(names.matchAll(/`([^`]+)`/g), ([, name]) => name),
    unpacked: Number(unpacked),
    packed: Number(packed),
    others: Number(others),
    added: Number(added),
    command: command.split(' ')
  }
}

export async function checkSize ({ unpacked, packed }, { tarball, contents, files }) {
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(contents, name))).size))
  near('on disk', unpacked, sizes.reduce((sum, size) => sum + size, 0) / MEGABYTE)
  near('packed', packed, (await stat(tarball)).size / MEGABYTE)
}

/** Runs the README's own command, with the tarball for the package's name, and takes the package away again. */
export async function checkDependencies ({ count, names, others, added, command }, { tarball, project, run }) {
  await mkdir(project)
  await writeFile(join(project, 'package.json'), '{ "private": true }\n')
  const npm = async (...args) => await run('npm', [...args, '--no-audit', '--no-fund', '--prefer-offline'], project)
  await npm(...command.map((argument) => argument === 'fastify-route-cache' ? tarball : argument))
  const { dependencies, scripts = {} } = await manifestOf(project, 'fastify-route-cache')
  equal('runtime dependencies', [...names].sort().join(), Object.keys(dependencies).sort().join())
  equal('their number', count, names.length)
  for (const name of names) equal(`dependencies of ${name}`, '', Object.keys((await manifestOf(project, name)).dependencies ?? {}).join())
  equal('scripts that run at the installation', '', Object.keys(scripts).filter((name) => /^(?:pre|post)?install$/.test(name)).join())

  const all = await packagesIn(project)
  await npm('uninstall', 'fastify-route-cache')
  const left = await packagesIn(project)
  equal('packages that it adds', added, all - left)
  near('packages without it', others, left)
}

async function manifestOf (project, name) {
  return JSON.parse(await readFile(join(project, 'node_modules', name, 'package.json'), 'utf8'))
}

async function packagesIn (project) {
  const { packages } = JSON.parse(await readFile(join(project, 'node_modules/.package-lock.json'), 'utf8'))
  return Object.keys(packages).length
}

function match (text, pattern, what) {
  const found = pattern.exec(text)
  if (found === null) throw new Error(`the README does not state ${what} in the form that is looked for: ${pattern}`)
  return found
}

function equal (what, stated, actual) {
  if (stated !== actual) throw new Error(`${what}: the README states ${stated || 'none'}, but it is ${actual || 'none'}`)
}

function near (what, stated, actual) {
  if (Math.abs(actual - stated) <= DRIFT * stated) return
  throw new Error(`${what}: the README states ${stated}, but it is ${Number(actual.toPrecision(2))}`)
}
