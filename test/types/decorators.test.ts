// What compilers make of `app.cache` in users' apps, by what was built, beside others that have a `cache`. Each file of
// consumer/ is compiled as CommonJS, and as CommonJS and an ES module of one program, with the libraries' own types checked
// and not.
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../', import.meta.url))
const consumer = fileURLToPath(new URL('consumer/', import.meta.url))
const tsc = join(root, 'node_modules/typescript/bin/tsc')
const OPTIONS = [
  '--ignoreConfig', '--noEmit', '--strict', '--target', 'es2023', '--lib', 'es2023', '--module', 'nodenext', '--types', 'node'
]
/** Each run takes seconds. */
// docs/migrating.md: 'declared'.
const APPS = { 'beside-caching': [true, false], declared: [false] }

/** What the compiler says. */
async function compile (files: string[], skipLibCheck: boolean): Promise<string> {
  const args = [tsc, ...OPTIONS, '--skipLibCheck', String(skipLibCheck), ...files]
  return await new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root }, (error, out) => { resolve(error === null ? '' : out || String(error)) })
  })
}

t.test('users\' apps compile', async (t) => {
  // Inside the package, so that its name leads to what was built.
  await mkdir(join(root, '.cache'), { recursive: true })
  const folder = await mkdtemp(join(root, '.cache/types-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  for (const [name, skips] of Object.entries(APPS)) {
    const [esm, cjs] = [join(folder, `${name}.mts`), join(folder, `${name}.cts`)]
    for (const copy of [esm, cjs]) await copyFile(join(consumer, `${name}.mts`), copy)
    t.equal(await compile([cjs], false), '', `${name}.cts alone`)
    for (const skipLibCheck of skips) {
      t.equal(await compile([esm, cjs], skipLibCheck), '', `${name} in both forms, skipLibCheck ${skipLibCheck}`)
    }
  }
})
