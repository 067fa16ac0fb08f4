// What is committed must mean the same on every machine: no paths of one, and no registry of one.
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename } from 'node:path/posix'
import t from 'tap'
import { root } from './source-tree.js'

// Put together here, so that this file does not hold what it looks for.
const publicRegistry = ['registry', 'npmjs', 'org'].join('.')
const homes = /(?:^|[^\w.-])\/(?:home|Users)\/(?!linuxbrew\b)\w+\//
const folders = [root, ['', 'work', ''].join('/'), `${homedir()}/`, ['', 'root', ''].join('/')]

function traces (text: string, registry: string): string[] {
  const path = folders.find((folder) => mentions(text, folder)) ?? homes.exec(text)?.[0]
  const host = [registry, publicRegistry].find((name) => text.includes(name))
  return [path, host].filter((trace) => trace !== undefined)
}

// As the beginning of a path: `../work/` and `some/work/` are no paths of this machine.
function mentions (text: string, folder: string): boolean {
  for (let at = text.indexOf(folder); at >= 0; at = text.indexOf(folder, at + 1)) {
    if (!/[\w.-]/.test(text[at - 1] ?? ' ')) return true
  }
  return false
}

// New files count before they are added, or the commit that brings them would be the first to fail.
function committed (): string[] {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const paths = execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0')
  return paths.filter((path) => path !== '' && statSync(root + path, { throwIfNoEntry: false })?.isFile())
}

function registryHost (): string {
  const url = execFileSync('npm', ['config', 'get', 'registry'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return new URL(url.trim()).host
}

t.test('no tracked file names a path or a registry of this machine', async (t) => {
  const registry = registryHost()
  const paths = committed()
  t.ok(paths.includes('package.json') && paths.includes('package-lock.json'))
  const found = paths.map((path) => ({ path, traces: traces(readFileSync(root + path, 'latin1'), registry) }))
  t.same(found.filter(({ traces }) => traces.length > 0), [])

  t.equal(traces(`import '${root}plugin/index.js'`, registry).length, 1)
  t.equal(traces(`see ${['', 'home', 'somebody', 'x'].join('/')}`, registry).length, 1)
  t.equal(traces(`"resolved": "https://${registry}/ms.tgz"`, registry).length, 1)
  t.same(traces('../work/home and a/root/b', registry), [])
})

t.test('each package-lock.json leaves it to npm where packages come from', async (t) => {
  const locks = committed().filter((path) => basename(path) === 'package-lock.json')
  t.ok(locks.length > 3)
  for (const lock of locks) {
    const { packages } = JSON.parse(readFileSync(root + lock, 'utf8'))
    const entries = Object.entries<{ resolved?: string }>(packages)
    t.ok(entries.length > 100, lock)
    t.same(entries.filter(([, { resolved }]) => resolved?.startsWith('http')).map(([path]) => path), [], lock)
  }
})
