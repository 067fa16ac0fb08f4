// The built `fastify-route-cache/client` where neither Fastify nor its plugins are: the packages that its files name, values
// and types, and a run in a folder that has no others.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { createCache } from '../../plugin/extras/client/index.js'
import { startRedis } from '../helpers/redis.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

/** The packages that a built file names, and those that it loads do, but Node's own. */
async function packagesOf (file: string, packages = new Set<string>(), seen = new Set<string>()): Promise<string[]> {
  seen.add(file)
  const text = await readFile(file, 'utf8')
  const names = text.matchAll(/(?:\bfrom|\bimport|\brequire)\s*\(?\s*['"]([^'"]+)['"]/g)
  for (const [, name] of names) {
    const isFile = name!.startsWith('.')
    const next = resolve(dirname(file), file.endsWith('.d.ts') ? name!.replace(/\.js$/, '.d.ts') : name!)
    if (isFile && !seen.has(next)) await packagesOf(next, packages, seen)
    else if (!isFile && !name!.startsWith('node:')) packages.add(name!)
  }
  return [...packages].sort()
}

t.test('the files name no package of Fastify', async (t) => {
  t.strictSame(await packagesOf(join(root, 'dist/esm/extras/client/index.js')), ['ioredis', 'ms'])
  t.strictSame(await packagesOf(join(root, 'dist/cjs/extras/client/index.js')), ['ioredis', 'ms'])
  t.strictSame(await packagesOf(join(root, 'dist/esm/extras/client/index.d.ts')), [])
  t.ok((await packagesOf(join(root, 'dist/esm/index.js'))).includes('fastify-plugin'), 'those of the plugin do')
  t.ok((await packagesOf(join(root, 'dist/esm/index.d.ts'))).includes('fastify'))
})

const WORK = `
  for (const name of ['fastify', 'fastify-plugin']) {
    try { require.resolve(name); console.log(name, 'is there') } catch {}
  }`
const USE = `
  const cache = await createCache({ redis, prefix: 'graph', deadline: '30s' })
  console.log(await cache.getOrSet('k', { ttl: '1m' }, async () => 'loaded'))
  await cache.settled()
  console.log(await cache.getOrSet('k', {}, async () => 'not'), await cache.invalidate('k'))
  await cache.close()`

t.test('it runs where no other package is', async (t) => {
  const server = await startRedis()
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-client-'))
  t.teardown(async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const installed = join(folder, 'node_modules/fastify-route-cache')
  await mkdir(installed, { recursive: true })
  await cp(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
  await cp(join(root, 'package.json'), join(installed, 'package.json'))
  await cp(join(root, 'node_modules/ms'), join(folder, 'node_modules/ms'), { recursive: true })
  const client = `const { Redis } = require(${JSON.stringify(join(root, 'node_modules/ioredis'))}); const redis = new Redis(${JSON.stringify(server.url)})`
  const programs = {
    'use.cjs': `${WORK}; ${client}; const { createCache } = require('fastify-route-cache/client')
      ;(async () => {${USE}; redis.disconnect() })()`,
    'use.mjs': `import { createRequire } from 'node:module'; import { createCache } from 'fastify-route-cache/client'
      const require = createRequire(import.meta.url); ${WORK}; ${client}; ${USE}; redis.disconnect()`,
    'none.mjs': `import { createCache } from 'fastify-route-cache/client'
      await createCache({ redis: { url: 'redis://:secret@127.0.0.1' } }).catch(({ code, message }) => { console.log(code, message) })`
  }
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(folder, name), text)
    const { stdout } = await run(process.execPath, [name], { cwd: folder })
    if (name !== 'none.mjs') t.strictSame(stdout.split('\n'), ['loaded', 'loaded 1', ''], name)
    else t.match(stdout, /^FRC_OPTION fastify-route-cache: redis says where the server is, .*: npm i ioredis\. Or give a client of yours, of ioredis or node-redis\n$/)
  }
})

/** The programs of docs/client.md, with a queue and a database in front. */
const AROUND: Record<string, string> = {
  worker: 'const db = { update: async (id, name) => { console.log(id, name) } }\n' +
    "async function * messages () { yield { id: 1, name: 'Ada' } }\n",
  signals: 'const db = { update: async (id) => { console.log(id) } }\nlet id = 0\n' +
    'const nextMessage = async (signal) => {\n  if (++id === 2) process.kill(process.pid, "SIGINT")\n' +
    '  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }) ?? (id < 2 && resolve()))\n' +
    '  return signal.aborted ? null : id\n}\n'
}

t.test('the programs of its page', async (t) => {
  const server = await startRedis()
  // Inside the repository, so that the package's name resolves as it does for users: to what was built.
  const folder = join(root, `.cache/client-${process.pid}`)
  await mkdir(folder, { recursive: true })
  t.teardown(async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const page = await readFile(join(root, 'docs/client.md'), 'utf8')
  const app = await createCache({ redis: server.client(), prefix: 'shop', deadline: 30, logger: false })
  t.teardown(async () => { await app.close() })
  for (const name of ['worker', 'signals']) {
    const [, program] = new RegExp(`<!-- run: ${name} -->\\n\`\`\`js\\n([^]*?)\`\`\``).exec(page)!
    await app.put('user:1', 'old')
    const file = join(folder, `${name}.mjs`)
    await writeFile(file, AROUND[name] + program!)
    const { stdout } = await run(process.execPath, [file], { env: { ...process.env, REDIS_URL: server.url } })
    t.equal(stdout, name === 'worker' ? '1 Ada\n' : '1\n')
    t.equal(await app.getOrSet('user:1', {}, async () => 'new'), 'new', name)
    await app.settled()
  }
})
