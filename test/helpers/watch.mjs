// Runs one test file, and again whenever the file or a module that it imports changes: `npm run test:watch -- FILE`. Node
// itself watches and runs; without tap's runner that takes a second or two.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { lineFilter } from './tap-lines.mjs'

const [file, ...others] = process.argv.slice(2)
if (file === undefined || others.length > 0 || !existsSync(file)) {
  console.error('Name one test file: npm run test:watch -- test/key/key.test.ts')
  process.exit(1)
}

const child = spawn(process.execPath, ['--watch', '--import=./test/helpers/typescript.mjs', file], { stdio: ['inherit', 'pipe', 'inherit'] })
child.on('close', (code) => { process.exitCode = code ?? 1 })
let isShown = lineFilter()
for await (const line of createInterface({ input: child.stdout })) {
  const isNews = /^(?:Restarting|Completed running|Failed running) /.test(line)
  if (isNews) isShown = lineFilter()
  if (isNews || isShown(line) || line.startsWith('# { total')) console.log(line)
}
