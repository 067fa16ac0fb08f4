// What the processes of the app run: app-process.ts, or what else is forked, and what it imports, with the plugin of any
// checkout in its place, compiled once. A loader in each process would take seconds of each, and the plugin's own packages
// from elsewhere.
import { access, cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compiled } from '../../helpers/compiled.mjs'
import { processFolder } from '../../helpers/watchdog.js'
import { BROKEN_BUILDS, edited, type BrokenBuildName } from './broken-build.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
/** What has processes of its own, in test/. */
const rooms = ['race/checker', 'race/kill', 'chaos']

export interface CompiledApp {
  /** The module to fork. */
  path: string
  /** That of a module in test/. */
  pathOf: (name: string) => string
  remove: () => Promise<void>
}

/**
 * @param checkout Whose plugin is run, or an unpacked package; undefined: this one's.
 * @param broken Without which of its checks; undefined: whole.
 */
export async function compileApp (checkout = root, broken?: BrokenBuildName): Promise<CompiledApp> {
  const folder = await mkdtemp(join(processFolder(), 'app-'))
  const remove = async (): Promise<void> => await rm(folder, { recursive: true, force: true })
  try {
    // Where Node finds the packages, and that these are modules.
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await compilePlugin(checkout, join(folder, 'plugin'), broken)
    for (const room of rooms) await compile(join(root, 'test', room), join(folder, 'test', room), (_file, text) => text)
    const pathOf = (name: string): string => join(folder, 'test', `${name}.js`)
    return { path: pathOf('race/checker/app-process'), pathOf, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function compilePlugin (checkout: string, to: string, broken: BrokenBuildName | undefined): Promise<void> {
  const [source, packed] = [join(checkout, 'plugin'), join(checkout, 'dist/esm')]
  if (!await exists(source) && await exists(packed)) {
    if (broken !== undefined) throw new Error(`only source can be broken, and there is none in ${checkout}`)
    return await cp(packed, to, { recursive: true })
  }
  await compile(source, to, (file, text) => broken === undefined ? text : edited(file, text, BROKEN_BUILDS[broken]))
}

async function exists (path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false)
}

async function compile (from: string, to: string, edit: (file: string, text: string) => string): Promise<void> {
  const sources = (await readdir(from, { recursive: true })).filter((name) => /(?<!\.d)\.ts$/.test(name))
  if (sources.length === 0) throw new Error(`there is no TypeScript in ${from}`)
  await Promise.all(sources.map(async (name) => {
    const text = edit(name.replaceAll('\\', '/'), await readFile(join(from, name), 'utf8'))
    const target = join(to, name.replace(/ts$/, 'js'))
    await mkdir(dirname(target), { recursive: true })
    await writeFile(target, compiled(join(from, name), text))
  }))
}
