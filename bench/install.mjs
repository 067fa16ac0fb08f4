// Installs the caches that the benches compare with, unless they are there. Plain JavaScript: it runs before any loader.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))

/** Ends this process where npm fails. */
export function installPeers () {
  // npm writes it last.
  if (existsSync(`${folder}/node_modules/.package-lock.json`)) return
  // Nothing of theirs has a script to run; standard output is the table's.
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts'], {
    cwd: folder, stdio: ['ignore', 2, 2], shell: process.platform === 'win32'
  })
  if (status !== 0) process.exit(status ?? 1)
}
