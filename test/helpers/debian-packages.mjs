// Programs for tests out of Debian's packages: unpacked into a folder of ours, .cache/<name>, and not installed, so that it
// needs neither root nor a change of the system.
import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const cache = fileURLToPath(new URL('../../.cache/', import.meta.url))

/** Where the packages of this name are unpacked. */
export function folderOf (name) {
  return join(cache, name)
}

// The packages' libraries lie beside the program, in the folder of their architecture (x86_64-linux-gnu and the like).
/** What a program that was unpacked here needs in its environment. */
export function librariesIn (root) {
  const lib = join(root, 'usr/lib')
  return { LD_LIBRARY_PATH: [lib, ...readdirSync(lib).map((name) => join(lib, name))].join(':') }
}

/**
 * Unpacks a program's packages. `advice`: what to do where that can't be. `packages`: gives their names, asking with these
 * options of apt's. `problem`: why what was unpacked in this folder can't be used; undefined: it can. Rejects with a message
 * that says what to do.
 */
export async function unpackPackages (name, { advice, packages, problem }) {
  if (!await hasApt()) throw new Error(`No ${name} server was found. ${advice}`)
  await mkdir(cache, { recursive: true })
  // Two test commands may get here at once: each unpacks into a folder of its own, and the rename lets one of them win.
  const temp = await mkdtemp(join(cache, `${name}-set-up-`))
  try {
    const root = join(temp, 'root')
    await mkdir(root)
    await unpack(await download(name, temp, { advice, packages }), root)
    const found = await problem(root)
    if (found !== undefined) throw new Error(`The ${name} server from apt's packages can't be used: ${found}. ${advice}`)
    await moveInto(root, name, problem)
  } finally {
    await rm(temp, { recursive: true, force: true })
  }
}

async function hasApt () {
  try {
    await Promise.all([run('apt-get', ['--version']), run('dpkg', ['--version'])])
    return true
  } catch {
    return false
  }
}

// First with the lists that the system has; where they are missing or out of date, with lists of our own, which takes
// some seconds longer but needs no root and leaves the system's alone.
async function download (name, temp, { advice, packages }) {
  const debs = join(temp, 'debs')
  await mkdir(debs)
  try {
    return await downloadWith([], packages, debs)
  } catch {
    const apt = await privateApt(temp)
    try {
      return await downloadWith(apt, packages, debs)
    } catch (error) {
      const reason = (error.stderr ?? '').trim() || error.message
      throw new Error(`No ${name} server was found, and apt could not download one. ${advice}\napt said: ${reason}`)
    }
  }
}

async function privateApt (temp) {
  const lists = join(temp, 'lists')
  const archives = join(temp, 'archives')
  await mkdir(join(lists, 'partial'), { recursive: true })
  await mkdir(join(archives, 'partial'), { recursive: true })
  const sources = join(temp, 'sources.list')
  await writeFile(sources, await backports())
  const options = [`Dir::Etc::sourcelist=${sources}`, `Dir::State::lists=${lists}`, `Dir::Cache=${temp}`, 'APT::Sandbox::User=root']
    .flatMap((option) => ['-o', option])
  // One source of many that doesn't answer makes this fail though ours is there: the download decides.
  await run('apt-get', [...options, 'update'], { maxBuffer: 1 << 26 }).catch(() => {})
  return options
}

// Debian 12 has Valkey only there. Of a source that has none, apt says so and goes on.
async function backports () {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'])
  const sources = new Set(stdout.split('\n').filter((line) => /^\S+ [a-z]+$/.test(line)))
  return [...sources].map((source) => `deb ${source}-backports main\n`).join('')
}

async function downloadWith (apt, packages, debs) {
  const names = await packages(apt)
  // As root, apt would hand the download to a user of its own, who can't read our folder, and warn about that.
  await run('apt-get', [...apt, '-o', 'APT::Sandbox::User=root', 'download', ...names], { cwd: debs })
  return (await readdir(debs)).filter((name) => name.endsWith('.deb')).map((name) => join(debs, name))
}

/** The libraries that a package depends on, as apt says; without those that each system has. */
export async function librariesOf (name, apt) {
  const { stdout } = await run('apt-cache', [...apt, 'depends', name])
  const depends = [...stdout.matchAll(/^\s+Depends: ((?:lib|lua)\S+)$/gm)].map((match) => match[1])
  return depends.filter((library) => !/^lib(?:c6(?:-dev)?|c-dev|gcc-s1|stdc\+\+6)$/.test(library))
}

async function unpack (debs, root) {
  for (const deb of debs) await run('dpkg', ['-x', deb, root])
  await chmod(root, 0o755)
}

async function moveInto (root, name, problem) {
  const target = folderOf(name)
  try {
    await rename(root, target)
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    if (await problem(target) === undefined) return
    await rm(target, { recursive: true, force: true })
    await rename(root, target)
  }
}
