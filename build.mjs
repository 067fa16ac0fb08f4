// Compiles what is asked for: `esm` and `cjs` are the two published forms of the plugin (dist/), `demo` is the demo
// app (build/demo-app). Without targets: all three. With --quick: without checking types, for a start in half the time.
import { spawn } from 'node:child_process'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
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
