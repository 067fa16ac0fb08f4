// `npm run bench`: installs what it compares with where it is missing, builds the plugin as users get it, and runs the
// driver as TypeScript with the same loader, types not checked. Plain JavaScript: it runs before the loader is there.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { installPeers } from './install.mjs'

installPeers()
const build = fileURLToPath(new URL('../build.mjs', import.meta.url))
const { status } = spawnSync(process.execPath, [build, '--quick', 'esm'], { stdio: ['ignore', 2, 2] })
if (status !== 0) process.exit(status ?? 1)
await import('../test/helpers/typescript.mjs')
// The other programs that need all that.
const other = ['scaling', 'full'].find((name) => name === process.argv[2])
if (other !== undefined) process.argv.splice(2, 1)
await import(other === undefined ? './driver/command.ts' : `./${other}.ts`)
