// Installs what the suite runs and what Fastify's own tests need, each in a folder of its own with pinned versions.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { rm, symlink } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const own = (name) => fileURLToPath(new URL(name, import.meta.url))

/** Throws where npm fails. */
export async function installForeign () {
  for (const folder of [own('./'), own('fastify/')]) install(folder)
  // The plugin by its name, as its users import it: what was built.
  const link = own('node_modules/fastify-route-cache')
  await rm(link, { recursive: true, force: true })
  await symlink(root, link, 'junction')
}

function install (folder) {
  // npm writes it last.
  const done = `${folder}node_modules/.package-lock.json`
  if (existsSync(done) && statSync(done).mtimeMs >= statSync(`${folder}package-lock.json`).mtimeMs) return
  // Nothing of theirs has a script that the suite needs.
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--prefer-offline', '--loglevel=error'], {
    cwd: folder, stdio: ['ignore', 'inherit', 'inherit'], shell: process.platform === 'win32'
  })
  if (status !== 0) throw new Error(`npm ci failed in ${folder.slice(root.length)}`)
}
