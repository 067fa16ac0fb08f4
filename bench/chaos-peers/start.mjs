// Installs the peers where they are missing, and runs chaos-peers.ts as TypeScript outside tap, with tap's own loader, types
// not checked. Plain JavaScript: it runs before the loader is there.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
// npm writes it last.
if (!existsSync(`${folder}/node_modules/.package-lock.json`)) {
  // Nothing of theirs has a script to run; standard output is the table's.
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts'], {
    cwd: folder, stdio: ['ignore', 2, 2], shell: process.platform === 'win32'
  })
  if (status !== 0) process.exit(status ?? 1)
}
process.env.TS_NODE_TRANSPILE_ONLY = '1'
await import('@tapjs/typescript/import')
await import('./chaos-peers.ts')
