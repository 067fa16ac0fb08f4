// Compiles what is asked for: `esm` and `cjs` are the two published forms of the plugin (dist/), `demo` is the demo
// app (build/demo-app). Without targets: all three. With --quick: without checking types, for a start in half the time.
import { spawn } from 'node:child_process'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('.', import.meta.url))
const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', import.meta.url))

const dashboard = 'extras/dashboard'
const ESM_FOLDER = `require('node:path').join(__dirname, '../../../esm/${dashboard}')`

const targets = {
  esm: async () => {
    await compile('plugin/tsconfig.json', 'dist/esm')
    await copyPage()
  },
  // The nearest package.json says "module"; without one of its own Node would read this form as ESM.
  cjs: async () => {
    await compile('plugin/tsconfig.cjs.json', 'dist/cjs')
    await writeFile(`${root}dist/cjs/package.json`, '{ "type": "commonjs" }\n')
    await writeFile(`${root}dist/cjs/${dashboard}/folder.js`, `exports.folder = ${ESM_FOLDER}\n`)
    await writeTypes()
  },
  demo: async () => {
    await compile('demo-app/tsconfig.json', 'build/demo-app')
    await cp(`${root}demo-app/public`, `${root}build/demo-app/public`, { recursive: true })
  }
}

// The dashboard's page is there once, for both forms, with the chart library that it loads.
async function copyPage () {
  const folder = `${root}dist/esm/${dashboard}/public`
  const library = `${root}node_modules/uplot`
  await cp(`${root}plugin/${dashboard}/public`, folder, { recursive: true })
  await cp(`${library}/dist/uPlot.iife.min.js`, `${folder}/uPlot.js`)
  await cp(`${library}/dist/uPlot.min.css`, `${folder}/uPlot.css`)
  await cp(`${library}/LICENSE`, `${folder}/uPlot-LICENSE.txt`)
}

// The types are there once, too. A program may import one form and require the other: with two copies of the types it would
// not compile, as both say what `app.cache` is, and a class of one is none of the other.
async function writeTypes () {
  const { exports } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
  for (const forms of Object.values(exports)) {
    if (forms.require === undefined) continue
    const { types, default: file } = forms.require
    const path = relative(dirname(types), forms.import.default).replaceAll('\\', '/')
    await writeFile(root + types, typesFrom(path, createRequire(import.meta.url)(root + file)))
  }
}

function typesFrom (path, values) {
  const mode = "with { 'resolution-mode': 'import' }"
  const all = `import('${path}', { ${mode.replace('with', 'with:')} })`
  const declared = Object.entries(values).map(([name, value]) => {
    if (name === 'default') return `declare const byDefault: typeof ${all}.default\nexport default byDefault\n`
    const type = String(value).startsWith('class') ? `export type ${name} = ${all}.${name}\n` : ''
    return `export declare const ${name}: typeof ${all}.${name}\n${type}`
  })
  return `export type * from '${path}' ${mode}\n${declared.join('')}`
}

const quick = process.argv.includes('--quick')
const asked = process.argv.slice(2).filter((argument) => argument !== '--quick')
const unknown = asked.find((name) => !Object.hasOwn(targets, name))
if (unknown !== undefined) {
  console.error(`build: unknown target "${unknown}"; there are: ${Object.keys(targets).join(', ')}`)
  process.exit(1)
}
// In this order: the demo app is compiled against the built plugin, as any user's app is.
for (const name of Object.keys(targets)) {
  if (asked.length === 0 || asked.includes(name)) await targets[name]()
}

async function compile (project, outDir) {
  await rm(root + outDir, { recursive: true, force: true })
  await mkdir(root + outDir, { recursive: true })
  const child = spawn(process.execPath, [tsc, '-p', project, ...quick ? ['--noCheck'] : []], { cwd: root, stdio: 'inherit' })
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== 0) process.exit(1)
}
