// What compilers make of `app.cache` in users' apps, by what was built, beside others that have a `cache`. Each file of
// consumer/ is compiled as CommonJS, and as CommonJS and an ES module of one program, with the libraries' own types checked
// and not.
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

const root = fileURLToPath(new URL('../../', import.meta.url))
const consumer = fileURLToPath(new URL('consumer/', import.meta.url))
const OPTIONS: ts.CompilerOptions = {
  noEmit: true,
  strict: true,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.NodeNext,
  types: ['node']
}
/** By name: `skipLibCheck` of the programs that have both forms. Each program takes seconds. */
// docs/migrating.md: 'declared'.
const APPS = { 'beside-caching': [true, false], declared: [false] }

const parsed = new Map<string, ts.SourceFile>()

/** The libraries are the same in all programs, and parsed once. */
function hostOf (options: ts.CompilerOptions): ts.CompilerHost {
  const host = ts.createCompilerHost(options)
  const getSourceFile = host.getSourceFile.bind(host)
  host.getCurrentDirectory = () => root
  host.getSourceFile = (name, how, onError, isNew) => {
    // A file is bound as CommonJS or as a module, by its package.
    const key = `${name}: ${JSON.stringify(how)}`
    const file = parsed.get(key) ?? getSourceFile(name, how, onError, isNew)
    if (file !== undefined && name.includes('/node_modules/')) parsed.set(key, file)
    return file
  }
  return host
}

/** What the compiler says. */
function compile (files: string[], skipLibCheck: boolean): string {
  const options = { ...OPTIONS, skipLibCheck }
  const host = hostOf(options)
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(ts.createProgram(files, options, host)), host)
}

t.test('users\' apps compile', async (t) => {
  // Inside the package, so that its name leads to what was built.
  await mkdir(join(root, '.cache'), { recursive: true })
  const folder = await mkdtemp(join(root, '.cache/types-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  for (const [name, skips] of Object.entries(APPS)) {
    const [esm, cjs] = [join(folder, `${name}.mts`), join(folder, `${name}.cts`)]
    for (const copy of [esm, cjs]) await copyFile(join(consumer, `${name}.mts`), copy)
    t.equal(compile([cjs], false), '', `${name}.cts alone`)
    for (const skipLibCheck of skips) {
      t.equal(compile([esm, cjs], skipLibCheck), '', `${name} in both forms, skipLibCheck ${skipLibCheck}`)
    }
  }
})
